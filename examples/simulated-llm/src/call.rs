//! One LLM call, from its request to its reply.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use hyper::{HeaderMap, Request, Response};
use tokio::time::sleep;

use crate::answer;
use crate::behaviour::{Behaviour, Fault, Refusal, RetryAfter};
use crate::body::{ReplyBody, Tail};
use crate::dialect::{Answer, Asked, BROKEN_EVENT, Dialect, Endpoint, Script, Step};
use crate::directive;
use crate::recorder::Recorded;
use crate::simulation::Simulation;
use crate::stamp;
use crate::tally::{Ending, InFlight};
use crate::wire::WireFault;

/// The key that every provider refuses.
const BAD_KEY: &str = "bad-key";
/// What a plain call gets where a stream would break off with an error.
const UNAVAILABLE: u16 = 503;

/// A call that was read, counted and waits for its time. Small: thousands of them wait at once.
struct Waiting {
    endpoint: Endpoint,
    asked: Asked,
    opening: String,
    behaviour: Behaviour,
    /// Since the Unix epoch.
    received: Duration,
    in_flight: InFlight,
}

/// A request that gets an error at once.
struct Refused {
    dialect: Dialect,
    status: u16,
    message: String,
    in_flight: InFlight,
}

/// Answers a call. An error closes the connection.
pub(crate) async fn answer_call(
    simulation: Arc<Simulation>,
    wire: WireFault,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> io::Result<Response<ReplyBody>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match begin(&simulation, endpoint, parts, body) {
        Ok(waiting) => Box::pin(finish(waiting, wire)).await,
        Err(refused) => Ok(refuse(refused)),
    }
}

/// Everything that needs the request itself, so that none of it is kept while the call waits.
fn begin(simulation: &Simulation, endpoint: Endpoint, parts: Parts, body: Bytes) -> Result<Waiting, Refused> {
    let received = stamp::now();
    let read = endpoint.read(parts.uri.path(), &body);
    let prompt = read.as_ref().map_or("", |request| &request.prompt);
    let fingerprint = answer::fingerprint(prompt);
    simulation.recorder.record(Recorded::new(&parts, &body, &fingerprint));
    let in_flight = simulation.tally.begin(endpoint.label(), &fingerprint);
    let dialect = endpoint.dialect();
    if has_bad_key(&parts.headers) {
        return Err(Refused { dialect, status: 401, message: "Incorrect API key provided.".to_owned(), in_flight });
    }
    let request = match read {
        Ok(request) => request,
        Err(message) => {
            return Err(Refused { dialect, status: 400, message, in_flight });
        }
    };
    let behaviour = behaviour(simulation, &request.prompt, in_flight.ordinal);
    let opening = answer::opening(&request.prompt);
    Ok(Waiting { endpoint, asked: request.asked, opening, behaviour, received, in_flight })
}

fn behaviour(simulation: &Simulation, prompt: &str, ordinal: u64) -> Behaviour {
    let defaults = simulation.defaults().clone();
    let mut behaviour = defaults.behaviour;
    directive::apply(&defaults.directives, &mut behaviour);
    directive::apply(prompt, &mut behaviour);
    if let Some((count, status)) = behaviour.fail_first
        && ordinal <= count
    {
        behaviour.status = status;
    }
    behaviour
}

fn has_bad_key(headers: &HeaderMap) -> bool {
    let is = |name: &str, bad: &str| headers.get(name).is_some_and(|value| value.as_bytes() == bad.as_bytes());
    is("authorization", &format!("Bearer {BAD_KEY}")) || is("x-api-key", BAD_KEY) || is("x-goog-api-key", BAD_KEY)
}

async fn finish(waiting: Waiting, wire: WireFault) -> io::Result<Response<ReplyBody>> {
    if waiting.behaviour.fault == Fault::Hang {
        future::pending::<()>().await;
    }
    sleep(waiting.behaviour.latency).await;
    match waiting.behaviour.fault {
        Fault::Reset => {
            wire.reset();
            waiting.in_flight.end(Ending::Broken);
            Err(io::Error::other("the connection was to be reset here"))
        }
        Fault::GarbageHttp => {
            wire.garble();
            Ok(reply(waiting, Tail::End))
        }
        Fault::HangBody => Ok(reply(waiting, Tail::Silence)),
        Fault::ResetBody => Ok(reply(waiting, Tail::Close)),
        Fault::RstBody => Ok(reply(waiting, Tail::Reset(wire))),
        Fault::Garbage => Ok(garbage(waiting)),
        Fault::Malformed => Ok(reply_with(waiting, Tail::End, |script| script.half_and(BROKEN_EVENT.into()))),
        Fault::ErrorBody => Ok(error_body(waiting)),
        Fault::None | Fault::Hang => Ok(faultless(waiting)),
    }
}

fn reply(waiting: Waiting, tail: Tail) -> Response<ReplyBody> {
    reply_with(waiting, tail, |script| script)
}

/// A reply whose script is changed before it is sent.
fn reply_with(waiting: Waiting, tail: Tail, change: impl FnOnce(Script) -> Script) -> Response<ReplyBody> {
    let Waiting { endpoint, asked, opening, behaviour, received, in_flight } = waiting;
    let answer = Answer::new(opening, &behaviour, in_flight.sequence, stamp::now().as_secs()).in_form(&asked);
    let script = change(endpoint.reply(&asked, &answer));
    // What drips are no events.
    let is_stamped = behaviour.stamp && behaviour.drip.is_none() && script.is_of_events();
    let script = match behaviour.drip {
        Some(size) => script.dripped(size),
        None => script,
    };
    let interval = Duration::from_secs_f64(1.0 / behaviour.token_rate);
    let head = head(endpoint.dialect(), 200, in_flight.sequence);
    let received = is_stamped.then_some(received);
    with_body(head, script, |script| ReplyBody::of_call(script, interval, tail, in_flight).stamped(received))
}

/// Well-formed HTTP that holds half a document.
fn garbage(waiting: Waiting) -> Response<ReplyBody> {
    let content_type = if waiting.asked.stream { "text/event-stream" } else { "application/json" };
    let steps = vec![Step::Now(BROKEN_EVENT.into())];
    let script = Script { content_type, steps, streamed: false };
    let head = head(waiting.endpoint.dialect(), 200, waiting.in_flight.sequence);
    with_body(head, script, |script| ReplyBody::of_call(script, Duration::ZERO, Tail::End, waiting.in_flight))
}

/// A stream that ends with the provider's error event; where there is no stream, an error.
fn error_body(mut waiting: Waiting) -> Response<ReplyBody> {
    if !waiting.asked.stream {
        waiting.behaviour.status = UNAVAILABLE;
        return failure(waiting);
    }
    let (endpoint, sequence) = (waiting.endpoint, waiting.in_flight.sequence);
    let event = endpoint.error_event(UNAVAILABLE, "Simulated error in the stream.", sequence);
    reply_with(waiting, Tail::End, |script| script.half_and(event))
}

fn faultless(waiting: Waiting) -> Response<ReplyBody> {
    match waiting.behaviour.refusal {
        Some(refusal) => refused(waiting, refusal),
        None if waiting.behaviour.status != 200 => failure(waiting),
        None => reply(waiting, Tail::End),
    }
}

/// What the provider says to a request that it will not answer.
fn refused(waiting: Waiting, refusal: Refusal) -> Response<ReplyBody> {
    let Waiting { endpoint, asked, in_flight, .. } = waiting;
    let (status, script) = endpoint.refusal(&asked, refusal, in_flight.sequence);
    let head = head(endpoint.dialect(), status, in_flight.sequence);
    with_body(head, script, |script| ReplyBody::of_call(script, Duration::ZERO, Tail::End, in_flight))
}

fn failure(waiting: Waiting) -> Response<ReplyBody> {
    let Waiting { endpoint, behaviour, in_flight, .. } = waiting;
    let message = format!("Simulated error {}.", behaviour.status);
    let retry_after = behaviour.retry_after;
    let refused = Refused { dialect: endpoint.dialect(), status: behaviour.status, message, in_flight };
    let mut response = refuse(refused);
    if let Some((name, value)) = retry_after.map(come_back)
        && let Ok(value) = value.parse()
    {
        response.headers_mut().insert(name, value);
    }
    response
}

fn come_back(when: RetryAfter) -> (&'static str, String) {
    match when {
        RetryAfter::Verbatim(value) => ("retry-after", value),
        RetryAfter::Millis(value) => ("retry-after-ms", value),
        RetryAfter::Date(from_now) => ("retry-after", httpdate::fmt_http_date(SystemTime::now() + from_now)),
    }
}

fn refuse(refused: Refused) -> Response<ReplyBody> {
    let Refused { dialect, status, message, in_flight } = refused;
    let document = dialect.error(status, &message, in_flight.sequence);
    let head = head(dialect, status, in_flight.sequence);
    with_body(head, Script::whole(&document), |script| ReplyBody::of_call(script, Duration::ZERO, Tail::End, in_flight))
}

/// Status and the headers that a provider sends with every answer.
fn head(dialect: Dialect, status: u16, sequence: u64) -> Builder {
    let head = Response::builder().status(status).header(dialect.request_id_header(), format!("req_sim{sequence:012}"));
    match dialect {
        Dialect::Openai => head
            .header("openai-processing-ms", "1")
            .header("x-ratelimit-limit-requests", "10000")
            .header("x-ratelimit-remaining-requests", "9999")
            .header("x-ratelimit-reset-requests", "6ms"),
        Dialect::Anthropic => head
            .header("anthropic-ratelimit-requests-limit", "10000")
            .header("anthropic-ratelimit-requests-remaining", "9999"),
        Dialect::Gemini => head,
    }
}

/// Completes a response. The names and values in a head are our own, so building cannot fail.
pub(crate) fn with_body(head: Builder, script: Script, body: impl FnOnce(Script) -> ReplyBody) -> Response<ReplyBody> {
    let head = head.header("content-type", script.content_type);
    let head = if script.streamed { head.header("cache-control", "no-cache") } else { head };
    head.body(body(script)).expect("our own header names and values are valid")
}
