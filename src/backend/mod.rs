//! The app's worker pool as an HTTP server: where it listens, one trip of a request through it, and whether
//! it accepts connections. It must never decide what an answer means.

mod client;
mod metrics;
mod pass;
mod spool;

use crate::time::Duration;

pub use crate::http1::{Address, Content};
pub use client::{Backend, Fault};
pub use pass::{Answer, PassRequest, start as start_pass};
pub use spool::{Broken, Spool};

/// How the app is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where gunicorn (or another WSGI server) listens.
    pub address: Address,
    /// From the beginning of a pass to the end of its answer's head.
    pub timeout: Duration,
    /// To a connection.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept; zero: not at all. Below the app server's own keep-alive, or a
    /// request may meet a connection that is being closed.
    pub keepalive: Duration,
    /// Bytes of an answer read ahead of a slow client, so that the worker is free earlier.
    pub response_buffer: usize,
}
