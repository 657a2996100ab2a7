//! What passes cost, and workers that still run for clients that left.

use prometheus::{Histogram, IntGauge};

use crate::status::Mark;
use crate::telemetry::Registry;
use crate::telemetry::registry::POOL_SECONDS;
use crate::time::Duration;

/// Families about trips through a worker.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    first: Histogram,
    resumed: Histogram,
    orphaned: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let duration = registry.histogram_vec(
            "pass_duration_seconds",
            "Time a worker was held for one trip of a request.",
            &["pass"],
            POOL_SECONDS,
        );
        let [first, resumed] = ["first", "resume"].map(|pass| duration.with_label_values(&[pass]));
        let orphaned = registry.gauge("workers_orphaned", "Workers that serve a request whose client has left.");
        Self { first, resumed, orphaned }
    }

    /// Counts a worker as orphaned while the guard lives, and marks it where it is shown.
    pub(super) fn orphan(&self, mark: &Mark) -> Orphan {
        mark.orphan();
        self.orphaned.inc();
        Orphan(self.orphaned.clone())
    }

    pub(super) fn passed(&self, pass: u32, took: Duration) {
        let duration = if pass == 0 { &self.first } else { &self.resumed };
        duration.observe(took.as_secs_f64());
    }
}

/// A worker that serves a client who has left.
pub(super) struct Orphan(IntGauge);

impl Drop for Orphan {
    fn drop(&mut self) {
        self.0.dec();
    }
}
