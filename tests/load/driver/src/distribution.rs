//! How values are spread.

use std::fmt;

use serde::Serialize;

/// In the unit of the values, which is milliseconds throughout.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Distribution {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Distribution {
    /// `None` without any values. They are sorted.
    pub(crate) fn of(all: &mut [f64]) -> Option<Self> {
        all.sort_unstable_by(f64::total_cmp);
        let max = *all.last()?;
        // The smallest value that at least this share of them did not exceed.
        let at = |share: f64| all[((all.len() as f64 * share).ceil() as usize).clamp(1, all.len()) - 1];
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        Some(Self { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max })
    }
}

impl fmt::Display for Distribution {
    /// With as many decimals as are asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, p50, p90, p99, max } = self;
        let digits = f.precision().unwrap_or(1);
        write!(
            f,
            "mean {mean:.digits$}, p50 {p50:.digits$}, p90 {p90:.digits$}, p99 {p99:.digits$}, max {max:.digits$}"
        )
    }
}
