//! Configuration to parts, top to bottom in the order of flow. Some last as long as the process; the others are made anew
//! by each configuration, in the same way at the start and later.

use std::sync::Arc;

use parking_lot::Mutex;

use super::build::StartError;
use super::descriptors;
use crate::admission::Admission;
use crate::backend::Backend;
use crate::background::Jobs;
use crate::buffers::Buffers;
use crate::calls::Calls;
use crate::config::Config;
use crate::drain::Drain;
use crate::exchange::{Exchanges, Lasting, Refused};
use crate::handoff::Offer;
use crate::provider::{Failure, Providers};
use crate::proxy::{Crowd, Gateway, Requests};
use crate::redis::{Keeper, Redis};
use crate::route::{self, Table};
use crate::sharing::{Common, Remote, Sharing};
use crate::status::Status;
use crate::telemetry::Registry;
use crate::trace::{Exporter, Tracer};
use crate::usage::{Meter, Models};
use crate::workers::{Places, Workers};

/// What lasts as long as the process: whatever is under way, stored, learnt or counted.
pub(super) struct Foundation {
    pub(super) registry: Registry,
    pub(super) drain: Drain,
    pub(super) crowd: Arc<Crowd>,
    /// As the configuration of the start says.
    pub(super) tracer: Tracer,
    exporter: Mutex<Option<Exporter>>,
    keeper: Mutex<Option<Keeper>>,
    pub(super) admission: Arc<Admission>,
    pub(super) buffers: Buffers,
    pub(super) common: Arc<Common>,
    calls: Sharing<Failure>,
    answers: Sharing<Refused>,
    pub(super) jobs: Jobs,
    pub(super) status: Arc<Status>,
    exchanges: Lasting,
    requests: Arc<Requests>,
    models: Models,
    places: Places,
}

/// What one configuration says.
pub(super) struct Generation {
    pub(super) exchanges: Arc<Exchanges>,
    pub(super) gateway: Gateway,
    pub(super) workers: Arc<Workers>,
}

impl Foundation {
    /// Nothing under way. Of the configuration, only what cannot change later counts.
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let registry = Registry::new()?;
        registry.info("build_info", "The version that runs.", "version", env!("CARGO_PKG_VERSION"));
        let drain = Drain::new();
        let (tracer, exporter) = Tracer::new(config.tracing.clone(), &registry)?;
        let buffers = Buffers::new(config.buffered, &registry);
        let (redis, keeper) = config.redis.clone().map(|config| Redis::new(config, &registry)).unzip();
        let remote = redis
            .clone()
            .map(|redis| Remote::new(config.sharing.remote, redis, buffers.clone(), drain.clone(), &registry));
        let common = Common::new(config.sharing, drain.clone(), remote, &registry);
        let rules = config.routes.iter().filter_map(|route| route.background.as_ref());
        Ok(Self {
            admission: Admission::new(config.admission, &registry),
            buffers,
            keeper: Mutex::new(keeper),
            calls: Sharing::new(Arc::clone(&common)),
            answers: Sharing::new(Arc::clone(&common)),
            jobs: Jobs::new(config.background.clone(), rules, drain.clone(), redis.clone(), &registry)?,
            crowd: Arc::new(Crowd::new(descriptors::raise(), &registry)),
            status: Status::new(config.server.status_paths),
            exchanges: Lasting::new(&registry),
            requests: Arc::new(Requests::new(&registry)),
            models: Models::default(),
            places: Places::default(),
            common,
            drain,
            tracer,
            exporter: Mutex::new(exporter),
            registry,
        })
    }

    /// What takes spans to the collector, if there is one, for whoever runs it: once.
    pub(super) fn exporter(&self) -> Option<Exporter> {
        self.exporter.lock().take()
    }

    /// What keeps the connection to Redis, if there is one, for whoever runs it: once.
    pub(super) fn keeper(&self) -> Option<Keeper> {
        self.keeper.lock().take()
    }

    /// Everything that a configuration decides. Of `before`, what did not change is kept, with all it has learnt.
    pub(super) fn generation(&self, config: &Config, before: Option<&Generation>) -> Result<Generation, StartError> {
        let providers = before.map(|before| before.exchanges.providers.clone()).unwrap_or_default();
        let providers = providers.renewed(config.providers.clone(), &self.registry)?;
        let backend = match before {
            Some(before) => before.exchanges.backend.renewed(&config.backend, &self.registry),
            None => Backend::new(&config.backend, &self.registry),
        };
        let mut admission = config.admission;
        if config.workers.follow.is_some() && before.is_some() {
            admission.workers = self.admission.workers(); // as was seen last
        }
        let tracer = self.tracer.reconfigured(&config.tracing);
        // Nothing fails from here on.
        self.status.show_paths(config.server.status_paths);
        let bulkheads = self.admission.reconfigure(admission, &route::bulkheads(&config.routes));
        let exchanges = Arc::new(Exchanges {
            config: config.exchange,
            admission: Arc::clone(&self.admission),
            backend,
            offer: offer(config, &providers),
            providers,
            calls: self.calls(config, &tracer),
            sharing: self.answers.clone(),
            buffers: self.buffers.clone(),
            drain: self.drain.clone(),
            status: Arc::clone(&self.status),
            tracer,
            lasting: self.exchanges.clone(),
        });
        let routes = Table::new(config.routes.clone(), &bulkheads);
        let (jobs, requests) = (self.jobs.clone(), Arc::clone(&self.requests));
        let gateway = Gateway::new(config.proxy.clone(), routes, Arc::clone(&exchanges), jobs, requests);
        let workers = Arc::new(Workers::new(config.workers.clone(), self.places.clone(), &self.registry));
        Ok(Generation { exchanges, gateway, workers })
    }

    fn calls(&self, config: &Config, tracer: &Tracer) -> Calls {
        let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        let meter = Meter::new(config.prices.clone(), &names, Arc::clone(&self.models), &self.registry);
        Calls::new(config.calls.clone(), self.calls.clone(), self.buffers.clone(), Arc::new(meter), tracer.clone())
    }
}

fn offer(config: &Config, providers: &Providers) -> Option<Offer> {
    let limits = &config.exchange.limits;
    let keys = config.keys.clone()?;
    Some(Offer::new(keys, &providers.origins(), limits.max_calls, limits.max_call_bytes))
}
