//! An HTTP/1.1 client (RFC 9112) that holds no buffer while it waits for an answer: a pending call costs its socket
//! and what is needed to send it again, so that thousands can wait. Without TLS. It must never know what a request
//! is for, nor decide whether it is sent twice.

mod address;
mod body;
mod chunked;
mod client;
mod connection;
mod content;
mod head;
#[doc(hidden)]
pub mod offline;
mod pool;
mod stream;

pub use address::{Address, NotAnAddress};
pub use body::Body;
pub use client::{Client, Config, Request, Response};
pub use content::Content;

/// Why there is no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, so nothing was sent.
    #[error("{0}")]
    Connect(std::io::Error),
    /// No connection in time, so nothing was sent.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection ended before the answer did.
    #[error("{}", .0.as_ref().map_or_else(|| "connection closed".to_owned(), ToString::to_string))]
    Closed(Option<std::io::Error>),
    /// What came back is not HTTP/1.1.
    #[error("{0}")]
    Malformed(&'static str),
}

#[cfg(test)]
mod tests;
