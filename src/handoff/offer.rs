//! The offer: the headers by which Siding tells the app that it may suspend (protocol, section 1).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::signature::{Direction, Keys, Signed};

/// What does not change during an exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// 128 random bits in hexadecimal.
    pub id: String,
    /// When it began, in Unix milliseconds.
    pub now_ms: u64,
    /// When it ends whatever happens, in Unix milliseconds.
    pub deadline_ms: u64,
}

impl Exchange {
    /// A new exchange that may take `deadline_ms` milliseconds from `now_ms`.
    pub fn begin(now_ms: u64, deadline_ms: u64) -> Self {
        let id = RANDOM.with_borrow_mut(Random::take);
        Self { id: hex::encode(id), now_ms, deadline_ms: now_ms.saturating_add(deadline_ms) }
    }
}

/// Bytes of an exchange's identity.
const ID: usize = 16;
/// Identities whose random bytes are asked of the operating system at once: one system call each shows in profiles.
const IDS_AT_ONCE: usize = 64;

/// Random bytes that were not used yet.
#[derive(Default)]
struct Random {
    bytes: Vec<u8>,
}

thread_local! {
    static RANDOM: std::cell::RefCell<Random> = std::cell::RefCell::default();
}

impl Random {
    /// Each byte is given out once.
    fn take(&mut self) -> Vec<u8> {
        if self.bytes.len() < ID {
            self.bytes.resize(ID * IDS_AT_ONCE, 0);
            getrandom::fill(&mut self.bytes).expect("the operating system gives random bytes");
        }
        self.bytes.split_off(self.bytes.len() - ID)
    }
}

/// What is offered on every route with hand-off, and the keys to sign it with.
#[derive(Clone, Debug)]
pub struct Offer {
    accept: HeaderValue,
    keys: Keys,
}

impl Offer {
    /// An offer to make calls to `origins` (scheme, host and port).
    pub fn new(keys: Keys, origins: &[String], max_calls: usize, max_call_bytes: usize) -> Self {
        let accept = format!(
            "v=1; modes=\"replay relay\"; origins=\"{}\"; max-calls={max_calls}; max-call-bytes={max_call_bytes}",
            origins.join(" ")
        );
        let accept = HeaderValue::from_str(&accept).expect("origins come from parsed URLs, which are visible ASCII");
        Self { accept, keys }
    }

    /// The keys that verify the app's answers.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Adds the offer for one pass. `journal` precedes `body` in the content; `now` is in Unix seconds.
    pub fn add_to(&self, headers: &mut HeaderMap, exchange: &Exchange, pass: &Pass<'_>, now: u64) {
        let signed = Signed {
            direction: Direction::ProxyToApp,
            id: &exchange.id,
            pass: pass.number,
            method: pass.method,
            target: pass.target,
            content: &[pass.journal, pass.body],
        };
        headers.insert("siding-accept", self.accept.clone());
        insert(headers, "siding-id", &exchange.id);
        headers.insert("siding-pass", pass.number.into());
        headers.insert("siding-now-ms", exchange.now_ms.into());
        headers.insert("siding-deadline-ms", exchange.deadline_ms.into());
        insert(headers, "siding-target", pass.target);
        insert(headers, "siding-signature", &self.keys.sign(&signed, now));
        if !pass.journal.is_empty() {
            headers.insert("siding-journal-length", pass.journal.len().into());
        }
    }
}

/// One pass as the app will see it.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// 0 for the first.
    pub number: u32,
    /// The request method.
    pub method: &'a str,
    /// The request target as sent.
    pub target: &'a str,
    /// The framed journal; empty in pass 0.
    pub journal: &'a [u8],
    /// The original body.
    pub body: &'a [u8],
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_exchanges_have_the_same_identity() {
        let ids: std::collections::HashSet<_> = (0..3 * IDS_AT_ONCE).map(|_| Exchange::begin(0, 0).id).collect();
        assert_eq!(ids.len(), 3 * IDS_AT_ONCE);
        assert!(ids.iter().all(|id| id.len() == 2 * ID));
    }
}
