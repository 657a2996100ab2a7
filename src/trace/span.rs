//! One part of an exchange, with its times. A span that is not recorded is its identities and nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::SpanContext;
use super::exporter::Queue;
use crate::time::{SystemTime, wall_clock};

/// Events of one span; further ones are counted only.
const MOST_EVENTS: usize = 32;
/// Links of one span.
const MOST_LINKS: usize = 8;
/// The longest text of an attribute, in bytes. Paths and models are named by clients.
const LONGEST_TEXT: usize = 512;

/// What a span's other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client, whose request it serves.
    Server,
    /// A server, to which it makes a request.
    Client,
    /// Nobody.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

/// A name from the semantic conventions, or one of Siding's own, and its value.
pub(super) type Attribute = (&'static str, Value);

/// A span under way. Cloning gives another handle; it ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Span {
    context: SpanContext,
    recording: Option<Arc<Recording>>,
}

/// Something that happened within a span.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) at: SystemTime,
    pub(super) attributes: Vec<Attribute>,
}

/// What is recorded of a span.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) context: SpanContext,
    /// The identity of the parent's span; all zeros for none.
    pub(super) parent: [u8; 8],
    pub(super) is_parent_remote: bool,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<Attribute>,
    pub(super) events: Vec<Event>,
    pub(super) events_dropped: u32,
    pub(super) links: Vec<SpanContext>,
    pub(super) is_error: bool,
}

/// A span that is being recorded.
#[derive(Debug)]
struct Recording {
    /// `None` once it has ended.
    span: Mutex<Option<Recorded>>,
    queue: Queue,
}

impl Span {
    /// No span.
    pub const NONE: Self = Self { context: SpanContext::NONE, recording: None };

    /// A span that is not recorded.
    pub(super) fn silent(context: SpanContext) -> Self {
        Self { context, recording: None }
    }

    /// A span that is.
    pub(super) fn recording(span: Recorded, queue: Queue) -> Self {
        let context = span.context;
        Self { context, recording: Some(Arc::new(Recording { span: Mutex::new(Some(span)), queue })) }
    }

    /// Its place in the trace, for what is below it.
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// Whether anything that is said of it is kept.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Names it anew, where more is known than at its beginning.
    pub fn rename(&self, name: impl FnOnce() -> String) {
        self.change(|span| span.name = clipped(Cow::Owned(name())));
    }

    /// Sets an attribute.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.change(|span| span.attributes.push((name, value.into())));
    }

    /// Sets an attribute, if there is a value. It is asked for only where it is kept.
    pub fn set_with<V: Into<Value>>(&self, name: &'static str, value: impl FnOnce() -> Option<V>) {
        self.change(|span| span.attributes.extend(value().map(|value| (name, value.into()))));
    }

    /// Says that something went wrong, in a word.
    pub fn failed(&self, word: impl Into<Value>) {
        self.change(|span| {
            span.is_error = true;
            span.attributes.push(("error.type", word.into()));
        });
    }

    /// Says that something happened now.
    pub fn event(&self, name: &'static str, attributes: impl FnOnce() -> Vec<(&'static str, Value)>) {
        self.change(|span| {
            if span.events.len() < MOST_EVENTS {
                span.events.push(Event { name, at: wall_clock(), attributes: attributes() });
            } else {
                span.events_dropped += 1;
            }
        });
    }

    /// Says that a span of another trace did its work.
    pub fn link(&self, other: SpanContext) {
        self.change(|span| {
            if other.is_some() && span.links.len() < MOST_LINKS {
                span.links.push(other);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Recorded)) {
        let Some(recording) = &self.recording else { return };
        if let Some(span) = recording.span.lock().as_mut() {
            change(span);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.get_mut().take() {
            span.end = wall_clock().max(span.start);
            self.queue.push(span);
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(clipped(Cow::Owned(text)))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

fn clipped(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    Cow::Owned(text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned())
}
