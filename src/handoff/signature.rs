//! HMAC-SHA256 signatures in both directions (protocol, section 4).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// How far a signature's time may be from ours, in seconds.
const WINDOW_SECONDS: u64 = 60;
/// The shortest secret accepted, in bytes.
const LEAST_SECRET_BYTES: usize = 16;

/// Who signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Siding, for the app.
    ProxyToApp,
    /// The app, for Siding.
    AppToProxy,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::ProxyToApp => "p2a",
            Direction::AppToProxy => "a2p",
        }
    }
}

/// What a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Who signs.
    pub direction: Direction,
    /// The exchange.
    pub id: &'a str,
    /// The pass.
    pub pass: u32,
    /// The request method.
    pub method: &'a str,
    /// The request target as sent.
    pub target: &'a str,
    /// The content, in pieces that are hashed one after the other.
    pub content: &'a [&'a [u8]],
}

/// A secret that is too short to protect anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret is {0} bytes long, at least {LEAST_SECRET_BYTES} are needed; make one with: openssl rand -hex 32")]
pub struct BadSecret(usize);

/// The keys that both sides know: the first signs, all verify.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Secret>);

impl Keys {
    /// The current key and, during a rotation, the previous one.
    ///
    /// # Errors
    /// Fails when one is too short.
    pub fn new(current: Secret, previous: Option<Secret>) -> Result<Self, BadSecret> {
        let keys: Vec<Secret> = std::iter::once(current).chain(previous).collect();
        match keys.iter().map(|key| key.expose().len()).find(|&length| length < LEAST_SECRET_BYTES) {
            Some(length) => Err(BadSecret(length)),
            None => Ok(Self(keys)),
        }
    }

    /// The value of `Siding-Signature` at time `now` (Unix seconds).
    pub fn sign(&self, signed: &Signed<'_>, now: u64) -> String {
        format!("t={now},v1={}", hex::encode(mac(&self.0[0], &message(signed, now))))
    }

    /// Whether a header value signs this, at most 60 s from `now`. Compares in constant time.
    pub fn verify(&self, signed: &Signed<'_>, header: &str, now: u64) -> bool {
        let mut parts = header.split(',').map(str::trim);
        let Some(time) = parts.next().and_then(|part| part.strip_prefix("t=")?.parse::<u64>().ok()) else {
            return false;
        };
        if time.abs_diff(now) > WINDOW_SECONDS {
            return false;
        }
        let message = message(signed, time);
        let expected: Vec<String> = self.0.iter().map(|key| hex::encode(mac(key, &message))).collect();
        parts
            .filter_map(|part| part.strip_prefix("v1="))
            .any(|given| expected.iter().any(|expected| bool::from(expected.as_bytes().ct_eq(given.as_bytes()))))
    }
}

fn message(signed: &Signed<'_>, time: u64) -> String {
    let mut hash = Sha256::new();
    for piece in signed.content {
        hash.update(piece);
    }
    let Signed { direction, id, pass, method, target, .. } = signed;
    format!("v1\n{}\n{id}\n{pass}\n{time}\n{method}\n{target}\n{}", direction.as_str(), hex::encode(hash.finalize()))
}

fn mac(key: &Secret, message: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn keys(current: &str, previous: Option<&str>) -> Keys {
        Keys::new(Secret::new(current), previous.map(Secret::new)).unwrap()
    }

    fn signed<'a>(content: &'a [&'a [u8]]) -> Signed<'a> {
        let direction = Direction::ProxyToApp;
        Signed { direction, id: "ab", pass: 1, method: "POST", target: "/a?b=%20c", content }
    }

    #[test]
    fn a_signature_is_the_one_the_protocol_page_describes() {
        // python3 -c 'import hmac,hashlib;print(hmac.new(b"0123456789abcdef", ("v1\np2a\nab\n1\n1790000000\nPOST\n
        // /a?b=%20c\n"+hashlib.sha256(b"journalbody").hexdigest()).encode(), "sha256").hexdigest())'
        let header = keys("0123456789abcdef", None).sign(&signed(&[b"journal", b"body"]), NOW);
        assert_eq!(header, "t=1790000000,v1=8732b3755c72cef34d929a1cb16622cccc6a8c69d37fb00e85a313bd20832e80");
    }

    #[test]
    fn anything_that_changes_breaks_the_signature() {
        let keys = keys("0123456789abcdef", None);
        let content: &[&[u8]] = &[b"body"];
        let original = signed(content);
        let header = keys.sign(&original, NOW);
        assert!(keys.verify(&original, &header, NOW));
        assert!(keys.verify(&signed(&[b"bo", b"dy"]), &header, NOW), "the split into pieces does not matter");
        for changed in [
            Signed { id: "ac", ..original },
            Signed { pass: 2, ..original },
            Signed { method: "GET", ..original },
            Signed { target: "/a?b= c", ..original },
            Signed { direction: Direction::AppToProxy, ..original },
            Signed { content: &[b"bodY"], ..original },
        ] {
            assert!(!keys.verify(&changed, &header, NOW), "{changed:?}");
        }
        assert!(keys.verify(&original, &header, NOW + 60));
        assert!(!keys.verify(&original, &header, NOW + 61));
        assert!(!keys.verify(&original, &header.replace("t=1790000000", "t=1790000001"), NOW));
        for malformed in ["", "t=", "v1=00", "t=x,v1=00", "t=1790000000", "t=1790000000,v1="] {
            assert!(!keys.verify(&original, malformed, NOW), "{malformed}");
        }
    }

    #[test]
    fn during_a_rotation_both_keys_verify_and_the_new_one_signs() {
        let (old, new) = (keys("old-old-old-old-old", None), keys("new-new-new-new-new", Some("old-old-old-old-old")));
        let original = signed(&[]);
        assert!(new.verify(&original, &old.sign(&original, NOW), NOW));
        assert!(!old.verify(&original, &new.sign(&original, NOW), NOW));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(Keys::new(Secret::new("short"), None).unwrap_err(), BadSecret(5));
    }
}
