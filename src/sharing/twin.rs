//! A second answer in place of the rest of a first, of which readers have read a part.

use bytes::{Buf, Bytes};

/// Finds, in a second answer to the same request, where the part of the first one ends that readers have.
pub trait Twin: Send {
    /// Takes bytes of the second answer, and returns those that come after what readers have.
    ///
    /// # Errors
    /// The second answer says something else.
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, Differs>;

    /// Whether the second answer has come to where the first one ended.
    fn is_past(&self) -> bool;
}

/// Two answers to the same request are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs;

/// Answers that are the same byte for byte.
#[derive(Debug)]
pub struct SameBytes(Bytes);

impl SameBytes {
    /// Readers have `delivered`.
    pub fn new(delivered: Bytes) -> Self {
        Self(delivered)
    }
}

impl Twin for SameBytes {
    fn push(&mut self, mut bytes: Bytes) -> Result<Bytes, Differs> {
        let common = self.0.len().min(bytes.len());
        if self.0[..common] != bytes[..common] {
            return Err(Differs);
        }
        self.0.advance(common);
        bytes.advance(common);
        Ok(bytes)
    }

    fn is_past(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_same_bytes_the_rest_is_left() {
        let mut twin = SameBytes::new(Bytes::from_static(b"hello "));
        let push = |twin: &mut SameBytes, bytes: &'static str| twin.push(Bytes::from_static(bytes.as_bytes()));
        assert_eq!(push(&mut twin, "hel"), Ok(Bytes::new()));
        assert_eq!(push(&mut twin, "lo wor"), Ok(Bytes::from_static(b"wor")));
        assert_eq!(push(&mut twin, "ld"), Ok(Bytes::from_static(b"ld")));
        assert_eq!(push(&mut SameBytes::new(Bytes::from_static(b"hello")), "help"), Err(Differs));
    }
}
