//! OpenAI's responses. The last event of their streams has the whole answer.

use bytes::Bytes;

use super::fields::{self, Fields};
use super::json::{self, Json, Map, NULL};
use super::sse::{self, Event, Writer};
use super::{Inconvertible, Unstorable};

pub(super) fn storable(answer: &Fields<'_>) -> Result<(), Unstorable> {
    match answer.text("status").as_deref() {
        Some("completed") => (),
        Some("queued" | "in_progress") => return Err(Unstorable::Background),
        Some("failed") => return Err(Unstorable::Error),
        Some("incomplete") => {
            let why = answer.object("incomplete_details").and_then(|details| details.text("reason"));
            let is_filtered = why.as_deref() == Some("content_filter");
            return Err(if is_filtered { Unstorable::Filtered } else { Unstorable::Truncated });
        }
        _ => return Err(Unstorable::Incomplete),
    }
    answer.objects("output").ok_or(Unstorable::Malformed)?.iter().try_for_each(item_is_storable)
}

fn item_is_storable(item: &Fields<'_>) -> Result<(), Unstorable> {
    if is(item, "function_call") && !item.text("arguments").is_some_and(|arguments| fields::is_json(&arguments)) {
        return Err(Unstorable::InvalidToolCall);
    }
    let parts = item.objects("content").unwrap_or_default();
    if parts.iter().any(|part| is(part, "refusal")) { Err(Unstorable::Filtered) } else { Ok(()) }
}

fn is(fields: &Fields<'_>, kind: &str) -> bool {
    fields.text("type").as_deref() == Some(kind)
}

pub(super) fn assemble(stream: &[u8]) -> Result<Bytes, Inconvertible> {
    let events: Vec<Event<'_>> = sse::events(stream).collect();
    let mut has_items = false;
    for event in events.iter().filter(|event| event.data.trim_ascii() != sse::DONE) {
        let fields = Fields::parse(&event.data).ok_or(Inconvertible::Malformed)?;
        match fields.text("type").as_deref() {
            Some("error") => return Err(Inconvertible::Error),
            Some("response.output_item.done") => has_items = true,
            Some("response.completed" | "response.incomplete" | "response.failed") => {
                let response = fields.object("response").ok_or(Inconvertible::Malformed)?;
                // Some servers leave the output to the events.
                let lacks_items = has_items && response.list("output").is_none_or(|output| output.is_empty());
                return if lacks_items { Err(Inconvertible::Unfamiliar) } else { Map::from(&response).to_bytes() };
            }
            Some(_) => (),
            None => return Err(Inconvertible::Malformed),
        }
    }
    Err(Inconvertible::Incomplete)
}

pub(super) fn chunk(answer: &Fields<'_>) -> Result<Bytes, Inconvertible> {
    let end = match answer.text("status").as_deref() {
        Some("completed") => "response.completed",
        Some("incomplete") => "response.incomplete",
        Some("failed") => "response.failed",
        _ => return Err(Inconvertible::Incomplete),
    };
    let items = answer.objects("output").ok_or(Inconvertible::Malformed)?;
    let mut events = Events { writer: Writer::default(), next: 0 };
    for name in ["response.created", "response.in_progress"] {
        events.send(name, Map::of([("response", beginning(answer).into())]));
    }
    for (index, item) in (0..).zip(&items) {
        events.item(index, item)?;
    }
    events.send(end, Map::of([("response", Map::from(answer).into())]));
    Ok(events.writer.finish())
}

/// The response as it was before there was anything in it.
fn beginning<'a>(answer: &Fields<'a>) -> Map<'a> {
    let mut response = Map::from(answer);
    response.set("status", "in_progress");
    response.set("output", Json::List(Vec::new()));
    for key in ["usage", "completed_at", "incomplete_details"] {
        if response.get(key).is_some() {
            response.set(key, NULL);
        }
    }
    response
}

/// Items with one text: their type, the text's field, the events of its fragments, and what those name it.
const SINGLE_TEXTS: [(&str, &str, &str); 4] = [
    ("function_call", "arguments", "response.function_call_arguments"),
    ("custom_tool_call", "input", "response.custom_tool_call_input"),
    ("mcp_call", "arguments", "response.mcp_call_arguments"),
    ("code_interpreter_call", "code", "response.code_interpreter_call_code"),
];

/// Items whose progress has events of its own.
const PROGRESS: [&str; 5] =
    ["web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"];

/// The events of a stream, numbered.
struct Events {
    writer: Writer,
    next: u64,
}

impl Events {
    fn send(&mut self, name: &str, mut fields: Map<'_>) {
        fields.set("sequence_number", self.next);
        self.next += 1;
        self.writer.event(Some(name), &fields.after("type", name));
    }

    fn item(&mut self, index: u64, item: &Fields<'_>) -> Result<(), Inconvertible> {
        let kind = item.text("type").unwrap_or_default();
        let place = Place { id: item.text("id").unwrap_or_default().into_owned(), item: index };
        let mut opening = Map::from(item);
        if item.get("status").is_some() {
            opening.set("status", "in_progress");
        }
        let single = SINGLE_TEXTS.iter().find(|(name, key, _)| *name == kind && item.text(key).is_some());
        if let Some((_, key, _)) = single {
            opening.set(key, "");
        }
        for key in ["content", "summary"].into_iter().filter(|key| item.list(key).is_some()) {
            opening.set(key, Json::List(Vec::new()));
        }
        self.send("response.output_item.added", Map::of([("output_index", index.into()), ("item", opening.into())]));
        let reports_progress = PROGRESS.contains(&kind.as_ref());
        if reports_progress {
            self.send(&format!("response.{kind}.in_progress"), place.fields());
        }
        if let Some((_, key, name)) = single {
            self.text(name, key, &item.text(key).unwrap_or_default(), &place, None);
        }
        self.parts(item, &place)?;
        if reports_progress && item.given("error").is_none() {
            self.send(&format!("response.{kind}.completed"), place.fields());
        }
        let whole = Map::from(item);
        self.send("response.output_item.done", Map::of([("output_index", index.into()), ("item", whole.into())]));
        Ok(())
    }

    /// The parts of a message or of reasoning.
    fn parts(&mut self, item: &Fields<'_>, place: &Place) -> Result<(), Inconvertible> {
        for (list, stem, number) in [
            ("summary", "response.reasoning_summary_part", "summary_index"),
            ("content", "response.content_part", "content_index"),
        ] {
            if item.list(list).is_none() {
                continue;
            }
            let parts = item.objects(list).ok_or(Inconvertible::Malformed)?;
            for (at, part) in (0..).zip(&parts) {
                self.part(stem, part, place, (number, at));
            }
        }
        Ok(())
    }

    fn part(&mut self, stem: &str, part: &Fields<'_>, place: &Place, number: (&str, u64)) {
        let kind = part.text("type").unwrap_or_default();
        let (name, key) = match kind.as_ref() {
            "output_text" => ("response.output_text", "text"),
            "refusal" => ("response.refusal", "refusal"),
            "reasoning_text" => ("response.reasoning_text", "text"),
            "summary_text" => ("response.reasoning_summary_text", "text"),
            _ => ("", ""),
        };
        let text = part.text(key).filter(|_| !name.is_empty());
        let mut opening = Map::from(part);
        if text.is_some() {
            opening.set(key, "");
        }
        for list in ["annotations", "logprobs"].into_iter().filter(|list| part.list(list).is_some()) {
            opening.set(list, Json::List(Vec::new()));
        }
        self.send(&format!("{stem}.added"), place.part(number, "part", opening));
        if let Some(text) = &text {
            self.text(name, key, text, place, Some((number, part)));
        }
        self.send(&format!("{stem}.done"), place.part(number, "part", Map::from(part)));
    }

    /// A text in fragments, then whole.
    fn text(&mut self, name: &str, key: &str, text: &str, place: &Place, part: Option<((&str, u64), &Fields<'_>)>) {
        let is_spoken = name == "response.output_text";
        let logprobs = part.and_then(|(_, part)| part.list("logprobs")).unwrap_or_default();
        // Tokens are not to be torn from their probabilities.
        let (whole, split) = if logprobs.is_empty() { (None, text) } else { (Some(text), "") };
        let probabilities = || Json::List(logprobs.iter().map(|token| Json::Raw(token)).collect());
        let fields = || {
            let mut fields = place.fields();
            if let Some(((number, at), _)) = part {
                fields.set(number, at);
            }
            if is_spoken {
                fields.set("logprobs", probabilities());
            }
            fields
        };
        for piece in whole.into_iter().chain(json::pieces(split)) {
            let mut fields = fields();
            fields.set("delta", piece.to_owned());
            self.send(&format!("{name}.delta"), fields);
        }
        let annotations = part.and_then(|(_, part)| part.list("annotations")).filter(|_| is_spoken);
        for (at, annotation) in (0..).zip(annotations.unwrap_or_default()) {
            let mut fields = fields();
            fields.remove("logprobs");
            fields.set("annotation_index", Json::Number(at));
            fields.set("annotation", annotation);
            self.send("response.output_text.annotation.added", fields);
        }
        let mut fields = fields();
        fields.set(key, text.to_owned());
        self.send(&format!("{name}.done"), fields);
    }
}

/// Where in the output an event belongs.
struct Place {
    id: String,
    item: u64,
}

impl Place {
    fn fields<'a>(&self) -> Map<'a> {
        Map::of([("item_id", self.id.clone().into()), ("output_index", self.item.into())])
    }

    fn part<'a>(&self, (number, at): (&str, u64), key: &str, part: Map<'a>) -> Map<'a> {
        let mut fields = self.fields();
        fields.set(number, at);
        fields.set(key, part);
        fields
    }
}
