//! Looks at the app's workers for as long as the process runs, and lets the pool follow them where that is wanted.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::live::Live;
use crate::time::sleep;
use crate::workers::INTERVAL;

/// The most requests at once that what is seen of the app can ask for.
const MOST_AT_ONCE: usize = 100_000;

/// The watch on the app's workers.
pub(super) struct Watch {
    live: Arc<Live>,
}

impl Watch {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    /// Lets the pool follow. What was seen before and is not seen now may still be so.
    fn follow(&self, threads: usize, seen: Option<usize>, last: Option<usize>) {
        match seen {
            Some(count) if seen != last => {
                let size = count.saturating_mul(threads).min(MOST_AT_ONCE);
                tracing::info!(workers = count, threads, size, "the app's workers were counted");
                self.live.foundation().admission.resize(size);
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
        let (mut last, mut is_first) = (None, true);
        loop {
            let workers = Arc::clone(&self.live.generation().workers);
            let follow = workers.follow();
            let seen = tokio::task::spawn_blocking(move || workers.look()).await.ok().flatten();
            match follow {
                Some(threads) if seen.is_some() || is_first => self.follow(threads, seen, last),
                Some(_) => {}
                None => {}
            }
            (last, is_first) = (seen.or(last).filter(|_| follow.is_some()), false);
            sleep(INTERVAL).await;
        }
    }
}
