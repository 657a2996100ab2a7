//! What flights saved: how many there are, how they ended, who followed.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::Registry;

/// Families about flights.
#[derive(Debug)]
pub(super) struct Metrics {
    in_flight: IntGauge,
    ended: IntCounterVec,
    followers: IntCounter,
    waiting: IntGauge,
    elections: IntCounter,
}

/// One more on a gauge while it lives.
pub(super) struct Counted(IntGauge);

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            in_flight: registry.gauge("flights_in_flight", "Pieces of work under way whose answer is shared."),
            ended: registry.counters(
                "flights_total",
                "Pieces of work that ended; unwanted ones were cancelled because everybody had left.",
                "outcome",
                &["complete", "failed", "unwanted"],
            ),
            followers: registry.counter("coalesced_requests_total", "Requests that waited for another's answer."),
            waiting: registry.gauge("coalesced_waiting", "Requests that wait for the head of another's answer."),
            elections: registry
                .counter("flight_elections_total", "Further tries for those who wait, after a failed one."),
        }
    }

    pub(super) fn begin(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    pub(super) fn ended(&self, outcome: &'static str) {
        self.ended.with_label_values(&[outcome]).inc();
    }

    pub(super) fn follow(&self) -> Counted {
        self.followers.inc();
        Counted::new(&self.waiting)
    }

    /// Requests that wait for the head of another's answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> i64 {
        self.waiting.get()
    }

    pub(super) fn elected(&self, elected: bool) {
        self.elections.inc_by(u64::from(elected));
    }
}

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
