//! The body of a worker's answer on its way to a client: read ahead of a slow client up to a bound in bytes,
//! so that the worker is free as early as memory allows.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

/// The worker's answer broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app's answer broke off")]
pub struct Broken;

/// The reader's end.
#[derive(Debug)]
pub struct Spool(State);

#[derive(Debug)]
enum State {
    /// All of it is here.
    Whole(Bytes),
    /// A feeder brings it.
    Fed {
        pieces: mpsc::UnboundedReceiver<Piece>,
        room: Arc<Semaphore>,
        capacity: usize,
    },
    Ended,
}

/// A body that ends without [`Piece::End`] broke off, whatever ended the feeder.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

/// The worker's end.
pub(super) struct Feeder {
    pieces: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
    capacity: usize,
}

/// A spool of `capacity` bytes, at least one. A chunk larger than that passes alone.
pub(super) fn spool(capacity: usize) -> (Feeder, Spool) {
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(capacity));
    let feeder = Feeder { pieces: sender, room: Arc::clone(&room), capacity };
    (feeder, Spool(State::Fed { pieces: receiver, room, capacity }))
}

impl Spool {
    /// A body that is here already.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self(if bytes.is_empty() { State::Ended } else { State::Whole(bytes) })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        let last = match &mut self.0 {
            State::Ended => None,
            State::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            State::Fed { pieces, room, capacity } => match pieces.recv().await {
                Some(Piece::Data(bytes)) => {
                    room.add_permits(bytes.len().min(*capacity));
                    return Some(Ok(bytes));
                }
                Some(Piece::End) => None,
                None => Some(Err(Broken)),
            },
        };
        self.0 = State::Ended;
        last
    }
}

impl Feeder {
    /// Waits for room and adds a chunk. `false` when the reader is gone.
    pub(super) async fn push(&self, chunk: Bytes) -> bool {
        let wanted = u32::try_from(chunk.len().min(self.capacity)).unwrap_or(u32::MAX);
        tokio::select! {
            () = self.pieces.closed() => return false,
            room = self.room.acquire_many(wanted) => match room {
                Ok(room) => room.forget(),
                Err(_) => return false,
            },
        }
        self.pieces.send(Piece::Data(chunk)).is_ok()
    }

    /// The body is complete. A feeder that is dropped without saying so broke off.
    pub(super) fn finish(self) {
        // A reader that is gone does not care.
        let _ = self.pieces.send(Piece::End);
    }

    pub(super) async fn reader_gone(&self) {
        self.pieces.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_holds_the_feeder_back_at_the_bound() {
        let (feeder, mut spool) = spool(4);
        assert!(feeder.push(Bytes::from_static(b"abcd")).await);
        let mut second = Box::pin(feeder.push(Bytes::from_static(b"efghijk")));
        assert!(futures_poll_once(&mut second).await.is_none(), "no room");
        assert_eq!(spool.next().await, Some(Ok(Bytes::from_static(b"abcd"))));
        assert!(second.await);
        assert_eq!(spool.next().await, Some(Ok(Bytes::from_static(b"efghijk"))));
        feeder.finish();
        assert_eq!(spool.next().await, None);
        assert_eq!(spool.next().await, None);
    }

    #[tokio::test]
    async fn a_feeder_that_vanishes_broke_off() {
        let (feeder, mut spool) = spool(4);
        drop(feeder);
        assert_eq!(spool.next().await, Some(Err(Broken)));
        assert_eq!(spool.next().await, None);
    }

    #[tokio::test]
    async fn a_feeder_learns_that_the_reader_is_gone_even_without_room() {
        let (feeder, spool) = spool(1);
        assert!(feeder.push(Bytes::from_static(b"a")).await);
        drop(spool);
        assert!(!feeder.push(Bytes::from_static(b"b")).await);
    }

    async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! { biased; output = future => Some(output), () = std::future::ready(()) => None }
    }
}
