//! Spans on their way to the collector: through a bounded queue, in batches, from a task of its own. Whoever ends a span
//! never waits; what finds the queue full, or is not taken in time, is dropped and counted.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use tokio::sync::{mpsc, oneshot};

use super::endpoint::{Endpoint, Resource};
use super::metrics::Metrics;
use super::otlp;
use super::span::Recorded;
use crate::time::{Duration, Instant, sleep, sleep_until, timeout, timeout_at};
use crate::tls::{self, BadTrust, Client, Schemes, Trust, innermost};

/// Spans that wait for the collector. About 2 MiB, as they are.
const QUEUE: usize = 2048;
/// Spans of one batch.
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// How long a batch is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// To a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// The pause before a second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The most of an answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The way in.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<Recorded>,
    metrics: Metrics,
}

/// Asks for everything to be exported.
#[derive(Clone, Debug)]
pub(super) struct Flush(mpsc::Sender<oneshot::Sender<()>>);

/// Takes spans to the collector while it runs.
#[derive(Debug)]
pub struct Exporter {
    spans: mpsc::Receiver<Recorded>,
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
    collector: Collector,
    metrics: Metrics,
    /// Whether the last batch was taken. A collector in trouble is told of once.
    is_well: bool,
}

#[derive(Debug)]
struct Collector {
    client: Client,
    endpoint: Endpoint,
    resource: Resource,
}

/// Why a batch was not taken.
#[derive(Debug)]
enum Failure {
    /// Another try may help, after that long if the collector said so.
    Passing(String, Option<Duration>),
    /// It may not.
    Lasting(String),
}

/// What ended the wait for a batch.
enum Filled {
    /// It is full, or its first span has waited long enough.
    Due,
    /// Somebody asked for it.
    Asked(oneshot::Sender<()>),
    /// No more spans come.
    Over,
}

impl Queue {
    /// Hands a span over, if there is room.
    pub(super) fn push(&self, span: Recorded) {
        if self.spans.try_send(span).is_err() {
            self.metrics.dropped(1);
        }
    }
}

impl Flush {
    pub(super) async fn run(&self, bound: Duration) {
        let flushing = async {
            let (done, flushed) = oneshot::channel();
            if self.0.send(done).await.is_ok() {
                let _ = flushed.await; // an exporter that ended meanwhile has nothing left
            }
        };
        if timeout(bound, flushing).await.is_err() {
            tracing::warn!(?bound, "the last spans could not be exported in time");
        }
    }
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        resource: Resource,
        metrics: Metrics,
    ) -> Result<(Self, Queue, Flush), BadTrust> {
        let trust = if endpoint.is_tls() { Trust::system().for_use("tracing.endpoint")? } else { Trust::nobody() };
        let client = tls::client(tls::connector(trust, CONNECT, Schemes::Any));
        let (sender, spans) = mpsc::channel(QUEUE);
        let (asks, flushes) = mpsc::channel(1);
        let collector = Collector { client, endpoint, resource };
        let queue = Queue { spans: sender, metrics: metrics.clone() };
        Ok((Self { spans, flushes, collector, metrics, is_well: true }, queue, Flush(asks)))
    }

    /// Exports until no more spans can come.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            match self.fill(&mut batch).await {
                Filled::Due => self.export(&mut batch).await,
                Filled::Asked(asked) => {
                    self.export_all(&mut batch).await;
                    let _ = asked.send(()); // whoever asked need not wait any more
                }
                Filled::Over => return self.export(&mut batch).await,
            }
        }
    }

    async fn fill(&mut self, batch: &mut Vec<Recorded>) -> Filled {
        let mut due = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                Some(asked) = self.flushes.recv() => return Filled::Asked(asked),
                received = self.spans.recv_many(batch, room) => match received {
                    0 => return Filled::Over,
                    _ => due = due.or_else(|| Some(Instant::now() + DELAY)),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return Filled::Due,
            }
        }
        Filled::Due
    }

    async fn export_all(&mut self, batch: &mut Vec<Recorded>) {
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// Sends a batch, and empties it, whatever becomes of it.
    async fn export(&mut self, batch: &mut Vec<Recorded>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        match self.collector.take(otlp::encode(&self.collector.resource, batch).into()).await {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                self.metrics.exported(spans - rejected);
                self.metrics.dropped(rejected);
                if !self.is_well {
                    tracing::info!("the collector takes spans again");
                }
                self.is_well = true;
            }
            Err(cause) => {
                self.metrics.dropped(spans);
                if self.is_well {
                    tracing::warn!(spans, cause, "the collector does not take spans (tracing.endpoint)");
                }
                self.is_well = false;
            }
        }
    }
}

impl Collector {
    /// Sends a batch, again while that may help, and says how many of its spans were rejected.
    async fn take(&self, batch: Bytes) -> Result<usize, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let sent = timeout_at(deadline, self.send(batch.clone())).await;
            let (cause, asked) = match sent {
                Ok(Ok(rejected)) => return Ok(rejected),
                Ok(Err(Failure::Lasting(cause))) => return Err(cause),
                Ok(Err(Failure::Passing(cause, asked))) => (cause, asked),
                Err(_) => return Err(format!("no answer within {PATIENCE:?}")),
            };
            let wait = asked.unwrap_or(pause.mul_f64(0.5 + fastrand::f64() / 2.0));
            if wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(cause);
            }
            sleep(wait).await;
            pause *= 2;
        }
    }

    async fn send(&self, batch: Bytes) -> Result<usize, Failure> {
        let mut request = http::Request::new(Full::new(batch));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(self.endpoint.uri());
        let headers = request.headers_mut();
        headers.clone_from(&self.endpoint.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("siding/", env!("CARGO_PKG_VERSION"))));
        let sent = self.client.request(request).await;
        let response = sent.map_err(|error| Failure::Passing(innermost(&error), None))?;
        let (status, asked) = (response.status(), retry_after(response.headers()));
        let answer = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        match status {
            status if status.is_success() => Ok(answer.map_or(0, |answer| otlp::rejected(&answer.to_bytes()))),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Passing(format!("it answered {status}"), asked)),
            _ => Err(Failure::Lasting(format!("it answered {status}"))),
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
