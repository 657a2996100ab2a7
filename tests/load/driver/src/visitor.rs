//! One client: a connection, kept while the server keeps it, and a request at a time.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::check;
use crate::flags::Flags;
use crate::report::Kind;
use crate::stream::Listener;
use crate::target::Target;

pub(crate) struct Visitor {
    target: Rc<Target>,
    expect_echo: bool,
    stream: bool,
    timeout: Duration,
    fresh: bool,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Visitor {
    pub(crate) fn new(target: Rc<Target>, flags: &Flags) -> Self {
        let Flags { expect_echo, stream, timeout, fresh, .. } = *flags;
        Self { target, expect_echo, stream, timeout, fresh, connection: None }
    }

    /// Makes one request, to `path` instead of the URL's if there is one, connecting if need be. Returns what was heard of
    /// a stream, where it is listened to.
    pub(crate) async fn visit(&mut self, path: Option<&str>) -> Result<Option<Listener>, Kind> {
        let deadline = Instant::now() + self.timeout;
        let outcome = timeout_at(deadline, self.exchange(path)).await.unwrap_or(Err(Kind::Timeout));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    async fn exchange(&mut self, path: Option<&str>) -> Result<Option<Listener>, Kind> {
        let listener = self.stream.then(Listener::new);
        let mut connection = self.connected().await?;
        let (request, sent) = self.target.next(path);
        let response = connection.send_request(request).await.map_err(|_| Kind::Disconnected)?;
        let status = response.status();
        let answer = Answer::read(response.into_body(), listener).await?;
        self.connection = (!self.fresh).then_some(connection);
        if !status.is_success() {
            return Err(Kind::Status(status.as_u16()));
        }
        if !answer.is_right(self.expect_echo.then_some(&sent)) {
            return Err(Kind::WrongAnswer);
        }
        Ok(answer.stream())
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

/// What came back.
enum Answer {
    Whole(Bytes),
    Stream(Listener),
}

impl Answer {
    async fn read(mut body: Incoming, listener: Option<Listener>) -> Result<Self, Kind> {
        let Some(mut listener) = listener else {
            return Ok(Self::Whole(body.collect().await.map_err(|_| Kind::Disconnected)?.to_bytes()));
        };
        while let Some(frame) = body.frame().await {
            if let Some(bytes) = frame.map_err(|_| Kind::Disconnected)?.data_ref() {
                listener.hear(bytes);
            }
        }
        Ok(Self::Stream(listener))
    }

    /// Whether it has the form that was asked for, and belongs to the `request` if that is to be looked at.
    fn is_right(&self, request: Option<&Bytes>) -> bool {
        match self {
            Self::Whole(body) => request.is_none_or(|request| check::is_answer_to(request, body)),
            Self::Stream(listener) => {
                let is_answer = |request: &Bytes| check::is_streamed_answer_to(request, listener.body());
                listener.has_events() && request.is_none_or(is_answer)
            }
        }
    }

    fn stream(self) -> Option<Listener> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(listener) => Some(listener),
        }
    }
}

/// Lets the connection's task see a close that has already arrived.
async fn is_usable(connection: &mut SendRequest<Full<Bytes>>) -> bool {
    tokio::task::yield_now().await;
    connection.ready().await.is_ok()
}
