//! The calls of an exchange: all at once, each recorded, none holding a worker.

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::relay::Begun;
use super::run::Running;
use super::{Account, Exchanges, KEEP_RESULTS_FOR, Refused, Step};
use crate::buffers::{Full, Lease};
use crate::cache::{Key, KeyBuilder, Scope, Weigh, add_client, is_anybody};
use crate::calls::{Caller, Directives, NoReply, Origin, Reply};
use crate::handoff::{Call, CallError, Calls, Finished, Recorded, Response, Sharing};
use crate::provider::{self, Failure};
use crate::status::Waiting;
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;
use crate::time::{Duration, Instant, timeout_at};
use crate::trace::SpanContext;

/// Headers of a call that differ between two tries of the same request.
const VOLATILE: [&str; 5] = ["x-stainless-retry-count", "idempotency-key", "traceparent", "tracestate", "baggage"];

impl Running {
    /// Makes the calls and adds their ends to the journal; or begins the only one, for the client to read first.
    pub(super) async fn make_calls(
        &mut self,
        asked: Calls,
        account: &mut Account,
    ) -> Result<Option<Box<Begun>>, Refused> {
        let Calls { mut calls, values, relay } = asked;
        if let Some(stray) = calls.iter().find(|call| self.all.providers.resolve(&call.url).is_none()) {
            let (id, site) = (&self.exchange.id, &stray.name);
            tracing::warn!(id, site, host = stray.url.host_str(), "refused a call to an address of no provider");
            return Err(self.refuse(Reason::HandoffOrigin));
        }
        for value in values {
            self.hold(value.get().len())?;
            self.journal.push_value(value);
        }
        let mut bodies = self.all.buffers.lease();
        let bytes = calls.iter().map(|call| call.body.len()).sum();
        bodies.grow(bytes).map_err(|Full| Reason::BuffersFull)?;
        account.calls += u32::try_from(calls.len()).unwrap_or(u32::MAX);
        account.tell(Step::Calling);
        let began = Instant::now();
        if let (Some(relay), true) = (relay, self.is_read) {
            return calls.pop().map_or(Ok(None), |call| self.relay(call, relay, bodies));
        }
        let suspended = (self.all.metrics().suspend(Mode::Replay), self.waiting(&calls, Mode::Replay));
        let finished = Box::pin(join_all(calls.into_iter().map(|call| self.make(call)))).await;
        drop((suspended, bodies));
        account.calling += began.elapsed();
        for (key, finished) in finished {
            self.add(key, finished)?;
        }
        Ok(None)
    }

    /// Shows the exchange as waiting for the answers to calls while the guard lives.
    pub(super) fn waiting(&self, calls: &[Call], mode: Mode) -> Waiting {
        let (status, providers) = (&self.all.status, &self.all.providers);
        let provider = calls.first().and_then(|call| providers.resolve(&call.url));
        let name = provider.map_or("", |provider| provider.name());
        status.wait(self.request.subject(&self.exchange.id, mode, status), name, calls.len())
    }

    /// Adds a call's end to the journal.
    pub(super) fn add(&mut self, key: Option<Key>, finished: Finished) -> Result<(), Refused> {
        self.hold(finished.recorded.weight())?;
        self.keys.push(key);
        self.journal.push_finished(finished);
        Ok(())
    }

    /// Adds the end of a call whose memory is accounted for, and whose journal had room for it.
    pub(super) fn add_held(&mut self, key: Option<Key>, finished: Finished, lease: Lease) {
        self.held += finished.recorded.weight();
        self.leases.push(lease);
        self.keys.push(key);
        self.journal.push_finished(finished);
    }

    async fn make(&self, call: Call) -> (Option<Key>, Finished) {
        let began = Instant::now();
        let key = self.key(&call);
        let (asked, place) = self.place(call, self.trace);
        let recorded = match self.kept(key) {
            Some(kept) => kept,
            None => {
                let deadline = self.calls_deadline();
                match timeout_at(deadline, open(&self.all, asked, &self.request.headers)).await {
                    Ok(Ok(reply)) => timeout_at(deadline, collect(reply)).await.unwrap_or_else(|_| too_late()),
                    Ok(Err(recorded)) => recorded,
                    Err(_) => too_late(),
                }
            }
        };
        (key, place.finished(self.pass, began, recorded))
    }

    /// What the provider is asked, and where its answer belongs.
    pub(super) fn place(&self, call: Call, trace: SpanContext) -> (Asked, Place) {
        let Call { name, digest, method, url, headers, body, timeout_ms, cache } = call;
        let patience = timeout_ms.map(Duration::from_millis);
        let request = provider::Request { method, url, headers, body, patience };
        let (said, origin) = (directives(cache.unwrap_or_default()), self.request.origin.clone());
        (Asked { request, said, origin, trace }, Place { name, digest })
    }

    /// A result of an earlier exchange that could not use it.
    pub(super) fn kept(&self, key: Option<Key>) -> Option<Recorded> {
        let kept = key.and_then(|key| self.all.lasting.kept.take(&key))?;
        self.all.metrics().reused.inc();
        Some(kept)
    }

    /// Keeps complete results of an exchange that cannot resume, so that its client's retry need not pay again.
    /// One that was relayed is nobody's any more: its client has read it.
    pub(super) fn keep_results(&self) {
        if !self.is_read {
            return;
        }
        for (key, finished) in self.keys.iter().zip(self.journal.finished()) {
            let is_complete =
                matches!(&finished.recorded, Recorded::Response(response) if (200..300).contains(&response.status));
            if let (Some(key), true) = (key, is_complete) {
                self.all.lasting.kept.put(*key, finished.recorded.clone());
                self.all.metrics().kept.inc();
            }
        }
    }

    /// The identity of a call in a client's request: whoever retries sends the same request with the same
    /// credentials. Clients that cannot be told apart keep nothing, so there is none for them.
    pub(super) fn key(&self, call: &Call) -> Option<Key> {
        if is_anybody(&self.request.headers) {
            return None;
        }
        let headers = sorted(&call.headers, |name| !VOLATILE.contains(&name));
        let call = [call.method.as_str().as_bytes(), call.url.as_str().as_bytes(), &call.body];
        let request = [self.request.method.as_str().as_bytes(), self.request.target.as_bytes(), &self.request.body];
        let border: [&[u8]; 1] = [b"request"];
        let mut key = KeyBuilder::default();
        for part in call.into_iter().chain(flat(&headers)).chain(border).chain(request) {
            key.add(part);
        }
        add_client(&mut key, &self.request.headers);
        Some(key.finish())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refused> {
        let limit = self.all.config.limits.max_journal;
        if self.held + bytes > limit {
            tracing::warn!(id = self.exchange.id, limit, "the journal is larger than allowed");
            return Err(self.refuse(Reason::HandoffLimit));
        }
        self.held += bytes;
        self.request.lease.grow(bytes).map_err(|Full| Reason::BuffersFull.into())
    }
}

/// A request to a provider, and how its answer is shared.
pub(super) struct Asked {
    pub(super) request: provider::Request,
    said: Directives,
    origin: Origin,
    /// The span that the call is below.
    trace: SpanContext,
}

/// A call's identity in the journal.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    digest: String,
}

impl Place {
    pub(super) fn finished(self, pass: u32, began: Instant, recorded: Recorded) -> Finished {
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Finished { name: self.name, digest: self.digest, pass, elapsed_ms, recorded, relayed: None }
    }
}

/// Asks for an answer, to its head. What comes instead of one is a result too.
pub(super) async fn open(all: &Exchanges, asked: Asked, client: &HeaderMap) -> Result<Reply, Recorded> {
    let Some(provider) = all.providers.resolve(&asked.request.url) else {
        return Err(Recorded::Error { error: CallError::Connect, message: "no provider has this URL".into() });
    };
    let caller = Caller { client, origin: &asked.origin, trace: asked.trace };
    let reply = all.calls.make(provider, asked.request, &asked.said, &caller).await;
    reply.map_err(|no_reply| match no_reply {
        NoReply::NotCached => Recorded::Response(not_cached()),
        NoReply::Failed(failure) => failed(&failure),
    })
}

/// All of an answer.
pub(super) async fn collect(reply: Reply) -> Recorded {
    let Reply { status, headers, body } = reply;
    match body.collect().await {
        Ok(body) => Recorded::Response(Response { status: status.as_u16(), headers, body }),
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> Recorded {
    Recorded::Error { error: word(failure), message: failure.to_string() }
}

pub(super) fn too_late() -> Recorded {
    Recorded::Error { error: CallError::Deadline, message: "the exchange's deadline passed".into() }
}

/// The answer to a call that wanted a stored answer or none (RFC 9111, section 5.2.1.7).
fn not_cached() -> Response {
    const BODY: &str = r#"{"error": {"message": "nothing is stored for this call", "type": "only-if-cached"}}"#;
    let headers = [(CONTENT_TYPE, "application/json"), (HeaderName::from_static("x-should-retry"), "false")];
    Response {
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        headers: headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect(),
        body: Bytes::from_static(BODY.as_bytes()),
    }
}

pub(super) fn directives(said: Sharing) -> Directives {
    let period = |millis: Option<u64>| millis.map(Duration::from_millis);
    Directives {
        ttl: period(said.ttl_ms),
        scope: said.scope.map(|scope| match scope.as_str() {
            "app" => Scope::All,
            "user" => Scope::Credentials,
            "none" => Scope::Nobody,
            _ => Scope::Named(scope),
        }),
        tags: said.tags,
        lookup: said.lookup,
        store: said.store,
        stale_if_error: period(said.stale_if_error_ms),
        stale_while_revalidate: period(said.stale_while_revalidate_ms),
    }
}

fn sorted(headers: &HeaderMap, counts: impl Fn(&str) -> bool) -> Vec<(&str, &[u8])> {
    let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| counts(name)).collect();
    pairs.sort_unstable();
    pairs
}

fn flat<'a>(pairs: &'a [(&'a str, &'a [u8])]) -> impl Iterator<Item = &'a [u8]> {
    pairs.iter().flat_map(|(name, value)| [name.as_bytes(), value])
}

impl Weigh for Recorded {
    fn weight(&self) -> usize {
        match self {
            Recorded::Response(Response { headers, body, .. }) => {
                let headers: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
                headers + body.len()
            }
            Recorded::Error { message, .. } => message.len(),
        }
    }

    fn lifetime(&self) -> Duration {
        KEEP_RESULTS_FOR
    }
}

pub(super) fn word(failure: &Failure) -> CallError {
    match failure {
        Failure::Connect { .. } => CallError::Connect,
        Failure::ConnectTimeout(_) => CallError::ConnectTimeout,
        Failure::FirstByteTimeout(_) => CallError::FirstByteTimeout,
        Failure::IdleTimeout(_) => CallError::IdleTimeout,
        Failure::TotalTimeout(_) => CallError::TotalTimeout,
        Failure::Interrupted { .. } => CallError::Interrupted,
        Failure::TooLarge { .. } | Failure::NoMemory => CallError::TooLarge,
        Failure::Protocol { .. } => CallError::Protocol,
        Failure::Unavailable { .. } => CallError::Unavailable,
    }
}
