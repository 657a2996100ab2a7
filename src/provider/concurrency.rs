//! How many requests a provider has at once: fewer when it says that it is overloaded, a little more with each answer
//! (additive increase, multiplicative decrease). Calls beyond that wait in the order of their arrival.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ConcurrencyConfig;
use super::metrics::{Metrics, Wait};
use crate::time::{Duration, Instant};

/// What is added to the limit by an answer. Answers take seconds here: a limit that grew by one in the time of a call, as
/// TCP's does in a round trip, would keep calls waiting for minutes after the provider has recovered.
const INCREASE: f64 = 1.0;
/// What an overload leaves of the places in use.
const DECREASE: f64 = 0.75;
/// The least time between two decreases: what was sent before the first says nothing about its effect.
const SETTLE: Duration = Duration::from_secs(1);

/// The places of one provider. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(super) struct Limiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: ConcurrencyConfig,
    /// First come, first served.
    places: Arc<Semaphore>,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

/// Free places, plus those in use, less those owed, are the limit without its fraction.
#[derive(Debug)]
struct State {
    limit: f64,
    in_use: usize,
    /// Places in use that must not be given on.
    owed: usize,
    decreased: Option<Instant>,
}

/// A place, held until the end of the answer.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    place: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Limiter {
    /// All places free, as many as are allowed at the most: nobody waits before the provider gave cause.
    pub(super) fn new(config: ConcurrencyConfig, metrics: Arc<Metrics>) -> Self {
        let state = State { limit: config.max as f64, in_use: 0, owed: 0, decreased: None };
        metrics.concurrency_limit(config.max);
        Self(Arc::new(Shared {
            config,
            places: Arc::new(Semaphore::new(config.max)),
            state: Mutex::new(state),
            metrics,
        }))
    }

    /// A place, as soon as it is this call's turn.
    ///
    /// # Cancel safety
    /// Dropping the future is leaving the line.
    pub(super) async fn acquire(&self) -> Permit {
        if let Some(permit) = self.try_acquire() {
            return permit;
        }
        let _waiting = self.0.metrics.waits(Wait::Concurrency);
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        self.permit(place.expect("the semaphore is never closed"))
    }

    /// A place, if one is free and nobody waits for it.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        Arc::clone(&self.0.places).try_acquire_owned().ok().map(|place| self.permit(place))
    }

    fn permit(&self, place: OwnedSemaphorePermit) -> Permit {
        let shared = Arc::clone(&self.0);
        shared.state.lock().in_use += 1;
        shared.metrics.concurrency_in_use(1);
        Permit { shared, place: Some(place), since: Instant::now() }
    }
}

impl Permit {
    /// The provider answered.
    pub(super) fn succeeded(&self) {
        let Shared { config, places, state, metrics } = &*self.shared;
        let mut state = state.lock();
        // A limit that nobody comes near was not tried.
        if 2 * state.in_use < state.limit as usize || state.limit >= config.max as f64 {
            return;
        }
        let before = state.limit as usize;
        state.limit = (state.limit + INCREASE).min(config.max as f64);
        let more = state.limit as usize - before;
        let paid = more.min(state.owed);
        state.owed -= paid;
        places.add_permits(more - paid);
        metrics.concurrency_limit(state.limit as usize);
    }

    /// The provider said, or showed, that it has too much to do.
    pub(super) fn overloaded(&self) {
        let Shared { config, places, state, metrics } = &*self.shared;
        let (mut state, now) = (state.lock(), Instant::now());
        if state.decreased.is_some_and(|at| self.since <= at || now < at + SETTLE) {
            return;
        }
        state.decreased = Some(now);
        let before = state.limit as usize;
        let used = state.limit.min(state.in_use as f64);
        state.limit = (used * DECREASE).max(config.min as f64).min(state.limit);
        let fewer = before - state.limit as usize;
        state.owed += fewer - places.forget_permits(fewer);
        metrics.concurrency_limit(state.limit as usize);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut state = self.shared.state.lock();
        state.in_use -= 1;
        let is_owed = state.owed > 0;
        state.owed -= usize::from(is_owed);
        drop(state);
        if is_owed {
            place.forget();
        }
        self.shared.metrics.concurrency_in_use(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::advance;

    fn limiter(min: usize, max: usize) -> Limiter {
        Limiter::new(ConcurrencyConfig { min, max }, Metrics::of_one("a"))
    }

    fn limit(limiter: &Limiter) -> usize {
        let state = limiter.0.state.lock();
        assert_eq!(limiter.0.places.available_permits() + state.in_use, state.limit as usize + state.owed);
        state.limit as usize
    }

    fn occupy(limiter: &Limiter, places: usize) -> Vec<Permit> {
        (0..places).map(|_| limiter.try_acquire().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_overload_leaves_three_quarters_of_what_was_in_use() {
        let limiter = limiter(1, 1000);
        let mut permits = occupy(&limiter, 40);
        permits[0].overloaded();
        assert_eq!(limit(&limiter), 30);
        assert!(limiter.try_acquire().is_none());
        permits.truncate(30);
        assert!(limiter.try_acquire().is_none(), "what was over the limit is not given on");
        permits.truncate(29);
        assert!(limiter.try_acquire().is_some());
        assert_eq!(limit(&limiter), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn overloads_of_one_moment_are_one() {
        let limiter = limiter(1, 1000);
        let permits = occupy(&limiter, 40);
        permits.iter().for_each(Permit::overloaded);
        assert_eq!(limit(&limiter), 30);
        advance(SETTLE * 2).await;
        permits[0].overloaded();
        assert_eq!(limit(&limiter), 30, "it was sent before the decrease");
        drop(permits);
        let later = occupy(&limiter, 20);
        later[0].overloaded();
        assert_eq!(limit(&limiter), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_shrinks_below_the_least() {
        let limiter = limiter(3, 10);
        let permits = occupy(&limiter, 2);
        permits[0].overloaded();
        assert_eq!(limit(&limiter), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_adds_a_place_up_to_the_most_while_places_are_in_use() {
        let limiter = limiter(1, 12);
        let mut permits = occupy(&limiter, 12);
        permits[0].overloaded();
        assert_eq!(limit(&limiter), 9);
        permits[0].succeeded();
        assert_eq!(limit(&limiter), 10);
        (0..100).for_each(|_| permits[0].succeeded());
        assert_eq!(limit(&limiter), 12);
        assert!(limiter.try_acquire().is_none());
        permits[1].overloaded();
        permits.truncate(1);
        (0..100).for_each(|_| permits[0].succeeded());
        assert_eq!(limit(&limiter), 12, "decreases are a second apart");
        advance(SETTLE).await;
        let permits = occupy(&limiter, 8);
        permits[0].overloaded();
        let before = limit(&limiter);
        drop(permits);
        let alone = occupy(&limiter, 1);
        (0..100).for_each(|_| alone[0].succeeded());
        assert_eq!(limit(&limiter), before, "nobody came near the limit");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_in_the_order_of_arrival_and_may_leave() {
        let limiter = limiter(1, 1);
        let first = limiter.try_acquire().unwrap();
        let mut second = Box::pin(limiter.acquire());
        let mut third = Box::pin(limiter.acquire());
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "not its turn");
        drop(second);
        let third = third.as_mut().now_or_never().unwrap();
        assert!(limiter.try_acquire().is_none());
        drop(third);
        assert_eq!(limit(&limiter), 1);
        assert!(limiter.try_acquire().is_some());
    }
}
