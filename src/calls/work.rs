//! How an answer is fetched from a provider, and whether it may be stored.

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::Identity;
use crate::answer::{Api, Asked, Form, Unstorable};
use crate::buffers::{Full, Lease};
use crate::cache::{NotStored, ResponseDirectives, lasting};
use crate::media_type;
use crate::provider::{Failure, Opened, Provider, Request};
use crate::sharing::{Head, Publisher, Storable, Work};

/// One call to a provider.
pub(super) struct Fetch {
    provider: Provider,
    request: Request,
    asked: Option<(Api, Asked)>,
    lease: Lease,
    limit: usize,
}

impl Fetch {
    pub(super) fn new(
        provider: &Provider,
        mut request: Request,
        identity: &Identity,
        lease: Lease,
        limit: usize,
    ) -> Self {
        // A stream that others may read is asked for its usage, or those who want it plain would miss it.
        let with_usage = identity
            .asked
            .filter(|(_, asked)| asked.form == Form::Stream && !asked.usage && provider.knows_stream_options());
        if let Some(body) = with_usage.and_then(|(api, _)| api.with_usage(&request.body)) {
            request.body = body;
        }
        Self { provider: provider.clone(), request, asked: identity.asked, lease, limit }
    }
}

#[async_trait]
impl Work<Failure> for Fetch {
    async fn run(self: Box<Self>, to: &Publisher<'_, Failure>) -> Result<Storable, Failure> {
        let Self { provider, request, asked, lease, limit } = *self;
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let Opened { status, headers, mut body, is_fallback, .. } =
            provider.open(request, || to.elect_successor()).await?;
        let mut head = Head::new(status, headers, Some(lease));
        head.is_stream = is_event_stream(&head.headers);
        let (is_stream, kept_headers) = (head.is_stream, lasting(&head.headers));
        to.begin(head).await;
        let mut received = 0;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            received += piece.len();
            let pushed = if received > limit {
                Err(Failure::TooLarge { host: host.clone(), limit })
            } else {
                to.push(piece).await.map_err(|Full| Failure::NoMemory)
            };
            pushed.inspect_err(|failure| body.failed(failure))?;
        }
        if !to.stores() {
            return Ok(Err(NotStored::Forbidden));
        }
        // Its key says who was asked, and with which model.
        if is_fallback {
            return Ok(Err(NotStored::Fallback));
        }
        Ok(to.whole().ok_or(NotStored::TooLarge).and_then(|whole| {
            verdict(asked, status, is_stream, &whole)?;
            // What providers say of caching is about transports (`no-cache` on every stream, say), not about the answer.
            Ok((ResponseDirectives::default(), kept_headers))
        }))
    }
}

fn verdict(asked: Option<(Api, Asked)>, status: StatusCode, is_stream: bool, whole: &Bytes) -> Result<(), NotStored> {
    if !status.is_success() {
        return Err(NotStored::Status);
    }
    let (api, _) = asked.ok_or(NotStored::Forbidden)?;
    let form = if is_stream { Form::Stream } else { Form::Plain };
    api.storable(form, whole).map_err(|unstorable| match unstorable {
        Unstorable::Incomplete | Unstorable::Background => NotStored::Incomplete,
        Unstorable::Malformed | Unstorable::InvalidToolCall => NotStored::Malformed,
        Unstorable::Truncated => NotStored::Truncated,
        Unstorable::Filtered => NotStored::Filtered,
        Unstorable::Error => NotStored::Error,
    })
}

/// Whether a body is a stream of events.
fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type::of(headers).eq_ignore_ascii_case("text/event-stream")
}
