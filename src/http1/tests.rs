//! The client against a server that is told what to do, byte by byte.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Address, Client, Config, Content, Error, Request, Response};
use crate::time::Duration;

async fn server() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let second = Duration::from_secs(1);
    let config = Config { address, connect_timeout: second, keep_idle: second * 60, title_case: false };
    (listener, Client::new(config))
}

async fn ask(client: &Client, body: &Bytes) -> Result<Response, Error> {
    let headers = HeaderMap::new();
    let content = Content::new([body.clone()]);
    client.send(Request { method: &Method::POST, target: "/", host: Some("h"), headers: &headers, content }).await
}

async fn whole(mut response: Response) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(piece) = response.body.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// Reads what was sent up to the end of `body`.
async fn request(stream: &mut TcpStream, body: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    while !received.ends_with(body) {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "the client left");
    }
    received
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const QUESTION: Bytes = Bytes::from_static(b"question");

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let (listener, client) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let received = request(&mut stream, &QUESTION).await;
            assert!(received.starts_with(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 8\r\n\r\n"));
            stream.write_all(OK).await.unwrap();
        }
    });
    for _ in 0..3 {
        assert_eq!(whole(ask(&client, &QUESTION).await.unwrap()).await.unwrap(), b"ok");
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_not_used() {
    let (listener, client) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream, &QUESTION).await;
        stream.write_all(OK).await.unwrap();
    });
    whole(ask(&client, &QUESTION).await.unwrap()).await.unwrap();
    serving.await.unwrap();
    let pool = client.pool.as_ref().unwrap();
    // Where its end has arrived already, it is not given out at all.
    if let Some(kept) = pool.take() {
        kept.readable().await.unwrap();
        pool.put(kept);
    }
    assert!(pool.take().is_none());
}

#[tokio::test]
async fn an_answer_is_heard_though_the_request_is_never_read() {
    let (listener, client) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge").await.unwrap();
        stream
    });
    let response = ask(&client, &Bytes::from(vec![b'x'; 32 * 1024 * 1024])).await.unwrap();
    assert_eq!((response.status.as_u16(), whole(response).await.unwrap()), (413, b"large".to_vec()));
    serving.await.unwrap();
}

#[tokio::test]
async fn interim_answers_are_skipped_and_a_body_may_end_with_the_connection() {
    let (listener, client) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream, &QUESTION).await;
        let answer =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end";
        stream.write_all(answer).await.unwrap();
    });
    let response = ask(&client, &QUESTION).await.unwrap();
    assert_eq!((response.status.as_u16(), whole(response).await.unwrap()), (200, b"to the end".to_vec()));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_small_piece_of_a_body_does_not_keep_the_buffer_it_was_read_into() {
    let (listener, client) = server().await;
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream, &QUESTION).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n").await.unwrap();
        stream
    });
    let mut response = ask(&client, &QUESTION).await.unwrap();
    let piece = response.body.next().await.unwrap().unwrap();
    drop((response, serving.await.unwrap()));
    let kept = piece.try_into_mut().unwrap();
    assert_eq!(kept, "event");
    assert!(kept.capacity() < 64, "{}", kept.capacity());
}

#[tokio::test]
async fn what_is_cut_short_is_an_error_and_never_a_short_answer() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ] {
        let (listener, client) = server().await;
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream, &QUESTION).await;
            stream.write_all(answer).await.unwrap();
        });
        let response = ask(&client, &QUESTION).await.unwrap();
        assert!(matches!(whole(response).await, Err(Error::Closed(_))));
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn no_answer_and_no_http_are_told_apart() {
    for (answer, is_http) in [(&b""[..], true), (b"220 smtp ready\r\n", false)] {
        let (listener, client) = server().await;
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream, &QUESTION).await;
            stream.write_all(answer).await.unwrap();
        });
        let error = ask(&client, &QUESTION).await.unwrap_err();
        assert_eq!(matches!(error, Error::Closed(_)), is_http, "{error:?}");
        assert_eq!(matches!(error, Error::Malformed(_)), !is_http, "{error:?}");
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_known_to_have_seen_nothing() {
    let (listener, client) = server().await;
    drop(listener);
    assert!(matches!(ask(&client, &QUESTION).await, Err(Error::Connect(_))));
    assert!(!client.accepts().await);
}
