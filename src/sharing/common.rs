//! What answers of all kinds have in common: the store, what requests meant before, whose answers are not shared.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::metrics::Metrics;
use super::{Config, Remote};
use crate::cache::{
    self, CacheStatus, Entry, Key, LocalStore, Memory, Place, Policy, Repeats, RequestDirectives, Selector, Served,
    Store, Weigh,
};
use crate::drain::Drain;
use crate::telemetry::Registry;
use crate::time::{Duration, Instant};

/// How long a request whose answer turned out to be for one client only is not waited for by others.
const NOT_SHARED_FOR: Duration = Duration::from_secs(120);
/// Memory for such exceptions, in bytes.
const EXCEPTIONS: u64 = 4 * 1024 * 1024;
/// How long the meaning of a body is remembered.
const ALIAS_FOR: Duration = Duration::from_secs(3600);
/// Memory for such meanings, in bytes.
const ALIASES: u64 = 16 * 1024 * 1024;
/// Memory for requests that may come again, in bytes.
const REPEATS: u64 = 32 * 1024 * 1024;
/// What all kinds of answers have in common.
#[derive(Debug)]
pub struct Common {
    pub(super) config: Config,
    pub(super) store: LocalStore,
    pub(super) exceptions: Memory<NotShared>,
    pub(super) aliases: Memory<Alias>,
    pub(super) repeats: Repeats,
    pub(super) cache_metrics: cache::Metrics,
    pub(super) metrics: Metrics,
    pub(super) drain: Drain,
    /// What other processes have, where there is a Redis.
    pub(super) remote: Option<Remote>,
    pub(super) alone: AtomicU64,
}

/// What a request's own bytes mean. Keeps canonicalisation off the path of a hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alias(Key);

impl Weigh for Alias {
    fn weight(&self) -> usize {
        0
    }

    fn lifetime(&self) -> Duration {
        ALIAS_FOR
    }
}

/// What a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Entries of this process's that are gone.
    pub count: u64,
    /// Whether other processes know; they hear of it later where not. `None` where there are none.
    pub others: Option<bool>,
}

/// A key whose answers are not shared.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotShared;

impl Weigh for NotShared {
    fn weight(&self) -> usize {
        0
    }

    fn lifetime(&self) -> Duration {
        NOT_SHARED_FOR
    }
}

impl Common {
    /// Nothing stored.
    pub fn new(config: Config, drain: Drain, remote: Option<Remote>, registry: &Registry) -> Arc<Self> {
        let cache_metrics = cache::Metrics::new(registry, config.store.capacity);
        let evictions = cache_metrics.evictions();
        Arc::new(Self {
            store: LocalStore::told(&config.store, move |why| evictions[why as usize].inc()),
            exceptions: Memory::new(EXCEPTIONS),
            aliases: Memory::new(ALIASES),
            repeats: Repeats::new(REPEATS),
            cache_metrics,
            metrics: Metrics::new(registry),
            config,
            drain,
            remote,
            alone: AtomicU64::new(0),
        })
    }

    /// The key of a request whose bytes have the key `raw`: that of its canonical form, if it has one.
    pub fn meaning_of(&self, raw: Key, canonical: impl FnOnce() -> Option<Key>) -> Key {
        if let Some(Alias(key)) = self.aliases.get(&raw) {
            return key;
        }
        let key = canonical().unwrap_or(raw);
        self.aliases.put(raw, Alias(key));
        key
    }

    /// Remembers what a request meant, of which nothing but its bytes matters to its answer.
    pub fn remember(&self, bytes: Bytes, meaning: Key, policy: &Policy) {
        if policy.asked == RequestDirectives::default() {
            self.repeats.put(bytes, meaning);
        }
    }

    /// The stored answer to a request whose bytes came before, if it is fresh and depends on nothing else.
    pub fn repeated(&self, bytes: &[u8]) -> Option<(Arc<Entry>, CacheStatus)> {
        let meaning = self.repeats.get(bytes)?;
        let entry = self.store.peek(&meaning)?.entry()?;
        let now = Instant::now();
        let ttl = entry.fresh_for(now);
        if ttl.is_zero() {
            return None;
        }
        self.cache_metrics.served(Place::Route, Served::Hit);
        Some((entry, CacheStatus::Hit { ttl, stale: Duration::ZERO }))
    }

    /// Removes entries, here and wherever answers are shared with.
    pub async fn purge(&self, selector: &Selector) -> Purged {
        let count = self.purge_here(selector).await;
        let others = match &self.remote {
            None => None,
            Some(remote) => Some(remote.purge(selector).await),
        };
        Purged { count, others }
    }

    pub(super) async fn purge_here(&self, selector: &Selector) -> u64 {
        let count = self.store.purge(selector).await;
        self.cache_metrics.purged(count);
        count
    }

    /// Removes what other processes purge, for as long as it runs.
    pub async fn hear(&self) {
        if let Some(remote) = &self.remote {
            remote.hear(self).await;
        }
    }

    /// Brings the metrics up to date that are not events.
    pub fn observe(&self) {
        self.cache_metrics.show(self.store.size());
    }
}
