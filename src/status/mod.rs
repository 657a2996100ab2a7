//! What is under way now and what went wrong lately, for the status page. Requests enter themselves and leave by dropping
//! a guard; rates come from the metrics, so that the page and a graph agree. It must never decide anything, and never see
//! a query, a header or a body.
//!
//! ```text
//! slots     who is in a worker               errors    the last ones, alike ones together
//! waits     who waits for a provider         history   the last ten minutes of a few metrics
//! report    all of it as one JSON document
//! ```

mod errors;
mod history;
mod name;
mod providers;
mod remedy;
mod report;
mod slots;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use parking_lot::Mutex;

use crate::telemetry::Reading;
use crate::telemetry::outcome::Mode;
use crate::time::{Duration, Instant, unix_millis};

pub use errors::{Cause, Failed};
pub use history::STEP;
pub use name::Name;
pub use report::Report;
pub use slots::{Mark, Slot};
pub use waits::Waiting;

use errors::Errors;
use history::History;
use name::Text;
use providers::Trends;
use slots::Slots;
use waits::Waits;

/// What is under way in this process, and its recent past.
#[derive(Debug)]
pub struct Status {
    started: Instant,
    started_unix_ms: u64,
    shows_paths: AtomicBool,
    slots: Slots,
    waits: Waits,
    errors: Errors,
    history: Mutex<History>,
    trends: Mutex<Trends>,
}

/// A request, as the page names it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The exchange's identity.
    pub id: &'a str,
    /// The method.
    pub method: &'a Method,
    /// Where it goes.
    pub name: Name,
    /// How it is carried.
    pub mode: Mode,
}

/// The same, kept without owning more than a name.
#[derive(Clone, Debug)]
struct Kept {
    began: Instant,
    id: Text<IDENTITY>,
    method: Method,
    name: Name,
    mode: Mode,
}

/// Bytes of an exchange's identity: 128 bits in hexadecimal.
const IDENTITY: usize = 32;

impl Kept {
    fn new(subject: Subject<'_>) -> Self {
        let Subject { id, method, name, mode } = subject;
        Self { began: Instant::now(), id: Text::of(id), method: method.clone(), name, mode }
    }
}

impl Status {
    /// Nothing under way. Without `shows_paths`, requests that no route is for have no name on the page.
    pub fn new(shows_paths: bool) -> Arc<Self> {
        let started = Instant::now();
        Arc::new(Self {
            started,
            started_unix_ms: unix_millis(),
            shows_paths: AtomicBool::new(shows_paths),
            slots: Slots::default(),
            waits: Waits::default(),
            errors: Errors::default(),
            history: Mutex::new(History::new(started)),
            trends: Mutex::new(Trends::new(started)),
        })
    }

    /// Whether paths are shown from now on.
    pub fn show_paths(&self, shows_paths: bool) {
        self.shows_paths.store(shows_paths, Ordering::Relaxed);
    }

    /// How a request is named: by the pattern of its route, else by its path (without the query), if that may be shown.
    pub fn name(&self, pattern: Option<&Arc<str>>, path: &str) -> Name {
        match pattern {
            Some(pattern) => Name::Route(Arc::clone(pattern)),
            None if self.shows_paths.load(Ordering::Relaxed) => Name::of_path(path),
            None => Name::Hidden,
        }
    }

    /// A request is in a worker while the guard lives.
    pub fn occupy(&self, subject: Subject<'_>, pass: u32) -> Slot {
        self.slots.occupy(Kept::new(subject), pass)
    }

    /// An exchange waits for providers while the guard lives: for so many calls, the first of them to `provider`.
    pub fn wait(&self, subject: Subject<'_>, provider: &str, calls: usize) -> Waiting {
        self.waits.enter(Kept::new(subject), provider, calls)
    }

    /// A request failed.
    pub fn failed(&self, failed: Failed<'_>) {
        self.errors.note(failed, unix_millis());
    }

    /// Takes note of what the metrics say. Called once every [`STEP`].
    pub fn sample(&self, reading: &Reading) {
        let now = Instant::now();
        self.history.lock().sample(reading, now);
        self.trends.lock().sample(reading, now);
    }

    /// All that is known, with what the metrics say now.
    pub fn report(&self, reading: &Reading, is_draining: bool) -> Report {
        Report::of(self, reading, is_draining)
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
