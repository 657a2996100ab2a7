//! The saturation of the worker pool: utilisation, queue, refusals.

use parking_lot::Mutex;
use prometheus::{Gauge, Histogram, IntCounterVec, IntGauge, IntGaugeVec};

use super::state::State;
use super::{Class, Refusal};
use crate::telemetry::Registry;
use crate::telemetry::registry::{Counter, POOL_SECONDS, raise};
use crate::time::{Duration, Instant};

/// How a wait ended; the first is the only good end.
const OUTCOMES: [&str; 4] = ["admitted", "full", "hopeless", "timeout"];

#[derive(Debug)]
pub(super) struct Metrics {
    limit: IntGauge,
    busy: IntGauge,
    busy_seconds: Mutex<Counter>,
    saturated_seconds: Mutex<Counter>,
    depth: IntGaugeVec,
    oldest_age: Gauge,
    /// By class, then by outcome. Found by position: looking labels up costs every request.
    wait: [[Histogram; OUTCOMES.len()]; Class::ALL.len()],
    rejected: IntCounterVec,
    expected_wait: Gauge,
    needed_without: IntGauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let classes = Class::ALL.map(Class::as_str);
        let wait = registry.histogram_vec(
            "queue_wait_seconds",
            "Time requests waited for a worker; LLM time is never in it.",
            &["class", "outcome"],
            POOL_SECONDS,
        );
        let wait = classes.map(|class| OUTCOMES.map(|outcome| wait.with_label_values(&[class, outcome])));
        Self {
            limit: registry.gauge("workers_limit", "Requests the app serves at once: workers x threads."),
            busy: registry.gauge("workers_busy", "Workers that serve a request now."),
            busy_seconds: Mutex::new(registry.float_counter(
                "workers_busy_seconds_total",
                "Time workers were busy, summed over workers; its rate over siding_workers_limit is the utilisation.",
            )),
            saturated_seconds: Mutex::new(
                registry.float_counter("workers_saturated_seconds_total", "Time during which every worker was busy."),
            ),
            depth: registry.gauges("queue_depth", "Requests that wait for a worker.", "class", &classes),
            oldest_age: registry
                .float_gauge("queue_oldest_age_seconds", "How long the longest waiting request has waited."),
            wait,
            rejected: registry.counters(
                "queue_rejected_total",
                "Requests that were refused a worker.",
                "reason",
                &OUTCOMES[1..],
            ),
            expected_wait: registry.float_gauge(
                "queue_wait_expected_seconds",
                "Mean wait for a worker to expect of the last minute's load, by Erlang C and the variation of service \
                 times; 60 where more comes than the workers can do.",
            ),
            needed_without: registry.gauge(
                "workers_needed_without_siding",
                "Sync workers that the last minute's load would need if each held on while the provider answers, so that \
                 at most one request in twenty waits (Erlang C).",
            ),
        }
    }

    pub(super) fn waited(&self, class: Class, refusal: Option<&Refusal>, waited: Duration) {
        let outcome = match refusal {
            None => 0,
            Some(Refusal::Full { .. }) => 1,
            Some(Refusal::Hopeless { .. }) => 2,
            Some(Refusal::TimedOut { .. }) => 3,
        };
        self.wait[class as usize][outcome].observe(waited.as_secs_f64());
        if outcome > 0 {
            self.rejected.with_label_values(&[OUTCOMES[outcome]]).inc();
        }
    }

    pub(super) fn show(&self, state: &mut State, needed_without: usize, now: Instant) {
        self.limit.set(count(state.workers()));
        self.expected_wait.set(state.steady_wait(now).as_secs_f64());
        self.needed_without.set(count(needed_without));
        self.busy.set(count(state.busy()));
        for class in Class::ALL {
            self.depth.with_label_values(&[class.as_str()]).set(count(state.depth(class)));
        }
        self.oldest_age.set(state.oldest_age().as_secs_f64());
        raise(&self.busy_seconds.lock(), state.busy_time());
        raise(&self.saturated_seconds.lock(), state.saturated_time());
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
