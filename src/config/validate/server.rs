//! Listeners, TLS, threads.

use std::num::NonZeroUsize;

use super::Check;
use crate::backend::Address;
use crate::config::Server;
use crate::config::file::{self, File};
use crate::config::units::Parsed;

impl Check<'_> {
    pub(super) fn server(&mut self, file: &File) -> Server {
        let server = &file.server;
        if server.listen.is_empty() && server.h2c.is_none() {
            self.fault("server.listen", "name at least one address, such as [\"0.0.0.0:8080\"]");
        }
        let named: Vec<(String, &Parsed<Address>)> = server
            .listen
            .iter()
            .enumerate()
            .map(|(n, address)| (format!("server.listen[{n}]"), address))
            .chain(server.h2c.iter().map(|address| ("server.h2c".to_owned(), address)))
            .chain(server.admin.iter().map(|address| ("server.admin".to_owned(), address)))
            .chain(server.egress.iter().map(|address| ("server.egress".to_owned(), address)))
            .collect();
        for (n, (key, address)) in named.iter().enumerate() {
            self.listenable(key, &address.0);
            if let Some((other, _)) = named[..n].iter().find(|(_, earlier)| *earlier == *address) {
                self.fault(key, format!("{} is used by {other} already", address.0));
            }
        }
        let tls = server.tls.as_ref().map(|tls| self.tls(tls));
        let threads = NonZeroUsize::new(server.threads).or_else(|| std::thread::available_parallelism().ok());
        Server {
            listen: server.listen.iter().map(|address| address.0.clone()).collect(),
            h2c: server.h2c.as_ref().map(|address| address.0.clone()),
            tls,
            admin: server.admin.as_ref().map(|address| address.0.clone()),
            egress: server.egress.as_ref().map(|address| address.0.clone()),
            threads: threads.map_or(1, NonZeroUsize::get),
            watch: server.watch,
            linger: server.linger.0,
            propagation: server.propagation.0,
            drain: server.drain.0,
            status_paths: server.status_paths,
        }
    }

    fn listenable(&mut self, key: &str, address: &Address) {
        match address {
            Address::Tcp(text) if text.parse::<std::net::SocketAddr>().is_err() => {
                self.fault(key, format!("{text} is not ip:port; write an IP address, such as 0.0.0.0:8080"));
            }
            Address::Unix(path) if !path.parent().is_some_and(std::path::Path::is_dir) => {
                self.fault(key, format!("the directory of {} does not exist", path.display()));
            }
            Address::Tcp(_) | Address::Unix(_) => {}
        }
    }

    /// Pingora panics on files that it cannot use, so they are tried here.
    fn tls(&mut self, tls: &file::Tls) -> (String, String) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain =
            CertificateDer::pem_file_iter(&tls.cert).map(|found| found.filter_map(Result::ok).collect::<Vec<_>>());
        let key = PrivateKeyDer::from_pem_file(&tls.key);
        match (&chain, &key) {
            (Ok(chain), _) if chain.is_empty() => {
                self.fault("server.tls.cert", format!("{} holds no certificate in PEM", tls.cert));
            }
            (Err(error), _) => self.fault("server.tls.cert", format!("cannot read {}: {error}", tls.cert)),
            (Ok(_), _) => {}
        }
        if let Err(error) = &key {
            self.fault("server.tls.key", format!("cannot read a PEM private key from {}: {error}", tls.key));
        }
        if let (Ok(chain), Ok(key)) = (chain, key) {
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let usable = versions.and_then(|versions| versions.with_no_client_auth().with_single_cert(chain, key));
            if let Err(error) = usable {
                self.fault("server.tls", format!("certificate and key do not work together: {error}"));
            }
        }
        (tls.cert.clone(), tls.key.clone())
    }
}
