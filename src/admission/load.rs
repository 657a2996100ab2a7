//! What the pool is asked to do: arrivals and service times of the last minute or so, forgotten exponentially. It must
//! never read a clock.

use super::erlang;
use crate::time::{Duration, Instant};

/// How fast the past is forgotten, in seconds: what is this old counts for a third.
const MEMORY: f64 = 60.0;

/// The longest wait that is expected. Beyond it, and where more comes than can be done, what is shown is only "too much".
const LONGEST: Duration = Duration::from_secs(60);

/// Sums over the past, each event weighted by its age.
#[derive(Debug)]
pub(super) struct Load {
    began: Instant,
    seen: Instant,
    arrivals: f64,
    served: f64,
    seconds: f64,
    squares: f64,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, seen: now, arrivals: 0.0, served: 0.0, seconds: 0.0, squares: 0.0 }
    }

    /// A request asks for a worker.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.forget(now);
        self.arrivals += 1.0;
    }

    /// A worker is free again.
    pub(super) fn served(&mut self, held: Duration, now: Instant) {
        self.forget(now);
        let held = held.as_secs_f64();
        self.served += 1.0;
        self.seconds += held;
        self.squares += held * held;
    }

    /// Erlangs: how many workers the arrivals keep busy on average.
    pub(super) fn offered(&mut self, now: Instant) -> f64 {
        self.forget(now);
        if self.served <= 0.0 { 0.0 } else { self.rate() * self.seconds / self.served }
    }

    /// The mean wait to expect of this load at `workers` workers, at most [`LONGEST`].
    pub(super) fn expected_wait(&mut self, workers: usize, now: Instant) -> Duration {
        let offered = self.offered(now);
        if offered <= 0.0 {
            return Duration::ZERO;
        }
        let mean = self.seconds / self.served;
        let variation = (self.squares / self.served / (mean * mean) - 1.0).max(0.0);
        let wait = erlang::wait(workers, offered, variation).map_or(LONGEST.as_secs_f64(), |wait| wait * mean);
        Duration::from_secs_f64(wait.clamp(0.0, LONGEST.as_secs_f64()))
    }

    /// Arrivals a second. Of a past that is shorter than the memory, less is remembered.
    fn rate(&self) -> f64 {
        let age = self.seen.saturating_duration_since(self.began).as_secs_f64();
        let remembered = MEMORY * (1.0 - (-age / MEMORY).exp());
        if remembered > 0.0 { self.arrivals / remembered } else { 0.0 }
    }

    fn forget(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        let kept = (-passed / MEMORY).exp();
        for sum in [&mut self.arrivals, &mut self.served, &mut self.seconds, &mut self.squares] {
            *sum *= kept;
        }
        self.seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many arrivals a second for so long, each served after `held`.
    fn steady(rate: u32, held: impl Fn(u32) -> Duration, seconds: u32) -> (Load, Instant) {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        for number in 0..rate * seconds {
            now += Duration::from_secs(1) / rate;
            load.arrived(now);
            load.served(held(number), now);
        }
        (load, now)
    }

    #[test]
    fn the_offered_load_is_the_rate_times_the_service_time_from_the_beginning_on() {
        for seconds in [5, 60, 600] {
            let (mut load, now) = steady(28, |_| Duration::from_millis(100), seconds);
            let offered = load.offered(now);
            assert!((offered / 2.8 - 1.0).abs() < 0.02, "{offered} after {seconds} s");
        }
    }

    #[test]
    fn the_wait_to_expect_depends_on_how_service_times_vary() {
        let (mut equal, now) = steady(28, |_| Duration::from_millis(100), 300);
        let half_and_half = |number| Duration::from_millis(if number % 2 == 0 { 10 } else { 190 });
        let (mut unequal, later) = steady(28, half_and_half, 300);
        let (equal, unequal) = (equal.expected_wait(4, now), unequal.expected_wait(4, later));
        assert!((equal.as_secs_f64() / 0.01897 - 1.0).abs() < 0.05, "{equal:?}");
        assert!(unequal > equal, "{unequal:?}");
    }

    #[test]
    fn more_than_can_be_done_is_too_much_and_nothing_is_no_wait() {
        let (mut load, now) = steady(50, |_| Duration::from_millis(100), 60);
        assert_eq!(load.expected_wait(4, now), LONGEST);
        let later = now + Duration::from_secs(3600);
        assert!(load.expected_wait(4, later) < Duration::from_millis(1), "an hour later it is forgotten");
        assert_eq!(Load::new(now).expected_wait(4, now), Duration::ZERO);
    }
}
