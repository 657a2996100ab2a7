//! What an app asks for: `siding::handoff::parse`.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use siding::handoff::{self, Call, Calls, Direction, Invalid, Keys, Limits, Relay, Sharing, Signed};
use siding::secret::Secret;

const NOW: u64 = 1_790_000_000;
const LIMITS: Limits = Limits { max_calls: 3, max_call_bytes: 64, max_journal: 100, max_result: 100, max_passes: 4 };

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::new(Secret::new("0123456789abcdef"), None).expect("it is long enough"));

/// A document, which is signed here so that more than signatures is tried. What is read is within the limits, and reads
/// the same when it is written again; what somebody changed on the way is refused.
pub fn call(document: &[u8]) {
    let read = parse(document, document);
    assert!(!matches!(read, Err(Invalid::Signature)), "it was signed");
    let Ok(calls) = read else { return };
    within_limits(&calls);
    let again = written(&calls);
    let read = parse(&again, &again).expect("what was written of calls can be read");
    same(&calls, &read);
    let mut changed = document.to_vec();
    if let Some(byte) = changed.last_mut() {
        *byte ^= 1;
    }
    assert!(matches!(parse(&changed, document), Err(Invalid::Signature)), "it was changed after it was signed");
}

fn parse(document: &[u8], signed_for: &[u8]) -> Result<Calls, Invalid> {
    let signature = KEYS.sign(&signed(&[signed_for]), NOW);
    let signature = HeaderValue::from_str(&signature).expect("it is ASCII");
    handoff::parse(document, Some(&signature), &KEYS, &signed(&[document]), &LIMITS, NOW)
}

fn signed<'a>(content: &'a [&'a [u8]]) -> Signed<'a> {
    Signed { direction: Direction::AppToProxy, id: "i", pass: 0, method: "POST", target: "/", content }
}

fn within_limits(Calls { calls, values, relay }: &Calls) {
    assert!((1..=LIMITS.max_calls).contains(&calls.len()));
    assert!(relay.is_none() || calls.len() == 1);
    assert!(values.iter().all(|value| value.get().starts_with('{')));
    for call in calls {
        assert!(call.body.len() <= LIMITS.max_call_bytes && call.name.len() <= 512 && call.digest.len() <= 64);
        assert!(!call.url.scheme().is_empty());
        assert!(call.cache.as_ref().is_none_or(Sharing::has_valid_names));
    }
    if let Some(relay) = relay {
        assert!(relay.status.is_success());
        assert!(!relay.headers.contains_key("content-type") && !relay.headers.contains_key("content-length"));
    }
}

/// As an app would write it.
#[derive(serde::Serialize)]
struct Document<'a> {
    v: u64,
    id: &'a str,
    pass: u32,
    mode: &'a str,
    calls: Vec<Value>,
    journal: &'a [Box<RawValue>],
    relay: Option<Value>,
}

fn written(calls: &Calls) -> Vec<u8> {
    let document = Document {
        v: 1,
        id: "i",
        pass: 0,
        mode: if calls.relay.is_some() { "relay" } else { "replay" },
        calls: calls.calls.iter().map(call_written).collect(),
        journal: &calls.values,
        relay: calls.relay.as_ref().map(relay_written),
    };
    serde_json::to_vec(&document).expect("strings and numbers always serialise")
}

fn call_written(call: &Call) -> Value {
    let sharing = call.cache.as_ref().map(|sharing| {
        json!({"ttl_ms": sharing.ttl_ms, "scope": sharing.scope, "tags": sharing.tags, "lookup": sharing.lookup,
            "store": sharing.store, "stale_if_error_ms": sharing.stale_if_error_ms,
            "stale_while_revalidate_ms": sharing.stale_while_revalidate_ms})
    });
    json!({"name": call.name, "digest": call.digest, "method": call.method.as_str(), "url": call.url.as_str(),
        "headers": pairs(&call.headers), "body_b64": STANDARD.encode(&call.body), "timeout_ms": call.timeout_ms,
        "cache": sharing})
}

fn relay_written(relay: &Relay) -> Value {
    let on_disconnect = if relay.outlives_client { "finish" } else { "cancel" };
    let head = json!({"status": relay.status.as_u16(), "headers": pairs(&relay.headers)});
    json!({"format": relay.format, "on_disconnect": on_disconnect, "head": head})
}

fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).expect("it came out of JSON");
    headers.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect()
}

fn same(calls: &Calls, again: &Calls) {
    assert_eq!(calls.calls.len(), again.calls.len());
    for (one, other) in calls.calls.iter().zip(&again.calls) {
        assert_eq!((&one.name, &one.digest, &one.method), (&other.name, &other.digest, &other.method));
        assert_eq!((&one.url, &one.headers, &one.body), (&other.url, &other.headers, &other.body));
        assert_eq!((&one.timeout_ms, &one.cache), (&other.timeout_ms, &other.cache));
    }
    let texts = |calls: &Calls| calls.values.iter().map(|value| value.get().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts(calls), texts(again));
    let relays = [calls, again].map(|calls| {
        calls.relay.as_ref().map(|relay| (&relay.format, relay.outlives_client, relay.status, &relay.headers))
    });
    assert_eq!(relays[0], relays[1]);
}
