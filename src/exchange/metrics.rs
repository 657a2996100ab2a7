//! Exchanges: rate, errors, duration, and what the hand-off saved.

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Account;
use crate::telemetry::level::{Level, Present};
use crate::telemetry::outcome::Mode;
use crate::telemetry::registry::{CALL_SECONDS, Counter, OVERHEAD_SECONDS, POOL_SECONDS, raise};
use crate::telemetry::{Outcome, Reason, Registry};
use crate::time::{Duration, Instant};

/// Families about exchanges.
#[derive(Debug)]
pub struct Metrics {
    /// By mode, then by outcome. Found by position: looking labels up costs every request.
    ended: Vec<Vec<IntCounter>>,
    /// By mode.
    duration: Vec<Histogram>,
    overhead: Histogram,
    in_flight: IntGauge,
    calling: IntGauge,
    pub(super) handoff_refused: IntCounterVec,
    /// By [`Saver`].
    saved: [(Level, Mutex<Counter>); Saver::WORDS.len()],
    relays: IntCounterVec,
    pub(super) relay_passes: IntCounterVec,
    /// By [`Authorized`].
    authorizations: [IntCounter; Authorized::WORDS.len()],
    authorization_duration: Histogram,
    pub(super) drift: IntCounter,
    pub(super) unconsumed: IntCounter,
    pub(super) kept: IntCounter,
    pub(super) reused: IntCounter,
}

/// How relayed streams end: whole, broken off by the provider or by us, given up by their clients.
const RELAY_RESULTS: [&str; 3] = ["complete", "broken", "client_gone"];

const HANDOFF_REASONS: [Reason; 6] = [
    Reason::HandoffInvalid,
    Reason::HandoffUnsupported,
    Reason::HandoffOrigin,
    Reason::HandoffLimit,
    Reason::HandoffPassLimit,
    Reason::HandoffUnexpected,
];

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let ended = registry.counter_vec("exchanges_total", "Exchanges that ended.", &["mode", "outcome"]);
        let duration =
            registry.histogram_vec("exchange_duration_seconds", "Time of an exchange.", &["mode"], CALL_SECONDS);
        let modes = Mode::ALL.map(Mode::as_str);
        let ended =
            modes.map(|mode| Outcome::words().map(|outcome| ended.with_label_values(&[mode, outcome])).collect());
        let duration = modes.map(|mode| duration.with_label_values(&[mode]));
        let reasons = HANDOFF_REASONS.map(Reason::as_str);
        let authorizations = registry.counter_vec(
            "authorizations_total",
            "Questions to the app whether a call may be made, by its answer.",
            &["result"],
        );
        let saved = "Time exchanges waited for providers without a worker; its rate is the number of workers saved.";
        let saved = registry.float_counters("worker_seconds_saved_total", saved, "mode", &Saver::WORDS);
        Self {
            ended: ended.into(),
            duration: duration.into(),
            overhead: registry.histogram(
                "overhead_seconds",
                "Time of an answered exchange that was spent on neither worker, provider, queue nor client.",
                OVERHEAD_SECONDS,
            ),
            in_flight: registry.gauge("exchanges_in_flight", "Exchanges under way."),
            calling: registry.gauge("exchanges_suspended", "Exchanges that wait for providers, holding no worker."),
            handoff_refused: registry.counters(
                "handoff_refused_total",
                "Calls of the app that were refused.",
                "reason",
                &reasons,
            ),
            saved: Saver::WORDS.map(|mode| (Level::default(), Mutex::new(saved.with_label_values(&[mode])))),
            relays: registry.counters(
                "relays_total",
                "Streams that were relayed to clients, by how they ended.",
                "result",
                &RELAY_RESULTS,
            ),
            relay_passes: registry.counters(
                "relay_passes_total",
                "Last passes after a relayed stream, in which the app saves it, by result.",
                "result",
                &["saved", "failed", "refused"],
            ),
            authorizations: Authorized::WORDS.map(|word| authorizations.with_label_values(&[word])),
            authorization_duration: registry.histogram(
                "authorization_duration_seconds",
                "Time from such a question to its answer, waiting for a worker included.",
                POOL_SECONDS,
            ),
            drift: registry.counter("drift_total", "Results delivered to their call site though the prompt differed."),
            unconsumed: registry.counter("results_unconsumed_total", "Results that the final answer did not use."),
            kept: registry.counter("results_kept_total", "Results kept because their exchange could not resume."),
            reused: registry.counter("results_reused_total", "Kept results that answered a retry's call."),
        }
    }

    /// Counts an exchange as in flight while the guard lives.
    pub fn begin(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Counts an exchange as waiting for a provider, and the time as saved, while the guard lives.
    pub fn suspend(&self, mode: Mode) -> Suspended {
        let saver = match mode {
            Mode::Relay => Saver::Relay,
            Mode::Terminate => Saver::Terminate,
            _ => Saver::Replay,
        };
        Suspended { _counted: Counted::new(&self.calling), _present: self.saved[saver as usize].0.enter() }
    }

    /// Brings what grows with time up to date: before each scrape. Returns the time saved in all.
    pub fn observe(&self) -> Duration {
        let saved = self.saved.iter().map(|(level, counter)| {
            let total = level.total();
            raise(&counter.lock(), total);
            total
        });
        saved.sum()
    }

    /// A relayed stream ended, or its client left.
    pub(super) fn relayed(&self, result: &str) {
        self.relays.with_label_values(&[result]).inc();
    }

    /// An exchange ended.
    pub fn ended(&self, account: &Account, outcome: Outcome, total: Duration) {
        let mode = account.mode as usize;
        self.ended[mode][outcome.position()].inc();
        self.duration[mode].observe(total.as_secs_f64());
        if outcome == Outcome::Answered && matches!(account.mode, Mode::Plain | Mode::Replay | Mode::Relay) {
            self.overhead.observe(account.overhead(total).as_secs_f64());
        }
    }

    /// Counts a question to the app when the guard is dropped; as abandoned, unless it is told how it ended.
    pub(super) fn authorizing(&self) -> Authorizing<'_> {
        Authorizing { metrics: self, since: Instant::now(), ended: Authorized::Abandoned }
    }

    /// A call that no pass of ours asked for.
    pub fn unexpected_call(&self) {
        self.handoff_refused.with_label_values(&[Reason::HandoffUnexpected.as_str()]).inc();
    }
}

/// An exchange waits, and no worker does.
#[derive(Debug)]
pub struct Suspended {
    _counted: Counted,
    _present: Present,
}

/// How an exchange came to wait without a worker.
#[derive(Clone, Copy)]
enum Saver {
    Replay,
    Relay,
    Terminate,
}

impl Saver {
    const WORDS: [&str; 3] = ["replay", "relay", "terminate"];
}

/// One more on a gauge while it lives.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What became of a question whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorized {
    /// It may.
    Granted,
    /// The app answered the client itself.
    Denied,
    /// The answer cannot be understood.
    Invalid,
    /// There was no answer.
    Failed,
    /// The client left before.
    Abandoned,
}

impl Authorized {
    const WORDS: [&str; 5] = ["granted", "denied", "invalid", "failed", "abandoned"];
}

/// A question under way.
pub(super) struct Authorizing<'a> {
    metrics: &'a Metrics,
    since: Instant,
    ended: Authorized,
}

impl Authorizing<'_> {
    /// Notes how it ended.
    pub(super) fn ended(&mut self, how: Authorized) {
        self.ended = how;
    }
}

impl Drop for Authorizing<'_> {
    fn drop(&mut self) {
        self.metrics.authorizations[self.ended as usize].inc();
        self.metrics.authorization_duration.observe(self.since.elapsed().as_secs_f64());
    }
}
