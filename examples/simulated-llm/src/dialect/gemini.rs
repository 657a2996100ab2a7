//! Gemini: generateContent, streamGenerateContent, embedContent and batchEmbedContents.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::conversation::{self, Conversation};
use super::script::{self, Script, Step};
use super::tool::{self, Choice};
use super::{Answer, Asked, Dialect, Endpoint, Request, Tool, schema};
use crate::answer;
use crate::behaviour::{Finish, Refusal};

const DIMENSIONS: usize = 3072;

pub(super) fn read(path: &str, json: &Value, stream: bool) -> Result<Request, String> {
    let contents = json["contents"].as_array().ok_or("contents is not specified")?;
    let mut turns = Conversation::default();
    turns.system(&conversation::text(&either(json, ["systemInstruction", "system_instruction"])["parts"]));
    for content in contents {
        let parts = &content["parts"];
        let is_result =
            parts.as_array().is_some_and(|parts| parts.iter().any(|part| part.get("functionResponse").is_some()));
        match is_result {
            true => turns.tool_result(),
            false => turns.turn(content["role"] != "model", conversation::text(parts)),
        }
    }
    let functions = tool::elements(either(&json["tools"][0], ["functionDeclarations", "function_declarations"]));
    let offered = functions.map(|function| (&function["name"], parameters(function)));
    let asked = Asked {
        model: model(path),
        stream,
        input_tokens: turns.words(),
        tool: Tool::chosen(offered, choice(json)).filter(|_| turns.may_call_tool()),
        schema: format(either(json, ["generationConfig", "generation_config"])),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: turns.prompt()? })
}

/// The API takes a name in camel case and in snake case, and clients send both.
fn either<'a, const N: usize>(json: &'a Value, names: [&str; N]) -> &'a Value {
    names.iter().find_map(|name| json.get(*name)).unwrap_or(&Value::Null)
}

fn parameters(function: &Value) -> &Value {
    either(function, ["parameters", "parametersJsonSchema", "parameters_json_schema"])
}

fn choice(json: &Value) -> Choice<'_> {
    let config = either(json, ["toolConfig", "tool_config"]);
    let config = either(config, ["functionCallingConfig", "function_calling_config"]);
    let allowed = either(config, ["allowedFunctionNames", "allowed_function_names"]);
    match (Choice::of_word(&config["mode"]), allowed[0].as_str()) {
        (Choice::Any, Some(name)) => Choice::Named(name),
        (choice, _) => choice,
    }
}

/// A schema, or JSON of any kind.
fn format(config: &Value) -> Option<Box<Value>> {
    let given = either(config, ["responseJsonSchema", "response_json_schema", "responseSchema", "response_schema"]);
    let wants_json = either(config, ["responseMimeType", "response_mime_type"]) == "application/json";
    match given {
        Value::Null => wants_json.then(|| Box::new(schema::any_object())),
        schema => Some(Box::new(schema.clone())),
    }
}

pub(super) fn read_embed(path: &str, requests: &[&Value]) -> Result<Request, String> {
    let texts: Vec<String> = requests.iter().map(|request| conversation::text(&request["content"]["parts"])).collect();
    let first = requests.first().ok_or("requests is empty")?;
    let dimensions =
        first["outputDimensionality"].as_u64().or(first["embedContentConfig"]["outputDimensionality"].as_u64());
    let asked = Asked {
        model: model(path),
        input_tokens: texts.iter().map(|text| text.split_whitespace().count()).sum(),
        embed: texts.iter().map(|text| Sha256::digest(text).into()).collect(),
        dimensions: dimensions.map(|n| n as usize),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: texts.join("\n") })
}

pub(super) fn whole(asked: &Asked, answer: &Answer) -> Script {
    let part = match answer.tool(asked) {
        Some(tool) => function_call(tool, answer),
        None => json!({"text": answer.text()}),
    };
    Script::whole(&response(asked, answer, part, true, answer.tokens))
}

pub(super) fn stream(asked: &Asked, answer: &Answer, sse: bool) -> Script {
    let parts: Vec<Value> = match answer.tool(asked) {
        Some(tool) => vec![function_call(tool, answer)],
        None => answer.pieces().into_iter().map(|piece| json!({"text": piece})).collect(),
    };
    let last = parts.len() - 1;
    let chunks = parts.into_iter().enumerate().map(|(n, part)| response(asked, answer, part, n == last, n + 1));
    if sse {
        return Script::events(chunks.map(|chunk| Step::Token(crlf(&script::data(&chunk)))).collect());
    }
    let mut steps: Vec<Step> = chunks
        .enumerate()
        .map(|(n, chunk)| Step::Token(format!("{}{chunk}", if n == 0 { "[" } else { ",\r\n" }).into()))
        .collect();
    steps.push(Step::Now("]\n".into()));
    Script { content_type: "application/json; charset=UTF-8", steps, streamed: true }
}

/// Gemini ends its lines with CR LF.
fn crlf(event: &Bytes) -> Bytes {
    String::from_utf8_lossy(event).replace('\n', "\r\n").into()
}

pub(super) fn embedding(asked: &Asked) -> Script {
    Script::whole(&json!({"embedding": vectors(asked).into_iter().next()}))
}

pub(super) fn embeddings(asked: &Asked) -> Script {
    Script::whole(&json!({"embeddings": vectors(asked)}))
}

fn vectors(asked: &Asked) -> Vec<Value> {
    let dimensions = asked.dimensions.unwrap_or(DIMENSIONS);
    asked.embed.iter().map(|seed| json!({"values": answer::embedding(seed, dimensions)})).collect()
}

fn function_call(tool: &Tool, answer: &Answer) -> Value {
    json!({"functionCall": {"id": answer.id("fc_"), "name": tool.name, "args": tool.arguments(&answer.opening)}})
}

fn response(asked: &Asked, answer: &Answer, part: Value, last: bool, tokens: usize) -> Value {
    let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
    if last {
        candidate["finishReason"] = json!(finish_reason(answer.finish));
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": asked.input_tokens, "candidatesTokenCount": tokens,
            "totalTokenCount": asked.input_tokens + tokens,
        },
        "modelVersion": asked.model, "responseId": answer.id("resp"),
    })
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filter => "SAFETY",
    }
}

/// `/v1beta/models/NAME:method`.
fn model(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default().to_owned()
}

/// A prompt that is too long is an error; one that is filtered gets a response without candidates.
pub(super) fn refusal(endpoint: Endpoint, asked: &Asked, refusal: Refusal, sequence: u64) -> (u16, Script) {
    if refusal == Refusal::ContextLength {
        let message = "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).";
        return (400, Script::whole(&Dialect::Gemini.error(400, message, sequence)));
    }
    let usage = json!({"promptTokenCount": asked.input_tokens, "totalTokenCount": asked.input_tokens});
    let document = json!({
        "promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage, "modelVersion": asked.model,
        "responseId": format!("respsim{sequence:012}"),
    });
    let script = match endpoint {
        Endpoint::GeminiStream { sse: true } => Script::events(vec![Step::Token(crlf(&script::data(&document)))]),
        Endpoint::GeminiStream { sse: false } => Script::whole(&json!([document])),
        _ => Script::whole(&document),
    };
    (200, script)
}

pub(super) fn error_status(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;

    const PATH: &str = "/v1beta/models/gemini-x:generateContent";

    fn answer(tokens: usize) -> Answer {
        Answer::new("Echo x".to_owned(), &Behaviour { tokens, ..Behaviour::default() }, 7, 0)
    }

    #[test]
    fn the_model_is_in_the_path_and_the_prompt_in_the_last_user_content() {
        let json = json!({"contents": [{"parts": [{"text": "a"}], "role": "user"}, {"parts": [{"text": "b"}], "role": "model"}]});
        let request = read(PATH, &json, false).unwrap();
        assert_eq!((request.asked.model.as_str(), request.prompt.as_str()), ("gemini-x", "a"));
    }

    #[test]
    fn names_are_read_in_either_spelling() {
        let contents = json!([{"parts": [{"text": "a"}]}]);
        let function = json!({"name": "f", "parameters": {"properties": {"city": {"type": "STRING"}}}});
        let camel = json!({"contents": contents, "tools": [{"functionDeclarations": [function]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}, "generationConfig": {"responseSchema": {}}});
        let snake = json!({"contents": contents, "tools": [{"function_declarations": [function]}],
            "tool_config": {"function_calling_config": {"mode": "ANY"}}, "generation_config": {"response_schema": {}}});
        let asked = read(PATH, &camel, false).unwrap().asked;
        assert!(asked.tool.as_ref().unwrap().is_forced && asked.schema.is_some());
        assert_eq!(read(PATH, &snake, false).unwrap().asked, asked);
    }

    #[test]
    fn a_filtered_prompt_gets_a_response_without_candidates() {
        for (endpoint, shown) in [(Endpoint::GeminiGenerate, "{"), (Endpoint::GeminiStream { sse: true }, "data: {")] {
            let (status, script) = refusal(endpoint, &Asked::default(), Refusal::ContentFilter, 1);
            let text = script.text();
            assert_eq!(status, 200);
            assert!(text.starts_with(shown) && text.contains("blockReason") && !text.contains("candidates"), "{text}");
        }
    }

    #[test]
    fn only_the_last_chunk_has_a_finish_reason() {
        let text = stream(&Asked::default(), &answer(3), true).text();
        let chunks: Vec<Value> =
            text.trim_end().split("\r\n\r\n").map(|event| serde_json::from_str(&event[6..]).unwrap()).collect();
        let reasons: Vec<&Value> = chunks.iter().map(|chunk| &chunk["candidates"][0]["finishReason"]).collect();
        assert_eq!(reasons, [&Value::Null, &Value::Null, &json!("STOP")]);
    }

    #[test]
    fn without_sse_a_stream_is_one_json_array() {
        let all: Vec<Value> = serde_json::from_str(&stream(&Asked::default(), &answer(3), false).text()).unwrap();
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_batch_embeds_each_content() {
        let one = json!({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8});
        let body: Value =
            serde_json::from_str(&embeddings(&read_embed(PATH, &[&one, &one]).unwrap().asked).text()).unwrap();
        assert_eq!(body["embeddings"][1]["values"].as_array().unwrap().len(), 8);
    }
}
