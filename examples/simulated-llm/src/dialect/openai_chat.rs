//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::conversation::{self, Conversation};
use super::script::{self, Script, Step};
use super::tool::{self, Choice};
use super::{Answer, Asked, Request, Tool, schema};
use crate::behaviour::{Finish, Refusal};

pub(super) fn read(json: &Value) -> Result<Request, String> {
    let messages = json["messages"].as_array().ok_or("messages is missing")?;
    let mut turns = Conversation::default();
    for message in messages {
        let text = conversation::text(&message["content"]);
        match message["role"].as_str() {
            Some("system" | "developer") => turns.system(&text),
            Some("tool") => turns.tool_result(),
            role => turns.turn(role == Some("user"), text),
        }
    }
    let functions = tool::elements(&json["tools"]).map(|tool| &tool["function"]);
    let offered = functions.map(|function| (&function["name"], &function["parameters"]));
    let asked = Asked {
        model: conversation::string(&json["model"]),
        stream: json["stream"] == true,
        input_tokens: turns.words(),
        include_usage: json["stream_options"]["include_usage"] == true,
        tool: Tool::chosen(offered, choice(&json["tool_choice"]["function"]["name"], &json["tool_choice"]))
            .filter(|_| turns.may_call_tool()),
        schema: format(&json["response_format"], &json["response_format"]["json_schema"]["schema"]),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: turns.prompt()? })
}

/// The tool choice of both of OpenAI's APIs.
pub(super) fn choice<'a>(name: &'a Value, choice: &'a Value) -> Choice<'a> {
    name.as_str().map_or_else(|| Choice::of_word(choice), Choice::Named)
}

/// The form of the text in both of OpenAI's APIs.
pub(super) fn format(format: &Value, schema: &Value) -> Option<Box<Value>> {
    match format["type"].as_str() {
        Some("json_schema") => Some(Box::new(schema.clone())),
        Some("json_object") => Some(Box::new(schema::any_object())),
        _ => None,
    }
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Script {
    let message = match answer.tool(asked) {
        Some(tool) => {
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [{
                "id": answer.id("call_"), "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments(&answer.opening).to_string()},
            }]})
        }
        None => {
            json!({"role": "assistant", "content": answer.text(), "refusal": null, "annotations": []})
        }
    };
    Script::whole(&json!({
        "id": answer.id("chatcmpl-"), "object": "chat.completion", "created": answer.created, "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(asked, answer)}],
        "usage": usage(asked, answer), "service_tier": "default", "system_fingerprint": "fp_simulated",
    }))
}

pub(super) fn stream(asked: &Asked, answer: &Answer) -> Script {
    let chunk = |delta: Value, finish: Value| {
        let mut chunk = json!({
            "id": answer.id("chatcmpl-"), "object": "chat.completion.chunk", "created": answer.created,
            "model": asked.model, "system_fingerprint": "fp_simulated",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        });
        if asked.include_usage {
            chunk["usage"] = Value::Null;
        }
        script::data(&chunk)
    };
    let mut steps = Vec::new();
    if let Some(tool) = answer.tool(asked) {
        let call = json!({"index": 0, "id": answer.id("call_"), "type": "function", "function": {"name": tool.name, "arguments": ""}});
        steps.push(Step::Now(chunk(json!({"role": "assistant", "content": null, "tool_calls": [call]}), Value::Null)));
        steps.extend(script::fragments(&tool.arguments(&answer.opening)).into_iter().map(|part| {
            Step::Token(chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}), Value::Null))
        }));
    } else {
        steps.push(Step::Now(chunk(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null)));
        steps.extend(
            answer.pieces().into_iter().map(|piece| Step::Token(chunk(json!({"content": piece}), Value::Null))),
        );
    }
    steps.push(Step::Now(chunk(json!({}), json!(finish_reason(asked, answer)))));
    if asked.include_usage {
        steps.push(Step::Now(script::data(&json!({
            "id": answer.id("chatcmpl-"), "object": "chat.completion.chunk", "created": answer.created,
            "model": asked.model, "choices": [], "usage": usage(asked, answer),
        }))));
    }
    steps.push(Step::Now("data: [DONE]\n\n".into()));
    Script::events(steps)
}

fn usage(asked: &Asked, answer: &Answer) -> Value {
    json!({
        "prompt_tokens": asked.input_tokens, "completion_tokens": answer.tokens,
        "total_tokens": asked.input_tokens + answer.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    })
}

fn finish_reason(asked: &Asked, answer: &Answer) -> &'static str {
    match answer.finish {
        Finish::Length => "length",
        Finish::Filter => "content_filter",
        Finish::Stop if answer.tool(asked).is_some() => "tool_calls",
        Finish::Stop => "stop",
    }
}

/// The error document of a request that is refused.
pub(super) fn refusal(refusal: Refusal) -> Value {
    let (message, param, code) = match refusal {
        Refusal::ContextLength => (
            "This model's maximum context length is 128000 tokens, and the input has 128001 tokens.",
            "messages",
            "context_length_exceeded",
        ),
        Refusal::ContentFilter => ("The prompt was stopped by the content filter.", "prompt", "content_filter"),
    };
    json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})
}

pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "invalid_request_error",
        403 => "permission_error",
        429 => "requests",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

pub(super) fn error_code(status: u16) -> Value {
    match status {
        401 => json!("invalid_api_key"),
        404 => json!("model_not_found"),
        429 => json!("rate_limit_exceeded"),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;

    fn answer(tool: bool) -> Answer {
        Answer::new("Echo x".to_owned(), &Behaviour { tool, tokens: 3, ..Behaviour::default() }, 7, 0)
    }

    #[test]
    fn the_prompt_is_the_last_user_text_whatever_its_form() {
        let json = json!({"model": "m", "messages": [
            {"role": "system", "content": "be kind"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
        ]});
        let request = read(&json).unwrap();
        assert_eq!((request.prompt.as_str(), request.asked.input_tokens), ("c\nd", 6));
    }

    #[test]
    fn a_stream_ends_with_finish_usage_and_done() {
        let asked = Asked { include_usage: true, ..Asked::default() };
        let text = stream(&asked, &answer(false)).text();
        let events: Vec<&str> = text.trim_end().split("\n\n").collect();
        assert_eq!(events.len(), 1 + 3 + 1 + 1 + 1);
        assert!(events[4].contains(r#""finish_reason":"stop""#));
        assert!(events[5].contains(r#""completion_tokens":3"#));
        assert_eq!(events[6], "data: [DONE]");
    }

    #[test]
    fn the_text_fits_the_schema_that_the_request_gives() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let format = json!({"type": "json_schema", "json_schema": {"name": "f", "schema": schema}});
        let user = json!({"role": "user", "content": "x"});
        let asked = read(&json!({"messages": [user], "response_format": format})).unwrap().asked;
        let answer = answer(false).in_form(&asked);
        assert_eq!(answer.text(), r#"{"city":"Echo x"}"#);
        assert_eq!(answer.pieces().len(), 3);
    }

    #[test]
    fn a_request_may_insist_on_a_tool() {
        let user = json!({"role": "user", "content": "x"});
        let tools = json!([{"function": {"name": "f"}}, {"function": {"name": "g"}}]);
        let choice = json!({"type": "function", "function": {"name": "g"}});
        let asked = read(&json!({"messages": [user], "tools": tools, "tool_choice": choice})).unwrap().asked;
        assert_eq!(answer(false).tool(&asked).unwrap().name, "g");
    }

    #[test]
    fn a_tool_is_called_in_answer_to_a_user_only() {
        let tools =
            json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"city": {}}}}}]);
        let user = json!({"role": "user", "content": "x"});
        let first = read(&json!({"messages": [user], "tools": tools})).unwrap();
        assert!(whole(&first.asked, &answer(true)).text().contains(r#"{\"city\":\"Echo x\"}"#));
        let second = read(&json!({"messages": [user, {"role": "tool", "content": "y"}], "tools": tools})).unwrap();
        assert!(whole(&second.asked, &answer(true)).text().contains(r#""finish_reason":"stop""#));
    }
}
