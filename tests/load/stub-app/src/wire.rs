//! HTTP/1.1 as far as it is needed here: messages with a length, one after the other on a connection.

use std::io::{self, ErrorKind};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    received: BytesMut,
    read_at: Instant,
}

/// A request or a response.
pub(crate) struct Message {
    head: String,
    pub(crate) body: Bytes,
    /// When its last byte was here.
    pub(crate) complete: Instant,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::with_capacity(4096), read_at: Instant::now() })
    }

    /// The next message; `None` when the peer has closed.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message>> {
        let end = loop {
            match self.received.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
                Some(found) => break found + END_OF_HEAD.len(),
                None if self.more().await? => {}
                None => return Ok(None),
            }
        };
        let head = String::from_utf8(self.received.split_to(end).into()).map_err(|_| ErrorKind::InvalidData)?;
        let mut message = Message { head, body: Bytes::new(), complete: self.read_at };
        let length = message.length().ok_or(ErrorKind::InvalidData)?;
        while self.received.len() < length {
            if !self.more().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        message.body = self.received.split_to(length).freeze();
        message.complete = self.read_at;
        Ok(Some(message))
    }

    /// Sends a message at once.
    pub(crate) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await
    }

    async fn more(&mut self) -> io::Result<bool> {
        let count = self.stream.read_buf(&mut self.received).await?;
        self.read_at = Instant::now();
        Ok(count > 0)
    }
}

impl Message {
    /// The words of the first line.
    pub(crate) fn first_line(&self) -> [&str; 3] {
        let mut words = self.head.split("\r\n").next().unwrap_or_default().splitn(3, ' ');
        std::array::from_fn(|_| words.next().unwrap_or_default())
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether the connection ends with this message.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Of its body; `None` when the message has another framing.
    fn length(&self) -> Option<usize> {
        match self.header("content-length") {
            Some(length) => length.parse().ok(),
            None => self.header("transfer-encoding").is_none().then_some(0),
        }
    }
}

/// A message as it is sent. `fields` are header lines with their ends.
pub(crate) fn message(first_line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut message = Vec::with_capacity(first_line.len() + fields.len() + length + 32);
    message.extend_from_slice(format!("{first_line}\r\n{fields}Content-Length: {length}\r\n\r\n").as_bytes());
    message.extend_from_slice(body);
    message
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::new(listener.accept().await.unwrap().0).unwrap();
        let first = message("POST /a HTTP/1.1", "X-Exchange:  7\r\n", b"body");
        let sender = tokio::spawn(async move {
            for byte in first.iter().chain(b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n") {
                client.write_all(&[*byte]).await.unwrap();
            }
        });
        let read = wire.read().await.unwrap().unwrap();
        assert_eq!(read.first_line(), ["POST", "/a", "HTTP/1.1"]);
        assert_eq!((read.header("x-exchange"), &read.body[..], read.closes()), (Some("7"), &b"body"[..], false));
        let read = wire.read().await.unwrap().unwrap();
        assert_eq!((read.first_line()[1], &read.body[..], read.closes()), ("/b", &b""[..], true));
        sender.await.unwrap();
        assert!(wire.read().await.unwrap().is_none());
    }
}
