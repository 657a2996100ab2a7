//! `bare-pingora LISTEN UPSTREAM THREADS`: passes every request on to one upstream and does nothing else.
//!
//! Siding's pass-through is compared with it, so it is built with the same flags, features and allocator, and all
//! that it sets is what Siding could not be compared without: the number of threads. If Siding declares a global
//! allocator, this must declare the same; the comparison refuses to run otherwise.

use std::io::Write;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::prelude::{HttpPeer, Result};
use pingora::proxy::{ProxyHttp, ProxyServiceBuilder, Session};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Bare(HttpPeer);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, threads] = arguments.as_slice() else { return usage() };
    let Ok(threads) = threads.parse() else { return usage() };
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads, ..ServerConf::default() });
    server.bootstrap();
    let bare = Bare(HttpPeer::new(upstream.as_str(), false, String::new()));
    let mut service = ProxyServiceBuilder::new(&server.configuration, bare).build();
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}

fn usage() -> ExitCode {
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "usage: bare-pingora LISTEN UPSTREAM THREADS");
    ExitCode::from(64)
}
