//! Families about Redis.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::Registry;
use crate::time::Instant;

/// From a command on loopback to the longest time-out that makes sense, in seconds.
const SECONDS: &[f64] = &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25];

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Result {
    Ok,
    Error,
    Silence,
    Refused,
}

impl Result {
    const ALL: [Result; 4] = [Result::Ok, Result::Error, Result::Silence, Result::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Result::Ok => "ok",
            Result::Error => "error",
            Result::Silence => "timeout",
            Result::Refused => "unavailable",
        }
    }
}

#[derive(Debug)]
pub(super) struct Metrics {
    up: IntGauge,
    losses: IntCounter,
    commands: IntCounterVec,
    seconds: Histogram,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            up: registry.gauge("redis_up", "Whether Redis answers: 1, or 0 while this process goes on alone."),
            losses: registry.counter("redis_losses_total", "How often Redis was lost."),
            commands: registry.counters(
                "redis_commands_total",
                "Commands for Redis by what became of them; unavailable ones were not sent.",
                "result",
                &Result::ALL.map(Result::as_str),
            ),
            seconds: registry.histogram("redis_command_seconds", "Time that answered commands took.", SECONDS),
        }
    }

    pub(super) fn begin(&self) -> Instant {
        Instant::now()
    }

    pub(super) fn answered(&self, began: Instant) {
        self.seconds.observe(began.elapsed().as_secs_f64());
        self.count(Result::Ok);
    }

    pub(super) fn count(&self, result: Result) {
        self.commands.with_label_values(&[result.as_str()]).inc();
    }

    pub(super) fn found(&self) {
        self.up.set(1);
    }

    pub(super) fn lost(&self) {
        self.up.set(0);
        self.losses.inc();
    }
}
