//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// An app, its provider and its clients, for measuring the proxy between them.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Play the app and the provider.
    ///
    /// Both: any method /bytes/N, whatever follows, answers with N bytes; /routed/N does so as a view of its own, whose
    /// route is named by its target. App: POST /call hands a call over, and is answered with the
    /// call's result when it comes back; POST /relay hands its own body over as a call to be relayed; GET /records tells
    /// how long each exchange took here, once. Provider: any other POST is answered after the latency.
    Serve(Serve),
    /// Play clients: exchanges at fixed times, each a request to every URL in turn.
    ///
    /// Prints for each its name and the nanoseconds from the beginning of its requests to the ends of their answers,
    /// or the status that was not 200.
    Visit(Visit),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Where the app listens.
    #[arg(long)]
    pub(crate) app: SocketAddr,
    /// Where the provider listens.
    #[arg(long)]
    pub(crate) provider: SocketAddr,
    /// Where the calls of /relay go, as host:port; without it, to the provider.
    #[arg(long)]
    pub(crate) relayed_from: Option<SocketAddr>,
    /// The app ends each connection after its answer, as gunicorn's sync workers do.
    #[arg(long)]
    pub(crate) close: bool,
    /// How long a call takes.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,
    /// What the app shares with the proxy.
    #[arg(long, env = "SIDING_SECRET", hide_env_values = true)]
    pub(crate) secret: String,
}

#[derive(Args)]
pub(crate) struct Visit {
    /// host:port/path, any number of times.
    #[arg(long = "url", required = true)]
    pub(crate) urls: Vec<String>,
    /// Exchanges a second.
    #[arg(long)]
    pub(crate) rate: f64,
    /// Exchanges in all.
    #[arg(long)]
    pub(crate) requests: u32,
    /// Bytes of each request's body.
    #[arg(long, default_value_t = 200)]
    pub(crate) body: usize,
    /// The beginning of the names of exchanges.
    #[arg(long)]
    pub(crate) name: String,
}
