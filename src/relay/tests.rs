//! The golden cases of `tests/relay-formats`, which the Django package is held to as well.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[derive(Debug, serde::Deserialize)]
struct Case {
    #[serde(skip)]
    name: String,
    api: String,
    stream: String,
    text: String,
    ui: Vec<Value>,
    finish_reason: Option<String>,
    usage: Option<Value>,
    failure: Option<String>,
}

const APIS: [(&str, Api); 5] = [
    ("openai-chat", Api::OpenaiChat),
    ("openai-completions", Api::OpenaiCompletions),
    ("openai-responses", Api::OpenaiResponses),
    ("anthropic-messages", Api::AnthropicMessages),
    ("gemini-generate", Api::GeminiGenerate),
];

impl Case {
    fn api(&self) -> Api {
        APIS.iter().find(|(name, _)| *name == self.api).map(|(_, api)| *api).unwrap()
    }

    fn translate(&self, format: Format, piece: usize) -> (Translator, Vec<u8>) {
        translate(format, self.api(), self.stream.as_bytes().chunks(piece))
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/relay-formats");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let mut case: Case = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        case.name = path.file_stem().unwrap().to_string_lossy().into_owned();
        case
    };
    let cases: Vec<Case> = files.map(read).collect();
    assert!(APIS.iter().all(|(api, _)| cases.iter().any(|case| case.api == *api)), "an API without a case");
    cases
}

fn translate<'a>(format: Format, api: Api, pieces: impl Iterator<Item = &'a [u8]>) -> (Translator, Vec<u8>) {
    let mut translator = Translator::new(format, Some(api));
    let mut told: Vec<u8> = pieces.flat_map(|piece| translator.push(Bytes::copy_from_slice(piece))).collect();
    told.extend(translator.finish());
    (translator, told)
}

fn parts(stream: &[u8]) -> (Vec<Value>, bool) {
    let stream = std::str::from_utf8(stream).unwrap();
    let events: Vec<&str> =
        stream.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    let is_done = events.last() == Some(&"[DONE]");
    let parts = events.iter().filter(|data| **data != "[DONE]").map(|data| serde_json::from_str(data).unwrap());
    (parts.collect(), is_done)
}

#[test]
fn the_text_is_what_the_provider_said() {
    for case in cases() {
        let (translator, text) = case.translate(Format::Text, usize::MAX);
        assert_eq!(String::from_utf8(text).unwrap(), case.text, "{}", case.name);
        let reported = case.failure.as_deref().filter(|failure| !failure.starts_with("The answer ended"));
        assert_eq!(translator.failure(), reported, "{}", case.name);
    }
}

#[test]
fn ui_messages_tell_what_the_provider_said() {
    for case in cases() {
        let (translator, stream) = case.translate(Format::UiMessageStream, usize::MAX);
        let (parts, is_done) = parts(&stream);
        let as_text = |parts: &[Value]| parts.iter().map(|part| format!("{part}\n")).collect::<String>();
        assert_eq!(as_text(&parts), as_text(&case.ui), "{}", case.name);
        assert_eq!(is_done, case.failure.is_none(), "{}", case.name);
        assert_eq!(translator.failure(), case.failure.as_deref(), "{}", case.name);
    }
}

#[test]
fn an_answer_is_told_with_its_reason_to_end_and_its_usage() {
    for case in cases() {
        let mut deltas = Deltas::new(case.api());
        let mut told = deltas.push(case.stream.as_bytes());
        told.extend(deltas.finish());
        let reason = told.iter().rev().find_map(|delta| match delta {
            Delta::Finish(reason) => Some(reason.as_str()),
            _ => None,
        });
        let usage = deltas.tokens().map(|tokens| {
            serde_json::json!({"input": tokens.input, "output": tokens.output, "cached_input": tokens.cached_input})
        });
        assert_eq!((reason, usage), (case.finish_reason.as_deref(), case.usage), "{}", case.name);
    }
}

#[test]
fn the_formats_do_not_depend_on_how_a_stream_is_split() {
    for case in cases() {
        for format in Format::ALL {
            let (_, whole) = case.translate(format, usize::MAX);
            for piece in [1, 2, 3, 7, 64] {
                assert!(case.translate(format, piece).1 == whole, "{} {format:?} in pieces of {piece}", case.name);
            }
        }
    }
}

#[test]
fn the_providers_own_bytes_are_untouched() {
    for case in cases() {
        assert_eq!(case.translate(Format::Provider, 5).1, case.stream.as_bytes(), "{}", case.name);
    }
}

#[test]
fn whole_events_are_passed_without_a_copy() {
    let mut translator = Translator::new(Format::Provider, Some(Api::OpenaiChat));
    for _ in 0..2 {
        let piece = Bytes::from("data: {}\n\n".to_owned());
        assert_eq!(translator.push(piece.clone()).as_ptr(), piece.as_ptr());
    }
}

#[test]
fn a_broken_stream_ends_with_an_error_after_its_last_whole_event() {
    let mut translator = Translator::new(Format::Provider, Some(Api::OpenaiChat));
    assert_eq!(translator.push(Bytes::from("data: 1\n\ndata: {\"cho")), "data: 1\n\n");
    assert_eq!(translator.keep_alive().as_deref(), Some(&b": keep-alive\n\n"[..]));
    let event = translator.fail("It \"broke\".\n").unwrap();
    let data: Value = serde_json::from_slice(event.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(data["error"]["message"], "It \"broke\".\n");
}

#[test]
fn each_api_has_its_own_error() {
    let error =
        |api| String::from_utf8(Translator::new(Format::Provider, Some(api)).fail("m").unwrap().into()).unwrap();
    let openai = r#"{"code":"stream_interrupted","message":"m","param":null,"type":"server_error"}"#;
    assert_eq!(error(Api::OpenaiChat), format!("data: {{\"error\":{openai}}}\n\n"));
    assert_eq!(
        error(Api::OpenaiResponses),
        format!(
            "event: error\ndata: {{\"code\":\"stream_interrupted\",\"error\":{openai},\"message\":\"m\",\"param\":null,\"type\":\"error\"}}\n\n"
        )
    );
    assert_eq!(
        error(Api::AnthropicMessages),
        "event: error\ndata: {\"error\":{\"message\":\"m\",\"type\":\"api_error\"},\"type\":\"error\"}\n\n"
    );
    assert_eq!(
        error(Api::GeminiGenerate),
        "data: {\"error\":{\"code\":502,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\n\n"
    );
    for (_, api) in APIS {
        let mut deltas = Deltas::new(api);
        assert_eq!(deltas.push(error(api).as_bytes()), [Delta::Error("m".to_owned())], "read back");
    }
}

#[test]
fn an_error_in_an_event_too_large_to_hold_begins_a_line_of_its_own() {
    let mut translator = Translator::new(Format::Provider, Some(Api::OpenaiChat));
    let large = format!("data: {}", "a".repeat(2 << 20));
    assert_eq!(translator.push(Bytes::from(large.clone())), large);
    assert_eq!(translator.push(Bytes::from("b")), "b");
    assert_eq!(translator.keep_alive(), None);
    assert!(translator.fail("m").unwrap().starts_with(b"\n\ndata: "));
    assert_eq!(translator.push(Bytes::from("\n\ndata")), "\n\n");
    assert!(translator.keep_alive().is_some());
}

#[test]
fn what_is_not_a_stream_of_events_has_no_error_and_no_comment() {
    let mut translator = Translator::new(Format::Provider, Some(Api::OpenaiChat));
    assert_eq!(translator.push(Bytes::from("{\"id\":")), "{\"id\":");
    assert_eq!((translator.keep_alive(), translator.fail("m")), (None, None));
    let mut text = Translator::new(Format::Text, Some(Api::OpenaiChat));
    assert_eq!((text.keep_alive(), text.fail("m")), (None, None));
    let mut unknown = Translator::new(Format::Provider, None);
    assert_eq!(unknown.push(Bytes::from("data: 1\n\n")), "data: 1\n\n");
    assert_eq!(unknown.fail("m"), None);
}

#[test]
fn a_broken_ui_stream_reports_one_error_and_no_end() {
    let mut translator = Translator::new(Format::UiMessageStream, Some(Api::OpenaiChat));
    assert!(translator.keep_alive().is_some(), "before the first byte");
    translator.push(Bytes::from("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"));
    assert_eq!(translator.fail("m").unwrap(), "data: {\"errorText\":\"m\",\"type\":\"error\"}\n\n");
    assert_eq!((translator.fail("m").unwrap(), translator.finish()), (Bytes::new(), Bytes::new()));
}

#[test]
fn a_silent_gemini_is_kept_alive_without_a_comment() {
    let gemini = Translator::new(Format::Provider, Some(Api::GeminiGenerate));
    assert_eq!(gemini.keep_alive().as_deref(), Some(&b"\n"[..]), "Google's SDKs read comments as data");
}

#[test]
fn an_api_without_text_has_only_the_providers_format() {
    for api in [None, Some(Api::OpenaiEmbeddings)] {
        assert!(Format::Provider.understands(api) && !Format::Text.understands(api));
        let mut translator = Translator::new(Format::UiMessageStream, api);
        assert!(translator.push(Bytes::from("data: 1\n\n")).is_empty());
        assert!(translator.failure().is_some() && translator.fail("m").is_some());
    }
}

#[test]
fn a_format_has_one_word() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert_eq!("html".parse::<Format>(), Err(UnknownFormat));
}

/// Streams, damaged and cut.
fn damaged() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let streams: Vec<Vec<u8>> = cases().into_iter().map(|case| case.stream.into_bytes()).collect();
    let wrong = proptest::collection::vec(any::<u8>(), 0..6);
    let damage = (any::<proptest::sample::Index>(), 0..40_usize, wrong);
    let cuts = proptest::collection::vec(any::<proptest::sample::Index>(), 0..6);
    let damages = proptest::collection::vec(damage, 0..3);
    (proptest::sample::select(streams), damages, cuts).prop_map(|(mut stream, damages, cuts)| {
        for (at, length, wrong) in damages {
            let start = at.index(stream.len() + 1);
            let end = stream.len().min(start + length);
            stream.splice(start..end, wrong);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        for cut in cuts.into_iter().rev() {
            pieces.push(stream.split_off(cut));
        }
        pieces.push(stream);
        pieces.reverse();
        pieces
    })
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic_or_depend_on_the_splits(pieces in damaged()) {
        for (_, api) in APIS {
            for format in Format::ALL {
                let whole = pieces.concat();
                let (_, told) = translate(format, api, pieces.iter().map(Vec::as_slice));
                let (_, at_once) = translate(format, api, std::iter::once(&whole[..]));
                prop_assert_eq!(&told, &at_once, "{:?} {:?}", api, format);
                if format == Format::Provider {
                    prop_assert_eq!(&told, &whole);
                }
            }
        }
    }
}
