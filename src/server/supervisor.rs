//! What a service manager is told over `$NOTIFY_SOCKET`, as systemd's `Type=notify` wants it; nothing where there is none.

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use sd_notify::NotifyState;

use crate::backend::Address;
use crate::config::Server;
use crate::time::{Duration, sleep};

/// The pause between two looks whether all listeners are there.
const PAUSE: Duration = Duration::from_millis(20);

/// Says that this process serves, as soon as it does.
pub(super) struct Announce(Vec<Address>);

impl Announce {
    pub(super) fn new(server: &Server) -> Self {
        Self(server.listen.iter().chain(&server.h2c).chain(&server.egress).chain(&server.admin).cloned().collect())
    }
}

#[async_trait]
impl BackgroundService for Announce {
    async fn start(&self, _: ShutdownWatch) {
        for address in &self.0 {
            while !listens(address).await {
                sleep(PAUSE).await;
            }
        }
        ready();
    }
}

async fn listens(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => tokio::net::TcpStream::connect(address).await.is_ok(),
        Address::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
    }
}

/// This process serves, and is the service's main one.
pub(super) fn ready() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// This process is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The configuration is read again; [`ready`] says when that is done.
pub(super) fn reloading() {
    if let Ok(since) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
