//! What requests ask for, read from their bodies without understanding the rest of them.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::Fields;
use super::{Api, Asked, Form};

/// The method of Gemini's streams.
pub(super) const GEMINI_STREAM: &str = ":streamGenerateContent";

pub(super) fn asked(api: Api, path: &str, query: Option<&str>, body: &[u8]) -> Option<Asked> {
    let body = Fields::parse(body)?;
    let form = match api {
        Api::OpenaiEmbeddings => Form::Plain,
        Api::GeminiGenerate | Api::GeminiEmbed => gemini_form(path, query)?,
        Api::OpenaiChat | Api::OpenaiCompletions | Api::OpenaiResponses | Api::AnthropicMessages => {
            match body.given("stream").map(RawValue::get) {
                Some("true") => Form::Stream,
                Some("false") | None => Form::Plain,
                Some(_) => return None,
            }
        }
    };
    let reports = matches!(api, Api::OpenaiChat | Api::OpenaiCompletions) && form == Form::Stream;
    let options = body.object("stream_options").filter(|_| reports);
    Some(Asked { form, usage: options.is_some_and(|options| options.is_true("include_usage")) })
}

/// Gemini streams a JSON array unless asked for SSE, and has more formats that are not known here.
fn gemini_form(path: &str, query: Option<&str>) -> Option<Form> {
    let parameters = query.unwrap_or_default().split('&').filter_map(|parameter| parameter.split_once('='));
    let mut formats = parameters.filter(|(name, _)| matches!(*name, "alt" | "$alt" | "%24alt"));
    let (format, other) = (formats.next().map(|(_, format)| format), formats.next());
    match (path.ends_with(GEMINI_STREAM), format, other) {
        (true, Some("sse"), None) => Some(Form::Stream),
        (false, None | Some("json"), None) => Some(Form::Plain),
        _ => None,
    }
}

/// The body with `stream_options.include_usage`, every other byte as it is.
pub(super) fn with_usage(body: &[u8]) -> Option<Bytes> {
    let fields = Fields::parse(body).filter(|fields| fields.is_true("stream"))?;
    let Some(options) = fields.given("stream_options") else {
        let field = r#""stream_options":{"include_usage":true}"#;
        return match fields.get("stream_options") {
            Some(null) => Some(replace(body, null.get(), r#"{"include_usage":true}"#)),
            None => Some(insert(body, body, field)),
        };
    };
    let inner = Fields::of(options)?;
    match inner.get("include_usage") {
        Some(value) if value.get() == "true" => None,
        Some(value) => Some(replace(body, value.get(), "true")),
        None if inner.is_empty() => Some(replace(body, options.get(), r#"{"include_usage":true}"#)),
        None => Some(insert(body, options.get().as_bytes(), r#""include_usage":true"#)),
    }
}

/// Puts text where `part`, a part of the body, stands.
pub(super) fn replace(body: &[u8], part: &str, text: &str) -> Bytes {
    let start = offset(body, part.as_bytes());
    [&body[..start], text.as_bytes(), &body[start + part.len()..]].concat().into()
}

/// Puts a field first in an object that has others; `object` is a part of the body.
pub(super) fn insert(body: &[u8], object: &[u8], field: &str) -> Bytes {
    let brace = object.iter().position(|byte| *byte == b'{').unwrap_or_default();
    let (before, after) = body.split_at(offset(body, object) + brace + 1);
    [before, field.as_bytes(), b",", after].concat().into()
}

fn offset(body: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(body.as_ptr() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_asked_for_without_touching_the_rest() {
        for (body, sent) in [
            (r#"{"stream":true,"t":1.50}"#, r#"{"stream_options":{"include_usage":true},"stream":true,"t":1.50}"#),
            (
                r#" {"stream" : true, "stream_options": null, "x":1e2}"#,
                r#" {"stream" : true, "stream_options": {"include_usage":true}, "x":1e2}"#,
            ),
            (
                r#"{"stream_options":{ "include_usage" : false ,"o":1},"stream":true}"#,
                r#"{"stream_options":{ "include_usage" : true ,"o":1},"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"o":1},"stream":true}"#,
                r#"{"stream_options":{"include_usage":true,"o":1},"stream":true}"#,
            ),
            (r#"{"stream_options":{ },"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        ] {
            assert_eq!(with_usage(body.as_bytes()).as_deref(), Some(sent.as_bytes()), "{body}");
        }
    }

    #[test]
    fn a_body_that_needs_no_change_has_none() {
        for body in [
            "{}",
            "[]",
            r#"{"stream":false}"#,
            r#"{"stream":true,"stream_options":7}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ] {
            assert_eq!(with_usage(body.as_bytes()), None, "{body}");
        }
        assert_eq!(Api::AnthropicMessages.with_usage(br#"{"stream":true}"#), None);
    }

    #[test]
    fn the_form_is_read_from_body_or_address() {
        let form = |api: Api, path, query, body: &str| api.asked(path, query, body.as_bytes()).map(|asked| asked.form);
        let chat = |body| form(Api::OpenaiChat, "/v1/chat/completions", None, body);
        assert_eq!(chat(r#"{"stream":true}"#), Some(Form::Stream));
        assert_eq!(chat(r#"{"stream":null}"#), Some(Form::Plain));
        assert_eq!(chat("{}"), Some(Form::Plain));
        assert_eq!(chat(r#"{"stream":"yes"}"#), None);
        assert_eq!(chat("[]"), None);
        let gemini = |path, query| form(Api::GeminiGenerate, path, query, "{}");
        assert_eq!(gemini("/m:streamGenerateContent", Some("key=a&alt=sse")), Some(Form::Stream));
        assert_eq!(gemini("/m:streamGenerateContent", None), None);
        assert_eq!(gemini("/m:generateContent", None), Some(Form::Plain));
        assert_eq!(gemini("/m:generateContent", Some("alt=proto")), None);
    }

    #[test]
    fn usage_is_asked_for_only_by_streams_of_completions() {
        let body = br#"{"stream":true,"stream_options":{"include_usage":true}}"#;
        let usage = |api: Api| api.asked("/", None, body).map(|asked| asked.usage);
        assert_eq!(usage(Api::OpenaiChat), Some(true));
        assert_eq!(usage(Api::OpenaiResponses), Some(false));
    }
}
