//! One trip of a request through a worker. It keeps what the caller gave it to hold (the permit) until the backend
//! leg has ended: a client that leaves does not free a worker, since a synchronous worker goes on until it is done.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, StatusCode};
use tokio::runtime::Handle;

use super::client::{Backend, Fault};
use super::metrics::{Metrics, Orphan};
use super::spool::{Feeder, Spool, spool};
use crate::http1::{Body, Content, Request, Response};
use crate::status::{Mark, Slot};
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

/// Sends a request through a worker and waits for the head of its answer. `slot` shows it meanwhile.
///
/// # Errors
/// See [`Fault`].
///
/// # Cancel safety
/// When the future is dropped the pass goes on to its end in a task of its own, holding `held` and `slot`, and its answer
/// is discarded.
pub async fn start<H: Send + 'static>(
    backend: &Backend,
    request: PassRequest,
    slot: Slot,
    held: H,
) -> Result<Answer, Fault> {
    let (metrics, mark) = (backend.metrics.clone(), slot.mark());
    Pass { running: Some(Box::pin(run(backend.clone(), request, slot, held))), metrics, mark }.await
}

type Running = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send>>;

/// A pass under way. Somebody waits for it until it is dropped; then nobody does.
struct Pass {
    /// `None` once it has ended.
    running: Option<Running>,
    metrics: Metrics,
    mark: Mark,
}

impl Future for Pass {
    type Output = Result<Answer, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out meanwhile, so that a panic ends it.
        let mut running = self.running.take().expect("a future is not polled after its end");
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            self.running = Some(running);
        }
        polled
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let (Some(running), Ok(runtime)) = (self.running.take(), Handle::try_current()) else { return };
        let orphan = self.metrics.orphan(&self.mark);
        runtime.spawn(async move {
            let unwanted = running.await;
            drop(orphan);
            drop(unwanted); // so that what feeds it lets the worker finish
        });
    }
}

/// What a busy worker means to others, until its backend leg has ended.
struct Busy<H> {
    metrics: Metrics,
    number: u32,
    since: Instant,
    slot: Slot,
    _held: H,
}

impl<H> Busy<H> {
    /// Nobody waits for it any more.
    fn orphan(&self) -> Orphan {
        self.metrics.orphan(&self.slot.mark())
    }
}

impl<H> Drop for Busy<H> {
    fn drop(&mut self) {
        self.metrics.passed(self.number, self.since.elapsed());
    }
}

async fn run<H: Send + 'static>(backend: Backend, request: PassRequest, slot: Slot, held: H) -> Result<Answer, Fault> {
    let (metrics, number) = (backend.metrics.clone(), request.number);
    let busy = Busy { metrics, number, since: Instant::now(), slot, _held: held };
    let sent = timeout(backend.timeout, send(&backend, &request)).await.unwrap_or(Err(Fault::Timeout));
    let Response { status, headers, mut body } = sent?;
    let body = match body.whole() {
        Some(bytes) => {
            drop(busy);
            Spool::of(bytes)
        }
        None => {
            let (feeder, spool) = spool(backend.response_buffer);
            tokio::spawn(async move { feed(&backend, body, feeder, busy).await });
            spool
        }
    };
    Ok(Answer { status, headers, body })
}

/// Sends, once more where the app certainly has not acted on the request: it was never connected to, or the
/// method is safe (RFC 9110, section 9.2.1).
async fn send(backend: &Backend, request: &PassRequest) -> Result<Response, Fault> {
    let fault = match backend.send(build(request)).await {
        Err(fault) if fault.nothing_ran() || request.method.is_safe() => fault,
        settled => return settled,
    };
    tracing::debug!(%fault, method = %request.method, "retrying a pass");
    sleep(RETRY_PAUSE).await;
    backend.send(build(request)).await
}

/// `Host` is the client's own, or none.
fn build(request: &PassRequest) -> Request<'_> {
    let PassRequest { method, target, headers, content, .. } = request;
    Request { method, target, host: None, headers, content: content.clone() }
}

/// Moves the body from the worker to the reader; to nobody when the reader has left, so that the worker can
/// finish.
///
/// An answer without end would never finish, so a worker without a reader has one more time-out; then its
/// connection is closed, which ends it at its next write.
async fn feed<H>(backend: &Backend, mut body: Body, feeder: Feeder, busy: Busy<H>) {
    let mut orphan: Option<Orphan> = None;
    let mut give_up = None;
    loop {
        let deadline = give_up.unwrap_or_else(|| Instant::now() + backend.timeout);
        let piece = tokio::select! {
            piece = timeout_at(deadline, body.next()) => piece,
            () = feeder.reader_gone(), if orphan.is_none() => {
                orphan = Some(busy.orphan());
                give_up = Some(Instant::now() + backend.timeout);
                continue;
            }
        };
        let chunk = match piece {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) | Err(_) => return, // unfinished, so broken off
        };
        if orphan.is_none() && !feeder.push(chunk).await {
            orphan = Some(busy.orphan());
            give_up = Some(Instant::now() + backend.timeout);
        }
    }
    drop(busy); // a slow reader must not hold the worker
    feeder.finish();
}
