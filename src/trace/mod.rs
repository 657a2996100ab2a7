//! Distributed traces: whose trace an exchange belongs to (W3C Trace Context), which of its parts are recorded as spans,
//! and how spans reach a collector (OTLP over HTTP). Identities travel always, since app and provider may record what
//! Siding does not; a span is recorded only where its trace is sampled and there is a collector.
//!
//! ```text
//! Tracer::root: traceparent of the client, or a new trace  -> Span (the exchange)
//! Tracer::child: queue, pass 0, call, pass 1, ...          -> Span
//! a Span's last handle dropped -> a bounded queue -> Exporter: batches -> OTLP
//! ```
//!
//! It must never hold a prompt, a body, a query or the value of a header.

mod context;
mod endpoint;
mod exporter;
mod metrics;
mod otlp;
mod sampling;
mod span;
mod tracer;

pub use context::{SpanContext, TRACEPARENT, TRACESTATE, TraceId};
pub use endpoint::{BadEndpoint, Endpoint, Resource, headers};
pub use exporter::Exporter;
pub use span::{Kind, Span, Value};
pub use tracer::{Tracer, forget};

/// What is traced, and where spans go.
#[derive(Clone, Debug)]
pub struct Config {
    /// The share of new traces that are sampled, from 0 to 1.
    pub sample: f64,
    /// Whether providers are told the trace.
    pub providers: bool,
    /// The collector; `None`: nothing is recorded.
    pub endpoint: Option<Endpoint>,
    /// What spans say of this process.
    pub resource: Resource,
}
