//! The end of the process. SIGTERM: unready, linger, stop accepting, let exchanges finish until the deadline, cut the rest,
//! exit. SIGINT: exit at once. SIGUSR2: another process takes the sockets over, then this one ends in the same way.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::live::Live;
use super::{supervisor, upgrade};
use crate::drain::Drain;
use crate::time::{Duration, sleep_until, timeout};
use crate::trace::Tracer;

/// How long answers to exchanges that were cut off may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// The most that an end takes after its deadline.
pub(super) const AFTERWARDS: Duration = LAST_WORDS.saturating_add(LAST_SPANS);
/// How long Pingora goes on accepting after it has given its sockets away.
pub(super) const HANDING_OVER: Duration = Duration::from_secs(5);

pub(super) struct Signals {
    live: Arc<Live>,
    upgrade_socket: upgrade::Socket,
}

struct Heard {
    term: Signal,
    int: Signal,
    usr2: Signal,
}

impl Signals {
    pub(super) fn new(live: Arc<Live>, upgrade_socket: upgrade::Socket) -> Self {
        Self { live, upgrade_socket }
    }

    fn drain(&self) -> &Drain {
        &self.live.foundation().drain
    }

    /// Serves on, unready: those who send requests learn of it late. What comes is answered and told to go elsewhere.
    async fn linger(&self, heard: &mut Heard) -> ShutdownSignal {
        let since = self.drain().since();
        supervisor::stopping();
        tracing::info!(in_flight = self.drain().in_flight(), "shutting down");
        tokio::select! {
            () = sleep_until(since + self.live.started().server.linger) => {}
            _ = heard.int.recv() => return ShutdownSignal::FastShutdown,
        }
        self.finish(Duration::ZERO);
        ShutdownSignal::GracefulTerminate
    }

    /// Has another process take the sockets over. `None` where that failed: this one goes on as if nothing had happened.
    async fn hand_over(&self) -> Option<ShutdownSignal> {
        match self.upgrade_socket.spawn().await {
            Ok(pid) => tracing::info!(pid, "another process takes over"),
            Err(error) => {
                tracing::error!("the upgrade failed, and this process goes on: {error}");
                return None;
            }
        }
        self.drain().start();
        self.live.supersede();
        self.finish(HANDING_OVER);
        Some(ShutdownSignal::GracefulUpgrade)
    }

    /// Pingora sleeps through its grace period on this runtime's thread, so the end has a thread of its own.
    fn finish(&self, after: Duration) {
        let (drain, deadline) = (self.drain().clone(), self.live.started().server.drain);
        let tracer = self.live.foundation().tracer.clone();
        std::thread::spawn(move || finish(&drain, &tracer, after, deadline));
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
        let mut heard = Heard { term, int, usr2 };
        loop {
            tokio::select! {
                _ = heard.term.recv() => return self.linger(&mut heard).await,
                _ = heard.int.recv() => return ShutdownSignal::FastShutdown,
                _ = heard.usr2.recv() => if let Some(signal) = self.hand_over().await {
                    return signal;
                },
            }
        }
    }
}

/// Ends the process: when nothing is in flight any more, or when time is up.
fn finish(drain: &Drain, tracer: &Tracer, after: Duration, deadline: Duration) {
    std::thread::sleep(after);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    if let Ok(runtime) = runtime {
        runtime.block_on(async {
            if timeout(deadline, drain.idle()).await.is_err() {
                tracing::warn!(in_flight = drain.in_flight(), "cutting off what did not finish in time");
                drain.cut();
                // What does not end even then is not worth waiting for.
                let _ = timeout(LAST_WORDS, drain.idle()).await;
            }
            tracer.flush(LAST_SPANS).await;
        });
    }
    tracing::info!("bye");
    std::process::exit(0);
}
