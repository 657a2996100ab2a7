//! OpenAI Responses.

use serde_json::{Value, json};

use super::conversation::{self, Conversation};
use super::openai_chat::{choice, format};
use super::script::{self, Script, Step};
use super::tool;
use super::{Answer, Asked, Request, Tool};
use crate::behaviour::Finish;

pub(super) fn read(json: &Value) -> Result<Request, String> {
    let mut turns = Conversation::default();
    turns.system(&conversation::text(&json["instructions"]));
    match &json["input"] {
        Value::String(text) => turns.turn(true, text.clone()),
        Value::Array(items) => items.iter().for_each(|item| read_item(&mut turns, item)),
        _ => return Err("input is missing".to_owned()),
    }
    let offered = tool::elements(&json["tools"]).map(|tool| (&tool["name"], &tool["parameters"]));
    let asked = Asked {
        model: conversation::string(&json["model"]),
        stream: json["stream"] == true,
        input_tokens: turns.words(),
        tool: Tool::chosen(offered, choice(&json["tool_choice"]["name"], &json["tool_choice"]))
            .filter(|_| turns.may_call_tool()),
        schema: format(&json["text"]["format"], &json["text"]["format"]["schema"]),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: turns.prompt()? })
}

fn read_item(turns: &mut Conversation, item: &Value) {
    let text = conversation::text(&item["content"]);
    match (item["type"].as_str(), item["role"].as_str()) {
        (Some("function_call_output"), _) => turns.tool_result(),
        (_, Some("system" | "developer")) => turns.system(&text),
        (_, Some(role)) => turns.turn(role == "user", text),
        _ => {}
    }
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Script {
    Script::whole(&finished(asked, answer))
}

pub(super) fn stream(asked: &Asked, answer: &Answer) -> Script {
    let mut events = Events::default();
    let started = response(asked, answer, "in_progress", json!([]), Value::Null);
    events.now(json!({"type": "response.created", "response": started}));
    events.now(json!({"type": "response.in_progress", "response": started}));
    match answer.tool(asked) {
        Some(tool) => stream_call(&mut events, tool, answer),
        None => stream_text(&mut events, answer),
    }
    let last = if answer.finish == Finish::Stop { "response.completed" } else { "response.incomplete" };
    events.now(json!({"type": last, "response": finished(asked, answer)}));
    Script::events(events.0)
}

fn stream_text(events: &mut Events, answer: &Answer) {
    let id = answer.id("msg_");
    let opened = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
    let at = |kind: &str, more: Value| {
        merged(json!({"type": kind, "item_id": id, "output_index": 0, "content_index": 0}), more)
    };
    events.now(json!({"type": "response.output_item.added", "output_index": 0, "item": opened}));
    events.now(at("response.content_part.added", json!({"part": part("")})));
    for piece in answer.pieces() {
        events.token(at("response.output_text.delta", json!({"delta": piece, "logprobs": []})));
    }
    let text = answer.text();
    events.now(at("response.output_text.done", json!({"text": text, "logprobs": []})));
    events.now(at("response.content_part.done", json!({"part": part(&text)})));
    events.now(json!({"type": "response.output_item.done", "output_index": 0, "item": message(answer)}));
}

fn stream_call(events: &mut Events, tool: &Tool, answer: &Answer) {
    let done = function_call(tool, answer);
    let mut opened = done.clone();
    opened["arguments"] = json!("");
    opened["status"] = json!("in_progress");
    events.now(json!({"type": "response.output_item.added", "output_index": 0, "item": opened}));
    for part in script::fragments(&tool.arguments(&answer.opening)) {
        events.token(json!({"type": "response.function_call_arguments.delta", "item_id": done["id"], "output_index": 0, "delta": part}));
    }
    events.now(json!({
        "type": "response.function_call_arguments.done", "item_id": done["id"], "output_index": 0,
        "name": tool.name, "arguments": done["arguments"],
    }));
    events.now(json!({"type": "response.output_item.done", "output_index": 0, "item": done}));
}

/// Events are numbered.
#[derive(Default)]
struct Events(Vec<Step>);

impl Events {
    fn now(&mut self, event: Value) {
        let step = Step::Now(self.numbered(event));
        self.0.push(step);
    }

    fn token(&mut self, event: Value) {
        let step = Step::Token(self.numbered(event));
        self.0.push(step);
    }

    fn numbered(&self, event: Value) -> bytes::Bytes {
        script::named(&merged(event, json!({"sequence_number": self.0.len()})))
    }
}

fn merged(mut into: Value, more: Value) -> Value {
    if let (Value::Object(into), Value::Object(more)) = (&mut into, more) {
        into.extend(more);
    }
    into
}

/// The event of a stream that cannot go on.
pub(super) fn error_event(message: &str) -> Value {
    json!({"type": "error", "code": "server_error", "message": message, "param": null, "sequence_number": 9})
}

fn finished(asked: &Asked, answer: &Answer) -> Value {
    let item = match answer.tool(asked) {
        Some(tool) => function_call(tool, answer),
        None => message(answer),
    };
    let (status, reason) = match answer.finish {
        Finish::Stop => ("completed", Value::Null),
        Finish::Length => ("incomplete", json!({"reason": "max_output_tokens"})),
        Finish::Filter => ("incomplete", json!({"reason": "content_filter"})),
    };
    let mut response = response(asked, answer, status, json!([item]), usage(asked, answer));
    response["incomplete_details"] = reason;
    response
}

fn response(asked: &Asked, answer: &Answer, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": answer.id("resp_"), "object": "response", "created_at": answer.created, "status": status,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "model": asked.model,
        "output": output, "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "usage": usage,
    })
}

fn message(answer: &Answer) -> Value {
    json!({"id": answer.id("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [part(&answer.text())]})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn function_call(tool: &Tool, answer: &Answer) -> Value {
    json!({
        "id": answer.id("fc_"), "type": "function_call", "status": "completed", "call_id": answer.id("call_"),
        "name": tool.name, "arguments": tool.arguments(&answer.opening).to_string(),
    })
}

fn usage(asked: &Asked, answer: &Answer) -> Value {
    json!({
        "input_tokens": asked.input_tokens, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.tokens, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked.input_tokens + answer.tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;

    #[test]
    fn events_are_numbered_and_the_last_one_holds_the_whole_answer() {
        let answer = Answer::new("Echo x".to_owned(), &Behaviour { tokens: 2, ..Behaviour::default() }, 7, 0);
        let text = stream(&Asked::default(), &answer).text();
        let data: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|json| serde_json::from_str(json).unwrap())
            .collect();
        for (n, event) in data.iter().enumerate() {
            assert_eq!(event["sequence_number"], n);
        }
        let last = data.last().unwrap();
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["output"][0]["content"][0]["text"], answer.text());
    }

    #[test]
    fn input_is_a_text_or_a_list_of_items() {
        assert_eq!(read(&json!({"input": "a"})).unwrap().prompt, "a");
        let items = json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "b"}]}]});
        assert_eq!(read(&items).unwrap().prompt, "b");
    }
}
