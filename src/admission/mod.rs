//! Who may occupy a worker. W = workers x threads is exact: never more passes run than workers exist, and
//! no adaptive guess is made, because the latency of views that call LLMs is bimodal by design. Requests
//! that find no worker wait in one bounded queue of three classes. It must never know what a request is.

mod erlang;
mod expectation;
mod load;
mod metrics;
mod overload;
mod permit;
mod queue;
mod state;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::telemetry::Registry;
use crate::telemetry::level::RecentMean;
use crate::time::{Duration, Instant, timeout_at};

use metrics::Metrics;
pub use permit::Permit;
use permit::Ticket;
use state::{Entered, State};

/// The pool and its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Requests the app serves at once: workers x threads.
    pub workers: usize,
    /// Places in the queue for requests that have not begun (interactive and batch).
    pub capacity: usize,
    /// Places in the queue for exchanges that come back with results.
    pub resume_capacity: usize,
}

/// The order of service: a higher class goes before a lower one, except that interactive requests have every fourth
/// turn while exchanges come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Exchanges that come back with results. Their work is invested, so they go first, oldest first.
    Resume,
    /// People wait for these.
    Interactive,
    /// Nobody waits for these.
    Batch,
}

impl Class {
    /// Every class, highest first.
    pub const ALL: [Class; 3] = [Class::Resume, Class::Interactive, Class::Batch];

    /// The word for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Resume => "resume",
            Class::Interactive => "interactive",
            Class::Batch => "batch",
        }
    }
}

/// A limit of its own inside the pool, such as a route's `max_workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulkhead(pub usize);

/// Why a worker was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// All places in the queue are taken.
    #[error("the queue is full")]
    Full {
        /// When a place may be free.
        retry_after: Duration,
    },
    /// The wait to expect is longer than allowed, so waiting would be in vain.
    #[error("the wait to expect is longer than the request may wait")]
    Hopeless {
        /// When the queue may be short enough.
        retry_after: Duration,
    },
    /// No worker became free in time.
    #[error("no worker became free in time")]
    TimedOut {
        /// When a worker may be free.
        retry_after: Duration,
    },
}

/// The gate before the workers.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
    /// How many requests wait elsewhere.
    saved: Mutex<RecentMean>,
    metrics: Metrics,
}

/// How long the load of the past counts.
const RECENT: Duration = Duration::from_secs(60);

/// What is asked of a pool when the workers that it needs are counted.
const SHARE_THAT_MAY_WAIT: f64 = 0.05;

impl Admission {
    /// A gate with all workers free and no bulkhead.
    pub fn new(config: Config, registry: &Registry) -> Arc<Self> {
        let state = Mutex::new(State::new(config, Instant::now()));
        let saved = Mutex::new(RecentMean::new(RECENT));
        Arc::new(Self { state, saved, metrics: Metrics::new(registry) })
    }

    /// Waits for a worker until `deadline`.
    ///
    /// # Errors
    /// See [`Refusal`].
    ///
    /// # Cancel safety
    /// Dropping the future frees its place in the queue, or the worker it was just granted.
    pub async fn admit(
        self: &Arc<Self>,
        class: Class,
        bulkhead: Option<Bulkhead>,
        deadline: Instant,
    ) -> Result<Permit, Refusal> {
        let asked = Instant::now();
        let admitted = self.enter(class, bulkhead, deadline, asked).await;
        self.metrics.waited(class, admitted.as_ref().err(), asked.elapsed());
        admitted
    }

    async fn enter(
        self: &Arc<Self>,
        class: Class,
        bulkhead: Option<Bulkhead>,
        deadline: Instant,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        let entered = self.state.lock().enter(class, bulkhead, deadline, now)?;
        let waiting = match entered {
            Entered::Granted => return Ok(Permit::new(Arc::clone(self), bulkhead, now)),
            Entered::Waiting(waiting) => waiting,
        };
        let mut ticket = Ticket::new(Arc::clone(self), waiting, bulkhead);
        match timeout_at(deadline, ticket.granted()).await {
            Ok(permit) => Ok(permit),
            Err(_) => Err(Refusal::TimedOut { retry_after: self.state.lock().retry_after() }),
        }
    }

    /// Brings the time-dependent metrics up to date: before each scrape. `saved` is the time that requests spent
    /// waiting elsewhere, holding no worker, summed over all of them since the beginning.
    pub fn observe(&self, saved: Duration) {
        let saved = self.saved.lock().note(saved);
        let now = Instant::now();
        let offered = {
            let mut state = self.state.lock();
            state.advance(now);
            state.offered(now)
        };
        let needed = erlang::workers_needed(offered + saved, SHARE_THAT_MAY_WAIT);
        self.metrics.show(&mut self.state.lock(), needed, now);
    }

    /// Other bounds from now on, and a bulkhead for each name, with its limit. Nobody who runs or waits is disturbed; one
    /// that had the name before goes on with those who are in it.
    pub fn reconfigure(&self, config: Config, bulkheads: &[(String, usize)]) -> Vec<Bulkhead> {
        self.state.lock().reconfigure(config, bulkheads, Instant::now())
    }

    /// How many requests the app serves at once.
    pub fn workers(&self) -> usize {
        self.state.lock().workers()
    }

    /// The app has so many workers from now on. Fewer take effect as those that are too many become free.
    pub fn resize(&self, workers: usize) {
        self.state.lock().resize(workers, Instant::now());
    }

    /// Workers that are busy now.
    pub fn busy(&self) -> usize {
        self.state.lock().busy()
    }

    /// Requests that wait now, in all classes.
    pub fn waiting(&self) -> usize {
        Class::ALL.into_iter().map(|class| self.state.lock().depth(class)).sum()
    }

    fn release(&self, bulkhead: Option<Bulkhead>, held: Option<Duration>) {
        self.state.lock().release(bulkhead, held, Instant::now());
    }
}

#[cfg(test)]
mod tests;
