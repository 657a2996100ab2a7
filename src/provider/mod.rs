//! LLM vendors: which one a URL belongs to, how a call reaches it, when it is tried again. A provider's own
//! error is a result like any other; what the app makes of it is the app's business. It must never know
//! who asked.

mod attempt;
mod client;
mod dialect;
mod directory;
mod headers;
mod metrics;
mod retry;
mod tls;
mod transport;

use crate::secret::Secret;
use crate::time::Duration;

pub use client::{Opened, OpenedBody, Provider, Providers};
pub use dialect::{ACCOUNT, Dialect};
pub use directory::{BadBaseUrl, BaseUrl};

/// A configured vendor.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name in the configuration and in metrics.
    pub name: String,
    /// The shape of its API.
    pub dialect: Dialect,
    /// The prefix of the URLs that belong to it.
    pub base_url: BaseUrl,
    /// The key to send instead of the app's own credentials.
    pub api_key: Option<Secret>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// Whether it knows `stream_options.include_usage`.
    pub stream_options: bool,
    /// Certificates (PEM) to trust besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

/// How long to wait for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection, TLS included.
    pub connect: Duration,
    /// From the request to the response head.
    pub first_byte: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// For the call with its retries.
    pub total: Duration,
}

/// When to try a call again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// Retries allowed per call, on average: 0.1 lets one call in ten be tried again.
    pub budget: f64,
}

/// A request to a provider, as the app's SDK would have made it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: http::Method,
    /// The absolute URL.
    pub url: url::Url,
    /// As the SDK set them.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: bytes::Bytes,
    /// The longest silence to wait for, if shorter than the provider's own.
    pub patience: Option<Duration>,
}

/// Why there is no complete response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it ended before a response.
    #[error("could not reach {host}: {cause}")]
    Connect {
        /// The provider's host.
        host: String,
        /// What the network said.
        cause: String,
    },
    /// No connection in time.
    #[error("could not connect to {0} in time")]
    ConnectTimeout(String),
    /// No response head in time.
    #[error("{0} did not begin to answer in time")]
    FirstByteTimeout(String),
    /// The body stalled.
    #[error("{0} stopped in the middle of its answer")]
    IdleTimeout(String),
    /// The call took too long.
    #[error("the call to {0} took longer than allowed")]
    TotalTimeout(String),
    /// The connection ended in the middle of the body.
    #[error("{host} closed the connection in the middle of its answer: {cause}")]
    Interrupted {
        /// The provider's host.
        host: String,
        /// What the network said.
        cause: String,
    },
    /// The body exceeded the limit.
    #[error("the answer of {host} is larger than {limit} bytes (handoff.max_result)")]
    TooLarge {
        /// The provider's host.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// What came back was not HTTP.
    #[error("the answer of {host} is not HTTP: {cause}")]
    Protocol {
        /// The provider's host.
        host: String,
        /// What the parser said.
        cause: String,
    },
    /// There is no memory for the answer.
    #[error("no memory for the answer (server.buffered)")]
    NoMemory,
}
