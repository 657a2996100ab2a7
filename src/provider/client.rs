//! Calls to providers, from the URL to an answer as it comes: resolve, prepare, ask, ask somebody else.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::concurrency::Permit;
use super::dialect::Dialect;
use super::fallback::Link;
use super::metrics::{Families, InFlight};
use super::transport::{Body, Received};
use super::upstream::{Begun, Call, Upstream};
use super::{Config, Failure, Fallback, Request, directory, headers};
use crate::telemetry::Registry;
use crate::time::{Duration, Instant, timeout_at};
use crate::tls::{BadTrust, Trust};
use crate::trace::Span;

/// One vendor, ready to be called. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    upstream: Arc<Upstream>,
    fallbacks: Vec<Link>,
}

/// All configured providers.
#[derive(Clone, Debug, Default)]
pub struct Providers(Arc<[Provider]>);

/// The beginning of an answer.
#[derive(Debug)]
pub struct Opened {
    /// The status.
    pub status: StatusCode,
    /// End-to-end headers.
    pub headers: HeaderMap,
    /// The body as it comes.
    pub body: OpenedBody,
    /// Who answered instead of the provider, or with another model.
    pub fallback: Option<Fallback>,
}

/// The body of an answer, within the provider's time-outs. The call ends with it.
#[derive(Debug)]
pub struct OpenedBody {
    upstream: Arc<Upstream>,
    body: Body,
    /// The longest silence.
    idle: Duration,
    /// When the call has taken too long.
    deadline: Instant,
    status: StatusCode,
    under_way: Option<UnderWay>,
}

/// What a call holds until its end.
#[derive(Debug)]
struct UnderWay {
    in_flight: InFlight,
    _permit: Permit,
}

/// An answer, and who gave it.
struct Answered<'a> {
    begun: Begun,
    upstream: &'a Arc<Upstream>,
    fallback: Option<Fallback>,
}

impl Providers {
    /// Clients without connections.
    ///
    /// # Errors
    /// Fails when a provider is called over TLS and there is nothing to trust.
    pub fn new(configs: Vec<Config>, registry: &Registry) -> Result<Self, BadTrust> {
        Self::default().renewed(configs, registry)
    }

    /// These providers from now on. Of one whose configuration is the same, all that was learnt stays, and its connections.
    ///
    /// # Errors
    /// As for new ones.
    pub fn renewed(&self, configs: Vec<Config>, registry: &Registry) -> Result<Self, BadTrust> {
        let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
        let families = Families::new(registry, &names);
        let uses_tls = configs.iter().any(|config| config.base_url.is_tls());
        let trust = if uses_tls { Trust::system() } else { Trust::nobody() };
        let upstream = |config: Config| {
            let known = self.0.iter().map(|provider| &provider.0.upstream).find(|known| known.config == config);
            if let Some(known) = known {
                return Ok(Arc::clone(known));
            }
            let keys: Vec<&str> = config.keys.iter().map(|key| key.variable.as_str()).collect();
            let metrics = families.of(&config.name, &keys);
            Upstream::new(config, metrics, &trust).map(Arc::new)
        };
        let upstreams = configs.into_iter().map(upstream).collect::<Result<Vec<_>, _>>()?;
        let provider = |upstream: &Arc<Upstream>| {
            let fallbacks = links(upstream, &upstreams, &families);
            Provider(Arc::new(Inner { upstream: Arc::clone(upstream), fallbacks }))
        };
        Ok(Self(upstreams.iter().map(provider).collect()))
    }

    /// The origins that calls may go to, each once.
    pub fn origins(&self) -> Vec<String> {
        let mut origins: Vec<String> = self.0.iter().map(|provider| provider.config().base_url.origin()).collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// The provider that a URL belongs to.
    pub fn resolve(&self, url: &Url) -> Option<&Provider> {
        let bases = self.0.iter().map(|provider| (&provider.config().base_url, provider.dialect()));
        directory::resolve(bases, url).map(|position| &self.0[position])
    }

    /// The provider of this name.
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.name() == name)
    }
}

/// Fallbacks are vendors, not providers: theirs are not gone through in turn.
fn links(primary: &Upstream, all: &[Arc<Upstream>], families: &Families) -> Vec<Link> {
    let link = |fallback: &Fallback| {
        let upstream = all.iter().find(|upstream| upstream.config.name == fallback.provider)?;
        let taken = families.fallback(&primary.config.name, &fallback.to_string());
        Some(Link { upstream: Arc::clone(upstream), model: fallback.model.clone(), taken })
    };
    primary.config.fallback.iter().filter_map(link).collect()
}

impl Provider {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.config().name
    }

    /// The shape of its API.
    pub fn dialect(&self) -> Dialect {
        self.config().dialect
    }

    /// Whether it is called with a key of its own, whoever asks.
    pub fn has_key(&self) -> bool {
        !self.config().keys.is_empty()
    }

    /// Whether streams can be asked for their usage.
    pub fn knows_stream_options(&self) -> bool {
        self.config().stream_options
    }

    /// The URL of a path below its base URL. `None` when that is not a URL, or leads elsewhere.
    pub fn url(&self, path_and_query: &str) -> Option<Url> {
        self.config().base_url.join(path_and_query)
    }

    /// The prefix of its URLs.
    pub fn base_url(&self) -> &str {
        self.config().base_url.as_str()
    }

    fn config(&self) -> &Config {
        &self.0.upstream.config
    }

    /// Makes a call and waits for the head of its answer: with retries, with further tries for as long as `more` grants
    /// them, and with fallbacks while there is no answer. Nobody else is asked once an answer has begun. `span` is told of
    /// what happens on the way.
    ///
    /// # Errors
    /// See [`Failure`].
    ///
    /// # Cancel safety
    /// Dropping the future, or the answer's body, cancels the call.
    pub async fn open(&self, mut request: Request, more: impl Fn() -> bool, span: &Span) -> Result<Opened, Failure> {
        let Inner { upstream, fallbacks } = &*self.0;
        let in_flight = upstream.metrics.begin();
        let deadline = Instant::now() + upstream.config.timeouts.total;
        prepare(&mut request, &upstream.config);
        let has_fallback = !fallbacks.is_empty();
        let mut call = Call { request: &mut request, deadline, has_fallback, span };
        let tried = upstream.call(&mut call, || !has_fallback && more()).await;
        let answered = if has_fallback && upstream.is_out(&tried) {
            // Boxed, or every call would be as large as one with fallbacks.
            Box::pin(self.fall_back(tried, &call, more)).await
        } else {
            tried.map(|begun| Answered { begun, upstream, fallback: None })
        };
        match answered {
            Ok(answered) => Ok(answered.opened(&request, deadline, in_flight)),
            Err(failure) => {
                in_flight.failed(&failure);
                Err(failure)
            }
        }
    }

    /// Asks one after the other until one answers. The last gets the tries that `more` grants, and has the last word.
    async fn fall_back(
        &self,
        tried: Result<Begun, Failure>,
        call: &Call<'_>,
        more: impl Fn() -> bool,
    ) -> Result<Answered<'_>, Failure> {
        let Inner { upstream, fallbacks } = &*self.0;
        let mut last = tried.map(|begun| Answered { begun, upstream, fallback: None });
        for (position, link) in fallbacks.iter().enumerate() {
            let Some(mut request) = link.redirect(call.request, &upstream.config) else { continue };
            let (from, to) = (self.name(), &link.upstream.config.name);
            tracing::debug!(from, to, model = link.model, "a call goes to a fallback");
            link.taken.inc();
            call.span.event("fallback", || {
                let model = link.model.clone().map(|model| ("gen_ai.request.model", model.into()));
                [("siding.provider", to.clone().into())].into_iter().chain(model).collect()
            });
            drop(last); // gives its place back before another is taken
            let has_fallback = position + 1 < fallbacks.len();
            let mut redirected = Call { request: &mut request, deadline: call.deadline, has_fallback, span: call.span };
            let tried = link.upstream.call(&mut redirected, || !has_fallback && more()).await;
            let is_out = link.upstream.is_out(&tried);
            let fallback = Fallback { provider: to.clone(), model: link.model.clone() };
            last = tried.map(|begun| Answered { begun, upstream: &link.upstream, fallback: Some(fallback) });
            if !is_out {
                break;
            }
        }
        last
    }
}

impl Answered<'_> {
    fn opened(self, request: &Request, deadline: Instant, in_flight: InFlight) -> Opened {
        let Self { begun: Begun { received, permit }, upstream, fallback } = self;
        let Received { status, mut headers, body } = received;
        headers::towards_app(&mut headers, status.is_client_error() || status.is_server_error());
        let idle = upstream.config.timeouts.idle.min(request.patience.unwrap_or(Duration::MAX));
        let under_way = Some(UnderWay { in_flight, _permit: permit });
        let body = OpenedBody { upstream: Arc::clone(upstream), body, idle, deadline, status, under_way };
        Opened { status, headers, body, fallback }
    }
}

impl OpenedBody {
    /// The next piece; `None` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let host = || self.upstream.host();
        let silent = Instant::now().checked_add(self.idle).unwrap_or(self.deadline);
        let failure = match timeout_at(silent.min(self.deadline), self.body.next()).await {
            Ok(Some(Ok(piece))) => return Some(Ok(piece)),
            Ok(Some(Err(cause))) => Failure::Interrupted { host: host(), cause },
            Err(_) if self.deadline <= Instant::now() => Failure::TotalTimeout(host()),
            Err(_) => Failure::IdleTimeout(host()),
            Ok(None) => {
                if let Some(UnderWay { in_flight, .. }) = self.under_way.take() {
                    in_flight.answered(self.status);
                }
                return None;
            }
        };
        if matches!(failure, Failure::Interrupted { .. } | Failure::IdleTimeout(_)) && self.under_way.is_some() {
            self.upstream.breaker.failed_late();
        }
        self.failed(&failure);
        Some(Err(failure))
    }

    /// The call ended with a failure that its reader found.
    pub fn failed(&mut self, failure: &Failure) {
        if let Some(UnderWay { in_flight, .. }) = self.under_way.take() {
            in_flight.failed(failure);
        }
    }
}

fn prepare(request: &mut Request, config: &Config) {
    headers::towards_provider(&mut request.headers);
    if !config.keys.is_empty() {
        headers::remove_key_parameter(&mut request.url);
    }
    request.url.set_fragment(None);
}
