//! Requests in which the app may suspend: read whole, run as an exchange, delivered as the answer comes.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use pingora::http::RequestHeader;
use pingora::prelude::{Error, ErrorType, Result};
use pingora::protocols::http::ServerSession;

use super::body::Unread;
use super::context::{Context, Stage};
use super::preview::Plan;
use super::{Gateway, background, body, connection, deliver, hygiene, request, respond, shared, terminate};
use crate::buffers::Lease;
use crate::calls::Origin;
use crate::exchange::{Answer, Refused, Request};
use crate::route::Policy;
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Outcome, Reason};
use crate::time::Instant;

/// Runs the exchange, or shares another's answer, and answers the client; `true` says that this was done.
pub(super) async fn run(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    plan: Plan<'_>,
) -> Result<bool> {
    context.rule = plan.policy.rule;
    if let Some(termination) = plan.termination {
        return terminate::run(gateway, session, context, plan.policy, termination).await;
    }
    context.account.mode = Mode::Plain;
    let exchange = match request::accept(gateway, session, context) {
        Ok(exchange) => exchange,
        Err(refused) => return respond::refuse(gateway, session, context, refused).await,
    };
    let (body, lease) = match read(gateway, session).await {
        Ok(read) => read,
        Err(Unread::Refused(reason)) => return respond::refuse(gateway, session, context, reason.into()).await,
        Err(Unread::ClientGone) => return Ok(respond::gone(session, context)),
    };
    context.account.client += context.began.elapsed();
    if let Some(rule) = plan.background {
        let asked = background::Asked { exchange, body, lease, plan, rule };
        return background::run(gateway, session, context, asked).await;
    }
    if let Some(rule) = plan.rule {
        let asked = shared::Asked { exchange, body, lease, plan, rule };
        return shared::run(gateway, session, context, asked).await;
    }
    let Ok(request) = take_request(gateway, session, body, lease, plan.policy) else {
        return Ok(respond::gone(session, context));
    };
    let running =
        Box::pin(contained(gateway.exchanges.run(plan.offer.is_some(), exchange, request, &mut context.account)));
    let ended = tokio::select! {
        biased;
        ended = running => ended,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match ended {
        Ok(answer) => answered(gateway, session, context, answer).await,
        Err(refused) => respond::refuse(gateway, session, context, refused).await,
    }
}

/// Delivers the app's answer.
pub(super) async fn answered(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    mut answer: Answer,
) -> Result<bool> {
    let began = Instant::now();
    connection::close_if_draining(gateway, session);
    if !answer.body.is_relayed() {
        context.needs_no_app(); // the pass counts until the app has sent all
    }
    let outcome = deliver::run(session, &mut answer).await;
    let spent = if answer.body.is_relayed() { &mut context.account.calling } else { &mut context.account.client };
    *spent += began.elapsed();
    ended_in_words(context, outcome, answer.body.is_cut_short())
}

/// Notes how delivering an answer ended that may have been cut short in words: in a stream that itself ends well.
pub(super) fn ended_in_words(context: &mut Context, outcome: Outcome, is_cut_short: bool) -> Result<bool> {
    if is_cut_short && outcome == Outcome::Answered {
        context.stage = Stage::Ended(Outcome::Interrupted);
        return Ok(true);
    }
    ended(context, outcome)
}

/// Notes how delivering an answer ended.
pub(super) fn ended(context: &mut Context, outcome: Outcome) -> Result<bool> {
    context.stage = Stage::Ended(outcome);
    match outcome {
        Outcome::Answered => Ok(true),
        // Only an error keeps Pingora from ending the body as if it were complete.
        Outcome::Interrupted | Outcome::ClientGone | Outcome::Refused(_) => {
            Err(Error::explain(ErrorType::ConnectionClosed, "the answer broke off"))
        }
    }
}

pub(super) async fn read(gateway: &Gateway, session: &mut ServerSession) -> Result<(Bytes, Lease), Unread> {
    let mut lease = gateway.exchanges.buffers.lease();
    let deadline = Instant::now() + gateway.config.body_timeout;
    let body = body::read(session, gateway.config.max_body, deadline, &mut lease).await?;
    Ok((body, lease))
}

/// Takes the request out of the session.
pub(super) fn take_request(
    gateway: &Gateway,
    session: &mut ServerSession,
    body: Bytes,
    lease: Lease,
    policy: Policy,
) -> Result<Request> {
    let (client, is_tls) = (hygiene::client_address(session), hygiene::is_tls(session));
    let Parts { method, uri, mut headers, .. } = take_head(session)?;
    // First, or a client could nominate what is set below.
    hygiene::remove_connection_headers(&mut headers);
    hygiene::request(&headers, &uri, client.as_deref(), is_tls).apply(&mut headers);
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let pattern = policy.rule.and_then(|rule| gateway.routes.pattern(rule));
    let origin = pattern.map_or(Origin::NoRoute, |pattern| Origin::Route(Arc::clone(pattern)));
    Ok(Request { method, target, headers, body, lease, class: policy.class, bulkhead: policy.bulkhead, origin })
}

/// Takes the request's head out of the session, which goes on with what it needs to frame an answer: an exchange that
/// waits holds its headers once.
pub(super) fn take_head(session: &mut ServerSession) -> Result<Parts> {
    let head = session.req_header();
    let (method, uri, version) = (head.method.clone(), head.uri.clone(), head.version);
    let mut rest = RequestHeader::build_no_case(method, b"/", Some(0))?;
    rest.set_uri(uri);
    rest.set_version(version);
    Ok(std::mem::replace(session.req_header_mut(), rest).into())
}

/// A panic in one exchange is an error of that exchange alone.
pub(super) async fn contained<T>(exchange: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    AssertUnwindSafe(exchange).catch_unwind().await.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_message(&*panic), "a fault of siding itself ended an exchange; please report it");
        Err(Reason::Internal.into())
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_that_exchange_alone() {
        let ended = contained::<()>(async { panic!("on purpose") }).await;
        assert_eq!(ended, Err(Reason::Internal.into()));
        assert_eq!(contained(async { Ok(1) }).await, Ok(1));
    }
}
