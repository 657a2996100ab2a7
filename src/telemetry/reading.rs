//! What the metrics say, read back. Whoever shows numbers to people shows those that are exported, so that a page and a
//! graph cannot disagree.

use std::collections::{BTreeMap, HashMap};

use prometheus::proto::{Metric, MetricFamily};

/// All metrics at one moment. Families are named as they were declared, without the prefix.
#[derive(Debug)]
pub struct Reading(HashMap<String, MetricFamily>);

/// A distribution at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds, the last being infinity, each with the number of values up to it.
    buckets: Vec<(f64, u64)>,
}

impl Reading {
    pub(super) fn new(families: Vec<MetricFamily>) -> Self {
        Self(families.into_iter().map(|family| (family.name().to_owned(), family)).collect())
    }

    /// The sum of a family's counters or gauges that have these labels; 0 where there is none.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum`: that of no numbers is -0.
        self.series(family).filter(|series| has(series, labels)).map(value).fold(0.0, |sum, value| sum + value)
    }

    /// The same as a number of things.
    pub fn count(&self, family: &str, labels: &[(&str, &str)]) -> u64 {
        // Exact up to 2^53, and never negative where things are counted.
        self.sum(family, labels).max(0.0) as u64
    }

    /// Sums of a family's counters or gauges by the value of a label.
    pub fn by<'a>(&'a self, family: &str, label: &str) -> BTreeMap<&'a str, f64> {
        self.by_where(family, label, &[])
    }

    /// The same, of those series that have these labels.
    pub fn by_where<'a>(&'a self, family: &str, label: &str, labels: &[(&str, &str)]) -> BTreeMap<&'a str, f64> {
        let mut sums = BTreeMap::new();
        for series in self.series(family).filter(|series| has(series, labels)) {
            if let Some(pair) = series.get_label().iter().find(|pair| pair.name() == label) {
                *sums.entry(pair.value()).or_default() += value(series);
            }
        }
        sums
    }

    /// The value of a family that need not be there.
    pub fn value(&self, family: &str) -> Option<f64> {
        self.series(family).next().map(value)
    }

    /// A histogram's values, of all series with these labels together.
    pub fn distribution(&self, family: &str, labels: &[(&str, &str)]) -> Distribution {
        let mut sum = Distribution::default();
        for series in self.series(family).filter(|series| has(series, labels)) {
            let histogram = series.get_histogram();
            let finite = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
            let all = finite.chain([(f64::INFINITY, histogram.get_sample_count())]);
            match sum.buckets.is_empty() {
                true => sum.buckets = all.collect(),
                false => sum.buckets.iter_mut().zip(all).for_each(|((_, count), (_, more))| *count += more),
            }
        }
        sum
    }

    fn series(&self, family: &str) -> impl Iterator<Item = &Metric> {
        self.0.get(&format!("siding_{family}")).into_iter().flat_map(MetricFamily::get_metric)
    }
}

impl Distribution {
    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let before = |n: usize| earlier.buckets.get(n).map_or(0, |(_, count)| *count);
        let later = self.buckets.iter().enumerate();
        Self { buckets: later.map(|(n, (bound, count))| (*bound, count.saturating_sub(before(n)))).collect() }
    }

    /// The value below which this share of the values is, as Prometheus' `histogram_quantile` estimates it: evenly spread
    /// within a bucket, and the largest bound for what is above it. `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let rank = share * total as f64;
        let (mut lower, mut below) = (0.0, 0);
        for (bound, count) in &self.buckets {
            if *count as f64 >= rank && bound.is_finite() {
                let within = (rank - below as f64) / (count - below).max(1) as f64;
                return Some(lower + (bound - lower) * within);
            }
            if bound.is_finite() {
                (lower, below) = (*bound, *count);
            }
        }
        Some(lower)
    }
}

fn has(series: &Metric, labels: &[(&str, &str)]) -> bool {
    labels
        .iter()
        .all(|(name, value)| series.get_label().iter().any(|pair| pair.name() == *name && pair.value() == *value))
}

/// A counter has no gauge and the other way round; what it has not reads as zero.
fn value(series: &Metric) -> f64 {
    series.get_counter().get_value() + series.get_gauge().get_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    #[test]
    fn counters_and_gauges_are_read_back_by_their_labels() {
        let registry = Registry::new().unwrap();
        let counts = registry.counter_vec("tests_total", "Tests.", &["kind", "result"]);
        counts.with_label_values(&["unit", "ok"]).inc_by(3);
        counts.with_label_values(&["unit", "failed"]).inc();
        counts.with_label_values(&["load", "ok"]).inc_by(5);
        registry.gauge("depth", "Depth.").set(7);
        let reading = registry.read();
        assert_eq!(reading.count("tests_total", &[]), 9);
        assert_eq!(reading.count("tests_total", &[("kind", "unit"), ("result", "ok")]), 3);
        assert_eq!(reading.by("tests_total", "result"), BTreeMap::from([("failed", 1.0), ("ok", 8.0)]));
        assert_eq!((reading.value("depth"), reading.value("height")), (Some(7.0), None));
        assert!(reading.sum("height", &[]).is_sign_positive());
    }

    #[test]
    fn a_quantile_is_of_what_came_since_and_estimated_as_prometheus_does() {
        let registry = Registry::new().unwrap();
        let seconds = registry.histogram_vec("seconds", "Time.", &["of"], &[1.0, 2.0, 4.0]);
        let [one, other] = ["one", "other"].map(|of| seconds.with_label_values(&[of]));
        (0..100).for_each(|_| one.observe(0.5));
        let earlier = registry.read().distribution("seconds", &[("of", "one")]);
        for value in [1.5, 1.5, 3.0, 9.0] {
            one.observe(value);
            other.observe(value);
        }
        let recent = registry.read().distribution("seconds", &[("of", "one")]).since(&earlier);
        assert_eq!(recent.quantile(0.5), Some(2.0));
        assert_eq!(recent.quantile(0.25), Some(1.5));
        assert_eq!(recent.quantile(0.99), Some(4.0), "no more is known of what is above the last bound");
        assert_eq!(recent, registry.read().distribution("seconds", &[("of", "other")]));
        assert_eq!(registry.read().distribution("seconds", &[]).quantile(0.5), Some(0.54));
        assert_eq!(Distribution::default().quantile(0.5), None);
    }
}
