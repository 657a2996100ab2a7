//! Families about the configuration and the process.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::{Registry, log};
use crate::time::unix_millis;

/// What became of a wish to reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reloaded {
    /// Requests are served with the new configuration.
    Applied,
    /// Nothing was new.
    Unchanged,
    /// The new configuration is faulty; the old one goes on.
    Refused,
}

impl Reloaded {
    const WORDS: [&str; 3] = ["applied", "unchanged", "refused"];
}

#[derive(Debug)]
pub(super) struct Metrics {
    reloads: IntCounterVec,
    is_good: IntGauge,
    good_since: Gauge,
    restart_needed: IntGauge,
    draining: IntGauge,
    log_waiting: IntGauge,
    log_lost: IntCounter,
}

impl Metrics {
    /// The configuration of the start was good.
    pub(super) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            reloads: registry.counters(
                "config_reloads_total",
                "Wishes to reload the configuration, by what became of them.",
                "result",
                &Reloaded::WORDS,
            ),
            is_good: registry.gauge(
                "config_last_reload_successful",
                "1 where the configuration as it was read last is the one that is served with; 0 where it was refused.",
            ),
            good_since: registry.float_gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration that is served with was read.",
            ),
            restart_needed: registry.gauge(
                "config_restart_needed",
                "1 where the configuration holds changes that only a restart brings about.",
            ),
            draining: registry.gauge("draining", "1 while the process is unready because it, or the app, is about to be stopped."),
            log_waiting: registry.gauge(
                "log_waiting_bytes",
                "Log lines that wait to be written, because whoever takes them is slow; at 4 MiB lines are lost.",
            ),
            log_lost: registry.counter(
                "log_lines_lost_total",
                "Log lines that could not be written: nobody took them in time, the disk was full, or the pipe was closed.",
            ),
        };
        metrics.is_good.set(1);
        metrics.good_since.set(now());
        metrics
    }

    /// Another configuration is served with. `restart_needed` of its keys cannot be.
    pub(super) fn applied(&self, restart_needed: usize) {
        self.count(Reloaded::Applied);
        self.good_since.set(now());
        self.serves(restart_needed);
    }

    /// There was nothing new.
    pub(super) fn unchanged(&self, restart_needed: usize) {
        self.count(Reloaded::Unchanged);
        self.serves(restart_needed);
    }

    fn serves(&self, restart_needed: usize) {
        self.is_good.set(1);
        self.restart_needed.set(i64::from(restart_needed > 0));
    }

    /// The configuration that was read is faulty.
    pub(super) fn refused(&self) {
        self.count(Reloaded::Refused);
        self.is_good.set(0);
    }

    /// Brings up to date what is not an event.
    pub(super) fn show(&self, is_draining: bool) {
        self.draining.set(i64::from(is_draining));
        self.log_waiting.set(i64::try_from(log::waiting()).unwrap_or(i64::MAX));
        self.log_lost.inc_by(log::take_lost());
    }

    fn count(&self, what: Reloaded) {
        self.reloads.with_label_values(&[Reloaded::WORDS[what as usize]]).inc();
    }
}

fn now() -> f64 {
    unix_millis() as f64 / 1e3
}
