//! Calls to providers: rate, errors, duration; and what Siding does about a provider in trouble.

use std::sync::Arc;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Failure;
use super::breaker::BreakerState;
use crate::telemetry::Registry;
use crate::telemetry::registry::CALL_SECONDS;
use crate::time::{Duration, Instant};

const RESULTS: [&str; 15] = [
    "ok",
    "rate_limited",
    "client_error",
    "server_error",
    "connect",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "total_timeout",
    "interrupted",
    "too_large",
    "protocol",
    "no_memory",
    "unavailable",
    "cancelled",
];

/// The key label where the app's own credentials are used.
const OWN_KEY: &str = "app";

/// What a call waits for before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// A place among the requests that the provider has at once.
    Concurrency,
    /// The reset of a rate limit, or the end of a key's rest.
    RateLimit,
}

impl Wait {
    const ALL: [Self; 2] = [Self::Concurrency, Self::RateLimit];

    fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::RateLimit => "rate-limit",
        }
    }
}

/// Families about all providers.
#[derive(Debug)]
pub(super) struct Families {
    calls: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    in_flight: IntGaugeVec,
    breaker_state: IntGaugeVec,
    breaker_transitions: IntCounterVec,
    breaker_refused: IntCounterVec,
    fallbacks: IntCounterVec,
    key_rests: IntCounterVec,
    key_refusals: IntCounterVec,
    concurrency_limit: IntGaugeVec,
    concurrency_in_use: IntGaugeVec,
    waiting: IntGaugeVec,
    wait: HistogramVec,
    hedges: IntCounterVec,
    hedges_won: IntCounterVec,
}

/// One provider's part of them. Looking labels up costs every call.
#[derive(Debug)]
pub(super) struct Metrics {
    /// Its name.
    pub(super) provider: String,
    /// By result.
    calls: [IntCounter; RESULTS.len()],
    duration: Histogram,
    first_byte: Histogram,
    attempts: IntCounter,
    retries: IntCounter,
    in_flight: IntGauge,
    breaker_state: [IntGauge; BreakerState::ALL.len()],
    breaker_transitions: [IntCounter; BreakerState::ALL.len()],
    breaker_refused: IntCounter,
    /// By position of the key.
    key_rests: Vec<IntCounter>,
    key_refusals: Vec<IntCounter>,
    concurrency_limit: IntGauge,
    concurrency_in_use: IntGauge,
    waiting: [IntGauge; Wait::ALL.len()],
    wait: [Histogram; Wait::ALL.len()],
    hedges: IntCounter,
    hedges_won: IntCounter,
}

impl Families {
    pub(super) fn new(registry: &Registry, providers: &[&str]) -> Self {
        let histogram = |name, help| registry.histogram_vec(name, help, &["provider"], CALL_SECONDS);
        let counters = |name, help| registry.counters(name, help, "provider", providers);
        let counter_vec = |name, help, labels: &[&str]| registry.counter_vec(name, help, labels);
        let gauges = |name, help| registry.gauges(name, help, "provider", providers);
        Self {
            calls: registry.counter_vec("calls_total", "LLM calls that ended, by result.", &["provider", "result"]),
            duration: histogram("call_duration_seconds", "Time of an LLM call, retries and pauses included."),
            first_byte: histogram("call_first_byte_seconds", "Time from a try's request to its response head."),
            attempts: counters("call_attempts_total", "Requests sent to providers."),
            retries: counters("call_retries_total", "Requests that were further tries of a call."),
            in_flight: gauges("calls_in_flight", "LLM calls under way."),
            breaker_state: registry.gauge_vec(
                "provider_breaker_state",
                "1 for the state that a provider's circuit breaker is in.",
                &["provider", "state"],
            ),
            breaker_transitions: counter_vec(
                "provider_breaker_transitions_total",
                "Changes of a circuit breaker, by the state it came to.",
                &["provider", "state"],
            ),
            breaker_refused: counters("provider_breaker_refused_total", "Tries that an open circuit breaker refused."),
            fallbacks: counter_vec("call_fallbacks_total", "Calls that went on to a fallback.", &["from", "to"]),
            key_rests: counter_vec(
                "provider_key_rests_total",
                "Times that a key was limited (429) and rests.",
                &["provider", "key"],
            ),
            key_refusals: counter_vec(
                "provider_key_refusals_total",
                "Times that a key was refused (401, 403).",
                &["provider", "key"],
            ),
            concurrency_limit: gauges("provider_concurrency_limit", "Requests that a provider may have at once."),
            concurrency_in_use: gauges("provider_concurrency_in_use", "Requests that a provider has."),
            waiting: registry.gauge_vec(
                "provider_waiting",
                "Calls that wait to be sent, by what they wait for.",
                &["provider", "cause"],
            ),
            wait: registry.histogram_vec(
                "provider_wait_seconds",
                "Time that calls waited to be sent, of those that did.",
                &["provider", "cause"],
                CALL_SECONDS,
            ),
            hedges: counters("call_hedges_total", "Second requests to a provider that took long."),
            hedges_won: counters("call_hedges_won_total", "Second requests whose answer was taken."),
        }
    }

    /// The counter of one way from a provider to a fallback.
    pub(super) fn fallback(&self, from: &str, to: &str) -> IntCounter {
        self.fallbacks.with_label_values(&[from, to])
    }

    /// The series of one provider, which show zero from now on.
    pub(super) fn of(&self, provider: &str, keys: &[&str]) -> Metrics {
        let by_key = |family: &IntCounterVec| {
            let keys = if keys.is_empty() { &[OWN_KEY] } else { keys };
            keys.iter().map(|key| family.with_label_values(&[provider, key])).collect()
        };
        let states = BreakerState::ALL.map(BreakerState::as_str);
        let causes = Wait::ALL.map(Wait::as_str);
        let name = provider.to_owned();
        let provider = [provider];
        Metrics {
            provider: name,
            calls: RESULTS.map(|result| self.calls.with_label_values(&[provider[0], result])),
            duration: self.duration.with_label_values(&provider),
            first_byte: self.first_byte.with_label_values(&provider),
            attempts: self.attempts.with_label_values(&provider),
            retries: self.retries.with_label_values(&provider),
            in_flight: self.in_flight.with_label_values(&provider),
            breaker_state: states.map(|state| self.breaker_state.with_label_values(&[provider[0], state])),
            breaker_transitions: states.map(|state| self.breaker_transitions.with_label_values(&[provider[0], state])),
            breaker_refused: self.breaker_refused.with_label_values(&provider),
            key_rests: by_key(&self.key_rests),
            key_refusals: by_key(&self.key_refusals),
            concurrency_limit: self.concurrency_limit.with_label_values(&provider),
            concurrency_in_use: self.concurrency_in_use.with_label_values(&provider),
            waiting: causes.map(|cause| self.waiting.with_label_values(&[provider[0], cause])),
            wait: causes.map(|cause| self.wait.with_label_values(&[provider[0], cause])),
            hedges: self.hedges.with_label_values(&provider),
            hedges_won: self.hedges_won.with_label_values(&provider),
        }
    }
}

impl Metrics {
    /// Counts a call as in flight until the guard is told how it ended, or dropped, which means cancelled.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight { metrics: Arc::clone(self), result: "cancelled", since: Instant::now() }
    }

    /// A request is sent.
    pub(super) fn attempt(&self) {
        self.attempts.inc();
    }

    /// The next request is another try of the same call.
    pub(super) fn retry(&self) {
        self.retries.inc();
    }

    pub(super) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
    }

    /// The circuit breaker is in this state.
    pub(super) fn breaker_is(&self, state: BreakerState) {
        for (position, gauge) in self.breaker_state.iter().enumerate() {
            gauge.set(i64::from(position == state as usize));
        }
    }

    /// The circuit breaker came to this state.
    pub(super) fn breaker_became(&self, state: BreakerState) {
        self.breaker_is(state);
        self.breaker_transitions[state as usize].inc();
    }

    /// The circuit breaker let a request not pass.
    pub(super) fn breaker_refused(&self) {
        self.breaker_refused.inc();
    }

    /// A key was limited.
    pub(super) fn key_rests(&self, position: usize) {
        self.key_rests[position].inc();
    }

    /// A key was refused.
    pub(super) fn key_refused(&self, position: usize) {
        self.key_refusals[position].inc();
    }

    /// So many requests may be under way at once.
    pub(super) fn concurrency_limit(&self, limit: usize) {
        self.concurrency_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// So many requests more, or less, are under way.
    pub(super) fn concurrency_in_use(&self, change: i64) {
        self.concurrency_in_use.add(change);
    }

    /// A call waits until the guard is dropped.
    pub(super) fn waits(&self, cause: Wait) -> Waiting<'_> {
        self.waiting[cause as usize].inc();
        Waiting { metrics: self, cause, since: Instant::now() }
    }

    /// A second request was sent.
    pub(super) fn hedged(&self) {
        self.hedges.inc();
    }

    /// It won.
    pub(super) fn hedge_won(&self) {
        self.hedges_won.inc();
    }
}

/// A call that waits to be sent.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    metrics: &'a Metrics,
    cause: Wait,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.waiting[self.cause as usize].dec();
        self.metrics.wait[self.cause as usize].observe(self.since.elapsed().as_secs_f64());
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    metrics: Arc<Metrics>,
    result: &'static str,
    since: Instant,
}

impl InFlight {
    /// The call was answered whole.
    pub(super) fn answered(self, status: StatusCode) {
        self.end(status_word(status));
    }

    /// The call failed.
    pub(super) fn failed(self, failure: &Failure) {
        self.end(failure.as_str());
    }

    fn end(mut self, result: &'static str) {
        self.result = result;
        self.metrics.duration.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if let Some(position) = RESULTS.iter().position(|result| *result == self.result) {
            self.metrics.calls[position].inc();
        }
    }
}

fn status_word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limited",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "ok",
    }
}

#[cfg(test)]
impl Metrics {
    /// Of a provider that is alone, for tests.
    pub(super) fn of_one(provider: &str) -> Arc<Self> {
        Self::of_one_with_keys(provider, &[])
    }

    /// The same with keys.
    pub(super) fn of_one_with_keys(provider: &str, keys: &[&str]) -> Arc<Self> {
        let registry = Registry::new().expect("a fresh registry takes everything");
        Arc::new(Families::new(&registry, &[provider]).of(provider, keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_found_at_its_position() {
        for (position, cause) in Wait::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, position);
        }
    }
}
