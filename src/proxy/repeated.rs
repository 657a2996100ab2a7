//! Requests that came before, byte for byte, and were answered from what is stored: answered again without being read a
//! second time. Whatever else such a request depends on than its bytes (another address, a shutdown, a connection that
//! is to be closed, an answer that varies) sends it the long way.

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::preview::{Plan, Preview};
use super::{Gateway, deliver, span};
use crate::cache::{CacheStatus, Entry};
use crate::exchange::Account;
use crate::route::Policy;
use crate::telemetry::Outcome;
use crate::telemetry::access_log::{self, Line};
use crate::telemetry::outcome::Mode;
use crate::time::{Duration, Instant, timeout};

/// The longest request, head and body, that is looked at as a whole, in bytes.
const LONGEST: usize = 64 * 1024;
/// How long the rest of a request may take.
const A_MOMENT: Duration = Duration::from_millis(100);
/// Bytes of a buffer that a connection keeps between two requests.
const ROOM_BETWEEN: usize = 32 * 1024;
/// Room for an answer's head at first, in bytes.
const HEAD_BUFFER: usize = 512;

/// What became of a request.
pub(super) enum Repeated {
    /// It was answered, and taken off the buffer.
    Answered,
    /// The client is gone.
    Gone,
    /// It goes the long way. Here are its bytes, if it is to be remembered.
    New(Option<Bytes>),
}

/// A request that may have come before, with the lengths of its parts in bytes.
pub(super) struct Repeatable {
    policy: Policy,
    head_length: usize,
    body_length: usize,
}

/// How a request is treated, and what is known of it if it may have come before: its bytes say all there
/// is to know about it, and its answer may be stored.
pub(super) fn plan<'g>(preview: &Preview<'_>, gateway: &'g Gateway) -> (Option<Plan<'g>>, Option<Repeatable>) {
    let plan = preview.plan(gateway);
    let is_stored = plan.and_then(|plan| plan.rule).is_some_and(|rule| !rule.lifetimes.ttl.is_zero());
    let (head_length, body_length) = (preview.head_length, preview.length.unwrap_or_default());
    let repeatable = plan.filter(|_| is_stored && preview.is_self_contained);
    (plan, repeatable.map(|plan| Repeatable { policy: plan.policy, head_length, body_length }))
}

/// Reads the rest of a request, if it is about to arrive, and answers it, if it came before.
pub(super) async fn run(
    gateway: &Gateway,
    stream: &mut Stream,
    bytes: &mut BytesMut,
    Repeatable { policy, head_length, body_length }: Repeatable,
) -> Repeated {
    let length = head_length.saturating_add(body_length);
    let is_kept = !gateway.drain.is_draining() && !gateway.config.keepalive.is_zero();
    // The scheme is not in a request's bytes, so those that came over TLS are not looked at.
    if length > LONGEST || !is_kept || stream.get_ssl_digest().is_some() {
        return Repeated::New(None);
    }
    let counted = (gateway.drain.enter(), gateway.exchanges.metrics().begin());
    let began = Instant::now();
    let mut lease = gateway.exchanges.buffers.lease();
    if lease.grow(length).is_err() || !arrives(stream, bytes, length).await {
        return Repeated::New(None);
    }
    let request = &bytes[..length];
    let found = gateway.exchanges.sharing.common.repeated(request).filter(|(entry, _)| entry.body.len() <= LONGEST);
    let Some((entry, status)) = found else {
        return Repeated::New(Some(Bytes::copy_from_slice(request)));
    };
    let answer = answer(&entry, status);
    let written = timeout(gateway.config.write_timeout, async {
        stream.write_all(&answer).await?;
        stream.flush().await
    });
    let is_written = matches!(written.await, Ok(Ok(())));
    note(gateway, policy, &bytes[..head_length], entry.status, began, is_written);
    drop(counted);
    if bytes.len() == length && bytes.capacity() > ROOM_BETWEEN {
        *bytes = BytesMut::new(); // an idle connection needs no room for a large request
    } else {
        bytes.advance(length);
    }
    if is_written { Repeated::Answered } else { Repeated::Gone }
}

/// Whether the whole request is here, or will be in a moment. One that is slow is left to those who have time for it.
async fn arrives(stream: &mut Stream, bytes: &mut BytesMut, length: usize) -> bool {
    bytes.reserve(length.saturating_sub(bytes.len()));
    let rest = async {
        while bytes.len() < length {
            if !matches!(stream.read_buf(bytes).await, Ok(1..)) {
                return false;
            }
        }
        true
    };
    timeout(A_MOMENT, rest).await.unwrap_or(false)
}

fn answer(entry: &Entry, found: CacheStatus) -> BytesMut {
    let mut answer = BytesMut::with_capacity(HEAD_BUFFER + entry.body.len());
    let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| answer.extend_from_slice(part));
    let reason = entry.status.canonical_reason().unwrap_or_default();
    add(&[b"HTTP/1.1 ", entry.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in entry.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        add(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    let now = Instant::now();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let age = entry.age(now).as_secs();
    add(&[format!("age: {age}\r\ndate: {date}\r\ncache-status: ").as_bytes()]);
    add(&[found.value(None).as_bytes(), b"\r\nconnection: keep-alive\r\n"]);
    if deliver::may_have_content(entry.status) {
        add(&[format!("content-length: {}\r\n", entry.body.len()).as_bytes()]);
    }
    add(&[b"\r\n", &entry.body]);
    answer
}

/// One outcome per request, here too.
fn note(gateway: &Gateway, policy: Policy, head: &[u8], status: StatusCode, began: Instant, is_written: bool) {
    let span = span::of_repeated(gateway, began);
    let mut account = Account::new(Mode::Shared);
    account.trace = span.context();
    let outcome = if is_written { Outcome::Answered } else { Outcome::ClientGone };
    let total = began.elapsed();
    gateway.exchanges.metrics().ended(&account, outcome, total);
    let pattern = policy.rule.and_then(|rule| gateway.routes.pattern(rule)).map(|pattern| &**pattern);
    let method = head.split(|byte| *byte == b' ').next().and_then(|method| Method::from_bytes(method).ok());
    gateway.requests.ended(pattern, None, &method.unwrap_or_default(), is_written.then_some(status), total);
    if !access_log::is_wanted() {
        return;
    }
    let text = String::from_utf8_lossy(head);
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    access_log::write(&Line {
        id: &gateway.exchanges.begin().id,
        method,
        path: target.split('?').next().unwrap_or_default(),
        status: status.as_u16(),
        mode: account.mode,
        outcome,
        user: "",
        passes: 0,
        calls: 0,
        total,
        queued: account.queued,
        working: account.working,
        calling: account.calling,
        trace_id: account.trace.trace_id(),
    });
}
