//! One request to a provider, recorded whole.

use bytes::{Bytes, BytesMut};

use super::transport::{Body, Received, Transport};
use super::{Failure, Request, Response, Timeouts};
use crate::time::{Duration, Instant, timeout};

/// What an attempt needs besides the request.
pub(super) struct Attempt<'a> {
    pub(super) transport: &'a Transport,
    /// For messages.
    pub(super) host: &'a str,
    pub(super) timeouts: &'a Timeouts,
    /// The most bytes of a body.
    pub(super) limit: usize,
}

/// Sends the request and records the response; `began` is told how long the head took.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(super) async fn make(
    attempt: &Attempt<'_>,
    request: &Request,
    began: impl FnOnce(Duration),
) -> Result<Response, Failure> {
    let started = Instant::now();
    let patience = request.patience.unwrap_or(Duration::MAX);
    let sending = attempt.transport.send(request, attempt.host);
    let received = timeout(attempt.timeouts.first_byte.min(patience), sending)
        .await
        .map_err(|_| Failure::FirstByteTimeout(attempt.host.to_owned()))??;
    began(started.elapsed());
    let Received { status, headers, body } = received;
    let body = record(attempt, body, attempt.timeouts.idle.min(patience)).await?;
    Ok(Response { status, headers, body })
}

async fn record(attempt: &Attempt<'_>, mut body: Body, idle: Duration) -> Result<Bytes, Failure> {
    let mut recorded = BytesMut::new();
    loop {
        let piece = timeout(idle, body.next()).await.map_err(|_| Failure::IdleTimeout(attempt.host.to_owned()))?;
        match piece {
            None => return Ok(recorded.freeze()),
            Some(Err(cause)) => return Err(Failure::Interrupted { host: attempt.host.to_owned(), cause }),
            Some(Ok(data)) => {
                if recorded.len() + data.len() > attempt.limit {
                    return Err(Failure::TooLarge { host: attempt.host.to_owned(), limit: attempt.limit });
                }
                recorded.extend_from_slice(&data);
            }
        }
    }
}
