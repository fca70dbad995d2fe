//! The daemon's socket: created with its directory, and open only to its own user and root.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::core::text;
use crate::setup::SetupError;

/// The socket, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Socket {
    /// Creates the socket, replacing a stale one. The caller holds the lock on it.
    ///
    /// # Errors
    ///
    /// If it cannot be created; says why.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let cannot = |why: &dyn std::fmt::Display| SetupError::Socket { path: path.to_owned(), why: why.to_string() };
        prepare(path.parent().unwrap_or(Path::new("/"))).map_err(|error| cannot(&error))?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(cannot(&"something else is there; remove it")),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(cannot(&"another program answers there")),
            Ok(_) => fs::remove_file(path).map_err(|error| cannot(&error))?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| cannot(&error))?;
        // Until then nothing else can reach it: its directory is closed to other users.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| cannot(&error))?;
        let identity = identity(path).ok_or_else(|| cannot(&"it was removed at once"))?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Whether the socket still exists at its path.
    pub fn is_there(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_there() {
            // If it cannot be removed, the next daemon replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Creates the directory, closed to other users, or closes an existing one.
pub(in crate::daemon) fn prepare(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} is not a directory of this user", text::path(directory));
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if found.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether the peer is the daemon's own user or root.
pub(super) fn may_come_in(stream: &tokio::net::UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}
