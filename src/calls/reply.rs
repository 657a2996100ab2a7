//! An answer in the form that was asked for: as it comes where it has that form, converted once it is complete where it
//! has the other.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Identity, Unfit};
use crate::answer::{Api, Asked, Form, UsageFilter};
use crate::cache::CacheStatus;
use crate::coalesce::{End, Reader};
use crate::provider::Failure;
use crate::sharing::{Answer, Head};
use crate::trace::Span;
use crate::usage::{Receipt, Saving};

/// The answer to a call.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// End-to-end headers, `Cache-Status` included.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
}

/// The body of an answer.
#[derive(Debug)]
pub struct ReplyBody(State);

#[derive(Debug)]
enum State {
    Whole(Bytes),
    Live {
        reader: Reader<Head, Failure>,
        filter: Option<UsageFilter>,
        /// What the answer cost, where somebody else paid for it.
        saved: Option<Arc<OnceLock<Receipt>>>,
        /// Of the wait for what somebody else fetches. It ends with the answer.
        _span: Span,
    },
    Ended,
}

/// What must be done to an answer.
#[derive(Clone, Copy)]
enum Change {
    None,
    /// Take out what was asked for on behalf of others.
    Filter,
    Assemble(Api),
    Chunk(Api, Asked),
}

impl Reply {
    /// Brings an answer into the form that was asked for. Waits for its end where that is another than it has.
    pub(super) async fn new(answer: Answer<Failure>, identity: &Identity, span: Span) -> Result<Self, Unfit> {
        match answer {
            Answer::Stored { entry, status: found } => {
                let change = Change::of(identity, entry.status, entry.is_stream);
                let mut headers = entry.replayed(found);
                let body = change.whole(&entry.body, &mut headers).ok_or(Unfit::OtherForm)?;
                if let Some(receipt) = &entry.receipt {
                    receipt.saved(Saving::Hit);
                }
                Ok(Self { status: entry.status, headers, body: ReplyBody(State::Whole(body)) })
            }
            Answer::Live { head, reader, status: found } => {
                let mut headers = head.headers_for(found);
                let change = Change::of(identity, head.status, head.is_stream);
                let is_own = found != CacheStatus::Miss { collapsed: true };
                let saved = (!is_own).then(|| Arc::clone(&head.receipt));
                let body = match change {
                    Change::None => State::Live { reader, filter: None, saved, _span: span },
                    Change::Filter => State::Live { reader, filter: Some(UsageFilter::new()), saved, _span: span },
                    Change::Assemble(_) | Change::Chunk(..) => {
                        let live = State::Live { reader, filter: None, saved: None, _span: span };
                        let whole = ReplyBody(live).collect().await?;
                        let changed = change.whole(&whole, &mut headers);
                        // Whoever asked the provider gets what it said.
                        let body = changed.or_else(|| is_own.then_some(whole)).ok_or(Unfit::OtherForm)?;
                        collapsed(saved.as_deref());
                        State::Whole(body)
                    }
                };
                Ok(Self { status: head.status, headers, body: ReplyBody(body) })
            }
        }
    }
}

impl ReplyBody {
    /// The next bytes; `None` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let last = match &mut self.0 {
            State::Ended => None,
            State::Whole(bytes) => Some(Ok(std::mem::take(bytes))).filter(|bytes| bytes != &Ok(Bytes::new())),
            State::Live { reader, filter, saved, .. } => match next(reader, filter.as_mut()).await {
                Ok(bytes) => return Some(Ok(bytes)),
                Err(End::Complete) => {
                    collapsed(saved.as_deref());
                    filter.as_mut().map(UsageFilter::finish).filter(|rest| !rest.is_empty()).map(Ok)
                }
                Err(End::Failed(failure)) => Some(Err(failure)),
                Err(End::Abandoned) => Some(Err(abandoned())),
            },
        };
        self.0 = State::Ended;
        last
    }

    /// All of it.
    ///
    /// # Errors
    /// The failure that cut it short.
    pub async fn collect(mut self) -> Result<Bytes, Failure> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await.transpose()? else { return Ok(first) };
        let mut all = BytesMut::from(&*first);
        all.extend_from_slice(&second);
        while let Some(bytes) = self.next().await.transpose()? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// The length, where it is known.
    pub fn length(&self) -> Option<usize> {
        match &self.0 {
            State::Whole(bytes) => Some(bytes.len()),
            State::Ended => Some(0),
            State::Live { .. } => None,
        }
    }
}

/// Counts what a whole answer saved that somebody else had asked for.
fn collapsed(receipt: Option<&OnceLock<Receipt>>) {
    if let Some(receipt) = receipt.and_then(OnceLock::get) {
        receipt.saved(Saving::Collapsed);
    }
}

/// The next bytes that are for this reader.
async fn next(reader: &mut Reader<Head, Failure>, mut filter: Option<&mut UsageFilter>) -> Result<Bytes, End<Failure>> {
    loop {
        let mut bytes = reader.next().await?;
        if let Some(filter) = &mut filter {
            bytes = filter.push(bytes);
        }
        if !bytes.is_empty() {
            return Ok(bytes);
        }
    }
}

impl Change {
    fn of(identity: &Identity, status: StatusCode, is_stream: bool) -> Self {
        let Some((api, asked)) = identity.asked.filter(|_| status.is_success()) else { return Self::None };
        match (asked.form, is_stream) {
            (Form::Plain, true) => Self::Assemble(api),
            (Form::Stream, false) => Self::Chunk(api, asked),
            (Form::Stream, true) if !asked.usage && has_usage_option(api) => Self::Filter,
            (Form::Plain, false) | (Form::Stream, true) => Self::None,
        }
    }

    /// Changes a whole body, and what its headers say about it. `None` where that is not possible.
    fn whole(self, body: &Bytes, headers: &mut HeaderMap) -> Option<Bytes> {
        let (changed, media_type) = match self {
            Self::None => return Some(body.clone()),
            Self::Filter => {
                let mut filter = UsageFilter::new();
                let mut kept = BytesMut::from(&*filter.push(body.clone()));
                kept.extend_from_slice(&filter.finish());
                return Some(kept.freeze());
            }
            Self::Assemble(api) => (api.assemble(body).ok()?, "application/json"),
            Self::Chunk(api, asked) => (api.chunk(body, asked.usage).ok()?, "text/event-stream; charset=utf-8"),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.remove(CONTENT_LENGTH);
        Some(changed)
    }
}

/// Whether callers say if they want a stream's usage.
fn has_usage_option(api: Api) -> bool {
    matches!(api, Api::OpenaiChat | Api::OpenaiCompletions)
}

/// The failure of an answer whose leader vanished.
pub(super) fn abandoned() -> Failure {
    Failure::Interrupted { host: "siding".into(), cause: "the work was given up".into() }
}
