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
pub struct Spool {
    chunks: mpsc::UnboundedReceiver<Result<Bytes, Broken>>,
    room: Arc<Semaphore>,
    capacity: usize,
}

/// The worker's end.
pub(super) struct Feeder {
    chunks: mpsc::UnboundedSender<Result<Bytes, Broken>>,
    room: Arc<Semaphore>,
    capacity: usize,
}

/// A spool of `capacity` bytes, at least one. A chunk larger than that passes alone.
pub(super) fn spool(capacity: usize) -> (Feeder, Spool) {
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(capacity));
    let feeder = Feeder { chunks: sender, room: Arc::clone(&room), capacity };
    (feeder, Spool { chunks: receiver, room, capacity })
}

impl Spool {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        let chunk = self.chunks.recv().await;
        if let Some(Ok(bytes)) = &chunk {
            self.room.add_permits(bytes.len().min(self.capacity));
        }
        chunk
    }
}

impl Feeder {
    /// Waits for room and adds a chunk. `false` when the reader is gone.
    pub(super) async fn push(&self, chunk: Bytes) -> bool {
        let wanted = u32::try_from(chunk.len().min(self.capacity)).unwrap_or(u32::MAX);
        tokio::select! {
            () = self.chunks.closed() => return false,
            room = self.room.acquire_many(wanted) => match room {
                Ok(room) => room.forget(),
                Err(_) => return false,
            },
        }
        self.chunks.send(Ok(chunk)).is_ok()
    }

    pub(super) fn fail(&self) {
        // A reader that is gone does not care.
        let _ = self.chunks.send(Err(Broken));
    }

    pub(super) async fn reader_gone(&self) {
        self.chunks.closed().await;
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
        drop(feeder);
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
