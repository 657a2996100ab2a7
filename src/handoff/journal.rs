//! The journal: what has happened so far in an exchange, kept as JSON fragments in the order in which it was
//! recorded, so that each resume is a concatenation (protocol, section 3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// A call without a complete answer, in the protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    /// No connection, or it ended before a response.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// No response head in time.
    FirstByteTimeout,
    /// The body stalled.
    IdleTimeout,
    /// The call took too long.
    TotalTimeout,
    /// The exchange's deadline passed.
    Deadline,
    /// The connection ended in the middle of the body.
    Interrupted,
    /// The body exceeded the limit.
    TooLarge,
    /// What came back was not HTTP.
    Protocol,
    /// The provider was not asked: it failed too often, or too many calls wait for it.
    Unavailable,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// A complete response, whatever its status.
    Response(Response),
    /// No complete response.
    Error {
        /// Which kind.
        error: CallError,
        /// For people.
        message: String,
    },
}

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The provider's status.
    pub status: u16,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A call's identity and its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The call site, as the app named it.
    pub name: String,
    /// The request's identity, as the app named it.
    pub digest: String,
    /// The pass that asked.
    pub pass: u32,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// How it ended.
    pub recorded: Recorded,
    /// How it was relayed to the client, where it was.
    pub relayed: Option<Relayed>,
}

/// The client has read the answer already, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Why the stream broke off, where it did.
    pub broken: Option<(CallError, String)>,
}

/// What has happened so far, oldest first.
#[derive(Debug, Default)]
pub struct Journal(Vec<Entry>);

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Entry {
    Value(Box<RawValue>),
    Finished(Box<Finished>),
}

#[derive(serde::Serialize)]
struct Document<'a> {
    v: u32,
    entries: &'a [Entry],
}

impl Journal {
    /// Whether nothing has been recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what the app recorded itself: an entry that is JSON already.
    pub fn push_value(&mut self, entry: Box<RawValue>) {
        self.0.push(Entry::Value(entry));
    }

    /// Adds the end of a call.
    pub fn push_finished(&mut self, finished: Finished) {
        self.0.push(Entry::Finished(Box::new(finished)));
    }

    /// The ends of calls, oldest first.
    pub fn finished(&self) -> impl Iterator<Item = &Finished> {
        self.0.iter().filter_map(|entry| match entry {
            Entry::Finished(finished) => Some(&**finished),
            Entry::Value(_) => None,
        })
    }

    /// The whole document; empty when nothing has been recorded. It is made for each pass anew, so that what
    /// waits for a provider holds every body once.
    pub fn frame(&self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        let document = Document { v: 1, entries: &self.0 };
        serde_json::to_vec(&document).expect("strings and numbers always serialise").into()
    }
}

impl Serialize for Finished {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_map(None)?;
        let kind = if matches!(self.recorded, Recorded::Response(_)) { "result" } else { "error" };
        entry.serialize_entry("kind", kind)?;
        entry.serialize_entry("name", &self.name)?;
        entry.serialize_entry("digest", &self.digest)?;
        entry.serialize_entry("pass", &self.pass)?;
        entry.serialize_entry("elapsed_ms", &self.elapsed_ms)?;
        match &self.recorded {
            Recorded::Response(Response { status, headers, body }) => {
                entry.serialize_entry("status", status)?;
                entry.serialize_entry("headers", &pairs(headers))?;
                match std::str::from_utf8(body) {
                    Ok(text) => entry.serialize_entry("body", text)?,
                    Err(_) => entry.serialize_entry("body_b64", &STANDARD.encode(body))?,
                }
            }
            Recorded::Error { error, message } => {
                entry.serialize_entry("error", error)?;
                entry.serialize_entry("message", message)?;
            }
        }
        if let Some(relayed) = &self.relayed {
            entry.serialize_entry("relayed", &true)?;
            if let Some((error, message)) = &relayed.broken {
                entry.serialize_entry("broken", error)?;
                entry.serialize_entry("message", message)?;
            }
        }
        entry.end()
    }
}

/// Header values that are not ASCII are read as Latin-1, as HTTP/1.1 once had it.
fn pairs(headers: &HeaderMap) -> Vec<(&str, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().map(|&byte| char::from(byte)).collect();
    headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(journal: &mut Journal, recorded: Recorded) {
        let (name, digest) = ("a:b:1#0".to_owned(), "d".to_owned());
        journal.push_finished(Finished { name, digest, pass: 0, elapsed_ms: 7, recorded, relayed: None });
    }

    fn response(body: &'static [u8]) -> Recorded {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        Recorded::Response(Response { status: 200, headers, body: Bytes::from_static(body) })
    }

    #[test]
    fn entries_are_framed_in_the_order_of_recording() {
        let mut journal = Journal::default();
        assert!(journal.frame().is_empty());
        journal.push_value(RawValue::from_string(r#"{"kind":"value","name":"n","value":1}"#.into()).unwrap());
        finish(&mut journal, response(b"h\"i"));
        finish(&mut journal, Recorded::Error { error: CallError::ConnectTimeout, message: "slow".into() });
        let read: serde_json::Value = serde_json::from_slice(&journal.frame()).unwrap();
        assert_eq!(
            read,
            serde_json::json!({"v": 1, "entries": [
                {"kind": "value", "name": "n", "value": 1},
                {"kind": "result", "name": "a:b:1#0", "digest": "d", "pass": 0, "elapsed_ms": 7, "status": 200,
                 "headers": [["content-type", "text/plain"]], "body": "h\"i"},
                {"kind": "error", "name": "a:b:1#0", "digest": "d", "pass": 0, "elapsed_ms": 7,
                 "error": "connect_timeout", "message": "slow"},
            ]})
        );
    }

    #[test]
    fn bytes_that_are_not_text_travel_in_base64() {
        let mut journal = Journal::default();
        finish(&mut journal, response(&[0xff, 0]));
        assert!(String::from_utf8_lossy(&journal.frame()).contains(r#""body_b64":"/wA=""#));
    }
}
