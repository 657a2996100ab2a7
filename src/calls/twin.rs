//! The same answer twice: a provider's second stream for the same call has other identities and times, but where it says
//! the same, a reader of the first can go on with it.

use bytes::{Bytes, BytesMut};

use crate::answer::{Api, Delta, Deltas, Splitter};
use crate::sharing::{Differs, Twin};

/// A second stream of events.
#[derive(Debug)]
pub(super) struct SameWords {
    /// What readers have been told.
    told: String,
    second: Words,
    splitter: Splitter,
    /// The beginning of an event whose end has not come.
    unfinished: BytesMut,
}

/// What an answer says, without what differs from one time to the next.
#[derive(Debug)]
struct Words {
    deltas: Deltas,
    said: String,
    last: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    ToolInput(usize),
    Other,
}

impl SameWords {
    /// Readers have `delivered`, which ends with a whole event.
    pub(super) fn new(api: Api, delivered: &[u8]) -> Self {
        let mut first = Words::new(api);
        first.hear(delivered);
        Self { told: first.said, second: Words::new(api), splitter: Splitter::new(), unfinished: BytesMut::new() }
    }
}

impl Twin for SameWords {
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, Differs> {
        if self.is_past() && self.unfinished.is_empty() {
            return Ok(bytes);
        }
        let mut rest = bytes;
        while !self.is_past() {
            let Some(end) = self.splitter.end(&rest) else {
                self.unfinished.extend_from_slice(&rest);
                return Ok(Bytes::new());
            };
            self.unfinished.extend_from_slice(&rest.split_to(end));
            let event = self.unfinished.split();
            self.second.hear(&event);
            if !self.told.starts_with(&self.second.said) {
                return Err(Differs); // or it says in one event what readers have a part of
            }
        }
        Ok(rest)
    }

    fn is_past(&self) -> bool {
        self.second.said == self.told && self.second.has_begun()
    }
}

impl Words {
    fn new(api: Api) -> Self {
        Self { deltas: Deltas::new(api), said: String::new(), last: None }
    }

    fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    fn hear(&mut self, bytes: &[u8]) {
        for delta in self.deltas.push(bytes) {
            match delta {
                Delta::Text(text) => self.say(Kind::Text, "text", &text),
                Delta::Reasoning(text) => self.say(Kind::Reasoning, "reasoning", &text),
                Delta::ToolInput { call, fragment } => {
                    self.say(Kind::ToolInput(call), &format!("input {call}"), &fragment);
                }
                Delta::ToolStart { call, name, .. } => self.say(Kind::Other, "tool", &format!("{call} {name}")),
                Delta::ToolEnd { call } => self.say(Kind::Other, "tool end", &call.to_string()),
                Delta::BlockEnd => self.say(Kind::Other, "end", ""),
                Delta::Source { url, .. } => self.say(Kind::Other, "source", &url),
                Delta::Finish(reason) => self.say(Kind::Other, "finish", reason.as_str()),
                Delta::Error(error) => self.say(Kind::Other, "error", &error),
            }
        }
    }

    fn say(&mut self, kind: Kind, name: &str, words: &str) {
        if kind == Kind::Other || self.last != Some(kind) {
            self.said.push_str("\n\u{1}");
            self.said.push_str(name);
            self.said.push('\u{2}');
        }
        self.said.push_str(words);
        self.last = Some(kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, text: &str) -> String {
        format!("data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }

    fn stream(id: &str, texts: &[&str]) -> String {
        texts.iter().map(|text| event(id, text)).collect::<String>() + "data: [DONE]\n\n"
    }

    /// What is left of the second stream, in pieces of so many bytes.
    fn rest(delivered: &str, second: &str, size: usize) -> Result<String, Differs> {
        let mut twin = SameWords::new(Api::OpenaiChat, delivered.as_bytes());
        let mut rest = Vec::new();
        for piece in second.as_bytes().chunks(size) {
            rest.extend_from_slice(&twin.push(Bytes::copy_from_slice(piece))?);
        }
        assert!(twin.is_past());
        Ok(String::from_utf8(rest).unwrap())
    }

    #[test]
    fn readers_go_on_where_they_are_whatever_the_identities() {
        let delivered = event("one", "a") + &event("one", "b");
        let expected = event("two", "c") + "data: [DONE]\n\n";
        for size in [1, 7, 50, 1000] {
            assert_eq!(rest(&delivered, &stream("two", &["a", "b", "c"]), size), Ok(expected.clone()), "{size}");
        }
    }

    #[test]
    fn the_same_text_in_other_pieces_will_do_where_an_event_ends_at_the_place() {
        let delivered = event("one", "ab");
        assert!(rest(&delivered, &stream("two", &["a", "b", "c"]), 1000).is_ok());
        assert_eq!(rest(&delivered, &stream("two", &["a", "bc"]), 1000), Err(Differs));
    }

    #[test]
    fn another_text_is_another_answer() {
        assert_eq!(rest(&event("one", "a"), &stream("two", &["b"]), 1000), Err(Differs));
    }
}
