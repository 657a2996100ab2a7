//! What the cache did: requests by result, what was not stored and why, its size.

use prometheus::{IntCounter, IntGauge};

use super::memory::Evicted;
use crate::telemetry::Registry;

/// What shares results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Calls to providers.
    Call,
    /// Whole answers of routes.
    Route,
}

/// How a request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// From what was stored, fresh.
    Hit,
    /// From what was stored, stale.
    Stale,
    /// By asking.
    Miss,
    /// By joining a flight under way.
    Collapsed,
    /// By asking, shared with nobody.
    Bypass,
}

/// Why a complete answer was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Its status is not 2xx.
    Status,
    /// It is for one client: `Set-Cookie`, or `Cache-Control` says so.
    Private,
    /// Its lifetime is zero, or request or response forbid it.
    Forbidden,
    /// A purge came meanwhile.
    Purged,
    /// It is larger than `cache.max_entry`.
    TooLarge,
    /// It ended before its terminal event.
    Incomplete,
    /// It is not what its API answers.
    Malformed,
    /// The model ran out of tokens.
    Truncated,
    /// A filter cut it.
    Filtered,
    /// It reports an error.
    Error,
    /// Somebody else gave it than was asked.
    Fallback,
    /// Its beginning is that of another process's answer.
    Spliced,
}

impl Place {
    const ALL: [Place; 2] = [Place::Call, Place::Route];

    fn as_str(self) -> &'static str {
        match self {
            Place::Call => "call",
            Place::Route => "route",
        }
    }
}

impl Served {
    const ALL: [Served; 5] = [Served::Hit, Served::Stale, Served::Miss, Served::Collapsed, Served::Bypass];

    /// The word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Served::Hit => "hit",
            Served::Stale => "stale",
            Served::Miss => "miss",
            Served::Collapsed => "collapsed",
            Served::Bypass => "bypass",
        }
    }
}

impl NotStored {
    const ALL: [NotStored; 12] = [
        NotStored::Status,
        NotStored::Private,
        NotStored::Forbidden,
        NotStored::Purged,
        NotStored::TooLarge,
        NotStored::Incomplete,
        NotStored::Malformed,
        NotStored::Truncated,
        NotStored::Filtered,
        NotStored::Error,
        NotStored::Fallback,
        NotStored::Spliced,
    ];

    fn as_str(self) -> &'static str {
        match self {
            NotStored::Status => "status",
            NotStored::Private => "private",
            NotStored::Forbidden => "forbidden",
            NotStored::Purged => "purged",
            NotStored::TooLarge => "too-large",
            NotStored::Incomplete => "incomplete",
            NotStored::Malformed => "malformed",
            NotStored::Truncated => "truncated",
            NotStored::Filtered => "filtered",
            NotStored::Error => "error",
            NotStored::Fallback => "fallback",
            NotStored::Spliced => "spliced",
        }
    }
}

/// Families about the cache. Series are found by position: looking labels up costs every hit.
#[derive(Debug)]
pub struct Metrics {
    served: Vec<Vec<IntCounter>>,
    not_stored: Vec<IntCounter>,
    stored: Vec<IntCounter>,
    purged: IntCounter,
    evictions: [IntCounter; Evicted::ALL.len()],
    bytes: IntGauge,
    entries: IntGauge,
}

impl Metrics {
    /// All at zero.
    pub fn new(registry: &Registry, capacity: u64) -> Self {
        let served = registry.counter_vec("cache_requests_total", "Requests that could share.", &["place", "result"]);
        let places = Place::ALL.map(Place::as_str);
        let by_result =
            |place: &str| Served::ALL.map(|result| served.with_label_values(&[place, result.as_str()])).into();
        let reasons = NotStored::ALL.map(NotStored::as_str);
        let not_stored =
            registry.counters("cache_not_stored_total", "Complete answers that were not stored.", "reason", &reasons);
        let stored = registry.counters("cache_stored_total", "Answers that were stored.", "place", &places);
        let evictions = registry.counters(
            "cache_evictions_total",
            "Entries that were let go: others needed their place, or their time was over.",
            "reason",
            &Evicted::ALL.map(Evicted::as_str),
        );
        let limit = registry.gauge("cache_size_limit_bytes", "Bytes that entries may take.");
        limit.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        Self {
            served: places.map(by_result).into(),
            not_stored: reasons.map(|reason| not_stored.with_label_values(&[reason])).into(),
            stored: places.map(|place| stored.with_label_values(&[place])).into(),
            evictions: Evicted::ALL.map(|why| evictions.with_label_values(&[why.as_str()])),
            purged: registry.counter("cache_purged_total", "Entries that were purged."),
            bytes: registry.gauge("cache_size_bytes", "Bytes that entries take."),
            entries: registry.gauge("cache_entries", "Entries."),
        }
    }

    /// A request was served.
    pub fn served(&self, place: Place, served: Served) {
        self.served[place as usize][served as usize].inc();
    }

    /// A request is being served; it counts when the guard is dropped, however it ends.
    pub fn serving(&self, place: Place, served: Served) -> Serving<'_> {
        Serving { metrics: self, place, served }
    }

    /// An answer was stored.
    pub fn stored(&self, place: Place) {
        self.stored[place as usize].inc();
    }

    /// An answer was not stored.
    pub fn not_stored(&self, reason: NotStored) {
        self.not_stored[reason as usize].inc();
    }

    /// Counters of entries that are let go, by [`Evicted`].
    pub fn evictions(&self) -> [IntCounter; Evicted::ALL.len()] {
        self.evictions.clone()
    }

    /// Entries were purged.
    pub fn purged(&self, count: u64) {
        self.purged.inc_by(count);
    }

    /// Brings the sizes up to date.
    pub fn show(&self, (bytes, entries): (u64, u64)) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
}

/// A request on its way to being served.
#[derive(Debug)]
pub struct Serving<'a> {
    metrics: &'a Metrics,
    place: Place,
    /// How, as far as is known.
    pub served: Served,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.metrics.served(self.place, self.served);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_at_its_position() {
        for (position, served) in Served::ALL.into_iter().enumerate() {
            assert_eq!(served as usize, position);
        }
        for (position, reason) in NotStored::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position);
        }
        for (position, place) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, position);
        }
    }
}
