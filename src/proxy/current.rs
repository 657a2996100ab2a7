//! Which configuration requests are served with: each takes the current one at its beginning and keeps it to its end.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Gateway;

/// The gateway of now. Cloning gives another handle.
#[derive(Clone)]
pub struct Current(Arc<ArcSwap<Gateway>>);

impl Current {
    /// Requests are served with this one.
    pub fn new(gateway: Gateway) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(gateway)))
    }

    /// For one request.
    pub fn get(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// Requests that begin from now on are served with another one.
    pub fn replace(&self, gateway: Gateway) {
        self.0.store(Arc::new(gateway));
    }
}
