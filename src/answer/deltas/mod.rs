//! What an answer says, piece by piece as it arrives, in words that are the same for every API. Of several choices the
//! first is told. What is not known here is passed over: whoever wants everything reads the provider's own bytes.

mod anthropic;
mod gemini;
mod openai_chat;
mod openai_responses;

use serde_json::value::RawValue;

use super::Api;
use super::fields::Fields;
use super::intake::{Intake, Unit};
use super::sse::{DONE, Event};
use super::tokens::{Count, Tokens};

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Some text, or the words of a refusal.
    Text(String),
    /// Some of the model's thoughts.
    Reasoning(String),
    /// What follows is not of the same text or thought.
    BlockEnd,
    /// The model begins to call a tool. `call` numbers the calls of the answer from 0.
    ToolStart {
        /// Which call.
        call: usize,
        /// The provider's name for this call; empty if it gave none.
        id: String,
        /// The tool.
        name: String,
        /// Whether its input is free text rather than JSON.
        takes_text: bool,
    },
    /// Some of a tool's input.
    ToolInput {
        /// Which call.
        call: usize,
        /// A fragment, which need not be JSON by itself.
        fragment: String,
    },
    /// A tool's input is complete.
    ToolEnd {
        /// Which call.
        call: usize,
    },
    /// A page on the web that the answer rests on.
    Source {
        /// Its address.
        url: String,
        /// Its title.
        title: Option<String>,
    },
    /// Why the answer ends.
    Finish(FinishReason),
    /// The provider reports that it failed; nothing of use follows.
    Error(String),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// A limit of tokens was reached.
    Length,
    /// A filter cut in, or the model refused.
    ContentFilter,
    /// The model waits for the results of its tool calls.
    ToolCalls,
    /// Something failed.
    Error,
    /// A reason that is not known here.
    Other,
}

impl FinishReason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ContentFilter => "content-filter",
            FinishReason::ToolCalls => "tool-calls",
            FinishReason::Error => "error",
            FinishReason::Other => "other",
        }
    }
}

/// Reads the answer of an API in either form. Holds one unfinished event, or the plain answer.
#[derive(Debug)]
pub struct Deltas {
    intake: Intake,
    progress: Progress,
}

/// How far an answer has come.
#[derive(Debug)]
struct Progress {
    api: Api,
    reader: Reader,
    count: Count,
    /// It was said why the answer ends.
    has_reason: bool,
    is_over: bool,
}

/// What must be remembered of an answer so far.
#[derive(Debug)]
enum Reader {
    Chat(openai_chat::Reader),
    Responses(openai_responses::Reader),
    Anthropic(anthropic::Reader),
    Gemini(gemini::Reader),
    /// An API without text.
    Silent,
}

impl Deltas {
    /// A reader at the beginning of an answer.
    pub fn new(api: Api) -> Self {
        let reader = match api {
            Api::OpenaiChat | Api::OpenaiCompletions => Reader::Chat(openai_chat::Reader::default()),
            Api::OpenaiResponses => Reader::Responses(openai_responses::Reader::default()),
            Api::AnthropicMessages => Reader::Anthropic(anthropic::Reader::default()),
            Api::GeminiGenerate => Reader::Gemini(gemini::Reader::default()),
            Api::OpenaiEmbeddings | Api::GeminiEmbed => Reader::Silent,
        };
        let progress = Progress { api, reader, count: Count::default(), has_reason: false, is_over: false };
        Self { intake: Intake::new(), progress }
    }

    /// Takes what has arrived and returns what it says.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Delta> {
        let mut deltas = Vec::new();
        self.intake.push(bytes, |unit| self.progress.read(unit, &mut deltas));
        deltas
    }

    /// Returns what is left at the end of the answer.
    pub fn finish(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        self.intake.finish(|unit| self.progress.read(unit, &mut deltas));
        deltas
    }

    /// What the provider has said of the answer's cost so far.
    pub fn tokens(&self) -> Option<Tokens> {
        self.progress.count.tokens()
    }
}

impl Progress {
    fn read(&mut self, unit: Unit<'_>, to: &mut Vec<Delta>) {
        if self.is_over {
            return;
        }
        match unit {
            Unit::Event(block) => {
                if let Some(event) = Event::parse(block) {
                    self.event(&event, to);
                }
            }
            // Gemini's streams are lists of answers where SSE was not asked for.
            Unit::Plain(body) => {
                let answers = serde_json::from_slice(body).unwrap_or_else(|_| Vec::from_iter(Fields::parse(body)));
                answers.iter().for_each(|answer| self.part(answer, to));
            }
            Unit::Oversized => to.push(Delta::Error("A part of the answer was too large to be read.".to_owned())),
        }
        self.is_over |= matches!(to.last(), Some(Delta::Error(_)));
    }

    fn event(&mut self, event: &Event<'_>, to: &mut Vec<Delta>) {
        if event.data.trim_ascii() == DONE {
            self.is_over = true;
            to.extend((!self.has_reason).then_some(Delta::Finish(FinishReason::Other)));
        } else if let Some(fields) = Fields::parse(&event.data) {
            self.part(&fields, to);
        } else if event.is_error() {
            to.push(Delta::Error(String::from_utf8_lossy(&event.data).into_owned()));
        }
    }

    /// An event, or a plain answer.
    fn part(&mut self, part: &Fields<'_>, to: &mut Vec<Delta>) {
        self.count.add(self.api, part);
        self.reader.read(part, to);
        self.has_reason |= matches!(to.last(), Some(Delta::Finish(_)));
    }
}

impl Reader {
    /// Reads an event, or a plain answer.
    fn read(&mut self, part: &Fields<'_>, to: &mut Vec<Delta>) {
        if let Some(error) = error(part) {
            return to.push(Delta::Error(error));
        }
        match self {
            Reader::Chat(reader) => reader.read(part, to),
            Reader::Responses(reader) => reader.read(part, to),
            Reader::Anthropic(reader) => reader.read(part, to),
            Reader::Gemini(reader) => reader.read(part, to),
            Reader::Silent => (),
        }
    }
}

/// What a part says has failed, in the shapes that vendors have for it.
fn error(part: &Fields<'_>) -> Option<String> {
    let is_error = part.text("type").as_deref() == Some("error");
    let Some(error) = part.given("error") else {
        return is_error.then(|| part.text("message").unwrap_or_default().into_owned());
    };
    let message = Fields::of(error).and_then(|error| Some(error.text("message")?.into_owned()));
    Some(message.or_else(|| super::fields::text(error).map(Into::into)).unwrap_or_default())
}

/// A text that says something.
fn spoken(fields: &Fields<'_>, key: &str) -> Option<String> {
    fields.text(key).filter(|text| !text.is_empty()).map(Into::into)
}

/// A page on the web.
fn source(fields: &Fields<'_>, url: &str, to: &mut Vec<Delta>) {
    if let Some(url) = spoken(fields, url) {
        to.push(Delta::Source { url, title: spoken(fields, "title") });
    }
}

/// The JSON of a tool's input, if it has any member.
fn input(fields: &Fields<'_>, key: &str) -> Option<String> {
    let given = fields.object(key).is_some_and(|input| !input.is_empty());
    fields.get(key).filter(|_| given).map(RawValue::get).map(str::to_owned)
}
