//! A connection that can be told to misbehave below HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const GARBLE: u8 = 1;
const RESET: u8 = 2;
const NOT_HTTP: &[u8] = b"\x16\x03\x01 this is not HTTP\r\n\r\n";

/// Shared between a connection and the calls made on it.
#[derive(Clone, Default)]
pub(crate) struct WireFault(Arc<AtomicU8>);

impl WireFault {
    /// From now on, whatever is written goes out as bytes that are not HTTP.
    pub(crate) fn garble(&self) {
        self.0.store(GARBLE, Ordering::Relaxed);
    }

    /// The connection ends with a reset instead of an orderly close.
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Ordering::Relaxed);
    }

    fn is(&self, fault: u8) -> bool {
        self.0.load(Ordering::Relaxed) == fault
    }
}

/// A TCP stream that resets or garbles when told to.
pub(crate) struct Wire {
    stream: TcpStream,
    fault: WireFault,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, fault: WireFault) -> Self {
        Self { stream, fault }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.fault.is(GARBLE) {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        match Pin::new(&mut self.stream).poll_write(cx, NOT_HTTP) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(buf.len())),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fault.is(RESET) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.fault.is(RESET) {
            // Best effort: without it the peer sees an orderly close, which it must survive as well.
            let _ = self.stream.set_zero_linger();
        }
    }
}
