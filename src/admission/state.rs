//! The one state behind the lock: who runs, who waits, and the integrals that make utilisation exact.
//! Its methods are transitions; none of them waits, and time comes in as a parameter.

use tokio::sync::oneshot;

use super::expectation::ServiceTime;
use super::load::Load;
use super::overload::Overload;
use super::queue::{Lines, Order, Waiter};
use super::{Bulkhead, Class, Config, Refusal};
use crate::time::{Duration, Instant};

/// The least a refused client is told to wait.
const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Of so many workers in a row that go to exchanges which come back, the next goes to an interactive request.
/// Strict order let a wave of 200 resumes hold a 1 ms request for seconds; one in four costs the wave a third.
const RESUMES_IN_A_ROW: u32 = 3;

/// What became of a request at the gate.
pub(super) enum Entered {
    /// It has a worker.
    Granted,
    /// It waits.
    Waiting(Waiting),
}

/// A waiter's own end of its place in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) granted: oneshot::Receiver<()>,
    class: Class,
    line: usize,
    sequence: u64,
}

#[derive(Debug)]
struct Limit {
    /// Whose it is.
    name: String,
    /// Whether requests still come under it.
    is_used: bool,
    limit: usize,
    busy: usize,
}

#[derive(Debug)]
pub(super) struct State {
    config: Config,
    busy: usize,
    bulkheads: Vec<Limit>,
    classes: [Lines; 3],
    /// Resumes that were served one after the other while interactive requests waited.
    resumes_in_a_row: u32,
    next_sequence: u64,
    service: ServiceTime,
    load: Load,
    overload: Overload,
    seen: Instant,
    busy_time: Duration,
    saturated_time: Duration,
}

impl State {
    pub(super) fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            busy: 0,
            bulkheads: Vec::new(),
            classes: std::array::from_fn(|_| Lines::default()),
            resumes_in_a_row: 0,
            next_sequence: 0,
            service: ServiceTime::default(),
            load: Load::new(now),
            overload: Overload::default(),
            seen: now,
            busy_time: Duration::ZERO,
            saturated_time: Duration::ZERO,
        }
    }

    pub(super) fn enter(
        &mut self,
        class: Class,
        bulkhead: Option<Bulkhead>,
        deadline: Instant,
        now: Instant,
    ) -> Result<Entered, Refusal> {
        self.advance(now);
        self.load.arrived(now);
        let line = self.line(bulkhead);
        if self.busy < self.config.workers && self.may_run(line) {
            self.occupy(line);
            return Ok(Entered::Granted);
        }
        self.check_queue(class, deadline, now)?;
        let (grant, granted) = oneshot::channel();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.classes[class as usize].push(line, sequence, Waiter { since: now, grant });
        Ok(Entered::Waiting(Waiting { granted, class, line, sequence }))
    }

    /// A waiter leaves. `false` when it was not queued any more, so was granted a worker.
    pub(super) fn leave(&mut self, waiting: &Waiting, now: Instant) -> bool {
        self.advance(now);
        self.classes[waiting.class as usize].remove(waiting.line, waiting.sequence)
    }

    /// A worker is free again, after it was held for `held` (`None` when nothing ran).
    pub(super) fn release(&mut self, bulkhead: Option<Bulkhead>, held: Option<Duration>, now: Instant) {
        self.advance(now);
        let line = self.line(bulkhead);
        self.busy -= 1;
        if let Some(limit) = line.checked_sub(1).and_then(|place| self.bulkheads.get_mut(place)) {
            limit.busy -= 1;
        }
        if let Some(held) = held {
            self.service.note(held);
            self.load.served(held, now);
        }
        self.dispatch(now);
    }

    /// Brings the integrals up to `now`.
    pub(super) fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.seen);
        self.busy_time += passed * u32::try_from(self.busy).unwrap_or(u32::MAX);
        if self.busy >= self.config.workers {
            self.saturated_time += passed;
        }
        self.seen = now;
    }

    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    pub(super) fn depth(&self, class: Class) -> usize {
        self.classes[class as usize].depth()
    }

    pub(super) fn oldest_age(&self) -> Duration {
        let oldest = self.classes.iter().filter_map(Lines::oldest).min();
        oldest.map_or(Duration::ZERO, |since| self.seen.saturating_duration_since(since))
    }

    pub(super) fn workers(&self) -> usize {
        self.config.workers
    }

    pub(super) fn resize(&mut self, workers: usize, now: Instant) {
        self.advance(now);
        self.config.workers = workers;
        self.dispatch(now);
    }

    /// Other bounds from now on, and the places of the bulkheads. One whose name was there before keeps its place with
    /// those who are in it; the place of one that is gone is given to another once it is empty.
    pub(super) fn reconfigure(&mut self, config: Config, named: &[(String, usize)], now: Instant) -> Vec<Bulkhead> {
        self.advance(now); // the past was with the old bounds
        self.config = config;
        self.bulkheads.iter_mut().for_each(|bulkhead| bulkhead.is_used = false);
        let kept: Vec<Option<usize>> = named.iter().map(|(name, limit)| self.keep(name, *limit)).collect();
        let places = named
            .iter()
            .zip(kept)
            .map(|((name, limit), kept)| Bulkhead(kept.unwrap_or_else(|| self.occupy_place(name, *limit))));
        let places = places.collect();
        self.resize(config.workers, now);
        places
    }

    fn keep(&mut self, name: &str, limit: usize) -> Option<usize> {
        let place = self.bulkheads.iter().position(|bulkhead| bulkhead.name == name && !bulkhead.is_used)?;
        (self.bulkheads[place].limit, self.bulkheads[place].is_used) = (limit, true);
        Some(place)
    }

    fn occupy_place(&mut self, name: &str, limit: usize) -> usize {
        let is_empty = |place: &usize| self.classes.iter().all(|lines| lines.is_empty(place + 1));
        let is_free = |place: &usize| {
            let bulkhead = &self.bulkheads[*place];
            !bulkhead.is_used && bulkhead.busy == 0 && is_empty(place)
        };
        let bulkhead = Limit { name: name.to_owned(), is_used: true, limit, busy: 0 };
        match (0..self.bulkheads.len()).find(is_free) {
            Some(place) => {
                self.bulkheads[place] = bulkhead;
                place
            }
            None => {
                self.bulkheads.push(bulkhead);
                self.classes.iter_mut().for_each(Lines::add);
                self.bulkheads.len() - 1
            }
        }
    }

    /// The load that is asked of the workers, in Erlangs.
    pub(super) fn offered(&mut self, now: Instant) -> f64 {
        self.load.offered(now)
    }

    /// The mean wait that this load should cause.
    pub(super) fn steady_wait(&mut self, now: Instant) -> Duration {
        self.load.expected_wait(self.config.workers, now)
    }

    pub(super) fn busy_time(&self) -> Duration {
        self.busy_time
    }

    pub(super) fn saturated_time(&self) -> Duration {
        self.saturated_time
    }

    /// When a client that is refused now should come back.
    pub(super) fn retry_after(&self) -> Duration {
        self.expected_wait(Class::Batch).max(LEAST_RETRY_AFTER)
    }

    fn check_queue(&self, class: Class, deadline: Instant, now: Instant) -> Result<(), Refusal> {
        let (taken, capacity) = match class {
            Class::Resume => (self.depth(Class::Resume), self.config.resume_capacity),
            Class::Interactive | Class::Batch => {
                (self.depth(Class::Interactive) + self.depth(Class::Batch), self.config.capacity)
            }
        };
        if taken >= capacity {
            return Err(Refusal::Full { retry_after: self.retry_after() });
        }
        if now + self.expected_wait(class) > deadline {
            return Err(Refusal::Hopeless { retry_after: self.retry_after() });
        }
        Ok(())
    }

    /// Counts those that go before a newcomer of this class.
    fn expected_wait(&self, class: Class) -> Duration {
        let ahead = Class::ALL.into_iter().filter(|&other| other <= class).map(|other| self.depth(other)).sum();
        self.service.wait(ahead, self.config.workers)
    }

    /// Gives free workers to those who wait. A waiter whose receiver is gone is on its way out of the queue
    /// and is passed over.
    fn dispatch(&mut self, now: Instant) {
        while self.busy < self.config.workers {
            let Some((line, waiter)) = self.next() else { return };
            self.overload.note(now.saturating_duration_since(waiter.since), self.service.mean(), now);
            if waiter.grant.send(()).is_ok() {
                self.occupy(line);
            }
        }
    }

    fn next(&mut self) -> Option<(usize, Waiter)> {
        let bulkheads = &self.bulkheads;
        let may_run = |line: usize| has_room(bulkheads, line);
        let newcomers = if self.overload.is_overloaded() { Order::NewestFirst } else { Order::OldestFirst };
        let [resume, interactive, batch] = &mut self.classes;
        let interactive_waits = interactive.depth() > 0;
        let in_turn =
            (self.resumes_in_a_row >= RESUMES_IN_A_ROW).then(|| interactive.pop(newcomers, may_run)).flatten();
        if let Some(waiter) = in_turn {
            self.resumes_in_a_row = 0;
            return Some(waiter);
        }
        if let Some(waiter) = resume.pop(Order::OldestFirst, may_run) {
            self.resumes_in_a_row = if interactive_waits { self.resumes_in_a_row.saturating_add(1) } else { 0 };
            return Some(waiter);
        }
        self.resumes_in_a_row = 0;
        interactive.pop(newcomers, may_run).or_else(|| batch.pop(newcomers, may_run))
    }

    fn occupy(&mut self, line: usize) {
        self.busy += 1;
        if let Some(limit) = line.checked_sub(1).and_then(|place| self.bulkheads.get_mut(place)) {
            limit.busy += 1;
        }
    }

    fn may_run(&self, line: usize) -> bool {
        has_room(&self.bulkheads, line)
    }

    /// Requests without a bulkhead wait in line 0, those of bulkhead i in line i + 1.
    fn line(&self, bulkhead: Option<Bulkhead>) -> usize {
        bulkhead.map_or(0, |Bulkhead(place)| place + 1)
    }
}

fn has_room(bulkheads: &[Limit], line: usize) -> bool {
    let bulkhead = line.checked_sub(1).and_then(|place| bulkheads.get(place));
    bulkhead.is_none_or(|bulkhead| bulkhead.busy < bulkhead.limit)
}
