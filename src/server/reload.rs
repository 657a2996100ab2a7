//! When the configuration is read again: on SIGHUP, and when one of its files changes. Kubernetes changes a mounted file by
//! swapping a symbolic link beside it, so directories are watched and contents compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use notify::{RecursiveMode, Watcher};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

use super::live::Live;
use super::supervisor;
use crate::config::Config;
use crate::time::{Duration, sleep, timeout};

/// How long files must be quiet before they are read: an editor or a kubelet changes several.
const QUIET: Duration = Duration::from_millis(300);
/// How long one waits for that at the most: others may write in the same directory all the time.
const LONGEST_UNREST: Duration = Duration::from_secs(2);
/// How often files are compared without having been told, since not every file system tells.
const POLL: Duration = Duration::from_secs(30);

/// Where the configuration comes from.
pub struct Source {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    /// Reads and checks it. The error names every fault.
    pub load: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

/// What was in the files that make up the configuration; `None` where one could not be read.
type Contents = Vec<Option<Vec<u8>>>;

/// Reads the configuration again whenever there is reason to.
pub(super) struct Reload {
    source: Source,
    live: Arc<Live>,
    /// As they were judged last.
    judged: Mutex<Contents>,
}

impl Reload {
    pub(super) fn new(source: Source, live: Arc<Live>) -> Self {
        let reload = Self { source, live, judged: Mutex::default() };
        let contents = reload.contents();
        Self { judged: Mutex::new(contents), ..reload }
    }

    fn files(&self) -> Vec<&Path> {
        let tls = self.live.started().server.tls.as_ref();
        let pair = tls.into_iter().flat_map(|(chain, key)| [Path::new(chain), Path::new(key)]);
        self.source.path.as_deref().into_iter().chain(pair).collect()
    }

    fn contents(&self) -> Contents {
        self.files().into_iter().map(|path| std::fs::read(path).ok()).collect()
    }

    /// Reads and applies the configuration, if it is another one than was judged last.
    async fn check(&self, is_asked: bool) {
        let mut judged = self.judged.lock().await;
        let contents = self.contents();
        let is_same = contents == *judged;
        if is_same && !is_asked {
            return;
        }
        *judged = contents;
        match (self.source.load)().and_then(|config| self.live.apply(&config).map_err(|error| error.to_string())) {
            // What it names, certificates of providers say, may have changed all the same.
            Ok(keys) if is_same => {
                tracing::info!("the configuration is unchanged");
                self.live.metrics().unchanged(keys.len());
            }
            Ok(keys) if keys.is_empty() => {
                tracing::info!("the configuration was reloaded");
                self.live.metrics().applied(0);
            }
            Ok(keys) => {
                let keys_text = keys.join(", ");
                tracing::warn!(keys = keys_text, "the configuration was reloaded, but these keys need a restart");
                self.live.metrics().applied(keys.len());
            }
            Err(faults) => {
                tracing::error!("the configuration was refused and the old one goes on:\n{faults}");
                self.live.metrics().refused();
            }
        }
    }

    /// Watches the directories of all files. Dropping the watcher ends it.
    fn watch(&self, changes: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = changes.try_send(()); // one that waits to be looked at is enough
            }
        };
        let mut watcher = notify::recommended_watcher(told)
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched; they are compared now and then"))
            .ok()?;
        for file in self.files() {
            let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %directory.display(), %error, "a directory cannot be watched");
            }
        }
        Some(watcher)
    }
}

#[async_trait]
impl BackgroundService for Reload {
    /// Runs on through a shutdown; the end of the process ends it.
    async fn start(&self, _: ShutdownWatch) {
        let Ok(mut hangups) = signal(SignalKind::hangup()) else {
            tracing::error!("cannot watch for SIGHUP");
            return;
        };
        let (changes, mut changed) = mpsc::channel(1);
        let is_watching = self.live.started().server.watch;
        let _watcher = is_watching.then(|| self.watch(changes.clone())).flatten();
        if is_watching {
            self.check(false).await; // what changed before it was watched
        }
        loop {
            tokio::select! {
                Some(()) = hangups.recv() => {
                    supervisor::reloading();
                    self.check(true).await;
                    supervisor::ready();
                }
                Some(()) = changed.recv() => {
                    let unrest = async { while timeout(QUIET, changed.recv()).await.is_ok() {} };
                    let _ = timeout(LONGEST_UNREST, unrest).await; // files that are not quiet are read again later
                    self.check(false).await;
                }
                () = sleep(POLL), if is_watching => self.check(false).await,
            }
        }
    }
}
