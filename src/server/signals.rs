//! Signals that must not end the process by default before somebody listens to them.

use tokio::signal::unix::{SignalKind, signal};

/// Has them wait for their listeners: handlers, once installed, stay.
pub(super) fn hold() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let held = runtime.is_ok_and(|runtime| {
        let _inside = runtime.enter();
        [SignalKind::hangup(), SignalKind::user_defined2()].into_iter().all(|kind| signal(kind).is_ok())
    });
    if !held {
        tracing::warn!("cannot hold signals; a SIGHUP or SIGUSR2 before all is up ends the process");
    }
}
