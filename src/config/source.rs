//! What reading a configuration needs besides the reader.

use std::collections::BTreeMap;

/// Where a configuration comes from, with everything that reading it needs.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The file's path, or the words for it in messages.
    pub origin: &'a str,
    /// Its text.
    pub text: &'a str,
    /// `--backend`, which overrides `backend.address`.
    pub backend: Option<&'a str>,
    /// `--no-handoff`, which overrides `handoff.enabled`.
    pub no_handoff: bool,
    /// Environment variables, by name.
    pub environment: &'a BTreeMap<String, String>,
}

/// Where keys are in the text: key path to line.
pub(super) type Lines = BTreeMap<String, usize>;
