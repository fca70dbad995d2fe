//! A hash of the files that define a unit.

use std::fs::File;
use std::hash::Hasher;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The kind of hash, in its upper 16 bits: see [`is_another_definition`](crate::core::units::is_another_definition). To
/// be changed whenever the hash is computed differently.
const HASH_KIND: u64 = 0xc047;
/// Maximum length that is read of a file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Computed from the paths and contents of the files, not from their times: a generator writes them again at each
/// reload. It is saved and compared by later versions, so it must not be a hash that may change with Rust.
///
/// Reads files, which may block on a file system that does not answer.
pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let mut number = Fnv::default();
    for path in files {
        number.write(path.as_os_str().as_bytes());
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut content));
        number.write_u64(match &read {
            Ok(length) => *length as u64,
            Err(error) if error.kind() == ErrorKind::NotFound => u64::MAX,
            Err(_) => u64::MAX - 1,
        });
        if read.is_ok() {
            number.write(&content);
        }
    }
    let hash = number.finish();
    // The lower bits are enough.
    HASH_KIND << 48 | (hash ^ hash >> 48) & (u64::MAX >> 16)
}

/// FNV-1a: a hash that is the same in all versions.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The same on every machine.
        self.write(&number.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::units::is_another_definition;
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn only_the_content_of_the_files_counts() {
        let directory = tempfile::tempdir().unwrap();
        let [unit, drop_in] = ["a.service", "b.conf"].map(|name| directory.path().join(name));
        let now = |files: &[&PathBuf]| of(files.iter().map(|path| path.as_path()));
        fs::write(&unit, "[Service]\nExecStart=true\n").unwrap();
        let first = now(&[&unit]);
        // Another inode, another time.
        fs::rename(&unit, &drop_in).unwrap();
        fs::write(&unit, "[Service]\nExecStart=true\n").unwrap();
        File::options().write(true).open(&unit).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(now(&[&unit]), first);

        let mut seen = vec![first];
        let mut another = |number| {
            assert!(seen.iter().all(|then| is_another_definition(*then, number)), "{seen:x?} {number:x}");
            seen.push(number);
        };
        another(now(&[&unit, &drop_in]));
        another(now(&[&drop_in]));
        fs::write(&unit, "[Service]\nExecStart=trud\n").unwrap();
        another(now(&[&unit]));
        fs::write(&unit, "").unwrap();
        another(now(&[&unit]));
        fs::remove_file(&unit).unwrap();
        another(now(&[&unit]));
        another(now(&[]));
    }

    #[test]
    fn a_file_without_end_is_read_to_an_end() {
        assert_ne!(of([Path::new("/dev/zero")]), of([Path::new("/dev/null")]));
    }
}
