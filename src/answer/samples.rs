//! Plain answers with some of everything that their APIs define.

use serde_json::{Value, json};

/// More than one fragment of text, with characters of every width.
pub(super) const LONG: &str =
    "Ein Zug fährt über die Brücke – 列車が橋を渡る 🚂, \"quoted\" and \\escaped\\,\nto the next line and on.";

pub(super) fn chat(choices: &Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "m-1", "choices": choices,
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 2}},
        "service_tier": "default", "system_fingerprint": "fp_1",
    })
}

pub(super) fn chat_choices() -> Value {
    json!([
        {"index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": LONG, "refusal": null, "annotations": [], "reasoning_content": LONG}},
        {"index": 1, "finish_reason": "tool_calls", "logprobs": null, "message": {
            "role": "assistant", "content": null, "refusal": null, "tool_calls": [
                {"id": "call_a", "type": "function", "function": {"name": "go", "arguments": json!({"to": LONG}).to_string()}},
                {"id": "call_b", "type": "function", "function": {"name": "stop", "arguments": "{}"}},
                {"id": "call_c", "type": "custom", "custom": {"name": "say", "input": LONG}},
            ]}},
        {"index": 2, "finish_reason": "function_call", "message": {
            "role": "assistant", "content": null, "function_call": {"name": "go", "arguments": "{\"a\": 1}"}}},
        {"index": 3, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi!", "refusal": null},
            "logprobs": {"refusal": null, "content": [
                {"token": "Hi", "logprob": -0.12345678901234567, "bytes": [72, 105], "top_logprobs": []},
                {"token": "!", "logprob": -1e-7, "bytes": [33], "top_logprobs": []}]}},
    ])
}

pub(super) fn anthropic() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "stop_reason": "tool_use",
        "stop_sequence": null, "content": [
            {"type": "thinking", "thinking": LONG, "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "eA=="},
            {"type": "text", "text": LONG},
            {"type": "text", "text": "cited", "citations": [{"type": "char_location", "cited_text": "a"}, {"type": "page_location"}]},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "trains"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "title": "T"}]},
            {"type": "tool_use", "id": "toolu_1", "name": "go", "input": {"to": LONG, "at": 1.5, "stops": [1, {"a": null}]}},
            {"type": "tool_use", "id": "toolu_2", "name": "stop", "input": {}},
        ],
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 40,
            "service_tier": "standard", "cache_creation": {"ephemeral_5m_input_tokens": 0}, "server_tool_use": {"web_search_requests": 1}},
    })
}

pub(super) fn gemini() -> Value {
    json!({
        "candidates": [
            {"index": 0, "finishReason": "STOP", "avgLogprobs": -0.1, "content": {"role": "model", "parts": [
                {"text": LONG, "thought": true}, {"text": LONG}, {"text": "signed", "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "go", "args": {"b": 1, "a": [2]}}, "thoughtSignature": "eA=="},
                {"functionCall": {"name": "stop", "args": {}}}]},
                "groundingMetadata": {"webSearchQueries": ["trains"]}, "safetyRatings": [{"category": "C"}]},
            {"index": 1, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": LONG}]}},
        ],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 5, "totalTokenCount": 9},
        "modelVersion": "gemini-1", "responseId": "r-1",
    })
}

pub(super) fn response() -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1_790_000_000, "status": "completed", "error": null,
        "incomplete_details": null, "model": "m-1", "background": false, "usage": {"input_tokens": 3, "total_tokens": 9},
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": LONG}],
                "content": [{"type": "reasoning_text", "text": LONG}], "encrypted_content": "eA=="},
            {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": LONG, "annotations": [{"type": "url_citation", "url": "u"}], "logprobs": []}]},
            {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "go", "arguments": "{\"a\":1}"},
            {"id": "ct_1", "type": "custom_tool_call", "call_id": "call_2", "name": "say", "input": LONG},
            {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
        ],
    })
}
