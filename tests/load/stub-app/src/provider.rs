//! The provider: an answer of a chat completion's size, after a while.

use tokio::time::{Duration, sleep};

use crate::server::Answer;

/// What the app finds in the journal again.
pub(crate) const TEXT: &str = "Trains wait at a siding so that faster ones can pass.";

/// A model that says one thing.
pub(crate) struct Provider {
    pub(crate) latency: Duration,
}

impl Provider {
    pub(crate) async fn answer(&self) -> Answer {
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let completion = serde_json::json!({
            "id": "chatcmpl-0123456789abcdefghijklmnop", "object": "chat.completion", "created": 1_790_000_000,
            "model": "stub-1", "service_tier": "default", "system_fingerprint": "fp_0123456789",
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": TEXT, "refusal": null, "annotations": []},
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 14, "completion_tokens": 16, "total_tokens": 30},
        });
        Answer::new("200 OK", "application/json", completion.to_string().into_bytes())
    }
}
