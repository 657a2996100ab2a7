//! The request phase: find the route, then run an exchange or let Pingora stream.

use http::{Version, header};
use pingora::prelude::Result;
use pingora::proxy::Session;

use super::context::Context;
use super::pass_through::NotAdmitted;
use super::{Gateway, buffered, pass_through, respond};
use crate::telemetry::Reason;

/// `true` when the client was answered here, `false` when Pingora is to stream the request.
pub(super) async fn run(gateway: &Gateway, session: &mut Session, context: &mut Context) -> Result<bool> {
    let exchange = gateway.exchanges.begin();
    context.id.clone_from(&exchange.id);
    if !names_host(session) {
        return respond::refuse(gateway, session, context, Reason::BadRequest.into()).await;
    }
    let request = session.req_header();
    let policy = gateway.routes.find(&request.method, request.uri.path());
    match buffered::suspendable(gateway, session, policy) {
        Some(offer) => Box::pin(buffered::run(gateway, session, context, policy, offer, &exchange)).await,
        None => match pass_through::admit(gateway, session, context, policy).await {
            Ok(()) => Ok(false),
            Err(NotAdmitted::Refused(refused)) => respond::refuse(gateway, session, context, refused).await,
            Err(NotAdmitted::ClientGone) => Ok(respond::gone(session, context)),
        },
    }
}

/// HTTP/1.1 demands it (RFC 9112, section 3.2), and without it the app cannot tell whom it is asked for.
fn names_host(session: &Session) -> bool {
    let request = session.req_header();
    request.headers.contains_key(header::HOST)
        || request.uri.authority().is_some()
        || request.version <= Version::HTTP_10
}
