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

mod answer;
mod common;
mod found;
mod head;
mod lead;
mod metrics;
mod remote;
mod twin;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::{self, CacheStatus, Entry, Key, NotStored, Place, Policy, ResponseDirectives};
use crate::coalesce::Reader;
use crate::usage::{Paid, Receipt};

pub use answer::Sharing;
pub use common::{Common, Purged};
pub use head::Head;
pub use lead::{NotTaken, Publisher};
pub use remote::{Config as RemoteConfig, Remote};
pub use twin::{Differs, SameBytes, Twin};

/// Bounds of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is stored.
    pub store: cache::Config,
    /// Requests that may wait for one answer.
    pub max_followers: usize,
    /// How processes share, where they have a Redis.
    pub remote: RemoteConfig,
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

/// The failures of one kind of work. They are told to whoever waits, in other processes too.
pub trait Failing: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<E: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Failing for E {}

/// How an answer is fetched, once, if nobody else does.
#[async_trait]
pub trait Work<E>: Send + Sync + 'static {
    /// Publishes head and bytes, and says at the end what it says about storing, and with which headers.
    ///
    /// # Cancel safety
    /// The future is dropped when nobody wants the answer any more.
    async fn run(self: Box<Self>, to: &Publisher<'_, E>) -> Result<Storable, E>;

    /// The failure of an answer that cannot be published to its end.
    fn cut_short(&self, why: NotTaken) -> E;

    /// The receipt of what another process paid for.
    fn receipt(&self, paid: &Paid) -> Option<Receipt> {
        let _ = paid;
        None
    }

    /// How this work's answer takes the place of the rest of another, of which readers have the bytes `delivered`.
    fn twin(&self, delivered: Bytes, is_stream: bool) -> Box<dyn Twin> {
        let _ = is_stream;
        Box::new(SameBytes::new(delivered))
    }
}

#[cfg(test)]
mod tests;
