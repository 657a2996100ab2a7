//! A stored result.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::Key;
use super::memory::Weigh;
use super::policy::{Lifetimes, Policy};
use super::status::{CACHE_STATUS, CacheStatus};
use crate::time::{Duration, Instant};
use crate::usage::Receipt;

/// A whole response with what it may be used for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The status.
    pub status: StatusCode,
    /// The headers that may be replayed.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Whether the body is a stream of events.
    pub is_stream: bool,
    /// When it was complete.
    pub stored: Instant,
    /// How long it may serve since then, with the jitter that keeps entries from expiring together.
    pub lifetimes: Lifetimes,
    /// Names by which it can be purged.
    pub tags: Vec<String>,
    /// The route or provider it came through.
    pub origin: String,
    /// What its request meant, whatever it varied on.
    pub meaning: Key,
    /// What it cost, which everybody who gets it saves.
    pub receipt: Option<Receipt>,
}

/// What an entry is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// To answer with.
    Fresh,
    /// To answer with while it is fetched anew.
    StaleWhileRevalidate,
    /// To answer with if fetching it anew fails.
    StaleIfError,
    /// Nothing.
    Expired,
}

/// The part of a lifetime by which entries differ, so that those stored together do not expire together.
const JITTER: f64 = 0.1;

impl Lifetimes {
    /// Shortens the time of freshness by `chance` (0 to 1) of a tenth.
    pub fn with_jitter(self, chance: f64) -> Self {
        Self { ttl: self.ttl.mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0)), ..self }
    }
}

impl Entry {
    /// Since when it is stored.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// Its headers as of now, which say how it was found.
    pub fn replayed(&self, found: CacheStatus) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(header::AGE, self.age(Instant::now()).as_secs().into());
        headers.insert(CACHE_STATUS, found.value(None));
        headers
    }

    /// How long it stays fresh.
    pub fn fresh_for(&self, now: Instant) -> Duration {
        self.lifetimes.ttl.saturating_sub(self.age(now))
    }

    /// What it is good for, for a request with this policy.
    pub fn freshness(&self, now: Instant, policy: &Policy) -> Freshness {
        let asked = &policy.asked;
        let age = self.age(now);
        let own = if policy.is_own_measure { self.lifetimes.min(policy.lifetimes) } else { self.lifetimes };
        let ttl = asked.max_age.map_or(own.ttl, |max_age| max_age.min(own.ttl));
        let ttl = ttl.saturating_sub(asked.min_fresh.unwrap_or_default());
        let stale = age.saturating_sub(ttl);
        if age < ttl || asked.max_stale.is_some_and(|most| self.fresh_for(now).is_zero() && stale <= most) {
            return Freshness::Fresh;
        }
        // A request with demands of its own gets nothing stale unasked.
        let demands = asked.max_age.is_some() || asked.min_fresh.is_some();
        if !demands && stale < own.stale_while_revalidate {
            Freshness::StaleWhileRevalidate
        } else if !demands && stale < own.stale_if_error {
            Freshness::StaleIfError
        } else {
            Freshness::Expired
        }
    }
}

/// Parts of names of headers that are about one answer on one connection to one account, and mean nothing later.
const OF_THE_MOMENT: [&str; 11] = [
    "ratelimit",
    "rate-limit",
    "request-id",
    "retry-after",
    "processing-ms",
    "cf-",
    "set-cookie",
    "server-timing",
    "alt-svc",
    "envoy",
    "siding-",
];

/// The headers that say something about an answer whenever it is read.
pub fn lasting(headers: &HeaderMap) -> HeaderMap {
    let lasts = |name: &HeaderName| {
        !OF_THE_MOMENT.iter().any(|part| name.as_str().contains(part)) && !matches!(*name, header::DATE | header::AGE)
    };
    headers.iter().filter(|(name, _)| lasts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Weigh for Entry {
    fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.body.len() + headers + self.tags.iter().map(|tag| tag.len() + 24).sum::<usize>()
    }

    fn lifetime(&self) -> Duration {
        self.lifetimes.longest()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{RequestDirectives, Scope};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    pub(in crate::cache) fn entry(body: &'static [u8], tags: &[&str]) -> Entry {
        Entry {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body),
            is_stream: false,
            stored: Instant::now(),
            lifetimes: Lifetimes { ttl: SECOND * 10, stale_while_revalidate: SECOND * 5, stale_if_error: SECOND * 20 },
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            origin: "origin".into(),
            meaning: Key::of([body]),
            receipt: None,
        }
    }

    fn policy(asked: RequestDirectives) -> Policy {
        Policy { asked, ..Policy::new(Scope::All, Lifetimes::default()) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_goes_from_fresh_over_stale_to_expired() {
        let entry = entry(b"", &[]);
        let at = |seconds| entry.freshness(entry.stored + SECOND * seconds, &policy(RequestDirectives::default()));
        assert_eq!(at(9), Freshness::Fresh);
        assert_eq!(at(10), Freshness::StaleWhileRevalidate);
        assert_eq!(at(15), Freshness::StaleIfError);
        assert_eq!(at(30), Freshness::Expired);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_ask_for_more_or_be_content_with_less() {
        let entry = entry(b"", &[]);
        let at = |seconds, asked| entry.freshness(entry.stored + SECOND * seconds, &policy(asked));
        let asked = RequestDirectives::default();
        assert_eq!(at(4, RequestDirectives { max_age: Some(SECOND * 3), ..asked }), Freshness::Expired);
        assert_eq!(at(8, RequestDirectives { min_fresh: Some(SECOND * 3), ..asked }), Freshness::Expired);
        assert_eq!(at(6, RequestDirectives { min_fresh: Some(SECOND * 3), ..asked }), Freshness::Fresh);
        assert_eq!(at(13, RequestDirectives { max_stale: Some(SECOND * 3), ..asked }), Freshness::Fresh);
        assert_eq!(at(14, RequestDirectives { max_stale: Some(SECOND * 3), ..asked }), Freshness::StaleWhileRevalidate);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_with_a_measure_of_its_own_wants_nothing_older() {
        let entry = entry(b"", &[]);
        let mut short = policy(RequestDirectives::default());
        short.lifetimes.ttl = SECOND * 2;
        let at = |policy: &Policy| entry.freshness(entry.stored + SECOND * 3, policy);
        assert_eq!(at(&short), Freshness::Fresh);
        short.is_own_measure = true;
        assert_eq!(at(&short), Freshness::Expired);
    }

    #[test]
    fn jitter_only_ever_shortens() {
        let lifetimes = Lifetimes { ttl: SECOND * 10, ..Lifetimes::default() };
        assert_eq!(lifetimes.with_jitter(0.0).ttl, SECOND * 10);
        assert_eq!(lifetimes.with_jitter(1.0).ttl, SECOND * 9);
    }
}
