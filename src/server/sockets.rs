//! The listening sockets of this process by address, so that another process can go on with them. Pingora enters those that it
//! binds, and takes those that are here instead of binding.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as Listening;

use crate::backend::Address;
use crate::config::Server;
use crate::time::{Duration, sleep};

/// What Pingora can pass at once: sockets, and bytes of their addresses, which it separates by spaces.
const MOST_SOCKETS: usize = 32;
const MOST_BYTES: usize = 2048;
/// The pause between two looks whether all sockets are there.
const PAUSE: Duration = Duration::from_millis(20);

/// The sockets. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct Sockets(ListenFds);

/// Why sockets cannot be passed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotPass {
    #[error("{0} sockets are too many; {MOST_SOCKETS} can be passed")]
    TooMany(usize),
    #[error(
        "a Unix socket's path with spaces cannot be passed, nor addresses of more than {MOST_BYTES} bytes together"
    )]
    Addresses,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

impl Sockets {
    /// None yet.
    pub(super) fn none() -> Self {
        Self(ListenFds::new(Fds::new().into()))
    }

    /// Those that another process passes at `path`, for which this one waits a few seconds. What `server` does not listen on
    /// any more is closed.
    pub(super) fn taken_over(path: &Path, server: &Server) -> io::Result<Self> {
        // Pingora panics where it cannot wait.
        if !path.parent().is_some_and(Path::is_dir) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "nobody passes any; --upgrade is set by `kill -USR2`"));
        }
        let mut sockets = Fds::new();
        sockets.get_from_sock(text(path)?)?;
        sockets.close_unclaimed(&addresses(server).map(key).collect::<HashSet<_>>());
        Ok(Self(ListenFds::new(sockets.into())))
    }

    /// Whether an address is listened on.
    pub(super) fn hold(&self, address: &Address) -> bool {
        self.0.lock().get(&key(address)).is_some()
    }

    /// Resolves when all addresses are listened on.
    pub(super) async fn all_bound(&self, server: &Server) {
        for address in addresses(server) {
            while !self.hold(address) {
                sleep(PAUSE).await;
            }
        }
    }

    /// Whether they can be passed.
    pub(super) fn can_be_passed(&self) -> Result<(), CannotPass> {
        let (addresses, _) = self.0.lock().serialize();
        if addresses.len() > MOST_SOCKETS {
            return Err(CannotPass::TooMany(addresses.len()));
        }
        let bytes: usize = addresses.iter().map(|address| address.len() + 1).sum();
        let has_space = addresses.iter().any(|address| address.contains(|letter: char| letter.is_ascii_whitespace()));
        if has_space || bytes > MOST_BYTES { Err(CannotPass::Addresses) } else { Ok(()) }
    }

    /// Passes them to the process that waits for them at `path`. Blocks for some seconds at the most.
    pub(super) fn pass(&self, path: &Path) -> Result<(), CannotPass> {
        let path = text(path)?;
        self.0.lock().send_to_sock(path).map(drop).map_err(|error| CannotPass::Failed(error.into()))
    }

    /// A service whose sockets are entered here. It accepts connections until the server stops, or as long as `until` says.
    pub(super) fn listening<A>(&self, service: Listening<A>, until: Option<ShutdownWatch>) -> Passable<A> {
        Passable { service, sockets: self.clone(), until }
    }
}

/// All addresses that are listened on.
pub(super) fn addresses(server: &Server) -> impl Iterator<Item = &Address> {
    server.listen.iter().chain(&server.h2c).chain(&server.egress).chain(&server.admin)
}

/// How Pingora names it.
fn key(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.clone(),
        Address::Unix(path) => path.display().to_string(),
    }
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

/// A service whose sockets can be passed on.
pub(super) struct Passable<A> {
    service: Listening<A>,
    sockets: Sockets,
    until: Option<ShutdownWatch>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Passable<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, stopping: ShutdownWatch, listeners_per_socket: usize) {
        let stopping = self.until.take().unwrap_or(stopping);
        let sockets = Some(self.sockets.0.clone());
        Service::start_service(&mut self.service, sockets, stopping, listeners_per_socket).await;
    }

    fn name(&self) -> &str {
        Service::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(addresses: impl IntoIterator<Item = String>) -> Sockets {
        let sockets = Sockets::none();
        addresses.into_iter().for_each(|address| sockets.0.lock().add(address, 0));
        sockets
    }

    #[test]
    fn what_pingora_would_pass_wrongly_is_not_passed() {
        assert!(sockets(["127.0.0.1:80".to_owned(), "/run/app.sock".to_owned()]).can_be_passed().is_ok());
        let spaced = sockets(["/run/my app.sock".to_owned()]);
        assert!(matches!(spaced.can_be_passed(), Err(CannotPass::Addresses)));
        let long = sockets(["a".repeat(MOST_BYTES)]);
        assert!(matches!(long.can_be_passed(), Err(CannotPass::Addresses)));
        let many = sockets((0..=MOST_SOCKETS).map(|port| format!("127.0.0.1:{port}")));
        assert!(matches!(many.can_be_passed(), Err(CannotPass::TooMany(33))));
    }
}
