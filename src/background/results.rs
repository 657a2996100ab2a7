//! What ended jobs leave behind, in this process's memory, bounded in bytes and time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::job::Note;
use super::metrics::Metrics;
use super::owner::Owner;
use crate::buffers::Lease;
use crate::telemetry::Reason;
use crate::time::{Duration, Instant};

/// A job that ended: plain data, and nothing that runs.
#[derive(Debug)]
pub struct Finished {
    /// The job's identity.
    pub id: String,
    /// The identity of its exchange, for support.
    pub exchange: String,
    /// Whose it is.
    pub owner: Owner,
    /// How it ended.
    pub ended: Ended,
    /// What happened on the way.
    pub(super) story: Vec<Note>,
    /// Memory that the answer occupies.
    pub(super) _lease: Lease,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The app answered.
    Answered(Answer),
    /// Siding answered in the app's place.
    Refused(Refusal),
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When trying again may be worth it.
    pub retry_after: Option<Duration>,
    /// The status that stands for it.
    #[serde(with = "number")]
    pub status: StatusCode,
}

/// A status as other processes read it.
pub(super) mod number {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(status.as_u16())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Refusal {
    /// A fault of Siding itself.
    pub(super) fn internal() -> Self {
        Self { reason: Reason::Internal, retry_after: None, status: StatusCode::INTERNAL_SERVER_ERROR }
    }
}

impl Ended {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Answered(answer) => answer.status,
            Self::Refused(refusal) => refusal.status,
        }
    }

    /// The word for how it ended: `answered`, or why not.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Refused(refusal) => refusal.reason.as_str(),
        }
    }
}

/// In this process's memory. What has been kept for long enough is dropped whenever anything is asked of it.
#[derive(Debug)]
pub(super) struct LocalResults {
    retention: Duration,
    kept: Mutex<Kept>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the order in which they ended.
    by_age: BTreeMap<u64, (Instant, Arc<Finished>)>,
    by_id: HashMap<String, u64>,
    next: u64,
}

impl LocalResults {
    pub(super) fn new(retention: Duration, metrics: Arc<Metrics>) -> Self {
        Self { retention, kept: Mutex::default(), metrics }
    }

    /// Drops the oldest result to make room. `false` when there is none.
    pub(super) fn evict(&self) -> bool {
        let evicted = self.kept.lock().pop_oldest(&self.metrics);
        self.metrics.evicted.inc_by(u64::from(evicted));
        evicted
    }

    /// Drops what has been kept for long enough.
    pub(super) fn purge(&self) {
        let (mut kept, now) = (self.kept.lock(), Instant::now());
        while kept.by_age.first_key_value().is_some_and(|(_, (since, _))| now - *since >= self.retention) {
            kept.pop_oldest(&self.metrics);
            self.metrics.expired.inc();
        }
    }
}

impl LocalResults {
    /// Keeps a result under its identity.
    pub(super) fn put(&self, finished: Arc<Finished>) {
        self.purge();
        let mut kept = self.kept.lock();
        let number = kept.next;
        kept.next += 1;
        kept.by_id.insert(finished.id.clone(), number);
        kept.by_age.insert(number, (Instant::now(), finished));
        self.metrics.stored.set(kept.count());
    }

    /// A result.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Finished>> {
        self.purge();
        let kept = self.kept.lock();
        let number = kept.by_id.get(id)?;
        kept.by_age.get(number).map(|(_, finished)| Arc::clone(finished))
    }

    /// Forgets a result, and says whether it was there.
    pub(super) fn remove(&self, id: &str) -> bool {
        self.purge();
        let mut kept = self.kept.lock();
        let number = kept.by_id.remove(id);
        let removed = number.and_then(|number| kept.by_age.remove(&number)).is_some();
        self.metrics.stored.set(kept.count());
        removed
    }
}

impl Kept {
    fn pop_oldest(&mut self, metrics: &Metrics) -> bool {
        let Some((_, (_, finished))) = self.by_age.pop_first() else { return false };
        self.by_id.remove(&finished.id);
        metrics.stored.set(self.count());
        true
    }

    fn count(&self) -> i64 {
        i64::try_from(self.by_age.len()).unwrap_or(i64::MAX)
    }
}
