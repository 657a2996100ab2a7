//! The recent past of a few metrics: samples at a steady step, in a ring. Rates are differences of the same counters that
//! are exported.

use std::collections::VecDeque;

use serde::Serialize;

use crate::telemetry::Reading;
use crate::time::{Duration, Instant};

/// Between two samples.
pub const STEP: Duration = Duration::from_secs(5);
/// Samples that are kept: ten minutes.
const MOST_SAMPLES: usize = 120;
/// What "now" is for a rate.
const WINDOW: Duration = Duration::from_secs(60);

/// The sums that rates are made from, and two levels, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    at: Instant,
    requests: f64,
    errors: f64,
    rejected: f64,
    saved_seconds: f64,
    busy_seconds: f64,
    hits: f64,
    shareable: f64,
    queued: f64,
}

/// Rates of the last minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// Seconds that they are about.
    pub(super) window: f64,
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) rejected: f64,
    /// Workers.
    pub(super) saved: f64,
    /// Workers.
    pub(super) busy: f64,
    /// Of requests that could share, those that got a stored answer; `None` without any.
    pub(super) hits: Option<f64>,
}

/// Series of equal length, oldest first, one value a step.
#[derive(Debug, Serialize)]
pub struct Series {
    step_seconds: u64,
    requests_per_second: Vec<f64>,
    errors_per_second: Vec<f64>,
    workers_busy: Vec<f64>,
    workers_saved: Vec<f64>,
    queued: Vec<f64>,
}

#[derive(Debug)]
pub(super) struct History(VecDeque<Totals>);

impl Totals {
    fn zero(at: Instant) -> Self {
        Self {
            at,
            requests: 0.0,
            errors: 0.0,
            rejected: 0.0,
            saved_seconds: 0.0,
            busy_seconds: 0.0,
            hits: 0.0,
            shareable: 0.0,
            queued: 0.0,
        }
    }

    fn of(reading: &Reading, at: Instant) -> Self {
        let served = |result| reading.sum("cache_requests_total", &[("result", result)]);
        let hits = served("hit") + served("stale");
        Self {
            at,
            requests: reading.sum("requests_total", &[]),
            errors: reading.sum("requests_total", &[("status", "5xx")]),
            rejected: reading.sum("queue_rejected_total", &[]),
            saved_seconds: reading.sum("worker_seconds_saved_total", &[]),
            busy_seconds: reading.sum("workers_busy_seconds_total", &[]),
            hits,
            shareable: hits + served("miss") + served("collapsed"),
            queued: reading.sum("queue_depth", &[]),
        }
    }

    fn since(&self, earlier: &Totals) -> Rates {
        let window = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        let rate = |now: f64, then: f64| if window > 0.0 { (now - then).max(0.0) / window } else { 0.0 };
        let shareable = self.shareable - earlier.shareable;
        Rates {
            window,
            requests: rate(self.requests, earlier.requests),
            errors: rate(self.errors, earlier.errors),
            rejected: rate(self.rejected, earlier.rejected),
            saved: rate(self.saved_seconds, earlier.saved_seconds),
            busy: rate(self.busy_seconds, earlier.busy_seconds),
            hits: (shareable > 0.0).then(|| (self.hits - earlier.hits) / shareable),
        }
    }
}

impl History {
    pub(super) fn new(started: Instant) -> Self {
        Self(VecDeque::from([Totals::zero(started)]))
    }

    pub(super) fn sample(&mut self, reading: &Reading, now: Instant) {
        // One more than there are steps: a rate needs two ends.
        while self.0.len() > MOST_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(Totals::of(reading, now));
    }

    /// Since the last sample that is as old as the window, or the oldest there is.
    pub(super) fn rates(&self, reading: &Reading, now: Instant) -> Rates {
        let now = Totals::of(reading, now);
        let is_old = |earlier: &&Totals| now.at.saturating_duration_since(earlier.at) >= WINDOW;
        let earlier = self.0.iter().rev().find(is_old).or(self.0.front());
        now.since(earlier.unwrap_or(&now))
    }

    pub(super) fn series(&self) -> Series {
        let steps: Vec<(Rates, f64)> =
            self.0.iter().zip(self.0.iter().skip(1)).map(|(one, next)| (next.since(one), next.queued)).collect();
        let column = |of: fn(&(Rates, f64)) -> f64| steps.iter().map(|step| rounded(of(step))).collect();
        Series {
            step_seconds: STEP.as_secs(),
            requests_per_second: column(|(rates, _)| rates.requests),
            errors_per_second: column(|(rates, _)| rates.errors),
            workers_busy: column(|(rates, _)| rates.busy),
            workers_saved: column(|(rates, _)| rates.saved),
            queued: column(|(_, queued)| *queued),
        }
    }
}

/// To a thousandth: more digits are noise that every look would carry.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    fn registry() -> (Registry, impl Fn(&str, u64)) {
        let registry = Registry::new().unwrap();
        let family = registry.counters("requests_total", "Requests.", "status", &["2xx", "5xx"]);
        (registry, move |status: &str, count| family.with_label_values(&[status]).inc_by(count))
    }

    #[test]
    fn a_rate_is_of_the_last_minute_and_of_less_in_the_beginning() {
        let (registry, ended) = registry();
        let started = Instant::now();
        let mut history = History::new(started);
        ended("2xx", 20);
        ended("5xx", 10);
        let early = history.rates(&registry.read(), started + Duration::from_secs(10));
        assert_eq!((early.requests, early.errors, early.window), (3.0, 1.0, 10.0));
        for step in 1..=20 {
            history.sample(&registry.read(), started + STEP * step);
        }
        ended("2xx", 120);
        let later = history.rates(&registry.read(), started + STEP * 20);
        assert_eq!((later.requests, later.errors, later.window), (2.0, 0.0, 60.0));
    }

    #[test]
    fn ten_minutes_are_kept_and_no_more() {
        let (registry, ended) = registry();
        let started = Instant::now();
        let mut history = History::new(started);
        for step in 1..=500 {
            ended("2xx", if step == 500 { 50 } else { 5 });
            history.sample(&registry.read(), started + STEP * step);
        }
        let series = history.series();
        assert_eq!(series.requests_per_second.len(), MOST_SAMPLES);
        assert_eq!(series.requests_per_second[MOST_SAMPLES - 2..], [1.0, 10.0]);
        assert_eq!(series.errors_per_second, vec![0.0; MOST_SAMPLES]);
    }
}
