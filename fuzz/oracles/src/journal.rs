//! What is told to an app of what others said: `siding::handoff::Journal`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;
use siding::handoff::{CallError, Finished, Journal, Recorded, Relayed, Response};

/// Separates entries, and what an entry is made of.
const BETWEEN: [u8; 2] = [0x1e, 0x1f];

#[derive(serde::Deserialize)]
struct Frame<'a> {
    v: u32,
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

/// What an entry must read as.
enum Expected {
    Value(String),
    Finished(Box<Finished>),
}

/// Entries: values of the app, answers, failures. Framed, they are one JSON document in which each is found as it was.
pub fn journal(data: &[u8]) {
    let (mut journal, mut expected) = (Journal::default(), Vec::new());
    for entry in data.split(|byte| *byte == BETWEEN[0]).take(20) {
        let Some((kind, said)) = entry.split_first() else { continue };
        let found = if *kind == b'v' { value(said) } else { Some(Expected::Finished(Box::new(finished(*kind, said)))) };
        match &found {
            Some(Expected::Value(text)) => {
                journal.push_value(RawValue::from_string(text.clone()).expect("it was JSON before"));
            }
            Some(Expected::Finished(finished)) => journal.push_finished((**finished).clone()),
            None => continue,
        }
        expected.extend(found);
    }
    let framed = journal.frame();
    assert_eq!(framed.is_empty(), expected.is_empty());
    if framed.is_empty() {
        return;
    }
    let frame: Frame<'_> = serde_json::from_slice(&framed).expect("a journal is JSON");
    assert_eq!((frame.v, frame.entries.len()), (1, expected.len()));
    for (entry, expected) in frame.entries.into_iter().zip(expected) {
        match expected {
            Expected::Value(text) => assert_eq!(entry.get(), text),
            Expected::Finished(finished) => check(entry, &finished),
        }
    }
}

/// Values are checked to be objects where they come in.
fn value(said: &[u8]) -> Option<Expected> {
    let raw: Box<RawValue> = serde_json::from_slice(said).ok()?;
    raw.get().starts_with('{').then(|| Expected::Value(raw.get().to_owned()))
}

fn finished(kind: u8, said: &[u8]) -> Finished {
    let mut parts = said.splitn(3, |byte| *byte == BETWEEN[1]);
    let mut part = || parts.next().unwrap_or_default();
    let (name, other, body) = (part(), part(), part());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let recorded = if kind == b'e' {
        Recorded::Error { error: CallError::Interrupted, message: text(other) }
    } else {
        let value = HeaderValue::from_bytes(other).ok();
        let headers = value.map(|value| (HeaderName::from_static("x-a"), value)).into_iter().collect::<HeaderMap>();
        Recorded::Response(Response { status: 200, headers, body: Bytes::copy_from_slice(body) })
    };
    let relayed = (kind == b'r').then(|| Relayed { broken: Some((CallError::IdleTimeout, text(other))) });
    Finished { name: text(name), digest: "d".into(), pass: 0, elapsed_ms: 7, recorded, relayed }
}

fn check(entry: &RawValue, finished: &Finished) {
    let read: Value = serde_json::from_str(entry.get()).expect("an entry is JSON");
    assert_eq!(read["name"], *finished.name);
    assert_eq!(read["relayed"].as_bool().unwrap_or_default(), finished.relayed.is_some());
    if let Some(Relayed { broken: Some((_, message)) }) = &finished.relayed {
        assert_eq!(read["message"], **message);
    }
    match &finished.recorded {
        Recorded::Error { message, .. } => assert_eq!(read["message"], **message),
        Recorded::Response(response) => {
            let body = match (read["body"].as_str(), read["body_b64"].as_str()) {
                (Some(text), None) => text.as_bytes().to_vec(),
                (None, Some(encoded)) => STANDARD.decode(encoded).expect("it is base64"),
                other => panic!("not one body: {other:?}"),
            };
            assert_eq!(body, response.body);
            let value = read["headers"][0][1].as_str().map(latin_1);
            assert_eq!(value.as_deref(), response.headers.get("x-a").map(HeaderValue::as_bytes));
        }
    }
}

fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).expect("header values are told as Latin-1")).collect()
}
