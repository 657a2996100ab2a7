//! Reading what an app asks for: a bounded parser of foreign bytes (protocol, sections 2 and 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::CALL_MEDIA_TYPE;
use super::relay::{RawRelay, Relay};
use super::sharing::Sharing;
use super::signature::{Keys, Signed};
use crate::media_type;

/// The longest name of a call site, in bytes.
const MAX_NAME: usize = 512;
/// The longest digest, in bytes: SHA-256 in hexadecimal.
const MAX_DIGEST: usize = 64;

/// Headers of one call, or of a relayed answer.
const MAX_HEADERS: usize = 256;

/// Bytes of JSON that one byte of text takes at the most: `\u0000`.
const MOST_ESCAPED: usize = 6;
/// Bytes of a call besides its body: name, URL, headers.
const CALL_OVERHEAD: usize = 64 * 1024;

/// What an app may ask for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in one document.
    pub max_calls: usize,
    /// Bytes of one call's body.
    pub max_call_bytes: usize,
    /// Bytes of a whole journal.
    pub max_journal: usize,
    /// Bytes of one result.
    pub max_result: usize,
    /// Trips of one request through workers.
    pub max_passes: u32,
}

impl Limits {
    /// The longest document that can be valid.
    pub fn max_document(&self) -> usize {
        let call = self.max_call_bytes.saturating_mul(MOST_ESCAPED).saturating_add(CALL_OVERHEAD);
        self.max_calls.saturating_mul(call).saturating_add(self.max_journal)
    }
}

/// Why a call is refused. The message is for the operator's log; the client is told the kind only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No signature, or a wrong one.
    #[error("the signature does not verify: is SIDING_SECRET the same on both sides?")]
    Signature,
    /// Not a call document of this exchange and pass.
    #[error("the call document is malformed: {0}")]
    Malformed(String),
    /// A version or mode that was not offered.
    #[error("{0} was not offered")]
    Unsupported(String),
    /// Over a limit.
    #[error("{0}")]
    Limit(String),
}

/// A verified document.
#[derive(Debug)]
pub struct Calls {
    /// At least one.
    pub calls: Vec<Call>,
    /// What the app recorded in this pass, each a JSON object.
    pub values: Vec<Box<RawValue>>,
    /// How the only call is relayed, where it is.
    pub relay: Option<Relay>,
}

/// One LLM request that the app wants made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The call site.
    pub name: String,
    /// The request's identity.
    pub digest: String,
    /// The request method.
    pub method: Method,
    /// Where the SDK would have sent it.
    pub url: Url,
    /// As the SDK set them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The longest silence that the SDK would have waited for.
    pub timeout_ms: Option<u64>,
    /// What the view says about sharing its answer.
    pub cache: Option<Sharing>,
}

/// Whether an answer is a call rather than something for the client.
pub fn is_call(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::ACCEPTED && media_type::of(headers).eq_ignore_ascii_case(CALL_MEDIA_TYPE)
}

/// Verifies and reads a call document. `signed.content` must be the document.
///
/// # Errors
/// See [`Invalid`].
pub fn parse(
    document: &[u8],
    signature: Option<&HeaderValue>,
    keys: &Keys,
    signed: &Signed<'_>,
    limits: &Limits,
    now: u64,
) -> Result<Calls, Invalid> {
    let signature = signature.and_then(|value| value.to_str().ok()).ok_or(Invalid::Signature)?;
    if !keys.verify(signed, signature, now) {
        return Err(Invalid::Signature);
    }
    let read: Document = serde_json::from_slice(document).map_err(|error| malformed(&error))?;
    read.check(signed, limits)?;
    let calls = read.calls.into_iter().map(|call| call.check(limits)).collect::<Result<_, _>>()?;
    let relay = read.relay.filter(|_| read.mode == Mode::Relay).map(RawRelay::check).transpose()?;
    Ok(Calls { calls, values: read.journal, relay })
}

/// serde's own message quotes what it found, which may be a credential.
fn malformed(error: &serde_json::Error) -> Invalid {
    let (kind, line, column) = (error.classify(), error.line(), error.column());
    Invalid::Malformed(format!("{kind:?} error at line {line}, column {column}"))
}

#[derive(Deserialize)]
struct Document {
    v: u64,
    id: String,
    pass: u32,
    mode: Mode,
    calls: Vec<RawCall>,
    #[serde(default)]
    journal: Vec<Box<RawValue>>,
    relay: Option<RawRelay>,
}

/// What becomes of the answers.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// They go into the journal.
    Replay,
    /// The only one goes to the client first.
    Relay,
    #[serde(untagged)]
    Unknown(String),
}

impl Document {
    fn check(&self, signed: &Signed<'_>, limits: &Limits) -> Result<(), Invalid> {
        if self.v != 1 {
            return Err(Invalid::Unsupported(format!("version {}", self.v)));
        }
        if let Mode::Unknown(mode) = &self.mode {
            return Err(Invalid::Unsupported(format!("mode {:?}", shorten(mode))));
        }
        if self.id != signed.id || self.pass != signed.pass {
            let (pass, id) = (self.pass, shorten(&self.id));
            return Err(Invalid::Malformed(format!("it is for pass {pass} of exchange {id:?}")));
        }
        if self.calls.is_empty() {
            return Err(Invalid::Malformed("it has no calls".into()));
        }
        if self.mode == Mode::Relay && (self.calls.len() != 1 || self.relay.is_none()) {
            return Err(Invalid::Malformed("a relay has one call, and says how it is relayed".into()));
        }
        if self.calls.len() > limits.max_calls {
            return Err(Invalid::Limit(format!(
                "{} calls at once, {} are allowed",
                self.calls.len(),
                limits.max_calls
            )));
        }
        if self.journal.iter().any(|entry| !entry.get().starts_with('{')) {
            return Err(Invalid::Malformed("a journal entry is not an object".into()));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct RawCall {
    name: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_b64: Option<String>,
    digest: String,
    timeout_ms: Option<u64>,
    cache: Option<Sharing>,
}

impl RawCall {
    fn check(self, limits: &Limits) -> Result<Call, Invalid> {
        let malformed = |what: &str| Invalid::Malformed(format!("call {:?}: {what}", shorten(&self.name)));
        if self.name.len() > MAX_NAME {
            return Err(Invalid::Limit(format!("a call's name has {} bytes, {MAX_NAME} are allowed", self.name.len())));
        }
        if self.digest.len() > MAX_DIGEST {
            return Err(malformed("the digest is too long"));
        }
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|_| malformed("not a method"))?;
        let url = Url::parse(&self.url).map_err(|_| malformed("not an absolute URL"))?;
        let headers = read_headers(&self.headers, malformed)?;
        let body = match (self.body, self.body_b64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(encoded)) => {
                STANDARD.decode(encoded).map_err(|_| Invalid::Malformed("body_b64 is not base64".into()))?.into()
            }
            (None, None) => Bytes::new(),
            (Some(_), Some(_)) => return Err(Invalid::Malformed("both body and body_b64".into())),
        };
        if body.len() > limits.max_call_bytes {
            let (is, allowed) = (body.len(), limits.max_call_bytes);
            return Err(Invalid::Limit(format!("a call's body has {is} bytes, {allowed} are allowed")));
        }
        let Self { name, digest, timeout_ms, cache, .. } = self;
        if cache.as_ref().is_some_and(|cache| !cache.has_valid_names()) {
            return Err(Invalid::Malformed("a scope or tag is not a name, or there are too many".into()));
        }
        Ok(Call { name, digest, method, url, headers, body, timeout_ms, cache })
    }
}

/// A map of headers panics where there are too many.
pub(super) fn read_headers(
    pairs: &[(String, String)],
    malformed: impl Fn(&str) -> Invalid,
) -> Result<HeaderMap, Invalid> {
    if pairs.len() > MAX_HEADERS {
        return Err(Invalid::Limit(format!("{} headers, {MAX_HEADERS} are allowed", pairs.len())));
    }
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("not a header"))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| malformed("not a header"))?);
    }
    Ok(headers)
}

fn shorten(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

#[cfg(test)]
mod tests {
    use super::super::signature::Direction;
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: u64 = 1_790_000_000;
    const LIMITS: Limits =
        Limits { max_calls: 2, max_call_bytes: 16, max_journal: 100, max_result: 100, max_passes: 4 };

    fn read(document: &[u8]) -> Result<Calls, Invalid> {
        let keys = Keys::new(Secret::new("0123456789abcdef"), None).unwrap();
        let content = [document];
        let direction = Direction::AppToProxy;
        let signed = Signed { direction, id: "i", pass: 0, method: "POST", target: "/", content: &content };
        let signature = HeaderValue::from_str(&keys.sign(&signed, NOW)).unwrap();
        parse(document, Some(&signature), &keys, &signed, &LIMITS, NOW)
    }

    fn with(change: impl FnOnce(&mut Value)) -> Result<Calls, Invalid> {
        let mut document = json!({"v": 1, "id": "i", "pass": 0, "mode": "replay", "journal": [], "calls": [
            {"seq": 0, "name": "n", "method": "POST", "url": "https://a.example/v1/x", "headers": [["a", "b"]],
             "body": "hi", "digest": "d", "timeout_ms": 5}]});
        change(&mut document);
        read(document.to_string().as_bytes())
    }

    #[test]
    fn a_well_formed_call_is_read() {
        let calls = with(|_| ()).unwrap().calls;
        assert_eq!((calls.len(), calls[0].body.as_ref(), calls[0].timeout_ms), (1, b"hi".as_slice(), Some(5)));
        let binary = with(|d| {
            d["calls"][0] = json!({"name": "n", "method": "GET", "url": "http://a/", "digest": "",
            "body_b64": "/wA="})
        });
        assert_eq!(binary.unwrap().calls[0].body.as_ref(), &[0xff, 0]);
    }

    #[test]
    fn each_fault_has_its_kind() {
        let malformed: [fn(&mut Value); 9] = [
            |d| d["id"] = json!("other"),
            |d| d["pass"] = json!(1),
            |d| d["calls"] = json!([]),
            |d| d["calls"][0]["url"] = json!("/v1/x"),
            |d| d["calls"][0]["method"] = json!("PO ST"),
            |d| d["calls"][0]["headers"] = json!([["a", "b\r\nc: d"]]),
            |d| d["calls"][0]["body_b64"] = json!("aGk="),
            |d| d["journal"] = json!([1]),
            |d| d["calls"][0]["digest"] = json!("d".repeat(65)),
        ];
        for (n, change) in malformed.into_iter().enumerate() {
            assert!(matches!(with(change), Err(Invalid::Malformed(_))), "{n}");
        }
        assert!(matches!(with(|d| d["v"] = json!(2)), Err(Invalid::Unsupported(_))));
        assert!(matches!(with(|d| d["mode"] = json!("later")), Err(Invalid::Unsupported(_))));
        assert!(matches!(with(|d| d["calls"][0]["body"] = json!("x".repeat(17))), Err(Invalid::Limit(_))));
        assert!(matches!(with(|d| d["calls"][0]["name"] = json!("x".repeat(513))), Err(Invalid::Limit(_))));
        let many = json!(vec![("a", "b"); 50_000]);
        assert!(matches!(with(|d| d["calls"][0]["headers"] = many.clone()), Err(Invalid::Limit(_))));
        let third = with(|d| d["calls"] = json!([d["calls"][0], d["calls"][0], d["calls"][0]]));
        assert!(matches!(third, Err(Invalid::Limit(_))));
    }

    #[test]
    fn a_relay_says_how_its_only_call_is_relayed() {
        let relayed = |relay: Value| {
            with(|d| {
                d["mode"] = json!("relay");
                d["relay"] = relay;
            })
        };
        let head =
            json!({"status": 201, "headers": [["vary", "origin"], ["content-type", "a/b"], ["content-length", "3"]]});
        let relay = relayed(json!({"format": "text", "on_disconnect": "finish", "head": head})).unwrap().relay.unwrap();
        assert_eq!((relay.format.as_str(), relay.outlives_client, relay.status.as_u16()), ("text", true, 201));
        assert_eq!(relay.headers.len(), 1);
        assert!(!relayed(json!({"format": "text", "head": head})).unwrap().relay.unwrap().outlives_client);
        for malformed in [
            json!(null),
            json!({"format": "text"}),
            json!({"format": "text", "head": {"status": 302}}),
            json!({"format": "text", "head": {"status": 200, "headers": [["a", "b\r\nc: d"]]}}),
            json!({"format": "text", "on_disconnect": "perhaps", "head": {"status": 200}}),
        ] {
            assert!(matches!(relayed(malformed.clone()), Err(Invalid::Malformed(_))), "{malformed}");
        }
        let two = with(|d| {
            d["mode"] = json!("relay");
            d["relay"] = json!({"format": "text", "head": {"status": 200}});
            d["calls"] = json!([d["calls"][0], d["calls"][0]]);
        });
        assert!(matches!(two, Err(Invalid::Malformed(_))));
        assert!(with(|d| d["relay"] = json!({"format": "text", "head": {"status": 200}})).unwrap().relay.is_none());
    }

    #[test]
    fn only_a_202_of_our_media_type_is_a_call() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("Application/vnd.Siding.call+json ; v=1"));
        assert!(is_call(StatusCode::ACCEPTED, &headers));
        assert!(!is_call(StatusCode::OK, &headers));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        assert!(!is_call(StatusCode::ACCEPTED, &headers));
    }

    #[test]
    fn a_malformed_call_is_described_without_what_it_holds() {
        let invalid = with(|d| d["calls"][0]["headers"] = json!(["authorization: Bearer sk-secret"])).unwrap_err();
        assert!(matches!(&invalid, Invalid::Malformed(what) if !what.contains("sk-secret")), "{invalid}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(document in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&document);
        }
    }
}
