//! The provider's own bytes. An event is handed on when it is complete, which no reader could use earlier: so what was
//! delivered always ends with an event, and a comment or an error can follow.

use bytes::{Bytes, BytesMut};

use super::{KEEP_ALIVE, failure};
use crate::answer::{Api, Splitter, is_event_stream};

/// Bytes of an event that is held until it is complete; a larger one is handed on as it comes.
const LARGEST_EVENT: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Passed {
    api: Option<Api>,
    body: Body,
    held: BytesMut,
    /// The event under way is too large to be held, and was handed on in part.
    is_oversized: bool,
}

#[derive(Debug)]
enum Body {
    Unknown,
    Stream(Splitter),
    /// Not events: a plain answer, say.
    Other,
}

impl Passed {
    pub(super) fn new(api: Option<Api>) -> Self {
        Self { api, body: Body::Unknown, held: BytesMut::new(), is_oversized: false }
    }

    pub(super) fn push(&mut self, mut bytes: Bytes) -> Bytes {
        if matches!(self.body, Body::Unknown) {
            bytes = self.after_held(bytes);
            match is_event_stream(&bytes) {
                Some(true) => self.body = Body::Stream(Splitter::new()),
                Some(false) => self.body = Body::Other,
                None => {
                    self.held.extend_from_slice(&bytes);
                    return Bytes::new();
                }
            }
        }
        let Body::Stream(splitter) = &mut self.body else { return bytes };
        let mut complete = None;
        while let Some(end) = splitter.end(&bytes[complete.unwrap_or_default()..]) {
            complete = Some(complete.unwrap_or_default() + end);
        }
        if splitter.is_at_end() {
            complete = Some(bytes.len());
        }
        self.release(bytes, complete)
    }

    /// Hands on what is complete, and holds the rest.
    fn release(&mut self, mut bytes: Bytes, complete: Option<usize>) -> Bytes {
        if self.is_oversized && complete.is_none() {
            return bytes;
        }
        let passed = match complete {
            Some(complete) => {
                self.is_oversized = false;
                let passed = bytes.split_to(complete);
                self.after_held(passed)
            }
            None => Bytes::new(),
        };
        self.held.extend_from_slice(&bytes);
        if self.held.len() <= LARGEST_EVENT {
            return passed;
        }
        self.is_oversized = true;
        let mut all = BytesMut::from(passed);
        all.unsplit(self.held.split());
        all.freeze()
    }

    fn after_held(&mut self, bytes: Bytes) -> Bytes {
        if self.held.is_empty() {
            return bytes;
        }
        self.held.extend_from_slice(&bytes);
        self.held.split().freeze()
    }

    pub(super) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// The error in the provider's own shape. An event under way is left out: readers would stumble over half of it.
    pub(super) fn fail(&mut self, message: &str) -> Option<Bytes> {
        let event = self.api.filter(|_| !matches!(self.body, Body::Other)).and_then(|api| failure::event(api, message));
        self.held.clear();
        event.map(|event| if self.is_oversized { format!("\n\n{event}") } else { event }.into())
    }

    pub(super) fn keep_alive(&self) -> Option<Bytes> {
        let is_between_events = !self.is_oversized && !matches!(self.body, Body::Other);
        // Google's SDKs do not know comments, but every reader passes over an empty line.
        let quiet = if self.api == Some(Api::GeminiGenerate) { Bytes::from_static(b"\n") } else { KEEP_ALIVE };
        is_between_events.then_some(quiet)
    }
}
