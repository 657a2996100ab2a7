//! What the app's worker processes are and do, as far as it can be seen from beside them: connections that wait in the
//! kernel, processes in a shared process namespace, gunicorn's control socket. Nothing of it is needed; whatever is visible
//! shows up as metrics, and may say how many workers there are. It must never act on the app.

mod gunicorn;
mod metrics;
mod processes;
mod sockets;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::http1::Address;
use crate::telemetry::Registry;
use crate::time::{Duration, Instant};

use metrics::{Collector, Metrics};
use processes::Slots;

/// How often one looks.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// What to look at.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the app listens.
    pub address: Address,
    /// gunicorn's control socket (`--control-socket`, since 25.1), if it may be asked.
    pub control_socket: Option<PathBuf>,
    /// Requests that each worker serves at once, where the size of the pool is to follow what is seen.
    pub follow: Option<usize>,
}

/// Looks at the app's workers now and then.
#[derive(Debug)]
pub struct Workers {
    config: Config,
    metrics: Metrics,
    places: Places,
}

/// Which worker process is in which place. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<Slots>>);

impl Workers {
    /// `places` are those of an earlier configuration, if there was one.
    pub fn new(config: Config, places: Places, registry: &Registry) -> Self {
        Self { config, metrics: Metrics::new(registry), places }
    }

    /// Requests that each worker serves at once, where the size of the pool is to follow.
    pub fn follow(&self) -> Option<usize> {
        self.config.follow
    }

    /// Looks at everything once, and says how many worker processes serve, if that can be known. Reads files under `/proc`,
    /// which takes milliseconds where there are thousands of processes; not for a thread that others wait for.
    pub fn look(&self) -> Option<usize> {
        let port = sockets::port(&self.config.address);
        if let Some(port) = port {
            self.collect(Collector::Sockets, || sockets::look(port, &self.metrics));
        }
        let found = self.collect(Collector::Processes, || processes::find(port));
        let processes = found.map(|found| {
            let mut slots = self.places.0.lock();
            self.metrics.show(&slots.place(found));
            slots.len()
        });
        let control = self.config.control_socket.as_ref();
        let told = control.and_then(|path| self.collect(Collector::Gunicorn, || gunicorn::serving(path)));
        told.or(processes).filter(|count| *count > 0)
    }

    /// Runs one collector, and counts how it went.
    fn collect<T>(&self, collector: Collector, look: impl FnOnce() -> Result<T, Unseen>) -> Option<T> {
        let began = Instant::now();
        let seen = look();
        self.metrics.collected(collector, began.elapsed(), matches!(seen, Err(Unseen::Failed(_))));
        match seen {
            Ok(seen) => Some(seen),
            Err(Unseen::NotHere) => None,
            Err(Unseen::Failed(cause)) => {
                tracing::debug!(collector = collector.as_str(), %cause, "cannot look at the workers");
                None
            }
        }
    }
}

/// Why there is nothing to see.
#[derive(Debug)]
enum Unseen {
    /// This is not the place to see it from; nothing is wrong.
    NotHere,
    /// It should have been there.
    Failed(String),
}
