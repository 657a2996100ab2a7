//! Idle connections to one server, the last used first.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::stream::Stream;
use crate::time::{Duration, Instant};

/// Idle connections kept at the most.
const MOST_IDLE: usize = 256;

/// Connections that wait for a request. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    idle: Arc<Mutex<VecDeque<Idle>>>,
    keep: Duration,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
}

impl Pool {
    /// Connections are kept for `keep`.
    pub(super) fn new(keep: Duration) -> Self {
        Self { idle: Arc::default(), keep }
    }

    /// A connection that the server has not closed.
    pub(super) fn take(&self) -> Option<Stream> {
        loop {
            let idle = self.swept(Instant::now()).pop_back()?;
            if idle.stream.is_quiet() {
                return Some(idle.stream);
            }
        }
    }

    pub(super) fn put(&self, stream: Stream) {
        let now = Instant::now();
        let mut idle = self.swept(now);
        if idle.len() >= MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { stream, since: now });
    }

    /// The oldest come first, so those that have waited too long do.
    fn swept(&self, now: Instant) -> parking_lot::MutexGuard<'_, VecDeque<Idle>> {
        let mut idle = self.idle.lock();
        while idle.front().is_some_and(|oldest| now.duration_since(oldest.since) >= self.keep) {
            idle.pop_front();
        }
        idle
    }
}
