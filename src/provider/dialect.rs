//! API shapes: which paths a dialect knows, and where its key goes.

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::secret::Secret;

/// A provider's API shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI and the many servers that speak its API.
    Openai,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// Azure's spelling of a key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Headers that carry an account with a vendor, in every vendor's spelling.
pub const ACCOUNT: [HeaderName; 4] = [AUTHORIZATION, X_API_KEY, X_GOOG_API_KEY, API_KEY];

impl Dialect {
    /// Whether a path ends as this API's calls do.
    pub fn knows(self, path: &str) -> bool {
        match self {
            Dialect::Openai => {
                ["/chat/completions", "/responses", "/embeddings", "/completions"].iter().any(|end| path.ends_with(end))
            }
            Dialect::Anthropic => path.contains("/v1/messages"),
            Dialect::Gemini => path.rsplit('/').next().is_some_and(|last| last.contains(':')),
        }
    }

    /// Puts the configured key in place of whatever credentials the app sent.
    pub fn set_key(self, headers: &mut HeaderMap, key: &Secret) {
        for name in &ACCOUNT {
            headers.remove(name);
        }
        let (name, value) = match self {
            Dialect::Openai => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Dialect::Anthropic => (X_API_KEY, key.expose().to_owned()),
            Dialect::Gemini => (X_GOOG_API_KEY, key.expose().to_owned()),
        };
        if let Ok(mut value) = HeaderValue::from_str(&value) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
}

/// The query parameter that carries Gemini's key in some clients.
pub(super) const KEY_PARAMETER: &str = "key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_key_replaces_every_spelling_of_the_apps_own() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "x-goog-api-key", "api-key"] {
            headers.insert(name, HeaderValue::from_static("app"));
        }
        Dialect::Anthropic.set_key(&mut headers, &Secret::new("sk"));
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-api-key"], "sk");
    }

    #[test]
    fn dialects_know_their_own_paths() {
        assert!(Dialect::Openai.knows("/v1/chat/completions"));
        assert!(Dialect::Anthropic.knows("/v1/messages"));
        assert!(Dialect::Gemini.knows("/v1beta/models/gemini-3:streamGenerateContent"));
        assert!(!Dialect::Openai.knows("/v1/messages"));
        assert!(!Dialect::Gemini.knows("/v1/messages"));
    }
}
