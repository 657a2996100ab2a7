//! LLM vendors: which one a URL belongs to, how a call reaches it, when it is tried again, and what is done while it is
//! in trouble. A provider's own error is a result like any other; what the app makes of it is the app's business. It
//! must never know who asked.
//!
//! ```text
//! client::open: the provider, then its fallbacks while none answers
//!   upstream::call: tries with pauses between them, on a budget
//!     a try: keys (which, and from when on) -> concurrency (a place) -> breaker (whether at all)
//!            -> attempt (the request), hedged where that is wanted -> all four learn from the head
//! ```

mod attempt;
mod breaker;
mod client;
mod concurrency;
mod dialect;
mod directory;
mod fallback;
mod headers;
mod hedge;
mod keys;
mod limits;
mod metrics;
mod model;
mod retry;
mod tls;
mod transport;
mod upstream;

use std::fmt;

use crate::secret::Secret;
use crate::time::Duration;

pub use client::{Opened, OpenedBody, Provider, Providers};
pub use dialect::{ACCOUNT, Dialect};
pub use directory::{BadBaseUrl, BaseUrl};
// For fuzzing.
#[doc(hidden)]
pub use limits::Limits as RateLimits;
#[doc(hidden)]
pub use retry::retry_after;

/// A configured vendor.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name in the configuration and in metrics.
    pub name: String,
    /// The shape of its API.
    pub dialect: Dialect,
    /// The prefix of the URLs that belong to it.
    pub base_url: BaseUrl,
    /// The keys to send instead of the app's own credentials; none: the app's own are sent.
    pub keys: Vec<Key>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// When not to ask at all; `None`: always ask.
    pub breaker: Option<BreakerConfig>,
    /// How much to ask at once.
    pub concurrency: ConcurrencyConfig,
    /// When to ask twice; `None`: never.
    pub hedge: Option<HedgeConfig>,
    /// Whom to ask instead while it is out, in this order.
    pub fallback: Vec<Fallback>,
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

/// A key of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The environment variable that it comes from, for logs and metrics.
    pub variable: String,
    /// The key.
    pub secret: Secret,
}

/// When a provider is not asked for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// The share of failures from which on it is not asked, above 0 and at most 1.
    pub failures: f64,
    /// The least number of calls to judge by.
    pub minimum: u32,
    /// How long a call counts.
    pub window: Duration,
    /// How long it is not asked.
    pub cooldown: Duration,
    /// The calls that must succeed, one beside the other, before all may ask again.
    pub probes: u32,
}

/// How many requests a provider has at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyConfig {
    /// So many at least, however overloaded it is; at least 1.
    pub min: usize,
    /// So many at the most, and before it has given cause for fewer.
    pub max: usize,
}

/// When a second request is sent for a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgeConfig {
    /// How long the head of the first may take.
    pub after: Duration,
    /// Second requests allowed per call, on average.
    pub budget: f64,
}

/// Whom to ask instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The name of a configured provider of the same dialect. One that is not there is passed over.
    pub provider: String,
    /// The model to ask for instead.
    pub model: Option<String>,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, model } = self;
        match model {
            Some(model) => write!(f, "{provider}:{model}"),
            None => f.write_str(provider),
        }
    }
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
    /// It was not asked.
    #[error("{host} is not asked at the moment: {cause}")]
    Unavailable {
        /// The provider's host.
        host: String,
        /// Why.
        cause: Unasked,
        /// When it may be asked again.
        retry_after: Duration,
    },
}

/// Why a provider is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// It failed too often; its circuit breaker is open.
    #[error("it failed too often lately (breaker)")]
    Breaker,
    /// No place became free in time.
    #[error("too many calls wait for it (concurrency)")]
    Concurrency,
    /// No key may be used, and somebody else can be asked.
    #[error("its rate limit is used up, or its keys were refused")]
    RateLimit,
}

impl Failure {
    /// The word for metrics and traces.
    pub fn as_str(&self) -> &'static str {
        match self {
            Failure::Connect { .. } => "connect",
            Failure::ConnectTimeout(_) => "connect_timeout",
            Failure::FirstByteTimeout(_) => "first_byte_timeout",
            Failure::IdleTimeout(_) => "idle_timeout",
            Failure::TotalTimeout(_) => "total_timeout",
            Failure::Interrupted { .. } => "interrupted",
            Failure::TooLarge { .. } => "too_large",
            Failure::Protocol { .. } => "protocol",
            Failure::NoMemory => "no_memory",
            Failure::Unavailable { .. } => "unavailable",
        }
    }
}
