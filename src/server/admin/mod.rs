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
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::live::Live;
use crate::status::STEP;
use crate::time::{Duration, sleep};
use pages::Pages;

/// A client that has not sent its request by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The application of the admin listener.
pub(super) struct Admin {
    pages: Arc<Pages>,
}

/// Fills the status page's curves, whether somebody looks or not.
pub(super) struct Samples(Arc<Pages>);

impl Admin {
    /// With what keeps its curves.
    pub(super) fn new(live: Arc<Live>) -> (Self, Samples) {
        let pages = Arc::new(Pages::new(live));
        (Self { pages: Arc::clone(&pages) }, Samples(pages))
    }
}

#[async_trait]
impl BackgroundService for Samples {
    async fn start(&self, _: ShutdownWatch) {
        loop {
            sleep(STEP).await;
            self.0.sample();
        }
    }
}

#[async_trait]
impl ServerApp for Admin {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let pages = Arc::clone(&self.pages);
        let service = service_fn(move |request| {
            let pages = Arc::clone(&pages);
            async move { Ok::<_, Infallible>(pages.answer(&request).await) }
        });
        let mut connection = http1::Builder::new();
        connection.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        // A client that leaves too early is no fault of ours.
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        None
    }
}
