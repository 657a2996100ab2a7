//! `/metrics`, `/livez`, `/readyz` and `/-/purge` on a listener of their own, which answers to the very end of a shutdown.

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{TcpListener, UnixListener};
use url::form_urlencoded;

use crate::backend::Address;
use crate::background::Jobs;
use crate::cache::Selector;
use crate::exchange::Exchanges;
use crate::sharing::Common;
use crate::telemetry::Registry;
use crate::time::{Duration, sleep};

/// A client that has not sent its request by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept (descriptors exhausted, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The admin listener.
pub(super) struct Admin {
    address: Address,
    pages: Arc<Pages>,
}

struct Pages {
    registry: Registry,
    exchanges: Arc<Exchanges>,
    common: Arc<Common>,
    jobs: Jobs,
}

impl Admin {
    pub(super) fn new(
        address: Address,
        registry: Registry,
        exchanges: Arc<Exchanges>,
        common: Arc<Common>,
        jobs: Jobs,
    ) -> Self {
        Self { address, pages: Arc::new(Pages { registry, exchanges, common, jobs }) }
    }
}

#[async_trait]
impl BackgroundService for Admin {
    /// Runs on through a shutdown, so that probes see it; the end of the process ends it.
    async fn start(&self, _: ShutdownWatch) {
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

impl Pages {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/-/purge" {
            return self.purge(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET here\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::NOT_FOUND, "here are /metrics, /livez, /readyz and /-/purge\n"),
        }
    }

    /// Removes stored answers: `POST /-/purge?all`, or `?key=`, `?tag=`, `?origin=` (a route's path or a provider's name).
    async fn purge(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST here\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let Some(selector) = selector(query) else {
            return text(StatusCode::BAD_REQUEST, "say what: ?all, ?key=KEY, ?tag=TAG or ?origin=ROUTE-OR-PROVIDER\n");
        };
        let count = self.common.purge(&selector).await;
        tracing::info!(?selector, count, "purged");
        text(StatusCode::OK, format!("{count} entries\n"))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.common.observe();
        self.jobs.observe();
        self.exchanges.admission.observe();
        match self.registry.render() {
            Ok(metrics) => {
                let mut answer = text(StatusCode::OK, metrics);
                let version = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(header::CONTENT_TYPE, version);
                answer
            }
            Err(error) => {
                tracing::error!(%error, "cannot render metrics");
                text(StatusCode::INTERNAL_SERVER_ERROR, "cannot render metrics\n")
            }
        }
    }

    /// Ready to be sent traffic: not shutting down, and the app accepts connections. A saturated pool is ready,
    /// or every pod would leave the service at once.
    async fn readiness(&self) -> Response<Full<Bytes>> {
        if self.exchanges.drain.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if !self.exchanges.backend.accepts().await {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the app does not accept connections\n");
        }
        text(StatusCode::OK, "ok\n")
    }
}

/// What exactly one parameter names.
fn selector(query: &str) -> Option<Selector> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (name, value) = pairs.next().filter(|_| pairs.next().is_none())?;
    match &*name {
        "all" if value.is_empty() => Some(Selector::All),
        "key" => value.parse().ok().map(Selector::Key),
        "tag" => Some(Selector::Tag(value.into_owned())),
        "origin" => Some(Selector::Origin(value.into_owned())),
        _ => None,
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
