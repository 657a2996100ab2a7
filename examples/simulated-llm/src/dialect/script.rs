//! A reply as the steps in which it is sent.

use std::num::NonZeroUsize;

use bytes::Bytes;
use serde_json::Value;

/// Half an event, and what is none.
pub(crate) const BROKEN_EVENT: &str = "data: {\"id\": \"sim\", \"choices\": [{\n\n<html>";

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
    pub(crate) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }

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

    /// Begins like this script and ends with something else, complete as HTTP.
    pub(crate) fn half_and(self, ending: Bytes) -> Self {
        let steps = first_half(self.steps).into_iter().chain([Step::Now(ending)]).collect();
        Self { steps, ..self }
    }

    /// The same bytes, so many at a time, each piece when a token is due.
    pub(crate) fn dripped(self, size: NonZeroUsize) -> Self {
        let all: Vec<u8> = self.steps.into_iter().flat_map(Step::into_bytes).collect();
        let steps = all.chunks(size.get()).map(|piece| Step::Token(Bytes::copy_from_slice(piece))).collect();
        Self { steps, ..self }
    }

    #[cfg(test)]
    pub(super) fn text(self) -> String {
        self.steps.into_iter().map(|step| String::from_utf8_lossy(&step.into_bytes()).into_owned()).collect()
    }
}

/// Half of the steps, or half of the only one.
pub(crate) fn first_half(mut steps: Vec<Step>) -> Vec<Step> {
    match steps.len() {
        1 => {
            let bytes = steps.remove(0).into_bytes();
            vec![Step::Now(bytes.slice(..bytes.len() / 2))]
        }
        count => {
            steps.truncate(count / 2);
            steps
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        Script::events(vec![Step::Now("one".into()), Step::Token("two".into()), Step::Token("three".into())])
    }

    #[test]
    fn a_body_that_goes_wrong_begins_well() {
        assert_eq!(script().half_and("?".into()).text(), "one?");
        assert_eq!(Script::whole(&Value::Null).half_and("?".into()).text(), "nu?");
    }

    #[test]
    fn dripping_changes_when_bytes_come_and_nothing_else() {
        let dripped = script().dripped(NonZeroUsize::new(4).unwrap());
        assert_eq!(dripped.steps.len(), 3);
        assert_eq!(dripped.text(), script().text());
    }
}
