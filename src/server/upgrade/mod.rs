//! Another process in this one's place, with the same sockets: this one starts the program that lies where its own came from,
//! with the same arguments, passes its listening sockets, and waits until the other one listens on them. Until then nothing
//! has changed for clients, and whatever goes wrong ends the other process only.

mod place;
mod program;

use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::process::ExitStatus;

use tokio::net::UnixListener;
use tokio::process::{Child, Command};

use super::sockets::{CannotPass, Sockets};
use crate::time::{Duration, sleep, timeout};
use place::Place;
pub(super) use place::{serving, sockets};
pub(super) use program::Program;

/// How long the other process may take from its start until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks whether it waits for sockets.
const PAUSE: Duration = Duration::from_millis(20);
/// The process whose end is a container's.
const INIT: u32 = 1;

/// Why no other process took over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("this is the first process of a container, which ends with it; start another container instead")]
    Init,
    #[error("the sockets cannot be passed: {0}")]
    Pass(#[from] CannotPass),
    #[error("there is no private place to pass sockets at: {0}")]
    Place(io::Error),
    #[error("cannot start {program}: {cause}", program = .program.path().display())]
    Start { program: Program, cause: io::Error },
    #[error("the other process ended before it served ({0}); its words are above")]
    Ended(ExitStatus),
    #[error("the other process did not serve within {PATIENCE:?} and was ended")]
    TooSlow,
    #[error("the other process could not be followed: {0}")]
    Lost(io::Error),
}

/// Has another process take over. It returns its identity once that process listens.
///
/// # Errors
/// See [`Failed`]; then there is no other process.
///
/// # Cancel safety
/// Dropping the future ends the other process.
pub(super) async fn run(program: &Program, sockets: &Sockets) -> Result<u32, Failed> {
    if std::process::id() == INIT {
        return Err(Failed::Init);
    }
    sockets.can_be_passed()?;
    let place = Place::new().map_err(Failed::Place)?;
    let serves = UnixListener::bind(place.serving()).map_err(Failed::Place)?;
    let command = Command::new(program.path()).args(program.arguments(place.directory())).kill_on_drop(true).spawn();
    let mut other = command.map_err(|cause| Failed::Start { program: program.clone(), cause })?;
    let taking_over = async {
        waits(&place.sockets()).await;
        let (sockets, path) = (sockets.clone(), place.sockets());
        let passed = tokio::task::spawn_blocking(move || sockets.pass(&path)).await;
        passed.unwrap_or_else(|error| Err(io::Error::other(error).into()))?;
        serves.accept().await.map(drop).map_err(Failed::Lost)
    };
    tokio::select! {
        biased;
        taken = timeout(PATIENCE, taking_over) => taken.unwrap_or(Err(Failed::TooSlow))?,
        ended = other.wait() => return Err(ended.map_or_else(Failed::Lost, Failed::Ended)),
    }
    Ok(released(other))
}

async fn waits(path: &Path) {
    while !path.exists() {
        sleep(PAUSE).await;
    }
}

/// Lets the process live on. The runtime still learns of its end, so that none is left as a zombie.
fn released(other: Child) -> u32 {
    let id = other.id().unwrap_or_default();
    let mut other = ManuallyDrop::new(other); // it is no child to be killed any more
    tokio::spawn(async move { other.wait().await });
    id
}
