//! Where log lines go: standard error, as text for people or JSON for collectors. Pingora's own lines come
//! the same way. It must never be set up twice in a process.

use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;

use super::lines::Lines;
use crate::time::Duration;

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Pingora says at level error that a process has not taken its sockets over yet. Where it fails, others say so.
const NO_ERRORS: &str = "pingora_core::server::transfer_fd=off";
/// How long the end of the process waits for lines that nobody takes.
const LAST_LINES: Duration = Duration::from_secs(1);

/// This process's log, once it was started.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// Starts logging. `filter` is in `tracing`'s directive syntax, such as `info,siding=debug`; the environment
/// variable `SIDING_LOG` overrides it.
pub fn start(format: Format, filter: &str) {
    let mut filter = EnvFilter::try_from_env("SIDING_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    if let Ok(quiet) = NO_ERRORS.parse() {
        filter = filter.add_directive(quiet);
    }
    let lines = Arc::clone(LINES.get_or_init(|| Arc::new(Lines::to(std::io::stderr()))));
    // Complaints of the log about itself would go to standard error too, where a full disk makes them a panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).log_internal_errors(false);
    let started = match format {
        Format::Text => log.with_ansi(false).try_init(),
        Format::Json => log.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was already set up");
    }
}

/// Blocks until all lines so far are written, or for a second: to be called before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES);
    }
}

/// Bytes of lines that wait to be written.
pub fn waiting() -> usize {
    LINES.get().map_or(0, |lines| lines.waiting())
}

/// Lines that were lost since this was asked last.
pub fn take_lost() -> u64 {
    LINES.get().map_or(0, |lines| lines.take_lost())
}
