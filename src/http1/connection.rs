//! One request on a connection: sends and receives at the same time, because a server may answer before it has read
//! everything, and holds buffers only for bytes that are there.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use super::Error;
use super::head::{self, Head};
use super::stream::Stream;

/// Room made for one read, in bytes.
pub(super) const READ: usize = 16 * 1024;
/// Buffers handed to the kernel at once: head, journal, body.
const SLICES: usize = 4;
/// The longest response head, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// A connection with a request under way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    received: BytesMut,
    unsent: VecDeque<Bytes>,
    /// Sending failed. What the server has said before that still counts.
    is_broken: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, unsent: VecDeque<Bytes>) -> Self {
        Self { stream, received: BytesMut::new(), unsent, is_broken: false }
    }

    /// What has arrived and was not taken yet.
    pub(super) fn received(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// The socket, if it can carry another request: all was sent and nothing is left over.
    pub(super) fn reusable(self) -> Option<Stream> {
        let is_clean = self.unsent.is_empty() && self.received.is_empty() && !self.is_broken;
        is_clean.then_some(self.stream)
    }

    /// Sends the request and reads the head of its final response.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn exchange(&mut self) -> Result<Head, Error> {
        self.send();
        loop {
            if let Some(head) = head::take(&mut self.received)? {
                if head.is_interim() {
                    continue;
                }
                return Ok(head);
            }
            if self.received.len() > LONGEST_HEAD {
                return Err(Error::Malformed("the response head is too long"));
            }
            self.fill().await?;
        }
    }

    /// Waits for more bytes and adds them to what was received. The end of the connection is an error.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn fill(&mut self) -> Result<(), Error> {
        loop {
            if self.received.is_empty() {
                self.received = BytesMut::new(); // a wait without a buffer
            }
            self.ready().await.map_err(|error| Error::Closed(Some(error)))?;
            self.received.reserve(READ);
            match self.stream.try_read(&mut self.received) {
                Ok(0) => return Err(Error::Closed(None)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::Closed(Some(error))),
            }
        }
    }

    /// Waits until there may be something to read, and sends what is unsent meanwhile.
    async fn ready(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            tokio::select! {
                biased;
                readable = self.stream.readable() => return readable,
                writable = self.stream.writable() => writable?,
            }
            self.send();
        }
        self.stream.readable().await
    }

    /// Sends as much as the socket takes now.
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            for (slice, bytes) in slices.iter_mut().zip(&self.unsent) {
                *slice = IoSlice::new(bytes);
            }
            match self.stream.try_write(&slices) {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_broken = true;
                    self.unsent.clear();
                }
            }
        }
        self.unsent = VecDeque::new();
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(first) = self.unsent.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.unsent.pop_front();
        }
    }
}
