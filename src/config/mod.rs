//! Text to checked values, and nothing else. All faults of a file are reported at once, each with its line, key
//! and remedy, before a port is bound. Nothing else in the program reads files or the environment.

mod defaults;
mod fault;
mod file;
mod read;
mod schema;
mod source;
mod units;
mod validate;

pub use fault::{Fault, Faults};
pub use file::File;
pub use read::load;
pub use schema::schema;
pub use source::Source;

use crate::telemetry::log;
use crate::time::Duration;
use crate::{
    admission, backend, background, calls, exchange, provider, proxy, redis, route, sharing, trace, usage, workers,
};

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners and threads.
    pub server: Server,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub tracing: trace::Config,
    /// The edge.
    pub proxy: proxy::Config,
    /// The app.
    pub backend: backend::Config,
    /// The worker pool.
    pub admission: admission::Config,
    /// What is seen of the app's processes.
    pub workers: workers::Config,
    /// Exchanges.
    pub exchange: exchange::Config,
    /// Bytes that all exchanges together may buffer.
    pub buffered: usize,
    /// Keys of the hand-off; `None` where it is off.
    pub keys: Option<crate::handoff::Keys>,
    /// LLM vendors.
    pub providers: Vec<provider::Config>,
    /// How answers of calls are shared.
    pub calls: calls::Config,
    /// Bounds of what is shared.
    pub sharing: sharing::Config,
    /// The store that processes share, where there is one.
    pub redis: Option<redis::Config>,
    /// What tokens cost.
    pub prices: usage::Prices,
    /// How jobs are kept.
    pub background: background::Config,
    /// Rules, in order.
    pub routes: Vec<route::Config>,
}

/// Sockets, threads and shutdown.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect, `ip:port` or `unix:/path`.
    pub listen: Vec<backend::Address>,
    /// A listener for HTTP/2 with prior knowledge, without TLS.
    pub h2c: Option<backend::Address>,
    /// Certificate chain and key, PEM files, for the TCP listeners of `listen`.
    pub tls: Option<(String, String)>,
    /// Metrics and probes.
    pub admin: Option<backend::Address>,
    /// Where calls from outside a request are made.
    pub egress: Option<backend::Address>,
    /// Threads that serve requests.
    pub threads: usize,
    /// Whether the configuration's files are watched.
    pub watch: bool,
    /// How long new requests are served after SIGTERM.
    pub linger: Duration,
    /// How long requests may still come after this process became unready.
    pub propagation: Duration,
    /// How long a shutdown waits for exchanges.
    pub drain: Duration,
    /// Whether the status page shows the paths of requests that no route is for.
    pub status_paths: bool,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its shape.
    pub format: log::Format,
    /// Which lines, in `tracing`'s directive syntax.
    pub filter: String,
}

/// The documented reference with every default: `siding defaults` prints it.
pub const REFERENCE: &str = include_str!("../../config/reference.toml");

#[cfg(test)]
mod tests;
