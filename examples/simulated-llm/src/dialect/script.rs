//! A reply as the steps in which it is sent.

use bytes::Bytes;
use serde_json::Value;

/// The type of a body of events.
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// The body of a reply.
pub(crate) struct Script {
    pub(crate) content_type: &'static str,
    pub(crate) steps: Vec<Step>,
    /// A stream is sent in chunks, at the token rate; anything else has a length.
    pub(crate) streamed: bool,
}

/// A piece of the body.
#[derive(Debug)]
pub(crate) enum Step {
    /// Sent at once.
    Now(Bytes),
    /// Sent when the next token is due.
    Token(Bytes),
}

impl Step {
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Now(bytes) | Self::Token(bytes) => bytes,
        }
    }
}

impl Script {
    pub(crate) fn whole(body: &Value) -> Self {
        Self { content_type: "application/json", steps: vec![Step::Now(body.to_string().into())], streamed: false }
    }

    pub(super) fn events(steps: Vec<Step>) -> Self {
        Self { content_type: EVENTS, steps, streamed: true }
    }

    /// Whether its steps are server-sent events.
    pub(crate) fn is_of_events(&self) -> bool {
        self.content_type == EVENTS && self.streamed
    }

    #[cfg(test)]
    pub(super) fn text(self) -> String {
        self.steps.into_iter().map(|step| String::from_utf8_lossy(&step.into_bytes()).into_owned()).collect()
    }
}

/// An event that has only data.
pub(super) fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

/// An event whose name is the data's `type`.
pub(super) fn named(value: &Value) -> Bytes {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or("message")).into()
}

/// The arguments of a tool call in a few fragments, as providers stream them.
pub(super) fn fragments(arguments: &Value) -> Vec<String> {
    let text: Vec<char> = arguments.to_string().chars().collect();
    text.chunks(text.len().div_ceil(3).max(1)).map(|part| part.iter().collect()).collect()
}
