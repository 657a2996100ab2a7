//! The wait to expect: how many go before, times what one takes, over the number of workers.

use crate::time::Duration;

/// The weight of the newest measurement in the moving average.
const WEIGHT: f64 = 0.05;

/// Measurements before anyone is refused for what they predict: the first requests of a process find cold
/// workers.
const LEAST_MEASURED: u32 = 50;

/// A moving average of how long a worker is held, in seconds.
#[derive(Debug, Default)]
pub(super) struct ServiceTime {
    mean: f64,
    measured: u32,
}

impl ServiceTime {
    pub(super) fn note(&mut self, held: Duration) {
        self.measured = self.measured.saturating_add(1);
        // A plain mean at first, so that the first measurement has no special weight.
        let weight = WEIGHT.max(1.0 / f64::from(self.measured));
        self.mean += (held.as_secs_f64() - self.mean) * weight;
    }

    /// The mean; zero before the first measurement.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.mean)
    }

    /// The wait of a request that finds `ahead` others before it at `workers` workers, all busy; zero while
    /// too little is known.
    pub(super) fn wait(&self, ahead: usize, workers: usize) -> Duration {
        if self.measured < LEAST_MEASURED {
            return Duration::ZERO;
        }
        let rounds = (ahead as f64 + 1.0) / workers.max(1) as f64;
        Duration::from_secs_f64((self.mean * rounds).min(f64::from(u32::MAX)))
    }
}
