//! One job under way: a state that its work changes and that others look at, from any point on.
//!
//! ```text
//! Queued <-> Running <-> Calling          (as often as the exchange goes through a worker)
//!    any of them -> Ended: Finished | Cancelled
//! ```

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::events::{self, Cursor, Done};
use super::metrics::{InPhase, Metrics};
use super::output::{Output, Text};
use super::owner::Owner;
use super::results::{Answer, Ended, Finished, Refusal};
use super::webhook::Endpoint;
use crate::buffers::{Full, Lease};

/// Bytes that a job costs besides its answer: identities, story, places in maps.
pub(super) const OVERHEAD: usize = 1024;
/// Changes of phase that are told one by one; later ones replace the last.
const LONGEST_STORY: usize = 1000;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It waits for a worker.
    Queued,
    /// It is in a worker.
    Running,
    /// It waits for LLM providers and holds no worker.
    Calling,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 3] = [Phase::Queued, Phase::Running, Phase::Calling];

    /// The word for clients and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Calling => "calling",
        }
    }
}

/// A change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) phase: Phase,
    pub(super) passes: u32,
    pub(super) calls: u32,
    /// Bytes of output when it happened.
    pub(super) at: usize,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With a result.
    Finished(Arc<Finished>),
    /// Its owner did not want it any more.
    Cancelled,
}

/// A job under way.
#[derive(Debug)]
pub struct Job {
    /// What its owner asks for it by: 128 random bits in hexadecimal.
    pub id: String,
    /// The identity of its exchange.
    pub(super) exchange: String,
    pub(super) owner: Owner,
    /// When it began, in Unix milliseconds.
    pub created: u64,
    pub(super) webhook: Option<Endpoint>,
    state: Mutex<State>,
    /// Told of every change.
    changed: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    story: Vec<Note>,
    counted: Option<InPhase>,
    head: Option<(StatusCode, HeaderMap)>,
    output: Output,
    /// Memory that the output occupies.
    lease: Lease,
    ending: Option<Ending>,
    /// Whether its end is to be announced.
    announced: bool,
}

/// What a job looks like from outside.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What it does.
    pub phase: Phase,
    /// Trips through a worker that were begun.
    pub passes: u32,
    /// Calls to providers that were begun.
    pub calls: u32,
    /// Bytes of the answer so far.
    pub bytes: usize,
    /// These bytes, where the answer is one that streams.
    pub output: Option<Text>,
}

/// The answer has more bytes than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What a new job is made of.
pub(super) struct New {
    pub(super) id: String,
    pub(super) exchange: String,
    pub(super) owner: Owner,
    pub(super) created: u64,
    pub(super) webhook: Option<Endpoint>,
    pub(super) lease: Lease,
}

impl Job {
    pub(super) fn new(new: New, metrics: Arc<Metrics>) -> Self {
        let New { id, exchange, owner, created, webhook, lease } = new;
        let first = Note { phase: Phase::Queued, passes: 0, calls: 0, at: 0 };
        let state = State {
            story: vec![first],
            counted: Some(metrics.in_phase(Phase::Queued)),
            head: None,
            output: Output::default(),
            lease,
            ending: None,
            announced: false,
        };
        Self { id, exchange, owner, created, webhook, state: Mutex::new(state), changed: Notify::new(), metrics }
    }

    /// Its work does something else now.
    pub fn now(&self, phase: Phase, passes: u32, calls: u32) {
        let mut state = self.state.lock();
        let note = Note { phase, passes, calls, at: state.output.len() };
        if state.ending.is_some() || state.story.last() == Some(&note) {
            return;
        }
        state.counted = Some(self.metrics.in_phase(phase));
        if state.story.len() >= LONGEST_STORY {
            state.story.pop();
        }
        state.story.push(note);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The beginning of the answer.
    pub(super) fn begin(&self, status: StatusCode, headers: HeaderMap) {
        self.state.lock().head = Some((status, headers));
    }

    /// Bytes of the answer's body so far.
    pub(super) fn length(&self) -> usize {
        self.state.lock().output.len()
    }

    /// Adds to the answer's body.
    pub(super) fn push(&self, piece: Bytes) {
        self.state.lock().output.push(piece);
        self.changed.notify_waiters();
    }

    /// Takes memory for more of the answer.
    pub(super) fn grow(&self, more: usize) -> Result<(), Full> {
        self.state.lock().lease.grow(more)
    }

    /// What it leaves behind, if it ended so. Nobody learns of it yet.
    pub(super) fn close(&self, refused: Option<Refusal>, empty: Lease) -> Finished {
        let mut state = self.state.lock();
        let ended = match (refused, state.head.take()) {
            (None, Some((status, headers))) => Ended::Answered(Answer { status, headers, body: state.output.whole() }),
            (Some(refusal), _) => Ended::Refused(refusal),
            (None, None) => Ended::Refused(Refusal::internal()),
        };
        let mut lease = std::mem::replace(&mut state.lease, empty);
        if let Ended::Refused(_) = &ended {
            lease.shrink_to(OVERHEAD);
        }
        let story = state.story.clone();
        Finished {
            id: self.id.clone(),
            exchange: self.exchange.clone(),
            owner: self.owner,
            ended,
            story,
            _lease: lease,
        }
    }

    /// Ends it, unless it has ended already. `Some` says that, and whether that is to be announced.
    pub(super) fn end(&self, ending: Ending) -> Option<bool> {
        let mut state = self.state.lock();
        if state.ending.is_some() {
            return None;
        }
        state.counted = None;
        if let Ending::Finished(_) = &ending {
            state.output = Output::default(); // the result has it
        }
        state.ending = Some(ending);
        let announced = state.announced;
        drop(state);
        self.changed.notify_waiters();
        Some(announced)
    }

    /// From now on its end is to be announced; an end that came before is returned.
    pub(super) fn announce(&self) -> Option<Ending> {
        let mut state = self.state.lock();
        state.announced = true;
        state.ending.clone()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ending.is_some()
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Safe to drop and call again.
    pub async fn ended(&self) -> Ending {
        self.until(|state| state.ending.clone()).await
    }

    /// What it looks like now; its end if it has ended.
    ///
    /// # Errors
    /// Its end.
    pub fn snapshot(&self) -> Result<Snapshot, Ending> {
        let state = self.state.lock();
        if let Some(ending) = &state.ending {
            return Err(ending.clone());
        }
        let Some(note) = state.story.last() else { return Err(Ending::Cancelled) };
        let streams = state.head.as_ref().is_some_and(|(_, headers)| streams(headers));
        let output = streams.then(|| Text::of_all(&state.output.whole()));
        let Note { phase, passes, calls, .. } = *note;
        Ok(Snapshot { phase, passes, calls, bytes: state.output.len(), output })
    }

    /// The next event for a reader, who stands there afterwards; `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next_event(&self, cursor: &mut Cursor) -> Option<String> {
        if cursor.is_at_end() {
            return None;
        }
        let position = *cursor;
        let (event, after) = self
            .until(|state| {
                let mut cursor = position;
                let event = match &state.ending {
                    None => cursor.next(&state.story, &state.output, None),
                    Some(Ending::Finished(finished)) => return Some((finished.next_event(&mut cursor), cursor)),
                    Some(Ending::Cancelled) => cursor.next(
                        &state.story,
                        &state.output,
                        Some(Done { status: None, outcome: events::CANCELLED }),
                    ),
                };
                event.map(|event| (Some(event), cursor))
            })
            .await;
        *cursor = after;
        event
    }

    /// Waits until something is found in the state.
    async fn until<T>(&self, find: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            let found = find(&self.state.lock());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }
}

/// Answers without a length are those that are written bit by bit.
fn streams(headers: &HeaderMap) -> bool {
    !headers.contains_key(http::header::CONTENT_LENGTH)
}
