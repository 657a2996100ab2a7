//! Signals. SIGTERM: unready, stop accepting, let exchanges finish until the deadline, cut the rest, exit.
//! SIGINT: exit at once.

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};

use crate::drain::Drain;
use crate::time::{Duration, timeout};
use crate::trace::Tracer;

/// How long answers to exchanges that were cut off may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// The most that a shutdown takes after its deadline.
pub(super) const AFTERWARDS: Duration = LAST_WORDS.saturating_add(LAST_SPANS);

pub(super) struct Signals {
    drain: Drain,
    deadline: Duration,
    tracer: Tracer,
}

impl Signals {
    pub(super) fn new(drain: Drain, deadline: Duration, tracer: Tracer) -> Self {
        Self { drain, deadline, tracer }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("cannot watch for signals");
            return ShutdownSignal::FastShutdown;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => return ShutdownSignal::FastShutdown,
        }
        let (drain, deadline, tracer) = (self.drain.clone(), self.deadline, self.tracer.clone());
        drain.start();
        tracing::info!(in_flight = drain.in_flight(), ?deadline, "shutting down");
        // Pingora sleeps through its grace period on this runtime's thread, so the wait has a thread of its own.
        std::thread::spawn(move || finish(&drain, deadline, &tracer));
        ShutdownSignal::GracefulTerminate
    }
}

/// Ends the process: when nothing is in flight any more, or when time is up.
fn finish(drain: &Drain, deadline: Duration, tracer: &Tracer) {
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
