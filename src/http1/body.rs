//! The body of a response as it arrives.

use bytes::{Bytes, BytesMut};

use super::Error;
use super::chunked::Chunked;
use super::connection::{Connection, READ};
use super::pool::Pool;

/// A piece below this many bytes is copied out of the buffer into which it was read, which it would keep whole: events
/// of a stream are small, and kept for as long as anybody may still ask for them.
const WORTH_ITS_BUFFER: usize = READ / 4;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where the coding says.
    Chunked(Chunked),
    /// With the connection.
    ToTheEnd,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked::Size)
    }

    /// Takes what has arrived of the body off the front, and says whether the body has ended.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<(Bytes, bool), Error> {
        Ok(match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= length as u64;
                (received.split_to(length).freeze(), *left == 0)
            }
            Self::Chunked(chunked) => {
                let data = chunked.take(received)?.unwrap_or_default();
                (data, *chunked == Chunked::End)
            }
            Self::ToTheEnd => (std::mem::take(received).freeze(), false),
        })
    }
}

/// A body. When it has ended, its connection serves another request; when it is dropped before, the connection is
/// closed.
#[derive(Debug)]
pub struct Body {
    /// `None` once the body has ended or failed.
    connection: Option<Connection>,
    framing: Framing,
    /// Where the connection goes afterwards.
    pool: Option<Pool>,
}

impl Body {
    pub(super) fn new(connection: Connection, framing: Framing, pool: Option<Pool>) -> Self {
        Self { connection: Some(connection), framing, pool }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Fails when the connection ended before the body did, or the body is malformed.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            match self.arrived() {
                Ok(None) => {}
                Ok(Some(bytes)) => return Some(Ok(bytes)),
                Err(error) => return self.failed(error),
            }
            let connection = self.connection.as_mut()?;
            if let Err(error) = connection.fill().await {
                return match (error, self.framing) {
                    (Error::Closed(None), Framing::ToTheEnd) => self.connection.take().and(None),
                    (error, _) => self.failed(error),
                };
            }
        }
    }

    /// The whole body, if all of it has arrived already.
    pub fn whole(&mut self) -> Option<Bytes> {
        let Framing::Length(length) = self.framing else { return None };
        let Some(connection) = &mut self.connection else { return Some(Bytes::new()) };
        if (connection.received().len() as u64) < length {
            return None;
        }
        match self.arrived() {
            Ok(bytes) => Some(bytes.unwrap_or_default()),
            Err(_) => None,
        }
    }

    /// Takes what has arrived, and ends the body if that was all.
    fn arrived(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let (data, has_ended) = self.framing.take(connection.received())?;
        if has_ended {
            self.end();
        }
        let is_worth_it = data.len() >= WORTH_ITS_BUFFER;
        let data = if is_worth_it { data } else { Bytes::copy_from_slice(&data) };
        Ok((!data.is_empty()).then_some(data))
    }

    fn end(&mut self) {
        let stream = self.connection.take().and_then(Connection::reusable);
        if let (Some(pool), Some(stream)) = (self.pool.take(), stream) {
            pool.put(stream);
        }
    }

    fn failed(&mut self, error: Error) -> Option<Result<Bytes, Error>> {
        self.connection = None;
        Some(Err(error))
    }
}
