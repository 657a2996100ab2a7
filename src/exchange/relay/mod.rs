//! A relayed call: the client reads the provider's stream as it comes, while no worker is held. When it has ended, whole
//! or broken, the request is resumed once more so that the app can save it; nobody reads that answer.
//!
//! ```text
//! Running::relay: the call begins -> Relay, which belongs to the client from now on
//! open: refused before anything was delivered -> a result like any other, so replay
//!       a stream, or silence for too long     -> the client reads bytes, bytes, ..., to an end or a break
//! dropped at its end  -> conclude, in a task of its own
//! dropped before that -> the client left: the call is given up, or goes on and is concluded
//! ```

mod stream;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::runtime::Handle;

use super::call::Place;
use super::metrics::Suspended;
use super::run::{Running, Turned};
use super::{Account, Answer, Body, Broken, Refused};
use crate::buffers::Lease;
use crate::cache::{CACHE_STATUS, Key};
use crate::calls;
use crate::handoff::{self, Call};
use crate::hop_by_hop;
use crate::relay::Format;
use crate::status::Waiting;
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;
use crate::time::{Duration, Instant, sleep_until, timeout};
use crate::trace::{Kind, Span};

use stream::Stream;

/// How long the end of a stream is waited for whose last event a client has read.
const LAST_BYTES: Duration = Duration::from_secs(5);
/// The pause before a last pass is tried again, where nothing says how long it should be.
const PAUSE: Duration = Duration::from_secs(1);

/// A call that is relayed.
pub(super) struct Begun {
    stream: Stream,
    outlives_client: bool,
    status: StatusCode,
    headers: HeaderMap,
    format: Format,
    key: Option<Key>,
    place: Place,
    began: Instant,
    suspended: (Suspended, Waiting),
    /// From the call to the end of the stream.
    span: Span,
    /// Memory of the call's body.
    _body: Lease,
}

/// A stream on its way to the client. Dropping it before its end means that the client left.
pub struct Relay(Option<Box<(Running, Box<Begun>)>>);

/// What became of a call that was to be relayed.
pub(super) enum Opening {
    /// It is for the client.
    Answer(Answer),
    /// There is nothing to relay: what came instead is in the journal.
    Settled(Box<Running>),
}

impl Running {
    /// Begins a call that is relayed. `None` when there is nothing to ask: an earlier result is in the journal.
    pub(super) fn relay(
        &mut self,
        call: Call,
        relay: handoff::Relay,
        body: Lease,
    ) -> Result<Option<Box<Begun>>, Refused> {
        let api =
            self.all.providers.resolve(&call.url).and_then(|provider| calls::api(provider, &call.method, &call.url));
        let Some(format) = relay.format.parse().ok().filter(|format: &Format| format.understands(api)) else {
            let (id, format, url) = (&self.exchange.id, &relay.format, call.url.path());
            tracing::warn!(id, format, url, "the app asked for a format that is unknown, or that this API has not");
            return Err(self.refuse(Reason::HandoffUnsupported));
        };
        let began = Instant::now();
        let key = self.key(&call);
        let waiting = self.waiting(std::slice::from_ref(&call), Mode::Relay);
        let span = self.all.tracer.child(&self.trace, "relay", Kind::Internal);
        let (asked, place) = self.place(call, span.context());
        if let Some(kept) = self.kept(key) {
            self.add(key, place.finished(self.pass, began, kept))?;
            return Ok(None);
        }
        let suspended = (self.all.metrics().suspend(Mode::Relay), waiting);
        let deadline = self.calls_deadline();
        let opening = stream::opening(Arc::clone(&self.all), asked, self.request.headers.clone(), deadline);
        let room = self.all.config.limits.max_journal.saturating_sub(self.held);
        let stream = Stream::new(Arc::clone(&self.all), opening, (format, api), room, deadline);
        let handoff::Relay { status, headers, outlives_client, .. } = relay;
        let begun =
            Begun { stream, outlives_client, status, headers, format, key, place, began, suspended, span, _body: body };
        Ok(Some(Box::new(begun)))
    }
}

/// What the app's middlewares gave the answer, and what the stream needs.
fn for_the_client(mut headers: HeaderMap, format: Format, provider: Option<&HeaderMap>) -> HeaderMap {
    hop_by_hop::remove(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let said = |name: &HeaderName| provider.and_then(|headers| headers.get(name));
    let of_provider = said(&CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = HeaderValue::from_str(format.content_type(of_provider));
    headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
    if let Some(status) = said(&CACHE_STATUS) {
        headers.insert(CACHE_STATUS, status.clone());
    }
    for (name, value) in format.headers() {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        if name != CACHE_CONTROL || !headers.contains_key(CACHE_CONTROL) {
            headers.insert(name, value);
        }
    }
    headers
}

impl Relay {
    pub(super) fn new(running: Running, begun: Box<Begun>) -> Self {
        Self(Some(Box::new((running, begun))))
    }

    /// Waits until there is something for the client, at most as long as it may hear nothing.
    ///
    /// # Cancel safety
    /// Dropping the future is leaving, as dropping the answer is.
    pub(super) async fn open(mut self, account: &mut Account) -> Result<Opening, Refused> {
        let Some(inner) = self.0.as_mut() else { return Err(Reason::Internal.into()) };
        let (running, begun) = &mut **inner;
        let silent = begun.began + running.all.config.relay_silence;
        let drain = running.all.drain.clone();
        let settled = tokio::select! {
            biased;
            settled = begun.stream.open(silent) => settled,
            () = drain.is_cut() => return Err(Reason::Draining.into()),
        };
        account.calling += begun.began.elapsed();
        let Some(recorded) = settled else {
            let headers = for_the_client(std::mem::take(&mut begun.headers), begun.format, begun.stream.headers());
            return Ok(Opening::Answer(Answer { status: begun.status, headers, body: Body::Relay(self) }));
        };
        let Some((mut running, begun)) = self.0.take().map(|inner| *inner) else {
            return Err(Reason::Internal.into());
        };
        let Begun { key, place, began, .. } = *begun;
        running.add(key, place.finished(running.pass, began, recorded))?;
        running.pass += 1;
        Ok(Opening::Settled(Box::new(running)))
    }

    /// The next bytes for the client; `None` after the last, an error when the stream broke off without a word.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        let (_, begun) = &mut **self.0.as_mut()?;
        begun.stream.next().await
    }

    pub(super) fn is_cut_short(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.1.stream.has_ended() && !inner.1.stream.is_complete())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let (Some(inner), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        let (running, mut begun) = *inner;
        let in_flight = running.all.drain.enter();
        // Clients that know the last event leave at it.
        let may_wait = match begun.outlives_client {
            true => Duration::MAX,
            false if begun.stream.has_ended() || begun.stream.has_last_event() => LAST_BYTES,
            false => {
                begun.span.set("siding.relay.result", "client_gone");
                return running.all.metrics().relayed("client_gone");
            }
        };
        runtime.spawn(async move {
            let rest = async { while begun.stream.next().await.is_some() {} };
            let _ = timeout(may_wait, rest).await; // what is missing then is the end of the connection
            conclude(running, begun).await;
            drop(in_flight);
        });
    }
}

/// Lets the app save what came.
async fn conclude(mut running: Running, begun: Box<Begun>) {
    let Begun { stream, key, place, began, suspended, span, .. } = *begun;
    let result = if stream.is_complete() { "complete" } else { "broken" };
    span.set("siding.relay.result", result);
    drop((suspended, span));
    running.all.metrics().relayed(result);
    let (recorded, relayed, lease) = stream.recorded();
    let mut finished = place.finished(running.pass, began, recorded);
    finished.relayed = Some(relayed);
    running.add_held(key, finished, lease);
    running.pass += 1;
    running.is_read = false;
    running.deadline = Instant::now() + running.all.config.deadline;
    let result = last_passes(&mut running).await;
    let id = &running.exchange.id;
    let word = match result {
        Ok(status) if status.is_success() || status.is_redirection() => "saved",
        Ok(status) => {
            tracing::warn!(id, %status, "the app failed after a relayed stream, so what came may not be saved");
            "failed"
        }
        Err(refused) => {
            let reason = refused.reason.as_str();
            tracing::warn!(id, reason, "no last pass after a relayed stream, so what came is not saved");
            "refused"
        }
    };
    running.all.metrics().relay_passes.with_label_values(&[word]).inc();
}

/// Runs to the app's answer, which nobody reads. Nobody waits either, so a busy or restarting app is tried again.
async fn last_passes(running: &mut Running) -> Result<StatusCode, Refused> {
    let mut account = Account::new(Mode::Relay);
    account.trace = running.trace;
    loop {
        match running.run(&mut account).await {
            Ok(Turned::Answer(mut answer)) => {
                while answer.body.next().await.is_some() {}
                return Ok(answer.status);
            }
            Ok(Turned::Relay(_)) => return Err(Reason::Internal.into()), // nobody reads, so nothing is relayed
            Err(refused) => {
                let Some(pause) = pause(&refused) else { return Err(refused) };
                let again = Instant::now() + pause;
                tokio::select! {
                    biased;
                    () = running.all.drain.is_cut() => return Err(Reason::Draining.into()),
                    () = sleep_until(again.min(running.deadline)) => {}
                }
                if running.deadline <= again {
                    return Err(refused);
                }
            }
        }
    }
}

/// How long to pause before another try, where none has reached the app.
fn pause(refused: &Refused) -> Option<Duration> {
    let may_help = matches!(
        refused.reason,
        Reason::QueueFull | Reason::QueueTimeout | Reason::QueueHopeless | Reason::BuffersFull | Reason::BackendConnect
    );
    may_help.then(|| refused.retry_after.unwrap_or(PAUSE))
}
