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

/// Whether `stream` is the whole of the simulated LLM's answer to the prompt in `request`, in the events of a chat
/// completion.
pub(crate) fn is_streamed_answer_to(request: &[u8], stream: &[u8]) -> bool {
    let prompt = serde_json::from_slice::<Value>(request).ok().and_then(|body| prompt(&body));
    let (Some(prompt), Ok(stream)) = (prompt, std::str::from_utf8(stream)) else { return false };
    let opening = answer::opening(&prompt);
    let mut events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let is_whole = events.next_back() == Some("[DONE]");
    let mut text = String::new();
    while text.len() < opening.len()
        && let Some(event) = events.next()
    {
        let chunk: Value = serde_json::from_str(event).unwrap_or_default();
        text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    is_whole && text.starts_with(&opening)
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
    fn a_stream_passes_when_it_is_the_answer_and_whole() {
        let chunk =
            |text: &str| format!("data: {}\n\n", serde_json::json!({"choices": [{"delta": {"content": text}}]}));
        let (first, second) = (chunk("Echo 185f8db32271: "), chunk("Hello track"));
        let done = "data: [DONE]\n\n";
        let is_answer = |stream: String| is_streamed_answer_to(REQUEST, stream.as_bytes());
        assert!(is_answer(format!(": received 1 sent 2\n{first}: keep-alive\n\n{second}{done}")));
        assert!(!is_answer(format!("{first}{second}")), "it breaks off");
        assert!(!is_answer(format!("{}{second}{done}", chunk("Echo 000000000000: "))), "it is somebody else's");
        assert!(!is_answer(String::new()));
    }

    #[test]
    fn anything_else_does_not() {
        for response in [r#"{"answer": "Echo 000000000000: Hello"}"#, "{}", "", "data: "] {
            assert!(!is_answer_to(REQUEST, response.as_bytes()), "{response}");
        }
    }
}
