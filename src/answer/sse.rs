//! Server-sent events (WHATWG HTML, section 9.2): where they end, what they say, and how they are written.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

/// The event that ends OpenAI's streams.
pub(super) const DONE: &[u8] = b"[DONE]";

/// Finds the ends of events in bytes that arrive in pieces. Holds none of them.
#[derive(Debug)]
pub struct Splitter {
    is_line_empty: bool,
    /// The last byte was a CR, which a LF may complete.
    is_after_cr: bool,
    /// That CR ended an event, which therefore ends here or after the LF.
    is_ending: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at the beginning of a stream.
    pub fn new() -> Self {
        Self { is_line_empty: true, is_after_cr: false, is_ending: false }
    }

    /// How many of the bytes belong to an event that ends in or before them.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            let is_rest_of_line_end = std::mem::take(&mut self.is_after_cr) && *byte == b'\n';
            if std::mem::take(&mut self.is_ending) {
                // Unless this byte belongs to the line end, it is looked at again as the next event's first.
                return Some(at + usize::from(is_rest_of_line_end));
            }
            if is_rest_of_line_end {
                continue;
            }
            let is_line_end = matches!(byte, b'\n' | b'\r');
            self.is_after_cr = *byte == b'\r';
            let is_blank = is_line_end && std::mem::replace(&mut self.is_line_empty, is_line_end);
            self.is_line_empty = is_line_end;
            self.is_ending = is_blank && self.is_after_cr;
            if is_blank && !self.is_ending {
                return Some(at + 1);
            }
        }
        None
    }

    /// Whether the bytes so far end with an event that only a LF could still belong to.
    pub fn is_at_end(&self) -> bool {
        self.is_ending
    }
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    name: Option<&'a [u8]>,
    pub(super) data: Cow<'a, [u8]>,
}

impl<'a> Event<'a> {
    /// Of the bytes of one event; None if it is one that readers do not see, such as a comment.
    pub(super) fn parse(block: &'a [u8]) -> Option<Self> {
        let (mut name, mut data) = (None, None::<Cow<'a, [u8]>>);
        for line in block.split(|byte| matches!(byte, b'\r' | b'\n')) {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match (field, &mut data) {
                (b"event", _) => name = Some(value),
                (b"data", None) => data = Some(Cow::Borrowed(value)),
                (b"data", Some(data)) => {
                    data.to_mut().push(b'\n');
                    data.to_mut().extend_from_slice(value);
                }
                _ => (),
            }
        }
        data.map(|data| Self { name, data })
    }

    /// Whether it reports that the stream has failed.
    pub(super) fn is_error(&self) -> bool {
        self.name == Some(b"error")
    }
}

/// Whether a stream ends within an event.
pub(super) fn is_cut(stream: &[u8]) -> bool {
    let rest = blocks(stream).fold(stream.len(), |rest, block| rest - block.len());
    !stream[stream.len() - rest..].trim_ascii().is_empty()
}

/// The complete events of a stream.
pub(super) fn events(stream: &[u8]) -> impl Iterator<Item = Event<'_>> {
    blocks(stream.strip_prefix("\u{feff}".as_bytes()).unwrap_or(stream)).filter_map(Event::parse)
}

fn blocks(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut splitter = Splitter::new();
    std::iter::from_fn(move || {
        let end = splitter.end(rest).or_else(|| (splitter.is_at_end() && !rest.is_empty()).then_some(rest.len()))?;
        let (block, after) = rest.split_at(end);
        rest = after;
        Some(block)
    })
}

/// Writes a stream.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Adds an event whose data is JSON, in one line whatever the line breaks in what it was made of.
    pub(super) fn event(&mut self, name: Option<&str>, data: &impl Serialize) {
        for part in name.iter().flat_map(|name| ["event: ", name, "\n"]) {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.extend_from_slice(b"data: ");
        let json = serde_json::to_vec(data).unwrap_or_default();
        compact(&json, &mut self.0);
        self.0.extend_from_slice(b"\n\n");
    }

    /// Ends a stream of OpenAI's.
    pub(super) fn done(&mut self) {
        self.0.extend_from_slice(b"data: [DONE]\n\n");
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// JSON without the white space between its tokens.
fn compact(json: &[u8], out: &mut Vec<u8>) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in json {
        if !is_quoted && byte.is_ascii_whitespace() {
            continue;
        }
        is_quoted ^= *byte == b'"' && !is_escaped;
        is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(stream: &str) -> Vec<String> {
        events(stream.as_bytes()).map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
    }

    #[test]
    fn every_kind_of_line_end_ends_an_event() {
        for end in ["\n", "\r", "\r\n"] {
            let stream =
                [": hi", "", "event: a", "data: 1", "data:2", "", "id: 7", "", "data", "", "data: lost"].join(end);
            assert_eq!(data(&stream), ["1\n2", ""], "{end:?}");
            assert_eq!(data(&["data: 1", "", ""].join(end)), ["1"], "{end:?}");
        }
    }

    #[test]
    fn an_event_without_its_blank_line_is_none() {
        assert!(data("data: 1\n").is_empty());
        assert_eq!(data("\u{feff}data: 1\n\ndata: 2"), ["1"]);
    }

    #[test]
    fn an_event_is_written_in_one_line() {
        let raw: Box<serde_json::value::RawValue> =
            serde_json::from_str("{\n  \"a \\\" b\" : [1, \"\\\\\", 2]\n}").unwrap();
        let mut writer = Writer::default();
        writer.event(Some("x"), &raw);
        assert_eq!(writer.finish(), "event: x\ndata: {\"a \\\" b\":[1,\"\\\\\",2]}\n\n");
    }
}
