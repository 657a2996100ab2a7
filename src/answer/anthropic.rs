//! Anthropic's messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::{self, Fields};
use super::json::{self, Json, Map, NULL};
use super::sse::{self, Event, Writer};
use super::{Inconvertible, Unstorable};

pub(super) fn storable(answer: &Fields<'_>) -> Result<(), Unstorable> {
    match answer.text("type").as_deref() {
        Some("message") => (),
        Some("error") => return Err(Unstorable::Error),
        _ => return Err(Unstorable::Malformed),
    }
    match answer.text("stop_reason").as_deref() {
        Some("end_turn" | "stop_sequence" | "tool_use") => (),
        Some("max_tokens" | "model_context_window_exceeded") => return Err(Unstorable::Truncated),
        Some("refusal") => return Err(Unstorable::Filtered),
        _ => return Err(Unstorable::Incomplete),
    }
    let blocks = answer.objects("content").ok_or(Unstorable::Malformed)?;
    let mut calls = blocks.iter().filter(|block| takes_input(block));
    if calls.all(|call| call.object("input").is_some()) { Ok(()) } else { Err(Unstorable::InvalidToolCall) }
}

/// Whether a block is a call whose input comes in fragments.
fn takes_input(block: &Fields<'_>) -> bool {
    matches!(block.text("type").as_deref(), Some("tool_use" | "server_tool_use"))
}

pub(super) fn assemble(stream: &[u8]) -> Result<Bytes, Inconvertible> {
    let events: Vec<Event<'_>> = sse::events(stream).collect();
    let mut message = Assembly::default();
    for event in &events {
        let fields = Fields::parse(&event.data).ok_or(Inconvertible::Malformed)?;
        match fields.text("type").as_deref() {
            Some("message_start") => {
                message.top = Map::searched(&fields.object("message").ok_or(Inconvertible::Malformed)?)?;
            }
            Some("content_block_start") => message.open(&fields)?,
            Some("content_block_delta") => message.add(&fields)?,
            Some("content_block_stop" | "ping") => (),
            Some("message_delta") => message.close(&fields)?,
            Some("message_stop") => return message.finish(),
            Some("error") => return Err(Inconvertible::Error),
            _ => return Err(Inconvertible::Unfamiliar),
        }
    }
    Err(Inconvertible::Incomplete)
}

/// A message of which some events have come.
#[derive(Default)]
struct Assembly<'a> {
    top: Map<'a>,
    blocks: BTreeMap<u64, Block<'a>>,
}

struct Block<'a> {
    fields: Map<'a>,
    /// The fragments of a call's input, which are no JSON one by one.
    input: String,
}

impl<'a> Assembly<'a> {
    fn open(&mut self, event: &Fields<'a>) -> Result<(), Inconvertible> {
        let index = event.number("index").ok_or(Inconvertible::Malformed)?;
        let fields = event.object("content_block").ok_or(Inconvertible::Malformed)?;
        self.blocks.insert(index, Block { fields: Map::searched(&fields)?, input: String::new() });
        Ok(())
    }

    fn add(&mut self, event: &Fields<'a>) -> Result<(), Inconvertible> {
        let block = event.number("index").and_then(|index| self.blocks.get_mut(&index));
        let block = block.ok_or(Inconvertible::Malformed)?;
        let delta = event.object("delta").ok_or(Inconvertible::Malformed)?;
        let text = |key: &str| delta.text(key).ok_or(Inconvertible::Malformed);
        match delta.text("type").as_deref() {
            Some("text_delta") => block.fields.append("text", &text("text")?)?,
            Some("thinking_delta") => block.fields.append("thinking", &text("thinking")?)?,
            Some("signature_delta") => block.fields.set("signature", text("signature")?),
            Some("input_json_delta") => block.input.push_str(&text("partial_json")?),
            Some("citations_delta") => {
                if matches!(block.fields.get("citations"), Some(Json::Raw(raw)) if fields::is_null(raw)) {
                    block.fields.set("citations", Json::List(Vec::new()));
                }
                let citation = delta.get("citation").ok_or(Inconvertible::Malformed)?;
                block.fields.list("citations").ok_or(Inconvertible::Malformed)?.push(citation.into());
            }
            _ => return Err(Inconvertible::Unfamiliar),
        }
        Ok(())
    }

    /// Lays what only the end knows over what the beginning said.
    fn close(&mut self, event: &Fields<'a>) -> Result<(), Inconvertible> {
        for (key, value) in event.iter().filter(|(key, _)| *key != "type") {
            match key {
                "delta" => {
                    let delta = Fields::of(value).ok_or(Inconvertible::Malformed)?;
                    delta.iter().try_for_each(|(key, value)| self.top.overlay(key, value))?;
                }
                "usage" => {
                    let known = self.top.map("usage").ok_or(Inconvertible::Malformed)?;
                    let usage = Fields::of(value).ok_or(Inconvertible::Malformed)?;
                    usage.iter().try_for_each(|(key, value)| known.overlay(key, value))?;
                }
                _ => self.top.overlay(key, value)?,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Inconvertible> {
        let blocks: Result<Vec<_>, _> = self.blocks.into_values().map(Block::finish).collect();
        self.top.set("content", blocks?);
        self.top.to_bytes()
    }
}

impl<'a> Block<'a> {
    fn finish(mut self) -> Result<Map<'a>, Inconvertible> {
        if !self.input.is_empty() {
            let input = RawValue::from_string(self.input).map_err(|_| Inconvertible::InvalidToolCall)?;
            self.fields.set("input", Json::Owned(input));
        }
        Ok(self.fields)
    }
}

pub(super) fn chunk(answer: &Fields<'_>) -> Result<Bytes, Inconvertible> {
    let blocks = answer.objects("content").ok_or(Inconvertible::Malformed)?;
    let mut events = Events(Writer::default());
    events.send("message_start", Map::of([("message", beginning(answer).into())]));
    for (index, block) in (0..).zip(&blocks) {
        events.block(index, block);
    }
    events.send("message_delta", end(answer));
    events.send("message_stop", Map::default());
    Ok(events.0.finish())
}

/// The message as it was before there was anything in it.
fn beginning<'a>(answer: &Fields<'a>) -> Map<'a> {
    let mut message = Map::from(answer);
    message.set("content", Json::List(Vec::new()));
    for key in ["stop_reason", "stop_sequence", "stop_details"].into_iter().filter(|key| answer.get(key).is_some()) {
        message.set(key, NULL);
    }
    // What the end tells. A reader lays it over this.
    message.remove("context_management");
    // Made where it lacks: clients read in it.
    let mut usage = usage(answer);
    if usage.get("output_tokens").is_some() {
        usage.set("output_tokens", 0);
    }
    message.set("usage", usage);
    message
}

fn end<'a>(answer: &Fields<'a>) -> Map<'a> {
    let mut delta = Map::of([("stop_reason", NULL), ("stop_sequence", NULL)]);
    for key in ["stop_reason", "stop_sequence", "stop_details", "container"] {
        if let Some(value) = answer.get(key) {
            delta.set(key, value);
        }
    }
    let mut usage = usage(answer);
    for settled in ["cache_creation", "service_tier", "inference_geo"] {
        usage.remove(settled);
    }
    let mut event = Map::of([("delta", delta.into()), ("usage", usage.into())]);
    if let Some(value) = answer.get("context_management") {
        event.set("context_management", value);
    }
    event
}

fn usage<'a>(answer: &Fields<'a>) -> Map<'a> {
    answer.object("usage").map(|usage| Map::from(&usage)).unwrap_or_default()
}

struct Events(Writer);

impl Events {
    fn send(&mut self, name: &str, fields: Map<'_>) {
        self.0.event(Some(name), &fields.after("type", name));
    }

    fn block(&mut self, index: u64, block: &Fields<'_>) {
        let mut opening = Map::from(block);
        let deltas = deltas(block, &mut opening);
        let fields = Map::of([("index", index.into()), ("content_block", opening.into())]);
        self.send("content_block_start", fields);
        for delta in deltas {
            self.send("content_block_delta", Map::of([("index", index.into()), ("delta", delta.into())]));
        }
        self.send("content_block_stop", Map::of([("index", index.into())]));
    }
}

/// What of a block comes in fragments, taken out of its opening. Kinds that are not known come whole in the opening.
fn deltas<'a>(block: &Fields<'a>, opening: &mut Map<'a>) -> Vec<Map<'a>> {
    let mut deltas = Vec::new();
    let mut empty = |opening: &mut Map<'a>, key: &str, kind: &'static str| {
        let text = block.text(key).unwrap_or_default();
        let fragment = |piece: &str| Map::of([("type", kind.into()), (key, piece.to_owned().into())]);
        deltas.extend(json::pieces(&text).map(fragment));
        if !text.is_empty() {
            opening.set(key, "");
        }
    };
    match block.text("type").as_deref() {
        Some("text") => {
            empty(opening, "text", "text_delta");
            for citation in block.list("citations").unwrap_or_default() {
                opening.set("citations", Json::List(Vec::new()));
                deltas.push(Map::of([("type", "citations_delta".into()), ("citation", citation.into())]));
            }
        }
        Some("thinking") => {
            empty(opening, "thinking", "thinking_delta");
            if let Some(signature) = block.text("signature").filter(|signature| !signature.is_empty()) {
                opening.set("signature", "");
                deltas.push(Map::of([("type", "signature_delta".into()), ("signature", signature.into())]));
            }
        }
        Some("tool_use" | "server_tool_use") => {
            if let Some(input) = block.object("input").and(block.get("input")) {
                opening.set("input", Map::default());
                let fragment = |piece: &str| piece.to_owned().into();
                deltas.extend(
                    [""].into_iter()
                        .chain(json::pieces(input.get()))
                        .map(|piece| Map::of([("type", "input_json_delta".into()), ("partial_json", fragment(piece))])),
                );
            }
        }
        _ => (),
    }
    deltas
}
