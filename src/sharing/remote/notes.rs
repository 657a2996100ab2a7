//! What a leader writes for those who follow: a head, pieces, an end. Each note is numbered by the bytes that were
//! published with it, so that none is written twice, and a reader knows what comes next.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::Head;
use crate::buffers::Lease;
use crate::cache::record::Headers;
use crate::redis::Unavailable;
use crate::usage::Paid;

const HEAD: &str = "h";
const PIECE: &str = "p";
const END: &str = "e";

/// One note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Bytes published with and before it.
    position: usize,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A [`HeadNote`] as JSON.
    Head(Bytes),
    Piece(Bytes),
    /// An [`EndNote`] as JSON.
    End(Bytes),
}

/// A head as data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeadNote {
    status: u16,
    headers: Headers,
    is_stream: bool,
    varies: Vec<String>,
    /// The key of the answer for these headers' values.
    variant: Option<String>,
}

/// How a flight ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum EndNote<E> {
    Complete {
        paid: Option<Paid>,
    },
    Failed(E),
    /// The answer is for the leader's client only.
    Private,
    /// Nobody wanted it where it was fetched.
    GivenUp,
}

impl Note {
    pub(super) fn head(head: &Head) -> Self {
        let note = HeadNote {
            status: head.status.as_u16(),
            headers: (&head.headers).into(),
            is_stream: head.is_stream,
            varies: head.varies.iter().map(|name| name.as_str().to_owned()).collect(),
            variant: head.variant.as_ref().map(|variant| variant.to_string()),
        };
        Self { position: 0, what: What::Head(json(&note)) }
    }

    pub(super) fn piece(position: usize, piece: Bytes) -> Self {
        Self { position, what: What::Piece(piece) }
    }

    pub(super) fn end<E: Serialize>(position: usize, end: &EndNote<E>) -> Self {
        Self { position, what: What::End(json(end)) }
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.what, What::End(_))
    }

    pub(super) fn what(self) -> What {
        self.what
    }

    /// Its number in the stream: 0-1 the head, LENGTH-0 a piece, LENGTH-2 the end.
    pub(super) fn identity(&self) -> String {
        let rank = match self.what {
            What::Head(_) => 1,
            What::Piece(_) => 0,
            What::End(_) => 2,
        };
        format!("{}-{rank}", self.position)
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.what {
            What::Head(_) => HEAD,
            What::Piece(_) => PIECE,
            What::End(_) => END,
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        match &self.what {
            What::Head(value) | What::Piece(value) | What::End(value) => value,
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers always serialise").into()
}

/// Entries of a stream as Redis gives them: identity, then fields and values in turn.
pub(super) type Entries = Vec<(String, Vec<Vec<u8>>)>;

pub(super) fn read_notes(entries: Entries) -> Result<Vec<Note>, Unavailable> {
    let note = |(identity, fields): (String, Vec<Vec<u8>>)| {
        let position = identity.split('-').next()?.parse().ok()?;
        let [k, kind, v, value] = <[Vec<u8>; 4]>::try_from(fields).ok()?;
        if (&k[..], &v[..]) != (b"k", b"v") {
            return None;
        }
        let value = Bytes::from(value);
        let what = match std::str::from_utf8(&kind).ok()? {
            HEAD => What::Head(value),
            PIECE => What::Piece(value),
            END => What::End(value),
            _ => return None,
        };
        Some(Note { position, what })
    };
    // What another version wrote is as good as nothing.
    entries.into_iter().map(|entry| note(entry).ok_or(Unavailable)).collect()
}

impl HeadNote {
    /// The head, whose bytes `lease` accounts for.
    pub(super) fn read(bytes: &[u8], lease: Lease) -> Option<Head> {
        let note: Self = serde_json::from_slice(bytes).ok()?;
        let varies: Option<Vec<HeaderName>> =
            note.varies.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        let mut head = Head::new(StatusCode::from_u16(note.status).ok()?, note.headers.read()?, Some(lease));
        head.is_stream = note.is_stream;
        head.varies = varies?.into();
        head.variant = note.variant.map(|variant| variant.parse().map(Arc::new)).transpose().ok()?;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_read_back_in_the_order_in_which_they_were_written() {
        let end = EndNote::<String>::Complete { paid: None };
        let notes = [Note::piece(5, Bytes::from_static(b"hello")), Note::end(5, &end)];
        let entry = |note: &Note| {
            let fields = [b"k".as_slice(), note.kind().as_bytes(), b"v", note.value()];
            (note.identity(), fields.map(<[u8]>::to_vec).to_vec())
        };
        assert_eq!(notes.each_ref().map(Note::identity), ["5-0", "5-2"]);
        assert_eq!(read_notes(notes.iter().map(entry).collect()), Ok(notes.to_vec()));
    }

    #[test]
    fn what_is_no_note_is_as_good_as_nothing() {
        for (identity, fields) in [
            ("x-0", vec![b"k".to_vec(), b"p".to_vec(), b"v".to_vec(), vec![]]),
            ("1-0", vec![b"k".to_vec(), b"z".to_vec(), b"v".to_vec(), vec![]]),
            ("1-0", vec![b"k".to_vec()]),
        ] {
            assert_eq!(read_notes(vec![(identity.to_owned(), fields)]), Err(Unavailable), "{identity}");
        }
    }
}
