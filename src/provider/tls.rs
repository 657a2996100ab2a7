//! The connections to one provider over TLS: what they trust, how much they buffer. HTTP/2 shares one among calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::Config;
use crate::time::Duration;

/// How long an idle connection to a provider is kept.
pub(super) const KEEP_IDLE: Duration = Duration::from_secs(90);
/// Bytes read at once from a provider. Each waiting call holds one such buffer.
const READ_BUFFER: usize = 4096;

/// Calls that share an HTTP/2 connection. Servers allow a hundred streams at least (RFC 9113, section 6.5.2); calls
/// beyond what a server allows would wait for one another where nobody sees it.
const CALLS_A_CONNECTION: usize = 100;

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;
pub(super) type TlsClient = Client<Connector, Full<Bytes>>;

/// As many clients as calls need. Each has one connection where the provider speaks HTTP/2.
#[derive(Debug)]
pub(super) struct TlsClients {
    connector: Connector,
    clients: Mutex<Vec<Arc<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    client: TlsClient,
    calls: AtomicUsize,
}

/// A client with room for one call more, until dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

impl TlsClients {
    /// Without connections.
    pub(super) fn new(config: &Config, roots: &RootCertStore) -> Result<Self, BadTrust> {
        Ok(Self { connector: connector(config, roots)?, clients: Mutex::default() })
    }

    /// The first client that has room, so that few connections are kept.
    pub(super) fn place(&self) -> Place {
        let mut clients = self.clients.lock();
        let with_room = clients.iter().find(|shared| shared.calls.load(Ordering::Acquire) < CALLS_A_CONNECTION);
        let shared = with_room.cloned().unwrap_or_else(|| {
            let added = Arc::new(Shared { client: client(self.connector.clone()), calls: AtomicUsize::new(0) });
            clients.push(Arc::clone(&added));
            added
        });
        shared.calls.fetch_add(1, Ordering::AcqRel);
        Place(shared)
    }
}

impl Place {
    pub(super) fn client(&self) -> &TlsClient {
        &self.0.client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTrust {
    /// The extra certificates of a provider are not PEM.
    #[error("providers.{0}.ca_file holds no usable certificate")]
    CaFile(String),
    /// The platform has none and none was configured.
    #[error("no root certificates found: install ca-certificates, set SSL_CERT_FILE, or set ca_file for {0}")]
    NoRoots(String),
}

fn connector(config: &Config, roots: &RootCertStore) -> Result<Connector, BadTrust> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let tls = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls(config, roots)?)
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(Some(config.timeouts.connect));
    Ok(connector)
}

fn client(connector: Connector) -> TlsClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_IDLE)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(connector)
}

fn tls(config: &Config, roots: &RootCertStore) -> Result<ClientConfig, BadTrust> {
    let mut roots = roots.clone();
    if let Some(pem) = &config.ca_pem {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(BadTrust::CaFile(config.name.clone()));
        }
    }
    if roots.is_empty() {
        return Err(BadTrust::NoRoots(config.name.clone()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.expect("ring supports TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth())
}

/// The certificates that the system trusts.
pub(super) fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read a root certificate");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_beyond_a_hundred_get_another_connection_and_leave_room_when_they_end() {
        let config = TlsClients {
            connector: TimeoutConnector::new(
                hyper_rustls::HttpsConnectorBuilder::new()
                    .with_tls_config(
                        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                            .with_safe_default_protocol_versions()
                            .unwrap()
                            .with_root_certificates(RootCertStore::empty())
                            .with_no_client_auth(),
                    )
                    .https_only()
                    .enable_all_versions()
                    .build(),
            ),
            clients: Mutex::default(),
        };
        let mut places: Vec<Place> = (0..=CALLS_A_CONNECTION).map(|_| config.place()).collect();
        assert_eq!(config.clients.lock().len(), 2);
        places.remove(0);
        places.push(config.place());
        assert_eq!(config.clients.lock().len(), 2);
        assert!(Arc::ptr_eq(&places.last().unwrap().0, &places[0].0), "the first with room");
    }
}
