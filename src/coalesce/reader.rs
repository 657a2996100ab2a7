//! One of those who want what a flight brings.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::End;
use super::flight::{Flight, Found};

/// Reads a flight from its first byte. Dropping it is leaving.
#[derive(Debug)]
pub struct Reader<H, E> {
    flight: Arc<Flight<H, E>>,
    seat: usize,
}

impl<H, E> Reader<H, E> {
    pub(super) fn new(flight: Arc<Flight<H, E>>, seat: usize) -> Self {
        Self { flight, seat }
    }
}

impl<H: Clone, E: Clone> Reader<H, E> {
    /// Waits for the head.
    ///
    /// # Errors
    /// The flight's end, when it came first.
    pub async fn head(&self) -> Result<H, End<E>> {
        poll_fn(|context| match self.flight.state().head(self.seat, context.waker()) {
            Found::Ready(head) => Poll::Ready(head),
            Found::Nothing => Poll::Pending,
        })
        .await
    }

    /// The same, or `None` while nobody else reads the flight.
    ///
    /// # Errors
    /// As [`Reader::head`].
    pub async fn head_unless_alone(&self) -> Option<Result<H, End<E>>> {
        poll_fn(|context| {
            let mut state = self.flight.state();
            match state.head(self.seat, context.waker()) {
                Found::Ready(head) => Poll::Ready(Some(head)),
                Found::Nothing if state.readers() == 1 => Poll::Ready(None),
                Found::Nothing => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the next bytes, or until nobody else reads the flight: `None`.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn next_unless_alone(&mut self) -> Option<Result<Bytes, End<E>>> {
        poll_fn(|context| {
            let mut state = self.flight.state();
            let (found, leader) = state.next(self.seat, context.waker());
            let is_alone = state.readers() == 1;
            drop(state);
            if let Some(leader) = leader {
                leader.wake();
            }
            match found {
                Found::Ready(next) => Poll::Ready(Some(next)),
                Found::Nothing if is_alone => Poll::Ready(None),
                Found::Nothing => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the next bytes.
    ///
    /// # Errors
    /// The flight's end, after the last byte; the same again when asked again.
    pub async fn next(&mut self) -> Result<Bytes, End<E>> {
        poll_fn(|context| {
            let (found, leader) = self.flight.state().next(self.seat, context.waker());
            if let Some(leader) = leader {
                leader.wake();
            }
            match found {
                Found::Ready(next) => Poll::Ready(next),
                Found::Nothing => Poll::Pending,
            }
        })
        .await
    }
}

impl<H, E> Drop for Reader<H, E> {
    fn drop(&mut self) {
        self.flight.change(|state| state.leave(self.seat));
    }
}
