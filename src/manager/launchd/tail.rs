//! The last line of a log file, without reading the whole of it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::core::event::excerpt;

/// So much of the end of a file is looked at, in bytes.
const END: u64 = 16 * 1024;

/// The last line with anything on it, fit to show; `None` if there is none, or it is no file.
pub(super) fn last_line(path: &Path) -> Option<String> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    // Should it have become a pipe meanwhile, nobody waits for its other end.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() {
        return None;
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(END))).ok()?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes).ok()?;
    Some(excerpt(&String::from_utf8_lossy(&bytes))).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_end_of_a_file_is_found_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert_eq!(last_line(&path), None);
        for (content, line) in [
            ("", None),
            ("\n \n", None),
            ("one\ntwo", Some("two")),
            ("one\ntwo\n\n", Some("two")),
            ("\u{1b}[31mred\u{1b}[0m\r\n", Some("red")),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(last_line(&path).as_deref(), line, "{content:?}");
        }
        // A terabyte with holes, whose end is what counts.
        let long = fs::File::create(&path).unwrap();
        long.set_len(1 << 40).unwrap();
        let mut long = OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut long, b"\nlast words\n").unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("last words"));
        assert_eq!(last_line(directory.path()), None);
        assert_eq!(last_line(Path::new("/dev/zero")), None);
    }
}
