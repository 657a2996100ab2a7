//! The collector: where it is, what it is sent besides spans, and what spans say of this process. As far as OpenTelemetry
//! has environment variables for it, in their syntax.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

/// Where a collector takes traces, below its address.
const PATH: &str = "/v1/traces";
/// What the process is called where nobody says.
const SERVICE: &str = "siding";
/// The attribute that is its name.
const SERVICE_NAME: &str = "service.name";

/// A collector that speaks OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Uri,
    /// Sent with each batch. Their values are never printed.
    pub(super) headers: HeaderMap,
}

/// What spans say of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Names and values, `service.name` among them.
    pub(super) attributes: Vec<(String, String)>,
}

/// What cannot be used. No message holds a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// It is no URL of a collector.
    #[error("write an absolute http or https URL without query or credentials, such as http://127.0.0.1:4318")]
    Url,
    /// They are no headers.
    #[error("must be name=value pairs with commas between them, values percent-encoded")]
    Headers,
}

impl Endpoint {
    /// The collector at an address, to which the path of traces is added.
    ///
    /// # Errors
    /// [`BadEndpoint::Url`].
    pub fn at(address: &str, headers: HeaderMap) -> Result<Self, BadEndpoint> {
        let mut url = parse(address)?;
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        Self::new(&url, headers)
    }

    /// The collector that takes traces at this very URL.
    ///
    /// # Errors
    /// [`BadEndpoint::Url`].
    pub fn exactly(url: &str, headers: HeaderMap) -> Result<Self, BadEndpoint> {
        Self::new(&parse(url)?, headers)
    }

    fn new(url: &Url, headers: HeaderMap) -> Result<Self, BadEndpoint> {
        Ok(Self { url: url.as_str().parse().map_err(|_| BadEndpoint::Url)?, headers })
    }

    /// Where batches go, as text.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Where batches go.
    pub(super) fn uri(&self) -> &Uri {
        &self.url
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }
}

fn parse(text: &str) -> Result<Url, BadEndpoint> {
    let url = Url::parse(text).map_err(|_| BadEndpoint::Url)?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let is_plain = url.query().is_none() && url.fragment().is_none() && !has_credentials;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_http && is_plain { Ok(url) } else { Err(BadEndpoint::Url) }
}

/// Reads headers as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,other=value`.
///
/// # Errors
/// [`BadEndpoint::Headers`].
pub fn headers(text: &str) -> Result<HeaderMap, BadEndpoint> {
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    let pairs = pairs(text).ok_or(BadEndpoint::Headers)?;
    pairs.into_iter().map(|pair| header(pair).ok_or(BadEndpoint::Headers)).collect()
}

impl Resource {
    /// With the name that is given, or that `attributes` (in the syntax of `OTEL_RESOURCE_ATTRIBUTES`) hold. Attributes
    /// that cannot be read are left out, all of them, as the specification wants it.
    pub fn new(name: Option<&str>, attributes: &str) -> Self {
        let mut attributes = pairs(attributes).unwrap_or_default();
        let own = attributes.iter().position(|(key, _)| key == SERVICE_NAME).map(|at| attributes.remove(at).1);
        let name = name.map(str::to_owned).or(own).unwrap_or_else(|| SERVICE.to_owned());
        attributes.retain(|(key, _)| key != "service.version");
        attributes.insert(0, (SERVICE_NAME.to_owned(), name));
        attributes.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        Self { attributes }
    }
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(pair).collect()
}

fn pair(entry: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    let name = decoded(name).filter(|name| !name.is_empty())?;
    Some((name, decoded(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str) -> Result<String, BadEndpoint> {
        Endpoint::at(address, HeaderMap::new()).map(|endpoint| endpoint.url())
    }

    #[test]
    fn traces_go_below_the_address_of_the_collector() {
        assert_eq!(url("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(url("https://otel.example/in/").as_deref(), Ok("https://otel.example/in/v1/traces"));
        for bad in ["127.0.0.1:4318", "grpc://a:4317", "http://u:p@a", "http://a?b=c", "http://", "http://a#b"] {
            assert_eq!(url(bad), Err(BadEndpoint::Url), "{bad}");
        }
    }

    #[test]
    fn headers_are_read_as_the_environment_has_them_and_never_printed() {
        let read = headers("Authorization=Bearer%20abc, x-tenant = a%2Cb").unwrap();
        assert_eq!(
            (&read["authorization"], &read["x-tenant"]),
            (&"Bearer abc".parse().unwrap(), &"a,b".parse().unwrap())
        );
        assert!(!format!("{read:?}").contains("abc"));
        assert_eq!(headers("").unwrap().len(), 0);
        for bad in ["a", "=b", "a b=c", "a=%0A"] {
            assert_eq!(headers(bad), Err(BadEndpoint::Headers), "{bad}");
        }
    }

    #[test]
    fn the_process_has_one_name() {
        let name = |given, attributes| Resource::new(given, attributes).attributes[0].1.clone();
        assert_eq!(name(None, ""), "siding");
        assert_eq!(name(None, "service.name=shop,service.version=9"), "shop");
        assert_eq!(name(Some("chat"), "service.name=shop"), "chat");
        let all = Resource::new(Some("chat"), "service.name=shop,k8s.pod.name=a%20b").attributes;
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all.contains(&("k8s.pod.name".to_owned(), "a b".to_owned())));
        assert_eq!(Resource::new(None, "nonsense,a=b").attributes.len(), 2);
    }
}
