//! One HTTP request to the app over TCP or a Unix socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixStream};

use super::content::Content;
use super::metrics::Metrics;
use super::{Address, Config};
use crate::telemetry::Registry;
use crate::time::{Duration, timeout};

/// Why the app gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection, so nothing ran.
    #[error("the app does not accept connections: {0}")]
    Connect(String),
    /// The connection ended before a complete answer: the worker was killed, or timed out.
    #[error("the app closed the connection without a complete answer: {0}")]
    Closed(String),
    /// The time-out of the pass.
    #[error("the app did not answer in time")]
    Timeout,
    /// What came back is not HTTP.
    #[error("the app's answer is not HTTP: {0}")]
    Protocol(String),
}

impl Fault {
    /// Whether the app certainly did not see the request.
    pub fn nothing_ran(&self) -> bool {
        matches!(self, Fault::Connect(_))
    }
}

/// The app.
#[derive(Clone, Debug)]
pub struct Backend {
    client: Client<Connector, Content>,
    address: Address,
    connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) response_buffer: usize,
    pub(super) metrics: Metrics,
}

impl Backend {
    /// A client without connections.
    pub fn new(config: &Config, registry: &Registry) -> Self {
        let connector = Connector { address: config.address.clone(), timeout: config.connect_timeout };
        let idle = if config.keepalive.is_zero() { 0 } else { usize::MAX };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.keepalive)
            .pool_max_idle_per_host(idle)
            .http1_title_case_headers(true)
            .set_host(false) // the client's own, or none
            .build(connector);
        Self {
            client,
            address: config.address.clone(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            response_buffer: config.response_buffer,
            metrics: Metrics::new(registry),
        }
    }

    /// Sends a request, whose URI must be absolute, and waits for the head of the answer.
    ///
    /// # Errors
    /// Any [`Fault`] but the time-out, which is the caller's.
    pub async fn send(&self, request: Request<Content>) -> Result<Response<Incoming>, Fault> {
        self.client.request(request).await.map_err(|error| fault(&error))
    }

    /// Whether the app accepts connections now.
    pub async fn accepts(&self) -> bool {
        timeout(self.connect_timeout, connect(&self.address)).await.is_ok_and(|stream| stream.is_ok())
    }
}

fn fault(error: &Error) -> Fault {
    if error.is_connect() {
        return Fault::Connect(causes(error));
    }
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<hyper::Error>());
    if cause.is_some_and(|cause| cause.is_parse() || cause.is_parse_too_large()) {
        return Fault::Protocol(causes(error));
    }
    Fault::Closed(causes(error))
}

/// The messages of an error's causes; its own says only that something failed.
fn causes(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> =
        std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string).collect();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

async fn connect(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(TokioIo::new(stream)))
        }
        Address::Unix(path) => Ok(Stream::Unix(TokioIo::new(UnixStream::connect(path).await?))),
    }
}

/// Connects to the app whatever the URI says.
#[derive(Clone, Debug)]
struct Connector {
    address: Address,
    timeout: Duration,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (address, limit) = (self.address.clone(), self.timeout);
        Box::pin(async move { timeout(limit, connect(&address)).await? })
    }
}

enum Stream {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }
}
