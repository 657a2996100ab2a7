//! Which headers travel between an app's SDK and a provider.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};

const PROXY_AUTHENTICATE: HeaderName = http::header::PROXY_AUTHENTICATE;
const PROXY_AUTHORIZATION: HeaderName = http::header::PROXY_AUTHORIZATION;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Prepares a request's headers: framing is the client's, and results are recorded uncompressed, so that one
/// recording can serve every reader.
pub(super) fn towards_provider(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Prepares a response's headers for the journal. An error that is handed to the app was retried here already,
/// and its SDK must not put a worker to sleep over it: the vendors' SDKs obey `x-should-retry`.
pub(super) fn towards_app(headers: &mut HeaderMap, is_error: bool) {
    remove_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    if is_error {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
