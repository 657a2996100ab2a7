//! The request phase: settle the connection, find the route, then run an exchange or let Pingora stream.

use http::{HeaderMap, Method, Version, header};
use pingora::prelude::{Error, ErrorType, Result};
use pingora::proxy::Session;

use super::context::{Context, Stage};
use super::pass_through::{self, NotAdmitted};
use super::{Gateway, body, deliver, hygiene, respond};
use crate::backend::Answer;
use crate::exchange::{Refused, Request};
use crate::handoff::{self, Offer};
use crate::route::Policy;
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Outcome, Reason};
use crate::time::{Duration, Instant};

/// The longest silence while a request is read, per read; the body has a deadline besides.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the rest of a body that the app did not read is read and dropped, so that the client sees the answer
/// rather than a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Per-request settings without which connections would live for ever or a pipelining client would break a
/// healthy wait.
pub(super) fn settle_connection(gateway: &Gateway, session: &mut Session) {
    let config = &gateway.config;
    let keepalive = (!gateway.drain.is_draining() && may_keep_alive(session)).then_some(config.keepalive.as_secs());
    session.set_keepalive(keepalive.filter(|&seconds| seconds > 0));
    session.set_read_timeout(Some(READ_TIMEOUT));
    session.set_write_timeout(Some(config.write_timeout));
    let downstream = session.as_downstream_mut();
    downstream.set_pipelining_enabled(true);
    // Or a `100 Continue` would close the connection after its answer, like any answer before the body was read.
    downstream.set_close_on_response_before_downstream_finish(false);
    downstream.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// A shutdown may have begun since the connection was settled.
pub(super) fn close_if_draining(gateway: &Gateway, session: &mut Session) {
    if gateway.drain.is_draining() {
        session.set_keepalive(None);
    }
}

/// Clients before HTTP/1.1 must ask for it (RFC 9112, section 9.3); `Connection: close` is Pingora's business.
fn may_keep_alive(session: &Session) -> bool {
    let request = session.req_header();
    let asked = request.headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    request.version > Version::HTTP_10
        || asked.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("keep-alive"))
}

/// `true` when the client was answered here, `false` when Pingora is to stream the request.
pub(super) async fn run(gateway: &Gateway, session: &mut Session, context: &mut Context) -> Result<bool> {
    let exchange = gateway.exchanges.begin();
    context.id.clone_from(&exchange.id);
    let request = session.req_header();
    let names_host = request.headers.contains_key(header::HOST) || request.uri.authority().is_some();
    if !names_host && request.version > Version::HTTP_10 {
        return refuse(gateway, session, context, Reason::BadRequest.into()).await;
    }
    let policy = gateway.routes.find(&request.method, request.uri.path());
    match suspendable(gateway, session, policy) {
        None => match pass_through::admit(gateway, session, context, policy).await {
            Ok(()) => Ok(false),
            Err(NotAdmitted::Refused(refused)) => refuse(gateway, session, context, refused).await,
            Err(NotAdmitted::ClientGone) => Ok(gone(session, context)),
        },
        Some(offer) => {
            context.account.mode = Mode::Plain;
            match Box::pin(exchange_for(gateway, session, context, policy, offer, &exchange)).await {
                Ended::Answer(answer) => {
                    let began = Instant::now();
                    close_if_draining(gateway, session);
                    let outcome = deliver::run(session, answer).await;
                    context.account.client += began.elapsed();
                    context.stage = Stage::Ended(outcome);
                    match outcome {
                        Outcome::Answered => Ok(true),
                        // Only an error keeps Pingora from ending the body as if it were complete.
                        Outcome::Interrupted | Outcome::ClientGone | Outcome::Refused(_) => {
                            Err(Error::explain(ErrorType::ConnectionClosed, "the answer broke off"))
                        }
                    }
                }
                Ended::Refused(refused) => refuse(gateway, session, context, refused).await,
                Ended::ClientGone => Ok(gone(session, context)),
            }
        }
    }
}

enum Ended {
    Answer(Answer),
    Refused(Refused),
    ClientGone,
}

/// The offer, if this request can suspend. Uploads that are too large to be sent again and upgrades cannot, nor
/// can HEAD, whose answer has no body that could hold a call.
fn suspendable<'a>(gateway: &'a Gateway, session: &Session, policy: Policy) -> Option<&'a Offer> {
    let offer = gateway.exchanges.offer.as_ref().filter(|_| policy.handoff)?;
    let is_upgrade = session.as_downstream().is_upgrade_req();
    let too_large = body::declared_length(session).is_some_and(|length| length > gateway.config.max_body);
    let is_head = session.req_header().method == Method::HEAD;
    (!is_upgrade && !too_large && !is_head).then_some(offer)
}

async fn exchange_for(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    policy: Policy,
    offer: &Offer,
    exchange: &handoff::Exchange,
) -> Ended {
    let request = match read(gateway, session, policy).await {
        Ok(request) => request,
        Err(body::Unread::Refused(reason)) => return Ended::Refused(reason.into()),
        Err(body::Unread::ClientGone) => return Ended::ClientGone,
    };
    context.account.client += context.began.elapsed();
    let running = Box::pin(gateway.exchanges.run(offer, exchange, request, &mut context.account));
    tokio::select! {
        biased;
        ended = running => match ended {
            Ok(answer) => Ended::Answer(answer),
            Err(refused) => Ended::Refused(refused),
        },
        _gone = session.as_downstream_mut().read_body_or_idle(true) => Ended::ClientGone,
    }
}

async fn read(gateway: &Gateway, session: &mut Session, policy: Policy) -> Result<Request, body::Unread> {
    let mut lease = gateway.exchanges.buffers.lease();
    let deadline = Instant::now() + gateway.config.body_timeout;
    let body = body::read(session, gateway.config.max_body, deadline, &mut lease).await?;
    let head = session.req_header();
    let mut headers: HeaderMap = head.headers.clone();
    let client = hygiene::client_address(session);
    hygiene::request(&headers, &head.uri, client.as_deref(), hygiene::is_tls(session)).apply(&mut headers);
    for name in hygiene::connection_headers(&headers) {
        headers.remove(name);
    }
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let method = head.method.clone();
    Ok(Request { method, target, headers, body, lease, class: policy.class, bulkhead: policy.bulkhead })
}

async fn refuse(gateway: &Gateway, session: &mut Session, context: &mut Context, refused: Refused) -> Result<bool> {
    close_if_draining(gateway, session);
    context.stage = Stage::Ended(Outcome::Refused(refused.reason));
    match respond::problem(session, refused, &context.id).await {
        Ok(()) => Ok(true),
        Err(_) => Ok(gone(session, context)),
    }
}

fn gone(session: &mut Session, context: &mut Context) -> bool {
    session.set_keepalive(None);
    context.stage = Stage::Ended(Outcome::ClientGone);
    true
}
