//! Another process in this one's place, with the same sockets: this one starts the program that lies where its own came from,
//! with the same arguments, and hands its listening sockets over when the other one is ready to take them.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use crate::time::{Duration, Instant, sleep};

/// The flag with which the other process is told where sockets come from.
const FLAG: &str = "--upgrade";
/// How long the other one may take to read its configuration.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one looks whether it is ready.
const PAUSE: Duration = Duration::from_millis(20);
/// What Linux says of a program's file that is not there any more.
const DELETED: &str = " (deleted)";

/// Why the other process did not take over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It did not begin.
    #[error("cannot start {program}: {cause}", program = program.display())]
    NotStarted { program: PathBuf, cause: io::Error },
    /// It ended: its own words are in the log.
    #[error("the other process ended before it was ready ({0}); its words are above")]
    Ended(ExitStatus),
    /// It neither ended nor became ready.
    #[error("the other process was not ready in {PATIENCE:?} and was ended")]
    TooSlow,
}

/// A path where one process gives sockets to the next, in a directory that only this user can enter.
#[derive(Debug)]
pub(super) struct Socket {
    directory: PathBuf,
    path: PathBuf,
}

impl Socket {
    /// Where this process got its own sockets, if it got any; else a new place.
    pub(super) fn new(taken_from: Option<&Path>) -> Self {
        let taken_from = taken_from.and_then(|path| Some((path.parent()?.to_owned(), path.to_owned())));
        let (directory, path) = taken_from.unwrap_or_else(|| {
            let name = format!("siding-{}-{:08x}", std::process::id(), fastrand::u32(..));
            let directory = std::env::temp_dir().join(name);
            let path = directory.join("upgrade");
            (directory, path)
        });
        Self { directory, path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what was needed for the last time that sockets were given.
    pub(super) fn clean(&self) {
        let _ = std::fs::remove_dir(&self.directory); // the socket in it is gone already
    }

    /// Starts the other process, and waits until it waits for sockets.
    ///
    /// # Errors
    /// See [`Failed`]; then there is no other process.
    pub(super) async fn spawn(&self) -> Result<u32, Failed> {
        let program = program().unwrap_or_default();
        let started = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.directory);
        let started = started.and_then(|()| Command::new(&program).args(arguments(&self.path)).spawn());
        let mut child = started.map_err(|cause| Failed::NotStarted { program, cause })?;
        let ready = self.until_ready(&mut child).await;
        if ready.is_err() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(&self.directory);
        }
        ready.map(|()| child.id())
    }

    async fn until_ready(&self, child: &mut Child) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Failed::Ended(status));
            }
            if self.path.exists() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failed::TooSlow);
            }
            sleep(PAUSE).await;
        }
    }
}

/// The program that lies where this one came from: another file, after it was replaced.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.into_os_string().into_string();
    let path = path.map_err(|_| io::Error::other("the program's path is not UTF-8"))?;
    Ok(path.strip_suffix(DELETED).unwrap_or(&path).into())
}

/// This process's own, and where sockets come from.
fn arguments(socket: &Path) -> Vec<OsString> {
    let mut own = std::env::args_os().skip(1);
    let mut arguments = Vec::new();
    while let Some(argument) = own.next() {
        if argument == FLAG {
            own.next(); // this process was started so, too
        } else {
            arguments.push(argument);
        }
    }
    arguments.extend([FLAG.into(), socket.into()]);
    arguments
}
