//! HTTPS clients: which certificates they trust, and how long a connection may take. What is asked, and how often, is
//! their owners' business.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::time::Duration;

/// How long an idle connection is kept.
pub const KEEP_IDLE: Duration = Duration::from_secs(90);
/// Bytes read at once. Each waiting request holds one such buffer.
const READ_BUFFER: usize = 4096;

/// Makes connections. Cloning is cheap.
pub type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;
/// Sends requests, over HTTP/2 where the server speaks it.
pub type Client = legacy::Client<Connector, Full<Bytes>>;

/// Which URLs a client may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schemes {
    /// `https` only.
    Https,
    /// `http` too.
    Any,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTrust {
    /// The extra certificates are not PEM. Holds the key that names them.
    #[error("{0} holds no usable certificate")]
    CaFile(String),
    /// The platform has none and none was configured. Holds what they are needed for.
    #[error("no root certificates found for {0}: install ca-certificates, or set SSL_CERT_FILE or a ca_file")]
    NoRoots(String),
}

/// Whom a client believes.
#[derive(Clone, Debug)]
pub struct Trust(RootCertStore);

impl Trust {
    /// Nobody: for clients that never use TLS.
    pub fn nobody() -> Self {
        Self(RootCertStore::empty())
    }

    /// The certificates that the system trusts.
    pub fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "cannot read a root certificate");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Self(roots)
    }

    /// These too. `key` names them in the configuration.
    ///
    /// # Errors
    /// Fails when there is no certificate in `pem`.
    pub fn and(mut self, pem: &[u8], key: &str) -> Result<Self, BadTrust> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
        match self.0.add_parsable_certificates(certificates) {
            (0, _) => Err(BadTrust::CaFile(key.to_owned())),
            _ => Ok(self),
        }
    }

    /// At least somebody. `purpose` says what for.
    ///
    /// # Errors
    /// Fails when nobody is trusted.
    pub fn for_use(self, purpose: &str) -> Result<Self, BadTrust> {
        if self.0.is_empty() { Err(BadTrust::NoRoots(purpose.to_owned())) } else { Ok(self) }
    }
}

/// Connections to whom `trust` says, each within `connect_timeout`, names and TLS included.
pub fn connector(trust: Trust, connect_timeout: Duration, schemes: Schemes) -> Connector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config(trust));
    let builder = match schemes {
        Schemes::Https => builder.https_only(),
        Schemes::Any => builder.https_or_http(),
    };
    let mut connector = TimeoutConnector::new(builder.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(Some(connect_timeout));
    connector
}

/// A client without connections.
pub fn client(connector: Connector) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_IDLE)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(connector)
}

/// What went wrong underneath, in the network's own words.
pub fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
}

fn config(Trust(roots): Trust) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("ring supports TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_said_with_its_key() {
        let error = Trust::nobody().and(b"no PEM", "providers.a.ca_file").unwrap_err();
        assert_eq!(error.to_string(), "providers.a.ca_file holds no usable certificate");
        assert!(Trust::nobody().for_use("provider a").unwrap_err().to_string().contains("for provider a: install"));
    }
}
