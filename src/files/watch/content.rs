//! The content of a file, and reading it once.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::blocking::FILES;
use crate::core::parse_error::ParseError;
use crate::files::paths::{FileError, read_bounded};

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// There is no such file.
    Missing,
    /// The complete content.
    Present(Vec<u8>),
    /// It is there and cannot be read.
    Unreadable(FileError),
    /// Its file system does not answer: the content is unknown.
    Silent,
}

impl FileContent {
    /// Parses the content.
    ///
    /// # Errors
    ///
    /// If there is no content, or it is invalid.
    pub fn parse<T>(self, path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, ParseError>) -> Result<T, FileError> {
        match self {
            Self::Missing => Err(FileError::missing(path)),
            Self::Present(bytes) => parse(&bytes).map_err(|error| FileError::malformed(path, error)),
            Self::Unreadable(error) => Err(error),
            Self::Silent => Err(FileError::silent(path)),
        }
    }
}

/// Reads what there is in the file now.
#[must_use]
pub fn read(path: &Path) -> FileContent {
    match read_bounded(path) {
        Ok(bytes) => FileContent::Present(bytes),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            FileContent::Missing
        }
        Err(error) if is_of_the_file_system(&error) => FileContent::Silent,
        Err(error) => FileContent::Unreadable(FileError::unreadable(path, &error)),
    }
}

/// Whether the file system failed, which says nothing about the file: the server of a mount is gone (`ENOTCONN` of
/// FUSE, `ESTALE` of NFS), or a disk cannot be read.
fn is_of_the_file_system(error: &io::Error) -> bool {
    use io::ErrorKind::{NotConnected, StaleNetworkFileHandle, TimedOut};
    matches!(error.kind(), NotConnected | StaleNetworkFileHandle | TimedOut)
        || error.raw_os_error().is_some_and(|number| number == rustix::io::Errno::IO.raw_os_error())
}

/// Reads the file, if that succeeds within the time.
pub(crate) async fn read_within(time: Duration, path: &Path) -> FileContent {
    let file = path.to_owned();
    let content = FILES.within(time, move || read(&file)).await;
    content.unwrap_or(FileContent::Silent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::watch::tests::present;

    #[test]
    fn content_is_parsed_or_the_error_is_reported() {
        let parse = |content: FileContent| {
            content.parse(Path::new("/f"), |bytes| match bytes {
                b"" => Err(ParseError::whole("the file is empty", None)),
                bytes => Ok(bytes.len()),
            })
        };
        assert_eq!(parse(present("four")), Ok(4));
        assert_eq!(parse(present("")).unwrap_err().to_string(), "/f: the file is empty");
        let missing = parse(FileContent::Missing).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /f: there is no such file; "), "{missing}");
        let other = FileError::malformed(Path::new("/g"), ParseError::whole("x", None));
        assert_eq!(parse(FileContent::Unreadable(other.clone())), Err(other));
    }

    /// It does not mean that a stop marker on it was created or removed.
    #[test]
    fn the_end_of_a_mount_says_nothing_about_its_files() {
        for number in [rustix::io::Errno::NOTCONN, rustix::io::Errno::STALE, rustix::io::Errno::IO] {
            assert!(is_of_the_file_system(&io::Error::from(number)), "{number}");
        }
        for number in [rustix::io::Errno::ACCESS, rustix::io::Errno::ISDIR, rustix::io::Errno::LOOP] {
            assert!(!is_of_the_file_system(&io::Error::from(number)), "{number}");
        }
    }
}
