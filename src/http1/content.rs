//! A request body made of buffers that are shared, not copied: a pass sends the journal and the original body
//! one after the other, and every pass sends the same original body.

use std::collections::VecDeque;

use bytes::Bytes;

/// Buffers that are sent one after the other.
#[derive(Clone, Debug, Default)]
pub struct Content(VecDeque<Bytes>);

impl Content {
    /// Buffers in the order in which they are sent; empty ones are left out.
    pub fn new(buffers: impl IntoIterator<Item = Bytes>) -> Self {
        Self(buffers.into_iter().filter(|buffer| !buffer.is_empty()).collect())
    }

    /// The buffers behind a request's head.
    pub(super) fn led_by(mut self, head: Bytes) -> VecDeque<Bytes> {
        self.0.push_front(head);
        self.0
    }

    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}
