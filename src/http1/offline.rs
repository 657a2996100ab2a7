//! The parsers of answers on bytes that are at hand, without a connection: for fuzzing, which no socket should slow down.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode};

use super::body::Framing;
use super::{Error, head};

/// What an answer was read as.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as far as it came.
    pub body: Vec<u8>,
    /// Whether the body ended before the bytes did.
    pub has_ended: bool,
    /// Whether the connection would be kept afterwards.
    pub keeps_alive: bool,
    /// What is behind the body, or not read yet.
    pub rest: Vec<u8>,
}

/// Reads the answer to a request of `method` from pieces as they would arrive; `None` while there is no whole head.
///
/// # Errors
/// [`Error::Malformed`].
pub fn read<'a>(method: &Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Answer>, Error> {
    let (mut received, mut reading) = (BytesMut::new(), None);
    for piece in pieces {
        received.extend_from_slice(piece);
        while reading.is_none() {
            let Some(head) = head::take(&mut received)? else { break };
            if !head.is_interim() {
                let framing = head.framing(method)?;
                let keeps_alive = head.keeps_alive();
                let (status, headers) = (head.status, head.headers);
                let answer =
                    Answer { status, headers, body: Vec::new(), has_ended: false, keeps_alive, rest: Vec::new() };
                reading = Some((answer, framing));
            }
        }
        if let Some((answer, framing)) = &mut reading {
            take_all(answer, framing, &mut received)?;
        }
    }
    Ok(reading.map(|(answer, _)| Answer { rest: received.to_vec(), ..answer }))
}

fn take_all(answer: &mut Answer, framing: &mut Framing, received: &mut BytesMut) -> Result<(), Error> {
    while !answer.has_ended {
        let (data, has_ended) = framing.take(received)?;
        answer.body.extend_from_slice(&data);
        answer.has_ended = has_ended;
        if data.is_empty() {
            break;
        }
    }
    Ok(())
}
