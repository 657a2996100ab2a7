//! What is known about one request while Pingora carries it.

use bytes::Bytes;

use super::Gateway;
use crate::admission::Permit;
use crate::drain::InFlight;
use crate::exchange::Account;
use crate::telemetry::Outcome;
use crate::telemetry::outcome::Mode;
use crate::time::Instant;

/// One request.
pub struct Context {
    pub(super) began: Instant,
    /// The exchange's identity; empty until the request is accepted.
    pub(super) id: String,
    pub(super) account: Account,
    pub(super) stage: Stage,
    /// The request's bytes, where they say all there is to know about it.
    pub(super) bytes: Option<Bytes>,
    /// Keeps a shutdown waiting; `None` between connections.
    pub(super) in_flight: Option<(InFlight, crate::exchange::Counted)>,
}

/// Where the request stands.
pub(super) enum Stage {
    /// Its head was read.
    Received,
    /// It is streamed through and holds a worker since.
    Streaming { permit: Option<Permit>, since: Instant, tries: u32 },
    /// It ended, and the client was told.
    Ended(Outcome),
}

impl Context {
    pub(super) fn new(gateway: &Gateway) -> Self {
        let in_flight = (gateway.drain.enter(), gateway.exchanges.metrics.begin());
        Self {
            began: Instant::now(),
            id: String::new(),
            account: Account::new(Mode::PassThrough),
            stage: Stage::Received,
            bytes: None,
            in_flight: Some(in_flight),
        }
    }
}
