//! The bytes of an answer as they come: only ever added to, read from any point, told as text where they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde::Serialize;

/// Bytes, in the pieces in which they came.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Each with the position of its end.
    pieces: Vec<(usize, Bytes)>,
}

/// Bytes for a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Text {
    /// As they are.
    Text(String),
    /// They are not UTF-8: in base64, with padding.
    Base64(String),
}

impl Output {
    pub(super) fn of(whole: Bytes) -> Self {
        let mut output = Self::default();
        output.push(whole);
        output
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |(end, _)| *end)
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push((self.len() + piece.len(), piece));
        }
    }

    /// At most `most` bytes from `start` on.
    pub(super) fn from(&self, start: usize, most: usize) -> Bytes {
        let first = self.pieces.partition_point(|(end, _)| *end <= start);
        let Some((end, piece)) = self.pieces.get(first) else { return Bytes::new() };
        let piece = piece.slice(piece.len() - (end - start)..);
        if piece.len() >= most || first + 1 == self.pieces.len() {
            return piece.slice(..piece.len().min(most));
        }
        let mut joined = BytesMut::from(&*piece);
        for (_, piece) in &self.pieces[first + 1..] {
            let room = most - joined.len();
            joined.extend_from_slice(&piece[..piece.len().min(room)]);
            if joined.len() == most {
                break;
            }
        }
        joined.freeze()
    }

    /// All bytes.
    pub(super) fn whole(&self) -> Bytes {
        self.from(0, usize::MAX)
    }
}

impl Text {
    /// As many of the bytes as can be told, and how many that are. `None` when the only ones there are may be the
    /// beginning of a character, of which more is to come.
    pub(super) fn of(bytes: &[u8], more_may_come: bool) -> Option<(Self, usize)> {
        let error = match std::str::from_utf8(bytes) {
            Ok("") => return None,
            Ok(text) => return Some((Self::Text(text.to_owned()), bytes.len())),
            Err(error) => error,
        };
        match (error.valid_up_to(), error.error_len()) {
            (0, None) if more_may_come => None,
            (0, _) => Some((Self::Base64(STANDARD.encode(bytes)), bytes.len())),
            (valid, _) => Some((Self::Text(String::from_utf8_lossy(&bytes[..valid]).into_owned()), valid)),
        }
    }

    /// All of the bytes as text, but for a character that is not complete yet; or in base64.
    pub(super) fn of_all(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(error) if error.error_len().is_none() => {
                Self::Text(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned())
            }
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_read_from_any_point_and_to_any_bound() {
        let mut output = Output::default();
        for piece in ["ab", "", "cde", "f"] {
            output.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((output.len(), output.whole()), (6, Bytes::from_static(b"abcdef")));
        for (start, most, expected) in [(0, 1, "a"), (1, 3, "bcd"), (2, 9, "cdef"), (4, 1, "e"), (6, 9, ""), (9, 9, "")]
        {
            assert_eq!(output.from(start, most), expected, "{start}, {most}");
        }
    }

    #[test]
    fn a_character_is_told_when_all_of_it_is_there() {
        let euro = "€".as_bytes();
        assert_eq!(Text::of(&[b"a", &euro[..2]].concat(), true), Some((Text::Text("a".into()), 1)));
        assert_eq!(Text::of(&euro[..2], true), None);
        assert_eq!(Text::of(euro, true), Some((Text::Text("€".into()), 3)));
        assert_eq!(Text::of(&euro[..2], false), Some((Text::Base64("4oI=".into()), 2)));
        assert_eq!(Text::of(b"\xff\0", true), Some((Text::Base64("/wA=".into()), 2)));
        assert_eq!(Text::of_all(&[b"a", &euro[..2]].concat()), Text::Text("a".into()));
        assert_eq!(Text::of_all(b"a\xffb"), Text::Base64("Yf9i".into()));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_what_is_told_adds_up(pieces in proptest::collection::vec("[aé€😀]{0,4}", 0..8), cut in 1..9_usize) {
            let mut output = Output::default();
            pieces.iter().for_each(|piece| output.push(Bytes::from(piece.clone())));
            let (mut at, mut told) = (0, String::new());
            let mut wanted = cut;
            while at < output.len() {
                let bytes = output.from(at, wanted);
                match Text::of(&bytes, at + bytes.len() < output.len()) {
                    Some((Text::Text(text), taken)) => { told += &text; at += taken; wanted = cut; }
                    Some((Text::Base64(_), _)) => prop_assert!(false, "all of it is text"),
                    None => wanted += 1,
                }
            }
            prop_assert_eq!(told, pieces.concat());
        }
    }
}
