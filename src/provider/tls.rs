//! The connections to one provider over TLS: what they trust, how much they buffer. HTTP/2 shares one among calls.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::Config;
use crate::time::Duration;

/// How long an idle connection to a provider is kept.
pub(super) const KEEP_IDLE: Duration = Duration::from_secs(90);
/// Bytes read at once from a provider. Each waiting call holds one such buffer.
const READ_BUFFER: usize = 4096;

pub(super) type TlsClient = Client<TimeoutConnector<HttpsConnector<HttpConnector>>, Full<Bytes>>;

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

/// A client without connections.
pub(super) fn client(config: &Config, roots: &RootCertStore) -> Result<TlsClient, BadTrust> {
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
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_IDLE)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(connector))
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
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
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
