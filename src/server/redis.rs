//! The connection to Redis as a service, which runs on through a shutdown: others follow what ends here.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::redis::Keeper;
use crate::sharing::Common;

/// The service.
pub(super) struct Second {
    keeper: Mutex<Option<Keeper>>,
    common: Arc<Common>,
}

impl Second {
    pub(super) fn new(keeper: Keeper, common: Arc<Common>) -> Self {
        Self { keeper: Mutex::new(Some(keeper)), common }
    }
}

#[async_trait]
impl BackgroundService for Second {
    async fn start(&self, _: ShutdownWatch) {
        let keeper = self.keeper.lock().take();
        if let Some(keeper) = keeper {
            tokio::join!(keeper.run(), self.common.hear());
        }
    }
}
