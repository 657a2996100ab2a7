//! The operator's listener, which answers to the very end of a shutdown. What it answers is in `pages`.

mod pages;
mod purge;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{TcpListener, UnixListener};

use super::live::Live;
use crate::backend::Address;
use crate::time::{Duration, Instant, sleep};
use pages::Pages;

/// A client that has not sent its request by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process that is superseded may take to leave its address.
const SUCCESSION: Duration = Duration::from_secs(30);
/// The pause after a failed accept (descriptors exhausted, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin listener.
pub(super) struct Admin {
    address: Address,
    pages: Arc<Pages>,
    live: Arc<Live>,
}

impl Admin {
    pub(super) fn new(address: Address, live: Arc<Live>) -> Self {
        Self { address, pages: Arc::new(Pages::new(Arc::clone(&live))), live }
    }
}

/// A bound address.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[async_trait]
impl BackgroundService for Admin {
    /// Runs on through a shutdown, so that probes see it; the end of the process ends it, or another one in its place.
    async fn start(&self, _: ShutdownWatch) {
        let listener = match self.bind().await {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(address = %self.address, %error, "there is no admin listener"),
        };
        tokio::select! {
            () = self.accept(&listener) => {}
            () = self.live.is_superseded() => {}
        }
    }
}

impl Admin {
    /// A process that this one supersedes leaves the address in a moment.
    async fn bind(&self) -> std::io::Result<Listener> {
        let deadline = Instant::now() + SUCCESSION;
        loop {
            let bound = match &self.address {
                Address::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
                Address::Unix(path) => {
                    let _ = std::fs::remove_file(path); // left behind by an earlier process; probed before
                    UnixListener::bind(path).map(Listener::Unix)
                }
            };
            match bound {
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(ACCEPT_PAUSE).await;
                }
                settled => return settled,
            }
        }
    }

    async fn accept(&self, listener: &Listener) {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| self.serve(TokioIo::new(stream))),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| self.serve(TokioIo::new(stream))),
            };
            if accepted.is_err() {
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn serve<S>(&self, stream: S)
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let pages = Arc::clone(&self.pages);
        let service = service_fn(move |request| {
            let pages = Arc::clone(&pages);
            async move { Ok::<_, Infallible>(pages.answer(&request).await) }
        });
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        tokio::spawn(connection.serve_connection(stream, service));
    }
}
