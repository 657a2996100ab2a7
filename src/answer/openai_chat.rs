//! OpenAI's chat completions and legacy completions: their verdict, and streams made plain.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fields::{self, Fields};
use super::json::{Json, Map, NULL};
use super::sse::{self, DONE, Event};
use super::{Inconvertible, Unstorable};

/// Which of the two APIs, alike but for what a choice holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message.
    Chat,
    /// A text.
    Text,
}

pub(super) fn storable(answer: &Fields<'_>) -> Result<(), Unstorable> {
    let choices = answer.objects("choices").filter(|choices| !choices.is_empty()).ok_or(Unstorable::Malformed)?;
    choices.iter().try_for_each(choice_is_storable)
}

fn choice_is_storable(choice: &Fields<'_>) -> Result<(), Unstorable> {
    match choice.text("finish_reason").as_deref() {
        Some("stop" | "tool_calls" | "function_call") => (),
        Some("length") => return Err(Unstorable::Truncated),
        Some("content_filter") => return Err(Unstorable::Filtered),
        Some("error") => return Err(Unstorable::Error),
        _ => return Err(Unstorable::Incomplete),
    }
    let Some(message) = choice.object("message") else {
        return choice.text("text").map(|_| ()).ok_or(Unstorable::Malformed);
    };
    if message.text("refusal").is_some_and(|refusal| !refusal.is_empty()) {
        return Err(Unstorable::Filtered);
    }
    let calls = message.objects_if_given("tool_calls").ok_or(Unstorable::Malformed)?;
    let functions = calls.into_iter().filter_map(|call| call.object("function"));
    let is_valid = functions.chain(message.object("function_call")).all(|function| {
        // Custom tools take any text; functions take JSON.
        function.text("arguments").is_some_and(|arguments| fields::is_json(&arguments))
    });
    if is_valid { Ok(()) } else { Err(Unstorable::InvalidToolCall) }
}

pub(super) fn assemble(kind: Kind, stream: &[u8]) -> Result<Bytes, Inconvertible> {
    let events: Vec<Event<'_>> = sse::events(stream).collect();
    let mut answer = Assembly { kind, top: Map::default(), choices: BTreeMap::new() };
    for event in &events {
        if event.is_error() {
            return Err(Inconvertible::Error);
        }
        if event.data.trim_ascii() == DONE {
            return answer.finish();
        }
        answer.add(&Fields::parse(&event.data).ok_or(Inconvertible::Malformed)?)?;
    }
    Err(Inconvertible::Incomplete)
}

/// An answer of which some chunks have come.
struct Assembly<'a> {
    kind: Kind,
    top: Map<'a>,
    choices: BTreeMap<u64, Map<'a>>,
}

impl<'a> Assembly<'a> {
    fn add(&mut self, chunk: &Fields<'a>) -> Result<(), Inconvertible> {
        if chunk.given("error").is_some() {
            return Err(Inconvertible::Error);
        }
        for (key, value) in chunk.iter() {
            match key {
                "choices" => self.top.set_if_absent(key, NULL),
                "object" => {
                    self.top.set(key, if self.kind == Kind::Chat { "chat.completion" } else { "text_completion" })
                }
                // Padding against eavesdroppers who measure chunks.
                "obfuscation" => (),
                // Every chunk but the last has none.
                "usage" if fields::is_null(value) => (),
                _ => self.top.overlay(key, value)?,
            }
        }
        let choices = chunk.objects_if_given("choices").ok_or(Inconvertible::Malformed)?;
        choices.iter().try_for_each(|choice| self.add_choice(choice))
    }

    fn add_choice(&mut self, fragment: &Fields<'a>) -> Result<(), Inconvertible> {
        let choice = self.choices.entry(fragment.number("index").unwrap_or_default()).or_default();
        for (key, value) in fragment.iter() {
            match key {
                "delta" if !fields::is_null(value) => {
                    let delta = Fields::of(value).ok_or(Inconvertible::Malformed)?;
                    add_delta(choice.map("message").ok_or(Inconvertible::Malformed)?, &delta)?;
                }
                "delta" => (),
                "text" | "logprobs" => choice.merge(key, value)?,
                _ => choice.overlay(key, value)?,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Inconvertible> {
        for choice in self.choices.values_mut().filter(|_| self.kind == Kind::Chat) {
            let message = choice.map("message").ok_or(Inconvertible::Malformed)?;
            message.set_if_absent("role", "assistant");
            message.set_if_absent("content", NULL);
            order_calls(message);
        }
        self.top.set("choices", self.choices.into_values().collect::<Vec<_>>());
        self.top.to_bytes()
    }
}

/// Content in parts is known to no stream that OpenAI defines; whether its parts join cannot be told.
fn add_delta<'a>(message: &mut Map<'a>, delta: &Fields<'a>) -> Result<(), Inconvertible> {
    if delta.given("content").is_some() && delta.text("content").is_none() {
        return Err(Inconvertible::Unfamiliar);
    }
    delta.iter().try_for_each(|(key, value)| message.merge(key, value))
}

/// Puts tool calls in their order, which alone numbers them in a plain answer.
fn order_calls(message: &mut Map<'_>) {
    let Some(calls) = message.get_mut("tool_calls").and_then(Json::open_list) else { return };
    calls.sort_by_cached_key(Json::index);
    for call in calls.iter_mut().filter_map(Json::open_map) {
        call.remove("index");
    }
}
