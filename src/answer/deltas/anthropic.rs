//! What Anthropic's messages say.

use super::{Delta, FinishReason, input, source, spoken};
use crate::answer::fields::Fields;

/// The numbers of the blocks that are tool calls.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Vec<u64>,
}

impl Reader {
    /// Reads an event, or a plain answer.
    pub(super) fn read(&mut self, event: &Fields<'_>, to: &mut Vec<Delta>) {
        let index = event.number("index").unwrap_or_default();
        match event.text("type").as_deref() {
            Some("content_block_start") => {
                if let Some(block) = event.object("content_block") {
                    self.block(index, &block, to);
                }
            }
            Some("content_block_delta") => {
                if let Some(delta) = event.object("delta") {
                    self.delta(index, &delta, to);
                }
            }
            Some("content_block_stop") => self.end(index, to),
            Some("message_delta") => to.extend(event.object("delta").and_then(|delta| finish(&delta))),
            Some("message") => {
                for (index, block) in (0..).zip(event.objects("content").unwrap_or_default()) {
                    self.block(index, &block, to);
                    self.end(index, to);
                }
                to.extend(finish(event));
            }
            _ => (),
        }
    }

    /// A block at its beginning, where streams have it empty and plain answers whole.
    fn block(&mut self, index: u64, block: &Fields<'_>, to: &mut Vec<Delta>) {
        match block.text("type").as_deref() {
            Some("text") => to.extend(spoken(block, "text").map(Delta::Text)),
            Some("thinking") => to.extend(spoken(block, "thinking").map(Delta::Reasoning)),
            Some("tool_use") => {
                let call = self.calls.len();
                self.calls.push(index);
                let [id, name] = ["id", "name"].map(|key| spoken(block, key).unwrap_or_default());
                to.push(Delta::ToolStart { call, id, name, takes_text: false });
                to.extend(input(block, "input").map(|fragment| Delta::ToolInput { call, fragment }));
            }
            _ => (),
        }
        for citation in block.objects("citations").unwrap_or_default() {
            source(&citation, "url", to);
        }
    }

    fn delta(&self, index: u64, delta: &Fields<'_>, to: &mut Vec<Delta>) {
        match delta.text("type").as_deref() {
            Some("text_delta") => to.extend(spoken(delta, "text").map(Delta::Text)),
            Some("thinking_delta") => to.extend(spoken(delta, "thinking").map(Delta::Reasoning)),
            Some("input_json_delta") => {
                let call = self.calls.iter().rposition(|block| *block == index);
                let fragment = spoken(delta, "partial_json");
                to.extend(call.zip(fragment).map(|(call, fragment)| Delta::ToolInput { call, fragment }));
            }
            Some("citations_delta") => {
                if let Some(citation) = delta.object("citation") {
                    source(&citation, "url", to);
                }
            }
            _ => (),
        }
    }

    fn end(&self, index: u64, to: &mut Vec<Delta>) {
        match self.calls.iter().rposition(|block| *block == index) {
            Some(call) => to.push(Delta::ToolEnd { call }),
            None => to.push(Delta::BlockEnd),
        }
    }
}

fn finish(message: &Fields<'_>) -> Option<Delta> {
    let reason = match message.text("stop_reason")?.as_ref() {
        "end_turn" | "stop_sequence" | "pause_turn" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "refusal" => FinishReason::ContentFilter,
        "tool_use" => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    };
    Some(Delta::Finish(reason))
}
