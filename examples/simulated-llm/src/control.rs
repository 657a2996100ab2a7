//! `/sim/...`: counters, recorded requests and the behaviour, at run time.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::body::ReplyBody;
use crate::call::with_body;
use crate::dialect::Script;
use crate::directive;
use crate::simulation::{Defaults, Simulation};

/// What `POST /sim/config` may change; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    latency: Option<String>,
    tokens: Option<usize>,
    token_rate: Option<f64>,
    directives: Option<String>,
}

/// Answers a control request.
pub(crate) async fn answer_control(simulation: &Simulation, request: Request<Incoming>) -> Response<ReplyBody> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let prompt = parameter(&query, "prompt").map(|text| fingerprint(&text));
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/sim/stats") => (StatusCode::OK, stats(simulation, prompt.as_deref())),
        (&Method::GET, "/sim/requests") => (StatusCode::OK, json!(simulation.recorder.requests(prompt.as_deref()))),
        (&Method::GET, "/sim/config") => (StatusCode::OK, shown(&simulation.defaults())),
        (&Method::POST, "/sim/config") => configure(simulation, request.into_body()).await,
        (&Method::POST, "/sim/reset") => (StatusCode::OK, reset(simulation)),
        _ => (StatusCode::NOT_FOUND, json!({"error": "no such page"})),
    };
    with_body(Response::builder().status(status), Script::whole(&body), ReplyBody::plain)
}

fn stats(simulation: &Simulation, fingerprint: Option<&str>) -> Value {
    match fingerprint {
        None => json!(simulation.tally.snapshot()),
        Some(fingerprint) => {
            let mut counts = json!(simulation.tally.of_prompt(fingerprint));
            counts["fingerprint"] = json!(fingerprint);
            counts
        }
    }
}

/// Counters and recorded requests; the behaviour stays.
fn reset(simulation: &Simulation) -> Value {
    simulation.tally.reset();
    simulation.recorder.reset();
    json!({})
}

async fn configure(simulation: &Simulation, body: Incoming) -> (StatusCode, Value) {
    let Ok(body) = body.collect().await else {
        return (StatusCode::BAD_REQUEST, json!({"error": "the body broke off"}));
    };
    let change = serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string());
    match change.and_then(|change| apply(&mut simulation.defaults(), change)) {
        Ok(()) => (StatusCode::OK, shown(&simulation.defaults())),
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error})),
    }
}

fn apply(defaults: &mut Defaults, change: Change) -> Result<(), String> {
    let latency: Option<Duration> = match change.latency {
        Some(text) => Some(directive::duration(&text).ok_or("latency: write 500ms, 2s or 0")?),
        None => None,
    };
    if change.token_rate.is_some_and(|rate| rate <= 0.0) {
        return Err("token_rate: must be above 0".to_owned());
    }
    let behaviour = &mut defaults.behaviour;
    behaviour.latency = latency.unwrap_or(behaviour.latency);
    behaviour.tokens = change.tokens.unwrap_or(behaviour.tokens);
    behaviour.token_rate = change.token_rate.unwrap_or(behaviour.token_rate);
    defaults.directives = change.directives.unwrap_or_else(|| defaults.directives.clone());
    Ok(())
}

fn shown(defaults: &Defaults) -> Value {
    json!({
        "latency": humantime::format_duration(defaults.behaviour.latency).to_string(),
        "tokens": defaults.behaviour.tokens,
        "token_rate": defaults.behaviour.token_rate,
        "directives": defaults.directives,
    })
}

/// A prompt is named by its text, or by its SHA-256 or the first 12 digits of it.
fn fingerprint(text: &str) -> String {
    let is_digest = [12, 64].contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    if is_digest { text[..12].to_lowercase() } else { answer::fingerprint(text) }
}

/// A query parameter, percent-decoded; `+` is a space.
fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => decoded.push(hex::decode([bytes.next()?, bytes.next()?]).ok()?[0]),
            other => decoded.push(other),
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_named_by_text_or_digest() {
        let digest = answer::fingerprint("hello there");
        assert_eq!(fingerprint("hello there"), digest);
        assert_eq!(fingerprint(&digest), digest);
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(parameter("a=1&prompt=a+b%C3%BC%5B", "prompt").as_deref(), Some("a bü["));
        assert_eq!(parameter("prompt=%", "prompt"), None);
    }

    #[test]
    fn a_change_leaves_the_rest_alone_and_a_bad_one_everything() {
        let mut defaults = Defaults::default();
        apply(&mut defaults, serde_json::from_value(json!({"latency": "5ms"})).unwrap()).unwrap();
        assert_eq!((defaults.behaviour.latency, defaults.behaviour.tokens), (Duration::from_millis(5), 16));
        assert!(
            apply(&mut defaults, serde_json::from_value(json!({"latency": "soon", "tokens": 1})).unwrap()).is_err()
        );
        assert_eq!(defaults.behaviour.tokens, 16);
    }
}
