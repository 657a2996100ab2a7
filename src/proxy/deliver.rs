//! The app's answer on its way to the client.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;

use super::hygiene;
use crate::backend::Answer;
use crate::hop_by_hop;
use crate::telemetry::Outcome;

/// Writes head and body. A body that breaks off is never made to look complete: the connection is closed
/// without the last chunk.
pub(super) async fn run(session: &mut ServerSession, mut answer: Answer) -> Outcome {
    let Ok(head) = head(session, &answer) else { return Outcome::ClientGone };
    if session.write_response_header(Box::new(head)).await.is_err() {
        return Outcome::ClientGone;
    }
    let has_body = has_body(&session.req_header().method, answer.status);
    while let Some(chunk) = answer.body.next().await {
        match chunk {
            Ok(bytes) if has_body => {
                if session.write_response_body(bytes, false).await.is_err() {
                    return Outcome::ClientGone;
                }
            }
            Ok(_) => {}
            Err(_) => {
                session.set_keepalive(None);
                return Outcome::Interrupted;
            }
        }
    }
    match session.write_response_body(Bytes::new(), true).await {
        Ok(()) => Outcome::Answered,
        Err(_) => Outcome::ClientGone,
    }
}

fn head(session: &ServerSession, answer: &Answer) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(answer.status, Some(answer.headers.len() + 1))?;
    let dropped = hop_by_hop::names(&answer.headers);
    for (name, value) in &answer.headers {
        if !dropped.contains(name) && !hygiene::is_internal(name) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    if needs_chunks(session, answer.status, &answer.headers) {
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
    method != Method::HEAD && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}
