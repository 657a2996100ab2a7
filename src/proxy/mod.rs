//! The edge: the only user of Pingora's `ProxyHttp`, one file per phase. Requests that can suspend are read
//! whole and run as exchanges; all others take Pingora's own streaming path. `edge` looks at a request first and
//! decides who carries it. It must never know the hand-off
//! protocol.

mod background;
mod body;
mod buffered;
mod call;
mod connection;
mod context;
mod crowd;
mod current;
mod deliver;
mod edge;
mod egress;
mod finish;
mod hygiene;
mod jobs;
mod metrics;
mod pass_through;
mod preview;
mod repeated;
mod request;
mod respond;
mod shared;
mod span;
mod terminate;

use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::prelude::{Error, HttpPeer, Result};
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::backend::Address;
use crate::background::Jobs;
use crate::drain::Drain;
use crate::exchange::Exchanges;
use crate::route::Table;
use crate::time::Duration;

use context::Context;
pub use crowd::Crowd;
pub use current::Current;
pub use edge::Edge;
pub use egress::Egress;
pub use hygiene::is_of_a_foreign_page;
pub use metrics::Requests;
// For fuzzing.
#[doc(hidden)]
pub use preview::{Glimpse, Preview};

/// How clients are served.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of a request body that are buffered so that it can be sent again.
    pub max_body: usize,
    /// From the request head to the end of its body.
    pub body_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keepalive: Duration,
    /// How long one write to a client may take.
    pub write_timeout: Duration,
    /// Where streamed requests go.
    pub backend: Address,
    /// To a connection to the app.
    pub connect_timeout: Duration,
    /// How long a streamed request may wait for a worker.
    pub queue_timeout: Duration,
    /// Between two reads from the app on the streaming path.
    pub backend_timeout: Duration,
    /// How long an idle connection to the app is kept.
    pub backend_keepalive: Duration,
}

/// What the edge works with, of one configuration.
#[derive(Clone)]
pub struct Gateway {
    config: Arc<Config>,
    routes: Arc<Table>,
    exchanges: Arc<Exchanges>,
    jobs: Jobs,
    drain: Drain,
    requests: Arc<Requests>,
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(config: Config, routes: Table, exchanges: Arc<Exchanges>, jobs: Jobs, requests: Arc<Requests>) -> Self {
        let drain = exchanges.drain.clone();
        requests.expect(routes.patterns());
        Self { config: Arc::new(config), routes: Arc::new(routes), exchanges, jobs, drain, requests }
    }

    /// The identity of a job in a path that is Siding's own: where no route makes jobs, none is.
    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        self.routes.has_background().then(|| self.jobs.identity(path)).flatten()
    }
}

#[async_trait]
impl ProxyHttp for Current {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.get())
    }

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        connection::settle(&context.gateway, session);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let gateway = Arc::clone(&context.gateway);
        request::run(&gateway, session, context).await
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        pass_through::peer(&context.gateway.config).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut pingora::http::RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        pass_through::request(session, upstream, context)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        upstream: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let gateway = Arc::clone(&context.gateway);
        pass_through::response(&gateway, session, upstream, context)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        _: bool,
    ) -> Box<Error> {
        pass_through::interrupted(session, context, error)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, context: &mut Context, error: Box<Error>) -> Box<Error> {
        pass_through::unreachable(context, error)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        pass_through::failed(session, error, context).await
    }

    /// For Pingora's own log lines. Its default names the target with its query, which may hold a secret.
    fn request_summary(&self, session: &Session, context: &Context) -> String {
        format!("exchange {}, {}", context.id, session.req_header().method)
    }

    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true // the access log tells the outcome
    }

    /// `pass_through` tells of it without what the app's answer holds.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Context, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        let gateway = Arc::clone(&context.gateway);
        finish::run(&gateway, session, error, context);
    }
}
