//! A client's own call to a provider, from whichever listener: made while the client waits, delivered as it comes.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use pingora::prelude::Result;
use pingora::protocols::http::ServerSession;

use super::context::Context;
use super::deliver::Pieces;
use super::{Gateway, buffered, connection, deliver};
use crate::calls::{Caller, Directives, NoReply, Origin, Reply, ReplyBody};
use crate::drain::Drain;
use crate::exchange::{Account, Broken, Refused};
use crate::provider::{Failure, Provider, Request};
use crate::relay::Translator;
use crate::telemetry::{Outcome, Reason};
use crate::time::Instant;

/// Why a stream breaks off at the end of a shutdown.
const SHUTTING_DOWN: &str = "the server is shutting down";

/// A call that is ready to be made.
pub(super) struct Call<'a> {
    pub(super) provider: &'a Provider,
    pub(super) request: Request,
    /// Who shares its answer, and how.
    pub(super) said: &'a Directives,
    /// The headers by which the client is told apart.
    pub(super) client: &'a HeaderMap,
    /// Where it comes from.
    pub(super) origin: &'a Origin,
}

/// Makes the call, or finds its answer, to the head of the answer.
///
/// # Errors
/// Says why there is none.
///
/// # Cancel safety
/// Dropping the future is leaving: the provider is still asked for as long as somebody else wants the answer.
pub(super) async fn make(gateway: &Gateway, call: Call<'_>, account: &mut Account) -> Result<Reply, Refused> {
    let Call { provider, request, said, client, origin } = call;
    account.calls += 1;
    let began = Instant::now();
    let caller = Caller { client, origin, trace: account.trace };
    let made = tokio::select! {
        biased;
        made = gateway.exchanges.calls.make(provider, request, said, &caller) => {
            made.map_err(|no_reply| refused(&no_reply))
        }
        () = gateway.drain.is_cut() => Err(Reason::Draining.into()),
    };
    account.calling += began.elapsed();
    made
}

/// Delivers the answer. With a translator, a stream that breaks off ends with an event that says so.
pub(super) async fn answered(
    gateway: &Gateway,
    session: &mut ServerSession,
    context: &mut Context,
    reply: Reply,
    translator: Option<Translator>,
) -> Result<bool> {
    connection::close_if_draining(gateway, session);
    let Reply { status, mut headers, body } = reply;
    if let Some(length) = body.length() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut body = Delivered { body: Some(body), translator, is_cut_short: false, drain: gateway.drain.clone() };
    let outcome = match deliver::head(session, status, &headers) {
        Ok(head) => deliver::streamed(session, head, &mut body).await,
        Err(_) => Outcome::ClientGone,
    };
    buffered::ended_in_words(context, outcome, body.is_cut_short)
}

/// An answer on its way.
struct Delivered {
    /// `None` once it has ended.
    body: Option<ReplyBody>,
    translator: Option<Translator>,
    /// Whether it was broken off.
    is_cut_short: bool,
    drain: Drain,
}

impl Pieces for Delivered {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.body.as_mut()?.next() => next.map(|next| next.map_err(in_short)),
                () = self.drain.is_cut() => Some(Err(SHUTTING_DOWN)),
            };
            if !matches!(next, Some(Ok(_))) {
                self.body = None;
            }
            let said = match (next, &mut self.translator) {
                (Some(Ok(bytes)), None) => return Some(Ok(bytes)),
                (Some(Ok(bytes)), Some(translator)) => translator.push(bytes),
                (None, translator) => translator.as_mut()?.finish(),
                (Some(Err(why)), translator) => {
                    self.is_cut_short = true;
                    let event = translator.as_mut().and_then(|translator| translator.fail(why));
                    return Some(event.ok_or(Broken));
                }
            };
            if !said.is_empty() {
                return Some(Ok(said));
            }
        }
    }
}

fn refused(no_reply: &NoReply) -> Refused {
    let mut refused = Refused::from(reason(no_reply));
    if let NoReply::Failed(Failure::Unavailable { retry_after, .. }) = no_reply {
        refused.retry_after = Some(*retry_after);
    }
    refused
}

/// What a client may know of it: where the provider is and what the network said is the operator's business.
fn in_short(failure: Failure) -> &'static str {
    tracing::debug!(%failure, "a provider's answer broke off on its way to a client");
    match reason(&NoReply::Failed(failure)) {
        Reason::ProviderTimeout => "the provider took too long",
        _ => "the provider broke off in the middle of its answer",
    }
}

fn reason(no_reply: &NoReply) -> Reason {
    match no_reply {
        NoReply::NotCached => Reason::NotCached,
        NoReply::Failed(failure) => match failure {
            Failure::FirstByteTimeout(_) | Failure::IdleTimeout(_) | Failure::TotalTimeout(_) => {
                Reason::ProviderTimeout
            }
            Failure::NoMemory => Reason::BuffersFull,
            Failure::Unavailable { .. } => Reason::ProviderUnavailable,
            Failure::Connect { .. }
            | Failure::ConnectTimeout(_)
            | Failure::Interrupted { .. }
            | Failure::TooLarge { .. }
            | Failure::Protocol { .. } => Reason::ProviderFailed,
        },
    }
}
