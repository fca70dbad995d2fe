//! Records each job that we are about to boot out, until it is loaded again: if this process is killed in between, the
//! next one loads the job instead of taking it for stopped.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::units::UnitName;

/// Maximum age of a record: after that, the user may have noticed that the worker is down.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// A directory of empty files, each named after a unit.
#[derive(Debug, Clone)]
pub(super) struct Records(pub PathBuf);

impl Records {
    /// The units that were booted out recently, and not loaded again.
    pub fn read(&self) -> Vec<UnitName> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let fresh = entries.flatten().filter(|entry| {
            let age = entry.metadata().ok().and_then(|data| data.modified().ok()?.elapsed().ok());
            age.is_some_and(|age| age < MAX_AGE)
        });
        fresh.filter_map(|entry| UnitName::parse(entry.file_name().to_str()?).ok()).collect()
    }

    /// Records that the unit is about to be booted out.
    pub fn add(&self, unit: &UnitName) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        fs::write(self.0.join(unit.short()), "")
    }

    /// Removes the record: the unit is loaded, or was stopped on purpose.
    pub fn remove(&self, unit: &UnitName) {
        // Usually there is none.
        let _ = fs::remove_file(self.0.join(unit.short()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_lasts_until_it_is_removed_or_old() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records(directory.path().join("out"));
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        assert!(records.read().is_empty());
        records.add(&unit).unwrap();
        assert_eq!(records.read(), std::slice::from_ref(&unit));
        let file = fs::File::options().write(true).open(records.0.join("lerd-queue-myapp")).unwrap();
        file.set_modified(std::time::SystemTime::now() - MAX_AGE).unwrap();
        assert!(records.read().is_empty());
        records.remove(&unit);
        assert!(!records.0.join("lerd-queue-myapp").exists());
    }
}
