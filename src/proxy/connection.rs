//! A client's connection: how long it is kept and how long one operation on it may take.

use bytes::BytesMut;
use http::Version;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;

use super::Gateway;
use crate::hop_by_hop;
use crate::time::Duration;

/// The longest silence while a request is read, per read; the body has a deadline besides.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the rest of a body that the app did not read is read and dropped, so that the client sees the answer
/// rather than a reset.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A request's session on a connection, of which `read` was read already, and which may be silent for so long.
pub(super) fn session(stream: Stream, read: BytesMut, silence: Duration) -> Box<ServerSession> {
    let mut session = Box::new(ServerSession::new_http1(stream));
    session.set_keepalive(Some(silence.as_secs()));
    session.set_pipelined_prefix(read);
    session
}

/// The connection after a request, with what was read of the next one. `None` when it is not to be used again.
pub(super) async fn after(session: Box<ServerSession>) -> Option<(Stream, BytesMut)> {
    let (stream, next) = session.finish().await.ok()??.into_parts();
    Some((stream, next.unwrap_or_default()))
}

/// Per-request settings without which connections would live for ever or a pipelining client would break a
/// healthy wait.
pub(super) fn settle(gateway: &Gateway, session: &mut ServerSession) {
    let config = &gateway.config;
    let keepalive = (!gateway.drain.is_draining() && may_keep_alive(session)).then_some(config.keepalive.as_secs());
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

/// Clients before HTTP/1.1 must ask for it (RFC 9112, section 9.3); `Connection: close` is Pingora's business.
fn may_keep_alive(session: &ServerSession) -> bool {
    let request = session.req_header();
    let mut options = hop_by_hop::connection_options(&request.headers);
    request.version > Version::HTTP_10 || options.any(|option| option.eq_ignore_ascii_case("keep-alive"))
}
