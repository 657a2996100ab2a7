//! A request body made of buffers that are shared, not copied: a pass sends the journal and the original body
//! one after the other, and every pass sends the same original body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The buffers still to be sent.
#[derive(Clone, Debug, Default)]
pub struct Content(VecDeque<Bytes>);

impl Content {
    /// Buffers in the order in which they are sent; empty ones are left out.
    pub fn new(buffers: impl IntoIterator<Item = Bytes>) -> Self {
        Self(buffers.into_iter().filter(|buffer| !buffer.is_empty()).collect())
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|buffer| Ok(Frame::data(buffer))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}
