//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// HTTP load with checked answers.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Flags {
    /// http://host:port/path; `{n}` in the path becomes unique in each request.
    #[arg(long)]
    pub(crate) url: String,
    /// The method, instead of GET, or POST with a body; `{n}` becomes unique in each request.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Sent as `Authorization: Token ...`.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// A JSON body; `{n}` becomes unique in each request.
    #[arg(long)]
    pub(crate) body_template: Option<String>,
    /// The answer must be the simulated LLM's answer to the prompt in the body.
    #[arg(long, requires = "body_template")]
    pub(crate) expect_echo: bool,
    /// Read answers as server-sent events, and report when they arrived, and after which time on their way where the
    /// simulated LLM stamped them. An answer without any is wrong; so is, with --expect-echo, one that breaks off.
    #[arg(long)]
    pub(crate) stream: bool,
    /// Report every time of a stream besides how they are spread.
    #[arg(long, requires_all = ["stream", "json"])]
    pub(crate) samples: bool,
    /// Requests in flight in the closed loop.
    #[arg(long, default_value_t = 1)]
    pub(crate) concurrency: usize,
    /// Requests a second at fixed times, whether or not earlier ones were answered, instead of the closed loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Make the requests of this file at their times, whether or not earlier ones were answered, and no others. A line is
    /// the seconds after the beginning and a path, which stands in for the URL's.
    #[arg(long, conflicts_with_all = ["rate", "requests", "duration", "concurrency", "ramp_up"])]
    pub(crate) trace: Option<PathBuf>,
    /// Stop after this many requests.
    #[arg(long, required_unless_present_any = ["duration", "trace"])]
    pub(crate) requests: Option<u64>,
    /// Begin no request after this time, which counts from the end of the warm-up; those in flight are waited for.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// What ends in this time at the start is not counted. When it is over, stderr says `measuring`.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// Begin the closed loop's first requests evenly over this time instead of all at once.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, conflicts_with = "rate")]
    pub(crate) ramp_up: Duration,
    /// Do not wait for what is in flight after the duration: it is reported as unanswered.
    #[arg(long, requires = "duration")]
    pub(crate) leave: bool,
    /// Make each request on a connection of its own.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How long to wait for one answer.
    #[arg(long, default_value = "2m", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// The result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr.
    #[arg(long)]
    pub(crate) quiet: bool,
}
