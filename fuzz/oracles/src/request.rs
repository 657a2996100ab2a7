//! What a request to a provider asks for, and what is changed in it: `siding::answer::{Api, Vendor}`.

use serde_json::Value;
use siding::answer::{Api, Form, Vendor};
use siding::cache::Document;

use crate::json::Tree;
use crate::{APIS, choice};

/// The most tokens that are allowed here.
const MOST: u64 = 100;

/// A letter for the API, its path and query up to a line end, then the body. What is changed is what was to be changed,
/// and changing it once is enough.
pub fn request(data: &[u8]) {
    let Some((api, rest)) = data.split_first() else { return };
    let api = choice(*api, &APIS);
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let (target, body) = rest.split_at(line);
    let Ok(target) = std::str::from_utf8(target) else { return };
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    named(path, body);
    if let Some(with_usage) = api.with_usage(body) {
        told(api, (path, query), body, &with_usage);
    }
    held(api, body);
}

fn named(path: &str, body: &[u8]) {
    for vendor in [Vendor::Openai, Vendor::Anthropic, Vendor::Gemini] {
        if let Some(model) = vendor.model(path, body) {
            assert!((1..=256).contains(&model.len()) && model.bytes().all(|byte| byte.is_ascii_graphic()), "{model}");
        }
        let _ = Api::of(vendor, path);
    }
}

/// A stream that tells its usage, for a request that is otherwise the same.
fn told(api: Api, (path, query): (&str, Option<&str>), body: &[u8], with_usage: &[u8]) {
    let shown = || String::from_utf8_lossy(with_usage).into_owned();
    let asked = api.asked(path, query, with_usage).unwrap_or_else(|| panic!("{}", shown()));
    assert!(asked.usage && asked.form == Form::Stream, "{}", shown());
    assert_eq!(api.with_usage(with_usage), None, "{}", shown());
    if Tree::read(body).is_some_and(|tree| tree.is_unambiguous()) {
        assert_eq!(rest(body), rest(with_usage), "{}", shown());
    }
}

fn rest(body: &[u8]) -> Option<Document<'_>> {
    Document::read(body).map(|document| document.without(&["stream_options"]))
}

/// No reader takes what is sent for a request for more than is allowed.
fn held(api: Api, body: &[u8]) {
    let Ok(limited) = api.limited(body, MOST) else { return };
    let sent = limited.as_deref().unwrap_or(body);
    if limited.is_some() {
        assert_eq!(api.limited(sent, MOST), Ok(None), "{}", String::from_utf8_lossy(sent));
    }
    let Ok(value) = serde_json::from_slice::<Value>(sent) else { return };
    let number = |object: &Value, names: &[&str]| names.iter().filter_map(|name| object[*name].as_u64()).max();
    let (object, tokens, answers): (_, &[&str], &[&str]) = match api {
        Api::OpenaiChat => (&value, &["max_tokens", "max_completion_tokens"], &["n"]),
        Api::OpenaiCompletions => (&value, &["max_tokens"], &["n", "best_of"]),
        Api::OpenaiResponses => (&value, &["max_output_tokens"], &[]),
        Api::AnthropicMessages => (&value, &["max_tokens"], &[]),
        Api::GeminiGenerate => {
            let inside = ["generationConfig", "generation_config"].into_iter().find(|name| !value[*name].is_null());
            let object = inside.map_or(&Value::Null, |name| &value[name]);
            (object, &["maxOutputTokens", "max_output_tokens"], &["candidateCount", "candidate_count"])
        }
        Api::OpenaiEmbeddings | Api::GeminiEmbed => return,
    };
    let asks = number(object, tokens).unwrap_or_else(|| panic!("no limit: {value}"));
    assert!(asks.saturating_mul(number(object, answers).unwrap_or(1)) <= MOST, "{value}");
}
