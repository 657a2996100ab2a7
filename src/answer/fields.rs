//! JSON that is opened only where it must be: what is not looked into keeps its order and its spelling of numbers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The fields of an object, their values unread.
#[derive(Clone, Default)]
pub(super) struct Fields<'a>(Vec<(String, &'a RawValue)>);

/// Two readers might take two fields for the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

impl<'a> Fields<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a field; of a repeated one the last, as most readers have it.
    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The value of a field, if it is not null.
    pub(super) fn given(&self, key: &str) -> Option<&'a RawValue> {
        self.get(key).filter(|raw| !is_null(raw))
    }

    /// The value of a field that goes by these names, null included, if every reader would find the same one: some
    /// readers ignore case, and of repeated fields some take the first.
    pub(super) fn only(&self, names: &[&str]) -> Result<Option<&'a RawValue>, Ambiguous> {
        let is_meant = |name: &str| names.iter().any(|meant| meant.eq_ignore_ascii_case(name));
        let mut meant = self.0.iter().filter(|(name, _)| is_meant(name));
        match (meant.next(), meant.next()) {
            (None, _) => Ok(None),
            (Some((name, value)), None) if names.contains(&name.as_str()) => Ok(Some(value)),
            _ => Err(Ambiguous),
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(text)
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|raw| raw.get() == "true")
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|raw| raw.get().parse().ok())
    }

    pub(super) fn object(&self, key: &str) -> Option<Self> {
        self.get(key).and_then(Self::of)
    }

    pub(super) fn list(&self, key: &str) -> Option<Vec<&'a RawValue>> {
        self.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// A list of objects, empty if there is no such field; None if it is something else.
    pub(super) fn objects_if_given(&self, key: &str) -> Option<Vec<Self>> {
        self.given(key).map_or(Some(Vec::new()), |_| self.objects(key))
    }

    /// A list of objects; None if it is not one.
    pub(super) fn objects(&self, key: &str) -> Option<Vec<Self>> {
        self.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                text.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Whether no two of several answers claim one place, where a stream would mix them.
pub(super) fn are_apart(answers: &[Fields<'_>]) -> bool {
    let places: BTreeSet<u64> = answers.iter().map(|answer| answer.number("index").unwrap_or_default()).collect();
    places.len() == answers.len()
}

pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// The text of a string.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

/// Whether a text is JSON, as tool calls' arguments must be.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}
