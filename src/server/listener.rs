//! Sockets and TLS to Pingora services.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use rustls::server::ResolvesServerCert;

use super::admin::Admin;
use super::certificate::Certificate;
use super::live::Live;
use super::sockets::{self, Sockets};
use crate::backend::Address;
use crate::config::Server;
use crate::proxy::{Edge, Egress};
use crate::time::Duration;

/// Bytes read ahead of what is asked for. They stay with every connection, waiting ones included, and larger reads
/// go past them.
const READ_BUFFER: usize = 512;
/// How long an HTTP/2 connection without streams is kept.
const H2_IDLE: Duration = Duration::from_secs(120);
/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;
/// A socket that only its owner can connect to.
const OWN: u32 = 0o600;
/// A socket that its owner and its group can connect to.
const GROUP: u32 = 0o660;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct CannotBind {
    address: String,
    cause: io::Error,
}

/// Tries each address that is not held already before anything is set up, because Pingora panics on those it cannot bind.
pub(super) fn probe(server: &Server, held: &Sockets) -> Result<(), CannotBind> {
    for address in sockets::addresses(server).filter(|address| !held.hold(address)) {
        let bound = match address {
            Address::Tcp(address) => bind_tcp(address),
            Address::Unix(path) => free_path(path),
        };
        bound.map_err(|cause| CannotBind { address: address.to_string(), cause })?;
    }
    Ok(())
}

/// What is left of an earlier process may be replaced; anything else may not.
fn free_path(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
            Err(_) => Ok(()),
        },
    }
}

/// Binds as Pingora will, with SO_REUSEADDR, so that a restart does not wait for old connections.
fn bind_tcp(address: &str) -> io::Result<()> {
    std::net::TcpListener::bind(address).map(drop)
}

/// The services that serve clients: one for HTTP/1.1 and TLS, one for HTTP/2 without TLS.
pub(super) fn services(server: &Server, conf: &Arc<ServerConf>, live: &Live) -> Vec<Service<Edge>> {
    let mut services = Vec::new();
    if !server.listen.is_empty() {
        let mut service = service("http", conf, live, false);
        for address in &server.listen {
            service.add_listener(listener(address, live.certificate()));
        }
        services.push(service);
    }
    if let Some(address) = &server.h2c {
        let mut service = service("h2c", conf, live, true);
        service.add_listener(listener(address, None));
        services.push(service);
    }
    services
}

/// The service for calls from outside a request. Whoever reaches it spends keys, so where it is a file, not everybody on
/// this machine can use it.
pub(super) fn egress(address: &Address, live: &Live) -> Service<Egress> {
    let crowd = Arc::clone(&live.foundation().crowd);
    let mut service = Service::new("egress".to_owned(), Egress::new(live.current().clone(), crowd));
    service.add_listener(restricted(address, GROUP));
    service
}

/// The operator's listener. Others on this machine cannot use it where it is a file.
pub(super) fn admin(address: &Address, admin: Admin) -> Service<Admin> {
    let mut service = Service::new("admin".to_owned(), admin);
    service.threads = Some(1);
    service.add_listener(restricted(address, OWN));
    service
}

/// A listener that, where it is a file, is for those only whom `mode` lets in.
fn restricted(address: &Address, mode: u32) -> ListenerConfig {
    let listener = listener(address, None);
    match address {
        Address::Unix(_) => listener.permissions(Permissions::from_mode(mode)),
        Address::Tcp(_) => listener,
    }
}

/// The addresses, for the log.
pub(super) fn describe(server: &Server) -> String {
    server.listen.iter().chain(&server.h2c).map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn service(name: &str, conf: &Arc<ServerConf>, live: &Live, h2c: bool) -> Service<Edge> {
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    options.h2_idle_timeout = Some(H2_IDLE);
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(H2_STREAMS);
    let crowd = Arc::clone(&live.foundation().crowd);
    Service::new(name.to_owned(), Edge::new(live.current().clone(), crowd, conf, options, h2))
}

fn listener(address: &Address, tls: Option<&Arc<Certificate>>) -> ListenerConfig {
    let buffers = L4BufferSettings::default().read(READ_BUFFER);
    match address {
        Address::Unix(path) => ListenerConfig::uds(path.display().to_string()).l4_buffer(buffers),
        Address::Tcp(address) => {
            let listener = ListenerConfig::tcp(address.as_str()).l4_buffer(buffers);
            let Some(certificate) = tls else { return listener };
            let mut settings =
                TlsSettings::intermediate("", "").expect("it only notes two paths, which a resolver goes before");
            settings.set_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
            settings.enable_h2();
            listener.tls(settings)
        }
    }
}
