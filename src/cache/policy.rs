//! How long a result may serve, and for whom: what configuration says, overlaid by what a view, a request and the
//! response itself say.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};

use super::KeyBuilder;
use super::directives::{RequestDirectives, ResponseDirectives};
use crate::time::Duration;

/// Who may share a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everybody who sends the same request.
    #[default]
    All,
    /// Whoever sends the same credentials.
    Credentials,
    /// Whoever names the same scope.
    Named(String),
    /// Nobody, not even in flight.
    Nobody,
}

/// Headers by which clients are told apart.
pub const CREDENTIALS: [HeaderName; 5] = [
    AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Headers in which what stands in front says who the client is: proxies that log people in, load balancers that check
/// certificates. An app may believe them and nothing else, so clients that differ in one are not the same.
static IDENTITIES: [HeaderName; 16] = [
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
    HeaderName::from_static("remote-user"),
    HeaderName::from_static("x-remote-user"),
    HeaderName::from_static("x-forwarded-user"),
    HeaderName::from_static("x-forwarded-email"),
    HeaderName::from_static("x-forwarded-access-token"),
    HeaderName::from_static("x-auth-request-user"),
    HeaderName::from_static("x-auth-request-email"),
    HeaderName::from_static("x-amzn-oidc-identity"),
    HeaderName::from_static("x-goog-iap-jwt-assertion"),
    HeaderName::from_static("cf-access-jwt-assertion"),
    HeaderName::from_static("x-ms-client-principal"),
    HeaderName::from_static("tailscale-user-login"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-ssl-client-cert"),
];

/// What a request's headers say of who sends it.
fn identifying(headers: &HeaderMap) -> impl Iterator<Item = &'static HeaderName> {
    static OWN: [HeaderName; 5] = CREDENTIALS;
    OWN.iter().chain(&IDENTITIES).filter(|name| headers.contains_key(*name))
}

/// Whether anything in a request's headers tells its client from others.
pub fn is_anybody(headers: &HeaderMap) -> bool {
    identifying(headers).next().is_none()
}

/// Adds to a key what tells clients apart.
pub fn add_client(key: &mut KeyBuilder, headers: &HeaderMap) {
    for name in identifying(headers) {
        key.add_values(headers, name);
    }
}

/// How long what may be done with a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// It is fresh; zero: it is not stored.
    pub ttl: Duration,
    /// After that, it is served while one request fetches it anew.
    pub stale_while_revalidate: Duration,
    /// After that, it is served where fetching it anew failed.
    pub stale_if_error: Duration,
}

/// How answers of a route are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How long they may serve; a `ttl` of zero: in flight only.
    pub lifetimes: Lifetimes,
    /// Who shares them.
    pub scope: Scope,
    /// Names to purge them by, besides the route's path.
    pub tags: Vec<String>,
    /// Whether clients' `Cache-Control` is obeyed.
    pub client_directives: bool,
    /// The route's path pattern.
    pub origin: String,
}

/// What holds for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Who may share its result.
    pub scope: Scope,
    /// How long its result may serve.
    pub lifetimes: Lifetimes,
    /// Whether it wants nothing that has served longer than its own result might, whoever stored it.
    pub is_own_measure: bool,
    /// Names by which its result can be purged.
    pub tags: Vec<String>,
    /// Whether a stored result will do.
    pub lookup: bool,
    /// Whether its result may be stored.
    pub store: bool,
    /// What the request itself asks of a stored result.
    pub asked: RequestDirectives,
}

impl Policy {
    /// Results of these lifetimes, shared by `scope`.
    pub fn new(scope: Scope, lifetimes: Lifetimes) -> Self {
        Self {
            scope,
            lifetimes,
            is_own_measure: false,
            tags: Vec::new(),
            lookup: true,
            store: true,
            asked: RequestDirectives::default(),
        }
    }

    /// Whether to look for a stored result. What is shared in flight only has none.
    pub fn looks_up(&self) -> bool {
        self.lookup && !self.lifetimes.ttl.is_zero()
    }

    /// Whether a result may be stored at all.
    pub fn stores(&self) -> bool {
        self.store && !self.lifetimes.ttl.is_zero()
    }

    /// Obeys the request.
    pub fn obey(&mut self, asked: RequestDirectives) {
        self.lookup &= !asked.no_cache && !asked.no_store;
        self.store &= !asked.no_store;
        if asked.no_store {
            self.scope = Scope::Nobody;
        }
        self.asked = asked;
    }
}

impl Lifetimes {
    /// What a response makes of what was configured.
    pub fn obey(self, said: &ResponseDirectives) -> Self {
        let ttl = if said.no_store || said.no_cache { Duration::ZERO } else { said.fresh_for.unwrap_or(self.ttl) };
        if said.must_revalidate {
            return Self { ttl, ..Self::default() };
        }
        Self {
            ttl,
            stale_while_revalidate: said.stale_while_revalidate.unwrap_or(self.stale_while_revalidate),
            stale_if_error: said.stale_if_error.unwrap_or(self.stale_if_error),
        }
    }

    /// The shorter of each.
    pub fn min(self, other: Self) -> Self {
        Self {
            ttl: self.ttl.min(other.ttl),
            stale_while_revalidate: self.stale_while_revalidate.min(other.stale_while_revalidate),
            stale_if_error: self.stale_if_error.min(other.stale_if_error),
        }
    }

    /// As long as an entry is of any use.
    pub fn longest(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate.max(self.stale_if_error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn clients_are_told_apart_by_credentials_and_by_what_is_said_of_them_in_front() {
        let key = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let mut key = KeyBuilder::default();
            add_client(&mut key, &headers);
            (is_anybody(&headers), key.finish())
        };
        for name in ["authorization", "cookie", "x-api-key", "x-remote-user", "x-forwarded-client-cert"] {
            assert!(!key(name, "one").0, "{name}");
            assert_ne!(key(name, "one").1, key(name, "two").1, "{name}");
            assert_ne!(key(name, "one").1, key("x-goog-api-key", "one").1, "{name}");
        }
        assert!(key("accept-language", "de").0);
        assert_eq!(key("accept-language", "de").1, key("accept-language", "en").1);
    }

    #[test]
    fn a_response_can_shorten_lengthen_and_forbid() {
        let configured = Lifetimes { ttl: SECOND * 10, stale_while_revalidate: SECOND, stale_if_error: SECOND };
        let obeyed = |said| configured.obey(&said);
        assert_eq!(obeyed(ResponseDirectives::default()), configured);
        let fresh_for = Some(SECOND * 99);
        assert_eq!(obeyed(ResponseDirectives { fresh_for, ..Default::default() }).ttl, SECOND * 99);
        assert_eq!(obeyed(ResponseDirectives { no_store: true, fresh_for, ..Default::default() }).ttl, Duration::ZERO);
        let strict = obeyed(ResponseDirectives { must_revalidate: true, ..Default::default() });
        assert_eq!(strict.longest(), SECOND * 10);
    }

    #[test]
    fn a_request_that_must_not_be_stored_is_shared_with_nobody() {
        let mut policy = Policy::new(Scope::All, Lifetimes::default());
        policy.obey(RequestDirectives { no_store: true, ..Default::default() });
        assert_eq!((policy.scope, policy.lookup, policy.store), (Scope::Nobody, false, false));
    }
}
