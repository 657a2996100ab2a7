//! Families about the app's processes. A series appears when what it is about is first seen.

use prometheus::{CounterVec, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::processes::{Change, Process};
use crate::telemetry::Registry;
use crate::telemetry::registry::raise;
use crate::time::Duration;

/// Series without labels of a family that may have none.
const ALONE: [&str; 0] = [];

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collector {
    /// At the kernel's queues.
    Sockets,
    /// At processes.
    Processes,
    /// At gunicorn's control socket.
    Gunicorn,
}

impl Collector {
    const ALL: [Collector; 3] = [Collector::Sockets, Collector::Processes, Collector::Gunicorn];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Collector::Sockets => "sockets",
            Collector::Processes => "processes",
            Collector::Gunicorn => "gunicorn",
        }
    }
}

#[derive(Debug)]
pub(super) struct Metrics {
    backlog: IntGaugeVec,
    overflows: CounterVec,
    processes: IntGauge,
    restarts: IntCounter,
    memory: IntGaugeVec,
    cpu: CounterVec,
    started: GaugeVec,
    duration: GaugeVec,
    errors: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let collectors = Collector::ALL.map(Collector::as_str);
        let duration = registry.float_gauge_vec(
            "collector_duration_seconds",
            "Time that the last look at the app's workers took.",
            &["collector"],
        );
        for collector in collectors {
            duration.with_label_values(&[collector]);
        }
        Self {
            backlog: registry.gauge_vec(
                "listen_backlog",
                "Connections in the kernel that the app has not accepted. Above zero while nothing waits in Siding, traffic \
                 bypasses Siding or backend.workers is too high. Only for TCP, and where /proc/net shows it.",
                &[],
            ),
            overflows: registry.float_counter_vec(
                "listen_overflows_total",
                "Connections that the kernel dropped in this network namespace because a listener's queue was full.",
                &[],
            ),
            processes: registry
                .gauge("worker_processes", "Worker processes of the app that are visible; 0 where none can be seen."),
            restarts: registry.counter("worker_restarts_total", "Worker processes that took the place of another."),
            memory: registry.gauge_vec(
                "worker_resident_memory_bytes",
                "Resident memory of a worker process, pages that it shares with others included.",
                &["worker"],
            ),
            cpu: registry.float_counter_vec(
                "worker_cpu_seconds_total",
                "CPU time of the worker processes in this place.",
                &["worker"],
            ),
            started: registry.float_gauge_vec(
                "worker_start_timestamp_seconds",
                "When a worker process began.",
                &["worker"],
            ),
            duration,
            errors: registry.counters(
                "collector_errors_total",
                "Looks at the app's workers that failed.",
                "collector",
                &collectors,
            ),
        }
    }

    pub(super) fn collected(&self, collector: Collector, took: Duration, failed: bool) {
        self.duration.with_label_values(&[collector.as_str()]).set(took.as_secs_f64());
        if failed {
            self.errors.with_label_values(&[collector.as_str()]).inc();
        }
    }

    pub(super) fn backlog(&self, waiting: u32) {
        self.backlog.with_label_values(&ALONE).set(waiting.into());
    }

    pub(super) fn overflows(&self, total: u64) {
        raise(&self.overflows.with_label_values(&ALONE), Duration::from_secs(total));
    }

    /// What became of each place.
    pub(super) fn show(&self, changes: &[Change]) {
        let mut present = 0;
        for change in changes {
            let label = change.slot.to_string();
            let worker = [label.as_str()];
            self.restarts.inc_by(u64::from(change.is_restart));
            match change.process {
                None => {
                    let _ = self.memory.remove_label_values(&worker); // it may never have been there
                    let _ = self.started.remove_label_values(&worker);
                }
                Some(Process { memory, started, .. }) => {
                    present += 1;
                    self.memory.with_label_values(&worker).set(i64::try_from(memory).unwrap_or(i64::MAX));
                    self.started.with_label_values(&worker).set(started);
                    self.cpu.with_label_values(&worker).inc_by(change.cpu.as_secs_f64());
                }
            }
        }
        self.processes.set(present);
    }
}
