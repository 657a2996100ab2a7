//! Requests whose answers are shared: from what is stored, or by one exchange for all.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;

use super::context::Context;
use super::preview::Plan;
use super::{Gateway, buffered, connection, deliver, respond};
use crate::buffers::Lease;
use crate::cache::{CacheStatus, Entry, Rule, is_unchanged};
use crate::exchange::{Meaning, Refused, Shared};
use crate::handoff::Exchange;
use crate::sharing::Answer;
use crate::telemetry::Outcome;
use crate::telemetry::outcome::Mode;
use crate::time::Instant;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A request that was read whole.
pub(super) struct Asked<'a> {
    pub(super) exchange: Exchange,
    pub(super) body: Bytes,
    pub(super) lease: Lease,
    pub(super) plan: Plan<'a>,
    pub(super) rule: &'a Rule,
}

pub(super) async fn run(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    asked: Asked<'_>,
) -> Result<bool> {
    context.account.mode = Mode::Shared;
    let Asked { exchange, body, lease, plan, rule } = asked;
    let meaning = meaning(gateway, session, &body, rule);
    let headers = &session.req_header().headers;
    if let Some(stored) = gateway.exchanges.sharing.fresh(&meaning.key, &meaning.policy, headers) {
        return answered(gateway, session, context, (stored, None)).await;
    }
    let conditions = session.req_header().headers.clone();
    let Ok(request) = buffered::take_request(session, body, lease, plan.policy) else {
        return Ok(respond::gone(session, context));
    };
    let shared = Shared { meaning, rule, exchange, is_offered: plan.offer.is_some(), request };
    let running = Box::pin(buffered::contained(gateway.exchanges.run_shared(shared)));
    let ended = tokio::select! {
        biased;
        ended = running => ended,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match ended {
        Ok(answer) => answered(gateway, session, context, (answer, Some(conditions))).await,
        Err(refused) => respond::refuse(gateway, session, context, refused).await,
    }
}

fn meaning(gateway: &Gateway, session: &ServerSession, body: &Bytes, rule: &Rule) -> Meaning {
    let head = session.req_header();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    Meaning::of(rule, (&head.method, target, &head.headers), body, &gateway.exchanges)
}

/// `headers` are the request's where the session has them no more.
async fn answered(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    (answer, headers): (Answer<Refused>, Option<HeaderMap>),
) -> Result<bool> {
    connection::close_if_draining(gateway, session);
    let outcome = match answer {
        Answer::Stored { entry, status } => {
            let is_unchanged = is_unchanged(headers.as_ref().unwrap_or(&session.req_header().headers), &entry.headers);
            stored(session, &entry, status, is_unchanged).await
        }
        Answer::Live { head, mut reader, status } => {
            let mut delivered = head.headers;
            delivered.insert(CACHE_STATUS, status.value(None));
            match deliver::head(session, head.status, &delivered) {
                Ok(head) => deliver::streamed(session, head, &mut reader).await,
                Err(_) => Outcome::ClientGone,
            }
        }
    };
    buffered::ended(context, outcome)
}

async fn stored(session: &mut ServerSession, entry: &Arc<Entry>, found: CacheStatus, is_unchanged: bool) -> Outcome {
    let (status, body) =
        if is_unchanged { (StatusCode::NOT_MODIFIED, Bytes::new()) } else { (entry.status, entry.body.clone()) };
    match stored_head(entry, found, status, body.len()) {
        Ok(head) => deliver::whole(session, head, body).await,
        Err(_) => Outcome::ClientGone,
    }
}

fn stored_head(entry: &Entry, found: CacheStatus, status: StatusCode, length: usize) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(entry.headers.len() + 3))?;
    for (name, value) in entry.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        head.append_header(name.clone(), value.clone())?;
    }
    head.insert_header(AGE, HeaderValue::from(entry.age(Instant::now()).as_secs()))?;
    head.insert_header(CACHE_STATUS, found.value(None))?;
    if status != StatusCode::NOT_MODIFIED {
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(head)
}
