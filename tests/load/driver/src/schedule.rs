//! When the requests of a run begin, and which outcomes count.

use std::time::Duration;

use tokio::time::Instant;

use crate::flags::Flags;

/// The times of one run.
pub(crate) struct Schedule {
    began: Instant,
    ramp_up: Duration,
    warm_up: Duration,
    duration: Option<Duration>,
}

impl Schedule {
    pub(crate) fn new(flags: &Flags, began: Instant) -> Self {
        Self { began, ramp_up: flags.ramp_up, warm_up: flags.warm_up, duration: flags.duration }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// When visitor `number` of `all` makes its first request.
    pub(crate) fn start(&self, number: usize, all: usize) -> Instant {
        self.began + self.ramp_up.mul_f64(number as f64 / all as f64)
    }

    /// What ends from here on counts.
    pub(crate) fn counts_from(&self) -> Instant {
        self.began + self.warm_up
    }

    /// No request begins from here on.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.duration.map(|duration| self.counts_from() + duration)
    }

    /// How much of the time until `now` counts.
    pub(crate) fn counted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.counts_from())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn schedule(arguments: &[&str]) -> Schedule {
        let flags = ["", "--url", "http://127.0.0.1/"].iter().chain(arguments);
        Schedule::new(&Flags::parse_from(flags), Instant::now())
    }

    fn after(schedule: &Schedule, at: Instant) -> Duration {
        at - schedule.began()
    }

    #[test]
    fn the_duration_follows_the_warm_up() {
        let times = schedule(&["--warm-up", "3s", "--duration", "8s"]);
        assert_eq!(after(&times, times.counts_from()), Duration::from_secs(3));
        assert_eq!(times.end().map(|end| after(&times, end)), Some(Duration::from_secs(11)));
        assert_eq!(times.counted(times.began() + Duration::from_secs(5)), Duration::from_secs(2));
        assert_eq!(times.counted(times.began() + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn without_a_duration_there_is_no_end() {
        assert!(schedule(&["--requests", "1"]).end().is_none());
    }

    #[test]
    fn first_requests_are_spread_over_the_ramp() {
        let times = schedule(&["--ramp-up", "4s", "--duration", "8s"]);
        let starts: Vec<_> = (0..4).map(|number| after(&times, times.start(number, 4)).as_secs()).collect();
        assert_eq!(starts, [0, 1, 2, 3]);
    }

    #[test]
    fn without_a_ramp_all_begin_at_once() {
        let times = schedule(&["--requests", "1"]);
        assert_eq!(after(&times, times.start(9, 10)), Duration::ZERO);
    }
}
