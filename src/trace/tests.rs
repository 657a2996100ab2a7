use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::telemetry::Registry;
use crate::time::wall_clock;
use crate::trace::{Config, Kind, Span, SpanContext, Tracer};

/// A tracer whose collector is nowhere, and what would take its spans there.
fn tracer(sample: f64) -> (Tracer, Exporter, Registry) {
    let registry = Registry::new().unwrap();
    let endpoint = Some(Endpoint::at("http://127.0.0.1:1", HeaderMap::new()).unwrap());
    let config = Config { sample, providers: true, endpoint, resource: Resource::new(None, "") };
    let (tracer, exporter) = Tracer::new(config, &registry).unwrap();
    (tracer, exporter.unwrap(), registry)
}

fn ended(exporter: &mut Exporter) -> Vec<Recorded> {
    std::iter::from_fn(|| exporter.spans.try_recv().ok()).collect()
}

fn dropped(registry: &Registry) -> String {
    let text = registry.render().unwrap();
    let line = text.lines().find(|line| line.starts_with("siding_spans_total{result=\"dropped\"}"));
    line.unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_span_ends_with_its_last_handle_and_knows_its_parent() {
    let (tracer, mut exporter, _registry) = tracer(1.0);
    let root = tracer.root_of_new_trace("exchange", wall_clock());
    let child = tracer.child(&root.context(), "queue", Kind::Internal);
    let other = child.clone();
    drop(child);
    assert!(ended(&mut exporter).is_empty());
    drop(other);
    drop(root);
    let spans = ended(&mut exporter);
    let [queue, exchange] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*queue.name, &*exchange.name), ("queue", "exchange"));
    assert_eq!((queue.parent, exchange.parent), (exchange.context.span, [0; 8]));
    assert_eq!(queue.context.trace, exchange.context.trace);
    assert!(exchange.start <= queue.start && queue.start <= queue.end && queue.end <= exchange.end);
}

#[test]
fn the_flag_of_the_client_counts_whatever_the_share() {
    let of = |flags: &str, sample| {
        let (tracer, _exporter, _registry) = tracer(sample);
        let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let headers = HeaderMap::from_iter([(super::super::context::TRACEPARENT, value.parse().unwrap())]);
        tracer.root(&headers, "exchange", wall_clock()).is_recording()
    };
    assert!(of("01", 0.0) && !of("00", 1.0));
}

#[test]
fn other_rules_keep_the_collector() {
    let (tracer, mut exporter, _registry) = tracer(0.0);
    let resource = Resource::new(None, "");
    let config = Config { sample: 1.0, providers: false, endpoint: None, resource };
    let changed = tracer.reconfigured(&config);
    drop((tracer.root_of_new_trace("before", wall_clock()), changed.root_of_new_trace("after", wall_clock())));
    let names: Vec<_> = ended(&mut exporter).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["after"]);
    let mut headers = HeaderMap::new();
    changed.tell_provider(&changed.root_of_new_trace("call", wall_clock()).context(), &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn an_unsampled_trace_has_identities_and_leaves_nothing() {
    let (tracer, mut exporter, _registry) = tracer(0.0);
    let root = tracer.root_of_new_trace("exchange", wall_clock());
    let child = tracer.child(&root.context(), "queue", Kind::Internal);
    child.set_with("siding.pass", || -> Option<u32> { panic!("nobody wants it") });
    assert!(root.context().is_some() && !child.is_recording());
    assert_eq!(root.context().trace_id(), child.context().trace_id());
    drop((root, child));
    assert!(ended(&mut exporter).is_empty());
    assert!(!tracer.child(&SpanContext::NONE, "queue", Kind::Internal).context().is_some());
}

#[test]
fn what_finds_the_queue_full_is_dropped_and_counted() {
    let (tracer, mut exporter, registry) = tracer(1.0);
    for _ in 0..QUEUE + 3 {
        drop(tracer.root_of_new_trace("exchange", wall_clock()));
    }
    assert_eq!(dropped(&registry), "3");
    assert_eq!(ended(&mut exporter).len(), QUEUE);
}

#[test]
fn events_and_texts_of_a_span_are_bounded() {
    let (tracer, mut exporter, _registry) = tracer(1.0);
    let span = tracer.root_of_new_trace("exchange", wall_clock());
    for _ in 0..40 {
        span.event("retry", Vec::new);
        span.link(span.context());
    }
    span.set("url.path", "é".repeat(1000));
    drop(span);
    let spans = ended(&mut exporter);
    let Recorded { events, events_dropped, links, attributes, .. } = &spans[0];
    assert_eq!((events.len(), *events_dropped, links.len()), (32, 8, 8));
    assert_eq!(attributes[0].1, "é".repeat(256).into());
}

#[test]
fn a_span_is_encoded_as_the_collector_reads_it() {
    let (tracer, mut exporter, _registry) = tracer(1.0);
    let root = tracer.root_of_new_trace("exchange", wall_clock());
    let call: Span = tracer.child(&root.context(), "call", Kind::Client);
    call.rename(|| "chat gpt-4o".to_owned());
    call.set("server.port", 443_u16);
    call.event("retry", || vec![("siding.try", 2_u32.into())]);
    call.link(root.context());
    call.failed("connect");
    drop(call);
    let mut spans = ended(&mut exporter);
    let bytes = otlp::encode(&Resource::new(Some("shop"), ""), &mut spans);
    let request = ExportTraceServiceRequest::decode(&*bytes).unwrap();
    let resource = &request.resource_spans[0];
    assert!(format!("{:?}", resource.resource).contains("shop"));
    let span = &resource.scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), span.kind()), ("chat gpt-4o", SpanKind::Client));
    assert_eq!(span.parent_span_id, root.context().span);
    assert_eq!((span.trace_id.len(), span.span_id.len(), span.flags), (16, 8, 0x101));
    assert_eq!((span.events[0].name.as_str(), span.links[0].span_id.as_slice()), ("retry", &root.context().span[..]));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let keys: Vec<_> = span.attributes.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["server.port", "error.type"]);
}

#[test]
fn an_answer_that_says_nothing_rejects_nothing() {
    assert_eq!((otlp::rejected(b""), otlp::rejected(b"{}"), otlp::rejected(&[10, 2, 8, 3])), (0, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_no_longer_than_its_bound() {
    let (tracer, exporter, _registry) = tracer(1.0);
    let began = Instant::now();
    tracer.flush(Duration::from_secs(2)).await; // nobody runs the exporter
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    drop(exporter);
    tracer.flush(Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "one that is gone is not waited for");
}

#[tokio::test]
async fn a_collector_that_asks_for_an_eternity_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::at(&format!("http://{}", listener.local_addr().unwrap()), HeaderMap::new()).unwrap();
    let config = Config { sample: 1.0, providers: true, endpoint: Some(endpoint), resource: Resource::new(None, "") };
    let (_tracer, exporter) = Tracer::new(config, &Registry::new().unwrap()).unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 18446744073709551615\r\nContent-Length: 0\r\n\r\n";
        stream.read_u8().await.unwrap();
        stream.write_all(answer).await.unwrap();
        stream
    });
    let taken = exporter.unwrap().collector.take(Bytes::from_static(b"spans")).await;
    assert_eq!(taken, Err("it answered 503 Service Unavailable".to_owned()));
    drop(answering.await.unwrap());
}
