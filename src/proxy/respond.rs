//! The one place that turns reasons into HTTP replies: a status, an RFC 9457 problem document that says what
//! to do, and `Retry-After` where coming back helps. Those who called as they would a provider find in the same document
//! what a provider's SDK shows of an error.
#![deny(clippy::wildcard_enum_match_arm)]

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::context::{Context, Stage};
use super::{Gateway, connection};
use crate::exchange::Refused;
use crate::telemetry::outcome::Mode;
use crate::telemetry::{Outcome, Reason};
use crate::time::Duration;

/// What a client is told where the queue does not say when to come back.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The stable prefix of problem types; the reason's word follows.
pub const PROBLEM_TYPE: &str = "urn:siding:problem:";

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    exchange: &'a str,
    /// So that a user's report finds its trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProviderError>,
}

/// An error as OpenAI's and Anthropic's SDKs read it.
#[derive(Serialize)]
struct ProviderError {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
}

/// Answers in the app's place.
pub(super) async fn refuse(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    refused: Refused,
) -> Result<bool> {
    connection::close_if_draining(gateway, session);
    context.stage = Stage::Ended(Outcome::Refused(refused.reason));
    match problem(session, refused, &context.id, Some(context)).await {
        Ok(()) => Ok(true),
        Err(_) => Ok(gone(session, context)),
    }
}

/// Notes that there is nobody to answer.
pub(super) fn gone(session: &mut ServerSession, context: &mut Context) -> bool {
    session.set_keepalive(None);
    context.stage = Stage::Ended(Outcome::ClientGone);
    true
}

/// Answers a request that the app does not answer. The connection stays usable unless part of the request's
/// body is still unread. `context` is that of the request which is refused, if it is this client's own.
///
/// # Errors
/// Fails when the client has left.
pub(super) async fn problem(
    session: &mut ServerSession,
    refused: Refused,
    exchange: &str,
    context: Option<&Context>,
) -> Result<()> {
    let (status, title, detail) = describe(refused.reason);
    let code = refused.reason.as_str();
    let called = context.is_some_and(|context| matches!(context.account.mode, Mode::Egress | Mode::Terminate));
    let error = called.then(|| ProviderError { message: format!("{title}. {detail}"), kind: error_type(status), code });
    let kind = format!("{PROBLEM_TYPE}{code}");
    let trace_id = context.and_then(|context| context.account.trace.trace_id()).map(|trace| trace.to_string());
    let problem = Problem { kind, title, status: status.as_u16(), detail, exchange, trace_id, error };
    let body = serde_json::to_vec(&problem).expect("strings always serialise");
    let mut head = ResponseHeader::build(status, Some(5))?;
    for (name, value) in
        context.and_then(|context| context.granted.as_ref()).iter().flat_map(|granted| &granted.headers)
    {
        head.append_header(name.clone(), value.clone())?; // or no browser lets its page read the rest
    }
    head.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        head.insert_header(header::ALLOW, "GET, HEAD, DELETE")?;
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        let after = refused.retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
        head.insert_header(header::RETRY_AFTER, after.as_secs_f64().ceil() as u64)?;
    }
    if !session.is_body_done() || refused.reason == Reason::BadRequest {
        session.set_keepalive(None);
    }
    let is_head = session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(head)).await?;
    session.write_response_body(if is_head { Bytes::new() } else { body.into() }, true).await
}

/// Why a client gets no further than to be told so: its request was not read.
#[derive(Clone, Copy, Debug)]
pub(super) enum TurnedAway {
    /// The head has no end.
    LongHead,
    /// Too few descriptors are left.
    Crowd,
}

/// The whole answer to a client that is turned away.
pub(super) fn turned_away(why: TurnedAway) -> Vec<u8> {
    let (status, code, title, detail) = match why {
        TurnedAway::LongHead => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "Request head too large",
            "Send a shorter target and fewer or shorter headers: together at most 32 KiB.",
        ),
        TurnedAway::Crowd => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-clients",
            "Too many clients",
            "Come back after Retry-After, or ask the operator to raise the limit of open files.",
        ),
    };
    let kind = format!("{PROBLEM_TYPE}{code}");
    let problem = Problem { kind, title, status: status.as_u16(), detail, exchange: "", trace_id: None, error: None };
    let body = serde_json::to_vec(&problem).expect("strings always serialise");
    let retry = if status.is_server_error() { "Retry-After: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{retry}Connection: close\r\n\r\n",
        body.len(),
    );
    [head.into_bytes(), body].concat()
}

/// Anthropic's word for an error, which OpenAI's SDK takes too.
fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The status of the answer for a reason.
pub(super) fn status(reason: Reason) -> StatusCode {
    describe(reason).0
}

/// Status, title, and what to do.
#[expect(clippy::too_many_lines, reason = "one row per reason, exhaustive on purpose")]
fn describe(reason: Reason) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match reason {
        Reason::BadRequest => (
            S::BAD_REQUEST,
            "Bad request",
            "The request must name its host and a valid target, and say in one way where its body ends.",
        ),
        Reason::BodyTooLarge => (
            S::PAYLOAD_TOO_LARGE,
            "Request body too large",
            "Send Content-Length so that the body can be streamed, or ask the operator to raise server.max_body.",
        ),
        Reason::BodyTimeout => {
            (S::REQUEST_TIMEOUT, "Request body too slow", "The body did not arrive in time. Send it again.")
        }
        Reason::QueueFull => (S::SERVICE_UNAVAILABLE, "Too many requests wait", "Come back after Retry-After."),
        Reason::QueueTimeout => {
            (S::SERVICE_UNAVAILABLE, "No worker became free in time", "Come back after Retry-After.")
        }
        Reason::QueueHopeless => (S::SERVICE_UNAVAILABLE, "The wait would be too long", "Come back after Retry-After."),
        Reason::BuffersFull => {
            (S::SERVICE_UNAVAILABLE, "No memory for another request", "Come back after Retry-After.")
        }
        Reason::Draining => (
            S::SERVICE_UNAVAILABLE,
            "Shutting down",
            "This process is being replaced. Send the request again; finished LLM calls need not be repeated by you.",
        ),
        Reason::BackendConnect => {
            (S::BAD_GATEWAY, "The app does not accept connections", "Nothing was done. Send the request again.")
        }
        Reason::BackendClosed => (
            S::BAD_GATEWAY,
            "The app broke off",
            "The worker ended before it answered. Check whether the request had an effect before sending it again.",
        ),
        Reason::BackendTimeout => (
            S::GATEWAY_TIMEOUT,
            "The app did not answer in time",
            "Check whether the request had an effect before sending it again.",
        ),
        Reason::BackendProtocol => {
            (S::BAD_GATEWAY, "The app's answer is not HTTP", "Tell the operator; the log has the cause.")
        }
        Reason::HandoffInvalid => {
            (S::BAD_GATEWAY, "The app's call was refused", "Tell the operator; the log has the cause.")
        }
        Reason::HandoffUnsupported => (
            S::BAD_GATEWAY,
            "The app speaks another version of the hand-off",
            "Tell the operator to install matching versions of siding and django-siding.",
        ),
        Reason::HandoffOrigin => (
            S::BAD_GATEWAY,
            "The app's call went to an unknown address",
            "Tell the operator; only configured providers are called.",
        ),
        Reason::HandoffLimit => {
            (S::BAD_GATEWAY, "The app's call exceeds a limit", "Tell the operator; the log names the limit.")
        }
        Reason::HandoffPassLimit => (
            S::INTERNAL_SERVER_ERROR,
            "The app asked for too many calls in turn",
            "Tell the operator; the log names the call sites, handoff.max_passes is the limit.",
        ),
        Reason::HandoffUnexpected => {
            (S::BAD_GATEWAY, "The app handed over a call on a route without hand-off", "Tell the operator.")
        }
        Reason::NotCached => (
            S::GATEWAY_TIMEOUT,
            "Nothing is stored for this request",
            "Send it without only-if-cached to have it answered.",
        ),
        Reason::ProviderUnknown => (
            S::NOT_FOUND,
            "No such provider",
            "The first segment of the path must be the name of a provider in the configuration.",
        ),
        Reason::ProviderFailed => (
            S::BAD_GATEWAY,
            "The provider could not be reached or broke off",
            "It was tried again already. Come back later.",
        ),
        Reason::ProviderUnavailable => (
            S::SERVICE_UNAVAILABLE,
            "The provider is not asked at the moment",
            "It failed too often, or too many calls wait for it. Come back after Retry-After.",
        ),
        Reason::ProviderTimeout => {
            (S::GATEWAY_TIMEOUT, "The provider took too long", "It was tried again already. Come back later.")
        }
        Reason::AuthorizationInvalid => (
            S::BAD_GATEWAY,
            "The app did not say clearly whether this call may be made",
            "Tell the operator; the log has the cause.",
        ),
        Reason::ModelNotAllowed => {
            (S::FORBIDDEN, "You may not call this model", "Name one model that you may call, once and in plain ASCII.")
        }
        Reason::OutputLimit => (
            S::BAD_REQUEST,
            "More output than you may ask for",
            "Ask for fewer output tokens or fewer answers, as a positive whole number, or leave the number out.",
        ),
        Reason::UserLimit => (
            S::TOO_MANY_REQUESTS,
            "You have as many calls under way as you may",
            "Wait until one of them has ended, or come back after Retry-After.",
        ),
        Reason::Deadline => (
            S::GATEWAY_TIMEOUT,
            "The request took too long",
            "Send it again; finished LLM calls may not be repeated by the provider for free.",
        ),
        Reason::TooManyJobs => {
            (S::SERVICE_UNAVAILABLE, "Too many jobs are under way", "Nothing was done. Come back after Retry-After.")
        }
        Reason::JobUnknown => (
            S::NOT_FOUND,
            "No such job",
            "It never was, was removed, was kept for long enough, or is not yours: ask with the credentials that began it.",
        ),
        Reason::WebPage => {
            (S::FORBIDDEN, "Not for web pages", "Only programs may call providers here. Let a page ask the app.")
        }
        Reason::JobMethod => (S::METHOD_NOT_ALLOWED, "Not a method for jobs", "Use GET, HEAD or DELETE."),
        Reason::ResultTooLarge => (
            S::BAD_GATEWAY,
            "The answer is too large to be kept",
            "The request was carried out. Send it without Prefer, or ask the operator to raise background.max_result or capacity.",
        ),
        Reason::Internal => (S::INTERNAL_SERVER_ERROR, "Internal error", "Tell the operator; the log has the cause."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_an_error_and_says_what_to_do() {
        for reason in Reason::ALL {
            let (status, title, detail) = describe(reason);
            assert!(status.is_client_error() || status.is_server_error(), "{reason:?}");
            assert!(!title.is_empty() && detail.ends_with('.'), "{reason:?}");
        }
    }
}
