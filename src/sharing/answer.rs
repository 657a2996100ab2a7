//! The story of a request whose answer may be shared; read this first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;

use super::head::variant;
use super::{Answer, Common, Failing, Head, Unanswered, Wanted, Work, remote};
use crate::cache::{CacheStatus, Entry, Freshness, Key, Place, Policy, Scope, Served, Serving, Store, Stored};
use crate::coalesce::{End, Flights, Joined, Reader};
use crate::time::Instant;

/// How often a request looks for another way to share (its answer varies, or is private) before it goes alone.
const MOST_WAYS: usize = 3;

/// Answers of one kind. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Sharing<E> {
    /// What it has in common with other kinds.
    pub common: Arc<Common>,
    pub(super) flights: Flights<Key, Head, E>,
}

impl<E: Failing> Sharing<E> {
    /// No flights yet.
    pub fn new(common: Arc<Common>) -> Self {
        Self { flights: Flights::new(common.config.max_followers), common }
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
                return self.stored_for_all(&key, &wanted, &*work).await.ok_or(Unanswered::NotCached);
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
                    return or_stale(or_stored(led, &wanted), found, &wanted, serving);
                }
                Joined::Follows(reader) => reader,
                Joined::Full => break,
            };
            if let Some(followed) = self.follow(reader, &wanted).await {
                let serving = self.common.cache_metrics.serving(place, Served::Collapsed);
                return or_stale(or_stored(followed, &wanted), found, &wanted, serving);
            }
        }
        self.alone(&wanted, work).await
    }

    /// What other processes have stored.
    async fn stored_for_all(&self, key: &Key, wanted: &Wanted, work: &dyn Work<E>) -> Option<Answer<E>> {
        let remote = self.common.remote.as_ref().filter(|_| wanted.policy.looks_up())?;
        let entry = remote::fresh(remote, &self.common, key, wanted, work).await?;
        self.hit(entry, &wanted.policy, Freshness::Fresh, wanted.place)
    }

    pub(super) fn flight(&self, key: &Key, wanted: &Wanted) -> Key {
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
        self.common.cache_metrics.served(wanted.place, Served::Bypass);
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
    if entry.freshness(now, policy) != wanted {
        return None;
    }
    let ttl = entry.fresh_for(now);
    let stale = entry.age(now).saturating_sub(entry.lifetimes.ttl);
    Some(Answer::Stored { entry, status: CacheStatus::Hit { ttl, stale } })
}

/// What turned out to be stored, as that.
fn or_stored<E>(answer: Result<Answer<E>, Unanswered<E>>, wanted: &Wanted) -> Result<Answer<E>, Unanswered<E>> {
    let entry = match &answer {
        Ok(Answer::Live { head, .. }) => head.stored.clone(),
        Ok(Answer::Stored { .. }) | Err(_) => None,
    };
    entry.and_then(|entry| stored(entry, &wanted.policy, Freshness::Fresh)).map_or(answer, Ok)
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
    if matches!(answer, Ok(Answer::Stored { .. })) {
        serving.served = Served::Hit;
    }
    let stale = found.filter(|_| failed).and_then(|entry| stored(entry, &wanted.policy, Freshness::StaleIfError));
    if stale.is_some() {
        serving.served = Served::Stale;
    }
    stale.map_or(answer, Ok)
}

async fn live<E: Clone>(reader: Reader<Head, E>, status: CacheStatus) -> Result<Answer<E>, Unanswered<E>> {
    match reader.head().await {
        Ok(head) => Ok(Answer::Live { head, reader, status }),
        Err(End::Failed(error)) => Err(Unanswered::Failed(error)),
        Err(End::Abandoned | End::Complete) => Err(Unanswered::Abandoned),
    }
}

/// The key of a flight, which is shared by fewer than what is stored: by those who say the same of `apart`, and who
/// came between the same purges.
pub(super) fn flight(key: &Key, apart: &[u8], generation: u64) -> Key {
    Key::of([key.as_bytes(), apart, &generation.to_le_bytes()])
}
