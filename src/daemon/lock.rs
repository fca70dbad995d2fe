//! Ensures that only one daemon heals. It holds two locks, one on the directory of the state, and one on a file beside
//! the socket. Either one keeps a second daemon from healing, and a lock that was lost is taken again.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::api::prepare;
use crate::blocking;
use crate::checks::Check;
use crate::core::text;
use crate::files::paths::Paths;
use crate::setup::SetupError;

/// Maximum time to take the locks.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes both locks, or the available one. They are held as long as the returned check exists: it takes a lock again
/// whose file was removed, and notifies `lost` if another daemon has taken one since.
///
/// # Errors
///
/// If another daemon holds one of them, or neither can be taken.
pub(super) fn take(paths: &Paths, lost: mpsc::Sender<SetupError>) -> Result<Check, SetupError> {
    let mut locks = Locks {
        state: paths.state.parent().unwrap_or(Path::new("/")).to_owned(),
        socket: paths.socket.clone(),
        held: [None, None],
    };
    let silent = || SetupError::Lock("a file system does not answer".to_owned());
    let taken = blocking::within(LOCK_TIMEOUT, move || locks.take().map(|()| locks));
    let mut locks = taken.map_err(|_| silent())??;
    if let [Some(_), Some(_)] = locks.held {
    } else {
        tracing::warn!("one of two locks could not be taken; the other one keeps a second daemon from healing");
    }
    Ok(Box::new(move || {
        if let Err(error @ SetupError::AnotherDaemon(_)) = locks.take() {
            // One report is enough.
            let _ = lost.try_send(error);
        }
    }))
}

/// Whether a running daemon holds the lock beside this socket.
pub(super) fn is_taken(socket: &Path) -> bool {
    let lock = open_file(socket, &socket.with_extension("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

struct Locks {
    state: PathBuf,
    socket: PathBuf,
    held: [Option<File>; 2],
}

impl Locks {
    /// Takes locks that are not held, or whose file was replaced.
    fn take(&mut self) -> Result<(), SetupError> {
        let Self { state, socket, held: [state_lock, socket_lock] } = self;
        let socket_lock_path = socket.with_extension("lock");
        let results = [
            hold(state_lock, state, || open_directory(state)),
            hold(socket_lock, &socket_lock_path, || open_file(socket, &socket_lock_path)),
        ];
        let mut problems = Vec::new();
        for result in results {
            match result {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(SetupError::AnotherDaemon(socket.clone())),
                Err(TryLockError::Error(error)) => problems.push(text::plain(&error.to_string())),
            }
        }
        match self.held {
            [None, None] => Err(SetupError::Lock(problems.join("; "))),
            _ => Ok(()),
        }
    }
}

/// Locks the file at the path, unless it is locked already.
fn hold(held: &mut Option<File>, path: &Path, open: impl FnOnce() -> io::Result<File>) -> Result<(), TryLockError> {
    let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
    let there = std::fs::metadata(path).map(identity).ok();
    let ours = held.as_ref().and_then(|file| file.metadata().map(identity).ok());
    if there.is_some() && there == ours {
        return Ok(());
    }
    let file = open().map_err(TryLockError::Error)?;
    file.try_lock()?;
    // The earlier lock is released only now.
    *held = Some(file);
    Ok(())
}

/// The directory itself is locked, which needs no free space.
fn open_directory(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    File::open(path)
}

fn open_file(socket: &Path, path: &Path) -> io::Result<File> {
    prepare(socket.parent().unwrap_or(Path::new("/")))?;
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
