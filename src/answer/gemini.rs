//! Gemini's generated content. A chunk of its streams is a whole answer with some of the parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::{self, Fields};
use super::json::{self, Json, Map};
use super::sse::{self, Event, Writer};
use super::{Inconvertible, Unstorable};

/// Fields that every chunk repeats; others are in the last alone.
const STEADY: [&str; 3] = ["createTime", "modelVersion", "responseId"];

pub(super) fn storable(answer: &Fields<'_>) -> Result<(), Unstorable> {
    if is_blocked(answer) {
        return Err(Unstorable::Filtered);
    }
    let candidates = answer.objects("candidates").filter(|candidates| !candidates.is_empty());
    for candidate in candidates.ok_or(Unstorable::Malformed)? {
        match candidate.text("finishReason").as_deref() {
            Some("STOP") if candidate.given("content").is_some_and(|content| Fields::of(content).is_none()) => {
                return Err(Unstorable::Malformed);
            }
            Some("STOP") => (),
            Some("MAX_TOKENS") => return Err(Unstorable::Truncated),
            Some(
                "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR",
            )
            | Some("IMAGE_SAFETY" | "IMAGE_PROHIBITED_CONTENT" | "IMAGE_RECITATION") => {
                return Err(Unstorable::Filtered);
            }
            Some("MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS")
            | Some("MISSING_THOUGHT_SIGNATURE") => return Err(Unstorable::InvalidToolCall),
            Some("OTHER" | "IMAGE_OTHER" | "NO_IMAGE" | "MALFORMED_RESPONSE") => return Err(Unstorable::Error),
            _ => return Err(Unstorable::Incomplete),
        }
    }
    Ok(())
}

fn is_blocked(answer: &Fields<'_>) -> bool {
    answer.object("promptFeedback").is_some_and(|feedback| feedback.given("blockReason").is_some())
}

pub(super) fn assemble(stream: &[u8]) -> Result<Bytes, Inconvertible> {
    let events: Vec<Event<'_>> = sse::events(stream).collect();
    let (mut answer, mut candidates) = (Map::default(), BTreeMap::<u64, Candidate<'_>>::new());
    let mut is_blocked_one = false;
    for event in &events {
        let chunk = Fields::parse(&event.data).ok_or(Inconvertible::Malformed)?;
        if event.is_error() || chunk.given("error").is_some() {
            return Err(Inconvertible::Error);
        }
        is_blocked_one |= is_blocked(&chunk);
        for (key, value) in chunk.iter() {
            answer.overlay(key, value)?;
        }
        for fragment in chunk.objects_if_given("candidates").ok_or(Inconvertible::Malformed)? {
            candidates.entry(fragment.number("index").unwrap_or_default()).or_default().add(&fragment)?;
        }
    }
    let is_complete = !candidates.is_empty() && candidates.values().all(Candidate::is_finished);
    // There is no event to end with, so a cut stream may look complete but for the rest of an event.
    if !(is_complete || is_blocked_one) || sse::is_cut(stream) {
        return Err(Inconvertible::Incomplete);
    }
    if !candidates.is_empty() {
        let candidates: Result<Vec<_>, _> = candidates.into_values().map(Candidate::finish).collect();
        answer.set("candidates", candidates?);
    }
    answer.to_bytes()
}

/// A candidate of which some chunks have come.
#[derive(Default)]
struct Candidate<'a> {
    fields: Map<'a>,
    content: Map<'a>,
    parts: Option<Vec<Part<'a>>>,
}

/// A part, or the text of one that may go on.
enum Part<'a> {
    Open { fields: Fields<'a>, text: String },
    Whole(&'a RawValue),
}

impl<'a> Candidate<'a> {
    fn add(&mut self, fragment: &Fields<'a>) -> Result<(), Inconvertible> {
        for (key, value) in fragment.iter() {
            match key {
                "content" if !fields::is_null(value) => {
                    self.fields.set_if_absent(key, json::NULL);
                    self.add_content(&Fields::of(value).ok_or(Inconvertible::Malformed)?)?;
                }
                "content" => (),
                "logprobsResult" => self.fields.merge(key, value)?,
                _ => self.fields.overlay(key, value)?,
            }
        }
        Ok(())
    }

    fn add_content(&mut self, content: &Fields<'a>) -> Result<(), Inconvertible> {
        for (key, value) in content.iter() {
            self.content.overlay(key, value)?;
        }
        if content.given("parts").is_some() {
            let parts = self.parts.get_or_insert_default();
            for part in content.list("parts").ok_or(Inconvertible::Malformed)? {
                add_part(parts, part);
            }
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        matches!(self.fields.get("finishReason"), Some(Json::Raw(raw)) if !fields::is_null(raw))
    }

    fn finish(mut self) -> Result<Map<'a>, Inconvertible> {
        if let Some(parts) = self.parts {
            self.content.set("parts", parts.into_iter().map(Part::finish).collect::<Vec<_>>());
        }
        if self.fields.get("content").is_some() {
            self.fields.set("content", self.content);
        }
        Ok(self.fields)
    }
}

impl<'a> Part<'a> {
    /// Text goes on in the next part if there is nothing else in it. A part with a signature must stay as it is.
    fn of(raw: &'a RawValue) -> Self {
        let text = Fields::of(raw).filter(is_open).and_then(|fields| Some((fields.text("text")?, fields)));
        match text {
            Some((text, fields)) => Part::Open { text: text.into_owned(), fields },
            None => Part::Whole(raw),
        }
    }

    fn finish(self) -> Json<'a> {
        match self {
            Part::Whole(raw) => raw.into(),
            Part::Open { fields, text } => {
                let mut part = Map::from(&fields);
                part.set("text", text);
                part.into()
            }
        }
    }
}

fn is_open(part: &Fields<'_>) -> bool {
    part.iter().all(|(key, _)| matches!(key, "text" | "thought"))
}

/// Adds a part. Streams end, and signatures come, with empty texts that a plain answer does not have.
fn add_part<'a>(parts: &mut Vec<Part<'a>>, raw: &'a RawValue) {
    let part = Part::of(raw);
    let is_empty = |part: &Part<'_>| matches!(part, Part::Open { text, .. } if text.is_empty());
    if is_empty(&part) && !parts.is_empty() {
        return;
    }
    if parts.last().is_some_and(is_empty) {
        parts.pop();
    }
    match (parts.last_mut(), part) {
        (Some(Part::Open { text, fields }), Part::Open { text: more, fields: with })
            if fields.is_true("thought") == with.is_true("thought") =>
        {
            text.push_str(&more);
        }
        (_, part) => parts.push(part),
    }
}

pub(super) fn chunk(answer: &Fields<'_>) -> Result<Bytes, Inconvertible> {
    let mut fragments = Vec::new();
    let candidates = answer.objects_if_given("candidates").ok_or(Inconvertible::Malformed)?;
    if !fields::are_apart(&candidates) {
        return Err(Inconvertible::Unfamiliar);
    }
    for candidate in &candidates {
        fragments.extend(candidate_fragments(candidate)?);
    }
    let last = fragments.pop();
    let mut writer = Writer::default();
    for fragment in fragments {
        let mut chunk = Map::of([("candidates", vec![fragment].into())]);
        for (key, value) in answer.iter().filter(|(key, _)| STEADY.contains(key)) {
            chunk.set(key, value);
        }
        writer.event(None, &chunk);
    }
    let mut chunk = Map::from(answer);
    if let Some(last) = last {
        chunk.set("candidates", vec![last]);
    }
    writer.event(None, &chunk);
    Ok(writer.finish())
}

/// A candidate part by part, the last with all that is not content.
fn candidate_fragments<'a>(candidate: &Fields<'a>) -> Result<Vec<Map<'a>>, Inconvertible> {
    let Some(content) = candidate.object("content") else { return Ok(vec![Map::from(candidate)]) };
    let parts = content.given("parts").map_or(Some(Vec::new()), |_| content.list("parts"));
    let mut pieces: Vec<Json<'a>> = parts.ok_or(Inconvertible::Malformed)?.into_iter().flat_map(part_pieces).collect();
    let last = pieces.pop();
    let with = |part: Json<'a>| {
        let mut content = Map::from(&content);
        content.set("parts", vec![part]);
        content
    };
    let mut fragments: Vec<Map<'a>> = Vec::new();
    for piece in pieces {
        let mut fragment = Map::of([("content", with(piece).into())]);
        if let Some(index) = candidate.get("index") {
            fragment.set("index", index);
        }
        fragments.push(fragment);
    }
    let mut fragment = Map::from(candidate);
    if let Some(last) = last {
        fragment.set("content", with(last));
    }
    fragments.push(fragment);
    Ok(fragments)
}

fn part_pieces(raw: &RawValue) -> Vec<Json<'_>> {
    match Part::of(raw) {
        Part::Open { fields, text } if !text.is_empty() => {
            let piece = |piece: &str| Part::Open { fields: fields.clone(), text: piece.to_owned() }.finish();
            json::pieces(&text).map(piece).collect()
        }
        part => vec![part.finish()],
    }
}
