//! Calls to providers: rate, errors, duration.

use http::StatusCode;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::{Failure, Response};
use crate::telemetry::Registry;
use crate::telemetry::registry::CALL_SECONDS;
use crate::time::Duration;

const RESULTS: [&str; 13] = [
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
    "cancelled",
];

#[derive(Debug)]
pub(super) struct Metrics {
    calls: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    attempts: IntCounterVec,
    retries: IntCounterVec,
    in_flight: IntGaugeVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry, providers: &[&str]) -> Self {
        let calls = registry.counter_vec("calls_total", "LLM calls that ended, by result.", &["provider", "result"]);
        for provider in providers {
            for result in RESULTS {
                calls.with_label_values(&[*provider, result]);
            }
        }
        let histogram = |name, help| {
            let family = registry.histogram_vec(name, help, &["provider"], CALL_SECONDS);
            providers.iter().for_each(|provider| drop(family.with_label_values(&[*provider])));
            family
        };
        Self {
            calls,
            duration: histogram("call_duration_seconds", "Time of an LLM call, retries and pauses included."),
            first_byte: histogram("call_first_byte_seconds", "Time from a try's request to its response head."),
            attempts: registry.counters("call_attempts_total", "Requests sent to providers.", "provider", providers),
            retries: registry.counters(
                "call_retries_total",
                "Requests that were further tries of a call.",
                "provider",
                providers,
            ),
            in_flight: registry.gauges("calls_in_flight", "LLM calls under way.", "provider", providers),
        }
    }

    /// Counts a call as in flight until the guard is told how it ended, or dropped, which means cancelled.
    pub(super) fn begin<'a>(&'a self, provider: &'a str) -> InFlight<'a> {
        self.in_flight.with_label_values(&[provider]).inc();
        InFlight { metrics: self, provider, result: "cancelled" }
    }

    pub(super) fn attempt(&self, provider: &str, number: u32) {
        self.attempts.with_label_values(&[provider]).inc();
        if number > 1 {
            self.retries.with_label_values(&[provider]).inc();
        }
    }

    pub(super) fn first_byte(&self, provider: &str, after: Duration) {
        self.first_byte.with_label_values(&[provider]).observe(after.as_secs_f64());
    }
}

pub(super) struct InFlight<'a> {
    metrics: &'a Metrics,
    provider: &'a str,
    result: &'static str,
}

impl InFlight<'_> {
    pub(super) fn end(mut self, result: &Result<Response, Failure>, took: Duration) {
        self.result = match result {
            Ok(response) => status_word(response.status),
            Err(failure) => failure_word(failure),
        };
        self.metrics.duration.with_label_values(&[self.provider]).observe(took.as_secs_f64());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.with_label_values(&[self.provider]).dec();
        self.metrics.calls.with_label_values(&[self.provider, self.result]).inc();
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
    }
}
