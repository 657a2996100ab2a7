//! Reading a request body whole, within bounds of size, time and memory.

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, Result};
use pingora::protocols::http::ServerSession;

use crate::buffers::{Full, Lease};
use crate::telemetry::Reason;
use crate::time::{Instant, timeout_at};

/// The most that is allocated before anything arrived, in bytes.
const FIRST_BUFFER: usize = 64 * 1024;

/// Why there is no body.
pub(super) enum Unread {
    /// The client is to be told.
    Refused(Reason),
    /// The client left.
    ClientGone,
}

/// The declared length of a body.
pub(super) fn declared_length(session: &ServerSession) -> Option<usize> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether a client sent what is no HTTP, rather than nothing more. Pingora has words for it, not all of which it exports.
pub(super) fn is_malformed(error: &Error) -> bool {
    matches!(error.etype().as_str(), "InvalidHTTPHeader" | "InvalidChunk" | "InvalidTrailerEnd")
}

/// Reads the body, at most `limit` bytes, until `deadline`.
pub(super) async fn read(
    session: &mut ServerSession,
    limit: usize,
    deadline: Instant,
    lease: &mut Lease,
) -> Result<Bytes, Unread> {
    let declared = declared_length(session).unwrap_or_default();
    if declared > limit {
        return Err(Unread::Refused(Reason::BodyTooLarge));
    }
    if declared > 0 || !session.is_body_empty() {
        send_continue(session).await?;
    }
    // Memory is taken as bytes arrive: a declared length costs a client nothing.
    let mut body = BytesMut::with_capacity(declared.min(FIRST_BUFFER));
    loop {
        let chunk = timeout_at(deadline, session.read_request_body())
            .await
            .map_err(|_| Unread::Refused(Reason::BodyTimeout))?
            .map_err(
                |error| if is_malformed(&error) { Unread::Refused(Reason::BadRequest) } else { Unread::ClientGone },
            )?;
        let Some(chunk) = chunk else { return Ok(body.freeze()) };
        if body.len() + chunk.len() > limit {
            return Err(Unread::Refused(Reason::BodyTooLarge));
        }
        lease.grow(chunk.len()).map_err(|Full| Unread::Refused(Reason::BuffersFull))?;
        body.extend_from_slice(&chunk);
    }
}

/// Pingora does this on its own path only.
async fn send_continue(session: &mut ServerSession) -> Result<(), Unread> {
    let expects = session
        .req_header()
        .headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !expects || session.as_http1().is_none() {
        return Ok(());
    }
    let go_on = ResponseHeader::build(StatusCode::CONTINUE, Some(0)).map_err(|_| Unread::ClientGone)?;
    session.write_response_header(Box::new(go_on)).await.map_err(|_| Unread::ClientGone)
}
