//! Looks at the app's workers for as long as the process runs, and lets the pool follow them where that is wanted.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::admission::Admission;
use crate::time::sleep;
use crate::workers::{INTERVAL, Workers};

/// The most requests at once that what is seen of the app can ask for.
const MOST_AT_ONCE: usize = 100_000;

/// The watch on the app's workers.
pub(super) struct Watch {
    workers: Arc<Workers>,
    admission: Arc<Admission>,
    /// Requests that each worker serves at once, where the pool follows.
    follow: Option<usize>,
}

impl Watch {
    pub(super) fn new(workers: Workers, admission: Arc<Admission>, follow: Option<usize>) -> Self {
        Self { workers: Arc::new(workers), admission, follow }
    }

    /// Lets the pool follow. What was seen before and is not seen now may still be so.
    fn follow(&self, seen: Option<usize>, last: Option<usize>) {
        let Some(threads) = self.follow else { return };
        match seen {
            Some(count) if seen != last => {
                let size = count.saturating_mul(threads).min(MOST_AT_ONCE);
                tracing::info!(workers = count, threads, size, "the app's workers were counted");
                self.admission.resize(size);
            }
            Some(_) => {}
            None => tracing::warn!(
                "backend.workers is \"auto\", but no worker of the app can be seen: one request at a time is sent. Set \
                 backend.control_socket, share the process namespace, or write their number"
            ),
        }
    }
}

#[async_trait]
impl BackgroundService for Watch {
    /// Runs on through a shutdown; the end of the process ends it.
    async fn start(&self, _: ShutdownWatch) {
        let mut last = None;
        let mut is_first = true;
        loop {
            let workers = Arc::clone(&self.workers);
            let seen = tokio::task::spawn_blocking(move || workers.look()).await.ok().flatten();
            if seen.is_some() || is_first {
                self.follow(seen, last);
            }
            (last, is_first) = (seen.or(last), false);
            sleep(INTERVAL).await;
        }
    }
}
