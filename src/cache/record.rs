//! Entries as data, for a store that outlives this process and that others read and write too.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::policy::Lifetimes;
use super::{Entry, Key, Stored};
use crate::sealed;
use crate::time::{Duration, Instant, unix_millis};
use crate::usage::{Paid, Receipt};

/// What was read.
#[derive(Clone, Debug)]
pub struct Record {
    said: Said,
    body: Bytes,
}

/// Not a record of this version under this key, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Said {
    /// The last purge that was known when the work began.
    since: String,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    Varies(Vec<String>),
    Entry {
        status: u16,
        headers: Headers,
        is_stream: bool,
        /// When it was complete, in Unix milliseconds.
        stored: u64,
        /// In milliseconds: fresh, stale while revalidating, stale if error.
        lifetimes: [u64; 3],
        tags: Vec<String>,
        origin: String,
        meaning: String,
        paid: Option<Paid>,
    },
}

/// Header fields as data. Values are bytes, each a character here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers(Vec<(String, String)>);

impl From<&HeaderMap> for Headers {
    fn from(headers: &HeaderMap) -> Self {
        let value = |value: &HeaderValue| value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        Self(headers.iter().map(|(name, read)| (name.as_str().to_owned(), value(read))).collect())
    }
}

impl Headers {
    /// The fields; `None` where one is none.
    pub fn read(&self) -> Option<HeaderMap> {
        let field = |(name, value): &(String, String)| {
            let value: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(c).ok()).collect();
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value?).ok()?))
        };
        self.0.iter().map(field).collect()
    }
}

/// What is stored under `key`, as bytes. `since` is the last purge that was known when the work began.
pub fn write(key: &Key, stored: &Stored, since: &str) -> Bytes {
    let (what, body) = match stored {
        Stored::Varies(names) => {
            (What::Varies(names.iter().map(|name| name.as_str().to_owned()).collect()), Bytes::new())
        }
        Stored::Entry(entry) => (describe(entry), entry.body.clone()),
    };
    sealed::seal(key.as_array(), &Said { since: since.to_owned(), what }, &body)
}

fn describe(entry: &Entry) -> What {
    let age = Instant::now().saturating_duration_since(entry.stored);
    let Lifetimes { ttl, stale_while_revalidate, stale_if_error } = entry.lifetimes;
    What::Entry {
        status: entry.status.as_u16(),
        headers: (&entry.headers).into(),
        is_stream: entry.is_stream,
        stored: unix_millis().saturating_sub(millis(age)),
        lifetimes: [ttl, stale_while_revalidate, stale_if_error].map(millis),
        tags: entry.tags.clone(),
        origin: entry.origin.clone(),
        meaning: entry.meaning.to_string(),
        paid: entry.receipt.as_ref().map(|receipt| receipt.paid().clone()),
    }
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

impl Record {
    /// Reads what was written under `key`.
    ///
    /// # Errors
    /// See [`BadRecord`].
    pub fn read(key: &Key, bytes: &Bytes) -> Result<Self, BadRecord> {
        let (said, body) = sealed::open(key.as_array(), bytes).ok_or(BadRecord)?;
        Ok(Self { said, body })
    }

    /// The last purge that was known when the work began.
    pub fn since(&self) -> &str {
        &self.said.since
    }

    /// What it cost.
    pub fn paid(&self) -> Option<&Paid> {
        match &self.said.what {
            What::Entry { paid, .. } => paid.as_ref(),
            What::Varies(_) => None,
        }
    }

    /// What was stored, as of now: its age is what this machine's clock says. `receipt` is that of [`Record::paid`].
    ///
    /// # Errors
    /// Fails where it holds what is none: a header without a name, say.
    pub fn stored(self, receipt: Option<Receipt>) -> Result<Stored, BadRecord> {
        let now = Instant::now();
        match self.said.what {
            What::Varies(names) => {
                let name = |name: String| HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadRecord);
                Ok(Stored::Varies(names.into_iter().map(name).collect::<Result<_, _>>()?))
            }
            What::Entry { status, headers, is_stream, stored, lifetimes, tags, origin, meaning, .. } => {
                let age = Duration::from_millis(unix_millis().saturating_sub(stored));
                let [ttl, stale_while_revalidate, stale_if_error] = lifetimes.map(Duration::from_millis);
                Ok(Stored::Entry(std::sync::Arc::new(Entry {
                    status: StatusCode::from_u16(status).map_err(|_| BadRecord)?,
                    headers: headers.read().ok_or(BadRecord)?,
                    body: self.body,
                    is_stream,
                    // A machine that has not run for so long began when the entry was complete.
                    stored: now.checked_sub(age).unwrap_or(now),
                    lifetimes: Lifetimes { ttl, stale_while_revalidate, stale_if_error },
                    tags,
                    origin,
                    meaning: meaning.parse().map_err(|_| BadRecord)?,
                    receipt,
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;
    use std::sync::Arc;

    fn key(name: &str) -> Key {
        Key::of([name.as_bytes()])
    }

    #[tokio::test]
    async fn an_entry_reads_back_as_it_was_written() {
        let mut written = entry(b"body", &["a", "b"]);
        let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        written.headers.append("x-name", latin.clone());
        written.headers.append("x-name", HeaderValue::from_static("second"));
        written.is_stream = true;
        let bytes = write(&key("k"), &Stored::Entry(Arc::new(written.clone())), "5-1");
        let record = Record::read(&key("k"), &bytes).unwrap();
        assert_eq!((record.since(), record.paid()), ("5-1", None));
        let read = record.stored(None).unwrap().entry().unwrap();
        assert_eq!((read.status, &read.headers, &read.body), (written.status, &written.headers, &written.body));
        assert_eq!((read.is_stream, read.lifetimes, &read.tags), (true, written.lifetimes, &written.tags));
        assert_eq!((&read.origin, read.meaning), (&written.origin, written.meaning));
        assert!(read.age(Instant::now()) < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn names_on_which_answers_depend_read_back() {
        let names: Arc<[HeaderName]> = Arc::new([http::header::ACCEPT]);
        let bytes = write(&key("k"), &Stored::Varies(Arc::clone(&names)), "0-0");
        let read = Record::read(&key("k"), &bytes).unwrap().stored(None).unwrap();
        assert!(matches!(read, Stored::Varies(read) if read == names));
    }

    #[tokio::test]
    async fn a_record_under_another_key_is_none() {
        let bytes = write(&key("k"), &Stored::Entry(Arc::new(entry(b"body", &[]))), "0-0");
        assert_eq!(Record::read(&key("other"), &bytes).err(), Some(BadRecord));
    }
}
