//! Requests whose answers are shared: from what is stored, or by one exchange for all.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH};
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
    let Ok(request) = buffered::take_request(gateway, session, body, lease, plan.policy) else {
        return Ok(respond::gone(session, context));
    };
    let meaning = Meaning::of(rule, &request, &gateway.exchanges);
    let bytes = context.bytes.take();
    if let Some(stored) = gateway.exchanges.sharing.fresh(&meaning.key, &meaning.policy, &request.headers) {
        if let Some(bytes) = bytes.filter(|_| conditions(&request.headers).is_empty()) {
            gateway.exchanges.sharing.common.remember(bytes, meaning.key, &meaning.policy);
        }
        return answered(gateway, session, context, stored, &request.headers).await;
    }
    drop(bytes);
    let conditions = conditions(&request.headers);
    let trace = context.account.trace;
    let shared = Shared { meaning, rule, exchange, is_offered: plan.offer.is_some(), request, trace, observer: None };
    let running = Box::pin(buffered::contained(gateway.exchanges.run_shared(shared)));
    let ended = tokio::select! {
        biased;
        ended = running => ended,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match ended {
        Ok(answer) => answered(gateway, session, context, answer, &conditions).await,
        Err(refused) => respond::refuse(gateway, session, context, refused).await,
    }
}

fn conditions(headers: &HeaderMap) -> HeaderMap {
    let names = [IF_NONE_MATCH, IF_MODIFIED_SINCE];
    names.iter().flat_map(|name| headers.get_all(name).iter().map(|value| (name.clone(), value.clone()))).collect()
}

async fn answered(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    answer: Answer<Refused>,
    conditions: &HeaderMap,
) -> Result<bool> {
    connection::close_if_draining(gateway, session);
    let (Answer::Stored { status: found, .. } | Answer::Live { status: found, .. }) = &answer;
    context.span.set("siding.cache.result", found.as_str());
    let outcome = match answer {
        Answer::Stored { entry, status } => {
            stored(session, &entry, status, is_unchanged(conditions, &entry.headers)).await
        }
        Answer::Live { head, mut reader, status } => {
            match deliver::head(session, head.status, &head.headers_for(status)) {
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
    for (name, value) in entry.replayed(found).iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        head.append_header(name.clone(), value.clone())?;
    }
    if deliver::may_have_content(status) {
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(head)
}
