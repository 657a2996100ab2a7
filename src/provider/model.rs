//! The model that a call asks for: in the body of OpenAI's and Anthropic's calls, in the path of Gemini's.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::{Dialect, Request};

/// The one member of a body that is looked at.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// The model's name as it is written. `None` where there is none.
pub(super) fn of(dialect: Dialect, request: &Request) -> Option<Cow<'_, str>> {
    match dialect {
        Dialect::Openai | Dialect::Anthropic => Some(Cow::Borrowed(in_body(&request.body)?.get())),
        Dialect::Gemini => Some(Cow::Borrowed(in_path(&request.url)?.0)),
    }
}

/// Asks for another model; all other bytes stay as they are. `false` where the request names none to replace.
pub(super) fn replace(dialect: Dialect, request: &mut Request, model: &str) -> bool {
    match dialect {
        Dialect::Openai | Dialect::Anthropic => replace_in_body(request, model),
        Dialect::Gemini => replace_in_path(&mut request.url, model),
    }
    .is_some()
}

fn in_body(body: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice::<Body<'_>>(body).ok()?.model
}

/// The model between the last `/` and the method after `:`, and where it begins.
fn in_path(url: &Url) -> Option<(&str, usize)> {
    let path = url.path();
    let start = path.rfind('/')? + 1;
    let (model, _method) = path[start..].split_once(':')?;
    Some((model, start))
}

fn replace_in_body(request: &mut Request, model: &str) -> Option<()> {
    let body = &request.body;
    let old = in_body(body)?.get();
    let start = (old.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let new = serde_json::to_vec(model).ok()?;
    request.body = [&body[..start], &new, &body[start + old.len()..]].concat().into();
    Some(())
}

fn replace_in_path(url: &mut Url, model: &str) -> Option<()> {
    let (old, start) = in_path(url)?;
    let path = url.path();
    let changed = format!("{}{model}{}", &path[..start], &path[start + old.len()..]);
    url.set_path(&changed);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, body: &str) -> Request {
        Request {
            method: http::Method::POST,
            url: url.parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
            patience: None,
        }
    }

    #[test]
    fn only_the_model_changes_in_a_body() {
        let body = r#" {"seed" : 1e2, "metadata":{"model":"inner"},"model" : "gpt\u002d4" ,"x":[ ]}"#;
        let mut asked = request("http://a/v1/chat/completions", body);
        assert!(replace(Dialect::Openai, &mut asked, r#"my "own""#));
        let expected = r#" {"seed" : 1e2, "metadata":{"model":"inner"},"model" : "my \"own\"" ,"x":[ ]}"#;
        assert_eq!(asked.body, expected);
        assert_eq!(of(Dialect::Openai, &asked).as_deref(), Some(r#""my \"own\"""#));
    }

    #[test]
    fn only_the_model_changes_in_geminis_path() {
        let mut asked = request("http://a/v1beta/models/gemini-3:streamGenerateContent?alt=sse", r#"{"model":"x"}"#);
        assert_eq!(of(Dialect::Gemini, &asked).as_deref(), Some("gemini-3"));
        assert!(replace(Dialect::Gemini, &mut asked, "gemini-2.5-flash"));
        assert_eq!(asked.url.as_str(), "http://a/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
        assert_eq!(asked.body, r#"{"model":"x"}"#);
    }

    #[test]
    fn where_no_model_is_named_none_is_replaced() {
        for body in ["", "[]", "{}", r#"{"model":"a","model":"b"}"#, "\u{fffd}"] {
            let mut asked = request("http://a/v1/files", body);
            assert!(!replace(Dialect::Anthropic, &mut asked, "m"), "{body}");
            assert_eq!(asked.body, body);
            assert!(!replace(Dialect::Gemini, &mut asked, "m"));
        }
    }
}
