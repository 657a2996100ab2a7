//! Where an exchange's time went. It outlives a cancelled exchange, so that the access log can tell.

use std::sync::Arc;

use http::HeaderValue;

use super::progress::{Observer, Step};
use crate::telemetry::outcome::Mode;
use crate::time::Duration;
use crate::trace::SpanContext;

/// Counted up while the exchange runs.
#[derive(Clone, Debug)]
pub struct Account {
    /// How it is carried.
    pub mode: Mode,
    /// Trips through a worker that were begun.
    pub passes: u32,
    /// Calls that were begun.
    pub calls: u32,
    /// Waiting for a worker.
    pub queued: Duration,
    /// In a worker, up to the head of its answer or the end of its call.
    pub working: Duration,
    /// Waiting for providers.
    pub calling: Duration,
    /// Waiting for the client: its body, and its reading of the answer.
    pub client: Duration,
    /// The exchange's span, above those of its parts.
    pub trace: SpanContext,
    /// What the app calls the route of this request, once it has answered.
    pub route: Option<HeaderValue>,
    /// Who looks on.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Account {
    /// Nothing happened yet.
    pub fn new(mode: Mode) -> Self {
        let none = Duration::ZERO;
        Self {
            mode,
            passes: 0,
            calls: 0,
            queued: none,
            working: none,
            calling: none,
            client: none,
            trace: SpanContext::NONE,
            route: None,
            observer: None,
        }
    }

    /// Tells who looks on what the exchange does now.
    pub fn tell(&self, step: Step) {
        if let Some(observer) = &self.observer {
            observer.now(step, self.passes, self.calls);
        }
    }

    /// Of `total`, what was spent on neither of the others: the proxy's own work.
    pub fn overhead(&self, total: Duration) -> Duration {
        total.saturating_sub(self.queued + self.working + self.calling + self.client)
    }
}
