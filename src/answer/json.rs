//! JSON being made, of parts that may be as they came, and of fragments that are joined.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Inconvertible;
use super::fields::{Fields, is_null, text};

/// Objects nested deeper than this are not merged; the stack is finite.
const DEEPEST_MERGE: usize = 16;

/// Fields of an object, and items of a list, among which another is looked for. Answers have a few dozen; without an end, one
/// that adds a field with each event would take time that grows with its square.
const MOST_SEARCHED: usize = 1024;

/// Fields whose fragments replace one another; text in other fields is joined.
const WHOLE: [&str; 5] = ["id", "index", "role", "type", "format"];

/// Characters of a fragment of text.
const PIECE: usize = 64;

/// A value being made, of parts that may be as they came.
pub(super) enum Json<'a> {
    Raw(&'a RawValue),
    Owned(Box<RawValue>),
    Text(Cow<'a, str>),
    Number(u64),
    Map(Map<'a>),
    List(Vec<Json<'a>>),
}

pub(super) const NULL: Json<'static> = Json::Raw(RawValue::NULL);

/// An object being made.
#[derive(Default)]
pub(super) struct Map<'a>(Vec<(String, Json<'a>)>);

impl<'a> Map<'a> {
    pub(super) fn of<const N: usize>(fields: [(&str, Json<'a>); N]) -> Self {
        Self(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Json<'a>> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a field where it stands, or at the end.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Json<'a>>) {
        let value = value.into();
        match self.get_mut(key) {
            Some(present) => *present = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(super) fn set_if_absent(&mut self, key: &str, value: impl Into<Json<'a>>) {
        if self.get(key).is_none() {
            self.set(key, value);
        }
    }

    /// Takes a later value in place of the present one, unless it says nothing.
    pub(super) fn overlay(&mut self, key: &str, later: &'a RawValue) -> Result<(), Inconvertible> {
        let says_nothing = is_null(later) || later.get() == "\"\"";
        match self.get_mut(key) {
            Some(_) if says_nothing => (),
            Some(present) => *present = later.into(),
            None => self.add(key, later)?,
        }
        Ok(())
    }

    /// A field that is not there yet.
    fn add(&mut self, key: &str, value: &'a RawValue) -> Result<(), Inconvertible> {
        if self.0.len() >= MOST_SEARCHED {
            return Err(Inconvertible::Unfamiliar);
        }
        self.0.push((key.to_owned(), value.into()));
        Ok(())
    }

    /// An object to which others are merged.
    pub(super) fn searched(fields: &Fields<'a>) -> Result<Self, Inconvertible> {
        let map = Self::from(fields);
        if map.0.len() > MOST_SEARCHED { Err(Inconvertible::Unfamiliar) } else { Ok(map) }
    }

    /// The same fields after another.
    pub(super) fn after(mut self, key: &str, value: &'a str) -> Self {
        self.0.insert(0, (key.to_owned(), value.into()));
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Json<'a>> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    /// The object in a field, made if there is none.
    pub(super) fn map(&mut self, key: &str) -> Option<&mut Map<'a>> {
        self.set_if_absent(key, Map::default());
        self.get_mut(key).and_then(Json::open_map)
    }

    /// The list in a field, made if there is none.
    pub(super) fn list(&mut self, key: &str) -> Option<&mut Vec<Json<'a>>> {
        self.set_if_absent(key, Json::List(Vec::new()));
        self.get_mut(key).and_then(Json::open_list)
    }

    /// Adds a fragment to a field.
    pub(super) fn merge(&mut self, key: &str, later: &'a RawValue) -> Result<(), Inconvertible> {
        self.merge_at(key, later, DEEPEST_MERGE)
    }

    pub(super) fn append(&mut self, key: &str, piece: &str) -> Result<(), Inconvertible> {
        self.set_if_absent(key, "");
        self.get_mut(key).ok_or(Inconvertible::Unfamiliar)?.append(piece)
    }

    fn merge_at(&mut self, key: &str, later: &'a RawValue, depth: usize) -> Result<(), Inconvertible> {
        match self.get_mut(key) {
            _ if WHOLE.contains(&key) => self.overlay(key, later)?,
            None => self.add(key, later)?,
            Some(Json::Raw(present)) if is_null(present) => self.set(key, later),
            Some(_) if is_null(later) => (),
            Some(present) => present.merge(key, later, depth)?,
        }
        Ok(())
    }

    fn merge_all(&mut self, later: &Fields<'a>, depth: usize) -> Result<(), Inconvertible> {
        let deeper = depth.checked_sub(1).ok_or(Inconvertible::Unfamiliar)?;
        later.iter().try_for_each(|(key, value)| self.merge_at(key, value, deeper))
    }

    pub(super) fn to_bytes(&self) -> Result<Bytes, Inconvertible> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|_| Inconvertible::Malformed)
    }
}

impl<'a> From<&Fields<'a>> for Map<'a> {
    fn from(fields: &Fields<'a>) -> Self {
        Self(fields.iter().map(|(key, value)| (key.to_owned(), Json::Raw(value))).collect())
    }
}

impl<'a> Json<'a> {
    fn merge(&mut self, key: &str, later: &'a RawValue, depth: usize) -> Result<(), Inconvertible> {
        match later.get().as_bytes().first() {
            Some(b'"') => {
                let piece = text(later).ok_or(Inconvertible::Malformed)?;
                let is_repetition = key == "name" && matches!(self.open_text(), Some(name) if *name == piece);
                if is_repetition { Ok(()) } else { self.append(&piece) }
            }
            Some(b'{') => {
                let later = Fields::of(later).ok_or(Inconvertible::Malformed)?;
                self.open_map().ok_or(Inconvertible::Unfamiliar)?.merge_all(&later, depth)
            }
            Some(b'[') => {
                let later: Vec<&RawValue> = serde_json::from_str(later.get()).map_err(|_| Inconvertible::Malformed)?;
                let items = self.open_list().ok_or(Inconvertible::Unfamiliar)?;
                later.into_iter().try_for_each(|item| merge_item(items, item, depth))
            }
            _ => {
                *self = Json::Raw(later);
                Ok(())
            }
        }
    }

    fn append(&mut self, piece: &str) -> Result<(), Inconvertible> {
        self.open_text().ok_or(Inconvertible::Unfamiliar)?.to_mut().push_str(piece);
        Ok(())
    }

    pub(super) fn open_text(&mut self) -> Option<&mut Cow<'a, str>> {
        if let Json::Raw(raw) = self {
            *self = Json::Text(text(raw)?);
        }
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn open_map(&mut self) -> Option<&mut Map<'a>> {
        if let Json::Raw(raw) = self {
            *self = Json::Map(Map::searched(&Fields::of(raw)?).ok()?);
        }
        if let Json::Map(map) = self { Some(map) } else { None }
    }

    pub(super) fn open_list(&mut self) -> Option<&mut Vec<Json<'a>>> {
        if let Json::Raw(raw) = self {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            *self = Json::List(items.into_iter().map(Json::Raw).collect());
        }
        if let Json::List(items) = self { Some(items) } else { None }
    }

    /// The position that an item of a list claims for itself.
    pub(super) fn index(&self) -> Option<u64> {
        match self {
            Json::Raw(item) => Fields::of(item)?.number("index"),
            Json::Map(map) => match map.get("index")? {
                Json::Raw(raw) => raw.get().parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Adds to the item with the same index, or a new one.
fn merge_item<'a>(items: &mut Vec<Json<'a>>, later: &'a RawValue, depth: usize) -> Result<(), Inconvertible> {
    let fields = Fields::of(later).unwrap_or_default();
    let index = fields.number("index");
    let is_too_long = index.is_some() && items.len() >= MOST_SEARCHED;
    let present = index.and_then(|index| items.iter_mut().find_map(|item| matching(item, index)));
    match present {
        Some(present) => present.merge_all(&fields, depth)?,
        None if is_too_long => return Err(Inconvertible::Unfamiliar),
        None => items.push(Json::Raw(later)),
    }
    Ok(())
}

fn matching<'i, 'a>(item: &'i mut Json<'a>, index: u64) -> Option<&'i mut Map<'a>> {
    if item.index() == Some(index) { item.open_map() } else { None }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Raw(raw) => raw.serialize(serializer),
            Json::Owned(raw) => raw.serialize(serializer),
            Json::Text(text) => text.serialize(serializer),
            Json::Number(number) => number.serialize(serializer),
            Json::Map(map) => map.serialize(serializer),
            Json::List(items) => items.serialize(serializer),
        }
    }
}

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

macro_rules! into_json {
    ($($from:ty => $variant:ident),*) => { $(
        impl<'a> From<$from> for Json<'a> {
            fn from(value: $from) -> Self {
                Json::$variant(value.into())
            }
        }
    )* };
}

into_json!(&'a RawValue => Raw, &'a str => Text, String => Text, Cow<'a, str> => Text, u64 => Number, Map<'a> => Map);

impl<'a> From<Vec<Json<'a>>> for Json<'a> {
    fn from(items: Vec<Json<'a>>) -> Self {
        Json::List(items)
    }
}

impl<'a> From<Vec<Map<'a>>> for Json<'a> {
    fn from(items: Vec<Map<'a>>) -> Self {
        Json::List(items.into_iter().map(Json::Map).collect())
    }
}

/// A text in fragments as a stream has them.
pub(super) fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = text.char_indices().nth(PIECE).map_or(text.len(), |(at, _)| at);
        let (piece, rest) = text.split_at(end);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
