//! The one who works for a flight.

use std::future::poll_fn;
use std::hash::Hash;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::End;
use super::flight::Flight;
use super::primitives::{Mutex, lock};
use super::reader::Reader;
use super::registry::Registry;

/// Publishes a flight's head, bytes and end. It belongs into a task of its own: what happens to the request that
/// started the work must not matter to the others.
#[derive(Debug)]
pub struct Leader<K: Eq + Hash + Clone, H, E> {
    registry: Arc<Registry<K, H, E>>,
    key: Mutex<K>,
    flight: Arc<Flight<H, E>>,
}

impl<K: Eq + Hash + Clone, H, E> Leader<K, H, E> {
    pub(super) fn new(registry: Arc<Registry<K, H, E>>, key: K, flight: Arc<Flight<H, E>>) -> Self {
        Self { registry, key: Mutex::new(key), flight }
    }

    /// Publishes what comes before the bytes.
    pub fn begin(&self, head: H) {
        self.flight.change(|state| state.begin(head));
    }

    /// Publishes bytes. Above the flight's bound nobody can join any more, and this waits until the slowest reader has
    /// made room.
    ///
    /// # Cancel safety
    /// The bytes are published at once; only the wait for room is dropped.
    pub async fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.flight.change(|state| state.push(bytes));
        self.room().await;
    }

    /// Closes the flight and waits until every reader has read everything that was published.
    ///
    /// # Cancel safety
    /// The flight stays closed.
    pub async fn drain(&self) {
        self.flight.state().narrow();
        self.room().await;
    }

    /// Bytes that are held for readers.
    pub fn buffered(&self) -> usize {
        self.flight.state().buffered
    }

    /// Takes the flight to another key: newcomers find it there, and no more under its old one.
    pub fn move_to(&self, key: K) {
        let mut own = lock(&self.key);
        self.registry.rename(&own, key.clone(), &self.flight);
        *own = key;
    }

    /// One more reader, on the leader's behalf: it has a seat whatever the bound says, and is nobody for whom a failed
    /// try is repeated. While it reads, the flight is wanted.
    pub fn companion(&self) -> Reader<H, E> {
        let seat = self.flight.state().accompany();
        Reader::new(Arc::clone(&self.flight), seat)
    }

    async fn room(&self) {
        poll_fn(|context| {
            let mut state = self.flight.state();
            if !state.is_full() || state.readers() == 0 {
                return Poll::Ready(());
            }
            state.wake_leader_later(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Whether the work is to be tried once more for those who wait, after a try that published nothing.
    pub fn elect_successor(&self) -> bool {
        self.flight.state().elect()
    }

    /// Everything published so far; `None` once the bound was passed.
    pub fn whole(&self) -> Option<Bytes> {
        self.flight.state().whole()
    }

    /// Keeps newcomers away: they start anew.
    pub fn close(&self) {
        self.forget();
        self.flight.state().close();
    }

    /// Ends the flight. Newcomers start anew before anybody learns of the end, so what they should find must have been
    /// stored before.
    pub fn finish(self, end: End<E>) {
        self.end(end);
    }

    /// Resolves when nobody reads any more; the work may stop then.
    pub async fn unwanted(&self) {
        poll_fn(|context| {
            let mut state = self.flight.state();
            if state.close_if_unwanted() {
                return Poll::Ready(());
            }
            state.wake_leader_later(context.waker());
            Poll::Pending
        })
        .await;
    }

    fn forget(&self) {
        self.registry.forget(&lock(&self.key), &self.flight);
    }

    fn end(&self, end: End<E>) {
        self.forget();
        self.flight.change(|state| state.finish(end));
    }
}

impl<K: Eq + Hash + Clone, H, E> Drop for Leader<K, H, E> {
    fn drop(&mut self) {
        if !self.flight.state().has_ended() {
            self.end(End::Abandoned);
        }
    }
}
