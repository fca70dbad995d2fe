//! What a job's plist says, launchd.plist(5), as far as healing has to know.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::label::{label_of, unit_of};
use crate::core::units::UnitName;
use crate::manager::fingerprint;
use crate::paths::read_bounded;

/// The file that describes a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum File {
    /// Read, and of this job.
    Agent(Agent),
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// It is not a plist, or one of another job.
    Wrong,
    /// The job was made by a program, not from a file.
    None,
}

/// What a plist says of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agent {
    pub path: PathBuf,
    /// It starts when it is loaded.
    pub starts_by_itself: bool,
    /// Something else decides when it runs: the time, or a change of files.
    pub on_demand: bool,
    /// Unless somebody has enabled it.
    pub disabled: bool,
    pub working_directory: Option<PathBuf>,
    /// Where its last words may be, best first.
    pub logs: Vec<PathBuf>,
    /// Changes when the file does.
    pub definition: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    label: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    run_at_load: bool,
    keep_alive: Option<plist::Value>,
    start_interval: Option<plist::Value>,
    start_calendar_interval: Option<plist::Value>,
    watch_paths: Option<plist::Value>,
    queue_directories: Option<plist::Value>,
    working_directory: Option<PathBuf>,
    standard_error_path: Option<PathBuf>,
    standard_out_path: Option<PathBuf>,
}

impl File {
    /// Looks for the plist of a unit that is not loaded, in these directories.
    pub fn find(unit: &UnitName, directories: &[PathBuf]) -> Self {
        let names = [unit.short().to_owned(), label_of(unit)];
        let paths = directories.iter().flat_map(|directory| names.iter().map(|name| path_in(directory, name)));
        for path in paths {
            match Self::read(unit, &path) {
                Self::Missing => {}
                found => return found,
            }
        }
        Self::Missing
    }

    /// Reads the plist of a unit.
    pub fn read(unit: &UnitName, path: &Path) -> Self {
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Self::Missing;
            }
            Err(_) => return Self::Unreadable,
        };
        let Ok(document) = plist::from_bytes::<Document>(&bytes) else { return Self::Wrong };
        if unit_of(&document.label).as_ref() != Some(unit) {
            return Self::Wrong;
        }
        let keep_alive = match &document.keep_alive {
            Some(plist::Value::Boolean(keep)) => *keep,
            Some(_) => true,
            None => false,
        };
        let triggers = [
            document.start_interval,
            document.start_calendar_interval,
            document.watch_paths,
            document.queue_directories,
        ];
        Self::Agent(Agent {
            path: path.to_owned(),
            starts_by_itself: document.run_at_load || keep_alive,
            on_demand: !keep_alive && triggers.iter().any(Option::is_some),
            disabled: document.disabled,
            working_directory: document.working_directory,
            logs: [document.standard_error_path, document.standard_out_path].into_iter().flatten().collect(),
            definition: fingerprint::of([path]),
        })
    }

    /// What it says, if it says anything.
    pub fn agent(&self) -> Option<&Agent> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Missing | Self::Unreadable | Self::Wrong | Self::None => None,
        }
    }
}

/// The unit that a file of this name describes: it is called as the unit, or as its label.
pub(super) fn unit_described_by(path: &Path) -> Option<UnitName> {
    let name = path.file_name()?.to_str()?.strip_suffix(".plist")?;
    unit_of(name).or_else(|| UnitName::parse(name).ok())
}

fn path_in(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.plist"))
}
