//! `simulated-llm`: reads the flags, listens, says where, and serves until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulated_llm::behaviour::Behaviour;
use simulated_llm::{Simulation, acceptor, directive, server};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated LLM that speaks the OpenAI, Anthropic and Gemini APIs.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// From the request to the answer, or to the first token of a stream.
    #[arg(long, default_value = "2s", value_parser = duration)]
    latency: Duration,
    /// The length of an answer.
    #[arg(long, default_value_t = 16)]
    tokens: usize,
    /// Tokens a second in a stream.
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    token_rate: f64,
    /// A PEM certificate chain: serve TLS, HTTP/1.1 and HTTP/2.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's PEM key.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    directive::duration(text).ok_or_else(|| "write 500ms, 2s or 0".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| *rate > 0.0).ok_or_else(|| "write a number above 0".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulated-llm: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    // Each pending call holds a descriptor. A lower limit still serves, only fewer of them.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let tls = match (&flags.tls_cert, &flags.tls_key) {
        (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let defaults = Behaviour {
        latency: flags.latency,
        tokens: flags.tokens,
        token_rate: flags.token_rate,
        ..Behaviour::default()
    };
    let listener = server::bind(flags.listen)?;
    writeln!(io::stdout(), "listening on {scheme}://{}", listener.local_addr()?)?;
    io::stdout().flush()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = server::serve(listener, tls, Simulation::new(defaults)) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
