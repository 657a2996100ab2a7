//! Requests that cannot suspend: Pingora streams them, a worker permit is held until the backend leg ends.

use std::path::Path;

use http::{HeaderName, StatusCode, Version, header};
use pingora::ErrorSource;
use pingora::http::authority::raw_target_authority;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::proxy::{FailToProxy, Session};

use super::context::{Context, Stage};
use super::{Config, Gateway, body, finish, hygiene, respond};
use crate::backend::Address;
use crate::exchange::{REQUEST_START, ROUTE, Refused, request_start};
use crate::handoff;
use crate::route::Policy;
use crate::telemetry::{Outcome, Reason};
use crate::time::Instant;
use crate::trace::{Kind, TRACEPARENT, TRACESTATE};

/// Marks an answer that must not reach the client, so that `failed` tells it why.
const UNEXPECTED_CALL: ErrorType = ErrorType::Custom("UnexpectedCall");
/// Tries to send a request that the app has not acted on: one more does no harm.
const TRIES: u32 = 2;

/// Why a streamed request got no worker.
pub(super) enum NotAdmitted {
    /// The client is to be told.
    Refused(Refused),
    /// The client left.
    ClientGone,
}

/// Waits for a worker. A client whose body is still to be read cannot be watched meanwhile.
pub(super) async fn admit(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    policy: Policy,
) -> Result<(), NotAdmitted> {
    let asked = Instant::now();
    let deadline = asked + gateway.config.queue_timeout;
    let can_watch = session.as_downstream_mut().is_body_empty();
    let queue = gateway.exchanges.tracer.child(&context.account.trace, "queue", Kind::Internal);
    let permit = tokio::select! {
        biased;
        admitted = gateway.exchanges.admission.admit(policy.class, policy.bulkhead, deadline) => {
            admitted.map_err(|refusal| NotAdmitted::Refused(refusal.into()))
        }
        _gone = session.as_downstream_mut().read_body_or_idle(true), if can_watch => Err(NotAdmitted::ClientGone),
        () = gateway.drain.is_cut() => Err(NotAdmitted::Refused(Reason::Draining.into())),
    };
    context.account.queued += asked.elapsed();
    drop(queue);
    let permit = permit?;
    let slot = gateway.exchanges.status.occupy(finish::subject(gateway, session, context), 0);
    let span = gateway.exchanges.tracer.child(&context.account.trace, "pass 0", Kind::Client);
    context.stage = Stage::Streaming { permit: Some((permit, slot)), since: Instant::now(), tries: 0, span };
    context.account.passes = 1;
    // From here on a worker is busy, and goes on when its client leaves: only the backend leg's end frees it.
    session.as_downstream_mut().set_abort_on_close(false);
    Ok(())
}

/// The app as Pingora knows it. Names are resolved here, because Pingora's own look-up blocks its thread.
pub(super) async fn peer(config: &Config) -> Result<Box<HttpPeer>> {
    let mut peer = match &config.backend {
        Address::Unix(path) => HttpPeer::new_uds(&text(path)?, false, String::new())?,
        Address::Tcp(address) => {
            let resolved = tokio::net::lookup_host(address).await.ok().and_then(|mut found| found.next());
            let address = resolved.ok_or_else(|| {
                Error::explain(ErrorType::ConnectError, format!("cannot resolve {address}")).into_up()
            })?;
            HttpPeer::new(address, false, String::new())
        }
    };
    peer.options.connection_timeout = Some(config.connect_timeout);
    peer.options.read_timeout = Some(config.backend_timeout);
    peer.options.write_timeout = Some(config.backend_timeout);
    peer.options.idle_timeout = Some(config.backend_keepalive);
    Ok(Box::new(peer))
}

/// The same header hygiene as on the buffered path; Pingora removes what concerns one connection.
pub(super) fn request(session: &Session, upstream: &mut RequestHeader, context: &Context) -> Result<()> {
    let head = session.req_header();
    if raw_target_authority(head.raw_path()).authority().is_some() {
        // The app is asked as by anybody else: its host is in a header.
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        upstream.set_raw_path(path.as_bytes())?;
    }
    let client = hygiene::client_address(session);
    let changes = hygiene::request(&head.headers, &head.uri, client.as_deref(), hygiene::is_tls(session));
    for name in &changes.remove {
        upstream.remove_header(name);
    }
    for (name, value) in changes.set {
        upstream.insert_header(name, value)?;
    }
    upstream.insert_header(REQUEST_START, request_start(context.account.queued))?;
    if let Stage::Streaming { span, .. } = &context.stage {
        let span = span.context();
        if span.is_new() {
            upstream.remove_header(&TRACESTATE);
        }
        if let Some(value) = span.header() {
            upstream.insert_header(TRACEPARENT, value)?;
        }
    }
    Ok(())
}

/// Looks at the head of the app's answer before the client does.
pub(super) fn response(
    gateway: &Gateway,
    session: &mut Session,
    answer: &mut ResponseHeader,
    context: &mut Context,
) -> Result<()> {
    if let Stage::Streaming { span, .. } = &context.stage {
        span.set("http.response.status_code", answer.status.as_u16());
    }
    if let (StatusCode::SWITCHING_PROTOCOLS, Stage::Streaming { permit, .. }) = (answer.status, &mut context.stage) {
        *permit = None; // the connection is the client's own now, not a request of the pool
    }
    if handoff::is_call(answer.status, &answer.headers) {
        gateway.exchanges.metrics().unexpected_call();
        return Err(Error::explain(UNEXPECTED_CALL, "the app handed over a call without an offer").into_up());
    }
    context.account.route = answer.headers.get(ROUTE).cloned();
    let internal: Vec<HeaderName> = answer.headers.keys().filter(|name| hygiene::is_internal(name)).cloned().collect();
    for name in internal {
        answer.remove_header(&name);
    }
    super::connection::close_if_draining(gateway, session);
    if session.req_header().version <= Version::HTTP_10 && answer.headers.contains_key(header::TRANSFER_ENCODING) {
        // A client that knows no chunks reads to the end of the connection.
        answer.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    Ok(())
}

/// The app may have acted on the request, so only a safe method is tried again, and only before an answer.
pub(super) fn interrupted(session: &mut Session, context: &mut Context, mut error: Box<Error>) -> Box<Error> {
    let can_be_sent_again = session.req_header().method.is_safe() && !session.as_ref().retry_buffer_truncated();
    let again = can_be_sent_again && session.response_written().is_none() && try_again(context);
    if again {
        tracing::debug!(id = context.id, error = in_words(&error), "sending a request again");
    }
    error.set_retry(again);
    error
}

/// Nothing ran.
pub(super) fn unreachable(context: &mut Context, mut error: Box<Error>) -> Box<Error> {
    error.set_retry(try_again(context));
    error
}

fn try_again(context: &mut Context) -> bool {
    match &mut context.stage {
        Stage::Streaming { tries, .. } => {
            *tries += 1;
            *tries < TRIES
        }
        Stage::Received | Stage::Ended(_) => false,
    }
}

/// Tells the client why there is no answer, if it can still be told.
pub(super) async fn failed(session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
    let closed = FailToProxy { error_code: 0, can_reuse_downstream: false };
    if matches!(context.stage, Stage::Ended(_)) {
        return closed;
    }
    let outcome = match (session.response_written().is_some(), error.esource()) {
        (false, ErrorSource::Downstream) if body::is_malformed(error) => Outcome::Refused(Reason::BadRequest),
        (_, ErrorSource::Downstream) => Outcome::ClientGone,
        (true, _) => Outcome::Interrupted,
        (false, _) => Outcome::Refused(reason(error)),
    };
    context.stage = Stage::Ended(outcome);
    if let Outcome::Refused(reason) = outcome {
        if reason != Reason::BadRequest {
            tracing::warn!(id = context.id, error = in_words(error), "the app did not answer");
        }
        session.set_keepalive(None);
        // A client that has left meanwhile needs no answer.
        let _ = respond::problem(session, reason.into(), &context.id, Some(context)).await;
    }
    closed
}

/// For the log. What Pingora says of a head that cannot be read holds that head: cookies, tokens.
fn in_words(error: &Error) -> String {
    match (error.root_etype(), error.root_cause()) {
        (ErrorType::InvalidHTTPHeader, cause) if !cause.is::<Error>() => format!("not HTTP: {cause}"),
        (ErrorType::InvalidHTTPHeader, _) => "not HTTP".to_owned(),
        _ => error.to_string(),
    }
}

fn reason(error: &Error) -> Reason {
    match error.etype() {
        kind if *kind == UNEXPECTED_CALL => Reason::HandoffUnexpected,
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError => Reason::BackendConnect,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Reason::BackendTimeout,
        ErrorType::InvalidHTTPHeader => Reason::BackendProtocol,
        _ if *error.esource() == ErrorSource::Upstream => Reason::BackendClosed,
        _ => Reason::Internal,
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "the socket's path is not UTF-8"))
}

/// Whether the request was in progress at the app when it ended, and since when.
pub(super) fn streamed_since(stage: &Stage) -> Option<Instant> {
    match stage {
        Stage::Streaming { since, .. } => Some(*since),
        Stage::Received | Stage::Ended(_) => None,
    }
}
