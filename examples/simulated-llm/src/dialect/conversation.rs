//! What the dialects have in common: messages by turns, of which the last user text is the prompt.

use serde_json::Value;

/// The texts of a request, in order.
#[derive(Default)]
pub(super) struct Conversation {
    prompt: Option<String>,
    words: usize,
    ends_with_tool_result: bool,
}

impl Conversation {
    pub(super) fn system(&mut self, text: &str) {
        self.words += text.split_whitespace().count();
    }

    pub(super) fn turn(&mut self, by_user: bool, text: String) {
        self.words += text.split_whitespace().count();
        self.ends_with_tool_result = false;
        if by_user {
            self.prompt = Some(text);
        }
    }

    pub(super) fn tool_result(&mut self) {
        self.ends_with_tool_result = true;
    }

    /// A tool is called in answer to a user, not in answer to a tool's result.
    pub(super) fn may_call_tool(&self) -> bool {
        !self.ends_with_tool_result
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn prompt(self) -> Result<String, String> {
        self.prompt.ok_or_else(|| "there is no user message with text".to_owned())
    }
}

/// The text of a content that is a string or a list of parts with a `text`.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str().or(part.as_str())).collect::<Vec<_>>().join("\n")
        }
        Value::Object(part) => part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// Whether a content has a part of this type.
pub(super) fn has_part(content: &Value, part_type: &str) -> bool {
    content.as_array().is_some_and(|parts| parts.iter().any(|part| part["type"] == part_type))
}

pub(super) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
