//! 256-bit keys over length-prefixed parts, so that no two lists of parts are the same bytes, and nobody finds two
//! requests with one key.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};

/// The identity of a result.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// A key in the making.
#[derive(Clone, Debug, Default)]
pub struct KeyBuilder(blake3::Hasher);

impl Key {
    /// The key of these parts in this order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut builder = KeyBuilder::default();
        for part in parts {
            builder.add(part);
        }
        builder.finish()
    }

    /// Its bytes.
    pub fn as_array(&self) -> &[u8; 32] {
        &self.0
    }

    /// As a part of another key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl KeyBuilder {
    /// Adds a part.
    pub fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds the values of a header, each of them and how many.
    pub fn add_values(&mut self, headers: &HeaderMap, name: &HeaderName) -> &mut Self {
        let values = headers.get_all(name);
        self.add(name.as_str().as_bytes()).add(&(values.iter().count() as u64).to_le_bytes());
        for value in values {
            self.add(value.as_bytes());
        }
        self
    }

    /// The key of what was added.
    pub fn finish(&self) -> Key {
        Key(*self.0.finalize().as_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits")]
pub struct BadKey;

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadKey)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_between_parts_counts() {
        let key = |parts: &[&str]| Key::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["ab", ""]), key(&["a", "b"]));
    }

    #[test]
    fn a_key_reads_back_as_it_is_shown() {
        let key = Key::of([b"a".as_slice()]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("ab".parse::<Key>(), Err(BadKey));
    }
}
