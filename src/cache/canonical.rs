//! What a JSON document means: members in order of their names, strings by what they spell, numbers exactly as written.
//! Two documents mean the same when a reader that knows no order of members could not tell them apart. Nothing else is
//! normalised: `1` and `1.0`, and `"a"` and `"A"`, are different prompts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::KeyBuilder;

/// Levels of nesting. A deeper document has no canonical form, so only its own bytes equal it; the bound keeps the work
/// linear in the document's size.
const DEEPEST: usize = 32;

/// A JSON object, canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'a>(pub(super) Vec<(Cow<'a, str>, Node<'a>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// A number, `true`, `false` or `null`, as written.
    Bare(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// In order of the names; of equal names, in order of appearance.
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Document<'a> {
    /// Reads an object. `None` when the bytes are not one, or nest too deep.
    pub fn read(json: &'a [u8]) -> Option<Self> {
        match Node::read(serde_json::from_slice(json).ok()?, DEEPEST)? {
            Node::Map(members) => Some(Self(members)),
            Node::Bare(_) | Node::Text(_) | Node::List(_) => None,
        }
    }

    /// Without the members of these names at its top.
    pub fn without(mut self, ignored: &[impl AsRef<str>]) -> Self {
        self.0.retain(|(name, _)| !ignored.iter().any(|ignored| ignored.as_ref() == name));
        self
    }

    /// The number, `true`, `false` or `null` at a path of member names, as written.
    pub fn bare(&self, path: &[&str]) -> Option<&'a str> {
        let (last, parents) = path.split_last()?;
        let mut members = &self.0;
        for name in parents {
            let Node::Map(inner) = &members.iter().find(|(found, _)| found == name)?.1 else { return None };
            members = inner;
        }
        match &members.iter().find(|(found, _)| found == last)?.1 {
            Node::Bare(text) => Some(text),
            Node::Text(_) | Node::List(_) | Node::Map(_) => None,
        }
    }

    /// Whether a member at the top is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, node)| found == name && *node != Node::Bare("null"))
    }

    /// Adds the document to a key.
    pub fn add_to(&self, key: &mut KeyBuilder) {
        add_map(&self.0, key);
    }
}

impl<'a> Node<'a> {
    fn read(raw: &'a RawValue, depth: usize) -> Option<Self> {
        let text = raw.get();
        match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let depth = depth.checked_sub(1)?;
                let read = |(name, raw): (Text<'a>, &'a RawValue)| Some((name.0, Node::read(raw, depth)?));
                let mut members = members.into_iter().map(read).collect::<Option<Vec<_>>>()?;
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                Some(Self::Map(members))
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let depth = depth.checked_sub(1)?;
                items.into_iter().map(|raw| Node::read(raw, depth)).collect::<Option<_>>().map(Self::List)
            }
            b'"' => serde_json::from_str::<Text>(text).ok().map(|text| Self::Text(text.0)),
            _ => Some(Self::Bare(text)),
        }
    }

    fn add_to(&self, key: &mut KeyBuilder) {
        match self {
            Self::Bare(text) => key.add(b"bare").add(text.as_bytes()),
            Self::Text(text) => key.add(b"text").add(text.as_bytes()),
            Self::List(items) => {
                key.add(b"list").add(&(items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.add_to(key));
                key
            }
            Self::Map(members) => {
                add_map(members, key);
                key
            }
        };
    }
}

fn add_map(members: &[(Cow<'_, str>, Node<'_>)], key: &mut KeyBuilder) {
    key.add(b"map").add(&(members.len() as u64).to_le_bytes());
    for (name, node) in members {
        node.add_to(key.add(name.as_bytes()));
    }
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of an object, none of them lost when names repeat.
struct Members<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Key;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn key(json: &str) -> Key {
        let mut key = KeyBuilder::default();
        Document::read(json.as_bytes()).unwrap_or_else(|| panic!("no object: {json}")).add_to(&mut key);
        key.finish()
    }

    #[test]
    fn order_of_members_white_space_and_escapes_mean_nothing() {
        assert_eq!(
            key(r#"{"a": 1, "b": {"c": [1, "é"], "d": null}}"#),
            key("{\"b\":{\"d\":null,\"c\":[1,\"\\u00e9\"]},\n\"a\":1}")
        );
    }

    #[test]
    fn whatever_a_model_could_notice_means_something() {
        let all = [
            r#"{}"#,
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":true}"#,
            r#"{"a":"true"}"#,
            r#"{"a":null}"#,
            r#"{"a":"x"}"#,
            r#"{"a":"X"}"#,
            r#"{"a":" x"}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[2,1]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":[[1,2]]}"#,
            r#"{"a":18446744073709551617}"#,
            r#"{"a":18446744073709551618}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"b":1}"#,
            r#"{"a":"e\u0301"}"#,
            r#"{"a":"\u00e9"}"#,
        ];
        let keys: std::collections::HashSet<_> = all.iter().map(|json| key(json)).collect();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn what_is_no_object_or_nests_too_deep_has_no_canonical_form() {
        for json in ["", "[1]", "1", "{", "{\"a\":}", "{} {}", "\u{feff}{}"] {
            assert_eq!(Document::read(json.as_bytes()), None, "{json}");
        }
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(Document::read(nested(DEEPEST).as_bytes()).is_some());
        assert!(Document::read(nested(DEEPEST + 1).as_bytes()).is_none());
    }

    #[test]
    fn ignored_members_are_those_at_the_top() {
        let of = |json: &'static str| Document::read(json.as_bytes()).unwrap().without(&["user"]);
        assert_eq!(of(r#"{"user":"u","a":1}"#), of(r#"{"a":1}"#));
        assert_ne!(of(r#"{"a":{"user":"u"}}"#), of(r#"{"a":{}}"#));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]{1,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same value, members written in reverse, everything that can be escaped.
    fn rewritten(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let members = map.iter().rev().map(|(name, value)| format!("{} : {}", escaped(name), rewritten(value)));
                format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\n"))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(rewritten).collect::<Vec<_>>().join(" , ")),
            Value::String(text) => escaped(text),
            bare => bare.to_string(),
        }
    }

    fn escaped(text: &str) -> String {
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", units.collect::<String>())
    }

    proptest! {
        #[test]
        fn documents_that_mean_the_same_have_one_key_and_others_another(one in json(), other in json()) {
            let wrap = |value: &Value| Value::Object(Map::from_iter([("a".to_owned(), value.clone())]));
            let (one, other) = (wrap(&one), wrap(&other));
            prop_assert_eq!(key(&one.to_string()), key(&rewritten(&one)));
            prop_assert_eq!(key(&one.to_string()) == key(&other.to_string()), one == other);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(json in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Document::read(&json);
        }
    }
}
