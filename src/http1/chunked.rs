//! The chunked transfer coding (RFC 9112, section 7.1), decoded from what has arrived.

use bytes::{Buf, Bytes, BytesMut};

use super::Error;

/// The longest line of a chunk size with its extensions, or of a trailer, in bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// Where in the coding the front of the received bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Before a chunk's size.
    Size,
    /// In a chunk that has so many more bytes.
    Data(u64),
    /// Before the line end that follows a chunk's data.
    DataEnd,
    /// Among the trailers, which are dropped.
    Trailers,
    /// Behind everything.
    End,
}

impl Chunked {
    /// Takes the next data off the front; `None` when more must arrive, or at the end.
    pub(super) fn take(&mut self, received: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        loop {
            match *self {
                Self::Data(left) if received.is_empty() || left == 0 => return Ok(None),
                Self::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(received.len());
                    *self = if length as u64 == left { Self::DataEnd } else { Self::Data(left - length as u64) };
                    return Ok(Some(received.split_to(length).freeze()));
                }
                Self::End => return Ok(None),
                Self::Size | Self::DataEnd | Self::Trailers => {
                    if !self.step(received)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes a line off the front; `false` when it is not there yet.
    fn step(&mut self, received: &mut BytesMut) -> Result<bool, Error> {
        let Some(end) = received.iter().position(|&byte| byte == b'\n') else {
            let fits = received.len() <= LONGEST_LINE;
            return if fits { Ok(false) } else { Err(Error::Malformed("a line of a chunked body is too long")) };
        };
        let line = &received[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        *self = match self {
            Self::Size => match size(&received[..=end])? {
                0 => Self::Trailers,
                size => Self::Data(size),
            },
            Self::DataEnd if line.is_empty() => Self::Size,
            Self::Trailers if line.is_empty() => Self::End,
            Self::Trailers => Self::Trailers,
            Self::DataEnd | Self::Data(_) | Self::End => {
                return Err(Error::Malformed("a chunk is longer than it says"));
            }
        };
        received.advance(end + 1);
        Ok(true)
    }
}

/// An empty size is none, though httparse takes it for 0.
fn size(line: &[u8]) -> Result<u64, Error> {
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((_, size))) if line[0].is_ascii_hexdigit() => Ok(size),
        Ok(_) | Err(_) => Err(Error::Malformed("invalid chunk size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes pieces as they would arrive: the data, and whether the end was reached.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), Error> {
        let (mut decoder, mut received, mut data) = (Chunked::Size, BytesMut::new(), Vec::new());
        for piece in pieces {
            received.extend_from_slice(piece);
            while let Some(bytes) = decoder.take(&mut received)? {
                data.extend_from_slice(&bytes);
            }
        }
        Ok((data, decoder == Chunked::End))
    }

    const WHOLE: &[u8] = b"3;name=value\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn chunks_are_joined_and_trailers_dropped() {
        assert_eq!(decode(&[WHOLE]).unwrap(), (b"abcd".to_vec(), true));
    }

    #[test]
    fn a_body_without_its_last_chunk_has_not_ended() {
        assert_eq!(decode(&[&WHOLE[..WHOLE.len() - 2]]).unwrap(), (b"abcd".to_vec(), false));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [&b"x\r\n"[..], b"-1\r\n", b"1\r\nab\r\n", b"11111111111111111\r\n", b"\r\n"] {
            assert!(decode(&[bad]).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(decode(&[&vec![b'1'; LONGEST_LINE + 1]]).is_err());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(cuts in proptest::collection::vec(0..WHOLE.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, WHOLE.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &WHOLE[cut[0]..cut[1]]).collect();
            prop_assert_eq!(decode(&pieces).unwrap(), (b"abcd".to_vec(), true));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&[&bytes]);
        }
    }
}
