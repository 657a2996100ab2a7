//! The last requests as they came in, so that a test sees what the provider was asked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::http::request::Parts;
use serde::Serialize;

use crate::simulation::unpoisoned;

/// Requests kept.
const CAPACITY: usize = 1000;
/// Bytes of bodies kept in all.
const BODY_BYTES: usize = 64 << 20;

#[derive(Clone, Serialize)]
pub(crate) struct Recorded {
    at_ms: u64,
    fingerprint: String,
    method: String,
    target: String,
    http: String,
    headers: Vec<(String, String)>,
    /// Text; bytes that are not UTF-8 are replaced.
    body: String,
}

impl Recorded {
    pub(crate) fn new(parts: &Parts, body: &Bytes, fingerprint: &str) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            at_ms: now.as_millis() as u64,
            fingerprint: fingerprint.to_owned(),
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            http: format!("{:?}", parts.version),
            headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: text(body),
        }
    }
}

#[derive(Default)]
struct Ring {
    requests: VecDeque<Recorded>,
    bytes: usize,
}

#[derive(Default)]
pub(crate) struct Recorder(Mutex<Ring>);

impl Recorder {
    pub(crate) fn record(&self, request: Recorded) {
        let mut ring = unpoisoned(&self.0);
        ring.bytes += request.body.len();
        ring.requests.push_back(request);
        while ring.requests.len() > CAPACITY || ring.bytes > BODY_BYTES {
            let Some(oldest) = ring.requests.pop_front() else {
                break;
            };
            ring.bytes -= oldest.body.len();
        }
    }

    /// Oldest first; all of them without a fingerprint.
    pub(crate) fn requests(&self, fingerprint: Option<&str>) -> Vec<Recorded> {
        let ring = unpoisoned(&self.0);
        let wanted = |request: &&Recorded| fingerprint.is_none_or(|wanted| request.fingerprint == wanted);
        ring.requests.iter().filter(wanted).cloned().collect()
    }

    pub(crate) fn reset(&self) {
        *unpoisoned(&self.0) = Ring::default();
    }
}
