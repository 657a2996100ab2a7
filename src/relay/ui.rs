//! The UI message stream of the AI SDK: <https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Api, Delta, Deltas, FinishReason, Tokens};

/// Sources that are told; more are left out.
const MOST_SOURCES: usize = 100;

/// The failure of an answer that ends without an end of its own.
const INCOMPLETE: &str = "The answer ended before it was complete.";

/// An answer as one assistant message of one step.
#[derive(Debug)]
pub(super) struct UiMessageStream {
    deltas: Deltas,
    has_begun: bool,
    /// The part of the message that is under way.
    open: Option<Open>,
    /// Texts and thoughts so far.
    blocks: usize,
    tools: Vec<Tool>,
    sources: Vec<String>,
    finish: Option<FinishReason>,
    failure: Option<String>,
    /// Nothing may follow.
    is_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Reasoning,
}

impl Open {
    fn as_str(self) -> &'static str {
        match self {
            Open::Text => "text",
            Open::Reasoning => "reasoning",
        }
    }
}

#[derive(Debug)]
struct Tool {
    id: String,
    name: String,
    takes_text: bool,
    input: String,
    is_complete: bool,
}

/// Parts being written.
#[derive(Default)]
struct Parts(String);

impl Parts {
    fn write(&mut self, part: &Value) {
        self.0.push_str(&format!("data: {part}\n\n"));
    }

    fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// The part that reports a failure.
pub(super) fn error(message: &str) -> Bytes {
    let mut parts = Parts::default();
    parts.write(&json!({"type": "error", "errorText": message}));
    parts.into_bytes()
}

impl UiMessageStream {
    pub(super) fn new(api: Api) -> Self {
        Self {
            deltas: Deltas::new(api),
            has_begun: false,
            open: None,
            blocks: 0,
            tools: Vec::new(),
            sources: Vec::new(),
            finish: None,
            failure: None,
            is_over: false,
        }
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Bytes {
        let mut parts = Parts::default();
        if !bytes.is_empty() {
            self.begin(&mut parts);
        }
        for delta in self.deltas.push(bytes) {
            self.tell(delta, &mut parts);
        }
        parts.into_bytes()
    }

    pub(super) fn finish(&mut self) -> Bytes {
        let mut parts = Parts::default();
        self.begin(&mut parts);
        for delta in self.deltas.finish() {
            self.tell(delta, &mut parts);
        }
        if self.is_over {
            return parts.into_bytes();
        }
        let Some(reason) = self.finish else {
            self.failed(INCOMPLETE.to_owned(), &mut parts);
            return parts.into_bytes();
        };
        self.close(&mut parts);
        (0..self.tools.len()).for_each(|call| self.end_tool(call, &mut parts));
        parts.write(&json!({"type": "finish-step"}));
        let mut finish = json!({"type": "finish", "finishReason": reason.as_str()});
        if let Some(tokens) = self.deltas.tokens() {
            finish["messageMetadata"] = json!({"usage": usage(tokens)});
        }
        parts.write(&finish);
        parts.0.push_str("data: [DONE]\n\n");
        self.is_over = true;
        parts.into_bytes()
    }

    pub(super) fn fail(&mut self, message: &str) -> Bytes {
        let mut parts = Parts::default();
        if !self.is_over {
            self.failed(message.to_owned(), &mut parts);
        }
        parts.into_bytes()
    }

    fn begin(&mut self, parts: &mut Parts) {
        if !std::mem::replace(&mut self.has_begun, true) {
            // The client names the message: one answer may serve many, and names in a chat must differ.
            parts.write(&json!({"type": "start"}));
            parts.write(&json!({"type": "start-step"}));
        }
    }

    fn tell(&mut self, delta: Delta, parts: &mut Parts) {
        if self.is_over {
            return;
        }
        match delta {
            Delta::Text(text) => self.block(Open::Text, &text, parts),
            Delta::Reasoning(text) => self.block(Open::Reasoning, &text, parts),
            Delta::BlockEnd => self.close(parts),
            Delta::ToolStart { id, name, takes_text, .. } => self.begin_tool(id, name, takes_text, parts),
            Delta::ToolInput { call, fragment } => self.input(call, &fragment, parts),
            Delta::ToolEnd { call } => self.end_tool(call, parts),
            Delta::Source { url, title } => self.source(url, title, parts),
            Delta::Finish(reason) => self.finish = Some(reason),
            Delta::Error(message) => self.failed(message, parts),
        }
    }

    fn block(&mut self, kind: Open, text: &str, parts: &mut Parts) {
        if self.open != Some(kind) {
            self.close(parts);
            self.open = Some(kind);
            self.blocks += 1;
            parts.write(&json!({"type": format!("{}-start", kind.as_str()), "id": self.blocks.to_string()}));
        }
        let kind = format!("{}-delta", kind.as_str());
        parts.write(&json!({"type": kind, "id": self.blocks.to_string(), "delta": text}));
    }

    fn close(&mut self, parts: &mut Parts) {
        if let Some(open) = self.open.take() {
            parts.write(&json!({"type": format!("{}-end", open.as_str()), "id": self.blocks.to_string()}));
        }
    }

    fn begin_tool(&mut self, id: String, name: String, takes_text: bool, parts: &mut Parts) {
        self.close(parts);
        let id = if id.is_empty() { format!("call_{}", self.tools.len()) } else { id };
        let mut part = json!({"type": "tool-input-start", "toolCallId": id, "toolName": name});
        if takes_text {
            part["inputEncoding"] = "text".into();
        }
        parts.write(&part);
        self.tools.push(Tool { id, name, takes_text, input: String::new(), is_complete: false });
    }

    fn input(&mut self, call: usize, fragment: &str, parts: &mut Parts) {
        if let Some(tool) = self.tools.get_mut(call).filter(|tool| !tool.is_complete) {
            tool.input.push_str(fragment);
            parts.write(&json!({"type": "tool-input-delta", "toolCallId": tool.id, "inputTextDelta": fragment}));
        }
    }

    fn end_tool(&mut self, call: usize, parts: &mut Parts) {
        let Some(tool) = self.tools.get_mut(call).filter(|tool| !tool.is_complete) else { return };
        tool.is_complete = true;
        let mut part = json!({"type": "tool-input-available", "toolCallId": tool.id, "toolName": tool.name});
        let input = std::mem::take(&mut tool.input);
        match input.as_str() {
            "" if !tool.takes_text => part["input"] = json!({}),
            json if !tool.takes_text => match serde_json::from_str(json) {
                Ok(value) => part["input"] = value,
                Err(_) => {
                    part["type"] = "tool-input-error".into();
                    part["errorText"] = "The input of the tool is not valid JSON.".into();
                    part["input"] = input.into();
                }
            },
            _ => part["input"] = input.into(),
        }
        parts.write(&part);
    }

    fn source(&mut self, url: String, title: Option<String>, parts: &mut Parts) {
        if self.sources.contains(&url) || self.sources.len() == MOST_SOURCES {
            return;
        }
        let id = format!("source-{}", self.sources.len() + 1);
        let mut part = json!({"type": "source-url", "sourceId": id, "url": url});
        if let Some(title) = title {
            part["title"] = title.into();
        }
        parts.write(&part);
        self.sources.push(url);
    }

    fn failed(&mut self, message: String, parts: &mut Parts) {
        parts.write(&json!({"type": "error", "errorText": message}));
        self.is_over = true;
        self.failure = Some(message);
    }
}

/// In the words of the AI SDK.
fn usage(tokens: Tokens) -> Value {
    json!({
        "inputTokens": tokens.input,
        "outputTokens": tokens.output,
        "totalTokens": tokens.input.saturating_add(tokens.output),
        "cachedInputTokens": tokens.cached_input,
    })
}
