//! What a request asks for that may be limited: which model, and how much of its output.
//!
//! A limit holds only if the provider reads the request as it was read here, so what two readers might take for two
//! things is refused rather than guessed at.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields::{Ambiguous, Fields, is_null, text};
use super::request::{insert, replace};
use super::{Api, Vendor};

/// The longest name of a model, in bytes.
const LONGEST_MODEL: usize = 256;

/// The segment of Azure's paths after which the model stands, whatever the body says.
const DEPLOYMENTS: &str = "deployments";

/// A request's output cannot be kept within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request asks for more output than is allowed, or does not say clearly for how much")]
pub struct Unlimited;

impl From<Ambiguous> for Unlimited {
    fn from(_: Ambiguous) -> Self {
        Self
    }
}

pub(super) fn model(vendor: Vendor, path: &str, body: &[u8]) -> Option<String> {
    let model = match vendor {
        Vendor::Openai if has_deployment(path) => after_deployments(path)?.to_owned(),
        Vendor::Openai | Vendor::Anthropic => {
            let fields = Fields::parse(body)?;
            text(fields.only(&["model"]).ok()??)?.into_owned()
        }
        Vendor::Gemini => path.rsplit('/').next()?.split_once(':')?.0.to_owned(),
    };
    let is_clear =
        !model.is_empty() && model.len() <= LONGEST_MODEL && model.bytes().all(|byte| byte.is_ascii_graphic());
    // Who decodes a path first and who last need not agree.
    let is_decoded = vendor != Vendor::Gemini && !has_deployment(path) || !model.contains('%');
    (is_clear && is_decoded).then_some(model)
}

fn has_deployment(path: &str) -> bool {
    path.split('/').any(|segment| segment == DEPLOYMENTS)
}

fn after_deployments(path: &str) -> Option<&str> {
    let mut after = path.split('/').skip_while(|segment| *segment != DEPLOYMENTS).skip(1);
    after.next()
}

/// How a request says how much output it wants.
struct Output {
    /// The object that holds the fields; none for the body itself.
    inside: Option<Names>,
    /// Fields with a number of tokens; the first is put in where none is given.
    tokens: &'static [Names],
    /// Fields with a number of answers, each of which may have so many.
    answers: &'static [Names],
}

/// The spellings of one field, the usual one first.
type Names = &'static [&'static str];

fn output(api: Api) -> Option<Output> {
    let (inside, tokens, answers): (_, &[Names], &[Names]) = match api {
        Api::OpenaiChat => (None, &[&["max_completion_tokens"], &["max_tokens"]], &[&["n"]]),
        Api::OpenaiCompletions => (None, &[&["max_tokens"]], &[&["n"], &["best_of"]]),
        Api::OpenaiResponses => (None, &[&["max_output_tokens"]], &[]),
        Api::AnthropicMessages => (None, &[&["max_tokens"]], &[]),
        Api::GeminiGenerate => (
            Some(&["generationConfig", "generation_config"] as Names),
            &[&["maxOutputTokens", "max_output_tokens"]],
            &[&["candidateCount", "candidate_count"]],
        ),
        Api::OpenaiEmbeddings | Api::GeminiEmbed => return None,
    };
    Some(Output { inside, tokens, answers })
}

pub(super) fn limited(api: Api, body: &[u8], most: u64) -> Result<Option<Bytes>, Unlimited> {
    let Some(output) = output(api) else { return Ok(None) };
    let whole = Fields::parse(body).ok_or(Unlimited)?;
    let Some(names) = output.inside else { return limited_in(&whole, body, body, &output, most) };
    match whole.only(names)?.filter(|object| !is_null(object)) {
        Some(object) => {
            let fields = Fields::of(object).ok_or(Unlimited)?;
            limited_in(&fields, body, object.get().as_bytes(), &output, most)
        }
        None => {
            let object = format!(r#"{{"{}":{most}}}"#, output.tokens[0][0]);
            Ok(Some(put(body, body, &whole, names, &object)))
        }
    }
}

/// `object` is the part of the body that holds the fields.
fn limited_in(
    fields: &Fields<'_>,
    body: &[u8],
    object: &[u8],
    output: &Output,
    most: u64,
) -> Result<Option<Bytes>, Unlimited> {
    let answers = largest(fields, output.answers)?.unwrap_or(1);
    match largest(fields, output.tokens)? {
        Some(tokens) if tokens.checked_mul(answers).is_some_and(|tokens| tokens <= most) => Ok(None),
        Some(_) => Err(Unlimited),
        None => {
            let each = most.checked_div(answers).filter(|each| *each > 0).ok_or(Unlimited)?;
            Ok(Some(put(body, object, fields, output.tokens[0], &each.to_string())))
        }
    }
}

/// The largest number in fields that mean the same. Zero is none that all readers would take for a limit.
fn largest(fields: &Fields<'_>, of: &[Names]) -> Result<Option<u64>, Unlimited> {
    let mut found = None;
    for names in of {
        if let Some(value) = fields.only(names)?.filter(|value| !is_null(value)) {
            let number = value.get().parse().ok().filter(|number| *number > 0).ok_or(Unlimited)?;
            found = found.max(Some(number));
        }
    }
    Ok(found)
}

/// The body with a value for a field that has none in `object`, or null; every other byte as it is.
fn put(body: &[u8], object: &[u8], fields: &Fields<'_>, names: Names, value: &str) -> Bytes {
    let field = format!(r#""{}":{value}"#, names[0]);
    match names.iter().find_map(|name| fields.get(name)) {
        Some(null) => replace(body, RawValue::get(null), value),
        None if fields.is_empty() => {
            let braces = std::str::from_utf8(object).unwrap_or_default().trim();
            replace(body, braces, &format!("{{{field}}}"))
        }
        None => insert(body, object, &field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_body(body: &str) -> Option<String> {
        Vendor::Openai.model("/v1/chat/completions", body.as_bytes())
    }

    #[test]
    fn the_model_is_named_by_body_or_path() {
        assert_eq!(in_body(r#"{"model":"gpt-4o-mini","n":1}"#).as_deref(), Some("gpt-4o-mini"));
        assert_eq!(in_body(r#"{"mod\u0065l":"openai\/gpt-4o"}"#).as_deref(), Some("openai/gpt-4o"));
        let azure = Vendor::Openai.model("/openai/deployments/big/chat/completions", br#"{"model":"small"}"#);
        assert_eq!(azure.as_deref(), Some("big"));
        let gemini = Vendor::Gemini.model("/v1beta/models/gemini-2.5-flash:streamGenerateContent", b"{}");
        assert_eq!(gemini.as_deref(), Some("gemini-2.5-flash"));
    }

    #[test]
    fn a_model_that_two_readers_might_read_differently_is_none() {
        for body in [
            r#"{"model":"small","model":"big"}"#,
            r#"{"model":"small","Model":"big"}"#,
            r#"{"MODEL":"big"}"#,
            r#"{"model":null}"#,
            r#"{"model":7}"#,
            r#"{"model":""}"#,
            r#"{"model":"gr\u00f6\u00dfer"}"#,
            r#"{"model":"a b"}"#,
            "[]",
            "",
            "not JSON",
        ] {
            assert_eq!(in_body(body), None, "{body}");
        }
        assert_eq!(in_body(&format!(r#"{{"model":"{}"}}"#, "x".repeat(257))), None);
        assert_eq!(Vendor::Gemini.model("/v1beta/models/gemini%2D3:generateContent", b"{}"), None);
        assert_eq!(Vendor::Gemini.model("/v1beta/models", b"{}"), None);
        assert_eq!(Vendor::Openai.model("/openai/deployments/", br#"{"model":"small"}"#), None);
        assert_eq!(Vendor::Openai.model("/openai/deployments/b%69g/x", b"{}"), None);
    }

    #[test]
    fn a_request_that_asks_for_no_more_than_allowed_is_not_touched() {
        for (api, body) in [
            (Api::OpenaiChat, r#"{"max_tokens":100}"#),
            (Api::OpenaiChat, r#"{"max_completion_tokens":50,"n":2}"#),
            (Api::OpenaiResponses, r#"{"max_output_tokens":1}"#),
            (Api::AnthropicMessages, r#"{"max_tokens":100}"#),
            (Api::GeminiGenerate, r#"{"generation_config":{"max_output_tokens":100}}"#),
            (Api::OpenaiEmbeddings, r#"{"input":"x"}"#),
        ] {
            assert_eq!(api.limited(body.as_bytes(), 100), Ok(None), "{body}");
        }
    }

    #[test]
    fn a_request_that_asks_for_more_or_unclearly_is_refused() {
        for (api, body) in [
            (Api::OpenaiChat, r#"{"max_tokens":101}"#),
            (Api::OpenaiChat, r#"{"max_tokens":1,"max_completion_tokens":101}"#),
            (Api::OpenaiChat, r#"{"max_tokens":1,"max_tokens":101}"#),
            (Api::OpenaiChat, r#"{"Max_Tokens":101}"#),
            (Api::OpenaiChat, r#"{"max_tokens":51,"n":2}"#),
            (Api::OpenaiChat, r#"{"n":101}"#),
            (Api::OpenaiChat, r#"{"max_tokens":18446744073709551615,"n":2}"#),
            (Api::OpenaiChat, r#"{"max_tokens":-1}"#),
            (Api::OpenaiChat, r#"{"max_tokens":0}"#),
            (Api::OpenaiChat, r#"{"max_tokens":1e1}"#),
            (Api::OpenaiChat, r#"{"max_tokens":"9"}"#),
            (Api::OpenaiChat, r#"{"max_tokens":9,"n":0}"#),
            (Api::OpenaiCompletions, r#"{"max_tokens":20,"best_of":6}"#),
            (Api::AnthropicMessages, r#"{"max_tokens":101}"#),
            (Api::GeminiGenerate, r#"{"generationConfig":{"maxOutputTokens":101}}"#),
            (Api::GeminiGenerate, r#"{"generationConfig":{},"generation_config":{"maxOutputTokens":101}}"#),
            (Api::GeminiGenerate, r#"{"generationConfig":{"maxOutputTokens":51,"candidateCount":2}}"#),
            (Api::GeminiGenerate, r#"{"generationConfig":7}"#),
            (Api::OpenaiChat, "[]"),
        ] {
            assert_eq!(api.limited(body.as_bytes(), 100), Err(Unlimited), "{body}");
        }
    }

    #[test]
    fn the_maximum_is_put_in_where_none_is_named_and_every_other_byte_stays() {
        for (api, body, sent) in [
            (Api::OpenaiChat, r#" {"t":1.50}"#, r#" {"max_completion_tokens":100,"t":1.50}"#),
            (
                Api::OpenaiChat,
                r#"{"max_completion_tokens": null ,"t":1e2}"#,
                r#"{"max_completion_tokens": 100 ,"t":1e2}"#,
            ),
            (Api::OpenaiChat, r#"{"max_tokens":null}"#, r#"{"max_completion_tokens":100,"max_tokens":null}"#),
            (Api::OpenaiChat, r#"{"n":3}"#, r#"{"max_completion_tokens":33,"n":3}"#),
            (Api::OpenaiCompletions, "{}", r#"{"max_tokens":100}"#),
            (Api::OpenaiResponses, r#"{"model":"m"}"#, r#"{"max_output_tokens":100,"model":"m"}"#),
            (Api::AnthropicMessages, " { } ", r#" {"max_tokens":100} "#),
            (Api::GeminiGenerate, r#"{"a":1}"#, r#"{"generationConfig":{"maxOutputTokens":100},"a":1}"#),
            (Api::GeminiGenerate, r#"{"generation_config":null}"#, r#"{"generation_config":{"maxOutputTokens":100}}"#),
            (
                Api::GeminiGenerate,
                r#"{"generationConfig":{"candidateCount":2 }}"#,
                r#"{"generationConfig":{"maxOutputTokens":50,"candidateCount":2 }}"#,
            ),
            (Api::GeminiGenerate, r#"{"generationConfig":{ }}"#, r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        ] {
            let limited = api.limited(body.as_bytes(), 100).unwrap();
            assert_eq!(limited.as_deref(), Some(sent.as_bytes()), "{body}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_in_asks_for_no_more_than_allowed(n in 1u64..200, spaces in " {0,3}", field in "[a-m]{1,5}") {
            let body = format!(r#"{{{spaces}"n":{spaces}{n},"{field}":{{"x":[1,2]}}{spaces}}}"#);
            match Api::OpenaiChat.limited(body.as_bytes(), 100) {
                Ok(Some(limited)) => prop_assert_eq!(Api::OpenaiChat.limited(&limited, 100), Ok(None)),
                other => prop_assert!(n > 100 && other == Err(Unlimited)),
            }
        }
    }
}
