//! The last phase: exactly one outcome per request, to metrics and access log.

use pingora::prelude::Error;
use pingora::protocols::http::ServerSession;

use super::context::{Context, Stage};
use super::{Gateway, pass_through, span};
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
    gateway.exchanges.metrics.ended(&context.account, outcome, total);
    span::end(gateway, session, context, outcome);
    let request = session.req_header();
    let status = session.response_written().map(|answer| answer.status);
    gateway.requests.ended(route(gateway, context), context.account.route.as_ref(), &request.method, status, total);
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
