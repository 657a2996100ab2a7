//! Short texts of configurations, clients and operators that stand for something: addresses, patterns, names, keys.

use http::{HeaderMap, Method};
use siding::backend::Address;
use siding::background::{Cursor, Endpoint as Webhook};
use siding::cache::Key;
use siding::calls::Limits;
use siding::provider::BaseUrl;
use siding::relay::Format;
use siding::route::Pattern;
use siding::secret::Secret;
use siding::trace::{self, Endpoint, Resource};

use crate::choice;

/// A letter for what it is, then the text. What is read is shown as something that reads the same.
pub fn address(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let readers: [fn(&str); 8] = [cursor, socket, base_url, collector, collector_headers, webhook, pattern, word];
    choice(*kind, &readers)(text);
}

fn cursor(text: &str) {
    let Ok(cursor) = text.parse::<Cursor>() else { return };
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    assert_eq!(cursor.is_at_end(), text.ends_with(".end"));
}

fn socket(text: &str) {
    let Ok(address) = text.parse::<Address>() else { return };
    assert_eq!(address.to_string().parse(), Ok(address.clone()));
    match address {
        Address::Unix(path) => assert!(path.is_absolute()),
        Address::Tcp(address) => assert!(address.rsplit_once(':').is_some_and(|(_, port)| port.parse() != Ok(0_u16))),
    }
}

/// A base URL on the first line, a path on the second. Nothing that is joined leads elsewhere.
fn base_url(text: &str) {
    let (base, path) = text.split_once('\n').unwrap_or((text, "/v1/x?y"));
    let Ok(base) = base.parse::<BaseUrl>() else { return };
    assert_eq!(base.as_str().parse(), Ok(base.clone()));
    assert!(base.as_str().starts_with(if base.is_tls() { "https://" } else { "http://" }));
    assert!(!base.origin().contains(char::is_whitespace), "origins are offered in a list with spaces");
    let Some(url) = base.join(path) else { return };
    assert!(url.as_str().starts_with(base.as_str().trim_end_matches('/')), "{url} is not below {}", base.as_str());
    assert!(!url.path().split('/').any(|segment| segment == ".."));
    assert!(url.username().is_empty() && url.password().is_none());
}

fn collector(text: &str) {
    let Ok(endpoint) = Endpoint::at(text, HeaderMap::new()) else { return };
    let url = endpoint.url();
    assert!(url.ends_with("/v1/traces") && url.starts_with("http"), "{url}");
    assert_eq!(Endpoint::exactly(&url, HeaderMap::new()), Ok(endpoint), "{url}");
}

fn collector_headers(text: &str) {
    let _ = Resource::new(None, text);
    let Ok(headers) = trace::headers(text) else { return };
    assert!(headers.values().all(http::HeaderValue::is_sensitive));
    assert!(headers.len() <= text.matches('=').count());
}

/// A URL on the first line, a secret on the second, which is never shown.
fn webhook(text: &str) {
    let (url, secret) = text.split_once('\n').unwrap_or((text, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"));
    let Ok(endpoint) = Webhook::new(url, &Secret::new(secret)) else { return };
    let encoded = secret.trim_start_matches("whsec_");
    // Parsers of URLs skip these, and an operator may write what happens to be the secret.
    let written = url.replace(['\t', '\r'], "");
    assert!(written.contains(encoded) || !format!("{endpoint:?}").contains(encoded));
}

/// A pattern for paths on the first line, which is also one for models, and a path on the second.
fn pattern(text: &str) {
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "/"));
    let _ = Limits::new(Some(&[pattern.to_owned()]), None);
    let Ok(read) = pattern.parse::<Pattern>() else { return };
    assert_eq!(read.as_str(), pattern);
    let is_literal = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    if is_literal(pattern) && is_literal(path) {
        let rule = siding::route::Config {
            path: read,
            methods: Vec::new(),
            class: siding::admission::Class::Batch,
            handoff: true,
            max_workers: None,
            cache: None,
            terminate: None,
            background: None,
        };
        let found = siding::route::Table::new(vec![rule], &[]).find(&Method::GET, path);
        assert_eq!(found.rule.is_some(), pattern == path, "{pattern} {path}");
    }
}

fn word(text: &str) {
    if let Ok(format) = text.parse::<Format>() {
        assert_eq!(format.as_str(), text);
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
}
