//! Requests about jobs: how they stand, their answers, their events, their end.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::context::Context;
use super::deliver::Pieces;
use super::{Gateway, buffered, connection, deliver, request, respond};
use crate::background::{
    Answer, Caller, Cursor, Distant, Ended, Ending, Events, Finished, Found, Got, Job, Preferences, Refusal, Snapshot,
    Text, rfc3339,
};
use crate::exchange::{Broken, Refused};
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Outcome, Reason};
use crate::time::{Duration, timeout};

/// When to ask again, in seconds.
const ASK_AGAIN: u64 = 1;
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";
/// With these an answer would be kept on its way by whom its owner does not know.
const CACHING: [HeaderName; 5] = [
    CACHE_CONTROL,
    EXPIRES,
    AGE,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
];

/// How a job stands, as clients read it.
#[derive(Serialize)]
struct Standing<'a> {
    id: &'a str,
    status: &'static str,
    location: &'a str,
    created: String,
    passes: u32,
    calls: u32,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Text>,
}

/// Answers a request whose path is that of a job.
pub(super) async fn run(gateway: &Gateway, session: &mut ServerSession, context: &mut Context) -> Result<bool> {
    context.account.mode = Mode::Jobs;
    context.needs_no_app(); // the job itself may
    let accepted = request::accept(gateway, session, context);
    let id = gateway.job_in(session.req_header().uri.path()).unwrap_or_default().to_owned();
    keep_out_of_the_log(gateway, session);
    if let Err(refused) = accepted {
        return respond::refuse(gateway, session, context, refused).await;
    }
    // Whatever body there is means nothing, but the connection stays usable.
    match buffered::read(gateway, session).await {
        Ok(_) => {}
        Err(super::body::Unread::Refused(reason)) => {
            return respond::refuse(gateway, session, context, reason.into()).await;
        }
        Err(super::body::Unread::ClientGone) => return Ok(respond::gone(session, context)),
    }
    let head = session.req_header();
    let method = head.method.clone();
    let found = gateway.jobs.find(&id, &head.headers).await;
    let Some(found) = found else { return unknown(gateway, session, context).await };
    match method {
        Method::GET | Method::HEAD => tell(gateway, session, context, found).await,
        Method::DELETE => {
            gateway.jobs.remove(&found).await;
            gateway.jobs.got(Got::Deleted);
            let head = ResponseHeader::build(StatusCode::NO_CONTENT, Some(1))?;
            send(gateway, session, context, head, Bytes::new()).await
        }
        _ => respond::refuse(gateway, session, context, Reason::JobMethod.into()).await,
    }
}

/// The identity of a job may be its only secret, and the access log has the path, however the request ends.
fn keep_out_of_the_log(gateway: &Gateway, session: &mut ServerSession) {
    let path = format!("{}/...", gateway.jobs.config().path);
    if let Ok(uri) = path.parse() {
        session.req_header_mut().set_uri(uri);
    }
}

async fn unknown(gateway: &Gateway, session: &mut ServerSession, context: &mut Context) -> Result<bool> {
    gateway.jobs.got(Got::Unknown);
    respond::refuse(gateway, session, context, Reason::JobUnknown.into()).await
}

/// How long a client would wait, as far as that is allowed.
pub(super) fn patience(gateway: &Gateway, preferences: &Preferences) -> Option<Duration> {
    let wait = preferences.wait?.min(gateway.jobs.config().max_wait);
    (!wait.is_zero()).then_some(wait)
}

async fn tell(gateway: &Gateway, session: &mut ServerSession, context: &mut Context, found: Found) -> Result<bool> {
    let headers = &session.req_header().headers;
    if session.req_header().method == Method::GET && wants_events(headers) {
        return events(gateway, session, context, found).await;
    }
    let wait = patience(gateway, &Preferences::of(headers));
    let job = match found {
        Found::Finished(finished) => return result(gateway, session, context, &finished, wait).await,
        Found::Distant(distant) => return tell_of_distant(gateway, session, context, &distant, wait).await,
        Found::Job(job) => job,
    };
    if let Some(wait) = wait {
        // Whether it ended is asked below.
        tokio::select! {
            biased;
            _ = timeout(wait, job.ended()) => {}
            _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
        }
    }
    match job.snapshot() {
        Ok(snapshot) => pending(gateway, session, context, &job, snapshot, wait).await,
        Err(Ending::Finished(finished)) => result(gateway, session, context, &finished, wait).await,
        Err(Ending::Cancelled) => unknown(gateway, session, context).await,
    }
}

/// Of a job in another process.
async fn tell_of_distant(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    distant: &Distant,
    wait: Option<Duration>,
) -> Result<bool> {
    if let Some(period) = wait {
        tokio::select! {
            biased;
            ended = distant.ended(period) => if let Some(finished) = ended {
                return result(gateway, session, context, &finished, wait).await;
            },
            _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
        }
    }
    let Distant { id, created, phase, passes, calls, bytes, .. } = distant;
    let location = gateway.jobs.location(id);
    let (status, created) = (phase.as_str(), rfc3339(*created));
    let (passes, calls, bytes) = (*passes, *calls, *bytes);
    let standing = Standing { id, status, location: &location, created, passes, calls, bytes, output: None };
    stands(gateway, session, context, &standing, wait).await
}

/// Tells a client of its new job.
pub(super) async fn accepted(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    caller: Caller,
) -> Result<bool> {
    caller.tell_others().await;
    let job = caller.job();
    let location = gateway.jobs.location(&job.id);
    let status = job.snapshot().map_or("done", |snapshot| snapshot.phase.as_str());
    let body = serde_json::json!({"id": job.id, "status": status, "location": location}).to_string();
    let mut head = standing_head(body.len())?;
    head.insert_header(LOCATION, location)?;
    head.insert_header(PREFERENCE_APPLIED, "respond-async")?;
    send(gateway, session, context, head, body.into()).await
}

/// A job is still under way.
async fn pending(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    job: &Job,
    snapshot: Snapshot,
    wait: Option<Duration>,
) -> Result<bool> {
    let Snapshot { phase, passes, calls, bytes, output } = snapshot;
    let (id, location, created) = (&job.id, &gateway.jobs.location(&job.id), rfc3339(job.created));
    let standing = Standing { id, status: phase.as_str(), location, created, passes, calls, bytes, output };
    stands(gateway, session, context, &standing, wait).await
}

async fn stands(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    standing: &Standing<'_>,
    wait: Option<Duration>,
) -> Result<bool> {
    gateway.jobs.got(Got::Pending);
    let body = serde_json::to_vec(standing).expect("strings and numbers always serialise");
    let mut head = standing_head(body.len())?;
    applied(&mut head, wait)?;
    send(gateway, session, context, head, body.into()).await
}

fn standing_head(length: usize) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::ACCEPTED, Some(7))?;
    head.insert_header(CONTENT_TYPE, "application/json")?;
    head.insert_header(CONTENT_LENGTH, length)?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(RETRY_AFTER, ASK_AGAIN)?;
    Ok(head)
}

fn applied(head: &mut ResponseHeader, wait: Option<Duration>) -> Result<()> {
    match wait {
        Some(wait) => head.insert_header(PREFERENCE_APPLIED, format!("wait={}", wait.as_secs())),
        None => Ok(()),
    }
}

/// A job's answer, as its client would have got it.
pub(super) async fn result(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    finished: &Finished,
    wait: Option<Duration>,
) -> Result<bool> {
    gateway.jobs.got(Got::Result);
    match &finished.ended {
        Ended::Refused(Refusal { reason, retry_after, .. }) => {
            connection::close_if_draining(gateway, session);
            let refused = Refused { reason: *reason, retry_after: *retry_after };
            let told = respond::problem(session, refused, &finished.exchange, None).await;
            buffered::ended(context, if told.is_ok() { Outcome::Answered } else { Outcome::ClientGone })
        }
        Ended::Answered(Answer { status, headers, body }) => {
            let mut headers: HeaderMap = headers.clone();
            CACHING.iter().for_each(|name| {
                headers.remove(name);
            });
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.remove(CONTENT_LENGTH);
            if deliver::may_have_content(*status) {
                headers.insert(CONTENT_LENGTH, body.len().into());
            }
            let mut head = deliver::head(session, *status, &headers)?;
            applied(&mut head, wait)?;
            send(gateway, session, context, head, body.clone()).await
        }
    }
}

async fn send(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    head: ResponseHeader,
    body: Bytes,
) -> Result<bool> {
    connection::close_if_draining(gateway, session);
    let is_head = session.req_header().method == Method::HEAD;
    let outcome = deliver::whole(session, head, if is_head { Bytes::new() } else { body }).await;
    buffered::ended(context, outcome)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = ranges.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    ranges.any(|range| range.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

impl Pieces for Events {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        self.next().await.map(Ok)
    }
}

/// A job's events, from where the client was told it stands.
async fn events(gateway: &Gateway, session: &mut ServerSession, context: &mut Context, found: Found) -> Result<bool> {
    gateway.jobs.got(Got::Events);
    let named = session.req_header().headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let cursor: Cursor = named.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    if cursor.is_at_end() {
        // Browsers come back for ever unless they are told that there is nothing more.
        let head = ResponseHeader::build(StatusCode::NO_CONTENT, Some(1))?;
        return send(gateway, session, context, head, Bytes::new()).await;
    }
    let mut events = match found {
        Found::Job(job) => Events::of(job, cursor),
        Found::Distant(distant) => Events::of_distant(distant, cursor),
        Found::Finished(finished) => Events::of_finished(Arc::clone(&finished), cursor),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx holds answers back otherwise.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    connection::close_if_draining(gateway, session);
    let head = deliver::head(session, StatusCode::OK, &headers.into_iter().collect())?;
    let outcome = deliver::streamed(session, head, &mut events).await;
    buffered::ended(context, outcome)
}
