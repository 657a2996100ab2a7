//! Calls to providers, from the URL to a complete response: resolve, prepare, try, try again.

use rustls::RootCertStore;
use url::Url;

use super::attempt::{self, Attempt};
use super::dialect::KEY_PARAMETER;
use super::metrics::{Families, Metrics};
use super::retry::{self, Budget};
use super::tls::{self, BadTrust};
use super::transport::Transport;
use super::{Config, Failure, Request, Response, directory, headers};
use crate::telemetry::Registry;
use crate::time::{Instant, sleep, timeout};

#[derive(Debug)]
struct Provider {
    config: Config,
    transport: Transport,
    budget: Budget,
    metrics: Metrics,
}

/// All configured providers.
#[derive(Debug)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// Clients without connections.
    ///
    /// # Errors
    /// Fails when a provider is called over TLS and there is nothing to trust.
    pub fn new(configs: Vec<Config>, registry: &Registry) -> Result<Self, BadTrust> {
        let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
        let families = Families::new(registry, &names);
        let roots = if configs.iter().any(|config| config.base_url.is_tls()) {
            tls::system_roots()
        } else {
            RootCertStore::empty()
        };
        let provider = |config: Config| {
            Ok(Provider {
                transport: Transport::new(&config, &roots)?,
                budget: Budget::new(config.retry.budget),
                metrics: families.of(&config.name),
                config,
            })
        };
        configs.into_iter().map(provider).collect::<Result<_, _>>().map(Self)
    }

    /// The origins that calls may go to, each once.
    pub fn origins(&self) -> Vec<String> {
        let mut origins: Vec<String> = self.0.iter().map(|provider| provider.config.base_url.origin()).collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// Whether a URL belongs to a provider.
    pub fn knows(&self, url: &Url) -> bool {
        self.resolve(url).is_some()
    }

    /// Makes a call, with retries. `limit` is the most bytes of a body. `None` when the URL belongs to no
    /// provider; nothing is called then.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub async fn call(&self, mut request: Request, limit: usize) -> Option<Result<Response, Failure>> {
        let provider = self.resolve(&request.url)?;
        let started = Instant::now();
        let in_flight = provider.metrics.begin();
        provider.budget.deposit();
        let total = provider.config.timeouts.total;
        prepare(&mut request, &provider.config);
        let result = timeout(total, provider.try_and_try_again(&request, limit))
            .await
            .unwrap_or_else(|_| Err(Failure::TotalTimeout(provider.config.base_url.host().to_owned())));
        in_flight.end(&result, started.elapsed());
        Some(result.map(for_the_app))
    }

    fn resolve(&self, url: &Url) -> Option<&Provider> {
        let bases = self.0.iter().map(|provider| (&provider.config.base_url, provider.config.dialect));
        directory::resolve(bases, url).map(|position| &self.0[position])
    }
}

impl Provider {
    async fn try_and_try_again(&self, request: &Request, limit: usize) -> Result<Response, Failure> {
        let Config { name, retry, timeouts, base_url, .. } = &self.config;
        let mut number = 1;
        loop {
            self.metrics.attempt(number);
            let attempt = Attempt { transport: &self.transport, host: base_url.host(), timeouts, limit };
            let result = attempt::make(&attempt, request, |after| self.metrics.first_byte(after)).await;
            let (retriable, asked) = match &result {
                Ok(response) => (retry::may_help(response.status, &response.headers), Some(&response.headers)),
                Err(failure) => (retry::may_help_after(failure), None),
            };
            if !retriable || number >= retry.attempts {
                return result;
            }
            let Some(pause) = retry::pause(number, asked) else { return result };
            if !self.budget.withdraw() {
                return result;
            }
            tracing::debug!(provider = name, number, ?pause, "trying a call again");
            sleep(pause).await;
            number += 1;
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

fn for_the_app(mut response: Response) -> Response {
    let is_error = response.status.is_client_error() || response.status.is_server_error();
    headers::towards_app(&mut response.headers, is_error);
    response
}
