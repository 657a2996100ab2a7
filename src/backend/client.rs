//! One HTTP request to the app over TCP or a Unix socket.

use super::Config;
use super::metrics::Metrics;
use crate::http1::{Client, Error, Request, Response};
use crate::telemetry::Registry;
use crate::time::Duration;

/// Why the app gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection, so nothing ran.
    #[error("the app does not accept connections: {0}")]
    Connect(String),
    /// The connection ended before a complete answer: the worker was killed, or timed out.
    #[error("the app closed the connection without a complete answer: {0}")]
    Closed(String),
    /// The time-out of the pass.
    #[error("the app did not answer in time")]
    Timeout,
    /// What came back is not HTTP.
    #[error("the app's answer is not HTTP: {0}")]
    Protocol(String),
}

impl Fault {
    /// Whether the app certainly did not see the request.
    pub fn nothing_ran(&self) -> bool {
        matches!(self, Fault::Connect(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let cause = error.to_string();
        match error {
            Error::Connect(_) | Error::ConnectTimeout => Self::Connect(cause),
            Error::Closed(_) => Self::Closed(cause),
            Error::Malformed(_) => Self::Protocol(cause),
        }
    }
}

/// The app.
#[derive(Clone, Debug)]
pub struct Backend {
    config: Config,
    client: Client,
    pub(super) timeout: Duration,
    pub(super) response_buffer: usize,
    pub(super) metrics: Metrics,
}

impl Backend {
    /// A client without connections.
    pub fn new(config: &Config, registry: &Registry) -> Self {
        let client = Client::new(crate::http1::Config {
            address: config.address.clone(),
            connect_timeout: config.connect_timeout,
            keep_idle: config.keepalive,
            title_case: true,
        });
        let Config { timeout, response_buffer, .. } = *config;
        Self { config: config.clone(), client, timeout, response_buffer, metrics: Metrics::new(registry) }
    }

    /// The same app with its connections, where nothing changed; else another.
    pub fn renewed(&self, config: &Config, registry: &Registry) -> Self {
        if self.config == *config { self.clone() } else { Self::new(config, registry) }
    }

    /// Whether the app accepts connections now.
    pub async fn accepts(&self) -> bool {
        self.client.accepts().await
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, Fault> {
        Ok(self.client.send(request).await?)
    }
}
