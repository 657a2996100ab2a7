//! One request to a provider, to the head of its response.

use super::transport::{Received, Transport};
use super::{Failure, Request, Timeouts};
use crate::time::{Duration, Instant, timeout};

/// What an attempt needs besides the request.
pub(super) struct Attempt<'a> {
    pub(super) transport: &'a Transport,
    /// For messages.
    pub(super) host: &'a str,
    pub(super) timeouts: &'a Timeouts,
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
    let patience = request.patience.unwrap_or(Duration::MAX);
    let sending = attempt.transport.send(request, attempt.host);
    let received = timeout(attempt.timeouts.first_byte.min(patience), sending)
        .await
        .map_err(|_| Failure::FirstByteTimeout(attempt.host.to_owned()))??;
    began(started.elapsed());
    Ok(received)
}
