//! Gemini: generateContent, streamGenerateContent, embedContent and batchEmbedContents.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::conversation::{self, Conversation};
use super::script::{self, Script, Step};
use super::{Answer, Asked, Request, Tool};
use crate::answer;
use crate::behaviour::Finish;

const DIMENSIONS: usize = 3072;

pub(super) fn read(path: &str, json: &Value, stream: bool) -> Result<Request, String> {
    let contents = json["contents"].as_array().ok_or("contents is not specified")?;
    let mut turns = Conversation::default();
    turns.system(&conversation::text(&json["systemInstruction"]["parts"]));
    for content in contents {
        let parts = &content["parts"];
        let is_result =
            parts.as_array().is_some_and(|parts| parts.iter().any(|part| part.get("functionResponse").is_some()));
        match is_result {
            true => turns.tool_result(),
            false => turns.turn(content["role"] != "model", conversation::text(parts)),
        }
    }
    let function = &json["tools"][0]["functionDeclarations"][0];
    // The Python SDK sends a JSON schema under its own spelling.
    let schemas = ["parameters", "parametersJsonSchema", "parameters_json_schema"];
    let schema = schemas.iter().find_map(|key| function.get(*key)).unwrap_or(&Value::Null);
    let asked = Asked {
        model: model(path),
        stream,
        input_tokens: turns.words(),
        tool: Tool::new(&function["name"], schema).filter(|_| turns.may_call_tool()),
        ..Asked::default()
    };
    Ok(Request { asked, prompt: turns.prompt()? })
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
