//! The rules of a UI message stream, as a reader of one depends on them.

use serde_json::Value;

use crate::said::Said;

/// What a reader knows of a message so far.
#[derive(Default)]
struct Message {
    /// The kind and the id of the block under way.
    open: Option<(String, String)>,
    text: String,
    thoughts: String,
    /// Each tool call with its input, and whether it has ended.
    tools: Vec<(String, String, bool)>,
    is_finished: bool,
}

/// Every part is JSON, in an order that makes sense; the whole says what the answer said, up to a failure, and ends with
/// one error or one end.
pub(crate) fn check(stream: &[u8], failure: Option<&str>, said: &Said) {
    let stream = std::str::from_utf8(stream).expect("parts are text");
    let events: Vec<&str> = stream.split_inclusive("\n\n").collect();
    let mut data = events.iter().map(|event| {
        event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap_or_else(|| panic!("{event:?}"))
    });
    let is_done = data.next_back() == Some("[DONE]");
    assert_eq!(is_done, failure.is_none());
    let json = if is_done { &events[..events.len() - 1] } else { &events[..] };
    let parts = json.iter().map(|event| serde_json::from_str(&event["data: ".len()..]).expect("parts are JSON"));
    let parts: Vec<Value> = parts.collect();
    let kinds: Vec<&str> = parts.iter().map(|part| text(part, "type")).collect();
    assert_eq!(kinds[..2], ["start", "start-step"]);
    let mut message = Message::default();
    for (at, part) in parts.iter().enumerate().skip(2) {
        let is_last = at + 1 == parts.len();
        if text(part, "type") == "error" {
            assert!(is_last && Some(text(part, "errorText")) == failure, "{stream}");
        } else {
            message.read(part);
        }
    }
    assert_eq!(message.is_finished, failure.is_none(), "{stream}");
    assert_eq!((&message.text, &message.thoughts), (&said.text, &said.thoughts), "{stream}");
    assert_eq!(message.tools.len(), said.calls.len(), "{stream}");
}

impl Message {
    fn read(&mut self, part: &Value) {
        assert!(!self.is_finished, "something follows the end");
        match text(part, "type") {
            "text-start" => self.begin("text", part),
            "reasoning-start" => self.begin("reasoning", part),
            "text-delta" => self.text.push_str(self.delta("text", part)),
            "reasoning-delta" => self.thoughts.push_str(self.delta("reasoning", part)),
            "text-end" => self.end("text", part),
            "reasoning-end" => self.end("reasoning", part),
            "tool-input-start" => {
                assert_eq!(self.open, None);
                self.tools.push((text(part, "toolCallId").to_owned(), String::new(), false));
            }
            "tool-input-delta" => {
                let delta = text(part, "inputTextDelta");
                self.tool(part).1.push_str(delta);
            }
            "tool-input-available" | "tool-input-error" => self.tool(part).2 = true,
            "source-url" => assert!(!text(part, "url").is_empty()),
            "finish-step" => {
                assert!(self.open.is_none() && self.tools.iter().all(|(.., has_ended)| *has_ended), "{part}");
            }
            "finish" => self.is_finished = true,
            other => panic!("there is no part of the type {other}"),
        }
    }

    fn begin(&mut self, kind: &str, part: &Value) {
        assert_eq!(self.open, None, "{part}");
        self.open = Some((kind.to_owned(), text(part, "id").to_owned()));
    }

    fn delta<'p>(&self, kind: &str, part: &'p Value) -> &'p str {
        assert_eq!(self.open, Some((kind.to_owned(), text(part, "id").to_owned())), "{part}");
        text(part, "delta")
    }

    fn end(&mut self, kind: &str, part: &Value) {
        assert_eq!(self.open.take(), Some((kind.to_owned(), text(part, "id").to_owned())), "{part}");
    }

    /// The call that a part is about, which has not ended. Providers may call two by one name.
    fn tool(&mut self, part: &Value) -> &mut (String, String, bool) {
        let id = text(part, "toolCallId");
        let found = self.tools.iter_mut().find(|(known, _, has_ended)| known == id && !has_ended);
        found.unwrap_or_else(|| panic!("no call of that name is under way: {part}"))
    }
}

fn text<'p>(part: &'p Value, key: &str) -> &'p str {
    part[key].as_str().unwrap_or_else(|| panic!("no {key} in {part}"))
}
