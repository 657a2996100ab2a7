//! Telling a burst from overload, as CoDel does (Nichols and Jacobson, "Controlling Queue Delay", 2012): a
//! queue is overloaded when even the shortest wait of a whole interval exceeded the target. While it lasts,
//! new requests are served newest first, so that some answers are in time instead of all being late.

use crate::time::{Duration, Instant};

/// The wait that is fine whatever the service time is.
const LEAST_TARGET: Duration = Duration::from_millis(20);
/// The target in units of the measured service time.
const TARGET_IN_SERVICES: u32 = 3;
/// The interval in units of the target: CoDel's own ratio of 100 ms to 5 ms.
const INTERVAL_IN_TARGETS: u32 = 20;

/// Whether waits have been too long for too long.
#[derive(Debug, Default)]
pub(super) struct Overload {
    above_since: Option<Instant>,
    overloaded: bool,
}

impl Overload {
    /// Takes note that a request waited for `waited` when the mean service time is `service`.
    pub(super) fn note(&mut self, waited: Duration, service: Duration, now: Instant) {
        let target = LEAST_TARGET.max(service * TARGET_IN_SERVICES);
        if waited < target {
            *self = Self::default();
            return;
        }
        let since = *self.above_since.get_or_insert(now);
        self.overloaded = now.duration_since(since) >= target * INTERVAL_IN_TARGETS;
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_long_wait_is_a_burst_and_an_interval_of_them_is_overload() {
        let (mut overload, service, long) = (Overload::default(), Duration::from_millis(10), Duration::from_millis(50));
        let start = Instant::now();
        overload.note(long, service, start);
        assert!(!overload.is_overloaded());
        overload.note(long, service, start + Duration::from_millis(601));
        assert!(overload.is_overloaded());
        overload.note(Duration::from_millis(1), service, start + Duration::from_millis(602));
        assert!(!overload.is_overloaded());
    }
}
