//! Request heads as bytes, response heads from bytes, and how a response's body is framed (RFC 9112, section 6.3).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::Error;
use super::body::Framing;
use super::client::Request;

/// Headers of a response.
const MOST_HEADERS: usize = 128;
/// Bytes of a header besides its name and value.
const FIELD: usize = 4;
/// Bytes of a request head besides its target and given headers: the method, `Host`, `Content-Length`.
const LINES: usize = 128;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    is_http_11: bool,
    /// Others may take the body to end elsewhere.
    is_doubtful: bool,
}

/// The request line and headers.
pub(super) fn encode(request: &Request<'_>, title_case: bool) -> Bytes {
    let headers: usize = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    let mut head = Vec::with_capacity(request.target.len() + headers + LINES);
    for part in [request.method.as_str(), " ", request.target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let mut field = |name: &HeaderName, value: &[u8]| {
        let begin = head.len();
        head.extend_from_slice(name.as_str().as_bytes());
        if title_case {
            capitalise(&mut head[begin..]);
        }
        for part in [b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    if let Some(host) = request.host {
        field(&header::HOST, host.as_bytes());
    }
    for (name, value) in request.headers {
        field(name, value.as_bytes());
    }
    let length = request.content.len();
    if length > 0 && !request.headers.contains_key(header::CONTENT_LENGTH) {
        field(&header::CONTENT_LENGTH, length.to_string().as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// As most clients write names; some old servers know no others.
fn capitalise(name: &mut [u8]) {
    let mut begins = true;
    for byte in name {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = *byte == b'-';
    }
}

/// Takes a complete head off the front; `None` when there is none yet.
pub(super) fn take(received: &mut BytesMut) -> Result<Option<Head>, Error> {
    if received.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(received).map_err(|_| Error::Malformed("invalid response head"))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let head = read(&response).ok_or(Error::Malformed("invalid response head"))?;
    received.advance(length);
    Ok(Some(head))
}

/// Values are copied: they may be kept long after the buffer they arrived in.
fn read(response: &httparse::Response<'_, '_>) -> Option<Head> {
    let status = StatusCode::from_u16(response.code?).ok()?;
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let is_http_11 = response.version? == 1;
    // Where there are two, the coding counts, and the length must not go on (RFC 9112, section 6.3).
    let is_coded = headers.contains_key(header::TRANSFER_ENCODING);
    let is_doubtful = is_coded && (headers.remove(header::CONTENT_LENGTH).is_some() || !is_http_11);
    Some(Head { status, headers, is_http_11, is_doubtful })
}

impl Head {
    /// Whether another head follows. After an upgrade there is no HTTP.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// How the body of this answer to a request of `method` ends.
    pub(super) fn framing(&self, method: &Method) -> Result<Framing, Error> {
        let has_none = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_none || method == Method::HEAD {
            return Ok(Framing::Length(0));
        }
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::Malformed("an upgrade that was not asked for"));
        }
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            let is_chunked = self.tokens(header::TRANSFER_ENCODING).next_back() == Some("chunked".to_owned());
            return Ok(if is_chunked { Framing::chunked() } else { Framing::ToTheEnd });
        }
        let values = self.headers.get_all(header::CONTENT_LENGTH);
        let malformed = Error::Malformed("invalid content-length");
        if values.iter().any(|value| value.to_str().is_err()) {
            return Err(malformed);
        }
        let mut lengths = self.tokens(header::CONTENT_LENGTH).peekable();
        let Some(first) = lengths.peek().cloned() else { return Ok(Framing::ToTheEnd) };
        if lengths.any(|other| other != first) || !first.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed);
        }
        first.parse().map(Framing::Length).map_err(|_| malformed)
    }

    /// Whether the server keeps the connection (RFC 9112, section 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        let says = |option: &str| self.tokens(header::CONNECTION).any(|token| token == option);
        !self.is_doubtful && if self.is_http_11 { !says("close") } else { says("keep-alive") }
    }

    fn tokens(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = String> {
        let values = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|token| token.trim().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;
    use proptest::prelude::*;

    fn framing(fields: &str) -> Result<Framing, Error> {
        let mut received = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes());
        take(&mut received).unwrap().unwrap().framing(&Method::POST)
    }

    #[test]
    fn a_head_is_taken_when_it_is_complete_and_leaves_the_body() {
        let mut received = BytesMut::from(&b"HTTP/1.1 200 OK\r\nA: b\r\n"[..]);
        assert!(take(&mut received).unwrap().is_none());
        received.extend_from_slice(b"\r\nbody");
        let head = take(&mut received).unwrap().unwrap();
        assert_eq!(
            (head.status.as_u16(), &head.headers["a"], &received[..]),
            (200, &HeaderValue::from_static("b"), &b"body"[..])
        );
    }

    #[test]
    fn the_end_of_a_body_is_where_the_rfc_has_it() {
        assert_eq!(framing("Content-Length: 5\r\n").unwrap(), Framing::Length(5));
        assert_eq!(framing("Content-Length: 5, 5\r\n").unwrap(), Framing::Length(5));
        assert_eq!(framing("Content-Length: 5\r\nTransfer-Encoding: gzip, Chunked\r\n").unwrap(), Framing::chunked());
        assert_eq!(framing("Transfer-Encoding: gzip\r\n").unwrap(), Framing::ToTheEnd);
        assert_eq!(framing("").unwrap(), Framing::ToTheEnd);
        for bad in ["5, 6", "-1", "+1", "x", "99999999999999999999999"] {
            assert!(framing(&format!("Content-Length: {bad}\r\n")).is_err(), "{bad}");
        }
        assert!(framing("Content-Length: 5\r\nContent-Length: é\r\n").is_err());
    }

    #[test]
    fn a_connection_on_which_the_body_might_end_elsewhere_serves_nobody_else() {
        let taken = |head: &str| take(&mut BytesMut::from(head.as_bytes())).unwrap().unwrap();
        let plain = taken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(plain.keeps_alive());
        let both = taken("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(!both.keeps_alive() && !both.headers.contains_key("content-length"));
        let old = taken("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(!old.keeps_alive());
    }

    #[test]
    fn an_upgrade_that_nobody_asked_for_is_no_interim_answer() {
        let head = take(&mut BytesMut::from(&b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..])).unwrap().unwrap();
        assert!(!head.is_interim() && head.framing(&Method::GET).is_err());
    }

    #[test]
    fn names_are_written_as_the_server_wants_them() {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-a-b"), HeaderValue::from_static("1"))]);
        let content = Content::new([Bytes::from_static(b"hi")]);
        let request = Request { method: &Method::PUT, target: "/t?q", host: Some("h"), headers: &headers, content };
        assert_eq!(encode(&request, true), "PUT /t?q HTTP/1.1\r\nHost: h\r\nX-A-B: 1\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(encode(&request, false), "PUT /t?q HTTP/1.1\r\nhost: h\r\nx-a-b: 1\r\ncontent-length: 2\r\n\r\n");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut received = BytesMut::from(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat()[..]);
            if let Ok(Some(head)) = take(&mut received) {
                let _ = head.framing(&Method::GET);
            }
        }
    }
}
