//! An exchange as a span, in the terms of OpenTelemetry's conventions for HTTP servers: begun with the request's head,
//! ended with its outcome.

use pingora::protocols::http::ServerSession;

use super::context::Context;
use super::{Gateway, hygiene};
use crate::exchange::Account;
use crate::telemetry::Outcome;
use crate::telemetry::outcome::Mode;
use crate::time::{Instant, SystemTime, wall_clock};
use crate::trace::Span;

/// Continues the client's trace, or begins one.
pub(super) fn begin(gateway: &Gateway, session: &ServerSession, context: &mut Context) {
    let headers = &session.req_header().headers;
    context.span = gateway.exchanges.tracer.root(headers, "exchange", since(context.began));
    context.account.trace = context.span.context();
}

/// The span of a request that was answered without being read a second time: it says nothing of a trace.
pub(super) fn of_repeated(gateway: &Gateway, began: Instant) -> Span {
    let span = gateway.exchanges.tracer.root_of_new_trace("exchange", since(began));
    span.set("siding.mode", Mode::Shared.as_str());
    span.set("siding.cache.result", "hit");
    span
}

fn since(began: Instant) -> SystemTime {
    let now = wall_clock();
    now.checked_sub(began.elapsed()).unwrap_or(now)
}

/// Says how the exchange ended.
pub(super) fn end(gateway: &Gateway, session: &ServerSession, context: &Context, outcome: Outcome) {
    let span = &context.span;
    if !span.is_recording() {
        return;
    }
    let request = session.req_header();
    let (method, path) = (&request.method, request.uri.path());
    let pattern = context.rule.and_then(|rule| gateway.routes.pattern(rule)).map(ToString::to_string);
    let view = || context.account.route.as_ref().and_then(|route| route.to_str().ok()).map(str::to_owned);
    let route = pattern.or_else(view);
    span.rename(|| [Some(method.as_str()), route.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" "));
    span.set("http.request.method", method.as_str().to_owned());
    span.set("url.path", path.to_owned());
    span.set("url.scheme", if hygiene::is_tls(session) { "https" } else { "http" });
    span.set_with("http.route", || route);
    let status = session.response_written().map(|answer| answer.status.as_u16());
    span.set_with("http.response.status_code", || status);
    describe(span, &context.id, &context.account, outcome, status);
}

/// What is said of every exchange, whoever waits for it.
pub(super) fn describe(span: &Span, id: &str, account: &Account, outcome: Outcome, status: Option<u16>) {
    span.set("siding.id", id.to_owned());
    span.set("siding.mode", account.mode.as_str());
    span.set("siding.outcome", outcome.as_str());
    span.set("siding.passes", account.passes);
    span.set("siding.calls", account.calls);
    match (outcome, status) {
        (Outcome::Refused(reason), Some(500..)) => span.failed(reason.as_str()),
        (Outcome::Interrupted, _) => span.failed(outcome.as_str()),
        (_, Some(status @ 500..)) => span.failed(status.to_string()),
        _ => {}
    }
}
