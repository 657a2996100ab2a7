//! The configuration that is served with now, and how another takes its place.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::build::StartError;
use super::certificate::Certificate;
use super::metrics::Metrics;
use super::parts::{Foundation, Generation};
use super::restart;
use crate::config::Config;
use crate::proxy::Current;

/// What runs.
pub(super) struct Live {
    foundation: Arc<Foundation>,
    /// The configuration of the start: what cannot change in place is as it says.
    started: Config,
    generation: ArcSwap<Generation>,
    /// The same for requests.
    current: Current,
    certificate: Option<Arc<Certificate>>,
    metrics: Metrics,
    superseded: watch::Sender<bool>,
}

impl Live {
    /// As `config` says.
    pub(super) fn new(foundation: Arc<Foundation>, config: Config) -> Result<Self, StartError> {
        let generation = foundation.generation(&config, None)?;
        let certificate = config.server.tls.as_ref().map(Certificate::load).transpose()?;
        Ok(Self {
            current: Current::new(generation.gateway.clone()),
            generation: ArcSwap::from_pointee(generation),
            certificate: certificate.map(Arc::new),
            metrics: Metrics::new(&foundation.registry),
            superseded: watch::Sender::new(false),
            started: config,
            foundation,
        })
    }

    /// Serves what begins from now on as `config` says. Returns the keys that only a restart can change.
    ///
    /// # Errors
    /// Fails where parts cannot be made; then everything is as before.
    pub(super) fn apply(&self, config: &Config) -> Result<Vec<&'static str>, StartError> {
        // The pair is checked before anything is changed.
        let renewed = match (&self.certificate, &config.server.tls) {
            (Some(certificate), Some(paths)) => Some((certificate, Certificate::read(paths)?)),
            (None | Some(_), _) => None,
        };
        let generation = self.foundation.generation(config, Some(&self.generation.load()))?;
        if let Some((certificate, pair)) = renewed {
            certificate.replace(pair);
        }
        self.current.replace(generation.gateway.clone());
        self.generation.store(Arc::new(generation));
        Ok(restart::needed(&self.started, config))
    }

    pub(super) fn foundation(&self) -> &Foundation {
        &self.foundation
    }

    /// The configuration of the start.
    pub(super) fn started(&self) -> &Config {
        &self.started
    }

    /// What is served with now.
    pub(super) fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// For those who serve requests.
    pub(super) fn current(&self) -> &Current {
        &self.current
    }

    /// Counters of the configuration's changes.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Another process serves from now on.
    pub(super) fn supersede(&self) {
        self.superseded.send_replace(true);
    }

    /// Becomes true when another process serves.
    pub(super) fn superseded(&self) -> watch::Receiver<bool> {
        self.superseded.subscribe()
    }

    /// The server's own certificate, where it has one.
    pub(super) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }
}
