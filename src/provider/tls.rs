//! The connections to one provider over TLS. HTTP/2 shares one among calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Config;
use crate::tls::{self, BadTrust, Client, Connector, Schemes, Trust};

/// Calls that share an HTTP/2 connection. Servers allow a hundred streams at least (RFC 9113, section 6.5.2); calls
/// beyond what a server allows would wait for one another where nobody sees it.
const CALLS_A_CONNECTION: usize = 100;

/// As many clients as calls need. Each has one connection where the provider speaks HTTP/2.
#[derive(Debug)]
pub(super) struct TlsClients {
    connector: Connector,
    clients: Mutex<Vec<Arc<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    calls: AtomicUsize,
}

/// A client with room for one call more, until dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl TlsClients {
    /// Without connections.
    pub(super) fn new(config: &Config, trust: &Trust) -> Result<Self, BadTrust> {
        let mut trust = trust.clone();
        if let Some(pem) = &config.ca_pem {
            trust = trust.and(pem, &format!("providers.{}.ca_file", config.name))?;
        }
        let trust = trust.for_use(&format!("provider {}", config.name))?;
        Ok(Self::over(tls::connector(trust, config.timeouts.connect, Schemes::Https)))
    }

    fn over(connector: Connector) -> Self {
        Self { connector, clients: Mutex::default() }
    }

    /// The first client that has room, so that few connections are kept.
    pub(super) fn place(&self) -> Place {
        let mut clients = self.clients.lock();
        let with_room = clients.iter().find(|shared| shared.calls.load(Ordering::Acquire) < CALLS_A_CONNECTION);
        let shared = with_room.cloned().unwrap_or_else(|| {
            let added = Arc::new(Shared { client: tls::client(self.connector.clone()), calls: AtomicUsize::new(0) });
            clients.push(Arc::clone(&added));
            added
        });
        shared.calls.fetch_add(1, Ordering::AcqRel);
        Place(shared)
    }
}

impl Place {
    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[tokio::test]
    async fn calls_beyond_a_hundred_get_another_connection_and_leave_room_when_they_end() {
        let clients = TlsClients::over(tls::connector(Trust::nobody(), Duration::from_secs(1), Schemes::Https));
        let mut places: Vec<Place> = (0..=CALLS_A_CONNECTION).map(|_| clients.place()).collect();
        assert_eq!(clients.clients.lock().len(), 2);
        places.remove(0);
        places.push(clients.place());
        assert_eq!(clients.clients.lock().len(), 2);
        assert!(Arc::ptr_eq(&places.last().unwrap().0, &places[0].0), "the first with room");
    }
}
