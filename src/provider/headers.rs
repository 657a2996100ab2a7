//! What travels between an app's SDK and a provider besides bodies.

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};
use url::Url;

use super::dialect::KEY_PARAMETER;
use crate::hop_by_hop;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Prepares a request's headers: framing is the client's, and results are recorded uncompressed, so that one
/// recording can serve every reader.
pub(super) fn towards_provider(headers: &mut HeaderMap) {
    hop_by_hop::remove(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Prepares a response's headers for the journal. An error that is handed to the app was retried here already,
/// and its SDK must not put a worker to sleep over it: the vendors' SDKs obey `x-should-retry`.
pub(super) fn towards_app(headers: &mut HeaderMap, is_error: bool) {
    hop_by_hop::remove(headers);
    headers.remove(CONTENT_LENGTH);
    if is_error {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

/// Takes a key out of a query.
pub(super) fn remove_key_parameter(url: &mut Url) {
    if !url.query_pairs().any(|(name, _)| name == KEY_PARAMETER) {
        return;
    }
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| name != KEY_PARAMETER).map(|(n, v)| (n.into(), v.into())).collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
}
