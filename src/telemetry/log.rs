//! Where log lines go: standard error, as text for people or JSON for collectors. Pingora's own lines come
//! the same way. It must never be set up twice in a process.

use tracing_subscriber::EnvFilter;

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

/// Starts logging. `filter` is in `tracing`'s directive syntax, such as `info,siding=debug`; the environment
/// variable `SIDING_LOG` overrides it.
pub fn start(format: Format, filter: &str) {
    let mut filter = EnvFilter::try_from_env("SIDING_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    if let Ok(quiet) = NO_ERRORS.parse() {
        filter = filter.add_directive(quiet);
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was already set up");
    }
}
