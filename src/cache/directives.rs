//! `Cache-Control` of requests and responses (RFC 9111, section 5.2; RFC 5861). Directives that are not known, and
//! values that cannot be read, are as if they were not there.

use http::{HeaderMap, header};

use crate::time::Duration;

/// What a request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Do not answer from what is stored.
    pub no_cache: bool,
    /// Do not store, and do not share.
    pub no_store: bool,
    /// Answer from what is stored, or not at all.
    pub only_if_cached: bool,
    /// The oldest answer that will do.
    pub max_age: Option<Duration>,
    /// How stale an answer may be; `Some(MAX)` where no bound is given.
    pub max_stale: Option<Duration>,
    /// How long an answer must stay fresh.
    pub min_fresh: Option<Duration>,
}

/// What a response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// Must not be stored.
    pub no_store: bool,
    /// Must not be used again without asking.
    pub no_cache: bool,
    /// Is for one user.
    pub private: bool,
    /// Must not be served stale.
    pub must_revalidate: bool,
    /// How long it is fresh: `s-maxage`, or else `max-age`.
    pub fresh_for: Option<Duration>,
    /// How long after that it may be served while it is fetched anew.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after that it may be served in place of an error.
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads `Cache-Control`, and `Pragma: no-cache` where that is missing.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for (name, value) in directives(headers) {
            match name.as_str() {
                "no-cache" => said.no_cache = true,
                "no-store" => said.no_store = true,
                "only-if-cached" => said.only_if_cached = true,
                "max-age" => said.max_age = seconds(&value),
                "min-fresh" => said.min_fresh = seconds(&value),
                "max-stale" => said.max_stale = if value.is_empty() { Some(Duration::MAX) } else { seconds(&value) },
                _ => {}
            }
        }
        let pragma =
            headers.get(header::PRAGMA).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no-cache"));
        said.no_cache |= pragma && !headers.contains_key(header::CACHE_CONTROL);
        said
    }
}

impl ResponseDirectives {
    /// Reads `Cache-Control`.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut said, mut shared) = (Self::default(), None);
        for (name, value) in directives(headers) {
            match name.as_str() {
                "no-store" => said.no_store = true,
                // A list of fields would allow the rest; nobody keeps track of that, so neither is kept.
                "no-cache" => said.no_cache = true,
                "private" => said.private = true,
                "must-revalidate" | "proxy-revalidate" => said.must_revalidate = true,
                "max-age" => said.fresh_for = seconds(&value).or(said.fresh_for),
                "s-maxage" => shared = seconds(&value),
                "stale-while-revalidate" => said.stale_while_revalidate = seconds(&value),
                "stale-if-error" => said.stale_if_error = seconds(&value),
                _ => {}
            }
        }
        said.fresh_for = shared.or(said.fresh_for);
        said
    }
}

/// What a number too large to count with stands for: "very long" (RFC 9111, section 1.2.2).
const VERY_LONG: u64 = u32::MAX as u64;

fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(VERY_LONG).min(VERY_LONG)))
}

/// Names in lower case and values without quotes; empty where there is none.
fn directives(headers: &HeaderMap) -> Vec<(String, String)> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(split).collect()
}

fn split(text: &str) -> Vec<(String, String)> {
    let mut is_quoted = false;
    let parts = text.split(|letter| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    });
    let named = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    named.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(text))])
    }

    #[test]
    fn a_request_is_read_whatever_its_spelling() {
        let said = RequestDirectives::of(&headers("No-Cache, max-age=\"5\" ,max-stale, unknown=\"a, b\", min-fresh=2"));
        assert_eq!(
            said,
            RequestDirectives {
                no_cache: true,
                max_age: Some(Duration::from_secs(5)),
                max_stale: Some(Duration::MAX),
                min_fresh: Some(Duration::from_secs(2)),
                ..Default::default()
            }
        );
        let pragma = HeaderMap::from_iter([(header::PRAGMA, HeaderValue::from_static("no-cache"))]);
        assert!(RequestDirectives::of(&pragma).no_cache);
    }

    #[test]
    fn the_age_for_shared_caches_goes_before_the_one_for_all() {
        let said = ResponseDirectives::of(&headers("s-maxage=10, max-age=5, stale-if-error=60, private"));
        assert_eq!(said.fresh_for, Some(Duration::from_secs(10)));
        assert_eq!(said.stale_if_error, Some(Duration::from_secs(60)));
        assert!(said.private && !said.no_store);
    }

    #[test]
    fn an_age_beyond_every_clock_can_be_counted_with() {
        let said = ResponseDirectives::of(&headers("max-age=18446744073709551615"));
        let lifetimes = crate::cache::Lifetimes::default().obey(&said);
        assert_eq!(lifetimes.with_jitter(0.0).ttl, Duration::from_secs(VERY_LONG));
    }

    #[test]
    fn values_that_cannot_be_read_are_not_there() {
        let said = ResponseDirectives::of(&headers("max-age=soon, s-maxage=-1, max-age=7, =, ,"));
        assert_eq!(said.fresh_for, Some(Duration::from_secs(7)));
        assert!(seconds("99999999999999999999").is_some_and(|long| long > Duration::from_secs(3_000_000_000)));
    }
}
