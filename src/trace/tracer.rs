//! Where spans begin: whether a trace is sampled, and whether anybody wants its spans.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;

use super::Config;
use super::context::{SpanContext, TRACEPARENT, TRACESTATE};
use super::exporter::{Exporter, Flush, Queue};
use super::metrics::Metrics;
use super::sampling::Ratio;
use super::span::{Kind, Recorded, Span};
use crate::telemetry::Registry;
use crate::time::{Duration, SystemTime, wall_clock};
use crate::tls::BadTrust;

/// What an app says to all whom it calls on behalf of one request.
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Begins spans. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ratio: Ratio,
    providers: bool,
    /// `None` where there is no collector.
    exported: Option<(Queue, Flush)>,
}

impl Tracer {
    /// A tracer, and what takes its spans to the collector, which is to be run.
    ///
    /// # Errors
    /// Fails when the collector is reached over TLS and there is nothing to trust.
    pub fn new(config: Config, registry: &Registry) -> Result<(Self, Option<Exporter>), BadTrust> {
        let metrics = Metrics::new(registry);
        let (ratio, providers) = (Ratio::new(config.sample), config.providers);
        let Some(endpoint) = config.endpoint else {
            return Ok((Self(Arc::new(Inner { ratio, providers, exported: None })), None));
        };
        let (exporter, queue, flush) = Exporter::new(endpoint, config.resource, metrics)?;
        Ok((Self(Arc::new(Inner { ratio, providers, exported: Some((queue, flush)) })), Some(exporter)))
    }

    /// One with other rules and the same collector.
    pub fn reconfigured(&self, config: &Config) -> Self {
        let (ratio, providers) = (Ratio::new(config.sample), config.providers);
        Self(Arc::new(Inner { ratio, providers, exported: self.0.exported.clone() }))
    }

    /// The first span of an exchange: it continues the trace that the client's headers name, or begins one.
    pub fn root(&self, headers: &HeaderMap, name: &'static str, start: SystemTime) -> Span {
        match SpanContext::of(headers) {
            Some(parent) => self.span(parent.child(), (parent.span, true), (name, Kind::Server), || start),
            None => self.root_of_new_trace(name, start),
        }
    }

    /// The first span of an exchange whose client said nothing of a trace.
    pub fn root_of_new_trace(&self, name: &'static str, start: SystemTime) -> Span {
        let context = SpanContext::begin(|trace| self.0.ratio.samples(trace));
        self.span(context, ([0; 8], false), (name, Kind::Server), || start)
    }

    /// A span below another that begins now.
    pub fn child(&self, parent: &SpanContext, name: &'static str, kind: Kind) -> Span {
        self.below(parent, (name, kind), wall_clock)
    }

    /// A span below another that began before it was known.
    pub fn child_since(&self, parent: &SpanContext, name: &'static str, kind: Kind, start: SystemTime) -> Span {
        self.below(parent, (name, kind), || start)
    }

    fn below(&self, parent: &SpanContext, what: (&'static str, Kind), start: impl FnOnce() -> SystemTime) -> Span {
        if !parent.is_some() {
            return Span::NONE;
        }
        self.span(parent.child(), (parent.span, false), what, start)
    }

    /// Tells a provider the trace, if it is to know it. It is a third party, so that what app and client say to one
    /// another in `tracestate` and `baggage` is not for it.
    pub fn tell_provider(&self, span: &SpanContext, headers: &mut HeaderMap) {
        forget(headers);
        if self.0.providers {
            span.put(headers);
        }
    }

    /// Waits until the spans that have ended are exported, within a bound.
    pub async fn flush(&self, bound: Duration) {
        if let Some((_, flush)) = &self.0.exported {
            flush.run(bound).await;
        }
    }

    fn span(
        &self,
        context: SpanContext,
        (parent, is_parent_remote): ([u8; 8], bool),
        (name, kind): (&'static str, Kind),
        start: impl FnOnce() -> SystemTime,
    ) -> Span {
        let Some((queue, _)) = self.0.exported.as_ref().filter(|_| context.is_sampled()) else {
            return Span::silent(context);
        };
        let start = start();
        let recorded = Recorded {
            context,
            parent,
            is_parent_remote,
            name: name.into(),
            kind,
            start,
            end: start,
            attributes: Vec::new(),
            events: Vec::new(),
            events_dropped: 0,
            links: Vec::new(),
            is_error: false,
        };
        Span::recording(recorded, queue.clone())
    }
}

/// Takes out of a request what it says of a trace.
pub fn forget(headers: &mut HeaderMap) {
    for name in [TRACEPARENT, TRACESTATE, BAGGAGE] {
        headers.remove(name);
    }
}
