//! The second level: answers in a Redis that several processes share, and flights over all of them. Of all processes that
//! want the same answer one has the lease of its flight and does the work; it writes what it publishes to a stream as it
//! comes, and the others read it there, live. Nothing here is ever the only way: whatever fails, a process does the work
//! itself.
//!
//! ```text
//! fetch: join -> Stored: the answer, and a copy for this process
//!             -> Leads:  the work; a Replica writes along -> the end, the answer for all, the lease is free
//!             -> Follows: a Follower reads along -> the end
//!                                               -> nobody has the lease any more: join again
//!             -> Alone:  the work; Redis is away
//! ```
//!
//! # What holds
//!
//! - A lease has a token that nobody else has. Whatever is written to a flight is written by a script that looks at the
//!   lease first, so that a leader that was taken for dead writes nothing any more.
//! - A leader that dies is replaced within the lease's time, by one of those who follow.
//! - Readers who have a part of an answer go on with another process's answer where that says the same, and are told
//!   of the end otherwise; nobody gets a part of one and the rest of another that differ.
//! - What a purge meant is not served again, whoever stored it, and whether or not it came to Redis before the purge.

mod fetch;
mod follow;
mod metrics;
mod notes;
mod purges;
mod replica;
mod scripts;

use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::cache::record::{self, Record};
use crate::cache::{Key, Selector, Stored};
use crate::drain::Drain;
use crate::redis::{self, Redis, Unavailable};
use crate::telemetry::Registry;
use crate::time::Duration;

use super::Common;
use metrics::{Looked, Metrics};
use notes::{EndNote, Note};
use purges::Purges;
use scripts::{JoinReply, Scripts};

pub(super) use fetch::{Fetched, fetch, fresh};
pub(super) use replica::Replica;

/// How processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a leader may be silent before another process takes its place.
    pub lease: Duration,
}

/// What this process shares with others. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    redis: Redis,
    scripts: Scripts,
    purges: Purges,
    metrics: Metrics,
    buffers: Buffers,
    drain: Drain,
}

/// One flight over all processes.
#[derive(Clone, Debug)]
struct Flight {
    lease: String,
    channel: String,
    waiting: String,
    slot: String,
}

/// What became of the wish to share.
enum Joined {
    Stored(Box<Record>),
    Leads { token: String },
    Follows { token: String },
    Alone,
}

impl Remote {
    /// Nothing shared yet.
    pub fn new(config: Config, redis: Redis, buffers: Buffers, drain: Drain, registry: &Registry) -> Self {
        Self(Arc::new(Shared {
            config,
            scripts: Scripts::new(),
            purges: Purges::new(redis.clone()),
            metrics: Metrics::new(registry),
            redis,
            buffers,
            drain,
        }))
    }

    /// Hears of purges by other processes, for as long as it runs, and does the same here.
    pub(super) async fn hear(&self, common: &Common) {
        self.0.purges.hear(common).await;
    }

    /// Tells all processes of a purge. Whether Redis knows of it already; otherwise it is told when it answers again.
    pub async fn purge(&self, selector: &Selector) -> bool {
        self.0.purges.tell(selector).await
    }

    /// What is stored under a key, as it was written.
    async fn look(&self, key: &Key) -> Option<Record> {
        if !self.is_ready() {
            self.0.metrics.looked(Looked::Unavailable);
            return None;
        }
        match self.get(key).await {
            Ok(Some(bytes)) => self.read(key, bytes.into()),
            Ok(None) => {
                self.0.metrics.looked(Looked::Miss);
                None
            }
            Err(Unavailable) => {
                self.0.metrics.looked(Looked::Unavailable);
                None
            }
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0.redis.run(redis::cmd("GET").arg(self.entry(key))).await
    }

    /// Takes part in a flight. `entry` is a key to look under first.
    async fn join(&self, flight: &Flight, entry: Option<&Key>) -> Joined {
        if !self.is_ready() {
            self.0.metrics.looked(Looked::Unavailable);
            return Joined::Alone;
        }
        let token = token();
        // On a cluster, an entry and the lease of its flight are on two servers.
        if let Some(key) = entry
            && let Some(record) = self.look(key).await
        {
            return Joined::Stored(Box::new(record));
        }
        match self.0.scripts.join(&self.0.redis, flight, &token, self.0.config.lease).await {
            Ok(JoinReply::Leads) => self.lead(flight, token, entry).await,
            Ok(JoinReply::Follows(token)) => Joined::Follows { token },
            Err(Unavailable) => Joined::Alone,
        }
    }

    /// Who had the lease before may have stored the answer between this process's look and its lease.
    async fn lead(&self, flight: &Flight, token: String, entry: Option<&Key>) -> Joined {
        let Some(record) = self.look_again(entry).await else { return Joined::Leads { token } };
        let given_up = [Note::end(0, &EndNote::<()>::GivenUp)];
        // Without Redis, the lease runs out.
        let _ = self.0.scripts.append(&self.0.redis, flight, &token, self.0.config.lease, &given_up).await;
        Joined::Stored(Box::new(record))
    }

    async fn look_again(&self, entry: Option<&Key>) -> Option<Record> {
        let key = entry?;
        let bytes = self.get(key).await.ok()??;
        Record::read(key, &bytes.into()).ok()
    }

    /// Whether Redis answers, and every purge that it knows of is known here.
    fn is_ready(&self) -> bool {
        self.0.redis.is_up() && self.0.purges.is_current()
    }

    fn read(&self, key: &Key, bytes: Bytes) -> Option<Record> {
        let Ok(record) = Record::read(key, &bytes) else {
            self.0.metrics.looked(Looked::Corrupt);
            tracing::warn!(%key, "what Redis has under this key is no record of this version, or not whole");
            return None;
        };
        Some(record)
    }

    /// Takes a record for what it says, unless a purge meant it.
    fn stored(&self, record: Record, receipt: Option<crate::usage::Receipt>) -> Option<Stored> {
        let since = record.since().to_owned();
        let stored = record.stored(receipt).ok()?;
        if self.0.purges.meant(&stored, &since) {
            self.0.metrics.looked(Looked::Purged);
            return None;
        }
        self.0.metrics.looked(Looked::Hit);
        Some(stored)
    }

    /// Stores something for all.
    async fn put(&self, key: &Key, stored: &Stored, since: &str, lifetime: Duration) -> bool {
        let bytes = record::write(key, stored, since);
        let millis = lifetime.as_millis().max(1).min(u128::from(u32::MAX));
        let mut command = redis::cmd("SET");
        command.arg(self.entry(key)).arg(&bytes[..]).arg("PX").arg(u64::try_from(millis).unwrap_or(u64::MAX));
        let stored: Result<(), Unavailable> = self.0.redis.run(&command).await;
        self.0.metrics.wrote(stored.is_ok());
        stored.is_ok()
    }

    fn entry(&self, key: &Key) -> String {
        self.0.redis.name("entry", &key.to_string())
    }

    /// The flight of those who ask the same (`key`), before the same purges.
    fn flight(&self, key: &Key) -> Flight {
        let slot = Key::of([key.as_bytes(), self.0.purges.last().as_bytes()]).to_string();
        Flight {
            lease: self.0.redis.name("lease", &slot),
            channel: self.0.redis.name("bell", &slot),
            waiting: self.0.redis.name("waiting", &slot),
            slot,
        }
    }
}

impl Flight {
    /// Where the leader with this token writes. Every leader has a stream of its own.
    fn stream(&self, redis: &Redis, token: &str) -> String {
        redis.name(&format!("flight:{token}"), &self.slot)
    }
}

fn token() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}
