//! An answer on its way to the client, whoever gave it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;

use super::hygiene;
use crate::coalesce::{End, Reader};
use crate::exchange::{self, Answer, Broken, Refused};
use crate::hop_by_hop;
use crate::sharing::Head;
use crate::telemetry::Outcome;

/// A body as it comes.
pub(super) trait Pieces {
    /// The next piece; `None` at the end, an error when the body broke off.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Option<Result<Bytes, Broken>>;
}

impl Pieces for exchange::Body {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        self.next().await
    }
}

impl Pieces for Reader<Head, Refused> {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        match self.next().await {
            Ok(bytes) => Some(Ok(bytes)),
            Err(End::Complete) => None,
            Err(End::Failed(_) | End::Abandoned) => Some(Err(Broken)),
        }
    }
}

/// Delivers an exchange's answer.
pub(super) async fn run(session: &mut ServerSession, answer: &mut Answer) -> Outcome {
    let Ok(head) = head(session, answer.status, &answer.headers) else { return Outcome::ClientGone };
    streamed(session, head, &mut answer.body).await
}

/// Writes head and body. A body that breaks off is never made to look complete: the connection is closed without the
/// last chunk. A client that leaves while there is nothing to write is noticed.
pub(super) async fn streamed(session: &mut ServerSession, head: ResponseHeader, body: &mut impl Pieces) -> Outcome {
    let has_body = has_body(&session.req_header().method, head.status);
    let mut missing = length(&head).filter(|_| has_body);
    if session.write_response_header(Box::new(head)).await.is_err() {
        return Outcome::ClientGone;
    }
    loop {
        let piece = tokio::select! {
            biased;
            piece = body.next() => piece,
            _gone = session.read_body_or_idle(true) => return Outcome::ClientGone,
        };
        match piece {
            None => break,
            Some(Ok(bytes)) if has_body => {
                missing = missing.map(|missing| missing.saturating_sub(bytes.len()));
                if session.write_response_body(bytes, false).await.is_err() {
                    return Outcome::ClientGone;
                }
                if missing == Some(0) {
                    break; // a client that has everything may leave
                }
            }
            Some(Ok(_)) => {}
            Some(Err(Broken)) => {
                session.set_keepalive(None);
                return Outcome::Interrupted;
            }
        }
    }
    ended(session.write_response_body(Bytes::new(), true).await)
}

/// The most that is written at once: a client has the write time-out for each piece.
const PIECE: usize = 64 * 1024;

/// Writes a head and a body that is here already.
pub(super) async fn whole(session: &mut ServerSession, head: ResponseHeader, mut body: Bytes) -> Outcome {
    if session.write_response_header(Box::new(head)).await.is_err() {
        return Outcome::ClientGone;
    }
    while body.len() > PIECE {
        if session.write_response_body(body.split_to(PIECE), false).await.is_err() {
            return Outcome::ClientGone;
        }
    }
    ended(session.write_response_body(body, true).await)
}

fn length(head: &ResponseHeader) -> Option<usize> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn ended(written: Result<()>) -> Outcome {
    if written.is_ok() { Outcome::Answered } else { Outcome::ClientGone }
}

/// The head of an answer, without what is for one connection or for Siding only, and with its framing.
pub(super) fn head(session: &ServerSession, status: StatusCode, headers: &HeaderMap) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(headers.len() + 2))?;
    let dropped = hop_by_hop::names(headers);
    for (name, value) in headers {
        if !dropped.contains(name) && !hygiene::is_internal(name) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    if needs_chunks(session, status, headers) {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(head)
}

/// Framing is ours on HTTP/1.1. HTTP/1.0 clients read to the end of the connection; HTTP/2 frames by itself.
fn needs_chunks(session: &ServerSession, status: StatusCode, headers: &HeaderMap) -> bool {
    let request = session.req_header();
    session.as_http1().is_some()
        && request.version == Version::HTTP_11
        && has_body(&request.method, status)
        && !headers.contains_key(header::CONTENT_LENGTH)
}

/// RFC 9112, section 6.3.
fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD && may_have_content(status)
}

/// Whether an answer with this status can have a body, and a length of it.
pub(super) fn may_have_content(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}
