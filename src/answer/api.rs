//! The APIs whose answers are understood, and what can be asked of each.

use bytes::Bytes;

use super::fields::Fields;
use super::openai_chat::Kind;
use super::{
    Inconvertible, Tokens, Unlimited, Unstorable, anthropic, gemini, limits, openai_chat, openai_chunks,
    openai_responses, request,
};

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// OpenAI and the many servers that speak its API.
    Openai,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

/// An API whose answers are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// OpenAI's chat completions.
    OpenaiChat,
    /// OpenAI's legacy completions.
    OpenaiCompletions,
    /// OpenAI's responses.
    OpenaiResponses,
    /// OpenAI's embeddings.
    OpenaiEmbeddings,
    /// Anthropic's messages.
    AnthropicMessages,
    /// Gemini's generated content.
    GeminiGenerate,
    /// Gemini's embeddings.
    GeminiEmbed,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// One JSON object.
    Plain,
    /// Server-sent events.
    Stream,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The form of the answer.
    pub form: Form,
    /// Whether a stream of OpenAI's completions is to report its usage.
    pub usage: bool,
}

impl Vendor {
    /// The model that a request names by its path or JSON body. None where it names none, or where two readers might
    /// find two.
    pub fn model(self, path: &str, body: &[u8]) -> Option<String> {
        limits::model(self, path, body)
    }
}

impl Api {
    /// The API that a vendor has at a path.
    pub fn of(vendor: Vendor, path: &str) -> Option<Api> {
        let table: &[(&str, Api)] = match vendor {
            Vendor::Openai => &[
                ("/chat/completions", Api::OpenaiChat),
                ("/completions", Api::OpenaiCompletions),
                ("/responses", Api::OpenaiResponses),
                ("/embeddings", Api::OpenaiEmbeddings),
            ],
            Vendor::Anthropic => &[("/v1/messages", Api::AnthropicMessages)],
            Vendor::Gemini => &[
                (":generateContent", Api::GeminiGenerate),
                (request::GEMINI_STREAM, Api::GeminiGenerate),
                (":embedContent", Api::GeminiEmbed),
                (":batchEmbedContents", Api::GeminiEmbed),
            ],
        };
        table.iter().find(|(end, _)| path.ends_with(end)).map(|(_, api)| *api)
    }

    /// What a request asks for, by its path, query and JSON body. None if that is not understood.
    pub fn asked(self, path: &str, query: Option<&str>, body: &[u8]) -> Option<Asked> {
        request::asked(self, path, query, body)
    }

    /// The body to send upstream for a stream that others may share: one that asks for usage, which callers without
    /// interest are spared by [`super::UsageFilter`]. None if it can go as it is.
    pub fn with_usage(self, body: &[u8]) -> Option<Bytes> {
        matches!(self, Api::OpenaiChat | Api::OpenaiCompletions).then(|| request::with_usage(body)).flatten()
    }

    /// The body to send for an answer of at most so many tokens: None if it can go as it is, which asks for fewer.
    ///
    /// # Errors
    /// It asks for more, or not so that every reader would understand the same.
    pub fn limited(self, body: &[u8], most: u64) -> Result<Option<Bytes>, Unlimited> {
        limits::limited(self, body, most)
    }

    /// Whether an answer with a 2xx status may be stored.
    pub fn storable(self, form: Form, body: &[u8]) -> Result<(), Unstorable> {
        if form == Form::Stream {
            return self.storable(Form::Plain, &self.assemble(body)?);
        }
        let answer = Fields::parse(body).ok_or(Unstorable::Malformed)?;
        if answer.given("error").is_some() {
            return Err(Unstorable::Error);
        }
        match self {
            Api::OpenaiChat | Api::OpenaiCompletions => openai_chat::storable(&answer),
            Api::OpenaiResponses => openai_responses::storable(&answer),
            Api::OpenaiEmbeddings => has_any(&answer, &["data"]),
            Api::AnthropicMessages => anthropic::storable(&answer),
            Api::GeminiGenerate => gemini::storable(&answer),
            Api::GeminiEmbed => has_any(&answer, &["embedding", "embeddings"]),
        }
    }

    /// What an answer cost, or a stream as far as it came; None if the provider did not say.
    pub fn tokens(self, form: Form, body: &[u8]) -> Option<Tokens> {
        Tokens::of(self, form, body)
    }

    /// A complete stream as the plain answer that the same request would have got without streaming.
    pub fn assemble(self, stream: &[u8]) -> Result<Bytes, Inconvertible> {
        match self {
            Api::OpenaiChat => openai_chat::assemble(Kind::Chat, stream),
            Api::OpenaiCompletions => openai_chat::assemble(Kind::Text, stream),
            Api::OpenaiResponses => openai_responses::assemble(stream),
            Api::AnthropicMessages => anthropic::assemble(stream),
            Api::GeminiGenerate => gemini::assemble(stream),
            Api::OpenaiEmbeddings | Api::GeminiEmbed => Err(Inconvertible::NoStream),
        }
    }

    /// A plain answer as the stream that the same request would have got. `usage`: whether OpenAI's caller asked for it.
    pub fn chunk(self, plain: &[u8], usage: bool) -> Result<Bytes, Inconvertible> {
        let answer = Fields::parse(plain).ok_or(Inconvertible::Malformed)?;
        if answer.given("error").is_some() {
            return Err(Inconvertible::Error);
        }
        match self {
            Api::OpenaiChat => openai_chunks::chunk(Kind::Chat, &answer, usage),
            Api::OpenaiCompletions => openai_chunks::chunk(Kind::Text, &answer, usage),
            Api::OpenaiResponses => openai_responses::chunk(&answer),
            Api::AnthropicMessages => anthropic::chunk(&answer),
            Api::GeminiGenerate => gemini::chunk(&answer),
            Api::OpenaiEmbeddings | Api::GeminiEmbed => Err(Inconvertible::NoStream),
        }
    }
}

fn has_any(answer: &Fields<'_>, keys: &[&str]) -> Result<(), Unstorable> {
    keys.iter().find_map(|key| answer.given(key)).map(|_| ()).ok_or(Unstorable::Malformed)
}
