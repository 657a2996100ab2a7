//! What happens to a job as server-sent events. Each has an identity that says what came before it, so that a reader
//! who comes back with it (`Last-Event-ID`) misses nothing and gets nothing twice.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::elsewhere::Distant;
use super::job::{Job, Note};
use super::output::{Output, Text};
use super::results::{Ended, Finished};
use crate::time::{Duration, timeout};

/// The most bytes of an answer in one event.
const LARGEST: usize = 16 * 1024;
/// The longest silence. Proxies cut connections that are silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A comment, which readers skip.
const COMMENT: &[u8] = b": keep-alive\n\n";
/// How a job ended that its owner removed.
pub(super) const CANCELLED: &str = "cancelled";

/// Where a reader stands: how many changes of phase and bytes it has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    notes: usize,
    bytes: usize,
    is_at_end: bool,
}

/// What the last event says.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Done {
    pub(super) status: Option<u16>,
    pub(super) outcome: &'static str,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    passes: u32,
    calls: u32,
}

impl Cursor {
    /// Whether the reader has been told of the end.
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// The next event of a story, if there is one; the reader stands behind it then.
    pub(super) fn next(&mut self, story: &[Note], output: &Output, done: Option<Done>) -> Option<String> {
        let next = story.get(self.notes);
        // What was told before an answer that was dropped has no place in the output any more.
        let next_at = next.map_or(usize::MAX, |note| if done.is_some() { note.at.min(output.len()) } else { note.at });
        if let Some(note) = next.filter(|_| next_at <= self.bytes) {
            self.notes += 1;
            let Note { phase, passes, calls, .. } = *note;
            return Some(self.event("status", &Status { status: phase.as_str(), passes, calls }));
        }
        let bytes = output.from(self.bytes, LARGEST.min(next_at.saturating_sub(self.bytes)));
        let is_last = self.bytes + bytes.len() >= output.len();
        if let Some((text, taken)) = Text::of(&bytes, is_last && done.is_none()) {
            self.bytes += taken;
            return Some(self.event("output", &text));
        }
        let done = done.filter(|_| !self.is_at_end)?;
        self.is_at_end = true;
        Some(self.event("done", &done))
    }

    fn event(&self, name: &str, data: &impl Serialize) -> String {
        let data = serde_json::to_string(data).expect("strings and numbers always serialise");
        format!("id: {self}\nevent: {name}\ndata: {data}\n\n")
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_at_end { ".end" } else { "" };
        write!(f, "{}.{}{end}", self.notes, self.bytes)
    }
}

/// Not the identity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (text, is_at_end) = text.strip_suffix(".end").map_or((text, false), |text| (text, true));
        let (notes, bytes) = text.split_once('.').ok_or(BadCursor)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| BadCursor);
        Ok(Self { notes: number(notes)?, bytes: number(bytes)?, is_at_end })
    }
}

impl Finished {
    /// The next event for a reader; `None` after the last.
    pub(super) fn next_event(&self, cursor: &mut Cursor) -> Option<String> {
        let output = match &self.ended {
            Ended::Answered(answer) => Output::of(answer.body.clone()),
            Ended::Refused(_) => Output::default(),
        };
        let done = Done { status: Some(self.ended.status().as_u16()), outcome: self.ended.word() };
        cursor.next(&self.story, &output, Some(done))
    }
}

/// A job's events from some point on, with comments where there is nothing to say for long.
#[derive(Debug)]
pub struct Events {
    of: Source,
    cursor: Cursor,
}

#[derive(Debug)]
enum Source {
    Job(Arc<Job>),
    Distant(Distant),
    Finished(Arc<Finished>),
}

impl Events {
    /// Of a job under way.
    pub fn of(job: Arc<Job>, cursor: Cursor) -> Self {
        Self { of: Source::Job(job), cursor }
    }

    /// Of a job under way in another process: told once it has ended, all at once.
    pub fn of_distant(distant: Distant, cursor: Cursor) -> Self {
        Self { of: Source::Distant(distant), cursor }
    }

    /// Of a job that ended.
    pub fn of_finished(finished: Arc<Finished>, cursor: Cursor) -> Self {
        Self { of: Source::Finished(finished), cursor }
    }

    /// The next event or comment, as it is written; `None` after the last event.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Source::Distant(distant) = &self.of {
            match distant.ended(KEEP_ALIVE).await {
                Some(finished) => self.of = Source::Finished(finished),
                None => return Some(Bytes::from_static(COMMENT)),
            }
        }
        let next = match &self.of {
            Source::Job(job) => timeout(KEEP_ALIVE, job.next_event(&mut self.cursor)).await,
            Source::Finished(finished) => Ok(finished.next_event(&mut self.cursor)),
            Source::Distant(_) => Ok(None),
        };
        next.map_or(Some(Bytes::from_static(COMMENT)), |event| event.map(Bytes::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::job::Phase;
    use proptest::prelude::*;

    fn note(phase: Phase, at: usize) -> Note {
        Note { phase, passes: 1, calls: 0, at }
    }

    fn output(pieces: &[&'static str]) -> Output {
        let mut output = Output::default();
        pieces.iter().for_each(|piece| output.push(Bytes::from_static(piece.as_bytes())));
        output
    }

    const DONE: Done = Done { status: Some(200), outcome: "answered" };

    #[test]
    fn events_are_told_in_the_order_in_which_they_happened() {
        let story = [note(Phase::Queued, 0), note(Phase::Running, 0), note(Phase::Calling, 2)];
        let output = output(&["ab", "cd"]);
        let mut cursor = Cursor::default();
        let told: Vec<String> = std::iter::from_fn(|| cursor.next(&story, &output, Some(DONE))).collect();
        let expected = [
            "id: 1.0\nevent: status\ndata: {\"status\":\"queued\",\"passes\":1,\"calls\":0}\n\n",
            "id: 2.0\nevent: status\ndata: {\"status\":\"running\",\"passes\":1,\"calls\":0}\n\n",
            "id: 2.2\nevent: output\ndata: {\"text\":\"ab\"}\n\n",
            "id: 3.2\nevent: status\ndata: {\"status\":\"calling\",\"passes\":1,\"calls\":0}\n\n",
            "id: 3.4\nevent: output\ndata: {\"text\":\"cd\"}\n\n",
            "id: 3.4.end\nevent: done\ndata: {\"status\":200,\"outcome\":\"answered\"}\n\n",
        ];
        assert_eq!(told, expected);
        assert!(cursor.is_at_end());
    }

    #[test]
    fn a_story_that_goes_on_ends_for_now_without_done() {
        let mut cursor = Cursor::default();
        let story = [note(Phase::Queued, 0)];
        assert!(cursor.next(&story, &output(&[]), None).is_some());
        assert_eq!(cursor.next(&story, &output(&[]), None), None);
        assert_eq!(cursor.next(&story, &output(&["\u{20ac}"]), None).unwrap().lines().next(), Some("id: 1.3"));
    }

    #[test]
    fn an_answer_that_was_dropped_does_not_hold_back_the_end() {
        let story = [note(Phase::Queued, 0), note(Phase::Running, 7)];
        let mut cursor = Cursor { notes: 1, bytes: 5, is_at_end: false };
        let told: Vec<String> = std::iter::from_fn(|| cursor.next(&story, &output(&[]), Some(DONE))).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].contains("event: done"));
    }

    #[test]
    fn an_identity_reads_back_as_it_is_shown() {
        for cursor in [Cursor::default(), Cursor { notes: 3, bytes: 70_000, is_at_end: true }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "1", "1.", "a.b", "1.2.3", "-1.2", "1.2.end.end"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }

    proptest! {
        /// Whoever leaves after any event and comes back with its identity is told the rest, and only that.
        #[test]
        fn no_event_is_lost_or_told_twice(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 0..6),
            places in proptest::collection::vec(0..20_usize, 1..4),
            left_after in 0..12_usize,
        ) {
            let mut output = Output::default();
            pieces.iter().for_each(|piece| output.push(Bytes::from(piece.clone())));
            let mut places: Vec<usize> = places.into_iter().map(|at| at.min(output.len())).collect();
            places.sort_unstable();
            let story: Vec<Note> = places.into_iter().map(|at| note(Phase::Running, at)).collect();
            let rest = |mut cursor: Cursor| std::iter::from_fn(|| cursor.next(&story, &output, Some(DONE))).collect::<Vec<_>>();
            let all = rest(Cursor::default());
            prop_assert!(all.last().unwrap().contains("event: done"));
            let left_after = left_after.min(all.len() - 1);
            let identity = all[left_after].lines().next().unwrap().strip_prefix("id: ").unwrap();
            prop_assert_eq!(rest(identity.parse().unwrap()), &all[left_after + 1..]);
        }
    }
}
