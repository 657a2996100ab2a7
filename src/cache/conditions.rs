//! Conditional requests (RFC 9110, section 13): whether a client has a stored answer already.

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

/// Whether a request's conditions say that the client has the answer with these headers.
pub fn is_unchanged(request: &HeaderMap, answer: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let Some(etag) = answer.get(ETAG).and_then(text) else { return false };
        let named = request.get_all(IF_NONE_MATCH).iter().filter_map(text).flat_map(|list| list.split(','));
        return named.map(str::trim).any(|named| named == "*" || opaque(named) == opaque(etag));
    }
    let date =
        |headers: &HeaderMap, name| headers.get(name).and_then(text).and_then(|t| httpdate::parse_http_date(t).ok());
    match (date(answer, LAST_MODIFIED), date(request, IF_MODIFIED_SINCE)) {
        (Some(modified), Some(since)) => modified <= since,
        _ => false,
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// Weak comparison: what is behind `W/`.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_client_that_names_the_entity_has_it() {
        let answer = headers(ETAG, "W/\"a\"");
        for (named, has_it) in [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false), ("", false)] {
            assert_eq!(is_unchanged(&headers(IF_NONE_MATCH, named), &answer), has_it, "{named}");
        }
        assert!(!is_unchanged(&headers(IF_NONE_MATCH, "*"), &HeaderMap::new()));
    }

    #[test]
    fn without_a_tag_the_date_counts() {
        let answer = headers(LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT");
        let since = |date| is_unchanged(&headers(IF_MODIFIED_SINCE, date), &answer);
        assert!(since("Sun, 06 Nov 1994 08:49:37 GMT") && since("Mon, 07 Nov 1994 08:49:37 GMT"));
        assert!(!since("Sat, 05 Nov 1994 08:49:37 GMT") && !since("yesterday"));
    }
}
