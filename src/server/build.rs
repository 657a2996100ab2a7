//! From a checked configuration to a process that serves: parts, then services.

use std::sync::Arc;

use std::path::Path;

use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;

use super::live::Live;
use super::parts::Foundation;
use super::reload::{self, Source};
use super::upgrade::Socket;
use super::{admin, drain, listener, signals, supervisor, traces, watch};
use crate::config::Config;
use crate::tls::BadTrust;

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] listener::CannotBind),
    /// No certificates to verify providers with.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// The server's own certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] super::certificate::Unusable),
    /// The process's own metrics are not available.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until a signal ends the process, with the configuration that `source` gives now and later. `taken_from` is where
/// another process gives its sockets to this one. Returns only when the server stopped by itself.
///
/// # Errors
/// See [`StartError`]; nothing was served then.
pub fn run(config: Config, source: Source, taken_from: Option<&Path>) -> Result<(), StartError> {
    signals::hold();
    if taken_from.is_none() {
        listener::probe(&config.server)?;
    }
    let foundation = Arc::new(Foundation::new(&config)?);
    let live = Arc::new(Live::new(Arc::clone(&foundation), config)?);
    let config = live.started();

    let upgrade_socket = Socket::new(taken_from);
    let options = Opt { upgrade: taken_from.is_some(), ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(options, pingora_conf(config, &upgrade_socket));
    server.bootstrap(); // takes the sockets over, and waits for them
    upgrade_socket.clean();
    for service in listener::services(&config.server, &server.configuration, &live) {
        server.add_service(service);
    }
    if let Some(address) = &config.server.egress {
        server.add_service(listener::egress(address, live.current()));
    }
    server.add_service(background_service("watch", watch::Watch::new(Arc::clone(&live))));
    server.add_service(background_service("supervisor", supervisor::Announce::new(&config.server)));
    server.add_service(background_service("reload", reload::Reload::new(source, Arc::clone(&live))));
    if let Some(address) = &config.server.admin {
        server.add_service(background_service("admin", admin::Admin::new(address.clone(), Arc::clone(&live))));
    }
    if let Some(exporter) = live.foundation().exporter() {
        server.add_service(background_service("traces", traces::Traces::new(exporter)));
    }
    tracing::info!(
        listen = %listener::describe(&config.server),
        backend = %config.backend.address,
        workers = config.admission.workers,
        handoff = config.keys.is_some(),
        "siding {} is starting",
        env!("CARGO_PKG_VERSION"),
    );
    let signals = drain::Signals::new(Arc::clone(&live), upgrade_socket);
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

fn pingora_conf(config: &Config, upgrade_socket: &Socket) -> ServerConf {
    ServerConf {
        upgrade_sock: upgrade_socket.path().display().to_string(),
        threads: config.server.threads,
        // `drain::Signals` ends the process as soon as nothing is in flight; this is how long Pingora keeps the
        // runtimes alive for it at the most.
        grace_period_seconds: Some((config.server.drain + drain::HANDING_OVER + drain::AFTERWARDS).as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}
