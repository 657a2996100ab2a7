//! Which headers pass between client and app. A client can never speak to the app in Siding's name, nor
//! smuggle a header past it in WSGI's spelling.

use http::header::{COOKIE, EXPECT, HOST, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Uri};
use pingora::protocols::http::ServerSession;

use crate::exchange::{INTERNAL, REQUEST_START};
use crate::hop_by_hop;

/// In which browsers say whether a page of another site makes them ask.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Changes to a header section: first remove, then set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) remove: Vec<HeaderName>,
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    /// Carries them out on a plain header map.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        for name in self.remove {
            headers.remove(name);
        }
        for (name, value) in self.set {
            headers.insert(name, value);
        }
    }
}

/// What a client's request must lose and gain on its way to the app, on either path. Removed are `Siding-*`
/// and every name with an underscore, which WSGI cannot tell from one with a hyphen.
pub(super) fn request(headers: &HeaderMap, uri: &Uri, client: Option<&str>, is_tls: bool) -> Changes {
    let forged = |name: &HeaderName| name.as_str().starts_with(INTERNAL) || name.as_str().contains('_');
    let mut changes = Changes { remove: headers.keys().filter(|name| forged(name)).cloned().collect(), set: vec![] };
    changes.remove.push(REQUEST_START);
    if let (false, Some(authority)) = (headers.contains_key(HOST), uri.authority()) {
        changes.set.extend(HeaderValue::from_str(authority.as_str()).map(|host| (HOST, host)));
    }
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        // HTTP/2 clients may split it; towards HTTP/1.1 it is one again (RFC 9113, section 8.2.3).
        let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        changes.set.extend(HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map(|cookie| (COOKIE, cookie)));
    }
    if let Some(client) = client {
        let chain = headers.get_all(&X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).chain([client]);
        let chain = chain.collect::<Vec<_>>().join(", ");
        changes.set.extend(HeaderValue::from_str(&chain).map(|chain| (X_FORWARDED_FOR, chain)));
    }
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        changes.set.push((X_FORWARDED_PROTO, HeaderValue::from_static(if is_tls { "https" } else { "http" })));
    }
    changes
}

/// What a buffered request must lose besides: whatever concerns one connection only, and `Expect`, which was
/// met by reading the body.
pub(super) fn remove_connection_headers(headers: &mut HeaderMap) {
    hop_by_hop::remove(headers);
    headers.remove(EXPECT);
}

/// Whether a response header is between Siding and the app.
pub(super) fn is_internal(name: &HeaderName) -> bool {
    name.as_str().starts_with(INTERNAL)
}

/// Whether a web page of another site makes a browser ask: it reaches what the browser's user reaches, loopback included.
/// Programs send neither header, and Siding's own page only reads.
pub fn is_of_a_foreign_page(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none" && site != b"same-origin")
}

/// The client's address, for `X-Forwarded-For`; none over a Unix socket.
pub(super) fn client_address(session: &ServerSession) -> Option<String> {
    let address = session.client_addr()?.as_inet()?;
    Some(address.ip().to_canonical().to_string())
}

/// Whether the client's connection is encrypted.
pub(super) fn is_tls(session: &ServerSession) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_a_client_says_in_sidings_name_never_arrives() {
        let mut map = headers(&[
            ("siding-id", "x"),
            ("siding_id", "x"),
            ("siding-anything", "x"),
            ("x_forwarded_for", "x"),
            ("x-request-start", "t=0"),
            ("accept", "*/*"),
            ("host", "a"),
        ]);
        request(&map, &Uri::from_static("/"), None, false).apply(&mut map);
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "host", "x-forwarded-proto"]);
    }

    #[test]
    fn a_page_of_another_site_is_known_and_programs_are_not_taken_for_one() {
        for (pair, is_foreign) in [
            (("origin", "https://evil.example"), true),
            (("origin", "null"), true),
            (("sec-fetch-site", "cross-site"), true),
            (("sec-fetch-site", "same-site"), true),
            (("sec-fetch-site", "same-origin"), false),
            (("sec-fetch-site", "none"), false),
            (("sec-fetch-mode", "cors"), false), // Node.js says so
        ] {
            assert_eq!(is_of_a_foreign_page(&headers(&[pair])), is_foreign, "{pair:?}");
        }
    }

    #[test]
    fn a_split_cookie_is_one_again() {
        let mut map = HeaderMap::new();
        map.append("cookie", HeaderValue::from_static("a=1"));
        map.append("cookie", HeaderValue::from_static("sessionid=x"));
        request(&map, &Uri::from_static("/"), None, false).apply(&mut map);
        assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; sessionid=x"]);
    }

    #[test]
    fn the_chain_of_addresses_grows_and_a_known_scheme_stays() {
        let mut map = headers(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https")]);
        request(&map, &Uri::from_static("https://h.example/"), Some("10.0.0.2"), false).apply(&mut map);
        assert_eq!(map["x-forwarded-for"], "10.0.0.1, 10.0.0.2");
        assert_eq!(map["x-forwarded-proto"], "https");
        assert_eq!(map["host"], "h.example");
    }
}
