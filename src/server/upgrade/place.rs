//! Where one process passes its sockets to the next: a directory that nobody else can enter, made anew each time and removed
//! by the process that made it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A new directory's name may be taken, in one that all can write to.
const TRIES: usize = 8;
/// Where systemd gives a service a directory of its own.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// The directory. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Below the service's own directory for such things, if it has one.
    pub(super) fn new() -> io::Result<Self> {
        let own = std::env::var_os(RUNTIME_DIRECTORY);
        let own = own.as_deref().and_then(|several| std::env::split_paths(several).next());
        Self::below(&own.unwrap_or_else(std::env::temp_dir))
    }

    fn below(parent: &Path) -> io::Result<Self> {
        let make = || {
            let directory = parent.join(format!("siding-{:016x}", fastrand::u64(..)));
            // Not one that is there already: it would be somebody else's.
            std::fs::DirBuilder::new().mode(0o700).create(&directory).map(|()| Self(directory))
        };
        (1..TRIES).find_map(|_| make().ok()).map_or_else(make, Ok)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// Where the other process waits for sockets.
    pub(super) fn sockets(&self) -> PathBuf {
        sockets(&self.0)
    }

    /// Where it says that it serves.
    pub(super) fn serving(&self) -> PathBuf {
        serving(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "a directory is left behind");
        }
    }
}

/// Where sockets are waited for in another process's directory.
pub(in super::super) fn sockets(directory: &Path) -> PathBuf {
    directory.join("sockets")
}

/// Where a process that serves says so.
pub(in super::super) fn serving(directory: &Path) -> PathBuf {
    directory.join("serving")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_place_is_private_new_and_leaves_nothing_behind() {
        let parent = std::env::temp_dir();
        let (one, other) = (Place::below(&parent).unwrap(), Place::below(&parent).unwrap());
        assert_ne!(one.directory(), other.directory());
        let mode = std::fs::metadata(one.directory()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(one.sockets(), "").unwrap();
        let directory = one.directory().to_owned();
        drop(one);
        assert!(!directory.exists());
        assert!(Place::below(&parent.join("missing-directory")).is_err());
    }
}
