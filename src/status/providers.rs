//! How providers fared in the last few minutes: coarse samples of the counters of their calls.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::history::rounded;
use crate::telemetry::Reading;
use crate::telemetry::reading::Distribution;
use crate::time::{Duration, Instant};

/// Between two samples.
const STEP: Duration = Duration::from_secs(30);
/// Samples that are kept: five minutes.
const MOST_SAMPLES: usize = 10;

/// Results of calls that say nothing against the provider: its answer, what it refused on purpose, what nobody waited for.
const HARMLESS: [&str; 3] = ["ok", "client_error", "cancelled"];

/// A provider's health.
#[derive(Debug, Serialize)]
pub struct Provider {
    name: String,
    /// closed, half-open or open.
    breaker: String,
    calls_in_flight: u64,
    /// Calls that wait for a place or a rate limit before they are sent.
    calls_waiting: u64,
    concurrency_limit: u64,
    /// Seconds that the rest is about.
    window_seconds: f64,
    calls: u64,
    /// Of these, the share that failed; absent without calls.
    error_share: Option<f64>,
    /// How often which result came, without `ok`.
    failures: BTreeMap<String, u64>,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
}

/// What is known of all providers at one moment.
#[derive(Debug)]
struct Sample {
    at: Instant,
    by_name: BTreeMap<String, Totals>,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    by_result: BTreeMap<String, u64>,
    durations: Distribution,
}

#[derive(Debug)]
pub(super) struct Trends(VecDeque<Sample>);

impl Sample {
    fn of(reading: &Reading, at: Instant) -> Self {
        let names = reading.by("calls_total", "provider").into_keys();
        let by_name = names.map(|name| {
            let provider = [("provider", name)];
            let by_result = reading.by_where("calls_total", "result", &provider);
            let by_result = by_result.into_iter().map(|(result, count)| (result.to_owned(), count as u64)).collect();
            (name.to_owned(), Totals { by_result, durations: reading.distribution("call_duration_seconds", &provider) })
        });
        Self { at, by_name: by_name.collect() }
    }
}

impl Trends {
    pub(super) fn new(started: Instant) -> Self {
        Self(VecDeque::from([Sample { at: started, by_name: BTreeMap::new() }]))
    }

    /// Keeps a sample now and then.
    pub(super) fn sample(&mut self, reading: &Reading, now: Instant) {
        if self.0.back().is_some_and(|last| now.saturating_duration_since(last.at) < STEP) {
            return;
        }
        while self.0.len() > MOST_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(Sample::of(reading, now));
    }

    pub(super) fn health(&self, reading: &Reading, now: Instant) -> Vec<Provider> {
        let (now, earlier) = (Sample::of(reading, now), self.0.front());
        let window = earlier.map_or(Duration::ZERO, |earlier| now.at.saturating_duration_since(earlier.at));
        let none = Totals::default();
        let of = |(name, totals): (&String, &Totals)| {
            let before = earlier.and_then(|earlier| earlier.by_name.get(name)).unwrap_or(&none);
            health(name, &totals.since(before), window, reading)
        };
        now.by_name.iter().map(of).collect()
    }
}

impl Totals {
    fn since(&self, earlier: &Totals) -> Totals {
        let before = |result: &str| earlier.by_result.get(result).copied().unwrap_or_default();
        let more = self.by_result.iter().map(|(result, count)| (result.clone(), count.saturating_sub(before(result))));
        Totals { by_result: more.collect(), durations: self.durations.since(&earlier.durations) }
    }
}

fn health(name: &str, recent: &Totals, window: Duration, reading: &Reading) -> Provider {
    let labels = [("provider", name)];
    let states = reading.by_where("provider_breaker_state", "state", &labels);
    let breaker = states.into_iter().find(|(_, is_so)| *is_so > 0.0).map_or("closed", |(state, _)| state);
    let count = |counts: &dyn Fn(&str) -> bool| -> u64 {
        recent.by_result.iter().filter(|(result, _)| counts(result)).map(|(_, count)| count).sum()
    };
    let calls = count(&|result| result != "cancelled");
    let failed = count(&|result| !HARMLESS.contains(&result));
    let failures = recent.by_result.iter().filter(|(result, count)| **count > 0 && *result != "ok");
    Provider {
        name: name.to_owned(),
        breaker: breaker.to_owned(),
        calls_in_flight: reading.count("calls_in_flight", &labels),
        calls_waiting: reading.count("provider_waiting", &labels),
        concurrency_limit: reading.count("provider_concurrency_limit", &labels),
        window_seconds: rounded(window.as_secs_f64()),
        calls,
        error_share: (calls > 0).then(|| rounded(failed as f64 / calls as f64)),
        failures: failures.map(|(result, count)| (result.clone(), *count)).collect(),
        p50_seconds: recent.durations.quantile(0.5).map(rounded),
        p95_seconds: recent.durations.quantile(0.95).map(rounded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Registry;

    #[test]
    fn what_was_more_than_five_minutes_ago_is_forgotten() {
        let registry = Registry::new().unwrap();
        let calls = registry.counter_vec("calls_total", "Calls.", &["provider", "result"]);
        let ended = |result: &str, count| calls.with_label_values(&["openai", result]).inc_by(count);
        let started = Instant::now();
        let mut trends = Trends::new(started);
        ended("connect", 50);
        ended("ok", 50);
        let early = &trends.health(&registry.read(), started + STEP)[0];
        assert_eq!((early.calls, early.error_share, early.window_seconds), (100, Some(0.5), 30.0));
        for step in 1..=20 {
            trends.sample(&registry.read(), started + STEP * step);
            trends.sample(&registry.read(), started + STEP * step + Duration::from_secs(5)); // too soon for another
        }
        assert_eq!(trends.health(&registry.read(), started + STEP * 20)[0].error_share, None);
        ended("ok", 6);
        ended("rate_limited", 1);
        ended("client_error", 1);
        ended("cancelled", 8);
        let later = &trends.health(&registry.read(), started + STEP * 21)[0];
        assert_eq!((later.calls, later.error_share, later.window_seconds), (8, Some(0.125), 330.0));
        assert_eq!(later.failures.keys().collect::<Vec<_>>(), ["cancelled", "client_error", "rate_limited"]);
    }
}
