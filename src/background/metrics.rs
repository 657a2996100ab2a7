//! Jobs: how many, how they ended, what they hold, who asks, and who was told.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::job::Phase;
use crate::telemetry::Registry;

/// Families about jobs.
#[derive(Debug)]
pub(super) struct Metrics {
    under_way: IntGaugeVec,
    /// Results that are kept.
    pub(super) stored: IntGauge,
    ended: IntCounterVec,
    pub(super) rejected: IntCounter,
    pub(super) expired: IntCounter,
    pub(super) evicted: IntCounter,
    requests: IntCounterVec,
    pub(super) attempts: IntCounter,
    webhooks: IntCounterVec,
    pub(super) webhooks_pending: IntGauge,
}

/// How a job's end is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum EndedAs {
    Answered,
    Refused,
    Cancelled,
}

/// What somebody who asked for a job got.
#[derive(Clone, Copy, Debug)]
pub enum Got {
    /// That it is still under way.
    Pending,
    /// Its answer.
    Result,
    /// Its events.
    Events,
    /// Its end or removal.
    Deleted,
    /// Nothing: there is no such job of theirs.
    Unknown,
}

/// How the delivery of a webhook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The receiver took it.
    Delivered,
    /// The receiver did not take it, however often it was tried.
    Failed,
    /// Too many were waiting.
    Dropped,
}

const ENDED: [EndedAs; 3] = [EndedAs::Answered, EndedAs::Refused, EndedAs::Cancelled];
const GOT: [Got; 5] = [Got::Pending, Got::Result, Got::Events, Got::Deleted, Got::Unknown];
const TOLD: [Told; 3] = [Told::Delivered, Told::Failed, Told::Dropped];

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let dropped = registry.counters(
            "job_results_dropped_total",
            "Results that were dropped: after their time, or for want of room before it.",
            "reason",
            &["expired", "evicted"],
        );
        Self {
            under_way: registry.gauges("jobs", "Jobs under way.", "state", &Phase::ALL.map(Phase::as_str)),
            stored: registry.gauge("job_results", "Results of jobs that are kept."),
            ended: registry.counters("jobs_ended_total", "Jobs that ended.", "outcome", &ENDED.map(EndedAs::as_str)),
            rejected: registry.counter("jobs_rejected_total", "Jobs that were not begun because there were too many."),
            expired: dropped.with_label_values(&["expired"]),
            evicted: dropped.with_label_values(&["evicted"]),
            requests: registry.counters(
                "job_requests_total",
                "Requests for jobs, by what they got.",
                "result",
                &GOT.map(Got::as_str),
            ),
            attempts: registry.counter("webhook_attempts_total", "Requests sent to receivers of webhooks."),
            webhooks: registry.counters(
                "webhooks_total",
                "Webhooks by how their delivery ended.",
                "result",
                &TOLD.map(Told::as_str),
            ),
            webhooks_pending: registry.gauge("webhooks_pending", "Webhooks that are not delivered yet."),
        }
    }

    pub(super) fn ended(&self, how: EndedAs) {
        self.ended.with_label_values(&[how.as_str()]).inc();
    }

    pub(super) fn got(&self, what: Got) {
        self.requests.with_label_values(&[what.as_str()]).inc();
    }

    pub(super) fn told(&self, how: Told) {
        self.webhooks.with_label_values(&[how.as_str()]).inc();
    }

    /// Counts a job in a phase until the guard is dropped.
    pub(super) fn in_phase(&self, phase: Phase) -> InPhase {
        let gauge = self.under_way.with_label_values(&[phase.as_str()]);
        gauge.inc();
        InPhase(gauge)
    }
}

/// A job in a phase.
#[derive(Debug)]
pub(super) struct InPhase(IntGauge);

impl Drop for InPhase {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl EndedAs {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Got {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Result => "result",
            Self::Events => "events",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
        }
    }
}

impl Told {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}
