//! From a checked configuration to a process that serves: parts, then services.

use std::sync::Arc;

use std::path::Path;

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;

use super::admin::Admin;
use super::live::Live;
use super::parts::Foundation;
use super::reload::{self, Source};
use super::sockets::Sockets;
use super::upgrade::{self, Program};
use super::{drain, listener, redis, signals, traces, watch};
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
    /// Another process passed no sockets.
    #[error("cannot take sockets over: {0}")]
    TakeOver(#[source] std::io::Error),
    /// The process does not know its own program.
    #[error("cannot find this program's path: {0}")]
    Program(#[source] std::io::Error),
    /// The process's own metrics are not available.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until a signal ends the process, with the configuration that `source` gives now and later. `taken_from` is the
/// directory in which another process passes its sockets to this one. Returns only when the server stopped by itself.
///
/// # Errors
/// See [`StartError`]; nothing was served then.
pub fn run(config: Config, source: Source, taken_from: Option<&Path>) -> Result<(), StartError> {
    signals::hold();
    let program = Program::of_this_process().map_err(StartError::Program)?;
    let sockets = match taken_from {
        Some(directory) => {
            Sockets::taken_over(&upgrade::sockets(directory), &config.server).map_err(StartError::TakeOver)?
        }
        None => Sockets::none(),
    };
    listener::probe(&config.server, &sockets)?;
    let foundation = Arc::new(Foundation::new(&config)?);
    let live = Arc::new(Live::new(Arc::clone(&foundation), config)?);
    let config = live.started();

    let mut server = Server::new_with_opt_and_conf(None, pingora_conf(config));
    server.bootstrap();
    for service in listener::services(&config.server, &server.configuration, &live) {
        server.add_service(sockets.listening(service, None));
    }
    if let Some(address) = &config.server.egress {
        server.add_service(sockets.listening(listener::egress(address, &live), None));
    }
    if let Some(address) = &config.server.admin {
        // It answers to the end of this process, or until another one does.
        let (admin, samples) = Admin::new(Arc::clone(&live));
        server.add_service(sockets.listening(listener::admin(address, admin), Some(live.superseded())));
        server.add_service(background_service("samples", samples));
    }
    server.add_service(background_service("watch", watch::Watch::new(Arc::clone(&live))));
    server.add_service(background_service("reload", reload::Reload::new(source, Arc::clone(&live))));
    if let Some(exporter) = live.foundation().exporter() {
        server.add_service(background_service("traces", traces::Traces::new(exporter)));
    }
    if let Some(keeper) = live.foundation().keeper() {
        let common = Arc::clone(&live.foundation().common);
        server.add_service(background_service("redis", redis::Second::new(keeper, common)));
    }
    tracing::info!(
        listen = %listener::describe(&config.server),
        backend = %config.backend.address,
        workers = config.admission.workers,
        handoff = config.keys.is_some(),
        "siding {} is starting",
        env!("CARGO_PKG_VERSION"),
    );
    let signals = drain::Signals::new(Arc::clone(&live), sockets, program, taken_from);
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

fn pingora_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.server.threads,
        // `drain::Signals` ends the process as soon as nothing is in flight; this is how long Pingora keeps the
        // runtimes alive for it at the most.
        grace_period_seconds: Some((config.server.drain + drain::AFTERWARDS).as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}
