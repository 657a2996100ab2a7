//! How an answer is fetched from a provider, and whether it may be stored.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::identity::vendor;
use super::twin::SameWords;
use super::{Identity, Origin, span};
use crate::answer::{Api, Asked, Form, Unstorable};
use crate::buffers::Lease;
use crate::cache::{NotStored, ResponseDirectives, lasting};
use crate::media_type;
use crate::provider::{Failure, Opened, Provider, Request};
use crate::sharing::{Head, NotTaken, Publisher, SameBytes, Storable, Twin, Work};
use crate::time::Instant;
use crate::trace::{Span, SpanContext, Tracer};
use crate::usage::{Meter, Paid, Receipt};

/// One call to a provider.
pub(super) struct Fetch {
    provider: Provider,
    request: Request,
    asked: Option<(Api, Asked)>,
    api: Option<Api>,
    lease: Lease,
    limit: usize,
    report: Report,
}

/// Where it is told what a call costs, and what it takes.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) meter: Arc<Meter>,
    pub(super) origin: Origin,
    pub(super) tracer: Tracer,
    /// The span that the call's is below.
    pub(super) asker: SpanContext,
}

impl Fetch {
    pub(super) fn new(
        provider: &Provider,
        mut request: Request,
        identity: &Identity,
        lease: Lease,
        limit: usize,
        report: Report,
    ) -> Self {
        // A stream that others may read is asked for its usage, or those who want it plain would miss it.
        let with_usage = identity
            .asked
            .filter(|(_, asked)| asked.form == Form::Stream && !asked.usage && provider.knows_stream_options());
        if let Some(body) = with_usage.and_then(|(api, _)| api.with_usage(&request.body)) {
            request.body = body;
        }
        Self { provider: provider.clone(), request, asked: identity.asked, api: identity.api, lease, limit, report }
    }

    /// To the end of the answer. `model` is the one that is asked for.
    async fn fetch(self, to: &Publisher<'_, Failure>, model: Option<String>, span: &Span) -> Result<Storable, Failure> {
        let began = Instant::now();
        let Self { provider, request, asked, api, lease, limit, report } = self;
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let opened = provider.open(request, || to.elect_successor(), span).await?;
        let Opened { status, headers, mut body, fallback } = opened;
        span::answered(span, status, fallback.as_ref());
        let billed = match &fallback {
            Some(by) => (by.provider.as_str(), by.model.as_deref().or(model.as_deref())),
            None => (provider.name(), model.as_deref()),
        };
        let mut head = Head::new(status, headers, Some(lease));
        head.leader = span.context();
        head.is_stream = is_event_stream(&head.headers);
        let (is_stream, kept_headers, receipt) = (head.is_stream, lasting(&head.headers), Arc::clone(&head.receipt));
        to.begin(head).await;
        let mut received = 0;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            if received == 0 && is_stream {
                report.meter.first_token(billed.0, began.elapsed());
                span.event("first piece", Vec::new);
            }
            received += piece.len();
            let pushed = if received > limit {
                Err(Failure::TooLarge { host: host.clone(), limit })
            } else {
                to.push(piece).await.map_err(|why| cut_short(&host, why))
            };
            pushed.inspect_err(|failure| body.failed(failure))?;
        }
        if let Some(tokens) =
            api.filter(|_| status.is_success()).and_then(|api| api.tokens(form(is_stream), &to.whole()?))
        {
            span::spent(span, tokens);
            // Before the end is published: whoever reads to it finds the receipt.
            receipt.get_or_init(|| report.meter.spent(billed.0, billed.1, report.origin.as_str(), tokens));
        }
        if !to.stores() {
            return Ok(Err(NotStored::Forbidden));
        }
        // Its key says who was asked, and with which model.
        if fallback.is_some() {
            return Ok(Err(NotStored::Fallback));
        }
        Ok(to.whole().ok_or(NotStored::TooLarge).and_then(|whole| {
            verdict(asked, status, is_stream, &whole)?;
            // What providers say of caching is about transports (`no-cache` on every stream, say), not about the answer.
            Ok((ResponseDirectives::default(), kept_headers))
        }))
    }
}

#[async_trait]
impl Work<Failure> for Fetch {
    async fn run(self: Box<Self>, to: &Publisher<'_, Failure>) -> Result<Storable, Failure> {
        let mut fetch = *self;
        let Self { provider, request, api, report, .. } = &mut fetch;
        let model = api.and_then(|_| vendor(provider).model(request.url.path(), &request.body));
        let asker = (&report.tracer, &report.asker);
        let span = span::begin(asker, provider, (*api, model.as_deref()), request);
        fetch.fetch(to, model, &span).await.inspect_err(|failure| span::failed(&span, failure))
    }

    fn cut_short(&self, why: NotTaken) -> Failure {
        cut_short(self.request.url.host_str().unwrap_or_default(), why)
    }

    fn receipt(&self, paid: &Paid) -> Option<Receipt> {
        Some(self.report.meter.receipt(paid.clone()))
    }

    fn twin(&self, delivered: Bytes, is_stream: bool) -> Box<dyn Twin> {
        match self.api.filter(|_| is_stream) {
            Some(api) => Box::new(SameWords::new(api, &delivered)),
            None => Box::new(SameBytes::new(delivered)),
        }
    }
}

fn cut_short(host: &str, why: NotTaken) -> Failure {
    match why {
        NotTaken::Full => Failure::NoMemory,
        NotTaken::Differs => Failure::Interrupted {
            host: host.to_owned(),
            cause: "the process that made the call is gone, and a second answer says something else".to_owned(),
        },
    }
}

fn form(is_stream: bool) -> Form {
    if is_stream { Form::Stream } else { Form::Plain }
}

fn verdict(asked: Option<(Api, Asked)>, status: StatusCode, is_stream: bool, whole: &Bytes) -> Result<(), NotStored> {
    if !status.is_success() {
        return Err(NotStored::Status);
    }
    let (api, _) = asked.ok_or(NotStored::Forbidden)?;
    api.storable(form(is_stream), whole).map_err(|unstorable| match unstorable {
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
