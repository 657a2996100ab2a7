//! Spares callers the usage that only a sharer of their stream asked for.

use bytes::Bytes;

use super::fields::Fields;
use super::sse::{Event, Splitter};

/// Bytes of an event that is still looked at; a larger one is passed on as it comes.
const LARGEST_EVENT: usize = 1 << 20;

/// Removes, from a stream of OpenAI's that was led with usage, the chunk that a caller who did not ask for usage would
/// not have got: the one with usage and without choices. Holds at most one unfinished event back.
#[derive(Debug)]
pub struct UsageFilter {
    splitter: Splitter,
    held: Vec<u8>,
    is_oversized: bool,
}

impl Default for UsageFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageFilter {
    /// A filter at the beginning of a stream.
    pub fn new() -> Self {
        Self { splitter: Splitter::new(), held: Vec::new(), is_oversized: false }
    }

    /// Takes what has arrived and returns what may go on.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        let (mut passed, mut rest) = (Vec::with_capacity(self.held.len() + bytes.len()), &bytes[..]);
        while let Some(end) = self.splitter.end(rest) {
            self.hold(&rest[..end], &mut passed);
            self.release(&mut passed);
            rest = &rest[end..];
        }
        self.hold(rest, &mut passed);
        passed.into()
    }

    /// Returns what is left at the end of the stream. An unfinished event is nobody's to judge.
    pub fn finish(&mut self) -> Bytes {
        if self.splitter.is_at_end() && is_usage(&self.held) {
            self.held.clear();
        }
        std::mem::take(&mut self.held).into()
    }

    fn hold(&mut self, bytes: &[u8], passed: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        self.is_oversized |= self.held.len() > LARGEST_EVENT;
        if self.is_oversized {
            passed.append(&mut self.held);
        }
    }

    fn release(&mut self, passed: &mut Vec<u8>) {
        if !is_usage(&self.held) {
            passed.append(&mut self.held);
        }
        self.held.clear();
        self.is_oversized = false;
    }
}

fn is_usage(block: &[u8]) -> bool {
    let event = Event::parse(block);
    let chunk = event.as_ref().and_then(|event| Fields::parse(&event.data));
    chunk.is_some_and(|chunk| {
        chunk.given("usage").is_some() && chunk.list("choices").is_some_and(|choices| choices.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USAGE: &str = r#"data: {"choices":[],"usage":{"total_tokens":3}}"#;

    fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
        let mut filter = UsageFilter::new();
        let mut passed: Vec<u8> = pieces.iter().flat_map(|piece| filter.push(Bytes::copy_from_slice(piece))).collect();
        passed.extend(filter.finish());
        passed
    }

    fn stream(usage: &[&str], end: &str) -> String {
        let filters = r#"data: {"choices":[],"prompt_filter_results":[]}"#;
        let chunk = r#"data: {"choices":[{"index":0,"delta":{"content":"é"}}],"usage":null}"#;
        [&[": hello", "", filters, "", chunk, ""], usage, &["data: [DONE]", "", ""]].concat().join(end)
    }

    #[test]
    fn the_usage_goes_wherever_the_stream_is_split() {
        for end in ["\n", "\r", "\r\n"] {
            let (whole, spared) = (stream(&[USAGE, ""], end), stream(&[], end));
            for at in 0..=whole.len() {
                let (left, right) = whole.as_bytes().split_at(at);
                assert_eq!(String::from_utf8(filtered(&[left, right])).unwrap(), spared, "{end:?} {at}");
            }
            let bytes: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
            assert_eq!(String::from_utf8(filtered(&bytes)).unwrap(), spared, "{end:?}");
        }
    }

    #[test]
    fn a_complete_event_is_not_held_back() {
        let mut filter = UsageFilter::new();
        assert_eq!(filter.push(Bytes::from("data: 1\n\ndata: ")), "data: 1\n\n");
        assert_eq!(filter.push(Bytes::from("2\n\n")), "data: 2\n\n");
        assert!(filter.push(Bytes::from(format!("{USAGE}\r\n\r\n"))).is_empty());
        assert!(filter.finish().is_empty());
    }

    #[test]
    fn an_event_too_large_to_hold_is_passed_on() {
        let padding = "a".repeat(LARGEST_EVENT);
        let large = format!(r#"data: {{"choices":[],"usage":{{"a":"{padding}"}}}}"#);
        let stream = format!("{large}\n\n{USAGE}\n\ndata: 2\n\n");
        let spared = format!("{large}\n\ndata: 2\n\n");
        assert!(filtered(&[stream.as_bytes()]) == spared.as_bytes());
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(65_537).collect();
        assert!(filtered(&pieces) == spared.as_bytes());
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_the_splits(
            parts in proptest::collection::vec(proptest::sample::select(vec![USAGE, "\n", "\r", "\n\n", "data: x", ":", "é"]), 0..20),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let whole = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([whole.len()]) {
                pieces.push(&whole[from..cut]);
                from = cut;
            }
            prop_assert_eq!(filtered(&pieces), filtered(&[&whole]));
        }
    }
}
