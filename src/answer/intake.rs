//! An answer as it arrives, in either form: what it is, and its events one by one.

use super::sse::Splitter;

/// Bytes of an event, or of a plain answer, that are held until it is complete; a larger one is not read.
const LARGEST: usize = 8 << 20;

/// Bytes at the beginning that are looked at to tell the form.
const BEGINNING: usize = 64;

const BOM: &[u8] = "\u{feff}".as_bytes();

/// Whether a body is a stream of events, told from its beginning: JSON begins with a bracket, which no event does. None
/// while that cannot be told.
pub fn is_event_stream(beginning: &[u8]) -> Option<bool> {
    let looked_at = &beginning[..beginning.len().min(BEGINNING)];
    let text = without_bom(looked_at);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        _ if BOM.starts_with(text) && text.len() < BOM.len() && looked_at.len() < BEGINNING => None,
        Some(byte) => Some(!matches!(byte, b'{' | b'[')),
        None => (looked_at.len() == BEGINNING).then_some(true),
    }
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BOM).unwrap_or(bytes)
}

/// What has arrived of an answer. Holds one unfinished event, or the plain answer, up to a bound.
#[derive(Debug)]
pub(super) struct Intake {
    state: State,
    held: Vec<u8>,
    is_oversized: bool,
    is_first: bool,
}

#[derive(Debug)]
enum State {
    Unknown,
    Stream(Splitter),
    Plain,
}

/// What an answer is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    /// The bytes of one event.
    Event(&'a [u8]),
    /// A plain answer.
    Plain(&'a [u8]),
    /// An event or a plain answer too large to be read.
    Oversized,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { state: State::Unknown, held: Vec::new(), is_oversized: false, is_first: true }
    }

    /// Takes what has arrived and shows each event that it completes.
    pub(super) fn push(&mut self, bytes: &[u8], mut show: impl FnMut(Unit<'_>)) {
        let joined;
        let mut rest = bytes;
        if matches!(self.state, State::Unknown) {
            // Some providers send blank lines until they have an answer. They mean nothing in either form.
            let begun = if self.held.is_empty() { bytes.trim_ascii_start() } else { bytes };
            if begun.is_empty() {
                return;
            }
            self.held.extend_from_slice(begun);
            match is_event_stream(&self.held) {
                None => return,
                Some(true) => self.state = State::Stream(Splitter::new()),
                Some(false) => self.state = State::Plain,
            }
            joined = std::mem::take(&mut self.held);
            rest = &joined;
        }
        if let State::Stream(splitter) = &mut self.state {
            while let Some(end) = splitter.end(rest) {
                hold(&mut self.held, &mut self.is_oversized, &rest[..end]);
                rest = &rest[end..];
                let unit = if self.is_oversized { Unit::Oversized } else { Unit::Event(&self.held) };
                show(first(unit, &mut self.is_first));
                self.held.clear();
                self.is_oversized = false;
            }
        }
        hold(&mut self.held, &mut self.is_oversized, rest);
    }

    /// Shows what is left at the end: a plain answer, or an event that lacks its last line end.
    pub(super) fn finish(&mut self, show: impl FnOnce(Unit<'_>)) {
        let held = std::mem::take(&mut self.held);
        let unit = match self.state {
            _ if self.is_oversized => Unit::Oversized,
            _ if held.is_empty() => return,
            State::Plain => Unit::Plain(&held),
            State::Stream(_) | State::Unknown => Unit::Event(&held),
        };
        show(first(unit, &mut self.is_first));
    }
}

/// The first unit is without the mark that may begin a text.
fn first<'a>(unit: Unit<'a>, is_first: &mut bool) -> Unit<'a> {
    match unit {
        Unit::Event(block) if std::mem::take(is_first) => Unit::Event(without_bom(block)),
        Unit::Plain(body) => Unit::Plain(without_bom(body)),
        unit => unit,
    }
}

fn hold(held: &mut Vec<u8>, is_oversized: &mut bool, bytes: &[u8]) {
    *is_oversized |= held.len() + bytes.len() > LARGEST;
    if *is_oversized {
        *held = Vec::new();
    } else {
        held.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(pieces: &[&[u8]]) -> Vec<String> {
        let (mut intake, mut seen) = (Intake::new(), Vec::new());
        let word = |unit: Unit<'_>| match unit {
            Unit::Event(block) => format!("event {}", block.escape_ascii()),
            Unit::Plain(body) => format!("plain {}", body.escape_ascii()),
            Unit::Oversized => "oversized".to_owned(),
        };
        pieces.iter().for_each(|piece| intake.push(piece, |unit| seen.push(word(unit))));
        intake.finish(|unit| seen.push(word(unit)));
        seen
    }

    #[test]
    fn events_are_shown_as_soon_as_they_are_complete() {
        let mut intake = Intake::new();
        let mut seen = 0;
        intake.push(b"data: 1\n\ndata: 2\n", |_| seen += 1);
        assert_eq!(seen, 1);
        intake.push(b"\n", |_| seen += 1);
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_body_that_begins_with_a_bracket_is_plain() {
        for body in ["{\"a\":\n\n1}", " \r\n[1]", "\u{feff}{}"] {
            let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            let plain = format!("plain {}", body.trim_start_matches(['\u{feff}', ' ', '\r', '\n']).escape_default());
            assert_eq!(units(&bytes), [plain], "{body:?}");
        }
        assert_eq!(units(&["\u{feff}data: {}\n\n".as_bytes()]), [r"event data: {}\n\n"]);
        assert_eq!(is_event_stream(&[b' '; BEGINNING]), Some(true));
        assert_eq!(is_event_stream(b" "), None);
        assert_eq!(units(&[b" "]), [""; 0]);
    }

    #[test]
    fn blank_lines_before_an_answer_do_not_hide_its_form() {
        let blank = "\n".repeat(10 * BEGINNING);
        assert_eq!(units(&[blank.as_bytes(), b"{}"]), ["plain {}"]);
        assert_eq!(units(&[format!("{blank}[1]").as_bytes()]), ["plain [1]"]);
        assert_eq!(units(&[blank.as_bytes(), b"data: 1\n\n"]), [r"event data: 1\n\n"]);
    }

    #[test]
    fn what_is_too_large_is_named_and_the_next_event_read() {
        let large = format!("data: {}\n\n", "a".repeat(LARGEST));
        let stream = format!("{large}data: 2\n\n");
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(65_537).collect();
        assert_eq!(units(&pieces), ["oversized", r"event data: 2\n\n"]);
        assert_eq!(units(&[stream.as_bytes()]), ["oversized", r"event data: 2\n\n"]);
    }

    #[test]
    fn an_event_without_its_last_line_end_is_shown_at_the_end() {
        assert_eq!(units(&[b"data: 1\n\ndata: 2"]), [r"event data: 1\n\n", "event data: 2"]);
        assert_eq!(units(&[b"data: 1\r\r"]), [r"event data: 1\r\r"]);
    }
}
