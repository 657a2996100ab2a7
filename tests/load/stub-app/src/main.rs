//! `stub-app`: the other ends of a proxy, made so that as little as possible is their own.
//!
//! `serve` plays an app that hands its call over (`app`) and the provider of that call (`provider`), and keeps how
//! long each request took them (`records`). `visit` plays the clients (`visitor`). HTTP is read and written by hand
//! (`wire`): a library would take longer than all that is measured here, and in places where it cannot be told
//! from the proxy.

mod app;
mod flags;
mod provider;
mod records;
mod server;
mod visitor;
mod wire;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use flags::{Command, Flags};

/// The clients' own name of an exchange, which the proxy passes on to the app, and the app to the provider.
const EXCHANGE: &str = "X-Exchange";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let done = match Flags::parse().command {
        Command::Serve(flags) => server::run(&flags).await,
        Command::Visit(flags) => visitor::run(flags).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told when standard error is closed.
            let _ = writeln!(std::io::stderr(), "stub-app: {error}");
            ExitCode::FAILURE
        }
    }
}
