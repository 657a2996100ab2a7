//! Connections: accepted, optionally over TLS, each served by a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::body::ReplyBody;
use crate::call::{answer_call, with_body};
use crate::control::answer_control;
use crate::dialect::{Endpoint, Script};
use crate::simulation::Simulation;
use crate::wire::{Wire, WireFault};

/// Thousands of connections may arrive at once; the kernel lowers this to its own limit.
const BACKLOG: u32 = 16_384;
/// How long to wait for a descriptor to become free.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

/// Binds `address` with a long queue.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves connections until the future is dropped.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, simulation: Arc<Simulation>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(DESCRIPTOR_PAUSE).await;
            continue;
        };
        simulation.tally.connected();
        let simulation = Arc::clone(&simulation);
        match tls.clone() {
            Some(tls) => drop(tokio::spawn(serve_tls(stream, tls, simulation))),
            None => drop(tokio::spawn(serve_plain(stream, simulation))),
        }
    }
}

async fn serve_plain(stream: TcpStream, simulation: Arc<Simulation>) {
    let fault = WireFault::default();
    if let Ok(wire) = wire(stream, &fault) {
        serve_http1(wire, fault, simulation).await;
    }
}

async fn serve_tls(stream: TcpStream, tls: TlsAcceptor, simulation: Arc<Simulation>) {
    let fault = WireFault::default();
    let Ok(wire) = wire(stream, &fault) else {
        return;
    };
    let Ok(stream) = tls.accept(wire).await else {
        return;
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => serve_http2(stream, fault, simulation).await,
        _ => serve_http1(stream, fault, simulation).await,
    }
}

fn wire(stream: TcpStream, fault: &WireFault) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    Ok(Wire::new(stream, fault.clone()))
}

/// How a connection ends is the client's affair, or a fault that was asked for.
async fn serve_http1(io: impl AsyncRead + AsyncWrite + Unpin, fault: WireFault, simulation: Arc<Simulation>) {
    let service = service_fn(|request| route(Arc::clone(&simulation), fault.clone(), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
}

async fn serve_http2(io: impl AsyncRead + AsyncWrite + Unpin, fault: WireFault, simulation: Arc<Simulation>) {
    let service = service_fn(|request| route(Arc::clone(&simulation), fault.clone(), request));
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service).await;
}

async fn route(
    simulation: Arc<Simulation>,
    fault: WireFault,
    request: Request<Incoming>,
) -> io::Result<Response<ReplyBody>> {
    if request.uri().path().starts_with("/sim/") {
        return Ok(answer_control(&simulation, request).await);
    }
    match Endpoint::find(request.uri().path(), request.uri().query()) {
        Some(endpoint) if request.method() == "POST" => answer_call(simulation, fault, endpoint, request).await,
        _ => Ok(not_found()),
    }
}

fn not_found() -> Response<ReplyBody> {
    let document = json!({"error": {"message": "Unknown request URL.", "type": "invalid_request_error", "code": null}});
    with_body(Response::builder().status(StatusCode::NOT_FOUND), Script::whole(&document), ReplyBody::plain)
}
