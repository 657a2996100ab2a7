//! The request phase: find the route, then run an exchange or let Pingora stream.

use http::{Version, header};
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
    if names_host(session) { Ok(exchange) } else { Err(Reason::BadRequest.into()) }
}

/// HTTP/1.1 demands it (RFC 9112, section 3.2), and without it the app cannot tell whom it is asked for.
fn names_host(session: &ServerSession) -> bool {
    let request = session.req_header();
    request.headers.contains_key(header::HOST)
        || request.uri.authority().is_some()
        || request.version <= Version::HTTP_10
}
