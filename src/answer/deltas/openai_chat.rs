//! What OpenAI's chat completions and legacy completions say.

use super::{Delta, FinishReason, source, spoken};
use crate::answer::fields::Fields;

/// The tool calls that have begun: the stream's number of each, and its id.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Vec<(u64, String)>,
}

impl Reader {
    /// Reads a chunk, or a plain answer, whose messages are deltas of everything.
    pub(super) fn read(&mut self, chunk: &Fields<'_>, to: &mut Vec<Delta>) {
        let choices = chunk.objects("choices").unwrap_or_default();
        let first = |choice: &&Fields<'_>| choice.number("index").unwrap_or_default() == 0;
        let Some(choice) = choices.iter().find(first) else { return };
        to.extend(spoken(choice, "text").map(Delta::Text));
        if let Some(delta) = choice.object("delta").or_else(|| choice.object("message")) {
            self.delta(&delta, to);
        }
        to.extend(spoken(choice, "finish_reason").map(|reason| Delta::Finish(finish_reason(&reason))));
    }

    fn delta(&mut self, delta: &Fields<'_>, to: &mut Vec<Delta>) {
        // Compatible servers agree on thoughts, but not on what to call them.
        let thought = spoken(delta, "reasoning_content").or_else(|| spoken(delta, "reasoning"));
        to.extend(thought.map(Delta::Reasoning));
        to.extend(spoken(delta, "content").map(Delta::Text));
        to.extend(spoken(delta, "refusal").map(Delta::Text));
        for annotation in delta.objects("annotations").unwrap_or_default() {
            if let Some(citation) = annotation.object("url_citation") {
                source(&citation, "url", to);
            }
        }
        for (at, call) in (0..).zip(delta.objects("tool_calls").unwrap_or_default()) {
            self.tool_call(call.number("index").unwrap_or(at), &call, to);
        }
    }

    fn tool_call(&mut self, index: u64, fragment: &Fields<'_>, to: &mut Vec<Delta>) {
        let id = spoken(fragment, "id").unwrap_or_default();
        let (inner, key, takes_text) = match (fragment.object("function"), fragment.object("custom")) {
            (Some(function), _) => (function, "arguments", false),
            (None, Some(custom)) => (custom, "input", true),
            (None, None) => (Fields::default(), "", false),
        };
        // Some servers number all calls 0, and some name a call again in each fragment of it.
        let is_this = |(number, known): &(u64, String)| *number == index && (id.is_empty() || *known == id);
        let call = self.calls.iter().rposition(is_this).unwrap_or_else(|| {
            self.calls.push((index, id.clone()));
            let call = self.calls.len() - 1;
            let name = spoken(&inner, "name").unwrap_or_default();
            to.push(Delta::ToolStart { call, id: id.clone(), name, takes_text });
            call
        });
        to.extend(spoken(&inner, key).map(|fragment| Delta::ToolInput { call, fragment }));
    }
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "error" => FinishReason::Error,
        _ => FinishReason::Other,
    }
}
