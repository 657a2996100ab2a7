//! What a leader publishes, written along for those who follow in other processes. It reads the flight like any other
//! reader, so a Redis that is slow slows nobody, and what it has not written is bounded by what the flight holds.

use serde::Serialize;
use tokio::sync::oneshot;

use super::notes::{EndNote, Note};
use super::{Flight, Remote};
use crate::cache::{Key, Stored, Weigh};
use crate::coalesce::{End, Reader};
use crate::redis::Unavailable;
use crate::sharing::Head;
use crate::time::{Instant, sleep, sleep_until};

/// The leader's end of a replica.
#[derive(Debug)]
pub(in crate::sharing) struct Replica(oneshot::Sender<Vec<(Key, Stored)>>);

impl Replica {
    /// Starts to write what `reader` reads.
    pub(super) fn start<E: Clone + Serialize + Send + Sync + 'static>(
        remote: &Remote,
        flight: Flight,
        token: String,
        reader: Reader<Head, E>,
    ) -> Self {
        let (sender, kept) = oneshot::channel();
        let since = remote.0.purges.last();
        let lease = remote.0.config.lease;
        let writer = Writer {
            remote: remote.clone(),
            flight,
            token,
            since,
            position: 0,
            head: None,
            renewal: Instant::now() + lease / 3,
        };
        tokio::spawn(writer.run(reader, kept));
        Self(sender)
    }

    /// The answer was stored here, under these keys. Comes before the flight's end is published.
    pub(in crate::sharing) fn kept(self, stored: Vec<(Key, Stored)>) {
        let _ = self.0.send(stored); // nobody listens once the lease is lost
    }
}

struct Writer {
    remote: Remote,
    flight: Flight,
    token: String,
    since: String,
    /// Bytes written.
    position: usize,
    head: Option<Head>,
    renewal: Instant,
}

/// Why nothing more is written.
enum Stopped {
    /// Another process has the lease.
    Fenced,
    /// Redis does not answer.
    Unavailable,
}

/// What a flight has for its replica.
enum Next<E> {
    Head(Head),
    Bytes(bytes::Bytes),
    End(End<E>),
    /// Nobody in this process reads any more.
    Alone,
    Renew,
}

impl Writer {
    async fn run<E: Clone + Serialize>(
        mut self,
        mut reader: Reader<Head, E>,
        kept: oneshot::Receiver<Vec<(Key, Stored)>>,
    ) {
        let _in_flight = self.remote.0.drain.enter_without_app();
        let end = match self.write_along(&mut reader).await {
            Ok(End::Complete) => {
                for (key, stored) in kept.await.unwrap_or_default() {
                    self.remote.put(&key, &stored, &self.since, stored.lifetime()).await;
                }
                let receipt = self.head.as_ref().and_then(|head| head.receipt.get());
                EndNote::Complete { paid: receipt.map(|receipt| receipt.paid().clone()) }
            }
            Ok(End::Failed(error)) => EndNote::Failed(error),
            Ok(End::Abandoned) if self.head.as_ref().is_some_and(|head| head.is_private) => EndNote::Private,
            Ok(End::Abandoned) => EndNote::GivenUp,
            Err(Stopped::Fenced) => return self.remote.0.metrics.fenced(),
            Err(Stopped::Unavailable) => return,
        };
        let end = Note::end(self.position, &end);
        if matches!(self.write(&[end]).await, Err(Stopped::Fenced)) {
            self.remote.0.metrics.fenced();
        }
    }

    /// Until the flight's end, or until nobody wants its answer.
    async fn write_along<E: Clone>(&mut self, reader: &mut Reader<Head, E>) -> Result<End<E>, Stopped> {
        let mut looks_for_company = true;
        loop {
            match self.next(reader, looks_for_company).await {
                Next::Head(head) => {
                    let (is_private, note) = (head.is_private, Note::head(&head));
                    self.head = Some(head);
                    if is_private {
                        return Ok(End::Abandoned);
                    }
                    self.write(&[note]).await?;
                }
                Next::Bytes(bytes) => {
                    self.position += bytes.len();
                    let note = Note::piece(self.position, bytes);
                    self.write(&[note]).await?;
                }
                Next::End(end) => return Ok(end),
                Next::Alone if !self.renew().await? => return Ok(End::Abandoned),
                Next::Alone => looks_for_company = false, // others follow
                Next::Renew => {
                    self.renew().await?;
                    looks_for_company = true;
                }
            }
        }
    }

    async fn next<E: Clone>(&self, reader: &mut Reader<Head, E>, looks_for_company: bool) -> Next<E> {
        let has_head = self.head.is_some();
        let reading = async {
            match (has_head, looks_for_company) {
                (false, true) => reader.head_unless_alone().await.map(|head| head.map_or_else(Next::End, Next::Head)),
                (false, false) => Some(reader.head().await.map_or_else(Next::End, Next::Head)),
                (true, true) => reader.next_unless_alone().await.map(|next| next.map_or_else(Next::End, Next::Bytes)),
                (true, false) => Some(reader.next().await.map_or_else(Next::End, Next::Bytes)),
            }
        };
        tokio::select! {
            biased;
            () = sleep_until(self.renewal) => Next::Renew,
            next = reading => next.unwrap_or(Next::Alone),
        }
    }

    /// Says that this leader lives, and hears whether somebody follows it.
    async fn renew(&mut self) -> Result<bool, Stopped> {
        let super::Shared { redis, scripts, config, .. } = &*self.remote.0;
        self.renewal = Instant::now() + config.lease / 3;
        match scripts.renew(redis, &self.flight, &self.token, config.lease).await {
            Ok(renewed) if renewed.is_held => Ok(renewed.is_followed),
            Ok(_) => Err(Stopped::Fenced),
            Err(Unavailable) if redis.is_up() => Ok(true), // and renewed again soon
            Err(Unavailable) => Err(Stopped::Unavailable),
        }
    }

    /// Writes notes; again after a silence, for as long as the lease may still be held.
    async fn write(&mut self, notes: &[Note]) -> Result<(), Stopped> {
        let super::Shared { redis, scripts, config, .. } = &*self.remote.0;
        let until = Instant::now() + config.lease;
        loop {
            match scripts.append(redis, &self.flight, &self.token, config.lease, notes).await {
                Ok(true) => break,
                Ok(false) => return Err(Stopped::Fenced),
                Err(Unavailable) if redis.is_up() && Instant::now() < until => sleep(config.lease / 20).await,
                Err(Unavailable) => return Err(Stopped::Unavailable),
            }
        }
        self.renewal = Instant::now() + config.lease / 3;
        Ok(())
    }
}
