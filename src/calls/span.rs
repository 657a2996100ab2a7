//! A call as a span, in the terms of OpenTelemetry's conventions for generative AI. It lasts as long as the provider speaks,
//! whoever listens.

use http::StatusCode;

use crate::answer::{Api, Tokens, Vendor};
use crate::provider::{Failure, Fallback, Provider, Request};
use crate::trace::{Kind, Span, SpanContext, Tracer};

use super::identity::vendor;

/// Begins the span of a call, and tells the provider of it.
pub(super) fn begin(
    (tracer, below): (&Tracer, &SpanContext),
    provider: &Provider,
    (api, model): (Option<Api>, Option<&str>),
    request: &mut Request,
) -> Span {
    let span = tracer.child(below, "call", Kind::Client);
    tracer.tell_provider(&span.context(), &mut request.headers);
    if !span.is_recording() {
        return span;
    }
    let operation = api.map(operation);
    if let Some(operation) = operation {
        span.rename(|| [operation].into_iter().chain(model).collect::<Vec<_>>().join(" "));
        span.set("gen_ai.operation.name", operation);
        span.set("gen_ai.provider.name", name(vendor(provider)));
        span.set_with("gen_ai.request.model", || model.map(str::to_owned));
    }
    span.set("siding.provider", provider.name().to_owned());
    span.set("http.request.method", request.method.as_str().to_owned());
    span.set_with("server.address", || request.url.host_str().map(str::to_owned));
    span.set_with("server.port", || request.url.port_or_known_default());
    span
}

/// The head of the answer came.
pub(super) fn answered(span: &Span, status: StatusCode, fallback: Option<&Fallback>) {
    span.set("http.response.status_code", status.as_u16());
    span.set_with("siding.fallback", || fallback.map(ToString::to_string));
    if status.is_client_error() || status.is_server_error() {
        span.failed(status.as_str().to_owned());
    }
}

/// The provider said what it cost.
pub(super) fn spent(span: &Span, tokens: Tokens) {
    span.set("gen_ai.usage.input_tokens", tokens.input);
    span.set("gen_ai.usage.output_tokens", tokens.output);
}

/// There is no answer, or not all of it.
pub(super) fn failed(span: &Span, failure: &Failure) {
    span.failed(failure.as_str());
}

fn operation(api: Api) -> &'static str {
    match api {
        Api::OpenaiChat | Api::OpenaiResponses | Api::AnthropicMessages => "chat",
        Api::OpenaiCompletions => "text_completion",
        Api::GeminiGenerate => "generate_content",
        Api::OpenaiEmbeddings | Api::GeminiEmbed => "embeddings",
    }
}

fn name(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Openai => "openai",
        Vendor::Anthropic => "anthropic",
        Vendor::Gemini => "gcp.gemini",
    }
}
