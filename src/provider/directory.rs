//! Which provider a URL belongs to: the one whose base URL is its longest prefix, segment by segment; nothing
//! else is ever called.

use std::str::FromStr;

use url::{Position, Url};

use super::Dialect;

/// The prefix of a provider's URLs: scheme, host, port and path, without query, fragment or credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// A base URL that cannot be a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write an absolute http or https URL without query, fragment or credentials, such as https://api.openai.com/v1"
)]
pub struct BadBaseUrl;

impl FromStr for BaseUrl {
    type Err = BadBaseUrl;

    fn from_str(text: &str) -> Result<Self, BadBaseUrl> {
        let url = Url::parse(text).map_err(|_| BadBaseUrl)?;
        let plain = url.query().is_none() && url.fragment().is_none() && !has_credentials(&url);
        if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
            Ok(Self(url))
        } else {
            Err(BadBaseUrl)
        }
    }
}

impl BaseUrl {
    /// As it was written, normalised.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port, without default ports.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The host, for messages.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host(), self.0.port_or_known_default().unwrap_or_default())
    }

    /// Whether calls travel over TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL of a path below this one. `None` when that is not a URL, or leads elsewhere.
    pub fn join(&self, path_and_query: &str) -> Option<Url> {
        let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(p, q)| (p, Some(q)));
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url.set_query(query);
        resolve([(self, Dialect::Openai)].into_iter(), &url).map(|_| url)
    }

    /// Path and query of a URL below this one.
    pub(super) fn rest_of<'a>(&self, url: &'a Url) -> Option<&'a str> {
        let prefix = self.0.path().trim_end_matches('/');
        self.is_prefix_of(url).then(|| &url[Position::BeforePath..Position::AfterQuery][prefix.len()..])
    }

    fn is_prefix_of(&self, url: &Url) -> bool {
        let prefix = self.0.path().trim_end_matches('/');
        self.0.origin() == url.origin()
            && url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn length(&self) -> usize {
        self.0.path().trim_end_matches('/').len()
    }
}

/// Finds the position of the provider that a URL belongs to. URL parsing has resolved `..` segments; a
/// percent-encoded slash or dot in a path is refused, since a provider might decode it later.
pub(super) fn resolve<'a>(providers: impl Iterator<Item = (&'a BaseUrl, Dialect)>, url: &Url) -> Option<usize> {
    let path = url.path().to_ascii_lowercase();
    if has_credentials(url) || path.contains("%2f") || path.contains("%2e") || path.contains("%5c") {
        return None;
    }
    providers
        .enumerate()
        .filter(|(_, (base, _))| base.is_prefix_of(url))
        .max_by_key(|(position, (base, dialect))| {
            (base.length(), dialect.knows(url.path()), std::cmp::Reverse(*position))
        })
        .map(|(position, _)| position)
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(url: &str) -> Option<usize> {
        let bases = [
            ("https://api.example/v1", Dialect::Openai),
            ("https://api.example/v1/special", Dialect::Openai),
            ("http://127.0.0.1:9000", Dialect::Openai),
            ("http://127.0.0.1:9000", Dialect::Anthropic),
            ("http://127.0.0.1:9000/", Dialect::Gemini),
        ];
        let bases: Vec<(BaseUrl, Dialect)> = bases.into_iter().map(|(base, d)| (base.parse().unwrap(), d)).collect();
        resolve(bases.iter().map(|(base, dialect)| (base, *dialect)), &Url::parse(url).unwrap())
    }

    #[test]
    fn the_longest_prefix_wins_and_among_equals_the_dialect_that_knows_the_path() {
        assert_eq!(find("https://api.example/v1/chat/completions"), Some(0));
        assert_eq!(find("https://api.example:443/v1/special/chat/completions"), Some(1));
        assert_eq!(find("http://127.0.0.1:9000/v1/chat/completions"), Some(2));
        assert_eq!(find("http://127.0.0.1:9000/v1/messages"), Some(3));
        assert_eq!(find("http://127.0.0.1:9000/v1beta/models/m:generateContent"), Some(4));
    }

    #[test]
    fn nothing_outside_every_prefix_is_found() {
        for url in [
            "https://api.example/v2/chat/completions",
            "https://api.example/v1x/chat/completions",
            "https://api.example/v1/../admin",
            "https://api.example/v1/%2e%2e/admin",
            "https://api.example/v1/..%2fadmin",
            "http://api.example/v1/chat/completions",
            "https://api.example:444/v1/chat/completions",
            "https://api.example.evil/v1/chat/completions",
            "https://api.example@evil.example/v1/chat/completions",
            "https://user:pw@api.example/v1/chat/completions",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
        ] {
            assert_eq!(find(url), None, "{url}");
        }
    }

    #[test]
    fn a_base_url_must_be_a_plain_prefix() {
        for bad in ["api.openai.com", "ftp://a/", "https://u:p@a/", "https://a/?q", "https://a/#f", "/v1"] {
            assert_eq!(bad.parse::<BaseUrl>(), Err(BadBaseUrl), "{bad}");
        }
        assert_eq!("https://a:443/v1".parse::<BaseUrl>().unwrap().origin(), "https://a");
    }
}
