//! How metrics are declared: the `siding_` prefix, base units, closed label sets that show zero before the
//! first event. A feature declares its own few families through this; it must never use the crate directly.

use std::any::Any;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
};

pub use prometheus::{Counter, IntCounter};

use super::reading::Reading;
use crate::time::Duration;

/// Waiting and service times of a worker pool, in seconds: 1 ms to 60 s.
pub const POOL_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0];

/// Durations of LLM calls, in seconds: the buckets OpenTelemetry's GenAI conventions set.
pub const CALL_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84];

/// The proxy's own work, in seconds: 50 us steps where it matters.
pub const OVERHEAD_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_15, 0.000_2, 0.000_25, 0.000_3, 0.000_4, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.1];

/// One process's metrics. Cloning gives another handle to the same set.
#[derive(Clone, Debug)]
pub struct Registry {
    all: prometheus::Registry,
    /// In the order of their declaration.
    families: Arc<Mutex<Vec<Declared>>>,
}

/// A family with its handle, so that whoever declares it again counts on.
#[derive(Debug)]
struct Declared {
    family: Family,
    handle: Box<dyn Any + Send>,
}

/// What is known of a family of metrics before anything is counted.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// What it says.
    pub help: String,
    /// counter, gauge or histogram.
    pub kind: &'static str,
    /// Its labels, each with the values that it has from the beginning on.
    pub labels: Vec<(String, Vec<String>)>,
}

impl Registry {
    /// An empty set of metrics with the `process_*` collector.
    ///
    /// # Errors
    /// Fails when the process's own statistics cannot be registered.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = prometheus::Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { all: registry, families: Arc::default() })
    }

    /// A counter of events.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add("counter", IntCounter::new(prefixed(name), help))
    }

    /// A counter of seconds or bytes.
    pub fn float_counter(&self, name: &str, help: &str) -> Counter {
        self.add("counter", Counter::new(prefixed(name), help))
    }

    /// A counter of events by one label, whose values all start at zero.
    pub fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let vec = self.counter_vec(name, help, &[label]);
        for value in values {
            vec.with_label_values(&[*value]);
        }
        vec
    }

    /// A counter of events by several labels. The owner creates the series it knows of.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add("counter", IntCounterVec::new(Opts::new(prefixed(name), help), labels))
    }

    /// A counter of seconds or money by several labels. The owner creates the series it knows of.
    pub fn float_counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::CounterVec {
        self.add("counter", prometheus::CounterVec::new(Opts::new(prefixed(name), help), labels))
    }

    /// A counter of seconds by one label, whose values all start at zero.
    pub fn float_counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> prometheus::CounterVec {
        let vec = self.float_counter_vec(name, help, &[label]);
        for value in values {
            vec.with_label_values(&[*value]);
        }
        vec
    }

    /// Something that is so, as a label's value.
    pub fn info(&self, name: &str, help: &str, label: &str, value: &str) {
        self.gauge_vec(name, help, &[label]).with_label_values(&[value]).set(1);
    }

    /// A whole number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add("gauge", IntGauge::new(prefixed(name), help))
    }

    /// A fraction or a number of seconds that goes up and down.
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add("gauge", Gauge::new(prefixed(name), help))
    }

    /// Fractions or seconds by several labels. The owner creates the series it knows of.
    pub fn float_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::GaugeVec {
        self.add("gauge", prometheus::GaugeVec::new(Opts::new(prefixed(name), help), labels))
    }

    /// Whole numbers by several labels. The owner creates the series it knows of.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add("gauge", IntGaugeVec::new(Opts::new(prefixed(name), help), labels))
    }

    /// Whole numbers by one label, whose values all start at zero.
    pub fn gauges(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntGaugeVec {
        let vec = self.gauge_vec(name, help, &[label]);
        for value in values {
            vec.with_label_values(&[*value]);
        }
        vec
    }

    /// A distribution.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add("histogram", Histogram::with_opts(HistogramOpts::new(prefixed(name), help).buckets(buckets.to_vec())))
    }

    /// Distributions by labels. The owner creates the series it knows of.
    pub fn histogram_vec(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(
            "histogram",
            HistogramVec::new(HistogramOpts::new(prefixed(name), help).buckets(buckets.to_vec()), labels),
        )
    }

    /// All metrics in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// Fails when a family holds values that the format cannot express.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.all.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// What all metrics say now.
    pub fn read(&self) -> Reading {
        Reading::new(self.all.gather())
    }

    /// Every family that was declared, in that order.
    pub fn families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = self.families.lock().iter().map(|known| known.family.clone()).collect();
        for present in self.all.gather() {
            let Some(family) = families.iter_mut().find(|family| family.name == present.name()) else { continue };
            let pairs = present.get_metric().iter().flat_map(|series| series.get_label());
            for pair in pairs {
                let label = family.labels.iter_mut().find(|(name, _)| name == pair.name());
                if let Some((_, values)) = label.filter(|(_, values)| !values.iter().any(|value| value == pair.value()))
                {
                    values.push(pair.value().to_owned());
                }
            }
        }
        families
    }

    /// Parts that are made anew while the process runs declare their families anew, and find what was counted before.
    fn add<M: Collector + Clone + 'static>(&self, kind: &'static str, metric: Result<M, prometheus::Error>) -> M {
        let metric = metric.expect("metric names and labels are constants that the tests register");
        let family = family(kind, &metric);
        let mut families = self.families.lock();
        if let Some(known) = families.iter().find(|known| known.family.name == family.name) {
            let same = known.handle.downcast_ref::<M>().expect("a name is always declared as the same kind");
            return same.clone();
        }
        self.all.register(Box::new(metric.clone())).expect("no other family has the name");
        families.push(Declared { family, handle: Box::new(metric.clone()) });
        metric
    }
}

fn family(kind: &'static str, metric: &impl Collector) -> Family {
    let described = metric.desc();
    let description = described.first().expect("every metric describes itself");
    Family {
        name: description.fq_name.clone(),
        help: description.help.clone(),
        kind,
        labels: description.variable_labels.iter().map(|label| (label.clone(), Vec::new())).collect(),
    }
}

/// Raises a counter to a total. Whoever calls it keeps two scrapes from adding the same difference twice.
pub fn raise(counter: &Counter, total: Duration) {
    counter.inc_by((total.as_secs_f64() - counter.get()).max(0.0));
}

fn prefixed(name: &str) -> String {
    format!("siding_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_declared_again_counts_on() {
        let registry = Registry::new().unwrap();
        registry.counter("tests_total", "Tests.").inc();
        registry.counter("tests_total", "Tests.").inc();
        assert!(registry.render().unwrap().contains("siding_tests_total 2"));
        assert_eq!(registry.families().len(), 1);
    }

    #[test]
    fn known_label_values_show_zero_before_the_first_event() {
        let registry = Registry::new().unwrap();
        registry.counters("tests_total", "Tests.", "result", &["passed", "failed"]);
        let text = registry.render().unwrap();
        assert!(text.contains("siding_tests_total{result=\"failed\"} 0"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
