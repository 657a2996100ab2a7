//! One Redis or Valkey that several processes share: commands that are answered in a moment or not at all, and bells
//! that ring in all processes. Nobody waits for a Redis that is sick: after a few silences it is taken to be down, the
//! [`Keeper`] alone goes on asking for it, and everything else is refused at once until it answers again.
//!
//! ```text
//! Keeper: connect -> Up -> ping, each second -> lost: Down -> a pause -> connect ...
//! Redis::run, invoke -> Up: the command, within the time-out -> silence, three times in a row: Down
//!                    -> Down: Unavailable, at once
//! ```
//!
//! What is stored there, and what it means when it cannot be had, is its users' business.

mod bell;
mod keeper;
mod link;
mod metrics;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ::redis::{Cmd, FromRedisValue, RedisError, ScriptInvocation};
use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::secret::Secret;
use crate::telemetry::Registry;
use crate::time::{Duration, timeout};

use bell::Bells;
use link::Connection;
use metrics::{Metrics, Result as Counted};

pub use ::redis::{Script, cmd};
pub use bell::Bell;
pub use keeper::Keeper;
pub use url::{BadUrl, Servers};

/// Silences in a row after which it is taken to be down. One is bad luck, and each costs somebody a time-out.
const MOST_SILENCES: u32 = 3;

/// Where it is, and how long to wait for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The servers.
    pub servers: Servers,
    /// The user's password.
    pub password: Option<Secret>,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What all names begin with.
    pub prefix: String,
    /// How long a command may take.
    pub timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
}

/// It did not answer, or answered with an error, or is not asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// A handle. Cloning gives another one.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    up: ArcSwapOption<Connection>,
    silences: AtomicU32,
    /// Connections so far.
    sessions: AtomicU64,
    /// Rings when it was lost.
    lost: Notify,
    bells: Arc<Bells>,
    metrics: Metrics,
}

impl Redis {
    /// Not connected until the keeper runs.
    pub fn new(config: Config, registry: &Registry) -> (Self, Keeper) {
        let redis = Self(Arc::new(Shared {
            config,
            up: ArcSwapOption::empty(),
            silences: AtomicU32::new(0),
            sessions: AtomicU64::new(0),
            lost: Notify::new(),
            bells: Arc::default(),
            metrics: Metrics::new(registry),
        }));
        let keeper = Keeper::new(redis.clone());
        (redis, keeper)
    }

    /// The name of something of this version's. Names with the same `slot` are on one server of a cluster.
    pub fn name(&self, kind: &str, slot: &str) -> String {
        format!("{}:{kind}:{{{slot}}}", self.0.config.prefix)
    }

    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        self.0.up.load().is_some()
    }

    /// The number of the connection: another one means that something may have been missed.
    pub fn session(&self) -> u64 {
        self.0.sessions.load(Ordering::Acquire)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// See [`Unavailable`]. The command may have been run all the same.
    ///
    /// # Cancel safety
    /// The command may be run when the future is dropped.
    pub async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let mut connection = self.connection()?;
        self.within(command.query_async(&mut connection)).await
    }

    /// Runs a script.
    ///
    /// # Errors
    /// As [`Redis::run`].
    pub async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Unavailable> {
        let mut connection = self.connection()?;
        self.within(script.invoke_async(&mut connection)).await
    }

    /// Hears what is published on a channel, as long as the bell lives. What is published before the subscription
    /// reaches the server is missed, and so is what is published while the server is away.
    pub fn listen(&self, channel: String) -> Bell {
        self.0.bells.listen(channel, self.connection().ok())
    }

    fn connection(&self) -> Result<Connection, Unavailable> {
        match &*self.0.up.load() {
            Some(connection) => Ok(Connection::clone(connection)),
            None => {
                self.0.metrics.count(Counted::Refused);
                Err(Unavailable)
            }
        }
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Unavailable> {
        let began = self.0.metrics.begin();
        match timeout(self.0.config.timeout, answer).await {
            Ok(Ok(value)) => {
                self.0.silences.store(0, Ordering::Relaxed);
                self.0.metrics.answered(began);
                Ok(value)
            }
            Ok(Err(error)) => {
                self.0.metrics.count(Counted::Error);
                self.failed(&error);
                Err(Unavailable)
            }
            Err(_) => {
                self.0.metrics.count(Counted::Silence);
                if self.0.silences.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SILENCES {
                    self.lose("it does not answer in time");
                }
                Err(Unavailable)
            }
        }
    }

    /// An error may be about the command, or about the server: one that is away, was demoted, is loading its data, or
    /// does not know us any more.
    fn failed(&self, error: &RedisError) {
        let about_server = matches!(
            error.code(),
            Some("READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "NOAUTH" | "WRONGPASS" | "NOPERM" | "OOM")
        );
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || about_server {
            self.lose(&error.to_string());
        } else {
            tracing::warn!(%error, "a command for Redis failed");
        }
    }

    fn lose(&self, why: &str) {
        if self.0.up.swap(None).is_some() {
            self.0.metrics.lost();
            tracing::warn!(why, "Redis is not asked until it answers again: this process goes on alone");
            self.0.lost.notify_one();
        }
    }

    fn found(&self, connection: Connection) {
        self.0.silences.store(0, Ordering::Relaxed);
        self.0.sessions.fetch_add(1, Ordering::AcqRel);
        self.0.up.store(Some(Arc::new(connection)));
        self.0.metrics.found();
    }
}
