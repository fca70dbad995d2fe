//! Whose socket it is: at most one daemon's, and only its own user and root are let in.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::setup::Error;

/// A daemon that was killed while it started a program leaves its lock to that until it runs: so long a lock may have
/// no owner that lives.
const LOCK_OUTLIVES_ITS_OWNER: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);

/// The socket, and the lock that says whose it is. Dropped, both are gone.
#[derive(Debug)]
pub(crate) struct Claim {
    pub listener: UnixListener,
    path: PathBuf,
    /// Held for as long as the process lives, whatever becomes of the socket.
    _lock: File,
}

impl Claim {
    /// Takes the socket, also over from a daemon that died; not from one that lives.
    ///
    /// # Errors
    ///
    /// If another daemon has it, or it cannot be made; says why.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let cannot = |why: &dyn std::fmt::Display| Error::Socket { path: path.to_owned(), why: why.to_string() };
        let directory = path.parent().unwrap_or(Path::new("/"));
        prepare(directory).map_err(|error| cannot(&error))?;
        let lock = lock_of(path).map_err(|error| cannot(&error))?;
        let begin = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_OUTLIVES_ITS_OWNER => sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(Error::AnotherDaemon(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(cannot(&error)),
            }
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(cannot(&"something else is there; remove it")),
            // The lock is ours, but who answers there lives.
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(Error::AnotherDaemon(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(|error| cannot(&error))?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| cannot(&error))?;
        // Nobody else can reach it before that: its directory is closed to them.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| cannot(&error))?;
        listener.set_nonblocking(true).map_err(|error| cannot(&error))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }
}

/// Whether a daemon has the socket that lives.
pub(crate) fn is_taken(path: &Path) -> bool {
    lock_of(path).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn lock_of(path: &Path) -> io::Result<File> {
    let lock = path.with_extension("lock");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)
}

impl Drop for Claim {
    fn drop(&mut self) {
        // If it cannot be removed, the next daemon takes it over.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the directory, closed to others, or closes one that there is.
fn prepare(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} is not a directory of this user", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if found.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether who connected may come in: the daemon's own user, and root.
pub(super) fn may_come_in(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_outlives_its_owner_for_a_moment_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/api.sock");
        let held = Claim::take(&path).unwrap();
        assert!(is_taken(&path));
        assert!(matches!(Claim::take(&path), Err(Error::AnotherDaemon(_))), "it lives");
        let owner = std::thread::spawn(move || {
            sleep(LOCK_OUTLIVES_ITS_OWNER / 5);
            drop(held);
        });
        assert!(Claim::take(&path).is_ok());
        owner.join().unwrap();
        assert!(!is_taken(&path));
    }
}
