//! What an exchange does, for those who look on while it runs.

use std::fmt;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for a worker.
    Queued,
    /// It is in a worker.
    Working,
    /// It waits for providers.
    Calling,
}

/// Somebody who looks on.
pub trait Observer: fmt::Debug + Send + Sync {
    /// The exchange does something else now, after so many passes and calls were begun. Must return at once.
    fn now(&self, step: Step, passes: u32, calls: u32);
}
