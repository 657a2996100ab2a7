//! Whom to ask instead while a provider is out: another provider of the same dialect, another model, or both. The rest
//! of the request stays as it is, except for credentials, which never travel to somebody else.

use std::sync::Arc;

use http::HeaderName;
use http::header::COOKIE;

use super::dialect::ACCOUNT;
use super::upstream::Upstream;
use super::{Config, Request, headers, model};
use crate::telemetry::registry::IntCounter;

/// What else tells who somebody is with a provider.
const AFFILIATION: [HeaderName; 4] = [
    COOKIE,
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-goog-user-project"),
];

/// One link of the chain.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) upstream: Arc<Upstream>,
    pub(super) model: Option<String>,
    /// Calls that came here.
    pub(super) taken: IntCounter,
}

impl Link {
    /// The request as it goes here. `None` where it cannot: it names no model that could be replaced.
    pub(super) fn redirect(&self, request: &Request, primary: &Config) -> Option<Request> {
        let own = &self.upstream.config;
        let mut request = request.clone();
        request.url = own.base_url.join(primary.base_url.rest_of(&request.url)?)?;
        if let Some(model) = &self.model
            && !model::replace(own.dialect, &mut request, model)
        {
            return None;
        }
        let is_same_house = own.base_url.origin() == primary.base_url.origin();
        if !is_same_house {
            AFFILIATION.iter().for_each(|name| drop(request.headers.remove(name)));
        }
        // The app's own credentials go on only to where the app sent them.
        if !is_same_house || !own.keys.is_empty() || !primary.keys.is_empty() {
            ACCOUNT.iter().for_each(|name| drop(request.headers.remove(name)));
            headers::remove_key_parameter(&mut request.url);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::metrics::Metrics;
    use crate::provider::{ConcurrencyConfig, Dialect, Key, Retry, Timeouts};
    use crate::secret::Secret;
    use crate::telemetry::Registry;
    use crate::time::Duration;

    fn config(name: &str, base_url: &str) -> Config {
        let minute = Duration::from_secs(60);
        Config {
            name: name.to_owned(),
            dialect: Dialect::Openai,
            base_url: base_url.parse().unwrap(),
            keys: Vec::new(),
            timeouts: Timeouts { connect: minute, first_byte: minute, idle: minute, total: minute },
            retry: Retry { attempts: 1, budget: 0.0 },
            breaker: None,
            concurrency: ConcurrencyConfig { min: 1, max: 1000 },
            hedge: None,
            fallback: Vec::new(),
            stream_options: true,
            ca_pem: None,
        }
    }

    fn link(config: Config, model: Option<&str>) -> Link {
        let metrics = Arc::into_inner(Metrics::of_one_with_keys(&config.name, &["K"])).unwrap();
        let taken = Registry::new().unwrap().counter("taken", "Taken.");
        let upstream = Upstream::new(config, metrics, &crate::tls::Trust::nobody()).unwrap();
        Link { upstream: Arc::new(upstream), model: model.map(str::to_owned), taken }
    }

    fn request(url: &str) -> Request {
        let pairs = [
            ("authorization", "Bearer app"),
            ("openai-organization", "org"),
            ("cookie", "c"),
            ("x-api-key", "app"),
            ("x-other", "kept"),
        ];
        let pair = |(name, value)| (HeaderName::from_static(name), http::HeaderValue::from_static(value));
        Request {
            method: http::Method::POST,
            url: url.parse().unwrap(),
            headers: pairs.map(pair).into_iter().collect(),
            body: r#"{"model":"big"}"#.into(),
            patience: None,
        }
    }

    #[test]
    fn the_base_is_replaced_and_the_rest_of_path_and_query_kept() {
        let primary = config("a", "http://a.example/api");
        let link = link(config("b", "http://b.example:81/openai/"), Some("small"));
        let sent = link.redirect(&request("http://a.example/api/v1/chat/completions?key=app&x=1%202"), &primary);
        let sent = sent.unwrap();
        assert_eq!(sent.url.as_str(), "http://b.example:81/openai/v1/chat/completions?x=1+2");
        assert_eq!(sent.body, r#"{"model":"small"}"#);
    }

    #[test]
    fn credentials_do_not_travel_to_another_origin() {
        let primary = config("a", "http://a.example");
        let elsewhere = link(config("b", "http://b.example"), None);
        let sent = elsewhere.redirect(&request("http://a.example/v1/x"), &primary).unwrap();
        assert_eq!(sent.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
        let same = link(config("c", "http://a.example/other"), None);
        let sent = same.redirect(&request("http://a.example/v1/x"), &primary).unwrap();
        assert_eq!(sent.headers["authorization"], "Bearer app");
    }

    #[test]
    fn one_key_is_never_sent_in_place_of_another() {
        let key = || vec![Key { variable: "K".into(), secret: Secret::new("sk") }];
        let mut primary = config("a", "http://a.example");
        primary.keys = key();
        let keyless = link(config("b", "http://a.example/b"), None);
        let sent = keyless.redirect(&request("http://a.example/v1/x"), &primary).unwrap();
        assert!(!sent.headers.contains_key("authorization"), "it may be the key of the other");
        assert_eq!(sent.headers["openai-organization"], "org");
    }

    #[test]
    fn a_request_that_names_no_model_is_not_given_one() {
        let primary = config("a", "http://a.example");
        let link = link(primary.clone(), Some("small"));
        let mut asked = request("http://a.example/v1/x");
        asked.body = "{}".into();
        assert!(link.redirect(&asked, &primary).is_none());
    }
}
