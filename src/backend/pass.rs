//! One trip of a request through a worker. It runs in a task of its own that keeps what the caller gave it
//! to hold (the permit) until the backend leg has ended: a client that leaves does not free a worker, since
//! a synchronous worker goes on until it is done.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::client::{Backend, Fault};
use super::content::Content;
use super::metrics::Orphan;
use super::spool::{Feeder, Spool, spool};
use crate::time::{Duration, Instant, sleep, timeout, timeout_at};

/// The pause before the one retry: long enough for a restarting worker to listen again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What is sent to the worker.
#[derive(Clone, Debug)]
pub struct PassRequest {
    /// 0 for the first pass.
    pub number: u32,
    /// The client's method.
    pub method: Method,
    /// The client's target, exactly as it came.
    pub target: String,
    /// End-to-end headers and the offer.
    pub headers: HeaderMap,
    /// Journal and body.
    pub content: Content,
}

/// What the worker answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All headers, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// The body as it comes.
    pub body: Spool,
}

/// Sends a request through a worker and waits for the head of its answer.
///
/// # Errors
/// See [`Fault`].
///
/// # Cancel safety
/// When the future is dropped the pass goes on to its end, holding `held`, and its answer is discarded.
pub async fn start<H: Send + 'static>(backend: &Backend, request: PassRequest, held: H) -> Result<Answer, Fault> {
    let (head, answered) = oneshot::channel();
    tokio::spawn(run(backend.clone(), request, head, held));
    answered.await.unwrap_or_else(|_| Err(Fault::Closed("the pass was cut off".into())))
}

async fn run<H>(backend: Backend, request: PassRequest, mut head: oneshot::Sender<Result<Answer, Fault>>, held: H) {
    let started = Instant::now();
    let number = request.number;
    let mut orphan = None;
    let sent = {
        let mut sending = std::pin::pin!(timeout(backend.timeout, send(&backend, request)));
        loop {
            tokio::select! {
                sent = &mut sending => break sent.unwrap_or(Err(Fault::Timeout)),
                () = head.closed(), if orphan.is_none() => orphan = Some(backend.metrics.orphan()),
            }
        }
    };
    match sent {
        Ok(response) => {
            let (feeder, spool) = spool(backend.response_buffer);
            let (parts, body) = response.into_parts();
            // A caller that is gone leaves the body to be drained below.
            let _ = head.send(Ok(Answer { status: parts.status, headers: parts.headers, body: spool }));
            feed(&backend, body, feeder, orphan).await;
        }
        Err(fault) => {
            let _ = head.send(Err(fault));
        }
    }
    backend.metrics.passed(number, started.elapsed());
    drop(held);
}

/// Sends, once more where the app certainly has not acted on the request: it was never connected to, or the
/// method is safe (RFC 9110, section 9.2.1).
async fn send(backend: &Backend, request: PassRequest) -> Result<Response<Incoming>, Fault> {
    let fault = match backend.send(build(request.clone())?).await {
        Err(fault) if fault.nothing_ran() || request.method.is_safe() => fault,
        settled => return settled,
    };
    tracing::debug!(%fault, method = %request.method, "retrying a pass");
    sleep(RETRY_PAUSE).await;
    backend.send(build(request)?).await
}

fn build(request: PassRequest) -> Result<Request<Content>, Fault> {
    // The client library wants an absolute URI; the connector ignores the host, and `Host` is the client's.
    let uri = http::Uri::builder().scheme("http").authority("app").path_and_query(request.target).build();
    let mut built = Request::new(request.content);
    *built.uri_mut() = uri.map_err(|error| Fault::Protocol(error.to_string()))?;
    *built.method_mut() = request.method;
    *built.headers_mut() = request.headers;
    Ok(built)
}

/// Moves the body from the worker to the reader; to nobody when the reader has left, so that the worker can
/// finish.
///
/// An answer without end would never finish, so a worker without a reader has one more time-out; then its
/// connection is closed, which ends it at its next write.
async fn feed(backend: &Backend, mut body: Incoming, feeder: Feeder, mut orphan: Option<Orphan>) {
    let mut give_up = orphan.is_some().then(|| Instant::now() + backend.timeout);
    loop {
        let deadline = give_up.unwrap_or_else(|| Instant::now() + backend.timeout);
        let frame = tokio::select! {
            frame = timeout_at(deadline, body.frame()) => frame,
            () = feeder.reader_gone(), if orphan.is_none() => {
                orphan = Some(backend.metrics.orphan());
                give_up = Some(Instant::now() + backend.timeout);
                continue;
            }
        };
        let chunk: Bytes = match frame {
            Ok(None) => return feeder.finish(),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => data,
                Err(_trailers) => continue,
            },
            Ok(Some(Err(_))) | Err(_) => return, // unfinished, so broken off
        };
        if orphan.is_none() && !feeder.push(chunk).await {
            orphan = Some(backend.metrics.orphan());
            give_up = Some(Instant::now() + backend.timeout);
        }
    }
}
