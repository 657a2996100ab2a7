//! How requests travel to one provider: with our own client, which costs a waiting call next to nothing, or over TLS
//! with hyper's, which speaks HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use url::{Position, Url};

use super::tls::{Place, TlsClients};
use super::{Config, Failure, Request};
use crate::http1::{self, Address, Content};
use crate::tls::{BadTrust, KEEP_IDLE, Trust, innermost};

/// The connections to a provider.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(http1::Client),
    Tls(TlsClients),
}

/// The head of a response, and its body as it comes.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Plain(http1::Body),
    /// With its place on the connection, which it keeps to its end.
    Tls {
        body: Incoming,
        _place: Place,
    },
}

impl Transport {
    /// Without connections.
    pub(super) fn new(config: &Config, trust: &Trust) -> Result<Self, BadTrust> {
        if config.base_url.is_tls() {
            return TlsClients::new(config, trust).map(Self::Tls);
        }
        Ok(Self::Plain(http1::Client::new(http1::Config {
            address: Address::Tcp(config.base_url.address()),
            connect_timeout: config.timeouts.connect,
            keep_idle: KEEP_IDLE,
            title_case: false,
        })))
    }

    /// Sends a request and waits for the head of its response. `host` is for messages.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, or resets the stream.
    pub(super) async fn send(&self, request: &Request, host: &str) -> Result<Received, Failure> {
        match self {
            Self::Plain(client) => {
                let response = client.send(plain(request)).await.map_err(|error| before_the_head(error, host))?;
                let http1::Response { status, headers, body } = response;
                Ok(Received { status, headers, body: Body::Plain(body) })
            }
            Self::Tls(clients) => {
                let place = clients.place();
                // Boxed, or every call would be as large as one over TLS.
                let sending = Box::pin(place.client().request(over_tls(request, host)?));
                let response = sending.await.map_err(|error| before_the_head_over_tls(&error, host))?;
                let (parts, body) = response.into_parts();
                Ok(Received { status: parts.status, headers: parts.headers, body: Body::Tls { body, _place: place } })
            }
        }
    }
}

impl Body {
    /// The next piece; `None` at the end, the cause when it broke off.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self {
            Self::Plain(body) => body.next().await.map(|piece| piece.map_err(|error| error.to_string())),
            Self::Tls { body, .. } => loop {
                match body.frame().await? {
                    Err(error) => return Some(Err(innermost(&error))),
                    Ok(frame) => match frame.into_data() {
                        Ok(data) => return Some(Ok(data)),
                        Err(_trailers) => continue,
                    },
                }
            },
        }
    }
}

fn plain(request: &Request) -> http1::Request<'_> {
    let Request { method, url, headers, body, .. } = request;
    http1::Request {
        method,
        target: target(url),
        host: Some(authority(url)),
        headers,
        content: Content::new([body.clone()]),
    }
}

fn target(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// Host and port, without a default port.
fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

fn over_tls(request: &Request, host: &str) -> Result<http::Request<Full<Bytes>>, Failure> {
    let mut built = http::Request::new(Full::new(request.body.clone()));
    *built.uri_mut() = request.url.as_str().parse().map_err(|error: http::uri::InvalidUri| Failure::Protocol {
        host: host.to_owned(),
        cause: error.to_string(),
    })?;
    *built.method_mut() = request.method.clone();
    *built.headers_mut() = request.headers.clone();
    Ok(built)
}

fn before_the_head(error: http1::Error, host: &str) -> Failure {
    let (host, cause) = (host.to_owned(), error.to_string());
    match error {
        http1::Error::ConnectTimeout => Failure::ConnectTimeout(host),
        http1::Error::Connect(error) if error.kind() == std::io::ErrorKind::TimedOut => Failure::ConnectTimeout(host),
        http1::Error::Connect(_) | http1::Error::Closed(_) => Failure::Connect { host, cause },
        http1::Error::Malformed(_) => Failure::Protocol { host, cause },
    }
}

fn before_the_head_over_tls(error: &legacy::Error, host: &str) -> Failure {
    let host = host.to_owned();
    let causes = || std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let timed_out = causes()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::TimedOut);
    let unreadable = causes().filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse);
    match (error.is_connect() && timed_out, unreadable) {
        (true, _) => Failure::ConnectTimeout(host),
        (false, true) => Failure::Protocol { host, cause: innermost(error) },
        (false, false) => Failure::Connect { host, cause: innermost(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_host_without_a_default_port() {
        let url: Url = "http://llm.example:80/v1/x?a=b".parse().unwrap();
        assert_eq!((target(&url), authority(&url)), ("/v1/x?a=b", "llm.example"));
        let url: Url = "http://[::1]:8080/v1/x".parse().unwrap();
        assert_eq!((target(&url), authority(&url)), ("/v1/x", "[::1]:8080"));
    }
}
