//! One client: a connection, kept while the server keeps it, and a request at a time.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::check;
use crate::report::Kind;
use crate::target::Target;

pub(crate) struct Visitor {
    target: Rc<Target>,
    expect_echo: bool,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Visitor {
    pub(crate) fn new(target: Rc<Target>, expect_echo: bool, timeout: Duration) -> Self {
        Self { target, expect_echo, timeout, connection: None }
    }

    /// Makes one request, connecting if need be.
    pub(crate) async fn visit(&mut self) -> Result<(), Kind> {
        let deadline = Instant::now() + self.timeout;
        let outcome = timeout_at(deadline, self.exchange()).await.unwrap_or(Err(Kind::Timeout));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    async fn exchange(&mut self) -> Result<(), Kind> {
        let mut connection = self.connected().await?;
        let (request, sent) = self.target.next();
        let response = connection.send_request(request).await.map_err(|_| Kind::Disconnected)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|_| Kind::Disconnected)?.to_bytes();
        self.connection = Some(connection);
        if !status.is_success() {
            return Err(Kind::Status(status.as_u16()));
        }
        if self.expect_echo && !check::is_answer_to(&sent, &body) {
            return Err(Kind::WrongAnswer);
        }
        Ok(())
    }

    async fn connected(&mut self) -> Result<SendRequest<Full<Bytes>>, Kind> {
        if let Some(mut kept) = self.connection.take()
            && is_usable(&mut kept).await
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(&self.target.address).await.map_err(|_| Kind::Connect)?;
        stream.set_nodelay(true).map_err(|_| Kind::Connect)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Kind::Connect)?;
        // The request's own outcome tells how the connection ended.
        tokio::task::spawn_local(async move { drop(driver.await) });
        Ok(connection)
    }
}

/// Lets the connection's task see a close that has already arrived.
async fn is_usable(connection: &mut SendRequest<Full<Bytes>>) -> bool {
    tokio::task::yield_now().await;
    connection.ready().await.is_ok()
}
