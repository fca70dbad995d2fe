//! A number that changes when the files that define a unit do.

use std::hash::Hasher;
#[cfg(target_os = "linux")]
use std::path::Path;

/// Made of the paths, times and lengths of the files. It is written down and compared by later
/// versions, so it is no hash that may change with Rust.
#[cfg(target_os = "linux")]
pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    let mut number = Fnv::default();
    for path in files {
        number.write(path.as_os_str().as_bytes());
        if let Ok(data) = std::fs::metadata(path) {
            for part in [data.ino(), data.len(), data.mtime().cast_unsigned(), data.mtime_nsec().cast_unsigned()] {
                number.write_u64(part);
            }
        }
    }
    number.finish()
}

/// Made of what the files say, wherever and whenever they were written.
pub(super) fn of_contents<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut number = Fnv::default();
    for bytes in contents {
        number.write_u64(bytes.len() as u64);
        number.write(bytes);
    }
    number.finish()
}

/// FNV-1a: a hash that stays the same from one version to the next.
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

    fn finish(&self) -> u64 {
        self.0
    }
}
