//! The log file that standard error goes to, if any: launchd opens it only once, and newsyslog moves it aside when it
//! has grown. After that, the log continues in a new file with the old name.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// A log file, by its path.
#[derive(Debug)]
pub(crate) struct LogFile(PathBuf);

impl LogFile {
    /// The file that standard error goes to; `None` if it is something else.
    pub fn of_stderr() -> Option<Self> {
        let path = path_of_stderr()?;
        (path.is_absolute() && identity_of_stderr()? == identity(&path)?).then_some(Self(path))
    }

    /// Redirects standard error to the file with this name, if that has changed. On failure, this is tried again with
    /// the next line.
    pub fn follow(&self) {
        if identity(&self.0).is_some_and(|there| Some(there) == identity_of_stderr()) {
            return;
        }
        if let Ok(file) = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0) {
            let _ = rustix::stdio::dup2_stderr(&file);
        }
    }
}

/// Device and inode of a regular file.
fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((data.dev(), data.ino()))
}

fn identity_of_stderr() -> Option<(u64, u64)> {
    use std::os::fd::AsFd;
    let copy = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let data = std::fs::File::from(copy).metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((data.dev(), data.ino()))
}

#[cfg(target_os = "linux")]
fn path_of_stderr() -> Option<PathBuf> {
    std::fs::read_link("/proc/self/fd/2").ok()
}

#[cfg(target_vendor = "apple")]
fn path_of_stderr() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(std::io::stderr()).ok()?;
    Some(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn path_of_stderr() -> Option<PathBuf> {
    None
}
