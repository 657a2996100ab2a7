//! The leader's task: it belongs to the flight and to no request, looks again before it works, stores before it ends,
//! and stops when nobody wants the answer any more.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header;
use parking_lot::Mutex;

use super::answer::flight;
use super::common::NotShared;
use super::head::variant;
use super::remote::{self, Fetched};
use super::{Common, Differs, Failing, Head, Sharing, Storable, Twin, Wanted, Work};
use crate::buffers::Full;
use crate::cache::{Entry, Freshness, Key, NotStored, Scope, Store, Stored};
use crate::coalesce::{End, Joined, Leader, Reader};
use crate::time::Instant;
use crate::usage::Receipt;

/// How work publishes an answer.
pub struct Publisher<'a, E> {
    common: &'a Common,
    leader: &'a Leader<Key, Head, E>,
    key: Key,
    wanted: &'a Wanted,
    head: OnceLock<Head>,
    /// What takes the place of the rest of an answer of which readers have a part.
    second: Mutex<Option<Second>>,
    /// All bytes, put together once.
    whole: OnceLock<Option<Bytes>>,
    /// The store's generation when the work began.
    since: u64,
}

/// Another answer to the same request.
struct Second {
    twin: Box<dyn Twin>,
    head: Option<Head>,
    /// Whether it has come to where the first one ended.
    is_past: bool,
    differs: bool,
}

/// Why bytes were not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no memory for them.
    Full,
    /// Readers have a part of another answer that says something else.
    Differs,
}

impl<E> Publisher<'_, E> {
    /// The key of the flight.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The store's generation when the work began.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// Whether anything was published.
    pub(super) fn has_begun(&self) -> bool {
        self.head.get().is_some()
    }

    /// Whether a stream of events is published.
    pub(super) fn is_stream(&self) -> bool {
        self.head.get().is_some_and(|head| head.is_stream)
    }

    /// A reader on the leader's behalf.
    pub(super) fn companion(&self) -> Reader<Head, E> {
        self.leader.companion()
    }

    /// What is published from here on is another answer, from its beginning.
    pub(super) fn begin_again(&self, work: &dyn Work<E>)
    where
        E: 'static,
    {
        let Some(head) = self.head.get() else { return };
        let delivered = self.leader.whole();
        let twin = work.twin(delivered.clone().unwrap_or_default(), head.is_stream);
        let is_past = delivered.as_ref().is_some_and(Bytes::is_empty);
        // What was let go of already cannot be compared.
        *self.second.lock() = Some(Second { twin, head: None, is_past, differs: delivered.is_none() });
    }

    /// Whether readers have more of one answer than there is of another.
    pub(super) fn is_behind(&self) -> bool {
        self.second.lock().as_ref().is_some_and(|second| !second.is_past || second.differs)
    }

    /// What the answer cost.
    pub(super) fn paid(&self, receipt: Option<Receipt>) {
        if let (Some(head), Some(receipt)) = (self.head.get(), receipt) {
            head.receipt.get_or_init(|| receipt);
        }
    }

    /// The part of these bytes that readers do not have.
    fn rest(&self, bytes: Bytes) -> Result<Bytes, NotTaken> {
        let mut second = self.second.lock();
        let Some(second) = &mut *second else { return Ok(bytes) };
        let rest = if second.differs { Err(Differs) } else { second.twin.push(bytes) };
        second.differs |= rest.is_err();
        let rest = rest.map_err(|Differs| NotTaken::Differs)?;
        second.is_past |= !rest.is_empty() || second.twin.is_past();
        Ok(rest)
    }
}

impl<E: Clone> Publisher<'_, E> {
    /// Publishes the head. What it says of who may share the answer is remembered first, so that nobody joins in vain.
    pub async fn begin(&self, mut head: Head) {
        if let (Some(first), Some(second)) = (self.head.get(), &mut *self.second.lock()) {
            second.differs |= (first.status, first.is_stream) != (head.status, head.is_stream);
            second.head = Some(head);
            return;
        }
        let is_alone = self.wanted.policy.scope == Scope::Nobody;
        if is_alone {
            // There is nobody to keep away.
        } else if head.is_private {
            self.common.exceptions.put(self.key, NotShared);
            self.leader.close();
        } else if !head.varies.is_empty() {
            let variant = variant(&self.wanted.key, &head.varies, &self.wanted.headers);
            head.variant = Some(Arc::new(variant));
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
    /// See [`NotTaken`]; nothing was published then.
    ///
    /// # Cancel safety
    /// The bytes were published.
    pub async fn push(&self, bytes: Bytes) -> Result<(), NotTaken> {
        let Some(head) = self.head.get() else { return Err(NotTaken::Full) };
        let bytes = self.rest(bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if head.hold(bytes.len()).is_err() {
            // What everybody has read can go, and then whoever is slow is waited for.
            self.leader.drain().await;
            head.hold_only(self.leader.buffered());
            head.hold(bytes.len()).map_err(|Full| NotTaken::Full)?;
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

    /// The receipt of a second answer is that of the whole.
    fn settle(&self) {
        let receipt = self.second.lock().as_ref().and_then(|second| second.head.as_ref()?.receipt.get().cloned());
        self.paid(receipt);
    }

    /// Stores the answer, if it may be, and says what is stored now under which keys.
    async fn keep(&self, storable: Storable) -> Result<Vec<(Key, Stored)>, NotStored> {
        let (said, headers) = storable?;
        if self.second.lock().is_some() {
            return Err(NotStored::Spliced);
        }
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
        let key = head.variant.as_deref().copied().unwrap_or(self.key);
        let stored = Stored::Entry(Arc::new(entry));
        if !self.common.store.put(key, stored.clone(), self.since).await {
            return Err(NotStored::Purged);
        }
        self.common.cache_metrics.stored(self.wanted.place);
        let varies = head.variant.as_ref().map(|_| (self.wanted.key, Stored::Varies(Arc::clone(&head.varies))));
        Ok(varies.into_iter().chain([(key, stored)]).collect())
    }
}

impl<E: Failing> Sharing<E> {
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

async fn lead<E: Failing>(
    common: &Common,
    leader: Leader<Key, Head, E>,
    key: Key,
    wanted: &Wanted,
    work: Box<dyn Work<E>>,
) {
    // Work that needs the app says so itself.
    let _in_flight = (common.drain.enter_without_app(), common.metrics.begin());
    let since = common.store.generation();
    let (head, second, whole) = (OnceLock::new(), Mutex::default(), OnceLock::new());
    let publisher = Publisher { common, leader: &leader, key, wanted, head, second, whole, since };
    if let Some(entry) = look_again(common, &key, wanted) {
        let _ = publish(&publisher, &entry).await; // an entry's bytes need no memory
        return leader.finish(End::Complete);
    }
    let ended = tokio::select! {
        biased;
        ended = fetch(common, wanted, work, &publisher) => Some(ended),
        () = leader.unwanted() => None,
    };
    match ended {
        Some(Ok(Fetched::Worked(storable, replica))) => {
            publisher.settle();
            let kept = publisher.keep(storable).await.unwrap_or_else(|reason| {
                common.cache_metrics.not_stored(reason);
                Vec::new()
            });
            if let Some(replica) = replica {
                replica.kept(kept);
            }
            common.metrics.ended("complete");
            leader.finish(End::Complete);
        }
        Some(Ok(Fetched::Given)) => {
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

/// From whoever has it: another process, where several share, or by the work.
async fn fetch<E: Failing>(
    common: &Common,
    wanted: &Wanted,
    work: Box<dyn Work<E>>,
    to: &Publisher<'_, E>,
) -> Result<Fetched, E> {
    match &common.remote {
        Some(remote) if wanted.policy.scope != Scope::Nobody => remote::fetch(remote, common, wanted, work, to).await,
        Some(_) | None => Ok(Fetched::Worked(work.run(to).await?, None)),
    }
}

/// Somebody may have stored the answer between this request's look and its lead.
fn look_again(common: &Common, key: &Key, wanted: &Wanted) -> Option<Arc<Entry>> {
    let found = common.store.peek(key).filter(|_| wanted.policy.looks_up())?.entry()?;
    (found.freshness(Instant::now(), &wanted.policy) == Freshness::Fresh).then_some(found)
}

/// Publishes what is stored, whole.
pub(super) async fn publish<E: Clone>(to: &Publisher<'_, E>, entry: &Arc<Entry>) -> Result<(), NotTaken> {
    let mut headers = entry.headers.clone();
    headers.insert(header::AGE, entry.age(Instant::now()).as_secs().into());
    // An entry's bytes are the store's.
    let mut head = Head::new(entry.status, headers, None);
    head.is_stream = entry.is_stream;
    head.stored = Some(Arc::clone(entry));
    if let Some(receipt) = &entry.receipt {
        head.receipt.get_or_init(|| receipt.clone());
    }
    to.begin(head).await;
    to.push(entry.body.clone()).await
}
