//! What the admin listener answers; `status::ENDPOINTS` lists it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::super::live::Live;
use super::{purge, status};
use crate::proxy::is_of_a_foreign_page;
use crate::time::{Duration, sleep, sleep_until, timeout};

/// What does something rather than tell something.
const ACTS: [&str; 3] = ["/-/purge", "/-/drain", "/-/drained"];

/// How often an app that is about to be stopped is asked whether it accepts connections.
const APP_CHECKED: Duration = Duration::from_millis(250);

/// An answer of the admin listener.
pub(super) type Answer = Response<Full<Bytes>>;

/// What the pages are about.
pub(super) struct Pages {
    live: Arc<Live>,
}

impl Pages {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if ACTS.contains(&request.uri().path()) && is_of_a_foreign_page(request.headers()) {
            return text(StatusCode::FORBIDDEN, "not at the wish of a web page\n");
        }
        if request.uri().path() == "/-/purge" {
            return purge::run(&self.live.foundation().common, request).await;
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
            "/-/drain" => self.drain(),
            "/-/drained" => self.drained().await,
            _ => text(StatusCode::NOT_FOUND, format!("not here; here are\n{}", status::ENDPOINTS)),
        }
    }

    /// Takes note of what the metrics say, for the status page's curves.
    pub(super) fn sample(&self) {
        self.observe();
        let foundation = self.live.foundation();
        foundation.status.sample(&foundation.registry.read());
    }

    /// Brings the metrics that depend on time up to date.
    fn observe(&self) {
        let foundation = self.live.foundation();
        foundation.common.observe();
        foundation.jobs.observe();
        self.live.generation().exchanges.observe();
        self.live.metrics().show(foundation.drain.is_draining());
    }

    fn status(&self) -> Answer {
        self.observe();
        let foundation = self.live.foundation();
        status::json(&foundation.status.report(&foundation.registry.read(), foundation.drain.is_draining()))
    }

    fn metrics(&self) -> Answer {
        self.observe();
        match self.live.foundation().registry.render() {
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

    /// Unready from now on, for good: who sends requests should send them elsewhere. Those that come are served.
    fn drain(&self) -> Answer {
        if !self.live.foundation().drain.is_final() {
            tracing::info!("draining, as was asked");
        }
        self.live.foundation().drain.start();
        text(StatusCode::OK, "draining\n")
    }

    /// Unready until the app was gone and is back. Waits until nobody sends requests any more and nothing under way needs the
    /// app, which can be stopped then. Exchanges that wait for a provider need it: they come back.
    async fn drained(&self) -> Answer {
        let (drain, server) = (&self.live.foundation().drain, &self.live.started().server);
        if !drain.is_draining() {
            tracing::info!("draining, as was asked, until the app was gone and is back");
            tokio::spawn(serve_again(Arc::clone(&self.live)));
        }
        let since = drain.start_for_app();
        let all_gone = async {
            sleep_until(since + server.propagation).await;
            drain.is_app_free().await;
        };
        match timeout(server.drain, all_gone).await {
            Ok(()) => text(StatusCode::OK, "drained\n"),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "time is up, and the app is still needed\n"),
        }
    }

    /// Ready to be sent traffic: not shutting down, and the app accepts connections. A saturated pool is ready,
    /// or every pod would leave the service at once.
    async fn readiness(&self) -> Answer {
        if self.live.foundation().drain.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if !self.live.generation().exchanges.backend.accepts().await {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the app does not accept connections\n");
        }
        text(StatusCode::OK, "ok\n")
    }
}

/// Ends a drain that is for the app, when that was gone and is back.
async fn serve_again(live: Arc<Live>) {
    let drain = &live.foundation().drain;
    for (accepts, told) in [(false, "the app is gone"), (true, "the app is back")] {
        while live.generation().exchanges.backend.accepts().await != accepts {
            if drain.is_final() {
                return;
            }
            sleep(APP_CHECKED).await;
        }
        tracing::info!("{told}");
    }
    if drain.app_is_back() {
        tracing::info!("serving again");
    }
}

/// A page of plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
