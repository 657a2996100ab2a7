//! The last phase: exactly one outcome per request, to metrics and access log.

use http::StatusCode;
use pingora::prelude::Error;
use pingora::protocols::http::ServerSession;

use super::context::{Context, Stage};
use super::{Gateway, pass_through, respond, span};
use crate::status::{Cause, Failed, Subject};
use crate::telemetry::Outcome;
use crate::telemetry::access_log::{self, Line};
use crate::telemetry::outcome::Mode;
use crate::trace::Span;

pub(super) fn run(gateway: &Gateway, session: &ServerSession, error: Option<&Error>, context: &mut Context) {
    if let Some(since) = pass_through::streamed_since(&context.stage) {
        context.account.working += since.elapsed();
    }
    let outcome = match &context.stage {
        Stage::Ended(outcome) => *outcome,
        Stage::Streaming { .. } if error.is_none() => Outcome::Answered,
        Stage::Received | Stage::Streaming { .. } => Outcome::ClientGone,
    };
    context.stage = Stage::Ended(outcome); // frees the worker of a streamed request
    let total = context.began.elapsed();
    gateway.exchanges.metrics().ended(&context.account, outcome, total);
    span::end(gateway, session, context, outcome);
    let request = session.req_header();
    let status = session.response_written().map(|answer| answer.status);
    gateway.requests.ended(route(gateway, context), context.account.route.as_ref(), &request.method, status, total);
    if let Some(cause) = cause(context.account.mode, outcome, status) {
        let (subject, status) = (subject(gateway, session, context), status.map_or(0, |status| status.as_u16()));
        gateway.exchanges.status.failed(Failed { subject, cause, status });
    }
    access_log::write(&Line {
        id: &context.id,
        method: request.method.as_str(),
        path: request.uri.path(),
        status: status.map_or(0, |status| status.as_u16()),
        mode: context.account.mode,
        outcome,
        user: context.granted.as_ref().and_then(|granted| granted.user.as_deref()).unwrap_or_default(),
        passes: context.account.passes,
        calls: context.account.calls,
        total,
        queued: context.account.queued,
        working: context.account.working,
        calling: context.account.calling,
        trace_id: context.account.trace.trace_id(),
    });
    context.span = Span::NONE; // ends it before a shutdown no longer waits for it
    context.in_flight = None;
}

/// The request, for the status page.
pub(super) fn subject<'a>(gateway: &Gateway, session: &'a ServerSession, context: &'a Context) -> Subject<'a> {
    let request = session.req_header();
    let pattern = context.rule.and_then(|rule| gateway.routes.pattern(rule));
    let name = gateway.exchanges.status.name(pattern, request.uri.path());
    Subject { id: &context.id, method: &request.method, name, mode: context.account.mode }
}

/// Why a request failed, if it did so that an operator wants to know: a client's own mistakes are the client's business.
pub(super) fn cause(mode: Mode, outcome: Outcome, status: Option<StatusCode>) -> Option<Cause> {
    match outcome {
        Outcome::Interrupted => Some(Cause::Interrupted),
        Outcome::Refused(reason) => {
            let status = respond::status(reason);
            let is_of_interest = matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS);
            (status.is_server_error() || is_of_interest).then_some(Cause::Refused(reason))
        }
        Outcome::Answered if !status.is_some_and(|status| status.is_server_error()) => None,
        Outcome::Answered if matches!(mode, Mode::Egress | Mode::Terminate) => Some(Cause::Provider),
        Outcome::Answered => Some(Cause::App),
        Outcome::ClientGone => None,
    }
}

/// What a request counts under that is no view of the app's, or fell under a rule.
fn route<'g>(gateway: &'g Gateway, context: &Context) -> Option<&'g str> {
    match context.account.mode {
        Mode::Egress | Mode::Jobs => Some(context.account.mode.as_str()),
        Mode::PassThrough
        | Mode::Plain
        | Mode::Replay
        | Mode::Relay
        | Mode::Shared
        | Mode::Terminate
        | Mode::Background => context.rule.and_then(|rule| gateway.routes.pattern(rule)).map(|pattern| &**pattern),
    }
}
