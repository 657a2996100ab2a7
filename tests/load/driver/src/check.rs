//! Whether an answer belongs to its prompt.

use serde_json::Value;
use simulated_llm::answer;

/// Whether `response` holds the simulated LLM's answer to the prompt in `request`.
pub(crate) fn is_answer_to(request: &[u8], response: &[u8]) -> bool {
    let prompt = serde_json::from_slice::<Value>(request).ok().and_then(|body| prompt(&body));
    match (prompt, answer_in(response)) {
        (Some(prompt), Some(answer)) => answer.starts_with(&answer::opening(&prompt)),
        _ => false,
    }
}

/// The chat project's prompt, or that of a chat completion.
fn prompt(body: &Value) -> Option<String> {
    let text = body["prompt"].as_str().or_else(|| body["messages"].as_array()?.last()?["content"].as_str());
    text.map(str::to_owned)
}

/// The chat project's answer, also in the last event of a stream, or that of a chat completion.
fn answer_in(response: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(response).ok()?;
    let json = text.trim_end().rsplit("data: ").next()?;
    let body: Value = serde_json::from_str(json).ok()?;
    let answer = body["answer"].as_str().or(body["choices"][0]["message"]["content"].as_str());
    answer.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = br#"{"prompt": "Hello"}"#;

    #[test]
    fn the_answer_to_the_prompt_passes_in_every_form() {
        for response in [
            r#"{"answer": "Echo 185f8db32271: Hello track"}"#,
            "event: token\ndata: {\"text\": \"x\"}\n\nevent: done\ndata: {\"answer\": \"Echo 185f8db32271: Hello\"}\n\n",
            r#"{"choices": [{"message": {"content": "Echo 185f8db32271: Hello"}}]}"#,
        ] {
            assert!(is_answer_to(REQUEST, response.as_bytes()), "{response}");
        }
    }

    #[test]
    fn anything_else_does_not() {
        for response in [r#"{"answer": "Echo 000000000000: Hello"}"#, "{}", "", "data: "] {
            assert!(!is_answer_to(REQUEST, response.as_bytes()), "{response}");
        }
    }
}
