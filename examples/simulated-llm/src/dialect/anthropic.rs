//! Anthropic Messages.

use serde_json::{Value, json};

use super::conversation::{self, Conversation};
use super::script::{self, Script, Step};
use super::tool::{self, Choice};
use super::{Answer, Asked, Request, Tool};
use crate::behaviour::{Finish, Refusal};

pub(super) fn read(json: &Value) -> Result<Request, String> {
    let messages = json["messages"].as_array().ok_or("messages: Field required")?;
    if !json["max_tokens"].is_u64() {
        return Err("max_tokens: Field required".to_owned());
    }
    let mut turns = Conversation::default();
    turns.system(&conversation::text(&json["system"]));
    for message in messages {
        let text = conversation::text(&message["content"]);
        match conversation::has_part(&message["content"], "tool_result") {
            true => turns.tool_result(),
            false => turns.turn(message["role"] == "user", text),
        }
    }
    let offered = tool::elements(&json["tools"]).map(|tool| (&tool["name"], &tool["input_schema"]));
    let choice = &json["tool_choice"];
    let choice = choice["name"].as_str().map_or_else(|| Choice::of_word(&choice["type"]), Choice::Named);
    // A beta spelled it on the first level.
    let formats = [&json["output_config"]["format"], &json["output_format"]];
    let schema = formats.iter().find_map(|format| format.get("schema")).cloned();
    let asked = Asked {
        model: conversation::string(&json["model"]),
        stream: json["stream"] == true,
        input_tokens: turns.words(),
        tool: Tool::chosen(offered, choice).filter(|_| turns.may_call_tool()),
        schema: schema.map(Box::new),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: turns.prompt()? })
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Script {
    let block = match answer.tool(asked) {
        Some(tool) => {
            json!({"type": "tool_use", "id": answer.id("toolu_"), "name": tool.name, "input": tool.arguments(&answer.opening)})
        }
        None => json!({"type": "text", "text": answer.text()}),
    };
    Script::whole(&message(asked, answer, json!([block]), json!(stop_reason(asked, answer)), answer.tokens))
}

pub(super) fn stream(asked: &Asked, answer: &Answer) -> Script {
    let now = |value: Value| Step::Now(script::named(&value));
    let delta =
        |delta: Value| Step::Token(script::named(&json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    let start = message(asked, answer, json!([]), Value::Null, 1);
    let mut steps = vec![now(json!({"type": "message_start", "message": start}))];
    let (block, deltas): (Value, Vec<Step>) = match answer.tool(asked) {
        Some(tool) => (
            json!({"type": "tool_use", "id": answer.id("toolu_"), "name": tool.name, "input": {}}),
            script::fragments(&tool.arguments(&answer.opening))
                .into_iter()
                .map(|part| delta(json!({"type": "input_json_delta", "partial_json": part})))
                .collect(),
        ),
        None => (
            json!({"type": "text", "text": ""}),
            answer.pieces().into_iter().map(|piece| delta(json!({"type": "text_delta", "text": piece}))).collect(),
        ),
    };
    steps.push(now(json!({"type": "content_block_start", "index": 0, "content_block": block})));
    steps.push(now(json!({"type": "ping"})));
    steps.extend(deltas);
    steps.push(now(json!({"type": "content_block_stop", "index": 0})));
    steps.push(now(json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(asked, answer), "stop_sequence": null},
        "usage": {"output_tokens": answer.tokens},
    })));
    steps.push(now(json!({"type": "message_stop"})));
    Script::events(steps)
}

fn message(asked: &Asked, answer: &Answer, content: Value, stop_reason: Value, output_tokens: usize) -> Value {
    json!({
        "id": answer.id("msg_"), "type": "message", "role": "assistant", "model": asked.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {
            "input_tokens": asked.input_tokens, "output_tokens": output_tokens,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard",
        },
    })
}

fn stop_reason(asked: &Asked, answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Length => "max_tokens",
        Finish::Filter => "refusal",
        Finish::Stop if answer.tool(asked).is_some() => "tool_use",
        Finish::Stop => "end_turn",
    }
}

/// The error message of a request that is refused.
pub(super) fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::ContextLength => "prompt is too long: 200001 tokens > 200000 maximum",
        Refusal::ContentFilter => "Output blocked by content filtering policy",
    }
}

pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;

    #[test]
    fn the_events_come_in_the_documented_order() {
        let answer = Answer::new("Echo x".to_owned(), &Behaviour { tokens: 2, ..Behaviour::default() }, 7, 0);
        let text = stream(&Asked::default(), &answer).text();
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        let expected = [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn max_tokens_is_required_as_it_is_by_the_provider() {
        let error = read(&json!({"messages": [{"role": "user", "content": "x"}]})).err();
        assert_eq!(error.as_deref(), Some("max_tokens: Field required"));
    }

    #[test]
    fn a_tool_result_is_not_answered_with_another_call() {
        let request = read(&json!({"max_tokens": 9, "tools": [{"name": "f"}], "messages": [
            {"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "tool_result", "content": "1"}]},
        ]}));
        let request = request.unwrap();
        assert_eq!((request.prompt.as_str(), request.asked.tool), ("x", None));
    }
}
