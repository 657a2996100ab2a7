//! The server's own certificate, which may be another one tomorrow: each handshake takes the present one.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The paths of a chain and a key, PEM.
type Paths = (String, String);

/// A pair that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("server.tls: cannot use {path}: {cause}")]
pub struct Unusable {
    path: String,
    cause: String,
}

/// The certificate of now.
pub(super) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    /// Of these files.
    pub(super) fn load(paths: &Paths) -> Result<Self, Unusable> {
        Ok(Self(ArcSwap::from_pointee(Self::read(paths)?)))
    }

    /// Reads a pair and sees that its parts belong together.
    pub(super) fn read((chain, key): &Paths) -> Result<CertifiedKey, Unusable> {
        let unusable =
            |path: &str, cause: &dyn fmt::Display| Unusable { path: path.to_owned(), cause: cause.to_string() };
        let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|error| unusable(chain, &error))?;
        if certificates.is_empty() {
            return Err(unusable(chain, &"it holds no certificate"));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
        let signing = any_supported_type(&secret).map_err(|error| unusable(key, &error))?;
        let pair = CertifiedKey::new(certificates, signing);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
            Err(error) => Err(unusable(key, &error)),
        }
    }

    /// Handshakes that begin from now on get another one.
    pub(super) fn replace(&self, pair: CertifiedKey) {
        self.0.store(Arc::new(pair));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}
