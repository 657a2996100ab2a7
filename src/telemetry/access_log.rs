//! One line an exchange. It must never hold a header value, a query or a body.

use std::fmt::Display;

use crate::time::Duration;

use super::outcome::{Mode, Outcome};

/// What one access line says.
pub struct Line<'a, T> {
    /// The exchange, as in `Siding-Id`.
    pub id: &'a str,
    /// The request method.
    pub method: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The status the client saw; 0 when it saw none.
    pub status: u16,
    /// How it was carried.
    pub mode: Mode,
    /// How it ended.
    pub outcome: Outcome,
    /// The user's label, where the app named one; else empty.
    pub user: &'a str,
    /// Trips through a worker.
    pub passes: u32,
    /// LLM calls made for it.
    pub calls: u32,
    /// Time from the request head to the end of the answer.
    pub total: Duration,
    /// Thereof waiting for a worker.
    pub queued: Duration,
    /// Thereof in a worker.
    pub working: Duration,
    /// Thereof waiting for providers.
    pub calling: Duration,
    /// The trace it belongs to, in hexadecimal.
    pub trace_id: Option<T>,
}

/// Whether lines go anywhere.
pub fn is_wanted() -> bool {
    tracing::enabled!(target: "siding::access", tracing::Level::INFO)
}

/// Writes the line at level `info`, target `siding::access`.
pub fn write(line: &Line<'_, impl Display>) {
    tracing::info!(
        target: "siding::access",
        id = line.id,
        method = line.method,
        path = line.path,
        status = line.status,
        mode = line.mode.as_str(),
        outcome = line.outcome.as_str(),
        trace_id = line.trace_id.as_ref().map(tracing::field::display),
        user = (!line.user.is_empty()).then_some(line.user),
        passes = line.passes,
        calls = line.calls,
        total_ms = millis(line.total),
        queue_ms = millis(line.queued),
        worker_ms = millis(line.working),
        provider_ms = millis(line.calling),
        "exchange"
    );
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
