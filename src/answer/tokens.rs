//! What an answer cost in tokens, as its provider counted them.

use super::fields::Fields;
use super::sse::{self, DONE};
use super::{Api, Form};

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tokens {
    /// Of the request, those read from the provider's own prompt cache included.
    pub input: u64,
    /// Of the answer, thoughts included.
    pub output: u64,
    /// Of the input, those read from the provider's own prompt cache.
    pub cached_input: u64,
}

impl Tokens {
    /// Of a whole answer, or of a stream as far as it came. None if the provider did not say.
    pub(super) fn of(api: Api, form: Form, body: &[u8]) -> Option<Self> {
        let mut count = Count::default();
        match form {
            // Gemini's streams are lists of answers where SSE was not asked for.
            Form::Plain => {
                let answers = serde_json::from_slice(body).unwrap_or_else(|_| Vec::from_iter(Fields::parse(body)));
                answers.iter().for_each(|answer| count.add(api, answer));
            }
            Form::Stream => {
                for event in sse::events(body).take_while(|event| event.data.trim_ascii() != DONE) {
                    // Most events are text; only those that may tell usage are worth opening.
                    if contains(&event.data, b"usage")
                        && let Some(fields) = Fields::parse(&event.data)
                    {
                        count.add(api, &fields);
                    }
                }
            }
        }
        count.tokens()
    }
}

/// Tokens as the parts of an answer tell them: later parts are right where they differ from earlier ones.
#[derive(Debug, Default)]
pub(super) struct Count {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    /// Input that is counted in none of the others.
    apart: Option<u64>,
}

impl Count {
    /// Takes what an event, or a plain answer, says.
    pub(super) fn add(&mut self, api: Api, part: &Fields<'_>) {
        match api {
            Api::OpenaiChat | Api::OpenaiCompletions | Api::OpenaiEmbeddings => {
                self.add_openai(part.object("usage"), ["prompt_tokens", "completion_tokens", "prompt_tokens_details"]);
            }
            Api::OpenaiResponses => {
                let usage = part.object("usage").or_else(|| part.object("response")?.object("usage"));
                self.add_openai(usage, ["input_tokens", "output_tokens", "input_tokens_details"]);
            }
            Api::AnthropicMessages => {
                self.add_anthropic(part.object("message").and_then(|message| message.object("usage")));
                self.add_anthropic(part.object("usage"));
            }
            Api::GeminiGenerate | Api::GeminiEmbed => self.add_gemini(part.object("usageMetadata")),
        }
    }

    /// What has been told so far; None if nothing has.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let input = [self.input, self.apart].into_iter().flatten().reduce(u64::saturating_add);
        (input.is_some() || self.output.is_some()).then(|| Tokens {
            input: input.unwrap_or_default(),
            output: self.output.unwrap_or_default(),
            cached_input: self.cache_read.unwrap_or_default().min(input.unwrap_or_default()),
        })
    }

    fn add_openai(&mut self, usage: Option<Fields<'_>>, [input, output, details]: [&str; 3]) {
        let Some(usage) = usage else { return };
        update(&mut self.input, usage.number(input));
        update(&mut self.output, usage.number(output));
        update(&mut self.cache_read, usage.object(details).and_then(|details| details.number("cached_tokens")));
    }

    /// Anthropic counts input that the cache had, or was given, apart from the rest.
    fn add_anthropic(&mut self, usage: Option<Fields<'_>>) {
        let Some(usage) = usage else { return };
        let [read, written] = ["cache_read_input_tokens", "cache_creation_input_tokens"].map(|key| usage.number(key));
        update(&mut self.input, usage.number("input_tokens"));
        update(&mut self.output, usage.number("output_tokens"));
        update(&mut self.cache_read, read);
        update(&mut self.apart, [read, written].into_iter().flatten().reduce(u64::saturating_add));
    }

    fn add_gemini(&mut self, usage: Option<Fields<'_>>) {
        let Some(usage) = usage else { return };
        let sum = |keys: [&str; 2]| keys.iter().filter_map(|key| usage.number(key)).reduce(u64::saturating_add);
        update(&mut self.input, sum(["promptTokenCount", "toolUsePromptTokenCount"]));
        update(&mut self.output, sum(["candidatesTokenCount", "thoughtsTokenCount"]));
        update(&mut self.cache_read, usage.number("cachedContentTokenCount"));
    }
}

fn update(known: &mut Option<u64>, later: Option<u64>) {
    *known = later.or(*known);
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::samples;

    fn tokens(input: u64, output: u64, cached_input: u64) -> Option<Tokens> {
        Some(Tokens { input, output, cached_input })
    }

    #[test]
    fn every_api_says_what_it_cost_in_both_forms() {
        for (api, plain, cost) in [
            (Api::OpenaiChat, samples::chat(&samples::chat_choices()), tokens(9, 4, 8)),
            (Api::OpenaiResponses, samples::response(), tokens(3, 0, 0)),
            (Api::AnthropicMessages, samples::anthropic(), tokens(13, 40, 3)),
            (Api::GeminiGenerate, samples::gemini(), tokens(4, 5, 0)),
        ] {
            let plain = plain.to_string();
            assert_eq!(api.tokens(Form::Plain, plain.as_bytes()), cost, "{api:?}");
            let stream = api.chunk(plain.as_bytes(), true).unwrap();
            assert_eq!(api.tokens(Form::Stream, &stream), cost, "{api:?}");
        }
    }

    #[test]
    fn embeddings_and_lists_say_what_they_cost() {
        let embeddings = br#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        assert_eq!(Api::OpenaiEmbeddings.tokens(Form::Plain, embeddings), tokens(8, 0, 0));
        let list = br#"[{"usageMetadata":{"promptTokenCount":8}},{"usageMetadata":{"promptTokenCount":8,
            "candidatesTokenCount":2,"thoughtsTokenCount":3,"toolUsePromptTokenCount":1,"cachedContentTokenCount":99}}]"#;
        assert_eq!(
            Api::GeminiGenerate.tokens(Form::Plain, list),
            tokens(9, 5, 9),
            "no more from a cache than there was"
        );
    }

    #[test]
    fn what_is_not_said_costs_nothing_known() {
        for (form, body) in [
            (Form::Plain, "{}"),
            (Form::Plain, "not JSON"),
            (Form::Plain, r#"{"usage":{"prompt_tokens":"many","completion_tokens":-1}}"#),
            (Form::Stream, "data: {\"choices\":[],\"usage\":null}\n\ndata: [DONE]\n\n"),
            (Form::Stream, "data: [DONE]\n\ndata: {\"usage\":{\"prompt_tokens\":1}}\n\n"),
        ] {
            assert_eq!(Api::OpenaiChat.tokens(form, body.as_bytes()), None, "{body}");
        }
    }
}
