//! What became of recorded spans.

use prometheus::IntCounter;

use crate::telemetry::Registry;

/// Families about spans.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    exported: IntCounter,
    dropped: IntCounter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let spans = registry.counters(
            "spans_total",
            "Recorded spans, by whether the collector took them.",
            "result",
            &["exported", "dropped"],
        );
        let [exported, dropped] = ["exported", "dropped"].map(|result| spans.with_label_values(&[result]));
        Self { exported, dropped }
    }

    pub(super) fn exported(&self, spans: usize) {
        self.exported.inc_by(spans as u64);
    }

    pub(super) fn dropped(&self, spans: usize) {
        self.dropped.inc_by(spans as u64);
    }
}
