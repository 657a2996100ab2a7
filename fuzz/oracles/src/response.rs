//! Answers of servers: the HTTP/1.1 client's parsers (`siding::http1`).

use http::Method;
use siding::http1::offline::{Answer, read};

use crate::{choice, pieces};

/// A letter for the method of the request, a byte for the cuts, then what a server sends. However it arrives, it is read
/// the same; what is behind the body is no part of it; and a body that is written again is the same body.
pub fn response(data: &[u8]) {
    let Some(([method, seed], bytes)) = data.split_first_chunk() else { return };
    let method = choice(*method, &[Method::POST, Method::HEAD].each_ref()).clone();
    let whole = read(&method, [bytes]).map_err(|error| error.to_string());
    let cut = read(&method, pieces(bytes, *seed)).map_err(|error| error.to_string());
    assert_eq!(whole, cut);
    let Ok(Some(answer)) = whole else { return };
    assert!(bytes.ends_with(&answer.rest), "what is left is not the end of what came");
    let is_coded = answer.headers.contains_key("transfer-encoding");
    assert!(!is_coded || !answer.headers.contains_key("content-length"), "two lengths go on");
    if answer.has_ended {
        let more = [bytes, b"HTTP/1.1 200 OK\r\n\r\n"].concat();
        let longer = read(&method, [&more[..]]).ok().flatten().expect("what follows a body changes nothing of it");
        assert_eq!((&longer.headers, &longer.body), (&answer.headers, &answer.body));
        assert_eq!(longer.rest.len(), answer.rest.len() + more.len() - bytes.len());
    } else {
        assert!(answer.rest.len() < bytes.len());
    }
    again(&answer, *seed);
}

/// The body in chunks, decoded.
fn again(answer: &Answer, seed: u8) {
    let mut written = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces(&answer.body, seed) {
        written.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        written.extend_from_slice(piece);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\n");
    let read = read(&Method::POST, pieces(&written, seed.wrapping_add(1))).ok().flatten().expect("it was written well");
    assert!(read.has_ended && read.keeps_alive && read.rest.is_empty());
    assert_eq!(read.body, answer.body);
}
