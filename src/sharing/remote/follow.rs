//! Reads what a leader in another process writes, and publishes it here.

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;

use super::notes::{EndNote, HeadNote, What};
use super::{Flight, Remote};
use crate::redis::Unavailable;
use crate::sharing::lead::NotTaken;
use crate::sharing::{Publisher, Wanted};
use crate::time::{Instant, sleep};
use crate::usage::Paid;

/// How following ended.
pub(super) enum Followed<E> {
    Complete {
        paid: Option<Paid>,
    },
    Failed(E),
    /// The answer is not for those who wait here.
    NotForUs {
        is_private: bool,
    },
    /// The leader is gone; somebody may take its place.
    Lost,
    /// Redis is gone.
    Unavailable,
    /// What is read cannot be published here.
    NotTaken(NotTaken),
}

/// A reader of one leader's notes.
pub(super) struct Follower<'a, 'p, E> {
    pub(super) remote: &'a Remote,
    pub(super) flight: &'a Flight,
    pub(super) token: &'a str,
    pub(super) to: &'a Publisher<'p, E>,
    pub(super) wanted: &'a Wanted,
    /// Of a stream: the beginning of an event whose end has not come. Readers get whole events only, so that another
    /// process's answer can go on where this one ends.
    unfinished: BytesMut,
}

impl<'a, 'p, E: Clone + DeserializeOwned> Follower<'a, 'p, E> {
    pub(super) fn new(
        remote: &'a Remote,
        flight: &'a Flight,
        token: &'a str,
        to: &'a Publisher<'p, E>,
        wanted: &'a Wanted,
    ) -> Self {
        Self { remote, flight, token, to, wanted, unfinished: BytesMut::new() }
    }

    /// To the end, whatever it is.
    ///
    /// # Cancel safety
    /// What was published stays so.
    pub(super) async fn follow(mut self) -> Followed<E> {
        let super::Shared { redis, scripts, config, .. } = &*self.remote.0;
        let bell = redis.listen(self.flight.channel.clone());
        let mut after = String::from("0-0");
        let mut patience = Instant::now() + config.lease;
        loop {
            // What is rung from here on is heard.
            let rung = bell.rung();
            match scripts.look(redis, self.flight, self.token, &after, config.lease).await {
                Ok(seen) => {
                    patience = Instant::now() + config.lease;
                    let found_any = !seen.notes.is_empty();
                    for note in seen.notes {
                        after = note.identity();
                        if let Some(end) = self.take(note.what()).await {
                            return end;
                        }
                    }
                    match (found_any, seen.is_held) {
                        (true, _) => continue,
                        (false, true) => {}
                        (false, false) => return Followed::Lost,
                    }
                }
                Err(Unavailable) if redis.is_up() && Instant::now() < patience => {}
                Err(Unavailable) => return Followed::Unavailable,
            }
            tokio::select! {
                () = rung => {}
                () = sleep(config.lease / 4) => {}
            }
        }
    }

    async fn take(&mut self, note: What) -> Option<Followed<E>> {
        match note {
            What::Head(bytes) => {
                let Some(head) = HeadNote::read(&bytes, self.remote.0.buffers.lease()) else {
                    return Some(Followed::NotForUs { is_private: false });
                };
                if !head.is_for(self.wanted) {
                    return Some(Followed::NotForUs { is_private: false });
                }
                self.to.begin(head).await;
                None
            }
            What::Piece(bytes) => {
                let whole = if self.to.is_stream() { self.whole_events(&bytes) } else { bytes };
                self.to.push(whole).await.err().map(Followed::NotTaken)
            }
            What::End(bytes) => Some(match serde_json::from_slice::<EndNote<E>>(&bytes) {
                Ok(EndNote::Complete { paid }) => {
                    let rest = std::mem::take(&mut self.unfinished).freeze();
                    match self.to.push(rest).await {
                        Ok(()) => Followed::Complete { paid },
                        Err(not_taken) => Followed::NotTaken(not_taken),
                    }
                }
                Ok(EndNote::Failed(error)) => Followed::Failed(error),
                Ok(EndNote::Private) => Followed::NotForUs { is_private: true },
                Ok(EndNote::GivenUp) | Err(_) => Followed::Lost,
            }),
        }
    }

    /// The events that end in or before these bytes.
    fn whole_events(&mut self, bytes: &Bytes) -> Bytes {
        self.unfinished.extend_from_slice(bytes);
        let end = end_of_events(&self.unfinished);
        self.unfinished.split_to(end).freeze()
    }
}

/// Where the last event ends that is whole: behind an empty line.
fn end_of_events(bytes: &[u8]) -> usize {
    let is_end = |at: usize| {
        let before = &bytes[..at];
        before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n") || before.ends_with(b"\r\r")
    };
    (0..=bytes.len()).rev().find(|at| is_end(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_behind_an_empty_line() {
        for (bytes, end) in [
            ("data: a", 0),
            ("data: a\n\n", 9),
            ("data: a\n\ndata: b\n", 9),
            ("data: a\r\n\r\nda", 11),
            ("data: a\r\rda", 9),
            ("", 0),
        ] {
            assert_eq!(end_of_events(bytes.as_bytes()), end, "{bytes:?}");
        }
    }
}
