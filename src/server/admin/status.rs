//! The status page and what it reads. The page is one file without a foreign resource; only its own style and script
//! may act in it, named by their hashes, and no text can become markup in it.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use super::pages::{Answer, text};
use crate::status::Report;

const PAGE: &str = include_str!("status.html");

/// What is here, for those who do not look with a browser.
pub(super) const ENDPOINTS: &str = "\
/           the status page, in a browser
/-/status   the same as JSON
/-/drain    be unready from now on
/-/drained  be unready until the app was stopped and is back; wait until it may be stopped
/-/purge    POST: remove stored answers
/metrics    for Prometheus
/livez      whether this process runs
/readyz     whether it should be sent traffic
";

/// What the page may do: show itself, and ask this listener.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source("style"),
        source("script"),
    );
    HeaderValue::from_str(&policy).expect("hashes and directives are ASCII")
});

/// Changes with the page.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let tag = format!("\"{}\"", STANDARD.encode(&Sha256::digest(PAGE)[..12]));
    HeaderValue::from_str(&tag).expect("base64 is ASCII")
});

/// `/`: the page for browsers, a list of what is here for all others.
pub(super) fn front(headers: &HeaderMap) -> Answer {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_page = accepted.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with("text/html"));
    let mut answer = match wants_page {
        true => page(headers),
        false => text(StatusCode::OK, ENDPOINTS),
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer
}

/// `/-/status`.
pub(super) fn json(report: &Report) -> Answer {
    match serde_json::to_vec(report) {
        Ok(body) => answer(body, "application/json", "no-store"),
        Err(error) => {
            tracing::error!(%error, "cannot write the status");
            text(StatusCode::INTERNAL_SERVER_ERROR, "cannot write the status\n")
        }
    }
}

fn page(headers: &HeaderMap) -> Answer {
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|tag| tag == *TAG);
    let mut answer = answer(PAGE, "text/html; charset=utf-8", "no-cache");
    if is_known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Full::default();
    }
    let headers = answer.headers_mut();
    headers.insert(ETAG, TAG.clone());
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

fn answer(body: impl Into<bytes::Bytes>, kind: &'static str, caching: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The hash of the page's only element of this name, as a source in its policy.
fn source(element: &str) -> String {
    let (_, rest) = PAGE.split_once(&format!("<{element}>")).unwrap_or_default();
    let (content, _) = rest.split_once(&format!("</{element}>")).unwrap_or_default();
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn browsers_get_the_page_and_others_the_list_of_what_is_here() {
        let kind = |headers: &HeaderMap| front(headers).headers()[CONTENT_TYPE].clone();
        assert_eq!(kind(&asking(&[(ACCEPT, "text/html,application/xhtml+xml;q=0.9")])), "text/html; charset=utf-8");
        assert_eq!(kind(&asking(&[(ACCEPT, "*/*")])), "text/plain; charset=utf-8");
        assert_eq!(kind(&HeaderMap::new()), "text/plain; charset=utf-8");
    }

    #[test]
    fn a_browser_that_has_the_page_does_not_get_it_again() {
        let first = front(&asking(&[(ACCEPT, "text/html")]));
        let tag = first.headers()[ETAG].to_str().unwrap();
        let again = front(&asking(&[(ACCEPT, "text/html"), (IF_NONE_MATCH, tag)]));
        assert_eq!((first.status(), again.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
    }

    #[test]
    fn the_page_has_one_style_one_script_and_nothing_that_its_policy_forbids() {
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1, "{element} without attributes");
        }
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" onclick=") && !PAGE.contains("innerHTML"));
        assert!(!PAGE.replace("http://www.w3.org/2000/svg", "").contains("http"), "no foreign resource");
        let policy = POLICY.to_str().unwrap();
        let empty = STANDARD.encode(Sha256::digest(""));
        assert!(policy.starts_with("default-src 'none'") && !policy.contains(&empty), "{policy}");
    }
}
