//! What Gemini's generated content says. Each chunk is a whole answer with some of the parts.

use super::{Delta, FinishReason, input, source, spoken};
use crate::answer::fields::Fields;

/// How many tools were called.
#[derive(Debug, Default)]
pub(super) struct Reader {
    calls: usize,
}

impl Reader {
    /// Reads a chunk, or a plain answer.
    pub(super) fn read(&mut self, chunk: &Fields<'_>, to: &mut Vec<Delta>) {
        if chunk.object("promptFeedback").is_some_and(|feedback| feedback.given("blockReason").is_some()) {
            return to.push(Delta::Finish(FinishReason::ContentFilter));
        }
        let candidates = chunk.objects("candidates").unwrap_or_default();
        let first = |candidate: &&Fields<'_>| candidate.number("index").unwrap_or_default() == 0;
        let Some(candidate) = candidates.iter().find(first) else { return };
        let content = candidate.object("content").unwrap_or_default();
        content.objects("parts").unwrap_or_default().iter().for_each(|part| self.part(part, to));
        let grounding = candidate.object("groundingMetadata").unwrap_or_default();
        for ground in grounding.objects("groundingChunks").unwrap_or_default() {
            if let Some(page) = ground.object("web") {
                source(&page, "uri", to);
            }
        }
        let reason = spoken(candidate, "finishReason").filter(|word| word != "FINISH_REASON_UNSPECIFIED");
        to.extend(reason.map(|word| Delta::Finish(self.finish_reason(&word))));
    }

    fn part(&mut self, part: &Fields<'_>, to: &mut Vec<Delta>) {
        if let Some(text) = spoken(part, "text") {
            to.push(if part.is_true("thought") { Delta::Reasoning(text) } else { Delta::Text(text) });
        }
        if let Some(function) = part.object("functionCall") {
            let call = self.calls;
            self.calls += 1;
            let [id, name] = ["id", "name"].map(|key| spoken(&function, key).unwrap_or_default());
            to.push(Delta::ToolStart { call, id, name, takes_text: false });
            to.extend(input(&function, "args").map(|fragment| Delta::ToolInput { call, fragment }));
            to.push(Delta::ToolEnd { call });
        }
    }

    fn finish_reason(&self, word: &str) -> FinishReason {
        match word {
            "STOP" if self.calls > 0 => FinishReason::ToolCalls,
            "STOP" => FinishReason::Stop,
            "MAX_TOKENS" => FinishReason::Length,
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" | "MODEL_ARMOR" => {
                FinishReason::ContentFilter
            }
            "MALFORMED_FUNCTION_CALL" => FinishReason::Error,
            _ => FinishReason::Other,
        }
    }
}
