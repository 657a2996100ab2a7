//! The command line: parse, load, run, and turn errors into exit codes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use siding::config::{self, Config, Source};

/// Threads allocate and free each other's buffers all the time, which glibc's allocator serialises, and bursts leave it
/// with memory it does not give back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Wrong flags or a faulty configuration (sysexits.h: EX_USAGE).
const USAGE: u8 = 64;
/// The process could not start.
const CANNOT_START: u8 = 1;

/// Frees synchronous Django workers from waiting for LLMs.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM (finishes exchanges) or SIGINT (at once)
    Run(Settings),
    /// Check a configuration, report every fault with line and remedy, and exit
    Check(Settings),
    /// Print the documented reference with every key and its default
    Defaults,
}

#[derive(Args)]
struct Settings {
    /// The configuration; without one the defaults hold
    #[arg(long, short, env = "SIDING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the app listens, host:port or unix:/path; overrides backend.address
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<String>,
    /// Only proxy; the app cannot suspend and no secret is needed
    #[arg(long)]
    no_handoff: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed standard output is no reason to fail.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match cli.command {
        Command::Run(settings) => run(&settings),
        Command::Check(settings) => match load(&settings) {
            Ok(_) => say("the configuration is valid"),
            Err(message) => fail(&message, USAGE),
        },
        Command::Defaults => say(config::REFERENCE.trim_end()),
    }
}

fn run(settings: &Settings) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(message) => return fail(&message, USAGE),
    };
    siding::telemetry::log::start(config.log.format, &config.log.filter);
    match siding::server::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("siding: {error}"), CANNOT_START),
    }
}

fn load(settings: &Settings) -> Result<Config, String> {
    let (origin, text) = match &settings.config {
        None => ("siding".to_owned(), String::new()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("siding: cannot read {}: {error}", path.display()))?;
            (path.display().to_string(), text)
        }
    };
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    config::load(&Source {
        origin: &origin,
        text: &text,
        backend: settings.backend.as_deref(),
        no_handoff: settings.no_handoff,
        environment: &environment,
    })
    .map_err(|faults| faults.to_string())
}

fn say(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(CANNOT_START),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
