//! Which calls may be made on behalf of somebody whom an app trusts only so far: of which models, for how much output.
//! What a limit cannot be held against is refused.

use std::num::NonZeroU64;

use bytes::Bytes;
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::identity::{api_of, asked, vendor};
use crate::answer::{Form, Vendor};
use crate::provider::{Provider, Request};

/// The most patterns for models.
const MAX_PATTERNS: usize = 64;
/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

/// What may be asked for. By default anything.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    models: Option<GlobSet>,
    max_output_tokens: Option<NonZeroU64>,
}

/// A model's pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// There are too many.
    #[error("{0} patterns for models, {MAX_PATTERNS} are allowed")]
    TooMany(usize),
    /// One is no pattern.
    #[error("not a pattern for models of at most {MAX_PATTERN} bytes: {0}")]
    Malformed(String),
}

/// A call that may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// Its model is none of those that are allowed, or cannot be told.
    #[error("the model is not allowed")]
    Model,
    /// It asks for more output than is allowed, or how much cannot be told.
    #[error("more output than is allowed")]
    Output,
}

/// What a call is about, for whoever decides whether it may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The model that it names, without white space or other characters than ASCII's. `None` where that cannot be told.
    pub model: Option<String>,
    /// Whether it wants a stream.
    pub is_stream: bool,
}

impl Summary {
    /// Of a call.
    pub fn of(provider: &Provider, request: &Request) -> Self {
        Self::to(vendor(provider), request)
    }

    fn to(vendor: Vendor, request: &Request) -> Self {
        let asked = api_of(vendor, &request.method, &request.url).and_then(|api| asked(api, request));
        let is_stream = asked.is_some_and(|asked| asked.form == Form::Stream);
        Self { model: vendor.model(request.url.path(), &request.body), is_stream }
    }
}

impl Limits {
    /// `models` are patterns in which `*` stands for any text; `None` allows every model.
    ///
    /// # Errors
    /// See [`BadPattern`].
    pub fn new(models: Option<&[String]>, max_output_tokens: Option<NonZeroU64>) -> Result<Self, BadPattern> {
        Ok(Self { models: models.map(patterns).transpose()?, max_output_tokens })
    }

    /// Holds a call to them. One that says nothing of its output is given the maximum.
    ///
    /// # Errors
    /// See [`Beyond`].
    pub fn hold(&self, provider: &Provider, request: &mut Request) -> Result<(), Beyond> {
        if let Some(body) = self.limited(vendor(provider), request)? {
            request.body = body;
        }
        Ok(())
    }

    /// The body to send, if it cannot go as it is.
    fn limited(&self, vendor: Vendor, request: &Request) -> Result<Option<Bytes>, Beyond> {
        if request.method.is_safe() {
            return Ok(None); // it calls no model
        }
        if let Some(models) = &self.models {
            let model = Summary::to(vendor, request).model.ok_or(Beyond::Model)?;
            if !models.is_match(&model) {
                return Err(Beyond::Model);
            }
        }
        let Some(most) = self.max_output_tokens else { return Ok(None) };
        let api = api_of(vendor, &request.method, &request.url).ok_or(Beyond::Output)?;
        api.limited(&request.body, most.get()).map_err(|_| Beyond::Output)
    }
}

fn patterns(models: &[String]) -> Result<GlobSet, BadPattern> {
    if models.len() > MAX_PATTERNS {
        return Err(BadPattern::TooMany(models.len()));
    }
    let mut set = GlobSetBuilder::new();
    for model in models {
        let glob = Glob::new(model).ok().filter(|_| model.len() <= MAX_PATTERN);
        set.add(glob.ok_or_else(|| BadPattern::Malformed(model.chars().take(MAX_PATTERN).collect()))?);
    }
    set.build().map_err(|error| BadPattern::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};

    fn request(method: Method, path: &str, body: &'static str) -> Request {
        let url = format!("http://llm.example{path}").parse().unwrap();
        Request { method, url, headers: HeaderMap::new(), body: body.into(), patience: None }
    }

    fn held(limits: &Limits, request: Request) -> Result<String, Beyond> {
        let limited = limits.limited(Vendor::Openai, &request)?;
        Ok(String::from_utf8(limited.unwrap_or(request.body).to_vec()).unwrap())
    }

    fn models(patterns: &[&str]) -> Result<Limits, BadPattern> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Limits::new(Some(&patterns), None)
    }

    const CHAT: &str = "/v1/chat/completions";

    #[test]
    fn only_models_that_match_a_pattern_are_called() {
        let limits = models(&["gpt-4o*", "meta/*"]).unwrap();
        let ask = |body| held(&limits, request(Method::POST, CHAT, body));
        for allowed in [r#"{"model":"gpt-4o"}"#, r#"{"model":"gpt-4o-mini"}"#, r#"{"model":"meta/llama/3"}"#] {
            assert_eq!(ask(allowed).as_deref(), Ok(allowed));
        }
        for other in [r#"{"model":"gpt-4"}"#, r#"{"model":"x-gpt-4o"}"#, r#"{"model":"GPT-4o"}"#, "{}", "not JSON"] {
            assert_eq!(ask(other), Err(Beyond::Model), "{other}");
        }
        assert_eq!(held(&models(&[]).unwrap(), request(Method::POST, CHAT, r#"{"model":"m"}"#)), Err(Beyond::Model));
        assert_eq!(held(&Limits::default(), request(Method::POST, CHAT, "not JSON")).as_deref(), Ok("not JSON"));
    }

    #[test]
    fn what_output_an_unknown_api_has_cannot_be_limited() {
        let limits = Limits::new(None, NonZeroU64::new(10)).unwrap();
        let ask = |path, body| held(&limits, request(Method::POST, path, body));
        assert_eq!(ask(CHAT, r#"{"max_tokens":10}"#).as_deref(), Ok(r#"{"max_tokens":10}"#));
        assert_eq!(ask(CHAT, r#"{"n":1}"#).as_deref(), Ok(r#"{"max_completion_tokens":10,"n":1}"#));
        assert_eq!(ask(CHAT, r#"{"max_tokens":11}"#), Err(Beyond::Output));
        assert_eq!(ask("/v1/batches", "{}"), Err(Beyond::Output));
    }

    #[test]
    fn a_request_that_calls_no_model_is_not_limited() {
        let limits = Limits::new(Some(&["none".to_owned()]), NonZeroU64::new(1)).unwrap();
        assert_eq!(held(&limits, request(Method::GET, "/v1/models", "")).as_deref(), Ok(""));
        assert_eq!(held(&limits, request(Method::DELETE, "/v1/models/x", "")), Err(Beyond::Model));
    }

    #[test]
    fn patterns_are_bounded() {
        assert_eq!(models(&["a"; 65]).unwrap_err(), BadPattern::TooMany(65));
        assert!(matches!(models(&["["]), Err(BadPattern::Malformed(_))));
        let long = "x".repeat(257);
        assert!(matches!(models(&[long.as_str()]), Err(BadPattern::Malformed(_))));
    }

    #[test]
    fn a_summary_tells_model_and_form() {
        let summary = |body| Summary::to(Vendor::Openai, &request(Method::POST, CHAT, body));
        let streamed = Summary { model: Some("m".into()), is_stream: true };
        assert_eq!(summary(r#"{"model":"m","stream":true}"#), streamed);
        assert_eq!(summary("{}"), Summary { model: None, is_stream: false });
    }
}
