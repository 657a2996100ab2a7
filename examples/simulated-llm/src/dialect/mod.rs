//! The providers' API shapes, one a file. Each reads a request into [`Asked`] and writes an [`Answer`] in its
//! own grammar; this module finds the endpoint and knows nothing of the grammars.

mod anthropic;
mod conversation;
mod gemini;
mod openai_chat;
mod openai_embeddings;
mod openai_responses;
mod schema;
mod script;
mod tool;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer;
use crate::behaviour::{Behaviour, Finish, Refusal};
pub(crate) use script::{BROKEN_EVENT, Script, Step, first_half};
use tool::Tool;

/// One API call that is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    OpenaiChat,
    OpenaiResponses,
    OpenaiEmbeddings,
    AnthropicMessages,
    GeminiGenerate,
    GeminiStream { sse: bool },
    GeminiEmbed,
    GeminiBatchEmbed,
}

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Openai,
    Anthropic,
    Gemini,
}

/// What the request asked for; small, because it is kept while the call waits.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) input_tokens: usize,
    include_usage: bool,
    tool: Option<Tool>,
    /// The JSON schema that the answer's text must fit.
    schema: Option<Box<Value>>,
    /// The digests of texts to embed.
    embed: Vec<[u8; 32]>,
    dimensions: Option<usize>,
    base64: bool,
}

/// A request that was understood: what it asks and the text that the answer depends on.
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) prompt: String,
}

/// What goes into a reply besides the question.
pub(crate) struct Answer {
    /// The how-manieth call it is: makes ids unique, so that a shared answer shows.
    pub(crate) sequence: u64,
    pub(crate) created: u64,
    pub(crate) opening: String,
    /// The whole text, where the request asked for a form; else it is made of the opening.
    document: Option<String>,
    pub(crate) tokens: usize,
    pub(crate) finish: Finish,
    pub(crate) call_tool: bool,
}

impl Answer {
    pub(crate) fn new(opening: String, behaviour: &Behaviour, sequence: u64, created: u64) -> Self {
        Self {
            sequence,
            created,
            opening,
            document: None,
            tokens: behaviour.tokens.max(1),
            finish: behaviour.finish,
            call_tool: behaviour.tool,
        }
    }

    /// The answer in the form that was asked for.
    pub(crate) fn in_form(self, asked: &Asked) -> Self {
        let document = asked.schema.as_ref().map(|schema| schema::instance(schema, &self.opening).to_string());
        Self { document, ..self }
    }

    fn pieces(&self) -> Vec<String> {
        match &self.document {
            Some(document) => answer::cut(document, self.tokens),
            None => answer::pieces(&self.opening, self.tokens),
        }
    }

    fn text(&self) -> String {
        self.pieces().concat()
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}sim{:012}", self.sequence)
    }

    /// The tool to call, when the request offers one and the prompt wants it or the request insists.
    fn tool<'a>(&self, asked: &'a Asked) -> Option<&'a Tool> {
        asked.tool.as_ref().filter(|tool| self.call_tool || tool.is_forced)
    }
}

impl Endpoint {
    /// The endpoint at `path`, wherever a base URL put it.
    pub(crate) fn find(path: &str, query: Option<&str>) -> Option<Self> {
        let sse = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        let (before, last) = path.rsplit_once('/')?;
        match last {
            "completions" if before.ends_with("/chat") => Some(Self::OpenaiChat),
            "responses" => Some(Self::OpenaiResponses),
            "embeddings" => Some(Self::OpenaiEmbeddings),
            "messages" => Some(Self::AnthropicMessages),
            _ if before.ends_with("/models") => match last.rsplit_once(':')?.1 {
                "generateContent" => Some(Self::GeminiGenerate),
                "streamGenerateContent" => Some(Self::GeminiStream { sse }),
                "embedContent" => Some(Self::GeminiEmbed),
                "batchEmbedContents" => Some(Self::GeminiBatchEmbed),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses | Self::OpenaiEmbeddings => Dialect::Openai,
            Self::AnthropicMessages => Dialect::Anthropic,
            _ => Dialect::Gemini,
        }
    }

    /// The name in the counters.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai.chat",
            Self::OpenaiResponses => "openai.responses",
            Self::OpenaiEmbeddings => "openai.embeddings",
            Self::AnthropicMessages => "anthropic.messages",
            Self::GeminiGenerate => "gemini.generate",
            Self::GeminiStream { .. } => "gemini.stream",
            Self::GeminiEmbed => "gemini.embed",
            Self::GeminiBatchEmbed => "gemini.batch_embed",
        }
    }

    /// Reads a request; the error says what is missing.
    pub(crate) fn read(self, path: &str, body: &Bytes) -> Result<Request, String> {
        let json: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        match self {
            Self::OpenaiChat => openai_chat::read(&json),
            Self::OpenaiResponses => openai_responses::read(&json),
            Self::OpenaiEmbeddings => openai_embeddings::read(&json),
            Self::AnthropicMessages => anthropic::read(&json),
            Self::GeminiGenerate => gemini::read(path, &json, false),
            Self::GeminiStream { .. } => gemini::read(path, &json, true),
            Self::GeminiEmbed => gemini::read_embed(path, &[&json]),
            Self::GeminiBatchEmbed => gemini::read_embed(
                path,
                &json["requests"].as_array().map(|all| all.iter().collect::<Vec<_>>()).unwrap_or_default(),
            ),
        }
    }

    /// How the provider refuses a request: its status and its document, which need not be an error.
    pub(crate) fn refusal(self, asked: &Asked, refusal: Refusal, sequence: u64) -> (u16, Script) {
        match self.dialect() {
            Dialect::Openai => (400, Script::whole(&openai_chat::refusal(refusal))),
            Dialect::Anthropic => {
                (400, Script::whole(&Dialect::Anthropic.error(400, anthropic::refusal(refusal), sequence)))
            }
            Dialect::Gemini => gemini::refusal(self, asked, refusal, sequence),
        }
    }

    /// The event with which the provider ends a stream that it cannot go on with.
    pub(crate) fn error_event(self, status: u16, message: &str, sequence: u64) -> Bytes {
        let document = self.dialect().error(status, message, sequence);
        match self {
            Self::AnthropicMessages => script::named(&document),
            Self::OpenaiResponses => script::named(&openai_responses::error_event(message)),
            Self::GeminiStream { sse: false } => format!(",\r\n{document}").into(),
            _ => script::data(&document),
        }
    }

    /// Writes the reply.
    pub(crate) fn reply(self, asked: &Asked, answer: &Answer) -> Script {
        match (self, asked.stream) {
            (Self::OpenaiChat, false) => openai_chat::whole(asked, answer),
            (Self::OpenaiChat, true) => openai_chat::stream(asked, answer),
            (Self::OpenaiResponses, false) => openai_responses::whole(asked, answer),
            (Self::OpenaiResponses, true) => openai_responses::stream(asked, answer),
            (Self::OpenaiEmbeddings, _) => openai_embeddings::whole(asked),
            (Self::AnthropicMessages, false) => anthropic::whole(asked, answer),
            (Self::AnthropicMessages, true) => anthropic::stream(asked, answer),
            (Self::GeminiGenerate, _) => gemini::whole(asked, answer),
            (Self::GeminiStream { sse }, _) => gemini::stream(asked, answer, sse),
            (Self::GeminiEmbed, _) => gemini::embedding(asked),
            (Self::GeminiBatchEmbed, _) => gemini::embeddings(asked),
        }
    }
}

impl Dialect {
    /// The provider's own error document.
    pub(crate) fn error(self, status: u16, message: &str, sequence: u64) -> Value {
        match self {
            Self::Openai => {
                json!({"error": {"message": message, "type": openai_chat::error_type(status), "param": null, "code": openai_chat::error_code(status)}})
            }
            Self::Anthropic => json!({
                "type": "error",
                "error": {"type": anthropic::error_type(status), "message": message},
                "request_id": format!("req_sim{sequence:012}"),
            }),
            Self::Gemini => {
                json!({"error": {"code": status, "message": message, "status": gemini::error_status(status)}})
            }
        }
    }

    /// The header that carries the provider's request id.
    pub(crate) fn request_id_header(self) -> &'static str {
        match self {
            Self::Openai => "x-request-id",
            Self::Anthropic => "request-id",
            Self::Gemini => "x-goog-request-id",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_found_under_any_base_url() {
        assert_eq!(Endpoint::find("/v1/chat/completions", None), Some(Endpoint::OpenaiChat));
        assert_eq!(Endpoint::find("/proxy/openai/v1/responses", None), Some(Endpoint::OpenaiResponses));
        assert_eq!(Endpoint::find("/v1/messages", None), Some(Endpoint::AnthropicMessages));
        let stream = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
        assert_eq!(Endpoint::find(stream, Some("a=1&alt=sse")), Some(Endpoint::GeminiStream { sse: true }));
        assert_eq!(Endpoint::find(stream, None), Some(Endpoint::GeminiStream { sse: false }));
        assert_eq!(Endpoint::find("/v1beta/models/m:countTokens", None), None);
        assert_eq!(Endpoint::find("/", None), None);
    }
}
