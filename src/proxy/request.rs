//! The request phase: find the route, then run an exchange or let Pingora stream.

use http::{HeaderValue, Method, Version, header};
use pingora::http::authority::raw_target_authority;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;

use super::context::Context;
use super::pass_through::NotAdmitted;
use super::preview::Preview;
use super::{Gateway, buffered, jobs, pass_through, respond, span};
use crate::exchange::Refused;
use crate::handoff::Exchange;
use crate::telemetry::Reason;

/// `true` when the client was answered here, `false` when Pingora is to stream the request.
pub(super) async fn run(gateway: &Gateway, session: &mut Session, context: &mut Context) -> Result<bool> {
    let preview = Preview::of(session);
    if gateway.job_in(preview.path).is_some() {
        return Box::pin(jobs::run(gateway, session, context)).await;
    }
    if let Some(plan) = preview.plan(gateway) {
        return Box::pin(buffered::run(gateway, session, context, plan)).await;
    }
    let policy = preview.policy(gateway);
    context.rule = policy.rule;
    let admitted = match accept(gateway, session, context) {
        Ok(_) => pass_through::admit(gateway, session, context, policy).await,
        Err(refused) => Err(NotAdmitted::Refused(refused)),
    };
    match admitted {
        Ok(()) => Ok(false),
        Err(NotAdmitted::Refused(refused)) => respond::refuse(gateway, session, context, refused).await,
        Err(NotAdmitted::ClientGone) => Ok(respond::gone(session, context)),
    }
}

/// Gives the request its identity and its place in a trace, if it can be served at all.
pub(super) fn accept(
    gateway: &Gateway,
    session: &ServerSession,
    context: &mut Context,
) -> std::result::Result<Exchange, Refused> {
    let exchange = gateway.exchanges.begin();
    context.id.clone_from(&exchange.id);
    span::begin(gateway, session, context);
    let is_clear = names_host(session) && has_target(session) && is_framed_in_one_way(session);
    if is_clear { Ok(exchange) } else { Err(Reason::BadRequest.into()) }
}

/// HTTP/1.1 demands it (RFC 9112, section 3.2), and without it the app cannot tell whom it is asked for.
fn names_host(session: &ServerSession) -> bool {
    let request = session.req_header();
    request.headers.contains_key(header::HOST)
        || request.uri.authority().is_some()
        || request.version <= Version::HTTP_10
}

/// A path, with a host before it or not, or the asterisk of OPTIONS (RFC 9112, section 3.2).
fn has_target(session: &ServerSession) -> bool {
    let request = session.req_header();
    let target = request.raw_path();
    let is_asterisk = request.method == Method::OPTIONS && target == b"*";
    target.starts_with(b"/") || is_asterisk || raw_target_authority(target).authority().is_some()
}

/// Whether nobody can see another end of the body than Siding does: there is one length, a plain number, or one coding, which
/// is chunked. Of two codings only the last would be undone, and the app would be told of neither.
fn is_framed_in_one_way(session: &ServerSession) -> bool {
    let headers = &session.req_header().headers;
    let only = |name: header::HeaderName, is_good: fn(&[u8]) -> bool| {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        values.next().is_none_or(is_good) && values.next().is_none()
    };
    only(header::CONTENT_LENGTH, |length| !length.is_empty() && length.iter().all(u8::is_ascii_digit))
        && only(header::TRANSFER_ENCODING, |coding| coding.eq_ignore_ascii_case(b"chunked"))
}
