//! Humane units: `"25s"`, `"8MiB"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// A duration such as `"250ms"`, `"25s"` or `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub std::time::Duration);

/// A number of bytes such as `"64KiB"` or `"8MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

/// A table, or `false` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch<T>(pub Option<T>);

/// A value that its own parser reads from a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T>(pub T);

/// A number of workers, or `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// So many.
    Are(usize),
    /// As many as are seen.
    Auto,
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrAuto)
    }
}

impl Workers {
    /// How many there are until more is known.
    pub fn at_first(self) -> usize {
        match self {
            Self::Are(number) => number,
            Self::Auto => 1,
        }
    }
}

struct NumberOrAuto;

impl Visitor<'_> for NumberOrAuto {
    type Value = Workers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of workers, or \"auto\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Workers, E> {
        usize::try_from(number).map(Workers::Are).map_err(|_| E::custom("must be at least 1"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Workers, E> {
        match text {
            "auto" => Ok(Workers::Auto),
            _ => Err(E::custom("write a number of workers, or \"auto\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a duration in quotes, such as \"250ms\", \"25s\" or \"10m\"")?;
        let duration = humantime::parse_duration(&text);
        duration.map(Self).map_err(|error| D::Error::custom(format!("{error}; write a duration such as \"25s\"")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a size in quotes, such as \"64KiB\" or \"8MiB\"")?;
        let size: bytesize::ByteSize =
            text.parse().map_err(|error| D::Error::custom(format!("{error}; write a size such as \"8MiB\"")))?;
        usize::try_from(size.as_u64()).map(Self).map_err(|_| D::Error::custom("larger than this machine can address"))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "text in quotes")?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrFalse(PhantomData)).map(Self)
    }
}

struct TableOrFalse<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableOrFalse<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table in braces, or false")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Option<T>, E> {
        if is_on {
            Err(E::custom("write a table in braces; without the key it is on with its defaults"))
        } else {
            Ok(None)
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Option<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D, expected: &'static str) -> Result<String, D::Error> {
    deserializer.deserialize_str(Text(expected))
}

struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}
