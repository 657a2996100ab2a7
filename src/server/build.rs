//! Configuration to parts, top to bottom in the order of flow, then to services.

use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;

use super::{admin, drain, listener, traces};
use crate::admission::Admission;
use crate::backend::Backend;
use crate::background::Jobs;
use crate::buffers::Buffers;
use crate::calls::Calls;
use crate::config::Config;
use crate::drain::Drain;
use crate::exchange::{Exchanges, Parts};
use crate::handoff::Offer;
use crate::provider::Providers;
use crate::proxy::Gateway;
use crate::route::Table;
use crate::sharing::{Common, Sharing};
use crate::telemetry::Registry;
use crate::tls::BadTrust;
use crate::trace::Tracer;
use crate::usage::Meter;

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] listener::CannotBind),
    /// No certificates to verify providers with.
    #[error(transparent)]
    Trust(#[from] BadTrust),
    /// The process's own metrics are not available.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until a signal ends the process. Returns only when the server stopped by itself.
///
/// # Errors
/// See [`StartError`]; nothing was served then.
pub fn run(config: &Config) -> Result<(), StartError> {
    listener::probe(&config.server)?;
    let registry = Registry::new()?;
    let drain = Drain::new();
    let routes = Table::new(config.routes.clone());
    let common = Common::new(config.sharing, drain.clone(), &registry);
    let (tracer, exporter) = Tracer::new(config.tracing.clone(), &registry)?;
    let exchanges = Arc::new(exchanges(config, &routes, &registry, (&drain, &tracer), &common)?);
    let jobs = Jobs::new(config.background.clone(), routes.all_background(), drain.clone(), &registry)?;
    let gateway = Gateway::new(config.proxy.clone(), routes, Arc::clone(&exchanges), jobs.clone());

    let mut server = Server::new_with_opt_and_conf(None, pingora_conf(config));
    server.bootstrap();
    for service in listener::services(&config.server, &server.configuration, &gateway) {
        server.add_service(service);
    }
    if let Some(address) = &config.server.egress {
        server.add_service(listener::egress(address, &gateway));
    }
    if let Some(address) = &config.server.admin {
        let admin = admin::Admin::new(address.clone(), registry, exchanges, common, jobs);
        server.add_service(background_service("admin", admin));
    }
    if let Some(exporter) = exporter {
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
    server.run(RunArgs { shutdown_signal: Box::new(drain::Signals::new(drain, config.server.drain, tracer)) });
    Ok(())
}

fn exchanges(
    config: &Config,
    routes: &Table,
    registry: &Registry,
    (drain, tracer): (&Drain, &Tracer),
    common: &Arc<Common>,
) -> Result<Exchanges, StartError> {
    let providers = Providers::new(config.providers.clone(), registry)?;
    let limits = &config.exchange.limits;
    let offer =
        config.keys.clone().map(|keys| Offer::new(keys, &providers.origins(), limits.max_calls, limits.max_call_bytes));
    let buffers = Buffers::new(config.buffered, registry);
    let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    let meter = Arc::new(Meter::new(config.prices.clone(), &names, registry));
    let parts = Parts {
        config: config.exchange,
        admission: Admission::new(config.admission, routes.bulkheads(), registry),
        backend: Backend::new(&config.backend, registry),
        offer,
        providers,
        calls: Calls::new(
            config.calls.clone(),
            Sharing::new(Arc::clone(common)),
            buffers.clone(),
            meter,
            tracer.clone(),
        ),
        sharing: Sharing::new(Arc::clone(common)),
        buffers,
        drain: drain.clone(),
        tracer: tracer.clone(),
    };
    Ok(Exchanges::new(parts, registry))
}

fn pingora_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.server.threads,
        // `drain::Signals` ends the process as soon as nothing is in flight; this is how long Pingora keeps the
        // runtimes alive for it at the most.
        grace_period_seconds: Some(config.server.drain.as_secs() + drain::AFTERWARDS.as_secs() + 1),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}
