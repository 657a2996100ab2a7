//! The wait to expect: how many go before, times what one takes, over the number of workers.

use crate::time::Duration;

/// The weight of the newest measurement in the moving average.
const WEIGHT: f64 = 0.05;

/// A moving average of how long a worker is held.
#[derive(Debug, Default)]
pub(super) struct ServiceTime(Option<f64>);

impl ServiceTime {
    pub(super) fn note(&mut self, held: Duration) {
        let held = held.as_secs_f64();
        self.0 = Some(self.0.map_or(held, |mean| mean + (held - mean) * WEIGHT));
    }

    /// The mean; zero before the first measurement.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.unwrap_or(0.0))
    }

    /// The wait of a request that finds `ahead` others before it at `workers` workers, all busy.
    pub(super) fn wait(&self, ahead: usize, workers: usize) -> Duration {
        let rounds = (ahead as f64 + 1.0) / workers.max(1) as f64;
        Duration::from_secs_f64((self.0.unwrap_or(0.0) * rounds).min(f64::from(u32::MAX)))
    }
}
