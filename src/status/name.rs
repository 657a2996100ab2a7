//! How a request is named: without its query, and without owning more than a few bytes.

use std::sync::Arc;

/// Bytes of a path that are kept.
const LONGEST_PATH: usize = 80;

/// The name of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The pattern of its route.
    Route(Arc<str>),
    /// Its path, cut where it is long.
    Path(Path),
    /// It has none that may be shown.
    Hidden,
}

/// A path, cut where it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: Text<LONGEST_PATH>,
    is_cut: bool,
}

impl Name {
    /// Of a path, of which a query is no part.
    pub(super) fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Self::Path(Path { text: Text::of(path), is_cut: path.len() > LONGEST_PATH })
    }

    /// The route's pattern.
    pub(super) fn route(&self) -> Option<String> {
        if let Self::Route(pattern) = self { Some((**pattern).to_owned()) } else { None }
    }

    /// The path, with an ellipsis where it was cut.
    pub(super) fn path(&self) -> Option<String> {
        let Self::Path(Path { text, is_cut }) = self else { return None };
        Some(format!("{}{}", text.as_str(), if *is_cut { "\u{2026}" } else { "" }))
    }
}

/// A short text in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Text<N> {
    /// As much of a text as fits, in whole characters.
    pub(super) fn of(text: &str) -> Self {
        let length = text.floor_char_boundary(N.min(usize::from(u8::MAX)));
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { bytes, length: length as u8 }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_without_its_query_and_cut_between_characters() {
        assert_eq!(Name::of_path("/a/b?token=secret").path().as_deref(), Some("/a/b"));
        assert_eq!(Name::of_path("/a#secret").path().as_deref(), Some("/a"));
        let long = Name::of_path(&format!("/{}", "é".repeat(100))).path().unwrap();
        assert_eq!(long, format!("/{}…", "é".repeat(39)));
        assert!(Name::Hidden.path().is_none() && Name::Hidden.route().is_none());
    }
}
