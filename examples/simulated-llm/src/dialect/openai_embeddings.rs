//! OpenAI Embeddings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::conversation;
use super::script::Script;
use super::{Asked, Request};
use crate::answer;

const DIMENSIONS: usize = 1536;

pub(super) fn read(json: &Value) -> Result<Request, String> {
    let inputs: Vec<String> = match &json["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(inputs) => inputs.iter().map(input).collect(),
        _ => return Err("input is missing".to_owned()),
    };
    let asked = Asked {
        model: conversation::string(&json["model"]),
        input_tokens: inputs.iter().map(|text| text.split_whitespace().count()).sum(),
        embed: inputs.iter().map(|text| Sha256::digest(text).into()).collect(),
        dimensions: json["dimensions"].as_u64().map(|n| n as usize),
        base64: json["encoding_format"] == "base64",
        ..Asked::default()
    };
    Ok(Request { asked, prompt: inputs.join("\n") })
}

/// A text, or token numbers as their own text.
fn input(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn whole(asked: &Asked) -> Script {
    let data: Vec<Value> = asked
        .embed
        .iter()
        .enumerate()
        .map(|(index, seed)| {
            let vector = answer::embedding(seed, asked.dimensions.unwrap_or(DIMENSIONS));
            let embedding = if asked.base64 { json!(encoded(&vector)) } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": asked.input_tokens, "total_tokens": asked.input_tokens});
    Script::whole(&json!({"object": "list", "data": data, "model": asked.model, "usage": usage}))
}

fn encoded(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_gets_its_own_vector_of_the_size_asked_for() {
        let json = json!({"model": "m", "input": ["a", "b", "a"], "dimensions": 4});
        let body: Value = serde_json::from_str(&whole(&read(&json).unwrap().asked).text()).unwrap();
        assert_eq!(body["data"][0]["embedding"].as_array().unwrap().len(), 4);
        assert_eq!(body["data"][0]["embedding"], body["data"][2]["embedding"]);
        assert_ne!(body["data"][0]["embedding"], body["data"][1]["embedding"]);
    }

    #[test]
    fn base64_holds_little_endian_floats() {
        assert_eq!(encoded(&[1.0]), "AACAPw==");
    }
}
