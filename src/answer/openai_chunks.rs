//! OpenAI's plain completions as streams.

use bytes::Bytes;

use super::Inconvertible;
use super::fields::{self, Fields};
use super::json::{self, Json, Map, NULL};
use super::openai_chat::Kind;
use super::sse::Writer;

/// Fields that every chunk repeats; others are in the first alone.
const STEADY: [&str; 5] = ["id", "created", "model", "service_tier", "system_fingerprint"];

pub(super) fn chunk(kind: Kind, answer: &Fields<'_>, usage: bool) -> Result<Bytes, Inconvertible> {
    let usage = answer.given("usage").filter(|_| usage);
    let mut chunks = Chunks { kind, answer, reports_usage: usage.is_some(), is_first: true, writer: Writer::default() };
    let choices = answer.objects("choices").ok_or(Inconvertible::Malformed)?;
    if !fields::are_apart(&choices) {
        return Err(Inconvertible::Unfamiliar);
    }
    choices.iter().try_for_each(|choice| chunks.choice(choice))?;
    if let Some(usage) = usage {
        chunks.write(Vec::new(), usage.into());
    }
    chunks.writer.done();
    Ok(chunks.writer.finish())
}

struct Chunks<'f, 'a> {
    kind: Kind,
    answer: &'f Fields<'a>,
    reports_usage: bool,
    is_first: bool,
    writer: Writer,
}

impl<'a> Chunks<'_, 'a> {
    fn choice(&mut self, choice: &Fields<'a>) -> Result<(), Inconvertible> {
        let logprobs = choice.get("logprobs");
        // Tokens are not to be torn from their probabilities, so they come with the whole text.
        let is_whole = choice.given("logprobs").is_some();
        let (key, deltas) = match self.kind {
            Kind::Chat => ("delta", deltas(&choice.object("message").ok_or(Inconvertible::Malformed)?, is_whole)?),
            Kind::Text => ("text", texts(&choice.text("text").ok_or(Inconvertible::Malformed)?, is_whole)),
        };
        let speaking = deltas.iter().position(speaks).unwrap_or_default();
        for (at, delta) in deltas.into_iter().enumerate() {
            let mut fragment = Map::of([("index", index(choice)), (key, delta)]);
            if let Some(logprobs) = logprobs {
                fragment.set("logprobs", if at == speaking { logprobs.into() } else { NULL });
            }
            fragment.set("finish_reason", NULL);
            self.write(vec![Json::Map(fragment)], NULL);
        }
        let nothing = if self.kind == Kind::Chat { Map::default().into() } else { "".into() };
        let mut end = Map::of([("index", index(choice)), (key, nothing)]);
        for (key, value) in choice.iter().filter(|(key, _)| !matches!(*key, "index" | "message" | "text")) {
            end.set(key, if key == "logprobs" { NULL } else { value.into() });
        }
        self.write(vec![Json::Map(end)], NULL);
        Ok(())
    }

    fn write(&mut self, choices: Vec<Json<'a>>, usage: Json<'a>) {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let mut chunk = Map::default();
        for (key, value) in self.answer.iter().filter(|(key, _)| !matches!(*key, "choices" | "usage")) {
            if key == "object" {
                chunk.set(key, if self.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" });
            } else if is_first || STEADY.contains(&key) {
                chunk.set(key, value);
            }
        }
        chunk.set("choices", choices);
        if self.reports_usage {
            chunk.set("usage", usage);
        }
        self.writer.event(None, &chunk);
    }
}

fn index<'a>(choice: &Fields<'a>) -> Json<'a> {
    choice.get("index").map_or(Json::Number(0), Json::Raw)
}

/// Whether a fragment has tokens that probabilities could be of.
fn speaks(delta: &Json<'_>) -> bool {
    let is_text = |value: Option<&Json<'_>>| matches!(value, Some(Json::Text(text)) if !text.is_empty());
    match delta {
        Json::Map(delta) => is_text(delta.get("content")) || is_text(delta.get("refusal")),
        text => is_text(Some(text)),
    }
}

fn texts<'a>(text: &str, is_whole: bool) -> Vec<Json<'a>> {
    fragments(text, is_whole).map(|piece| piece.to_owned().into()).collect()
}

fn fragments(text: &str, is_whole: bool) -> impl Iterator<Item = &str> {
    let (whole, split) = if is_whole { (Some(text), "") } else { (None, text) };
    whole.into_iter().chain(json::pieces(split))
}

/// A message as a stream tells it: who speaks, thoughts, text, whatever is not text, calls.
fn deltas<'a>(message: &Fields<'a>, is_whole: bool) -> Result<Vec<Json<'a>>, Inconvertible> {
    if message.given("content").is_some() && message.text("content").is_none() {
        return Err(Inconvertible::Unfamiliar);
    }
    let (mut opening, mut rest, mut texts) = (Map::default(), Map::default(), Vec::new());
    for (key, value) in message.iter() {
        match (key, fields::text(value)) {
            ("tool_calls" | "function_call", None) if !fields::is_null(value) && value.get() != "[]" => (),
            ("role" | "id" | "type" | "format" | "index", _) => opening.set(key, value),
            (_, Some(text)) => {
                opening.set(key, "");
                texts.push((key.to_owned(), text));
            }
            (_, None) if fields::is_null(value) => opening.set(key, value),
            (_, None) => rest.set(key, value),
        }
    }
    texts.sort_by_key(|(key, _)| matches!(key.as_str(), "content" | "refusal"));
    let mut deltas = vec![opening];
    for (key, text) in &texts {
        deltas.extend(fragments(text, is_whole).map(|piece| Map::of([(key, piece.to_owned().into())])));
    }
    deltas.extend((!rest.is_empty()).then_some(rest));
    for (at, call) in (0..).zip(&message.objects_if_given("tool_calls").ok_or(Inconvertible::Malformed)?) {
        let wrap = |call| Map::of([("tool_calls", vec![numbered(at, call)].into())]);
        deltas.extend(call_fragments(call).into_iter().map(wrap));
    }
    if let Some(call) = message.given("function_call") {
        let fragments = split_text(&Fields::of(call).ok_or(Inconvertible::Malformed)?, "arguments");
        deltas.extend(fragments.into_iter().map(|call| Map::of([("function_call", call.into())])));
    }
    Ok(deltas.into_iter().map(Json::Map).collect())
}

fn numbered<'a>(at: u64, mut call: Map<'a>) -> Map<'a> {
    call.set("index", at);
    call
}

/// A tool call: first what is called, then with what.
fn call_fragments<'a>(call: &Fields<'a>) -> Vec<Map<'a>> {
    let mut opening = Map::from(call);
    let (key, inner, argument) = match (call.object("function"), call.object("custom")) {
        (Some(function), _) => ("function", function, "arguments"),
        (None, Some(custom)) => ("custom", custom, "input"),
        (None, None) => return vec![opening],
    };
    let mut fragments = split_text(&inner, argument).into_iter();
    if let Some(first) = fragments.next() {
        opening.set(key, first);
    }
    std::iter::once(opening).chain(fragments.map(|fragment| Map::of([(key, fragment.into())]))).collect()
}

/// An object with one of its texts emptied, then that text in fragments.
fn split_text<'a>(fields: &Fields<'a>, key: &str) -> Vec<Map<'a>> {
    let mut opening = Map::from(fields);
    let text = fields.text(key).unwrap_or_default();
    if !text.is_empty() {
        opening.set(key, "");
    }
    let pieces = json::pieces(&text).map(|piece| Map::of([(key, piece.to_owned().into())]));
    std::iter::once(opening).chain(pieces).collect()
}
