//! Calls from outside a request: an SDK whose `base_url` is `http://<egress>/<provider>` shares connections, retries,
//! cache and flights with the app's own calls.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use pingora::apps::ServerApp;
use pingora::prelude::Result;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use super::body::Unread;
use super::call::{self, Call};
use super::connection::{self, Between, FIRST_REQUEST};
use super::context::Context;
use super::respond::TurnedAway;
use super::{Crowd, Current, Gateway, buffered, finish, hygiene, request, respond};
use crate::calls::{Directives, Origin};
use crate::provider::{Provider, Request};
use crate::telemetry::Reason;
use crate::telemetry::outcome::Mode;

/// The application of the egress listener.
pub struct Egress {
    current: Current,
    crowd: Arc<Crowd>,
}

impl Egress {
    /// An egress that shares everything with the `current` gateway, for as many clients as the `crowd` may have.
    pub fn new(current: Current, crowd: Arc<Crowd>) -> Self {
        Self { current, crowd }
    }

    /// Serves a connection to its end.
    async fn serve(&self, stream: Stream) {
        let drain = self.current.get().drain.clone();
        let _connected = drain.connect();
        let mut silence = FIRST_REQUEST;
        let mut between = Some((stream, BytesMut::new()));
        while let Some((mut stream, mut head)) = between {
            if !connection::arrives(&mut stream, &mut head, silence, &drain).await {
                return;
            }
            let gateway = self.current.get();
            between = answer(&gateway, connection::session((stream, head))).await;
            silence = gateway.config.keepalive;
        }
    }
}

/// Serves one request. `None` when the connection is not to be used again.
async fn answer(gateway: &Arc<Gateway>, mut session: Box<ServerSession>) -> Option<Between> {
    if !matches!(session.read_request().await, Ok(true)) {
        return None;
    }
    let mut context = Context::new(Arc::clone(gateway));
    connection::settle(gateway, &mut session);
    let served = run(gateway, &mut session, &mut context).await;
    finish::run(gateway, &session, None, &mut context);
    served.ok()?; // an answer that broke off must not look complete
    connection::after(session).await
}

#[async_trait]
impl ServerApp for Egress {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        if let Some(parting) = self.crowd.turns_away(&stream) {
            connection::turn_away(&mut stream, TurnedAway::Crowd, parting).await;
            return None;
        }
        // In a task of its own, as at the edge.
        let egress = Arc::clone(self);
        tokio::spawn(async move { egress.serve(stream).await });
        None
    }
}

async fn run(gateway: &Gateway, session: &mut ServerSession, context: &mut Context) -> Result<bool> {
    context.account.mode = Mode::Egress;
    context.needs_no_app();
    if let Err(refused) = request::accept(gateway, session, context) {
        return respond::refuse(gateway, session, context, refused).await;
    }
    if hygiene::is_of_a_foreign_page(&session.req_header().headers) {
        return respond::refuse(gateway, session, context, Reason::WebPage.into()).await;
    }
    let (body, lease) = match buffered::read(gateway, session).await {
        Ok(read) => read,
        Err(Unread::Refused(reason)) => return respond::refuse(gateway, session, context, reason.into()).await,
        Err(Unread::ClientGone) => return Ok(respond::gone(session, context)),
    };
    let Ok(head) = buffered::take_head(session) else { return Ok(respond::gone(session, context)) };
    let Some((provider, request)) = resolve(gateway, head, body) else {
        return respond::refuse(gateway, session, context, Reason::ProviderUnknown.into()).await;
    };
    let client = request.headers.clone();
    let said = Directives::default();
    let calling = async {
        let origin = &Origin::Egress;
        let call = Call { provider, request, said: &said, client: &client, origin };
        let reply = call::make(gateway, call, &mut context.account).await;
        drop(lease);
        reply
    };
    let ended = tokio::select! {
        biased;
        ended = Box::pin(buffered::contained(calling)) => ended,
        _gone = session.read_body_or_idle(true) => return Ok(respond::gone(session, context)),
    };
    match ended {
        Ok(reply) => call::answered(gateway, session, context, reply, None).await,
        Err(refused) => respond::refuse(gateway, session, context, refused).await,
    }
}

/// The provider that the first segment of the path names, and the request to it.
fn resolve(gateway: &Gateway, head: Parts, body: Bytes) -> Option<(&Provider, Request)> {
    let Parts { method, uri, mut headers, .. } = head;
    let target = uri.path_and_query()?.as_str().strip_prefix('/')?;
    let (name, _) = target.split_once('/')?;
    let provider = gateway.exchanges.providers.named(name)?;
    let url = provider.url(&target[name.len()..])?;
    hygiene::remove_connection_headers(&mut headers);
    Some((provider, Request { method, url, headers, body, patience: None }))
}
