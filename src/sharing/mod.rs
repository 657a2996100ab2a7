//! One prompt, one call: a stored result if there is one, else a flight under way, else new work. Calls to providers
//! and whole answers of routes are shared in the same way and in the same store; what they are, how they are fetched
//! and who may share them is their owners' business. It must never make a request.
//!
//! ```text
//! answer: lookup -> fresh: done
//!                -> stale while revalidating: done, and one flight fetches it anew
//!         join   -> follow: read from byte 0, then live
//!                -> lead: a task of its own: look again -> work -> store -> end
//! ```

mod lead;
mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;

use crate::buffers::{Full, Lease};
use crate::cache::{
    self, CacheStatus, Entry, Freshness, Key, KeyBuilder, LocalStore, Memory, NotStored, Place, Policy, Repeats,
    RequestDirectives, ResponseDirectives, Scope, Selector, Served, Serving, Store, Stored, Weigh,
};
use crate::coalesce::{End, Flights, Joined, Reader};
use crate::drain::Drain;
use crate::telemetry::Registry;
use crate::time::{Duration, Instant};

pub use lead::Publisher;
use metrics::Metrics;

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
/// How often a request looks for another way to share (its answer varies, or is private) before it goes alone.
const MOST_WAYS: usize = 3;

/// What is shared besides an answer's bytes.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// Whether the bytes are a stream of events.
    pub is_stream: bool,
    /// Request headers on which the answer depends.
    pub varies: Arc<[HeaderName]>,
    /// The key of the answer for these headers' values.
    variant: Option<Key>,
    /// Whether it is for one client only.
    pub is_private: bool,
    /// Memory that the bytes occupy.
    held: Option<Arc<Mutex<Lease>>>,
}

/// Bounds of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is stored.
    pub store: cache::Config,
    /// Requests that may wait for one answer.
    pub max_followers: usize,
}

/// What is wanted, and under which conditions.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the request means.
    pub key: Key,
    /// Who may share the answer, and for how long.
    pub policy: Policy,
    /// What kind of answer it is.
    pub place: Place,
    /// The route or provider it comes through.
    pub origin: String,
    /// The request headers that an answer may depend on.
    pub headers: HeaderMap,
    /// What is shared in flight only by requests with the same value: their patience, say.
    pub apart: Vec<u8>,
    /// Bytes of an answer that are kept for those who join later.
    pub bound: usize,
}

/// An answer, or its beginning.
#[derive(Debug)]
pub enum Answer<E> {
    /// It was stored.
    Stored {
        /// What was stored.
        entry: Arc<Entry>,
        /// How it was found.
        status: CacheStatus,
    },
    /// It is on its way.
    Live {
        /// Its head.
        head: Head,
        /// Its bytes.
        reader: Reader<Head, E>,
        /// How it was come by.
        status: CacheStatus,
    },
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered<E> {
    /// The request wanted a stored answer or none.
    NotCached,
    /// Fetching failed before there was a head.
    Failed(E),
    /// Whoever fetched it vanished.
    Abandoned,
}

/// What became of an answer that was published whole.
pub type Storable = Result<(ResponseDirectives, HeaderMap), NotStored>;

/// How an answer is fetched, once, if nobody else does.
#[async_trait]
pub trait Work<E>: Send + 'static {
    /// Publishes head and bytes, and says at the end what it says about storing, and with which headers.
    ///
    /// # Cancel safety
    /// The future is dropped when nobody wants the answer any more.
    async fn run(self: Box<Self>, to: &Publisher<'_, E>) -> Result<Storable, E>;
}

/// What all kinds of answers have in common.
#[derive(Debug)]
pub struct Common {
    config: Config,
    store: LocalStore,
    exceptions: Memory<NotShared>,
    aliases: Memory<Alias>,
    repeats: Repeats,
    cache_metrics: cache::Metrics,
    metrics: Metrics,
    drain: Drain,
    alone: AtomicU64,
}

/// What a request's own bytes mean. Keeps canonicalisation off the path of a hit.
#[derive(Clone, Copy, Debug)]
struct Alias(Key);

impl Weigh for Alias {
    fn weight(&self) -> usize {
        0
    }

    fn lifetime(&self) -> Duration {
        ALIAS_FOR
    }
}

/// A key whose answers are not shared.
#[derive(Clone, Copy, Debug)]
struct NotShared;

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
    pub fn new(config: Config, drain: Drain, registry: &Registry) -> Arc<Self> {
        Arc::new(Self {
            store: LocalStore::new(&config.store),
            exceptions: Memory::new(EXCEPTIONS),
            aliases: Memory::new(ALIASES),
            repeats: Repeats::new(REPEATS),
            cache_metrics: cache::Metrics::new(registry, config.store.capacity),
            metrics: Metrics::new(registry),
            config,
            drain,
            alone: AtomicU64::new(0),
        })
    }

    /// Removes entries, and says how many.
    pub async fn purge(&self, selector: &Selector) -> u64 {
        let count = self.store.purge(selector).await;
        self.cache_metrics.purged(count);
        count
    }

    /// Brings the metrics up to date that are not events.
    pub fn observe(&self) {
        self.cache_metrics.show(self.store.size());
    }
}

/// Answers of one kind. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Sharing<E> {
    common: Arc<Common>,
    flights: Flights<Key, Head, E>,
}

impl<E: Clone + Send + Sync + 'static> Sharing<E> {
    /// No flights yet.
    pub fn new(common: Arc<Common>) -> Self {
        Self { flights: Flights::new(common.config.max_followers), common }
    }

    /// Counts a request that may be shared with nobody.
    pub fn bypassed(&self, place: Place) {
        self.common.cache_metrics.served(place, Served::Bypass);
    }

    /// The key of a request whose bytes have the key `raw`: that of its canonical form, if it has one.
    pub fn meaning_of(&self, raw: Key, canonical: impl FnOnce() -> Option<Key>) -> Key {
        if let Some(Alias(key)) = self.common.aliases.get(&raw) {
            return key;
        }
        let key = canonical().unwrap_or(raw);
        self.common.aliases.put(raw, Alias(key));
        key
    }

    /// Remembers what a request meant, of which nothing but its bytes matters to its answer.
    pub fn remember(&self, bytes: Bytes, meaning: Key, policy: &Policy) {
        if policy.asked == RequestDirectives::default() {
            self.common.repeats.put(bytes, meaning);
        }
    }

    /// The stored answer to a request whose bytes came before, if it is fresh and depends on nothing else.
    pub fn repeated(&self, bytes: &[u8]) -> Option<(Arc<Entry>, CacheStatus)> {
        let meaning = self.common.repeats.get(bytes)?;
        let entry = self.common.store.peek(&meaning)?.entry()?;
        let now = Instant::now();
        if entry.freshness(now, &RequestDirectives::default()) != Freshness::Fresh {
            return None;
        }
        self.common.cache_metrics.served(Place::Route, Served::Hit);
        let ttl = entry.fresh_for(now);
        Some((entry, CacheStatus::Hit { ttl, stale: Duration::ZERO }))
    }

    /// A stored answer that is fresh for this request, at once.
    pub fn fresh(&self, key: &Key, policy: &Policy, headers: &HeaderMap) -> Option<Answer<E>> {
        let (_, found) = self.find(key, policy, headers);
        self.hit(found?, policy, Freshness::Fresh, Place::Route)
    }

    /// Answers, by whichever way is the cheapest.
    ///
    /// # Errors
    /// See [`Unanswered`].
    ///
    /// # Cancel safety
    /// Dropping the future is leaving; the work goes on while others want it.
    pub async fn answer(&self, wanted: Wanted, work: impl Work<E>) -> Result<Answer<E>, Unanswered<E>> {
        let (work, place): (Box<dyn Work<E>>, Place) = (Box::new(work), wanted.place);
        if wanted.policy.scope == Scope::Nobody && !wanted.policy.asked.only_if_cached {
            return self.alone(&wanted, work).await;
        }
        for _ in 0..MOST_WAYS {
            let (key, found) = self.find(&wanted.key, &wanted.policy, &wanted.headers);
            let hit = |freshness| self.hit(found.clone()?, &wanted.policy, freshness, place);
            if let Some(fresh) = hit(Freshness::Fresh) {
                return Ok(fresh);
            }
            if wanted.policy.asked.only_if_cached {
                return Err(Unanswered::NotCached);
            }
            if let Some(stale) = hit(Freshness::StaleWhileRevalidate) {
                self.refresh(key, wanted, work);
                return Ok(stale);
            }
            if self.common.exceptions.get(&key).is_some() {
                break;
            }
            let reader = match self.flights.join(&self.flight(&key, &wanted), wanted.bound) {
                Joined::Leads(leader, reader) => {
                    tracing::debug!(%key, origin = wanted.origin, "nothing stored");
                    let serving = self.common.cache_metrics.serving(place, Served::Miss);
                    self.lead(leader, key, wanted.clone(), work);
                    let led = live(reader, CacheStatus::Miss { collapsed: false }).await;
                    return or_stale(led, found, &wanted, serving);
                }
                Joined::Follows(reader) => reader,
                Joined::Full => break,
            };
            if let Some(followed) = self.follow(reader, &wanted).await {
                let serving = self.common.cache_metrics.serving(place, Served::Collapsed);
                return or_stale(followed, found, &wanted, serving);
            }
        }
        self.alone(&wanted, work).await
    }

    fn flight(&self, key: &Key, wanted: &Wanted) -> Key {
        flight(key, &wanted.apart, self.common.store.generation())
    }

    /// What others fetch. `None` when it is not for this request.
    async fn follow(&self, reader: Reader<Head, E>, wanted: &Wanted) -> Option<Result<Answer<E>, Unanswered<E>>> {
        let _follower = self.common.metrics.follow();
        let followed = live(reader, CacheStatus::Miss { collapsed: true }).await;
        if matches!(&followed, Ok(Answer::Live { head, .. }) if !head.is_for(wanted)) {
            return None;
        }
        Some(followed)
    }

    /// Does the work for this request only, because no answer that others have will do.
    ///
    /// # Errors
    /// See [`Unanswered`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the work up.
    pub async fn answer_alone(&self, wanted: &Wanted, work: impl Work<E>) -> Result<Answer<E>, Unanswered<E>> {
        self.alone(wanted, Box::new(work)).await
    }

    async fn alone(&self, wanted: &Wanted, work: Box<dyn Work<E>>) -> Result<Answer<E>, Unanswered<E>> {
        self.bypassed(wanted.place);
        let number = self.common.alone.fetch_add(1, Ordering::Relaxed);
        let key = Key::of([b"alone".as_slice(), &number.to_le_bytes()]);
        let Joined::Leads(leader, reader) = self.flights.join(&key, wanted.bound) else {
            return Err(Unanswered::Abandoned); // numbers are used once
        };
        let mut wanted = wanted.clone();
        wanted.policy.scope = Scope::Nobody;
        wanted.policy.store = false;
        wanted.policy.lookup = false;
        self.lead(leader, key, wanted, work);
        live(reader, CacheStatus::Bypass).await
    }

    /// What is stored, fresh or not, and the key under which it is or would be.
    fn find(&self, key: &Key, policy: &Policy, headers: &HeaderMap) -> (Key, Option<Arc<Entry>>) {
        match self.common.store.peek(key) {
            Some(Stored::Varies(names)) => {
                let variant = variant(key, &names, headers);
                let found = self.common.store.peek(&variant).filter(|_| policy.looks_up());
                (variant, found.and_then(Stored::entry))
            }
            found => (*key, found.filter(|_| policy.looks_up()).and_then(Stored::entry)),
        }
    }

    fn hit(&self, entry: Arc<Entry>, policy: &Policy, wanted: Freshness, place: Place) -> Option<Answer<E>> {
        let answer = stored(entry, policy, wanted)?;
        let served = if wanted == Freshness::Fresh { Served::Hit } else { Served::Stale };
        self.common.cache_metrics.served(place, served);
        Some(answer)
    }
}

/// What is stored as an answer, if it is good for this.
fn stored<E>(entry: Arc<Entry>, policy: &Policy, wanted: Freshness) -> Option<Answer<E>> {
    let now = Instant::now();
    if entry.freshness(now, &policy.asked) != wanted {
        return None;
    }
    let ttl = entry.fresh_for(now);
    let stale = entry.age(now).saturating_sub(entry.lifetimes.ttl);
    Some(Answer::Stored { entry, status: CacheStatus::Hit { ttl, stale } })
}

/// A stale answer in place of an error, where that is allowed.
fn or_stale<E>(
    answer: Result<Answer<E>, Unanswered<E>>,
    found: Option<Arc<Entry>>,
    wanted: &Wanted,
    mut serving: Serving<'_>,
) -> Result<Answer<E>, Unanswered<E>> {
    let failed = match &answer {
        Ok(Answer::Live { head, .. }) => head.status.is_server_error(),
        Ok(Answer::Stored { .. }) => false,
        Err(_) => true,
    };
    let stale = found.filter(|_| failed).and_then(|entry| stored(entry, &wanted.policy, Freshness::StaleIfError));
    if stale.is_some() {
        serving.served = Served::Stale;
    }
    stale.map_or(answer, Ok)
}

impl Head {
    /// An answer's beginning. `lease` grows with its bytes; none is needed for bytes that are accounted for already.
    pub fn new(status: StatusCode, headers: HeaderMap, lease: Option<Lease>) -> Self {
        let held = lease.map(|lease| Arc::new(Mutex::new(lease)));
        Self { status, headers, is_stream: false, varies: Arc::new([]), variant: None, is_private: false, held }
    }

    /// Takes memory for more bytes, which the last reader of the answer gives back.
    fn hold(&self, more: usize) -> Result<(), Full> {
        self.held.as_ref().map_or(Ok(()), |held| held.lock().grow(more))
    }

    /// Gives back what more than `bytes` was taken.
    fn hold_only(&self, bytes: usize) {
        if let Some(held) = &self.held {
            held.lock().shrink_to(bytes);
        }
    }

    /// Whether somebody who follows may have this answer.
    fn is_for(&self, wanted: &Wanted) -> bool {
        let own = || variant(&wanted.key, &self.varies, &wanted.headers);
        !self.is_private && self.variant.is_none_or(|variant| variant == own())
    }
}

async fn live<E: Clone>(reader: Reader<Head, E>, status: CacheStatus) -> Result<Answer<E>, Unanswered<E>> {
    match reader.head().await {
        Ok(head) => Ok(Answer::Live { head, reader, status }),
        Err(End::Failed(error)) => Err(Unanswered::Failed(error)),
        Err(End::Abandoned | End::Complete) => Err(Unanswered::Abandoned),
    }
}

/// The key of one variant (RFC 9111, section 4.1).
fn variant(key: &Key, names: &[HeaderName], headers: &HeaderMap) -> Key {
    let mut variant = KeyBuilder::default();
    variant.add(key.as_bytes());
    for name in names {
        variant.add_values(headers, name);
    }
    variant.finish()
}

/// The key of a flight, which is shared by fewer than what is stored: by those who say the same of `apart`, and who
/// came between the same purges.
fn flight(key: &Key, apart: &[u8], generation: u64) -> Key {
    Key::of([key.as_bytes(), apart, &generation.to_le_bytes()])
}

#[cfg(test)]
mod tests;
