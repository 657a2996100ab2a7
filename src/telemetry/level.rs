//! How many of something there are, integrated over time: the exact mean over any span, however seldom one looks.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::time::{Duration, Instant};

/// A number that guards raise by one while they live. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Level(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    present: u32,
    seen: Instant,
    total: Duration,
}

impl State {
    fn advance(&mut self, now: Instant) {
        self.total += now.saturating_duration_since(self.seen) * self.present;
        self.seen = self.seen.max(now);
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { present: 0, seen: Instant::now(), total: Duration::ZERO })))
    }
}

impl Level {
    /// One more while the guard lives.
    pub fn enter(&self) -> Present {
        let mut state = self.0.lock();
        state.advance(Instant::now());
        state.present += 1;
        Present(self.clone())
    }

    /// The time that all spent here, summed, those included who are still here.
    pub fn total(&self) -> Duration {
        let mut state = self.0.lock();
        state.advance(Instant::now());
        state.total
    }
}

/// One more of something.
#[derive(Debug)]
pub struct Present(Level);

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.advance(Instant::now());
        state.present -= 1;
    }
}

/// The recent mean of something whose sum over time is known now and then: a span as long as the memory counts for two
/// thirds.
#[derive(Debug)]
pub struct RecentMean {
    memory: Duration,
    seen: Instant,
    total: Duration,
    mean: f64,
}

impl RecentMean {
    /// Of something that was zero.
    pub fn new(memory: Duration) -> Self {
        Self { memory, seen: Instant::now(), total: Duration::ZERO, mean: 0.0 }
    }

    /// Takes note of the sum over time, and returns the mean.
    pub fn note(&mut self, total: Duration) -> f64 {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        if passed > 0.0 {
            let latest = total.saturating_sub(self.total).as_secs_f64() / passed;
            let kept = (-passed / self.memory.as_secs_f64()).exp();
            self.mean = self.mean * kept + latest * (1.0 - kept);
            (self.seen, self.total) = (now, total);
        }
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_of_those_who_are_still_here_counts_too() {
        let level = Level::default();
        let one = level.enter();
        tokio::time::advance(SECOND).await;
        let two = level.enter();
        tokio::time::advance(SECOND).await;
        assert_eq!(level.total(), 3 * SECOND);
        drop((one, two));
        tokio::time::advance(SECOND).await;
        assert_eq!(level.total(), 3 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_recent_mean_is_the_same_however_often_one_looks() {
        let level = Level::default();
        let (mut seldom, mut often) = (RecentMean::new(60 * SECOND), RecentMean::new(60 * SECOND));
        let _here = (level.enter(), level.enter());
        for _ in 0..299 {
            tokio::time::advance(SECOND).await;
            often.note(level.total());
        }
        tokio::time::advance(SECOND).await;
        let (seldom, often) = (seldom.note(level.total()), often.note(level.total()));
        assert!((seldom - often).abs() < 1e-6 && (1.98..2.0).contains(&often), "{seldom} {often}");
    }
}
