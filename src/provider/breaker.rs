//! The circuit breaker of a provider: one that fails too often is not asked for a while, and then asked by a few calls
//! before all may ask again. What a failure is, is the caller's to say.

use std::sync::Arc;

use parking_lot::Mutex;

use super::BreakerConfig;
use super::metrics::Metrics;
use crate::time::{Duration, Instant};

/// Parts of the rolling window, so that calls leave it a tenth at a time.
const SLOTS: usize = 10;

/// Whether a provider is asked.
#[derive(Debug)]
pub(super) struct Breaker {
    /// `None` where it never opens.
    config: Option<BreakerConfig>,
    machine: Mutex<Machine>,
    metrics: Arc<Metrics>,
}

/// A state's name, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BreakerState {
    /// All calls pass.
    Closed,
    /// None passes.
    Open,
    /// A few pass, to see how they fare.
    HalfOpen,
}

impl BreakerState {
    pub(super) const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The word for metric labels.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[derive(Debug)]
struct Machine {
    state: State,
    /// Goes up with each change of state, so that calls from before it say nothing about what came after.
    epoch: u64,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { under_way: u32, succeeded: u32 },
}

/// The calls of the last while.
#[derive(Debug)]
struct Window {
    slots: [Tally; SLOTS],
    /// How long one slot is.
    length: Duration,
    began: Instant,
    /// Slots since it began.
    current: u128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u32,
    failures: u32,
}

/// A call that passed. Dropping it says nothing about the provider.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    has_ended: bool,
}

impl Breaker {
    /// Closed.
    pub(super) fn new(config: Option<BreakerConfig>, metrics: Arc<Metrics>) -> Self {
        let window = Window::new(config.map_or(Duration::ZERO, |config| config.window), Instant::now());
        metrics.breaker_is(BreakerState::Closed);
        Self { config, machine: Mutex::new(Machine { state: State::Closed(window), epoch: 0 }), metrics }
    }

    /// How long to stay away, where a call would not pass now.
    pub(super) fn refuses(&self) -> Option<Duration> {
        let config = self.config?;
        self.machine.lock().state.refuses(&config, Instant::now())
    }

    /// Lets a call pass.
    ///
    /// # Errors
    /// How long to stay away.
    pub(super) fn enter(&self) -> Result<Ticket<'_>, Duration> {
        let mut machine = self.machine.lock();
        if let Some(config) = &self.config {
            if let Some(after) = machine.state.refuses(config, Instant::now()) {
                return Err(after);
            }
            if matches!(machine.state, State::Open { .. }) {
                self.change(&mut machine, State::HalfOpen { under_way: 0, succeeded: 0 });
            }
            if let State::HalfOpen { under_way, .. } = &mut machine.state {
                *under_way += 1;
            }
        }
        Ok(Ticket { breaker: self, epoch: machine.epoch, has_ended: false })
    }

    /// A call that had ended well so far failed in the middle of its answer.
    pub(super) fn failed_late(&self) {
        let Some(config) = &self.config else { return };
        let (mut machine, now) = (self.machine.lock(), Instant::now());
        if let State::Closed(window) = &mut machine.state {
            window.at(now).failures += 1;
            self.open_if_due(&mut machine, config, now);
        }
    }

    fn ended(&self, epoch: u64, has_failed: bool) {
        let Some(config) = &self.config else { return };
        let (mut machine, now) = (self.machine.lock(), Instant::now());
        if machine.epoch != epoch {
            return;
        }
        match &mut machine.state {
            State::Closed(window) => {
                let tally = window.at(now);
                tally.calls += 1;
                tally.failures += u32::from(has_failed);
                self.open_if_due(&mut machine, config, now);
            }
            State::HalfOpen { .. } if has_failed => {
                self.change(&mut machine, State::Open { until: now + config.cooldown });
            }
            State::HalfOpen { under_way, succeeded } => {
                *under_way -= 1;
                *succeeded += 1;
                if *succeeded >= config.probes {
                    self.change(&mut machine, State::Closed(Window::new(config.window, now)));
                }
            }
            State::Open { .. } => {}
        }
    }

    fn gave_up(&self, epoch: u64) {
        let mut machine = self.machine.lock();
        if let (true, State::HalfOpen { under_way, .. }) = (machine.epoch == epoch, &mut machine.state) {
            *under_way -= 1;
        }
    }

    fn open_if_due(&self, machine: &mut Machine, config: &BreakerConfig, now: Instant) {
        let State::Closed(window) = &machine.state else { return };
        let Tally { calls, failures } = window.sum();
        if calls >= config.minimum && f64::from(failures) >= config.failures * f64::from(calls) {
            tracing::warn!(provider = self.metrics.provider, calls, failures, "a provider fails too often");
            self.change(machine, State::Open { until: now + config.cooldown });
        }
    }

    fn change(&self, machine: &mut Machine, to: State) {
        machine.state = to;
        machine.epoch += 1;
        let name = machine.state.name();
        tracing::info!(provider = self.metrics.provider, state = name.as_str(), "a circuit breaker changed");
        self.metrics.breaker_became(name);
    }
}

impl State {
    fn name(&self) -> BreakerState {
        match self {
            State::Closed(_) => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn refuses(&self, config: &BreakerConfig, now: Instant) -> Option<Duration> {
        match self {
            State::Closed(_) => None,
            State::Open { until } => Some(until.saturating_duration_since(now)).filter(|after| !after.is_zero()),
            // As many as must succeed, so none is made in vain.
            State::HalfOpen { under_way, succeeded } => {
                (under_way + succeeded >= config.probes).then_some(config.cooldown)
            }
        }
    }
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        let length = (length / SLOTS as u32).max(Duration::from_millis(1));
        Self { slots: [Tally::default(); SLOTS], length, began: now, current: 0 }
    }

    /// The slot of this moment, after those that it replaces were emptied.
    fn at(&mut self, now: Instant) -> &mut Tally {
        let number = now.saturating_duration_since(self.began).as_nanos() / self.length.as_nanos();
        let passed = number.saturating_sub(self.current).min(SLOTS as u128);
        for past in 0..passed {
            self.slots[((number - past) % SLOTS as u128) as usize] = Tally::default();
        }
        self.current = self.current.max(number);
        &mut self.slots[(self.current % SLOTS as u128) as usize]
    }

    fn sum(&self) -> Tally {
        let add = |sum: Tally, slot: &Tally| Tally {
            calls: sum.calls.saturating_add(slot.calls),
            failures: sum.failures.saturating_add(slot.failures),
        };
        self.slots.iter().fold(Tally::default(), add)
    }
}

impl Ticket<'_> {
    /// The call ended, well or not.
    pub(super) fn end(mut self, has_failed: bool) {
        self.has_ended = true;
        self.breaker.ended(self.epoch, has_failed);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.breaker.gave_up(self.epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        let config = BreakerConfig { failures: 0.5, minimum: 4, window: SECOND * 30, cooldown: SECOND * 5, probes: 2 };
        Breaker::new(Some(config), Metrics::of_one("a"))
    }

    fn calls(breaker: &Breaker, failures: usize, successes: usize) {
        for failed in std::iter::repeat_n(true, failures).chain(std::iter::repeat_n(false, successes)) {
            breaker.enter().unwrap().end(failed);
        }
    }

    fn state(breaker: &Breaker) -> BreakerState {
        breaker.machine.lock().state.name()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_half_of_enough_calls_failed() {
        let breaker = breaker();
        calls(&breaker, 0, 4);
        calls(&breaker, 3, 0);
        assert_eq!(breaker.refuses(), None, "3 of 7");
        breaker.enter().unwrap().end(true);
        assert_eq!(breaker.refuses(), Some(SECOND * 5), "4 of 8");
        assert_eq!(breaker.enter().err(), Some(SECOND * 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_calls_are_too_few_to_judge_by() {
        let breaker = breaker();
        calls(&breaker, 3, 0);
        assert_eq!(breaker.refuses(), None);
        breaker.enter().unwrap().end(true);
        assert_eq!(breaker.refuses(), Some(SECOND * 5));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_after_the_window() {
        let breaker = breaker();
        calls(&breaker, 3, 0);
        advance(SECOND * 31).await;
        breaker.enter().unwrap().end(true);
        assert_eq!(state(&breaker), BreakerState::Closed, "1 call");
        advance(SECOND * 20).await;
        calls(&breaker, 3, 0);
        assert_eq!(state(&breaker), BreakerState::Open, "4 of 4 within 30 s");
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_cooldown_as_many_probes_pass_as_must_succeed() {
        let breaker = breaker();
        calls(&breaker, 4, 0);
        advance(SECOND * 5).await;
        let (first, second) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        assert!(breaker.enter().is_err(), "two are under way");
        drop(first);
        let third = breaker.enter().unwrap();
        second.end(false);
        assert_eq!(state(&breaker), BreakerState::HalfOpen);
        third.end(false);
        assert_eq!(state(&breaker), BreakerState::Closed);
        calls(&breaker, 3, 0);
        assert_eq!(breaker.refuses(), None, "the old failures are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_opens_it_again_whatever_the_others_say() {
        let breaker = breaker();
        calls(&breaker, 4, 0);
        advance(SECOND * 5).await;
        let (first, second) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        first.end(true);
        second.end(false);
        assert_eq!(breaker.refuses(), Some(SECOND * 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_from_before_it_opened_says_nothing_about_later() {
        let breaker = breaker();
        let (slow, slower) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        calls(&breaker, 4, 0);
        slow.end(true);
        advance(SECOND * 5).await;
        let probe = breaker.enter().unwrap();
        slower.end(true);
        assert_eq!(state(&breaker), BreakerState::HalfOpen);
        drop(probe);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_break_off_count_as_failures_of_their_calls() {
        let breaker = breaker();
        calls(&breaker, 0, 4);
        breaker.failed_late();
        assert_eq!(breaker.refuses(), None, "1 of 4");
        breaker.failed_late();
        assert_eq!(breaker.refuses(), Some(SECOND * 5), "2 of 4");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_configuration_it_never_opens() {
        let breaker = Breaker::new(None, Metrics::of_one("a"));
        calls(&breaker, 100, 0);
        breaker.failed_late();
        assert_eq!(breaker.refuses(), None);
    }

    #[test]
    fn every_state_is_found_at_its_position() {
        for (position, state) in BreakerState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, position);
        }
    }
}
