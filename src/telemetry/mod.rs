//! What operators see: closed vocabularies, metric conventions, the log. It must never decide anything.

pub mod access_log;
pub mod level;
mod lines;
pub mod log;
pub mod outcome;
pub mod reading;
pub mod registry;

pub use outcome::{Outcome, Reason};
pub use reading::Reading;
pub use registry::Registry;
