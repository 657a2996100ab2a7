//! Which program takes over, and with which arguments.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// The flag that names the directory in which sockets are passed.
const FLAG: &str = "--upgrade";
/// What Linux says of a program's file that is not there any more.
const DELETED: &str = " (deleted)";

/// The program that this process was started as.
#[derive(Clone, Debug)]
pub(in super::super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process's own. To be asked at its start: later the names may lead elsewhere, as they should.
    pub(in super::super) fn of_this_process() -> io::Result<Self> {
        let running = std::env::current_exe()?;
        let mut said = std::env::args_os();
        let name = said.next().unwrap_or_default();
        let path = named(&name, &running, &std::env::var_os("PATH").unwrap_or_default());
        Ok(Self { path: path.unwrap_or_else(|| undeleted(&running)), arguments: without_flag(said) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The same arguments, and where sockets are passed.
    pub(super) fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        arguments.extend([FLAG.into(), directory.into()]);
        arguments
    }
}

/// The path by which `running` was started: a link in it may lead to another program after an upgrade. `None` where the name
/// leads elsewhere, because whoever started this process chose another name.
fn named(name: &OsStr, running: &Path, search: &OsStr) -> Option<PathBuf> {
    let running = std::fs::canonicalize(undeleted(running)).ok()?;
    let is_running = |path: &PathBuf| std::fs::canonicalize(path).is_ok_and(|path| path == running);
    let has_directory = Path::new(name).parent().is_some_and(|parent| !parent.as_os_str().is_empty());
    let found = match has_directory {
        true => Some(PathBuf::from(name)).filter(is_running),
        false => std::env::split_paths(search).map(|directory| directory.join(name)).find(is_running),
    };
    std::path::absolute(found?).ok()
}

fn undeleted(path: &Path) -> PathBuf {
    path.to_str().and_then(|path| path.strip_suffix(DELETED)).map_or_else(|| path.to_owned(), PathBuf::from)
}

/// A process that took over itself was told where from.
fn without_flag(mut said: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = Vec::new();
    while let Some(argument) = said.next() {
        if argument == FLAG {
            said.next();
        } else {
            arguments.push(argument);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_flag_of_an_earlier_upgrade_is_left_out() {
        let said = ["run", "--config", "a.toml", FLAG, "/tmp/x", "--no-handoff"].map(OsString::from);
        let program = Program { path: PathBuf::new(), arguments: without_flag(said.into_iter()) };
        let expected = ["run", "--config", "a.toml", "--no-handoff", FLAG, "/run/y"].map(OsString::from);
        assert_eq!(program.arguments(Path::new("/run/y")), expected);
    }

    #[test]
    fn a_program_is_known_by_the_name_that_led_to_it() {
        let place = Place::new().unwrap();
        let directory = std::fs::canonicalize(place.directory()).unwrap();
        let (version, current) = (directory.join("siding-1"), directory.join("siding"));
        std::fs::write(&version, "").unwrap();
        symlink(&version, &current).unwrap();
        let search = std::env::join_paths([Path::new("/missing"), &directory]).unwrap();
        let named = |name: &OsStr| super::named(name, &version, &search);
        assert_eq!(named(current.as_os_str()), Some(current.clone()), "a link stays a link");
        assert_eq!(named(OsStr::new("siding")), Some(current.clone()), "found as a shell finds it");
        assert_eq!(named(OsStr::new("sh")), None, "an invented name says nothing");
        assert_eq!(named(OsStr::new("/bin/sh")), None);
        let gone = PathBuf::from(format!("{}{DELETED}", version.display()));
        assert_eq!(super::named(current.as_os_str(), &gone, &search), Some(current));
    }
}
