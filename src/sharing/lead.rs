//! The leader's task: it belongs to the flight and to no request, looks again before it works, stores before it ends,
//! and stops when nobody wants the answer any more.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header;

use super::answer::flight;
use super::common::NotShared;
use super::head::variant;
use super::{Common, Head, Sharing, Storable, Wanted, Work};
use crate::buffers::Full;
use crate::cache::{Entry, Freshness, Key, NotStored, Scope, Store, Stored};
use crate::coalesce::{End, Joined, Leader};
use crate::time::Instant;

/// How work publishes an answer.
#[derive(Debug)]
pub struct Publisher<'a, E> {
    common: &'a Common,
    leader: &'a Leader<Key, Head, E>,
    key: Key,
    wanted: &'a Wanted,
    head: OnceLock<Head>,
    /// All bytes, put together once.
    whole: OnceLock<Option<Bytes>>,
    /// The store's generation when the work began.
    since: u64,
}

impl<E: Clone> Publisher<'_, E> {
    /// Publishes the head. What it says of who may share the answer is remembered first, so that nobody joins in vain.
    pub async fn begin(&self, mut head: Head) {
        let is_alone = self.wanted.policy.scope == Scope::Nobody;
        if is_alone {
            // There is nobody to keep away.
        } else if head.is_private {
            self.common.exceptions.put(self.key, NotShared);
            self.leader.close();
        } else if !head.varies.is_empty() {
            let variant = variant(&self.wanted.key, &head.varies, &self.wanted.headers);
            head.variant = Some(variant);
            let varies = Stored::Varies(Arc::clone(&head.varies));
            self.common.store.put(self.wanted.key, varies, self.since).await;
            // Newcomers look there from now on.
            self.leader.move_to(flight(&variant, &self.wanted.apart, self.since));
        }
        self.head.get_or_init(|| head.clone());
        self.leader.begin(head);
    }

    /// Publishes bytes, and waits where the slowest reader has no room for more.
    ///
    /// # Errors
    /// Fails when there is no memory for them; nothing was published then.
    ///
    /// # Cancel safety
    /// The bytes were published.
    pub async fn push(&self, bytes: Bytes) -> Result<(), Full> {
        let Some(head) = self.head.get() else { return Err(Full) };
        if head.hold(bytes.len()).is_err() {
            // What everybody has read can go, and then whoever is slow is waited for.
            self.leader.drain().await;
            head.hold_only(self.leader.buffered());
            head.hold(bytes.len())?;
        }
        self.leader.push(bytes).await;
        head.hold_only(self.leader.buffered());
        Ok(())
    }

    /// Whether to try once more for those who wait, after a try of which nothing was published.
    pub fn elect_successor(&self) -> bool {
        let elected = self.leader.elect_successor();
        self.common.metrics.elected(elected);
        elected
    }

    /// Whether the answer may be stored at all.
    pub fn stores(&self) -> bool {
        self.wanted.policy.stores()
    }

    /// All bytes, after the last; `None` when there were too many to keep.
    pub fn whole(&self) -> Option<Bytes> {
        self.whole.get_or_init(|| self.leader.whole()).clone()
    }

    /// Stores the answer, if it may be.
    async fn keep(&self, storable: Storable) -> Result<(), NotStored> {
        let (said, headers) = storable?;
        let lifetimes = self.wanted.policy.lifetimes.obey(&said);
        let head = self.head.get().ok_or(NotStored::Incomplete)?;
        if !self.stores() || lifetimes.ttl.is_zero() {
            return Err(NotStored::Forbidden);
        }
        if head.is_private {
            return Err(NotStored::Private);
        }
        let body = self.whole().ok_or(NotStored::TooLarge)?;
        if body.len() > self.common.config.store.max_entry {
            return Err(NotStored::TooLarge);
        }
        let entry = Entry {
            status: head.status,
            headers,
            body,
            is_stream: head.is_stream,
            stored: Instant::now(),
            lifetimes: lifetimes.with_jitter(fastrand::f64()),
            tags: self.wanted.policy.tags.clone(),
            origin: self.wanted.origin.clone(),
            meaning: self.wanted.key,
            receipt: head.receipt.get().cloned(),
        };
        let key = head.variant.unwrap_or(self.key);
        let stored = self.common.store.put(key, Stored::Entry(Arc::new(entry)), self.since).await;
        if !stored {
            return Err(NotStored::Purged);
        }
        self.common.cache_metrics.stored(self.wanted.place);
        Ok(())
    }
}

impl<E: Clone + Send + Sync + 'static> Sharing<E> {
    /// Leads a flight in a task of its own.
    pub(super) fn lead(&self, leader: Leader<Key, Head, E>, key: Key, wanted: Wanted, work: Box<dyn Work<E>>) {
        let common = Arc::clone(&self.common);
        tokio::spawn(async move { lead(&common, leader, key, &wanted, work).await });
    }

    /// Fetches anew what was served stale, unless somebody does already. Nobody reads it, but it is wanted.
    pub(super) fn refresh(&self, key: Key, wanted: Wanted, work: Box<dyn Work<E>>) {
        if self.common.drain.is_draining() {
            return; // what is stored is lost anyway
        }
        let Joined::Leads(leader, reader) = self.flights.join(&self.flight(&key, &wanted), wanted.bound) else {
            return;
        };
        let common = Arc::clone(&self.common);
        tokio::spawn(async move {
            let mut reader = reader;
            let reading = async { while reader.next().await.is_ok() {} };
            tokio::join!(lead(&common, leader, key, &wanted, work), reading);
        });
    }
}

async fn lead<E: Clone + Send + Sync + 'static>(
    common: &Common,
    leader: Leader<Key, Head, E>,
    key: Key,
    wanted: &Wanted,
    work: Box<dyn Work<E>>,
) {
    // Work that needs the app says so itself.
    let _in_flight = (common.drain.enter_without_app(), common.metrics.begin());
    let since = common.store.generation();
    let publisher =
        Publisher { common, leader: &leader, key, wanted, head: OnceLock::new(), whole: OnceLock::new(), since };
    if let Some(entry) = look_again(common, &key, wanted) {
        publish(&publisher, &entry).await;
        return leader.finish(End::Complete);
    }
    let ended = tokio::select! {
        biased;
        ended = work.run(&publisher) => Some(ended),
        () = leader.unwanted() => None,
    };
    match ended {
        Some(Ok(storable)) => {
            if let Err(reason) = publisher.keep(storable).await {
                common.cache_metrics.not_stored(reason);
            }
            common.metrics.ended("complete");
            leader.finish(End::Complete);
        }
        Some(Err(error)) => {
            common.metrics.ended("failed");
            leader.finish(End::Failed(error));
        }
        None => common.metrics.ended("unwanted"),
    }
}

/// Somebody may have stored the answer between this request's look and its lead.
fn look_again(common: &Common, key: &Key, wanted: &Wanted) -> Option<Arc<Entry>> {
    let found = common.store.peek(key).filter(|_| wanted.policy.looks_up())?.entry()?;
    (found.freshness(Instant::now(), &wanted.policy) == Freshness::Fresh).then_some(found)
}

async fn publish<E: Clone>(to: &Publisher<'_, E>, entry: &Entry) {
    let mut headers = entry.headers.clone();
    headers.insert(header::AGE, entry.age(Instant::now()).as_secs().into());
    // An entry's bytes are the store's.
    let mut head = Head::new(entry.status, headers, None);
    head.is_stream = entry.is_stream;
    if let Some(receipt) = &entry.receipt {
        head.receipt.get_or_init(|| receipt.clone());
    }
    to.begin(head).await;
    to.leader.push(entry.body.clone()).await;
}
