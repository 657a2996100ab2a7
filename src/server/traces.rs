//! The exporter of spans as a service, which runs on through a shutdown: the last spans are those of the last exchanges.

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::trace::Exporter;

/// The service.
pub(super) struct Traces(Mutex<Option<Exporter>>);

impl Traces {
    pub(super) fn new(exporter: Exporter) -> Self {
        Self(Mutex::new(Some(exporter)))
    }
}

#[async_trait]
impl BackgroundService for Traces {
    async fn start(&self, _: ShutdownWatch) {
        let exporter = self.0.lock().take();
        if let Some(exporter) = exporter {
            exporter.run().await;
        }
    }
}
