//! The story of one exchange; read this first. A request is sent through a worker; when the worker hands calls
//! over, it is free again, the calls are made, and the request is sent once more with the results, until the
//! worker answers. Where a client makes its call itself, the app is only asked whether it may (`authorize`). It must never know how clients are connected.

mod account;
mod answer;
mod authorize;
mod call;
mod grant;
mod metrics;
mod progress;
mod relay;
mod run;
mod shared;
mod users;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::admission::{Admission, Bulkhead, Class, Refusal};
use crate::backend::Backend;
use crate::buffers::{Buffers, Lease};
use crate::cache::Memory;
use crate::calls::{Calls, Origin};
use crate::drain::Drain;
use crate::handoff::{Limits, Offer, Recorded};
use crate::provider::Providers;
use crate::sharing::Sharing;
use crate::status::{self, Status, Subject};
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Reason, Registry};
use crate::time::Duration;
use crate::trace::Tracer;
use users::Users;

pub use account::Account;
pub use answer::{Answer, Body, Broken};
pub use authorize::{Question, Verdict};
pub use grant::Grant;
pub use metrics::{Counted, Metrics, Suspended};
pub use progress::{Observer, Step};
pub use relay::Relay;
pub use run::{INTERNAL, REQUEST_START, ROUTE, request_start};
pub use shared::{Meaning, Shared};
pub use users::Place;

/// How long exchanges may take and how much they may hold.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From the request to the answer.
    pub deadline: Duration,
    /// The wait for a worker before the first pass.
    pub queue_timeout: Duration,
    /// How long a pass may take.
    pub pass_timeout: Duration,
    /// How long a client that reads a relayed stream hears nothing.
    pub relay_silence: Duration,
    /// What an app may hand over.
    pub limits: Limits,
}

/// Everything an exchange works with.
#[derive(Debug)]
pub struct Exchanges {
    /// Bounds.
    pub config: Config,
    /// The gate before the workers.
    pub admission: Arc<Admission>,
    /// The app.
    pub backend: Backend,
    /// What the app is offered; `None` where hand-off is off.
    pub offer: Option<Offer>,
    /// Who answers calls.
    pub providers: Providers,
    /// How calls are made.
    pub calls: Calls,
    /// How whole answers are shared.
    pub sharing: Sharing<Refused>,
    /// Memory for bodies.
    pub buffers: Buffers,
    /// Who is still being served.
    pub drain: Drain,
    /// Where what is under way is shown.
    pub status: Arc<Status>,
    /// Where spans begin.
    pub tracer: Tracer,
    /// What there was before this configuration.
    pub lasting: Lasting,
}

/// What outlives a change of the configuration. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Lasting {
    /// Results whose exchange could not use them.
    kept: Memory<Recorded>,
    /// Calls of users whom the app names.
    users: Users,
    /// Counters.
    metrics: Arc<Metrics>,
}

impl Lasting {
    /// Nothing happened yet.
    pub fn new(registry: &Registry) -> Self {
        Self {
            kept: Memory::new(KEEP_RESULTS_BYTES),
            users: Users::default(),
            metrics: Arc::new(Metrics::new(registry)),
        }
    }
}

/// How long a result waits for its client's retry.
const KEEP_RESULTS_FOR: Duration = Duration::from_secs(120);
/// Memory for such results, in bytes.
const KEEP_RESULTS_BYTES: u64 = 64 * 1024 * 1024;

impl Exchanges {
    /// Counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.lasting.metrics
    }

    /// Brings the metrics that depend on time up to date: before each scrape.
    pub fn observe(&self) {
        self.admission.observe(self.metrics().observe());
    }
}

/// A client's request, whole.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The target as it came, without scheme and host.
    pub target: String,
    /// End-to-end headers, cleaned.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Memory the body occupies.
    pub lease: Lease,
    /// Its place in the queue.
    pub class: Class,
    /// The limit it shares with others of its route.
    pub bulkhead: Option<Bulkhead>,
    /// Where its calls come from.
    pub origin: Origin,
}

impl Request {
    /// How it is named where it is shown.
    pub(crate) fn name(&self, status: &Status) -> status::Name {
        let pattern = if let Origin::Route(pattern) = &self.origin { Some(pattern) } else { None };
        status.name(pattern, &self.target)
    }

    /// The same, with what else tells it.
    pub(crate) fn subject<'a>(&'a self, id: &'a str, mode: Mode, status: &Status) -> Subject<'a> {
        Subject { id, method: &self.method, name: self.name(status), mode }
    }
}

/// An exchange that the app did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When it may be worth coming back.
    pub retry_after: Option<Duration>,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (reason, retry_after) = match refusal {
            Refusal::Full { retry_after } => (Reason::QueueFull, retry_after),
            Refusal::Hopeless { retry_after } => (Reason::QueueHopeless, retry_after),
            Refusal::TimedOut { retry_after } => (Reason::QueueTimeout, retry_after),
        };
        Self { reason, retry_after: Some(retry_after) }
    }
}
