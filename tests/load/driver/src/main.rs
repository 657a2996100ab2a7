//! `load-driver`: HTTP load whose answers are checked.
//!
//! `load` makes requests in a closed loop, at a fixed rate, or at the times of a `trace`; `schedule` says from when to
//! when they count. `visitor` makes one at a time on a connection of its own; `stream` takes down when a stream's events arrive. `target` knows what is sent, `check` what
//! must come back, `report` what is told.

mod check;
mod distribution;
mod flags;
mod load;
mod report;
mod schedule;
mod stream;
mod target;
mod trace;
mod visitor;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use flags::Flags;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load-driver: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    // A connection for each concurrent request; a lower limit only means fewer of them.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let json = flags.json;
    let summary = load::run(flags).await?;
    let text = if json { serde_json::to_string(&summary)? } else { summary.to_string() };
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}
