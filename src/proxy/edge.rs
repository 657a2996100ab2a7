//! A client's connection, request by request. An HTTP/1.1 request in which the app may suspend is run as an exchange
//! right here, so that nothing but the exchange is alive while it waits for a provider; whatever else arrives is
//! Pingora's `HttpProxy`'s, which also keeps the connection from then on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora::apps::{HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;

use super::connection::{self, Between, FIRST_REQUEST};
use super::context::Context;
use super::preview::{Glimpse, Plan};
use super::repeated::{self, Repeated};
use super::respond::TurnedAway;
use super::{Crowd, Current, Gateway, buffered, finish};
use crate::drain::Drain;

/// The application that Pingora runs for each listener.
pub struct Edge {
    current: Current,
    proxy: Arc<HttpProxy<Current>>,
    drain: Drain,
    crowd: Arc<Crowd>,
}

impl Edge {
    /// An edge before the `current` gateway, for as many clients as the `crowd` may have.
    pub fn new(
        current: Current,
        crowd: Arc<Crowd>,
        conf: &Arc<ServerConf>,
        options: HttpServerOptions,
        h2: H2Options,
    ) -> Self {
        let mut proxy = HttpProxy::new(current.clone(), Arc::clone(conf));
        proxy.server_options = Some(options);
        proxy.h2_options = Some(h2);
        proxy.handle_init_modules();
        let drain = current.get().drain.clone();
        Self { current, proxy: Arc::new(proxy), drain, crowd }
    }

    fn is_http2(&self, stream: &Stream) -> bool {
        let h2c = self.proxy.server_options.as_ref().is_some_and(|options| options.h2c);
        h2c || matches!(stream.selected_alpn_proto(), Some(ALPN::H2))
    }

    /// Serves an HTTP/1.1 connection to its end.
    async fn serve(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let _connected = self.drain.connect();
        let mut silence = FIRST_REQUEST;
        let mut between = Some((stream, BytesMut::new()));
        while let Some((mut stream, mut head)) = between {
            if !connection::arrives(&mut stream, &mut head, silence, &self.drain).await {
                return;
            }
            let gateway = self.current.get();
            let (plan, repeatable) = match Glimpse::of(&head) {
                Glimpse::Clear(preview) => repeated::plan(&preview, &gateway),
                Glimpse::Partial | Glimpse::Unclear => (None, None),
            };
            let repeated = match repeatable {
                Some(repeatable) => repeated::run(&gateway, &mut stream, &mut head, repeatable).await,
                None => Repeated::New(None),
            };
            let bytes = match repeated {
                Repeated::New(bytes) => bytes,
                Repeated::Gone => return,
                Repeated::Answered => {
                    between = Some((stream, head));
                    silence = gateway.config.keepalive;
                    continue;
                }
            };
            let session = connection::session((stream, head));
            let Some(plan) = plan else {
                return Box::pin(self.proxied(session, shutdown)).await;
            };
            between = exchange(&gateway, session, plan, bytes).await;
            silence = gateway.config.keepalive;
        }
    }

    /// Leaves the connection to Pingora, beginning with the request in `session`: what Pingora has read of the request after
    /// that, it keeps to itself.
    async fn proxied(&self, session: Box<ServerSession>, shutdown: &ShutdownWatch) {
        let mut reused = self.proxy.process_new_http(*session, shutdown).await;
        while let Some((stream, settings)) = reused.map(|reused| reused.consume()) {
            let mut session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
            reused = self.proxy.process_new_http(session, shutdown).await;
        }
    }
}

impl Edge {
    /// Serves an HTTP/2 connection to its end. Clients are told to open others as soon as this process is to end.
    async fn serve_http2(&self, stream: Stream) -> Option<Stream> {
        let connected = self.drain.connect();
        let leaving = self.drain.leaving();
        let mut serving = std::pin::pin!(self.proxy.process_new(stream, &leaving));
        tokio::select! {
            stream = &mut serving => return stream,
            () = self.drain.is_over() => drop(connected), // streams under way count by themselves
        }
        serving.await
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        if let Some(parting) = self.crowd.turns_away(&stream) {
            if !self.is_http2(&stream) {
                connection::turn_away(&mut stream, TurnedAway::Crowd, parting).await;
            }
            return None;
        }
        if self.is_http2(&stream) {
            return self.serve_http2(stream).await;
        }
        // In a task of its own: Pingora's has room for a handshake, and keeps it for as long as the connection lives.
        let (edge, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move { edge.serve(stream, &shutdown).await });
        None
    }

    /// Called when no connection is accepted any more. Those on which Pingora waits for a request are closed with all others.
    async fn cleanup(&self) {
        self.drain.is_over().await;
        self.proxy.http_cleanup().await;
    }
}

/// Runs one exchange. `None` when the connection is not to be used again.
async fn exchange(
    gateway: &Arc<Gateway>,
    mut session: Box<ServerSession>,
    plan: Plan<'_>,
    bytes: Option<Bytes>,
) -> Option<Between> {
    if !matches!(session.read_request().await, Ok(true)) {
        // The client need not be there any more.
        let _ = session.respond_error(400).await;
        return None;
    }
    let mut context = Context::new(Arc::clone(gateway));
    context.bytes = bytes;
    connection::settle(gateway, &mut session);
    let served = buffered::run(gateway, &mut session, &mut context, plan).await;
    finish::run(gateway, &session, None, &mut context);
    served.ok()?; // an answer that broke off must not look complete
    connection::after(session).await
}
