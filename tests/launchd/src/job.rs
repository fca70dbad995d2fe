//! Jobs: their plists and processes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The part of launchd.plist(5) that the stand-in supports.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Spec {
    /// Its name.
    pub label: String,
    /// Its program and arguments.
    pub program_arguments: Vec<String>,
    /// Started when it is loaded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub run_at_load: bool,
    /// When it is started again after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAlive>,
    /// Its interval in seconds. (The stand-in never starts it.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u32>,
    /// The sessions that it may be loaded in; the default is graphical sessions (`Aqua`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_load_to_session_type: Option<Vec<String>>,
    /// Its working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<PathBuf>,
    /// The file for its standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_out_path: Option<PathBuf>,
    /// The file for its standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_error_path: Option<PathBuf>,
    /// Further environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment_variables: BTreeMap<String, String>,
}

/// `KeepAlive`, in both of its forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeepAlive {
    /// After every end.
    Always(bool),
    /// If any of these holds.
    If(Conditions),
}

/// The dictionary form of `KeepAlive`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Conditions {
    /// After an exit with status 0 (true), or after any other end (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successful_exit: Option<bool>,
    /// After a death by a signal (true), or after any other end (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashed: Option<bool>,
    /// While these files exist (true), or do not (false).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub path_state: BTreeMap<String, bool>,
}

impl Spec {
    /// Reads a plist; `None` if launchd would reject it.
    pub fn read(path: &Path) -> Option<Self> {
        let spec: Self = plist::from_file(path).ok()?;
        (!spec.label.is_empty() && !spec.program_arguments.is_empty()).then_some(spec)
    }

    /// Writes it as a plist.
    pub fn write(&self, path: &Path) {
        plist::to_file_xml(path, self).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Whether launchd starts it once it is loaded.
    pub(crate) fn starts_when_loaded(&self) -> bool {
        self.run_at_load
            || match &self.keep_alive {
                Some(KeepAlive::Always(keep)) => *keep,
                Some(KeepAlive::If(conditions)) => {
                    conditions.successful_exit.is_some() || conditions.crashed.is_some() || conditions.paths_hold()
                }
                None => false,
            }
    }

    /// Whether launchd starts it again after this end.
    pub(crate) fn starts_again(&self, end: End) -> bool {
        match &self.keep_alive {
            Some(KeepAlive::Always(keep)) => *keep,
            Some(KeepAlive::If(conditions)) => {
                let succeeded = end == End::Code(0);
                let crashed = matches!(end, End::Signal(_));
                conditions.successful_exit.is_some_and(|wanted| wanted == succeeded)
                    || conditions.crashed.is_some_and(|wanted| wanted == crashed)
                    || conditions.paths_hold()
            }
            None => false,
        }
    }

    /// Whether it may be loaded in a session of this type.
    pub(crate) fn may_load_in(&self, session: &str) -> bool {
        match &self.limit_load_to_session_type {
            Some(types) => types.iter().any(|name| name == session),
            None => session == "Aqua",
        }
    }

    pub(crate) fn spawn(&self, environment: &BTreeMap<String, String>) -> io::Result<Child> {
        let (program, arguments) = self.program_arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let log = |path: &Option<PathBuf>| -> io::Result<Stdio> {
            let Some(path) = path else { return Ok(Stdio::null()) };
            let file: File = OpenOptions::new().append(true).create(true).open(path)?;
            Ok(file.into())
        };
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.args(arguments).envs(environment).envs(&self.environment_variables).stdin(Stdio::null());
        command.stdout(log(&self.standard_out_path)?).stderr(log(&self.standard_error_path)?);
        if let Some(directory) = &self.working_directory {
            command.current_dir(directory);
        }
        command.process_group(0).spawn()
    }
}

impl Conditions {
    fn paths_hold(&self) -> bool {
        self.path_state.iter().any(|(path, wanted)| Path::new(path).exists() == *wanted)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Never,
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        status.code().map(Self::Code).or(status.signal().map(Self::Signal)).unwrap_or(Self::Never)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    NotRunning,
    /// It should be started, and is not, for this reason.
    Pended(&'static str),
    Running(u32),
    /// To be started at that time.
    Scheduled(Instant),
    /// Booted out, and gone once its process is, but not before that time.
    Draining(Option<u32>, Instant),
}

/// A loaded job.
#[derive(Debug)]
pub(crate) struct Job {
    pub plist: PathBuf,
    pub spec: Spec,
    pub state: State,
    pub runs: u32,
    pub end: End,
    /// It could not be spawned.
    pub spawn_failed: bool,
    /// It cannot be spawned until it is loaded again: its program was replaced, and no longer has the same signature.
    pub is_stale: bool,
    /// Different for each load of a job.
    pub coalition: u64,
}

impl Job {
    pub fn pid(&self) -> Option<u32> {
        match self.state {
            State::Running(pid) | State::Draining(Some(pid), _) => Some(pid),
            State::NotRunning | State::Pended(_) | State::Scheduled(_) | State::Draining(None, _) => None,
        }
    }
}
