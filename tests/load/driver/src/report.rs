//! What happened: counts, errors by kind, latencies, and the times of streams.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::distribution::Distribution;
use crate::stream::{Listener, Samples, Streams};

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Disconnected,
    Timeout,
    Status(u16),
    WrongAnswer,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::WrongAnswer => f.write_str("wrong answer"),
        }
    }
}

/// Collects outcomes while the load runs.
#[derive(Default)]
pub(crate) struct Record {
    /// In milliseconds.
    latencies: Vec<f64>,
    /// Of good answers; only where streams are read as such.
    streams: Option<Samples>,
    errors: BTreeMap<String, u64>,
}

/// The result of a run. Latencies are of good answers, in milliseconds.
#[derive(Serialize)]
pub(crate) struct Summary {
    /// Requests that were answered as they should be.
    pub(crate) good: u64,
    pub(crate) failed: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    /// Still in flight when the run was left; neither good nor failed.
    pub(crate) unanswered: u64,
    /// From the first request, or the end of the warm-up, to the last outcome.
    pub(crate) seconds: f64,
    /// Good answers a second.
    pub(crate) throughput: f64,
    pub(crate) latency_ms: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) streams: Option<Streams>,
}

impl Record {
    pub(crate) fn add(&mut self, outcome: Result<Option<Listener>, Kind>, latency: Duration) {
        match outcome {
            Ok(stream) => {
                self.latencies.push(latency.as_secs_f64() * 1000.0);
                if let Some(stream) = stream {
                    self.streams.get_or_insert_default().add(&stream);
                }
            }
            Err(kind) => *self.errors.entry(kind.to_string()).or_default() += 1,
        }
    }

    pub(crate) fn good(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// With `samples`, every time of streams is told too.
    pub(crate) fn summary(&mut self, elapsed: Duration, unanswered: u64, samples: bool) -> Summary {
        let seconds = elapsed.as_secs_f64();
        Summary {
            good: self.good(),
            failed: self.failed(),
            errors: self.errors.clone(),
            unanswered,
            seconds,
            throughput: if seconds > 0.0 { self.good() as f64 / seconds } else { 0.0 },
            latency_ms: Distribution::of(&mut self.latencies),
            streams: self.streams.as_mut().map(|streams| streams.summary(samples)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} good, {} failed in {:.1} s: {:.1} a second",
            self.good, self.failed, self.seconds, self.throughput
        )?;
        if let Some(latency) = &self.latency_ms {
            write!(f, "\nlatency in ms: {latency:.1}")?;
        }
        for (name, found) in self.streams.iter().flat_map(Streams::told) {
            write!(f, "\n{name} in ms: {found:.3}")?;
        }
        for (kind, count) in &self.errors {
            write!(f, "\n{count} x {kind}")?;
        }
        if self.unanswered > 0 {
            write!(f, "\n{} unanswered at the end", self.unanswered)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_good_answers_only() {
        let mut record = Record::default();
        (1..=100).for_each(|ms| record.add(Ok(None), Duration::from_millis(ms)));
        record.add(Err(Kind::Status(503)), Duration::from_secs(9));
        let summary = record.summary(Duration::from_secs(10), 0, false);
        let latency = summary.latency_ms.unwrap();
        assert_eq!((latency.p50, latency.p90, latency.p99, latency.max), (50.0, 90.0, 99.0, 100.0));
        assert_eq!((summary.throughput, summary.failed, summary.errors["status 503"]), (10.0, 1, 1));
    }

    #[test]
    fn a_run_without_good_answers_has_no_latency() {
        assert!(Record::default().summary(Duration::ZERO, 0, false).latency_ms.is_none());
    }
}
