//! Whose a job is: who sends the credentials of the request that made it. What is kept of them is a hash.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::cache::{CREDENTIALS, Key, KeyBuilder};

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Whether credentials count. Otherwise whoever knows a job's identity owns it.
    pub by_credentials: bool,
    /// Cookies that are credentials. Others come and go while a user stays the same.
    pub cookies: Vec<String>,
}

/// The owner of one job.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Owner {
    kind: Kind,
    /// Of the credentials, salted with the job's identity.
    #[serde(with = "hexadecimal")]
    hash: Key,
}

/// Which of a request's credentials count. Those in headers go before cookies, which browsers send unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// `Authorization` and the headers for API keys.
    Headers,
    /// Session cookies.
    Cookies,
    /// None: the job's identity is the only secret.
    Nothing,
}

/// A hash as other processes read it.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::cache::Key;

    pub(super) fn serialize<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Ownership {
    /// The owner of the job that a request makes.
    pub fn owner(&self, id: &str, headers: &HeaderMap) -> Owner {
        let kind = match self.by_credentials {
            true if credential_headers().any(|name| headers.contains_key(name)) => Kind::Headers,
            true if self.session(headers).next().is_some() => Kind::Cookies,
            _ => Kind::Nothing,
        };
        Owner { kind, hash: self.hash(kind, id, headers) }
    }

    /// Whether a request is its owner's. Compares in constant time.
    pub fn is(&self, owner: &Owner, id: &str, headers: &HeaderMap) -> bool {
        let given = self.hash(owner.kind, id, headers);
        owner.hash.as_bytes().ct_eq(given.as_bytes()).into()
    }

    fn hash(&self, kind: Kind, id: &str, headers: &HeaderMap) -> Key {
        let mut hash = KeyBuilder::default();
        hash.add(b"job").add(id.as_bytes());
        match kind {
            Kind::Headers => credential_headers().for_each(|name| {
                hash.add_values(headers, &name);
            }),
            Kind::Cookies => self.session(headers).for_each(|(name, value)| {
                hash.add(name.as_bytes()).add(value.as_bytes());
            }),
            Kind::Nothing => {}
        }
        hash.finish()
    }

    /// The cookies that count, in the order of the configuration.
    fn session<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.cookies.iter().flat_map(move |wanted| cookies(headers).filter(move |(name, _)| name == wanted))
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(COOKIE).iter().map(HeaderValue::to_str).filter_map(Result::ok);
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn credential_headers() -> impl Iterator<Item = HeaderName> {
    CREDENTIALS.into_iter().filter(|name| *name != COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership() -> Ownership {
        Ownership { by_credentials: true, cookies: vec!["sessionid".into()] }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// Whether who sends `later` owns what who sent `made` has made.
    fn owns(made: &[(&'static str, &'static str)], later: &[(&'static str, &'static str)]) -> bool {
        let owner = ownership().owner("id", &headers(made));
        ownership().is(&owner, "id", &headers(later))
    }

    #[test]
    fn the_same_authorization_owns_whatever_the_cookies_do() {
        let made = [("authorization", "Bearer a"), ("cookie", "csrftoken=1; sessionid=s")];
        assert!(owns(&made, &[("authorization", "Bearer a"), ("cookie", "csrftoken=2")]));
        assert!(!owns(&made, &[("authorization", "Bearer b"), ("cookie", "csrftoken=1; sessionid=s")]));
        assert!(!owns(&made, &[("cookie", "csrftoken=1; sessionid=s")]));
        assert!(!owns(&made, &[]));
        assert!(!owns(&[("x-api-key", "a")], &[("authorization", "a")]));
    }

    #[test]
    fn of_cookies_only_the_session_counts() {
        let made = [("cookie", "csrftoken=1; sessionid=s; theme=dark")];
        assert!(owns(&made, &[("cookie", "sessionid=s; csrftoken=2")]));
        assert!(owns(&made, &[("cookie", "theme=light"), ("cookie", "sessionid=s")]), "split, as HTTP/2 may");
        assert!(!owns(&made, &[("cookie", "sessionid=t")]));
        assert!(!owns(&made, &[("cookie", "xsessionid=s")]));
        assert!(!owns(&made, &[("cookie", "sessionid=s; sessionid=t")]));
    }

    #[test]
    fn without_credentials_the_identity_is_the_secret() {
        assert!(owns(&[("cookie", "csrftoken=1")], &[]));
        assert!(owns(&[], &[("authorization", "Bearer a")]));
        let anybody = Ownership { by_credentials: false, cookies: vec![] };
        let owner = anybody.owner("id", &headers(&[("authorization", "Bearer a")]));
        assert!(anybody.is(&owner, "id", &headers(&[("authorization", "Bearer b")])));
        assert!(!anybody.is(&owner, "other", &headers(&[])));
    }
}
