//! The command line: parse, load, run, and turn errors into exit codes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rlimit::Resource;
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
    /// Serve until SIGTERM (finishes exchanges) or SIGINT (at once); SIGHUP reloads, SIGUSR2 upgrades
    Run(Run),
    /// Check a configuration, report every fault with line and remedy, and exit
    Check(Settings),
    /// Print the documented reference with every key and its default
    Defaults,
    /// Print the JSON schema of the configuration, for editors
    Schema,
    /// Print the reference of every metric, as in docs/metrics.md
    Metrics,
    /// Say whether two calls share an answer, and if not, why
    ExplainKey(Pair),
}

#[derive(Args)]
struct Pair {
    /// The configuration, for cache.ignore; without one the defaults hold
    #[arg(long, short, env = "SIDING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The JSON body of a call
    one: PathBuf,
    /// The JSON body of another
    other: PathBuf,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    settings: Settings,
    /// Let a crash leave a core dump, which holds keys, prompts and answers
    #[arg(long)]
    core_dumps: bool,
    /// Where the process that this one supersedes gives its sockets; set by that process
    #[arg(long, value_name = "SOCKET", hide = true)]
    upgrade: Option<PathBuf>,
}

#[derive(Args, Clone)]
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
        Command::Run(command) => run(&command),
        Command::Check(settings) => match load(&settings) {
            Ok(_) => say("the configuration is valid"),
            Err(message) => fail(&message, USAGE),
        },
        Command::Defaults => say(config::REFERENCE.trim_end()),
        Command::Schema => say(config::schema().trim_end()),
        Command::Metrics => match siding::server::metrics_reference() {
            Ok(page) => say(page.trim_end()),
            Err(error) => fail(&format!("siding: {error}"), CANNOT_START),
        },
        Command::ExplainKey(pair) => match explain_key(&pair) {
            Ok(said) => say(&said),
            Err(message) => fail(&message, USAGE),
        },
    }
}

fn run(Run { settings, core_dumps, upgrade }: &Run) -> ExitCode {
    let config = match load(settings) {
        Ok(config) => config,
        Err(message) => return fail(&message, USAGE),
    };
    siding::telemetry::log::start(config.log.format, &config.log.filter);
    if !core_dumps && let Err(error) = forbid_core_dumps() {
        tracing::warn!(%error, "a crash may leave a core dump, which holds keys, prompts and answers");
    }
    let source = siding::server::Source {
        path: settings.config.clone(),
        load: Box::new({
            let settings = settings.clone();
            move || load(&settings)
        }),
    };
    let ended = siding::server::run(config, source, upgrade.as_deref());
    siding::telemetry::log::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("siding: {error}"), CANNOT_START),
    }
}

/// With a limit of one byte, Linux neither writes a core nor starts the program that collects them. A limit of zero prevents
/// the file only.
fn forbid_core_dumps() -> std::io::Result<()> {
    let (_, hard) = Resource::CORE.get()?;
    let most = hard.min(1);
    Resource::CORE.set(most, most)
}

/// Compares the bodies of two calls as the cache does. What else is in a call's key (provider, path, account, scope) is
/// the operator's to compare: it is not in the files.
fn explain_key(pair: &Pair) -> Result<String, String> {
    let settings = Settings { config: pair.config.clone(), backend: None, no_handoff: true };
    let ignored = load(&settings)?.calls.ignore;
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| format!("siding: cannot read {}: {error}", path.display()))
    };
    let (one, other) = (read(&pair.one)?, read(&pair.other)?);
    let meaning = |path: &PathBuf, json| {
        siding::calls::meaning_of_body(json, &ignored)
            .ok_or_else(|| format!("siding: {} is not a JSON object, or nests too deep", path.display()))
    };
    let ((key, document), (other_key, other_document)) = (meaning(&pair.one, &one)?, meaning(&pair.other, &other)?);
    let differences = siding::cache::explain(&document, &other_document);
    let verdict = if key == other_key { "they share an answer" } else { "they do not share an answer" };
    let ignored = ignored.join(", ");
    let lines = [format!("{key}  {}", pair.one.display()), format!("{other_key}  {}", pair.other.display())];
    let rest = [format!("ignored: stream, stream_options, {ignored}"), verdict.to_owned()];
    Ok(lines
        .into_iter()
        .chain(rest)
        .chain(differences.iter().map(|at| format!("  {at}")))
        .collect::<Vec<_>>()
        .join("\n"))
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
