//! A client's connection: the wait for a request on it, how long it is kept, and how long one operation on it may take.

use bytes::BytesMut;
use http::Version;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Gateway;
use super::preview::Glimpse;
use super::respond::{self, TurnedAway};
use crate::drain::Drain;
use crate::hop_by_hop;
use crate::time::{Duration, timeout};

/// How long a new connection may be silent.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(60);
/// From the first byte of a request to the end of its head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Room for a head at first, in bytes. It stays with the request.
const HEAD_BUFFER: usize = 2048;
/// The longest head that is read, in bytes: heads come before any bound of memory, and app servers take no longer ones.
const LONGEST_HEAD: usize = 32 * 1024;
/// The longest silence while a request is read, per read; the body has a deadline besides.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the rest of a body that the app did not read is read and dropped, so that the client sees the answer
/// rather than a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long somebody who sends a head without end may take to read why that is not read.
const PARTING: Duration = Duration::from_secs(1);

/// A connection between two requests, with what was read of the next one.
pub(super) type Between = (Stream, BytesMut);

/// Reads a request's head, at least as far as it can be judged. `false` when there is none to come: the client left,
/// was silent for too long, or this process is at its end.
pub(super) async fn arrives(stream: &mut Stream, head: &mut BytesMut, silence: Duration, drain: &Drain) -> bool {
    if head.is_empty() {
        head.reserve(HEAD_BUFFER);
        let began = tokio::select! {
            biased;
            read = timeout(silence, stream.read_buf(head)) => matches!(read, Ok(Ok(1..))),
            () = drain.is_over() => false,
        };
        if !began {
            return false;
        }
    }
    let goes_on = async {
        while Glimpse::of(head) == Glimpse::Partial {
            if head.len() >= LONGEST_HEAD {
                turn_away(stream, TurnedAway::LongHead, PARTING).await;
                return false;
            }
            if !matches!(stream.read_buf(head).await, Ok(1..)) {
                return false;
            }
        }
        true
    };
    timeout(HEAD_TIMEOUT, goes_on).await.unwrap_or(false)
}

/// Answers without having read a request. What the client goes on to send is dropped for as long as `patience` lasts, so
/// that it sees the answer rather than a reset.
pub(super) async fn turn_away(stream: &mut Stream, why: TurnedAway, patience: Duration) {
    let told = async {
        stream.write_all(&respond::turned_away(why)).await?;
        AsyncWriteExt::shutdown(stream).await?;
        let mut dropped = BytesMut::new();
        while stream.read_buf(&mut dropped).await? > 0 {
            dropped.clear();
        }
        std::io::Result::Ok(())
    };
    // A client that has left needs no answer.
    let _ = timeout(patience, told).await;
}

/// A request's session on a connection, of which `read` was read already.
pub(super) fn session((stream, read): Between) -> Box<ServerSession> {
    let mut session = Box::new(ServerSession::new_http1(stream));
    session.set_keepalive(Some(FIRST_REQUEST.as_secs()));
    session.set_pipelined_prefix(read);
    session
}

/// The connection after a request, with what was read of the next one. `None` when it is not to be used again.
pub(super) async fn after(session: Box<ServerSession>) -> Option<Between> {
    let (stream, next) = session.finish().await.ok()??.into_parts();
    Some((stream, next.unwrap_or_default()))
}

/// Per-request settings without which connections would live for ever or a pipelining client would break a
/// healthy wait.
pub(super) fn settle(gateway: &Gateway, session: &mut ServerSession) {
    let config = &gateway.config;
    let may_be_kept = !gateway.drain.is_draining() && may_keep_alive(session);
    let keepalive = may_be_kept.then_some(config.keepalive.as_secs());
    session.set_keepalive(keepalive.filter(|&seconds| seconds > 0));
    session.set_read_timeout(Some(READ_TIMEOUT));
    session.set_write_timeout(Some(config.write_timeout));
    session.set_pipelining_enabled(true);
    // Or a `100 Continue` would close the connection after its answer, like any answer before the body was read.
    session.set_close_on_response_before_downstream_finish(false);
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// A shutdown may have begun since the connection was settled.
pub(super) fn close_if_draining(gateway: &Gateway, session: &mut ServerSession) {
    if gateway.drain.is_draining() {
        session.set_keepalive(None);
    }
}

/// Clients before HTTP/1.1 must ask for it (RFC 9112, section 9.3). Where Pingora has decided against it, the client wants
/// no more, or the request was framed in two ways, whose end another reader may see elsewhere (section 6.1).
fn may_keep_alive(session: &ServerSession) -> bool {
    let request = session.req_header();
    let mut options = hop_by_hop::connection_options(&request.headers);
    match request.version {
        Version::HTTP_11 => session.get_keepalive().is_some(),
        version => version > Version::HTTP_11 || options.any(|option| option.eq_ignore_ascii_case("keep-alive")),
    }
}
