//! What a view says of sharing a call's answer. It must never decide what becomes of it.

use serde::Deserialize;

/// Tags of one call.
const MAX_TAGS: usize = 16;
/// The longest scope or tag, in bytes.
const MAX_NAME: usize = 64;

/// How a view wants a call's answer shared; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// How long the answer is fresh.
    pub ttl_ms: Option<u64>,
    /// `app`, `user`, `none`, or a name.
    pub scope: Option<String>,
    /// Names to purge it by.
    pub tags: Vec<String>,
    /// Whether a stored answer will do.
    pub lookup: Option<bool>,
    /// Whether the answer may be stored.
    pub store: Option<bool>,
    /// How long it may serve in place of an error.
    pub stale_if_error_ms: Option<u64>,
    /// How long it may serve while it is fetched anew.
    pub stale_while_revalidate_ms: Option<u64>,
}

impl Sharing {
    /// Whether scope and tags are names, and there are not too many.
    pub fn has_valid_names(&self) -> bool {
        self.tags.len() <= MAX_TAGS && self.names().all(is_name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().chain(&self.scope).map(String::as_str)
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}
