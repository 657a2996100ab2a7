//! Streams as they arrive: where their events end, what they say, and what becomes of them on their way to clients
//! (`siding::answer`, `siding::relay`).

use bytes::Bytes;
use siding::answer::{Api, Splitter, UsageFilter, is_event_stream};
use siding::relay::{Format, Translator};

use crate::said::{Said, deltas};
use crate::{APIS, choice, pieces, ui};

/// A letter for the API, a byte for the cuts, then a stream. Nothing depends on the cuts.
pub fn stream(data: &[u8]) {
    let Some(([api, seed], stream)) = data.split_first_chunk() else { return };
    let (api, cut) = (choice(*api, &APIS), pieces(stream, *seed));
    assert_eq!(ends(&cut), ends(&[stream]));
    the_form_once_known_stays(stream);
    filtered(stream, &cut);
    let (told, tokens) = deltas(api, &cut);
    assert_eq!((&told, tokens), (&deltas(api, &[stream]).0, deltas(api, &[stream]).1));
    let said = Said::told(told);
    for format in Format::ALL {
        let (whole, failure) = translated(format, api, &[stream]);
        assert_eq!((&whole, &failure), (&translated(format, api, &cut).0, &failure), "{format:?}");
        match format {
            Format::Provider => assert_eq!(whole, stream),
            Format::Text => assert_eq!(whole, if format.understands(Some(api)) { said.text.as_bytes() } else { b"" }),
            Format::UiMessageStream if format.understands(Some(api)) => ui::check(&whole, failure.as_deref(), &said),
            Format::UiMessageStream => assert!(whole.is_empty() && failure.is_some()),
        }
    }
}

/// Where events end.
fn ends(pieces: &[&[u8]]) -> Vec<usize> {
    let (mut splitter, mut before, mut ends) = (Splitter::new(), 0, Vec::new());
    for piece in pieces {
        let mut at = 0;
        while let Some(end) = splitter.end(&piece[at..]) {
            at += end;
            ends.push(before + at);
        }
        before += piece.len();
    }
    ends
}

fn the_form_once_known_stays(stream: &[u8]) {
    let mut known = None;
    for length in 0..=stream.len().min(70) {
        let told = is_event_stream(&stream[..length]);
        assert!(known.is_none() || known == told, "after {length} bytes");
        known = told;
    }
}

/// Usage is taken out wherever the stream is cut, nothing else is, and there is none left.
fn filtered(stream: &[u8], cut: &[&[u8]]) {
    let filter = |pieces: &[&[u8]]| {
        let mut filter = UsageFilter::new();
        let mut passed: Vec<u8> = pieces.iter().flat_map(|piece| filter.push(Bytes::copy_from_slice(piece))).collect();
        passed.extend(filter.finish());
        passed
    };
    let passed = filter(&[stream]);
    assert_eq!(passed, filter(cut));
    assert_eq!(passed, filter(&[&passed]));
    let mut all = stream.iter();
    assert!(passed.iter().all(|byte| all.any(|other| other == byte)), "something was put in");
}

fn translated(format: Format, api: Api, pieces: &[&[u8]]) -> (Vec<u8>, Option<String>) {
    let mut translator = Translator::new(format, Some(api));
    let mut told: Vec<u8> = pieces.iter().flat_map(|piece| translator.push(Bytes::copy_from_slice(piece))).collect();
    told.extend(translator.finish());
    (told, translator.failure().map(str::to_owned))
}
