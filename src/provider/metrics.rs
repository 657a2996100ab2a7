//! Calls to providers: rate, errors, duration.

use std::sync::Arc;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Failure;
use crate::telemetry::Registry;
use crate::telemetry::registry::CALL_SECONDS;
use crate::time::{Duration, Instant};

const RESULTS: [&str; 14] = [
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
    "cancelled",
];

/// Families about all providers.
#[derive(Debug)]
pub(super) struct Families {
    calls: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    in_flight: IntGaugeVec,
}

/// One provider's part of them. Looking labels up costs every call.
#[derive(Debug)]
pub(super) struct Metrics {
    /// By result.
    calls: [IntCounter; RESULTS.len()],
    duration: Histogram,
    first_byte: Histogram,
    attempts: IntCounter,
    retries: IntCounter,
    in_flight: IntGauge,
}

impl Families {
    pub(super) fn new(registry: &Registry, providers: &[&str]) -> Self {
        let histogram = |name, help| registry.histogram_vec(name, help, &["provider"], CALL_SECONDS);
        let counters = |name, help| registry.counters(name, help, "provider", providers);
        Self {
            calls: registry.counter_vec("calls_total", "LLM calls that ended, by result.", &["provider", "result"]),
            duration: histogram("call_duration_seconds", "Time of an LLM call, retries and pauses included."),
            first_byte: histogram("call_first_byte_seconds", "Time from a try's request to its response head."),
            attempts: counters("call_attempts_total", "Requests sent to providers."),
            retries: counters("call_retries_total", "Requests that were further tries of a call."),
            in_flight: registry.gauges("calls_in_flight", "LLM calls under way.", "provider", providers),
        }
    }

    /// The series of one provider, which show zero from now on.
    pub(super) fn of(&self, provider: &str) -> Metrics {
        let provider = [provider];
        Metrics {
            calls: RESULTS.map(|result| self.calls.with_label_values(&[provider[0], result])),
            duration: self.duration.with_label_values(&provider),
            first_byte: self.first_byte.with_label_values(&provider),
            attempts: self.attempts.with_label_values(&provider),
            retries: self.retries.with_label_values(&provider),
            in_flight: self.in_flight.with_label_values(&provider),
        }
    }
}

impl Metrics {
    /// Counts a call as in flight until the guard is told how it ended, or dropped, which means cancelled.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight { metrics: Arc::clone(self), result: "cancelled", since: Instant::now() }
    }

    pub(super) fn attempt(&self, number: u32) {
        self.attempts.inc();
        if number > 1 {
            self.retries.inc();
        }
    }

    pub(super) fn first_byte(&self, after: Duration) {
        self.first_byte.observe(after.as_secs_f64());
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
        self.end(failure_word(failure));
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

fn failure_word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Connect { .. } => "connect",
        Failure::ConnectTimeout(_) => "connect_timeout",
        Failure::FirstByteTimeout(_) => "first_byte_timeout",
        Failure::IdleTimeout(_) => "idle_timeout",
        Failure::TotalTimeout(_) => "total_timeout",
        Failure::Interrupted { .. } => "interrupted",
        Failure::TooLarge { .. } => "too_large",
        Failure::Protocol { .. } => "protocol",
        Failure::NoMemory => "no_memory",
    }
}
