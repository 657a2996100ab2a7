//! JSON read in the simplest way that keeps everything: repeated names, order, how numbers are written.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Nested deeper than this, nothing is read.
const DEEPEST: usize = 100;

pub(crate) enum Tree<'a> {
    /// A number, `true`, `false` or `null`.
    Bare(&'a str),
    Text(String),
    List(Vec<Tree<'a>>),
    Map(Vec<(String, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    pub(crate) fn read(json: &'a [u8]) -> Option<Self> {
        Self::of(serde_json::from_slice(json).ok()?, DEEPEST)
    }

    fn of(raw: &'a RawValue, depth: usize) -> Option<Self> {
        let (text, deeper) = (raw.get(), depth.checked_sub(1)?);
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let read = |(name, raw)| Some((name, Self::of(raw, deeper)?));
                Self::Map(members.into_iter().map(read).collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(|raw| Self::of(raw, deeper)).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            _ => Self::Bare(text),
        })
    }

    /// Whether each name is there once in its object.
    pub(crate) fn is_unambiguous(&self) -> bool {
        match self {
            Self::Bare(_) | Self::Text(_) => true,
            Self::List(items) => items.iter().all(Self::is_unambiguous),
            Self::Map(members) => {
                let names: BTreeSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                names.len() == members.len() && members.iter().all(|(_, value)| value.is_unambiguous())
            }
        }
    }

    /// The same in other words: members in another order, other white space, every character escaped. Members of one
    /// name keep their order, which means something.
    pub(crate) fn rewritten(&self, random: &mut fastrand::Rng) -> String {
        let space = [" ", "", "\n", "\t "][random.usize(..4)];
        match self {
            Self::Bare(text) => (*text).to_owned(),
            Self::Text(text) => escaped(text),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.rewritten(random)).collect();
                format!("[{space}{}]", items.join(&format!("{space},")))
            }
            Self::Map(members) => {
                let salt = random.u64(..);
                let place = |name: &str| name.bytes().fold(salt, |hash, byte| hash.rotate_left(7) ^ u64::from(byte));
                let mut members: Vec<&(String, Tree<'_>)> = members.iter().collect();
                members.sort_by(|(one, _), (other, _)| (place(one), one).cmp(&(place(other), other)));
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(name, value)| format!("{}{space}:{space}{}", escaped(name), value.rewritten(random)))
                    .collect();
                format!("{{{space}{}{space}}}", members.join(","))
            }
        }
    }
}

fn escaped(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

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
