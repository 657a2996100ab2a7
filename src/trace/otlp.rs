//! Spans in the collector's form (OTLP 1.x, protobuf).

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Wrapped, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as Described;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message;

use super::context::SpanContext;
use super::endpoint::Resource;
use super::span::{Attribute, Kind, Recorded, Value};
use crate::time::unix_nanos;

/// A batch of spans, ready to be sent.
pub(super) fn encode(resource: &Resource, spans: &mut Vec<Recorded>) -> Vec<u8> {
    let attributes = resource.attributes.iter().map(|(key, value)| pair(key, AnyValue::StringValue(value.clone())));
    let resource = Described { attributes: attributes.collect(), ..Described::default() };
    let scope = InstrumentationScope {
        name: "siding".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.drain(..).map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans of a batch the collector did not take, by its answer to one that it took.
pub(super) fn rejected(answer: &[u8]) -> usize {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or_default())
}

fn span(recorded: Recorded) -> Span {
    let Recorded { context, parent, name, kind, start, end, attributes, events, events_dropped, links, .. } = recorded;
    let flags = flags(&context, recorded.is_parent_remote);
    let events = events.into_iter().map(|event| Event {
        time_unix_nano: unix_nanos(event.at),
        name: event.name.to_owned(),
        attributes: pairs(event.attributes),
        ..Event::default()
    });
    let links = links.into_iter().map(|other| Link {
        trace_id: other.trace.as_bytes().to_vec(),
        span_id: other.span.to_vec(),
        flags: other.flags().into(),
        ..Link::default()
    });
    let status = recorded.is_error.then(|| Status { code: StatusCode::Error.into(), ..Status::default() });
    Span {
        trace_id: context.trace.as_bytes().to_vec(),
        span_id: context.span.to_vec(),
        parent_span_id: if parent == [0; 8] { Vec::new() } else { parent.to_vec() },
        flags,
        name: name.into_owned(),
        kind: kind_of(kind).into(),
        start_time_unix_nano: unix_nanos(start),
        end_time_unix_nano: unix_nanos(end),
        attributes: pairs(attributes),
        events: events.collect(),
        dropped_events_count: events_dropped,
        links: links.collect(),
        status,
        ..Span::default()
    }
}

fn flags(context: &SpanContext, is_parent_remote: bool) -> u32 {
    let remote = if is_parent_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    u32::from(context.flags()) | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn kind_of(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Internal => SpanKind::Internal,
    }
}

fn pairs(attributes: Vec<Attribute>) -> Vec<KeyValue> {
    let value = |value| match value {
        Value::Text(text) => AnyValue::StringValue(text.into_owned()),
        Value::Number(number) => AnyValue::IntValue(number),
        Value::Flag(flag) => AnyValue::BoolValue(flag),
    };
    attributes.into_iter().map(|(key, given)| pair(key, value(given))).collect()
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(Wrapped { value: Some(value) }), ..KeyValue::default() }
}
