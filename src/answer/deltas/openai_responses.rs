//! What OpenAI's responses say.

use super::{Delta, FinishReason, source, spoken};
use crate::answer::fields::Fields;

/// The items that are tool calls, and how far they have come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    item: u64,
    has_input: bool,
}

impl Reader {
    /// Reads an event, or a plain answer.
    pub(super) fn read(&mut self, event: &Fields<'_>, to: &mut Vec<Delta>) {
        let item = event.number("output_index").unwrap_or_default();
        match event.text("type").as_deref() {
            Some("response.output_text.delta" | "response.refusal.delta") => {
                to.extend(spoken(event, "delta").map(Delta::Text));
            }
            Some("response.reasoning_summary_text.delta" | "response.reasoning_text.delta") => {
                to.extend(spoken(event, "delta").map(Delta::Reasoning));
            }
            Some("response.content_part.done" | "response.reasoning_summary_part.done") => to.push(Delta::BlockEnd),
            Some("response.output_text.annotation.added") => {
                to.extend(event.object("annotation").and_then(|annotation| cited(&annotation)));
            }
            Some("response.output_item.added") => {
                if let Some(fields) = event.object("item") {
                    self.begin(item, &fields, to);
                }
            }
            Some("response.function_call_arguments.delta" | "response.custom_tool_call_input.delta") => {
                self.input(item, spoken(event, "delta"), to);
            }
            Some("response.output_item.done") => {
                if let Some(fields) = event.object("item") {
                    self.end(item, &fields, to);
                }
            }
            Some("response.completed" | "response.incomplete" | "response.failed") => {
                to.extend(event.object("response").map(|response| self.finish(&response)));
            }
            Some(_) => (),
            None => self.plain(event, to),
        }
    }

    fn begin(&mut self, item: u64, fields: &Fields<'_>, to: &mut Vec<Delta>) {
        let Some((_, takes_text)) = input_of(fields) else { return };
        let call = self.calls.len();
        self.calls.push(Call { item, has_input: false });
        let [id, name] = ["call_id", "name"].map(|key| spoken(fields, key).unwrap_or_default());
        to.push(Delta::ToolStart { call, id, name, takes_text });
    }

    fn input(&mut self, item: u64, fragment: Option<String>, to: &mut Vec<Delta>) {
        let Some(call) = self.calls.iter().rposition(|call| call.item == item) else { return };
        if let Some(fragment) = fragment {
            self.calls[call].has_input = true;
            to.push(Delta::ToolInput { call, fragment });
        }
    }

    /// An item's end has all of it, which some servers told in no other event.
    fn end(&mut self, item: u64, fields: &Fields<'_>, to: &mut Vec<Delta>) {
        let Some((key, _)) = input_of(fields) else { return };
        if !self.calls.iter().any(|call| call.item == item) {
            self.begin(item, fields, to);
        }
        if let Some(call) = self.calls.iter().rposition(|call| call.item == item) {
            if !self.calls[call].has_input {
                self.input(item, spoken(fields, key), to);
            }
            to.push(Delta::ToolEnd { call });
        }
    }

    fn finish(&self, response: &Fields<'_>) -> Delta {
        let failure = response.given("error").and_then(Fields::of);
        let why = response.object("incomplete_details").and_then(|details| spoken(&details, "reason"));
        match response.text("status").as_deref() {
            Some("completed") if self.calls.is_empty() => Delta::Finish(FinishReason::Stop),
            Some("completed") => Delta::Finish(FinishReason::ToolCalls),
            Some("failed") => Delta::Error(failure.and_then(|failure| spoken(&failure, "message")).unwrap_or_default()),
            _ if why.as_deref() == Some("content_filter") => Delta::Finish(FinishReason::ContentFilter),
            _ if why.as_deref() == Some("max_output_tokens") => Delta::Finish(FinishReason::Length),
            _ => Delta::Finish(FinishReason::Other),
        }
    }

    fn plain(&mut self, answer: &Fields<'_>, to: &mut Vec<Delta>) {
        for (at, item) in (0..).zip(answer.objects("output").unwrap_or_default()) {
            let parts = ["summary", "content"].into_iter().flat_map(|key| item.objects(key).unwrap_or_default());
            for part in parts {
                match part.text("type").as_deref() {
                    Some("output_text") => to.extend(spoken(&part, "text").map(Delta::Text)),
                    Some("refusal") => to.extend(spoken(&part, "refusal").map(Delta::Text)),
                    Some("summary_text" | "reasoning_text") => to.extend(spoken(&part, "text").map(Delta::Reasoning)),
                    _ => (),
                }
                let annotations = part.objects("annotations").unwrap_or_default();
                to.extend(annotations.iter().filter_map(cited));
                to.push(Delta::BlockEnd);
            }
            self.end(at, &item, to);
        }
        to.extend(answer.given("status").map(|_| self.finish(answer)));
    }
}

/// The field of a tool call's input, and whether that is free text; None for items of another kind.
fn input_of(item: &Fields<'_>) -> Option<(&'static str, bool)> {
    match item.text("type").as_deref() {
        Some("function_call") => Some(("arguments", false)),
        Some("custom_tool_call") => Some(("input", true)),
        _ => None,
    }
}

fn cited(annotation: &Fields<'_>) -> Option<Delta> {
    let mut found = Vec::new();
    if annotation.text("type").as_deref() == Some("url_citation") {
        source(annotation, "url", &mut found);
    }
    found.pop()
}
