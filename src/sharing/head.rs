//! An answer's head: what is known before its bytes, and of whom it may be the answer.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;

use super::Wanted;
use crate::buffers::{Full, Lease};
use crate::cache::{CACHE_STATUS, CacheStatus, Entry, Key, KeyBuilder, lasting};
use crate::trace::SpanContext;
use crate::usage::Receipt;

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
    pub(super) variant: Option<Arc<Key>>,
    /// Whether it is for one client only.
    pub is_private: bool,
    /// What the answer cost, from its end on.
    pub receipt: Arc<OnceLock<Receipt>>,
    /// The span of whoever did the work.
    pub leader: SpanContext,
    /// What was stored, where that is what the bytes are.
    pub(super) stored: Option<Arc<Entry>>,
    /// Memory that the bytes occupy.
    held: Option<Arc<Mutex<Lease>>>,
}

impl Head {
    /// An answer's beginning. `lease` grows with its bytes; none is needed for bytes that are accounted for already.
    pub fn new(status: StatusCode, headers: HeaderMap, lease: Option<Lease>) -> Self {
        let held = lease.map(|lease| Arc::new(Mutex::new(lease)));
        Self {
            status,
            headers,
            is_stream: false,
            varies: Arc::new([]),
            variant: None,
            is_private: false,
            receipt: Arc::default(),
            leader: SpanContext::NONE,
            stored: None,
            held,
        }
    }

    /// Its headers for one request. Whoever follows gets what is said of the answer, not of the leader's connection;
    /// of an error it gets everything, `Retry-After` included.
    pub fn headers_for(&self, found: CacheStatus) -> HeaderMap {
        let is_followed = found == CacheStatus::Miss { collapsed: true } && self.status.is_success();
        let mut headers = if is_followed { lasting(&self.headers) } else { self.headers.clone() };
        headers.insert(CACHE_STATUS, found.value(None));
        headers
    }

    /// Takes memory for more bytes, which the last reader of the answer gives back.
    pub(super) fn hold(&self, more: usize) -> Result<(), Full> {
        self.held.as_ref().map_or(Ok(()), |held| held.lock().grow(more))
    }

    /// Gives back what more than `bytes` was taken.
    pub(super) fn hold_only(&self, bytes: usize) {
        if let Some(held) = &self.held {
            held.lock().shrink_to(bytes);
        }
    }

    /// Whether somebody who follows may have this answer.
    pub(super) fn is_for(&self, wanted: &Wanted) -> bool {
        let own = || variant(&wanted.key, &self.varies, &wanted.headers);
        !self.is_private && self.variant.as_ref().is_none_or(|variant| **variant == own())
    }
}

/// The key of one variant (RFC 9111, section 4.1).
pub(super) fn variant(key: &Key, names: &[HeaderName], headers: &HeaderMap) -> Key {
    let mut variant = KeyBuilder::default();
    variant.add(key.as_bytes());
    for name in names {
        variant.add_values(headers, name);
    }
    variant.finish()
}
