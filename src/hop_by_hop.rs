//! Headers that concern one connection only and must not be passed on (RFC 9110, section 7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const ALWAYS: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Never taken off by a nomination: who is asked, how long the body is, and who asks.
const END_TO_END: [HeaderName; 5] = [
    HOST,
    CONTENT_LENGTH,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// The names that `headers` must lose: the known ones and those that `Connection` nominates.
pub fn names(headers: &HeaderMap) -> Vec<HeaderName> {
    let nominated = connection_options(headers).filter_map(|option| option.parse().ok());
    nominated.filter(|name| !END_TO_END.contains(name)).chain(ALWAYS).collect()
}

/// Removes them.
pub fn remove(headers: &mut HeaderMap) {
    for name in names(headers) {
        headers.remove(name);
    }
}

/// What `Connection` says, option by option.
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).iter().map(HeaderValue::to_str).filter_map(Result::ok);
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_connection_nominates_stay_on_the_connection() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", HeaderValue::from_static("close, X-Private, X-Forwarded-For, Host"));
        headers.insert("host", HeaderValue::from_static("a"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("x-public", HeaderValue::from_static("1"));
        remove(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-public"]);
    }
}
