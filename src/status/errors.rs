//! The last errors. One that is like an earlier one (the same reason on the same route) raises its count instead of taking
//! a place, so that a storm of one kind does not hide the others.

use std::collections::VecDeque;

use http::Method;
use parking_lot::Mutex;

use super::name::Text;
use super::{IDENTITY, Name, Subject, remedy};
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;

/// Kinds of errors that are kept. The one that was longest ago makes room.
const MOST_ERRORS: usize = 50;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Siding answered itself.
    Refused(Reason),
    /// The answer broke off on its way to the client.
    Interrupted,
    /// The app answered with an error of its own.
    App,
    /// A provider did, to a client that called it.
    Provider,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub struct Failed<'a> {
    /// Which.
    pub subject: Subject<'a>,
    /// Why.
    pub cause: Cause,
    /// The status that the client got; 0 where it got none.
    pub status: u16,
}

#[derive(Debug, Default)]
pub(super) struct Errors(Mutex<VecDeque<Entry>>);

/// Errors that are alike.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) count: u64,
    pub(super) first_unix_ms: u64,
    pub(super) last_unix_ms: u64,
    /// Of the last one.
    pub(super) id: Text<IDENTITY>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) cause: Cause,
    pub(super) status: u16,
    pub(super) method: Method,
    pub(super) name: Name,
    pub(super) mode: Mode,
}

impl Cause {
    /// The word for it: a reason's own, or what happened.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Refused(reason) => reason.as_str(),
            Cause::Interrupted => "interrupted",
            Cause::App => "app-error",
            Cause::Provider => "provider-error",
        }
    }

    /// What the operator can do.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Cause::Refused(reason) => remedy::of(reason),
            Cause::Interrupted => {
                "The answer broke off half-way: the app's log, or the provider's health above, says why."
            }
            Cause::App => "The app answered this itself. Its own log has the cause.",
            Cause::Provider => "The provider answered this itself. See its health above.",
        }
    }
}

impl Errors {
    pub(super) fn note(&self, failed: Failed<'_>, unix_ms: u64) {
        let Failed { subject: Subject { id, method, name, mode }, cause, status } = failed;
        let kind = Kind { cause, status, method: method.clone(), name, mode };
        let mut entries = self.0.lock();
        let earlier = entries.iter().position(|entry| entry.kind == kind).and_then(|place| entries.remove(place));
        let (count, first_unix_ms) = earlier.map_or((0, unix_ms), |entry| (entry.count, entry.first_unix_ms));
        entries.truncate(MOST_ERRORS - 1);
        entries.push_front(Entry { kind, count: count + 1, first_unix_ms, last_unix_ms: unix_ms, id: Text::of(id) });
    }

    /// The last one first.
    pub(super) fn all(&self) -> Vec<Entry> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(errors: &Errors, cause: Cause, path: &str, id: &str, at: u64) {
        let subject = Subject { id, method: &Method::GET, name: Name::of_path(path), mode: Mode::Plain };
        errors.note(Failed { subject, cause, status: 503 }, at);
    }

    #[test]
    fn errors_that_are_alike_are_one_entry_with_a_count_and_the_last_identity() {
        let errors = Errors::default();
        note(&errors, Cause::Refused(Reason::QueueFull), "/a", "1", 10);
        note(&errors, Cause::App, "/a", "2", 20);
        note(&errors, Cause::Refused(Reason::QueueFull), "/a?x=1", "3", 30);
        note(&errors, Cause::Refused(Reason::QueueFull), "/b", "4", 40);
        let all = errors.all();
        let told: Vec<_> = all.iter().map(|e| (e.kind.cause.as_str(), e.count, e.id.as_str())).collect();
        assert_eq!(told, [("queue-full", 1, "4"), ("queue-full", 2, "3"), ("app-error", 1, "2")]);
        assert_eq!((all[1].first_unix_ms, all[1].last_unix_ms), (10, 30));
    }

    #[test]
    fn only_the_last_kinds_are_kept() {
        let errors = Errors::default();
        for number in 0..MOST_ERRORS as u64 + 10 {
            note(&errors, Cause::Interrupted, &format!("/{number}"), "id", number);
        }
        let all = errors.all();
        assert_eq!(all.len(), MOST_ERRORS);
        assert_eq!((all[0].last_unix_ms, all[MOST_ERRORS - 1].last_unix_ms), (MOST_ERRORS as u64 + 9, 10));
    }

    #[test]
    fn every_cause_has_a_remedy_that_is_a_sentence() {
        let causes = [Cause::Interrupted, Cause::App, Cause::Provider];
        for cause in Reason::ALL.into_iter().map(Cause::Refused).chain(causes) {
            assert!(cause.remedy().ends_with('.') && cause.remedy().len() > 20, "{cause:?}");
        }
    }
}
