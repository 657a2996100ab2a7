//! A provider's stream in the format that a client reads, as it arrives: the provider's own bytes, plain text, or the UI
//! message stream of the AI SDK. Knows bytes and formats, not who sends or reads them. `passed` hands on the provider's
//! own bytes, `ui` writes UI messages, `failure` is how each API reports that a stream broke off.

mod failure;
mod passed;
#[cfg(test)]
mod tests;
mod ui;

use std::str::FromStr;

use bytes::Bytes;

use crate::answer::{Api, Delta, Deltas};
use passed::Passed;
use ui::UiMessageStream;

/// What keeps a quiet connection open and says nothing to a reader of events.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The format in which a client gets a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The provider's own bytes.
    Provider,
    /// The answer's text and nothing else.
    Text,
    /// The UI message stream of the AI SDK (npm `ai`, versions 5 to 7).
    UiMessageStream,
}

/// A word that is no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format must be \"provider\", \"text\" or \"ui-message-stream\"")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == word).ok_or(UnknownFormat)
    }
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 3] = [Format::Provider, Format::Text, Format::UiMessageStream];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Provider => "provider",
            Format::Text => "text",
            Format::UiMessageStream => "ui-message-stream",
        }
    }

    /// The `Content-Type` of a stream, given that of the provider's.
    pub fn content_type(self, of_provider: Option<&str>) -> &str {
        match self {
            Format::Provider => of_provider.unwrap_or("text/event-stream"),
            Format::Text => "text/plain; charset=utf-8",
            Format::UiMessageStream => "text/event-stream",
        }
    }

    /// The other headers of a stream, names in lower case: `cache-control` where the app said nothing of it, the others
    /// whatever it said.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        const UNTOUCHED: [(&str, &str); 2] = [("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")];
        match self {
            Format::Provider | Format::Text => &UNTOUCHED,
            Format::UiMessageStream => &[UNTOUCHED[0], UNTOUCHED[1], ("x-vercel-ai-ui-message-stream", "v1")],
        }
    }

    /// Whether answers of an API can be brought into this format.
    pub fn understands(self, api: Option<Api>) -> bool {
        let has_text = !matches!(api, None | Some(Api::OpenaiEmbeddings | Api::GeminiEmbed));
        self == Format::Provider || has_text
    }
}

/// Turns a provider's answer into a format as it arrives. Holds one unfinished event, and in UI messages the inputs of
/// the tool calls, which are a part of the answer.
#[derive(Debug)]
pub struct Translator(State);

#[derive(Debug)]
enum State {
    Passed(Passed),
    Text {
        deltas: Deltas,
        failure: Option<String>,
    },
    Ui(Box<UiMessageStream>),
    /// The API is not one of those whose answers are understood.
    NotUnderstood(Format),
}

impl Translator {
    /// A translator at the beginning of an answer. See [`Format::understands`] for what becomes of other APIs: nothing
    /// but an error.
    pub fn new(format: Format, api: Option<Api>) -> Self {
        Self(match (format, api.filter(|_| format.understands(api))) {
            (Format::Provider, api) => State::Passed(Passed::new(api)),
            (Format::Text, Some(api)) => State::Text { deltas: Deltas::new(api), failure: None },
            (Format::UiMessageStream, Some(api)) => State::Ui(Box::new(UiMessageStream::new(api))),
            (Format::Text | Format::UiMessageStream, None) => State::NotUnderstood(format),
        })
    }

    /// Takes what has arrived and returns what the client gets of it, which may be nothing yet.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        match &mut self.0 {
            State::Passed(passed) => passed.push(bytes),
            State::Text { deltas, failure } => text(deltas.push(&bytes), failure),
            State::Ui(ui) => ui.push(&bytes),
            State::NotUnderstood(_) => Bytes::new(),
        }
    }

    /// Returns what is left after a complete answer. One that lacks its own end is an error in UI messages.
    pub fn finish(&mut self) -> Bytes {
        match &mut self.0 {
            State::Passed(passed) => passed.finish(),
            State::Text { deltas, failure } => text(deltas.finish(), failure),
            State::Ui(ui) => ui.finish(),
            State::NotUnderstood(_) => Bytes::new(),
        }
    }

    /// Returns the event that tells the client that the answer breaks off here, in the provider's own shape or the
    /// format's. None if there is no such event: then the connection must be broken off.
    pub fn fail(&mut self, message: &str) -> Option<Bytes> {
        match &mut self.0 {
            State::Passed(passed) => passed.fail(message),
            State::Ui(ui) => Some(ui.fail(message)),
            State::NotUnderstood(Format::UiMessageStream) => Some(ui::error(message)),
            State::Text { .. } | State::NotUnderstood(_) => None,
        }
    }

    /// What may be sent in a silence. None where that would be a part of the answer.
    pub fn keep_alive(&self) -> Option<Bytes> {
        match &self.0 {
            State::Passed(passed) => passed.keep_alive(),
            State::Ui(_) | State::NotUnderstood(Format::UiMessageStream) => Some(KEEP_ALIVE),
            State::Text { .. } | State::NotUnderstood(_) => None,
        }
    }

    /// The failure that the provider itself reported within its answer. In text it has no form but a connection that
    /// breaks off; the other formats have told it.
    pub fn failure(&self) -> Option<&str> {
        match &self.0 {
            State::Text { failure, .. } => failure.as_deref(),
            State::Ui(ui) => ui.failure(),
            State::Passed(_) => None,
            State::NotUnderstood(_) => Some("the answers of this API cannot be translated; use the provider's format"),
        }
    }
}

fn text(deltas: Vec<Delta>, failure: &mut Option<String>) -> Bytes {
    let mut text = String::new();
    for delta in deltas {
        match delta {
            Delta::Text(piece) => text.push_str(&piece),
            Delta::Error(message) => *failure = Some(message),
            _ => (),
        }
    }
    text.into()
}
