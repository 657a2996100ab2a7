//! What an app grants with its answer to the question whether a call may be made: the header `Siding-Authorization`, a
//! JSON object. Whatever in it cannot be understood allows nothing.

use std::num::{NonZeroU32, NonZeroU64};

use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::call::directives;
use crate::calls::{BadPattern, Directives, Limits};
use crate::handoff::Sharing;

/// The header in which the app says it.
const AUTHORIZATION: HeaderName = HeaderName::from_static("siding-authorization");
/// The longest label of a user, in bytes.
const LONGEST_USER: usize = 128;

/// What the app grants. By default everything, to nobody in particular.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// The user's label.
    pub user: Option<String>,
    /// Calls that the user may have under way at once.
    pub max_concurrent: Option<NonZeroU32>,
    /// What may be asked for.
    pub limits: Limits,
    /// Who shares the answer, and its tags.
    pub said: Directives,
}

/// Why a grant allows nothing. The message is for the operator's log and holds no value of the header.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// It has a pattern for models that cannot be used.
    #[error(transparent)]
    Models(#[from] BadPattern),
}

#[derive(Deserialize)]
struct Document {
    scope: Option<String>,
    user: Option<String>,
    models: Option<Vec<String>>,
    max_output_tokens: Option<NonZeroU64>,
    max_concurrent: Option<NonZeroU32>,
    tags: Option<Vec<String>>,
}

impl Grant {
    /// What the headers of the app's answer grant.
    ///
    /// # Errors
    /// See [`Invalid`].
    pub fn of(headers: &HeaderMap) -> Result<Self, Invalid> {
        let mut values = headers.get_all(&AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(Self::default()) };
        if values.next().is_some() {
            return Err(malformed("it is there twice"));
        }
        let document = serde_json::from_slice(value.as_bytes()).map_err(|error| {
            // serde_json's words may hold what was in the document.
            Invalid::Malformed(format!("{:?} error at column {}", error.classify(), error.column()))
        })?;
        Self::read(document)
    }

    fn read(document: Document) -> Result<Self, Invalid> {
        let Document { scope, user, models, max_output_tokens, max_concurrent, tags } = document;
        let sharing = Sharing { scope, tags: tags.unwrap_or_default(), ..Sharing::default() };
        if !sharing.has_valid_names() {
            return Err(malformed("a scope or tag is not a name, or there are too many"));
        }
        if !user.as_deref().is_none_or(is_label) {
            return Err(malformed("user must be 1 to 128 bytes without control characters"));
        }
        if max_concurrent.is_some() && user.is_none() {
            return Err(malformed("max_concurrent needs user"));
        }
        let limits = Limits::new(models.as_deref(), max_output_tokens)?;
        Ok(Self { user, max_concurrent, limits, said: directives(sharing) })
    }
}

fn malformed(what: &str) -> Invalid {
    Invalid::Malformed(what.to_owned())
}

fn is_label(user: &str) -> bool {
    (1..=LONGEST_USER).contains(&user.len()) && !user.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Scope;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(value: &str) -> Result<Grant, Invalid> {
        Grant::of(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap())]))
    }

    #[test]
    fn what_the_app_says_is_granted_and_what_is_unknown_is_ignored() {
        let grant = read(
            r#"{"scope": "user", "user": "Jürgen 7", "models": ["gpt-*"], "max_output_tokens": 100,
                "max_concurrent": 2, "tags": ["a"], "comes_later": {"x": 1}}"#
                .replace('\n', " ")
                .as_str(),
        )
        .unwrap();
        assert_eq!((grant.user.as_deref(), grant.max_concurrent.map(NonZeroU32::get)), (Some("Jürgen 7"), Some(2)));
        assert_eq!((grant.said.scope, grant.said.tags), (Some(Scope::Credentials), vec!["a".to_owned()]));
    }

    #[test]
    fn an_app_that_says_nothing_grants_everything() {
        for grant in [Grant::of(&HeaderMap::new()), read("{}"), read(r#"{"user": null, "tags": null}"#)] {
            let grant = grant.unwrap();
            assert_eq!((grant.user, grant.max_concurrent, grant.said), (None, None, Directives::default()));
        }
    }

    #[test]
    fn what_cannot_be_understood_grants_nothing() {
        for value in [
            "",
            "yes",
            "[]",
            "{",
            r#"{"user": 7}"#,
            r#"{"user": ""}"#,
            "{\"user\": \"a\\nb\"}",
            r#"{"scope": "a b"}"#,
            r#"{"scope": ["user"]}"#,
            r#"{"tags": "reports"}"#,
            r#"{"tags": ["a b"]}"#,
            r#"{"models": "gpt-4o"}"#,
            r#"{"models": ["["]}"#,
            r#"{"max_output_tokens": 0}"#,
            r#"{"max_output_tokens": -1}"#,
            r#"{"max_output_tokens": 1.5}"#,
            r#"{"max_output_tokens": "100"}"#,
            r#"{"user": "a", "max_concurrent": 0}"#,
            r#"{"max_concurrent": 1}"#,
            r#"{"user": "a", "user": "b"}"#,
        ] {
            assert!(read(value).is_err(), "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("{}"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("{}"));
        assert!(Grant::of(&twice).is_err());
    }

    #[test]
    fn a_fault_is_described_without_what_the_header_holds() {
        let invalid = read(r#"{"max_concurrent": "a secret"}"#).unwrap_err();
        assert!(!invalid.to_string().contains("secret"), "{invalid}");
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(value in "[ -~]{0,80}") {
            let _ = read(&value);
        }
    }
}
