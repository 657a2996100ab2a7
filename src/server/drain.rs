//! The end of the process. SIGTERM: unready, linger, stop accepting, let exchanges finish until the deadline, cut the rest,
//! exit. SIGINT: exit at once. SIGUSR2: another process takes over, then this one ends in the same way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::live::Live;
use super::sockets::Sockets;
use super::supervisor;
use super::upgrade::{self, Program};
use crate::drain::Drain;
use crate::telemetry::log;
use crate::time::{Duration, Instant, sleep_until, timeout};
use crate::trace::Tracer;

/// How long answers to exchanges that were cut off may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// The most that an end takes after its deadline.
pub(super) const AFTERWARDS: Duration = LAST_WORDS.saturating_add(LAST_SPANS);
/// How long a connection may be silent at the least when no more are accepted: the last one was opened only now.
const LAST_CHANCE: Duration = Duration::from_millis(250);
/// How long connections may be silent that another process's clients left here: nobody waits for this process's end.
const HANDED_OVER: Duration = Duration::from_secs(5);

/// What to do at which signal.
pub(super) struct Signals {
    live: Arc<Live>,
    sockets: Sockets,
    program: Program,
    /// Where another process waits for this one to serve.
    serving: Option<PathBuf>,
}

struct Heard {
    term: Signal,
    int: Signal,
    usr2: Signal,
}

/// Another process on its way.
type Upgrade<'a> = BoxFuture<'a, Result<u32, upgrade::Failed>>;

impl Signals {
    /// `taken_from` is the directory in which another process passed its sockets to this one.
    pub(super) fn new(live: Arc<Live>, sockets: Sockets, program: Program, taken_from: Option<&Path>) -> Self {
        Self { live, sockets, program, serving: taken_from.map(upgrade::serving) }
    }

    fn drain(&self) -> &Drain {
        &self.live.foundation().drain
    }

    /// Tells whom it concerns that this process serves, as soon as it does.
    async fn announce(&self) {
        self.sockets.all_bound(&self.live.started().server).await;
        supervisor::ready();
        let Some(serving) = &self.serving else { return };
        if let Err(error) = UnixStream::connect(serving).await {
            tracing::warn!(%error, "the process that passed its sockets does not learn that this one serves");
        }
    }

    async fn recv(&self, heard: &mut Heard) -> ShutdownSignal {
        let mut announcing = std::pin::pin!(self.announce());
        let mut is_announced = false;
        let mut upgrade: Option<Upgrade<'_>> = None;
        loop {
            tokio::select! {
                _ = heard.term.recv() => return self.linger(heard).await, // ends another process on its way
                _ = heard.int.recv() => return ShutdownSignal::FastShutdown,
                () = &mut announcing, if !is_announced => is_announced = true,
                _ = heard.usr2.recv() => self.begin(&mut upgrade),
                ended = under_way(&mut upgrade) => match ended {
                    Ok(pid) => return self.hand_over(pid),
                    Err(error) => {
                        tracing::error!("the upgrade failed, and this process goes on: {error}");
                        upgrade = None;
                    }
                },
            }
        }
    }

    fn begin<'a>(&'a self, upgrade: &mut Option<Upgrade<'a>>) {
        if upgrade.is_some() {
            return tracing::warn!("another process is about to take over already");
        }
        tracing::info!("another process is to take over");
        *upgrade = Some(Box::pin(upgrade::run(&self.program, &self.sockets)));
    }

    /// Serves on, unready: those who send requests learn of it late. What comes is answered and told to go elsewhere.
    async fn linger(&self, heard: &mut Heard) -> ShutdownSignal {
        let since = self.drain().start();
        supervisor::stopping();
        tracing::info!(in_flight = self.drain().in_flight(), "shutting down");
        tokio::select! {
            () = sleep_until(since + self.live.started().server.linger) => {}
            _ = heard.int.recv() => return ShutdownSignal::FastShutdown,
        }
        self.finish(LAST_CHANCE);
        ShutdownSignal::GracefulTerminate
    }

    /// Another process accepts connections from now on.
    fn hand_over(&self, pid: u32) -> ShutdownSignal {
        tracing::info!(pid, in_flight = self.drain().in_flight(), "another process took over; this one ends");
        self.live.supersede();
        self.finish(HANDED_OVER);
        ShutdownSignal::GracefulTerminate
    }

    /// Pingora sleeps through its grace period on this runtime's thread, so the end has a thread of its own.
    fn finish(&self, silence: Duration) {
        let (drain, deadline) = (self.drain().clone(), self.live.started().server.drain);
        let tracer = self.live.foundation().tracer.clone();
        let silent_until = Instant::now() + silence.min(deadline);
        drain.stop(silent_until);
        std::thread::spawn(move || finish(&drain, &tracer, silent_until, deadline));
    }
}

/// Resolves with the end of an upgrade, if one is under way.
async fn under_way(upgrade: &mut Option<Upgrade<'_>>) -> Result<u32, upgrade::Failed> {
    match upgrade {
        Some(upgrade) => upgrade.await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let listen = |kind| signal(kind).ok();
        let heard =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::user_defined2()));
        let (Some(term), Some(int), Some(usr2)) = heard else {
            tracing::error!("cannot watch for signals");
            return ShutdownSignal::FastShutdown;
        };
        let signal = self.recv(&mut Heard { term, int, usr2 }).await;
        if matches!(signal, ShutdownSignal::FastShutdown) {
            log::flush(); // Pingora ends the process
        }
        signal
    }
}

/// Ends the process: when nothing is in flight and nobody connected any more, or when time is up.
fn finish(drain: &Drain, tracer: &Tracer, silent_until: Instant, deadline: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    if let Ok(runtime) = runtime {
        let all_gone = async {
            sleep_until(silent_until).await; // what was accepted last may not be counted yet
            drain.idle().await;
        };
        runtime.block_on(async {
            if timeout(deadline, all_gone).await.is_err() {
                tracing::warn!(in_flight = drain.in_flight(), "cutting off what did not finish in time");
                drain.cut();
                // What does not end even then is not worth waiting for.
                let _ = timeout(LAST_WORDS, drain.idle()).await;
            }
            tracer.flush(LAST_SPANS).await;
        });
    }
    tracing::info!("bye");
    log::flush();
    std::process::exit(0);
}
