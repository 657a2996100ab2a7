//! Requests to one server, each on a connection that is kept or made.

use http::{HeaderMap, Method, StatusCode};

use super::connection::Connection;
use super::pool::Pool;
use super::stream::Stream;
use super::{Address, Body, Content, Error, head};
use crate::time::{Duration, timeout};

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub address: Address,
    /// How long a connection may take, names resolved included.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept; zero: not at all.
    pub keep_idle: Duration,
    /// Header names as `Content-Type`, not `content-type`.
    pub title_case: bool,
}

/// What is sent.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target in origin form.
    pub target: &'a str,
    /// Sent before the other headers, which must not hold it then.
    pub host: Option<&'a str>,
    /// The headers. `Content-Length` is added when there is a body and they do not hold it.
    pub headers: &'a HeaderMap,
    /// The body.
    pub content: Content,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// All headers, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// The body as it comes.
    pub body: Body,
}

/// A client of one server. Cloning gives another handle to the same connections.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
    /// `None` where no connection is kept.
    pub(super) pool: Option<Pool>,
}

impl Client {
    /// A client without connections.
    pub fn new(config: Config) -> Self {
        let pool = (!config.keep_idle.is_zero()).then(|| Pool::new(config.keep_idle));
        Self { config, pool }
    }

    /// Sends a request and waits for the head of its response; interim responses are skipped.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let stream = self.connected().await?;
        let head = head::encode(&request, self.config.title_case);
        let unsent = request.content.led_by(head);
        let mut connection = Connection::new(stream, unsent);
        let head = connection.exchange().await?;
        let framing = head.framing(request.method)?;
        let pool = self.pool.clone().filter(|_| head.keeps_alive());
        Ok(Response { status: head.status, headers: head.headers, body: Body::new(connection, framing, pool) })
    }

    /// Whether the server accepts connections now.
    pub async fn accepts(&self) -> bool {
        self.connect().await.is_ok()
    }

    async fn connected(&self) -> Result<Stream, Error> {
        match self.pool.as_ref().and_then(Pool::take) {
            Some(stream) => Ok(stream),
            None => self.connect().await,
        }
    }

    async fn connect(&self) -> Result<Stream, Error> {
        let connecting = timeout(self.config.connect_timeout, Stream::connect(&self.config.address));
        connecting.await.map_err(|_| Error::ConnectTimeout)?.map_err(Error::Connect)
    }
}
