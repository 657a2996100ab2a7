//! The operator's listener, which answers to the very end of a shutdown. What it answers is in `pages`.

mod pages;
mod purge;
mod status;

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{TcpListener, UnixListener};

use crate::backend::Address;
use crate::background::Jobs;
use crate::exchange::Exchanges;
use crate::sharing::Common;
use crate::status::STEP;
use crate::telemetry::Registry;
use crate::time::{Duration, sleep};
use pages::Pages;

/// A client that has not sent its request by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept (descriptors exhausted, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin listener.
pub(super) struct Admin {
    address: Address,
    pages: Arc<Pages>,
}

impl Admin {
    pub(super) fn new(
        address: Address,
        registry: Registry,
        exchanges: Arc<Exchanges>,
        common: Arc<Common>,
        jobs: Jobs,
    ) -> Self {
        Self { address, pages: Arc::new(Pages::new(registry, exchanges, common, jobs)) }
    }
}

#[async_trait]
impl BackgroundService for Admin {
    /// Runs on through a shutdown, so that probes see it; the end of the process ends it.
    async fn start(&self, _: ShutdownWatch) {
        tokio::spawn(sample(Arc::clone(&self.pages)));
        let served = match &self.address {
            Address::Tcp(address) => match TcpListener::bind(address).await {
                Ok(listener) => self.serve_tcp(listener).await,
                Err(error) => Err(error),
            },
            Address::Unix(path) => {
                let _ = std::fs::remove_file(path); // left behind by an earlier process; probed before
                match UnixListener::bind(path) {
                    Ok(listener) => self.serve_unix(listener).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = served {
            tracing::error!(address = %self.address, %error, "the admin listener ended");
        }
    }
}

/// Fills the status page's curves, whether somebody looks or not.
async fn sample(pages: Arc<Pages>) {
    loop {
        sleep(STEP).await;
        pages.sample();
    }
}

impl Admin {
    async fn serve_tcp(&self, listener: TcpListener) -> std::io::Result<()> {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.serve(TokioIo::new(stream)),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn serve_unix(&self, listener: UnixListener) -> std::io::Result<()> {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.serve(TokioIo::new(stream)),
                Err(_) => sleep(ACCEPT_PAUSE).await,
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
