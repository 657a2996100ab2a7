//! One request to a provider, to the head of its response.

use super::transport::{Received, Transport};
use super::{Failure, Request, Timeouts};
use crate::time::{Duration, Instant, timeout_at};

/// What an attempt needs besides the request.
pub(super) struct Attempt<'a> {
    pub(super) transport: &'a Transport,
    /// For messages.
    pub(super) host: &'a str,
    pub(super) timeouts: &'a Timeouts,
    /// When the whole call has taken too long.
    pub(super) deadline: Instant,
}

/// Sends the request; `began` is told how long the head took.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(super) async fn make(
    attempt: &Attempt<'_>,
    request: &Request,
    began: impl FnOnce(Duration),
) -> Result<Received, Failure> {
    let started = Instant::now();
    let until = request.until(started, attempt.timeouts.first_byte, attempt.deadline);
    let sending = attempt.transport.send(request, attempt.host);
    let received = timeout_at(until, sending).await.map_err(|_| {
        let host = attempt.host.to_owned();
        if until < attempt.deadline { Failure::FirstByteTimeout(host) } else { Failure::TotalTimeout(host) }
    })??;
    began(started.elapsed());
    Ok(received)
}

impl Request {
    /// When a silence that begins now has lasted too long for the provider, the app or the call.
    pub(super) fn until(&self, now: Instant, silence: Duration, deadline: Instant) -> Instant {
        let silence = silence.min(self.patience.unwrap_or(Duration::MAX));
        now.checked_add(silence).map_or(deadline, |until| until.min(deadline))
    }
}
