//! Parses a job's plist, launchd.plist(5), as far as it matters for healing.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::guard::Guard;
use super::label::{label_of, unit_of};
use super::starts::Starts;
use crate::core::units::UnitName;
use crate::files::paths::read_bounded;
use crate::manager::fingerprint;

/// The default session type of agents: the graphical session.
const AT_THE_SCREEN: &str = "Aqua";
/// Mode bits: writable by the group or by others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The file that describes a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum File {
    /// Parsed, and of this job.
    Agent(Agent),
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable,
    /// It is not a plist, or one of another job.
    Wrong,
    /// The job was created by a program, not from a file.
    #[default]
    None,
}

/// What a plist says about its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agent {
    pub path: PathBuf,
    pub starts: Starts,
    /// Whether the plist disables it: `launchctl enable` overrides that.
    pub disabled: bool,
    /// The types of sessions that it may be loaded in.
    pub sessions: Vec<String>,
    /// Whether others can write the file, so that launchd refuses it.
    pub is_open_to_others: bool,
    /// Whether Podman runs it, even if launchd says otherwise.
    pub by_podman: bool,
    pub working_directory: Option<PathBuf>,
    /// Files with its last log lines, the best first.
    pub logs: Vec<PathBuf>,
    /// A hash of the file's content, and of the script that it runs. (Lerd writes both again for each start.)
    pub definition: u64,
    /// When the newer of the two was written.
    pub written: Option<SystemTime>,
}

#[cfg(test)]
impl Agent {
    /// An agent with nothing but these starts.
    pub fn that_starts(starts: Starts) -> Self {
        Self {
            path: "/x.plist".into(),
            starts,
            disabled: false,
            sessions: vec!["Aqua".into()],
            is_open_to_others: false,
            by_podman: false,
            working_directory: None,
            logs: Vec::new(),
            definition: 1,
            written: None,
        }
    }
}

impl Agent {
    /// Whether it may be loaded in sessions of this type.
    pub fn may_load_in(&self, session: &str) -> bool {
        self.sessions.iter().any(|name| name == session)
    }
}

impl File {
    /// Searches these directories for the plist of a unit that is not loaded.
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
        let Ok(plist) = plist::from_bytes::<plist::Dictionary>(&bytes) else { return Self::Wrong };
        let text = |key: &str| plist.get(key).and_then(plist::Value::as_string);
        if text("Label").and_then(unit_of).as_ref() != Some(unit) {
            return Self::Wrong;
        }
        let guard = Guard::of(&texts(plist.get("ProgramArguments")));
        let script = guard.script.as_ref();
        let written = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
        let mode = std::fs::metadata(path).map_or(0, |data| data.mode());
        let mut sessions: Vec<String> =
            texts(plist.get("LimitLoadToSessionType")).into_iter().map(str::to_owned).collect();
        if sessions.is_empty() {
            sessions.push(AT_THE_SCREEN.to_owned());
        }
        let logs = ["StandardErrorPath", "StandardOutPath"].into_iter().filter_map(text);
        Self::Agent(Agent {
            path: path.to_owned(),
            starts: Starts::of(&plist),
            disabled: plist.get("Disabled").and_then(plist::Value::as_boolean).unwrap_or(false),
            sessions,
            is_open_to_others: mode & WRITABLE_BY_OTHERS != 0,
            by_podman: guard.by_podman,
            working_directory: text("WorkingDirectory").map(PathBuf::from).or(guard.directory),
            // Output to /dev/null cannot be read.
            logs: logs.filter(|path| *path != "/dev/null").map(PathBuf::from).collect(),
            definition: fingerprint::of(std::iter::once(path).chain(script.map(|(path, _)| path.as_path()))),
            written: script.and_then(|(path, _)| written(path)).max(written(path)),
        })
    }

    /// The text, unless it is empty.
    pub fn agent(&self) -> Option<&Agent> {
        match self {
            Self::Agent(agent) => Some(agent),
            Self::Missing | Self::Unreadable | Self::Wrong | Self::None => None,
        }
    }
}

/// The unit of a file with this name, which is the unit's name or its label.
pub(super) fn unit_described_by(path: &Path) -> Option<UnitName> {
    let name = path.file_name()?.to_str()?.strip_suffix(".plist")?;
    unit_of(name).or_else(|| UnitName::parse(name).ok())
}

fn path_in(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.plist"))
}

/// One text, or several.
fn texts(value: Option<&plist::Value>) -> Vec<&str> {
    match value {
        Some(plist::Value::String(text)) => vec![text],
        Some(plist::Value::Array(values)) => values.iter().filter_map(plist::Value::as_string).collect(),
        _ => Vec::new(),
    }
}
