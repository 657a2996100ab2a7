//! Jobs: exchanges that outlive their clients on purpose. A client that prefers not to wait is told where its answer
//! will be, and asks for it there: once it is done, while it is being written, or event by event.
//!
//! ```text
//! begin -> Running: the work's end (head, bytes, end)   -> Results: what ended, for a while
//!       -> Caller: the client's end, until it was told
//! find  -> Found: running or ended, here or in another process, for its owner only
//!                                                     -> Events: what happens, from any point on
//! ```
//!
//! What the work is, and how clients are connected, is not known here. A client that leaves never touches a job; only
//! its owner ends it early.

mod elsewhere;
mod events;
mod job;
mod jobs;
mod metrics;
mod output;
mod owner;
mod prefer;
mod results;
mod webhook;

use std::time::UNIX_EPOCH;

use crate::time::Duration;

pub use elsewhere::Distant;
pub use events::{Cursor, Events};
pub use job::{Ending, Job, Phase, Snapshot, TooLarge};
pub use jobs::{Caller, Found, Jobs, Running, TooMany};
pub use metrics::Got;
pub use output::Text;
pub use owner::{Owner, Ownership};
pub use prefer::{Preferences, asks_for_background};
pub use results::{Answer, Ended, Finished, Refusal};
pub use webhook::{BadEndpoint, Endpoint};

/// How jobs are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The path below which jobs are found, without a slash at its end.
    pub path: String,
    /// How long a result is kept.
    pub retention: Duration,
    /// Bytes of all answers, those on their way included.
    pub capacity: usize,
    /// Bytes of one answer.
    pub max_result: usize,
    /// Jobs under way.
    pub max_jobs: usize,
    /// The longest that a request waits for a job.
    pub max_wait: Duration,
    /// Whose jobs are whose.
    pub ownership: Ownership,
}

/// A time in Unix milliseconds as clients read it.
pub(crate) fn rfc3339(unix_millis: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(unix_millis)).to_string()
}

/// Requests of a route may become jobs.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Who is told of their ends.
    pub webhook: Option<Endpoint>,
}

#[cfg(test)]
mod tests;
