//! The only door to clocks. Monotonic time comes from tokio, so that tests with paused time reach every
//! deadline; wall-clock time is for headers, signatures and traces only. Nothing here may block.

use std::time::UNIX_EPOCH;

pub use std::time::{Duration, SystemTime};
pub use tokio::time::{Instant, interval, sleep, sleep_until, timeout, timeout_at};

/// Milliseconds since the Unix epoch. A clock before 1970 reads as 0.
pub fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    unix_millis() / 1000
}

/// Now, as others on this and other machines take it to be.
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Nanoseconds from the Unix epoch to a moment. A clock before 1970 reads as 0.
pub fn unix_nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
