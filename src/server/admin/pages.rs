//! What the admin listener answers; `status::ENDPOINTS` lists it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{purge, status};
use crate::background::Jobs;
use crate::exchange::Exchanges;
use crate::sharing::Common;
use crate::telemetry::Registry;

/// An answer of the admin listener.
pub(super) type Answer = Response<Full<Bytes>>;

/// What the pages are about.
pub(super) struct Pages {
    registry: Registry,
    exchanges: Arc<Exchanges>,
    common: Arc<Common>,
    jobs: Jobs,
}

impl Pages {
    pub(super) fn new(registry: Registry, exchanges: Arc<Exchanges>, common: Arc<Common>, jobs: Jobs) -> Self {
        Self { registry, exchanges, common, jobs }
    }

    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.uri().path() == "/-/purge" {
            return purge::run(&self.common, request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET here\n");
        }
        match request.uri().path() {
            "/" => status::front(request.headers()),
            "/-/status" => self.status(),
            "/metrics" => self.metrics(),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::NOT_FOUND, format!("not here; here are\n{}", status::ENDPOINTS)),
        }
    }

    /// Takes note of what the metrics say, for the status page's curves.
    pub(super) fn sample(&self) {
        self.observe();
        self.exchanges.status.sample(&self.registry.read());
    }

    /// Brings the metrics that depend on time up to date.
    fn observe(&self) {
        self.common.observe();
        self.jobs.observe();
        self.exchanges.observe();
    }

    fn status(&self) -> Answer {
        self.observe();
        status::json(&self.exchanges.status.report(&self.registry.read(), self.exchanges.drain.is_draining()))
    }

    fn metrics(&self) -> Answer {
        self.observe();
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
    async fn readiness(&self) -> Answer {
        if self.exchanges.drain.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if !self.exchanges.backend.accepts().await {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the app does not accept connections\n");
        }
        text(StatusCode::OK, "ok\n")
    }
}

/// A page of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
