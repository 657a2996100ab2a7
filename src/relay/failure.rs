//! How each API reports in a stream that it failed, as the vendors' SDKs understand it.

use serde_json::json;

use crate::answer::Api;

/// The event with a message; None for an API that has no streams.
pub(super) fn event(api: Api, message: &str) -> Option<String> {
    let openai = json!({"message": message, "type": "server_error", "param": null, "code": "stream_interrupted"});
    let (name, data) = match api {
        Api::OpenaiChat | Api::OpenaiCompletions => (None, json!({ "error": openai })),
        // The documented members, and the one by which the SDKs notice.
        Api::OpenaiResponses => {
            let mut data = openai.clone();
            data["type"] = "error".into();
            data["error"] = openai;
            (Some("error"), data)
        }
        Api::AnthropicMessages => {
            (Some("error"), json!({"type": "error", "error": {"type": "api_error", "message": message}}))
        }
        Api::GeminiGenerate => (None, json!({"error": {"code": 502, "message": message, "status": "UNAVAILABLE"}})),
        Api::OpenaiEmbeddings | Api::GeminiEmbed => return None,
    };
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    Some(format!("{name}data: {data}\n\n"))
}
