//! The operator's listener, which answers to the very end of a shutdown. What it answers is in `pages`.

mod pages;
mod purge;

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;

use super::live::Live;
use crate::time::Duration;
use pages::Pages;

/// A client that has not sent its request by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The application of the admin listener.
pub(super) struct Admin {
    pages: Arc<Pages>,
}

impl Admin {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { pages: Arc::new(Pages::new(live)) }
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
