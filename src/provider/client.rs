//! Calls to providers, from the URL to an answer as it comes: resolve, prepare, try, try again.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::attempt::{self, Attempt};
use super::dialect::{Dialect, KEY_PARAMETER};
use super::metrics::{Families, InFlight, Metrics};
use super::retry::{self, Budget};
use super::transport::{Body, Received, Transport};
use super::{Config, Failure, Request, directory, headers};
use crate::telemetry::Registry;
use crate::time::{Duration, Instant, sleep, timeout_at};
use crate::tls::{BadTrust, Trust};

/// One vendor, ready to be called. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    transport: Transport,
    budget: Budget,
    metrics: Arc<Metrics>,
}

/// All configured providers.
#[derive(Clone, Debug)]
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
}

/// The body of an answer, within the provider's time-outs. The call ends with it.
#[derive(Debug)]
pub struct OpenedBody {
    provider: Provider,
    body: Body,
    /// The longest silence.
    idle: Duration,
    /// When the call has taken too long.
    deadline: Instant,
    status: StatusCode,
    in_flight: Option<InFlight>,
}

impl Providers {
    /// Clients without connections.
    ///
    /// # Errors
    /// Fails when a provider is called over TLS and there is nothing to trust.
    pub fn new(configs: Vec<Config>, registry: &Registry) -> Result<Self, BadTrust> {
        let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
        let families = Families::new(registry, &names);
        let uses_tls = configs.iter().any(|config| config.base_url.is_tls());
        let trust = if uses_tls { Trust::system() } else { Trust::nobody() };
        let provider = |config: Config| {
            Ok(Provider(Arc::new(Inner {
                transport: Transport::new(&config, &trust)?,
                budget: Budget::new(config.retry.budget),
                metrics: Arc::new(families.of(&config.name)),
                config,
            })))
        };
        configs.into_iter().map(provider).collect::<Result<_, _>>().map(Self)
    }

    /// The origins that calls may go to, each once.
    pub fn origins(&self) -> Vec<String> {
        let mut origins: Vec<String> = self.0.iter().map(|provider| provider.0.config.base_url.origin()).collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// The provider that a URL belongs to.
    pub fn resolve(&self, url: &Url) -> Option<&Provider> {
        let bases = self.0.iter().map(|provider| (&provider.0.config.base_url, provider.0.config.dialect));
        directory::resolve(bases, url).map(|position| &self.0[position])
    }

    /// The provider of this name.
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.name() == name)
    }
}

impl Provider {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.0.config.name
    }

    /// The shape of its API.
    pub fn dialect(&self) -> Dialect {
        self.0.config.dialect
    }

    /// Whether it is called with a key of its own, whoever asks.
    pub fn has_key(&self) -> bool {
        self.0.config.api_key.is_some()
    }

    /// Whether streams can be asked for their usage.
    pub fn knows_stream_options(&self) -> bool {
        self.0.config.stream_options
    }

    /// The URL of a path below its base URL. `None` when that is not a URL, or leads elsewhere.
    pub fn url(&self, path_and_query: &str) -> Option<Url> {
        self.0.config.base_url.join(path_and_query)
    }

    /// Makes a call and waits for the head of its answer, with retries, and with further tries for as long as `more`
    /// grants them.
    ///
    /// # Errors
    /// See [`Failure`].
    ///
    /// # Cancel safety
    /// Dropping the future, or the answer's body, cancels the call.
    pub async fn open(&self, mut request: Request, more: impl Fn() -> bool) -> Result<Opened, Failure> {
        let Inner { config, budget, metrics, .. } = &*self.0;
        let started = Instant::now();
        let in_flight = metrics.begin();
        budget.deposit();
        let deadline = started + config.timeouts.total;
        prepare(&mut request, config);
        let tried = timeout_at(deadline, self.try_and_try_again(&request, more)).await;
        match tried.unwrap_or_else(|_| Err(self.took_too_long())) {
            Ok(received) => Ok(self.opened(received, &request, deadline, in_flight)),
            Err(failure) => {
                in_flight.failed(&failure);
                Err(failure)
            }
        }
    }

    fn opened(&self, received: Received, request: &Request, deadline: Instant, in_flight: InFlight) -> Opened {
        let Received { status, mut headers, body } = received;
        headers::towards_app(&mut headers, status.is_client_error() || status.is_server_error());
        let idle = self.0.config.timeouts.idle.min(request.patience.unwrap_or(Duration::MAX));
        let in_flight = Some(in_flight);
        let body = OpenedBody { provider: self.clone(), body, idle, deadline, status, in_flight };
        Opened { status, headers, body }
    }

    async fn try_and_try_again(&self, request: &Request, more: impl Fn() -> bool) -> Result<Received, Failure> {
        let Inner { config, transport, budget, metrics } = &*self.0;
        let mut number = 1;
        loop {
            metrics.attempt(number);
            let attempt = Attempt { transport, host: config.base_url.host(), timeouts: &config.timeouts };
            let result = attempt::make(&attempt, request, |after| metrics.first_byte(after)).await;
            let (retriable, asked) = match &result {
                Ok(received) => (retry::may_help(received.status, &received.headers), Some(&received.headers)),
                Err(failure) => (retry::may_help_after(failure), None),
            };
            let Some(pause) = retriable.then(|| retry::pause(number, asked)).flatten() else { return result };
            let is_own = number < config.retry.attempts && budget.withdraw();
            if !is_own && !more() {
                return result;
            }
            tracing::debug!(provider = config.name, number, ?pause, "trying a call again");
            sleep(pause).await;
            number += 1;
        }
    }

    fn took_too_long(&self) -> Failure {
        Failure::TotalTimeout(self.0.config.base_url.host().to_owned())
    }
}

impl OpenedBody {
    /// The next piece; `None` at the end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let host = || self.provider.0.config.base_url.host().to_owned();
        let silent = Instant::now().checked_add(self.idle).unwrap_or(self.deadline);
        let failure = match timeout_at(silent.min(self.deadline), self.body.next()).await {
            Ok(Some(Ok(piece))) => return Some(Ok(piece)),
            Ok(Some(Err(cause))) => Failure::Interrupted { host: host(), cause },
            Err(_) if self.deadline <= Instant::now() => self.provider.took_too_long(),
            Err(_) => Failure::IdleTimeout(host()),
            Ok(None) => {
                if let Some(in_flight) = self.in_flight.take() {
                    in_flight.answered(self.status);
                }
                return None;
            }
        };
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.failed(&failure);
        }
        Some(Err(failure))
    }

    /// The call ended with a failure that its reader found.
    pub fn failed(&mut self, failure: &Failure) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.failed(failure);
        }
    }
}

fn prepare(request: &mut Request, config: &Config) {
    headers::towards_provider(&mut request.headers);
    if let Some(key) = &config.api_key {
        config.dialect.set_key(&mut request.headers, key);
        remove_key_parameter(&mut request.url);
    }
    request.url.set_fragment(None);
}

fn remove_key_parameter(url: &mut Url) {
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
