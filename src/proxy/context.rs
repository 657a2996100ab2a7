//! What is known about one request while Pingora carries it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::Gateway;
use crate::admission::Permit;
use crate::drain::InFlight;
use crate::exchange::Account;
use crate::route::RuleNumber;
use crate::status::Slot;
use crate::telemetry::Outcome;
use crate::telemetry::outcome::Mode;
use crate::time::Instant;
use crate::trace::Span;

/// One request.
pub struct Context {
    /// What it is served with.
    pub(super) gateway: Arc<Gateway>,
    pub(super) began: Instant,
    /// The exchange's identity; empty until the request is accepted.
    pub(super) id: String,
    pub(super) account: Account,
    /// The exchange's span; none until the request is accepted.
    pub(super) span: Span,
    pub(super) stage: Stage,
    /// The rule that it fell under.
    pub(super) rule: Option<RuleNumber>,
    /// The request's bytes, where they say all there is to know about it.
    pub(super) bytes: Option<Bytes>,
    /// What the app said when it authorised the request, where it was asked.
    pub(super) granted: Option<Box<Granted>>,
    /// Keeps a shutdown waiting; `None` between connections.
    pub(super) in_flight: Option<(InFlight, crate::exchange::Counted)>,
}

/// What the app said of a request that it does not answer.
pub(super) struct Granted {
    /// The user's label, for the access log.
    pub(super) user: Option<String>,
    /// What the client is told besides the answer, whoever gives it.
    pub(super) headers: HeaderMap,
}

/// Where the request stands.
pub(super) enum Stage {
    /// Its head was read.
    Received,
    /// It is streamed through and holds a worker since.
    Streaming { permit: Option<(Permit, Slot)>, since: Instant, tries: u32, span: Span },
    /// It ended, and the client was told.
    Ended(Outcome),
}

impl Context {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        let in_flight = (gateway.drain.enter(), gateway.exchanges.metrics().begin());
        Self {
            gateway,
            began: Instant::now(),
            id: String::new(),
            account: Account::new(Mode::PassThrough),
            span: Span::NONE,
            stage: Stage::Received,
            rule: None,
            bytes: None,
            granted: None,
            in_flight: Some(in_flight),
        }
    }

    /// What is left to be done goes on when the app is gone.
    pub(super) fn needs_no_app(&mut self) {
        if let Some((in_flight, _)) = &mut self.in_flight {
            in_flight.needs_no_app();
        }
    }
}
