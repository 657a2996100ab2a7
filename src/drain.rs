//! Who is still being served, and when to let go. Everything that must not be cut off holds a guard; the
//! shutdown waits for the guards, then cuts what is left. It must never end the process itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::{Notify, watch};

use crate::time::{Instant, sleep_until};

/// One process's shutdown. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: RwLock<Option<Begun>>,
    /// What is in flight, and which of it needs no app, in one number: they must be read together.
    counts: AtomicU64,
    connections: AtomicUsize,
    fewer: Notify,
    /// Changes whenever clients that can be told to go elsewhere should be.
    leaving: watch::Sender<bool>,
    /// Until when a connection may be silent.
    over: watch::Sender<Option<Instant>>,
    cut: watch::Sender<bool>,
}

/// Since when a process is being left.
#[derive(Clone, Copy, Debug)]
struct Begun {
    since: Instant,
    /// The process ends. Otherwise it is the app alone that goes, and it may come back.
    is_final: bool,
}

/// One in `counts`: in flight.
const ONE: u64 = 1;
/// One in `counts`: in flight without need of the app.
const SPARED: u64 = 1 << 32;

fn in_flight(counts: u64) -> u64 {
    counts % SPARED
}

fn needs_app(counts: u64) -> u64 {
    in_flight(counts) - counts / SPARED
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
            begun: RwLock::new(None),
            counts: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            fewer: Notify::new(),
            leaving: watch::Sender::new(false),
            over: watch::Sender::new(None),
            cut: watch::Sender::new(false),
        }))
    }

    /// Counts something as in flight while the guard lives. It may need the app.
    pub fn enter(&self) -> InFlight {
        self.0.counts.fetch_add(ONE, Ordering::AcqRel);
        InFlight { shared: Arc::clone(&self.0), counted: ONE }
    }

    /// The same for what goes on when the app is gone.
    pub fn enter_without_app(&self) -> InFlight {
        self.0.counts.fetch_add(ONE + SPARED, Ordering::AcqRel);
        InFlight { shared: Arc::clone(&self.0), counted: ONE + SPARED }
    }

    /// Counts a client as connected while the guard lives.
    pub fn connect(&self) -> Connected {
        self.0.connections.fetch_add(1, Ordering::AcqRel);
        Connected(Arc::clone(&self.0))
    }

    /// What is in flight now.
    pub fn in_flight(&self) -> u64 {
        in_flight(self.0.counts.load(Ordering::Acquire))
    }

    /// From now on this process is not ready, and connections are closed after their answer. Returns since when.
    pub fn start(&self) -> Instant {
        self.begin(true)
    }

    /// The same until the app that is about to go is back.
    pub fn start_for_app(&self) -> Instant {
        self.begin(false)
    }

    /// The app was gone and is back: ends what [`Drain::start_for_app`] began. Whether there was anything to end.
    pub fn app_is_back(&self) -> bool {
        let mut begun = self.0.begun.write();
        let is_over = begun.take_if(|begun| !begun.is_final).is_some();
        if is_over {
            self.0.leaving.send_if_modified(|leaving| {
                *leaving = false;
                false // this is nothing to leave for
            });
        }
        is_over
    }

    /// Whether the process is being left.
    pub fn is_draining(&self) -> bool {
        self.0.begun.read().is_some()
    }

    /// Whether that ends with the process only.
    pub fn is_final(&self) -> bool {
        self.0.begun.read().is_some_and(|begun| begun.is_final)
    }

    fn begin(&self, is_final: bool) -> Instant {
        let mut begun = self.0.begun.write();
        let begun = begun.get_or_insert_with(|| {
            self.0.leaving.send_replace(true);
            Begun { since: Instant::now(), is_final }
        });
        begun.is_final |= is_final;
        begun.since
    }

    /// No new connections are to be expected. Those that are silent are kept until then, since a request may be on its way.
    pub fn stop(&self, silent_until: Instant) {
        self.start();
        self.0.leaving.send_replace(true); // for those who came after the first time
        self.0.over.send_replace(Some(silent_until));
    }

    /// Changes when clients are to be told to go elsewhere: at the start, and again at the stop.
    pub fn leaving(&self) -> watch::Receiver<bool> {
        self.0.leaving.subscribe()
    }

    /// Resolves when a connection may not be silent any longer.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn is_over(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let until = self.0.over.subscribe().wait_for(Option::is_some).await.ok().and_then(|until| *until);
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    /// Resolves when nothing is in flight and nobody is connected.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn idle(&self) {
        self.until(|shared| {
            shared.connections.load(Ordering::Acquire) == 0 && in_flight(shared.counts.load(Ordering::Acquire)) == 0
        })
        .await;
    }

    /// Resolves when nothing in flight needs the app any more.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn is_app_free(&self) {
        self.until(|shared| needs_app(shared.counts.load(Ordering::Acquire)) == 0).await;
    }

    async fn until(&self, reached: impl Fn(&Shared) -> bool) {
        loop {
            let fewer = self.0.fewer.notified();
            if reached(&self.0) {
                return;
            }
            fewer.await;
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
pub struct InFlight {
    shared: Arc<Shared>,
    /// What it counts for.
    counted: u64,
}

impl InFlight {
    /// From now on it goes on when the app is gone.
    pub fn needs_no_app(&mut self) {
        if self.counted == ONE {
            self.counted += SPARED;
            let before = self.shared.counts.fetch_add(SPARED, Ordering::AcqRel);
            self.shared.tell_if_free(before + SPARED);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.shared.counts.fetch_sub(self.counted, Ordering::AcqRel);
        self.shared.tell_if_free(before - self.counted);
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.fewer.notify_waiters();
        }
    }
}

impl Shared {
    fn tell_if_free(&self, counts: u64) {
        if needs_app(counts) == 0 {
            self.fewer.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    async fn settled(waiting: &tokio::task::JoinHandle<()>) -> bool {
        tokio::task::yield_now().await;
        waiting.is_finished()
    }

    #[tokio::test]
    async fn idle_resolves_when_the_last_guard_is_dropped() {
        let drain = Drain::new();
        let (one, two, client) = (drain.enter(), drain.enter_without_app(), drain.connect());
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.idle().await }
        });
        drop(one);
        assert!(!settled(&waiting).await);
        drop(two);
        assert!(!settled(&waiting).await, "a client is connected");
        drop(client);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_app_is_free_when_what_is_left_goes_on_without_it() {
        let drain = Drain::new();
        let (mut one, two, client) = (drain.enter(), drain.enter(), drain.connect());
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.is_app_free().await }
        });
        let call = drain.enter_without_app();
        one.needs_no_app();
        one.needs_no_app();
        assert_eq!(drain.in_flight(), 3);
        assert!(!settled(&waiting).await);
        drop(two);
        waiting.await.unwrap();
        drop((one, call, client));
        assert_eq!(drain.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_are_kept_until_the_end_that_a_stop_names() {
        let drain = Drain::new();
        let began = Instant::now();
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.is_over().await }
        });
        drain.start();
        assert!(!settled(&waiting).await, "a process that is only unready keeps its connections");
        drain.stop(began + Duration::from_secs(3));
        waiting.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        drain.is_over().await;
    }

    #[tokio::test]
    async fn clients_are_told_to_go_at_the_start_and_those_who_came_since_at_the_stop() {
        let drain = Drain::new();
        let mut first = drain.leaving();
        drain.start();
        drain.start();
        assert!(first.has_changed().unwrap());
        first.mark_unchanged();
        let second = drain.leaving();
        assert!(!second.has_changed().unwrap());
        drain.stop(Instant::now());
        assert!(first.has_changed().unwrap() && second.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_drain_for_the_app_ends_when_it_is_back_and_one_for_good_does_not() {
        let drain = Drain::new();
        assert!(!drain.app_is_back());
        let mut first = drain.leaving();
        let since = drain.start_for_app();
        assert!(first.has_changed().unwrap() && drain.is_draining() && !drain.is_final());
        first.mark_unchanged();
        assert!(drain.app_is_back() && !drain.is_draining());
        assert!(!first.has_changed().unwrap(), "nobody is told to leave a process that serves again");
        assert!(drain.start_for_app() >= since && first.has_changed().unwrap(), "it can begin anew");
        drain.start();
        assert!(drain.is_final() && !drain.app_is_back() && drain.is_draining());
        drain.start_for_app();
        assert!(drain.is_final());
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
