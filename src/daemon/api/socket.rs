//! A socket of the daemon: created with its directory, and open to its own user and root, or to a group as well.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::groups;
use crate::core::text;
use crate::files::paths::{Paths, SYSTEM_RUNTIME};
use crate::manager::Scope;
use crate::setup::SetupError;

/// Who may connect, besides the daemon's own user and root. The kernel checks it, by the permissions of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// No other user.
    Own,
    /// Members of the group with this number.
    Group(u32),
}

/// A socket to serve.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    pub path: PathBuf,
    pub door: Door,
    /// Whether it serves only calls that change nothing.
    pub reads_only: bool,
}

impl Entrance {
    /// The sockets to serve. For units of the system, one group may act and another may read, each by a socket of its
    /// own; if the system has no such groups, only root may do either.
    pub fn all(paths: &Paths, scope: Scope) -> (Self, Option<Self>) {
        let group = |name| if scope == Scope::System { groups::number(name) } else { None };
        let acting = group(groups::OPERATORS).map_or(Door::Own, Door::Group);
        let reading = group(groups::READERS).map(|group| Self {
            path: paths.reading_socket(),
            door: Door::Group(group),
            reads_only: true,
        });
        (Self { path: paths.socket.clone(), door: acting, reads_only: false }, reading)
    }
}

/// The socket, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    pub listener: UnixListener,
    path: PathBuf,
    door: Door,
    /// Device and inode.
    identity: (u64, u64),
}

impl Socket {
    /// Creates the socket, replacing a stale one. The caller holds the lock on it.
    ///
    /// # Errors
    ///
    /// If it cannot be created; says why.
    pub fn open(Entrance { path, door, .. }: &Entrance) -> Result<Self, SetupError> {
        let cannot = |why: &dyn std::fmt::Display| SetupError::Socket { path: path.clone(), why: why.to_string() };
        prepare(path.parent().unwrap_or(Path::new("/"))).map_err(|error| cannot(&error))?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(cannot(&"something else is there; remove it")),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(cannot(&"another program answers there")),
            Ok(_) => fs::remove_file(path).map_err(|error| cannot(&error))?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| cannot(&error))?;
        // Until then nothing else can reach it: its directory is closed to other users, or new files are, by the umask
        // of the unit.
        let mode = match door {
            Door::Own => 0o600,
            Door::Group(group) => match chown(path, None, Some(*group)) {
                Ok(()) => 0o660,
                Err(error) => {
                    let shown = text::path(path);
                    tracing::warn!("{shown} stays closed to its group: {error}; the daemon has to be a member of it");
                    0o600
                }
            },
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| cannot(&error))?;
        let identity = identity(path).ok_or_else(|| cannot(&"it was removed at once"))?;
        Ok(Self { listener, path: path.clone(), door: *door, identity })
    }

    /// Whether the peer may use the socket. The permissions of a group's socket have decided that already.
    pub fn may_come_in(&self, stream: &tokio::net::UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        matches!(self.door, Door::Group(_)) || stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
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

/// Creates the directory, closed to other users, or closes an existing one. That of the system is open: its sockets are
/// for groups.
pub(in crate::daemon) fn prepare(directory: &Path) -> io::Result<()> {
    let mode = if directory == Path::new(SYSTEM_RUNTIME) { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("{} is not a directory of this user", text::path(directory));
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if found.permissions().mode() & 0o777 != mode {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_open_to_its_group_and_to_no_other_user() {
        let directory = tempfile::tempdir().unwrap();
        let own = rustix::process::getegid().as_raw();
        for (door, mode) in [(Door::Own, 0o600), (Door::Group(own), 0o660)] {
            let path = directory.path().join("workerheal/api.sock");
            let socket = Socket::open(&Entrance { path: path.clone(), door, reads_only: false }).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!((found.permissions().mode() & 0o777, found.gid()), (mode, own), "{door:?}");
            assert!(socket.is_there());
            drop(socket);
            assert!(!path.exists());
        }
        let held = fs::symlink_metadata(directory.path().join("workerheal")).unwrap();
        assert_eq!(held.permissions().mode() & 0o777, 0o700, "only that of the system is open");
    }
}
