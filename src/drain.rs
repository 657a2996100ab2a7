//! Who is still being served, and when to let go. Everything that must not be cut off holds a guard; the
//! shutdown waits for the guards, then cuts what is left. It must never end the process itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, watch};

use crate::time::Instant;

/// One process's shutdown. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: OnceLock<Instant>,
    in_flight: AtomicUsize,
    idle: Notify,
    cut: watch::Sender<bool>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Nothing in flight, not draining.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            since: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
            cut: watch::Sender::new(false),
        }))
    }

    /// Counts something as in flight while the guard lives.
    pub fn enter(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(&self.0))
    }

    /// What is in flight now.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// From now on this process is not ready, and connections are closed after their answer.
    pub fn start(&self) {
        self.0.since.get_or_init(Instant::now);
    }

    /// Whether [`Drain::start`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.since.get().is_some()
    }

    /// When [`Drain::start`] was first called; it is called now if it was not.
    pub fn since(&self) -> Instant {
        *self.0.since.get_or_init(Instant::now)
    }

    /// Resolves when nothing is in flight.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Tells everything in flight to end at once.
    pub fn cut(&self) {
        self.0.cut.send_replace(true);
    }

    /// Resolves when [`Drain::cut`] was called.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn is_cut(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.cut.subscribe().wait_for(|cut| *cut).await;
    }
}

/// Something that must not be cut off.
#[derive(Debug)]
pub struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_resolves_when_the_last_guard_is_dropped() {
        let drain = Drain::new();
        let (one, two) = (drain.enter(), drain.enter());
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(two);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_cut_reaches_those_who_wait_and_those_who_ask_later() {
        let drain = Drain::new();
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.is_cut().await }
        });
        tokio::task::yield_now().await;
        drain.cut();
        waiting.await.unwrap();
        drain.is_cut().await;
    }
}
