//! One request to a provider, recorded whole.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error;

use super::connector::HttpClient;
use super::{Failure, Request, Response, Timeouts};
use crate::time::{Duration, Instant, timeout};

/// What an attempt needs besides the request.
pub(super) struct Attempt<'a> {
    pub(super) client: &'a HttpClient,
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
    let sending = attempt.client.request(build(request, attempt.host)?);
    let response = timeout(attempt.timeouts.first_byte.min(patience), sending)
        .await
        .map_err(|_| Failure::FirstByteTimeout(attempt.host.to_owned()))?
        .map_err(|error| before_the_head(&error, attempt.host))?;
    began(started.elapsed());
    let (parts, body) = response.into_parts();
    let body = record(attempt, body, attempt.timeouts.idle.min(patience)).await?;
    Ok(Response { status: parts.status, headers: parts.headers, body })
}

fn build(request: &Request, host: &str) -> Result<http::Request<Full<Bytes>>, Failure> {
    let mut built = http::Request::new(Full::new(request.body.clone()));
    *built.uri_mut() = request.url.as_str().parse().map_err(|error: http::uri::InvalidUri| Failure::Protocol {
        host: host.to_owned(),
        cause: error.to_string(),
    })?;
    *built.method_mut() = request.method.clone();
    *built.headers_mut() = request.headers.clone();
    Ok(built)
}

async fn record(attempt: &Attempt<'_>, mut body: Incoming, idle: Duration) -> Result<Bytes, Failure> {
    let mut recorded = BytesMut::new();
    loop {
        let frame = timeout(idle, body.frame()).await.map_err(|_| Failure::IdleTimeout(attempt.host.to_owned()))?;
        match frame {
            None => return Ok(recorded.freeze()),
            Some(Err(error)) => {
                return Err(Failure::Interrupted { host: attempt.host.to_owned(), cause: innermost(&error) });
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if recorded.len() + data.len() > attempt.limit {
                    return Err(Failure::TooLarge { host: attempt.host.to_owned(), limit: attempt.limit });
                }
                recorded.extend_from_slice(&data);
            }
        }
    }
}

fn before_the_head(error: &Error, host: &str) -> Failure {
    let host = host.to_owned();
    let causes = || std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let timed_out = causes()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::TimedOut);
    let unreadable = causes().filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse);
    match (error.is_connect() && timed_out, unreadable) {
        (true, _) => Failure::ConnectTimeout(host),
        (false, true) => Failure::Protocol { host, cause: innermost(error) },
        (false, false) => Failure::Connect { host, cause: innermost(error) },
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
}
