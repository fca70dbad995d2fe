//! The calls of `launchctl`: each with a time limit, errors told apart by exit status.
//!
//! What it prints on errors is for people and changes from one macOS to the next; its exit statuses
//! do not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::core::event::excerpt;
use crate::manager::{ManagerError, Scope};

/// How long a call may take. `kickstart` may block for minutes, `print` when launchd is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where jobs live, in launchctl's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Of a user who is logged in at the screen.
    Gui(u32),
    /// Of a user who is not.
    User(u32),
    /// Of the system.
    System,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gui(uid) => write!(f, "gui/{uid}"),
            Self::User(uid) => write!(f, "user/{uid}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// Why a call of launchctl did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// 5: launchd is busy with the job: it drains, is loaded already, or is disabled.
    Busy,
    /// 36: what it was asked for is under way, or done already.
    Redundant,
    /// 37: the job is being taken out.
    InProgress,
    /// 3 and 113: no such job is loaded.
    NotLoaded,
    /// 119: the job is disabled.
    Disabled,
    /// 125: there is no such domain, as nobody is logged in at the screen.
    NoDomain,
    /// Any other exit status, and what it said.
    Other(i32, String),
    /// It did not end in time.
    Slow,
    /// It cannot be run; says why.
    NotRun(String),
}

impl Failure {
    fn of(status: i32, said: &str) -> Self {
        match status {
            5 => Self::Busy,
            36 => Self::Redundant,
            37 => Self::InProgress,
            3 | 113 => Self::NotLoaded,
            119 => Self::Disabled,
            125 => Self::NoDomain,
            other => Self::Other(other, excerpt(said)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("launchd is busy with it (5)"),
            Self::Redundant => f.write_str("that is under way or done already (36)"),
            Self::InProgress => f.write_str("it is still being taken out (37)"),
            Self::NotLoaded => f.write_str("it is not loaded (113)"),
            Self::Disabled => f.write_str("it is disabled (119)"),
            Self::NoDomain => f.write_str("nobody is logged in at the screen (125)"),
            Self::Other(status, said) if said.is_empty() => write!(f, "exit status {status}"),
            Self::Other(status, said) => write!(f, "{said} (exit status {status})"),
            Self::Slow => write!(f, "no answer within {} s", PATIENCE.as_secs()),
            Self::NotRun(why) => write!(f, "it cannot be run: {why}"),
        }
    }
}

/// The program, and the domain that it is asked about.
#[derive(Debug, Clone)]
pub struct Launchctl {
    program: PathBuf,
    domain: Domain,
}

impl Launchctl {
    /// Finds out in which domain the jobs of the scope are. `probe` is the label that is asked for to
    /// find out; it need not exist.
    ///
    /// # Errors
    ///
    /// If launchctl cannot be run, or does not answer.
    pub async fn connect(program: &Path, scope: Scope, probe: &str) -> Result<Self, ManagerError> {
        let uid = rustix::process::getuid().as_raw();
        let mut domains = match scope {
            Scope::System => vec![Domain::System],
            Scope::User => vec![Domain::Gui(uid), Domain::User(uid)],
        }
        .into_iter();
        loop {
            let Some(domain) = domains.next() else {
                return Err(ManagerError::Unreachable(format!("launchd has no domain for user {uid}")));
            };
            let launchctl = Self { program: program.to_owned(), domain };
            match launchctl.print(probe).await {
                Ok(_) | Err(Failure::NotLoaded) => return Ok(launchctl),
                Err(Failure::NoDomain) => {}
                Err(failure) => {
                    return Err(ManagerError::Unreachable(format!("{} print: {failure}", program.display())));
                }
            }
        }
    }

    fn target(&self, label: &str) -> String {
        format!("{}/{label}", self.domain)
    }

    /// All loaded jobs, one a line.
    pub(super) async fn list(&self) -> Result<String, Failure> {
        self.run(&["list"]).await
    }

    /// One job in detail.
    pub(super) async fn print(&self, label: &str) -> Result<String, Failure> {
        self.run(&["print", &self.target(label)]).await
    }

    /// Which jobs somebody has disabled or enabled.
    pub(super) async fn print_disabled(&self) -> Result<String, Failure> {
        self.run(&["print-disabled", &self.domain.to_string()]).await
    }

    /// Takes a job out. It returns before that has happened.
    pub(super) async fn bootout(&self, label: &str) -> Result<(), Failure> {
        self.run(&["bootout", &self.target(label)]).await.map(drop)
    }

    /// Lets a job be loaded again.
    pub(super) async fn enable(&self, label: &str) -> Result<(), Failure> {
        self.run(&["enable", &self.target(label)]).await.map(drop)
    }

    /// Loads the job that a plist describes.
    pub(super) async fn bootstrap(&self, plist: &Path) -> Result<(), Failure> {
        let plist = plist.to_str().ok_or_else(|| Failure::NotRun("the plist's path is no text".to_owned()))?;
        self.run(&["bootstrap", &self.domain.to_string(), plist]).await.map(drop)
    }

    /// Starts a job that is loaded and does not start by itself.
    pub(super) async fn kickstart(&self, label: &str) -> Result<(), Failure> {
        self.run(&["kickstart", &self.target(label)]).await.map(drop)
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = match timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(Failure::NotRun(error.to_string())),
            Err(_) => return Err(Failure::Slow),
        };
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|_| Failure::Other(0, "its answer is no text".to_owned()));
        }
        Err(Failure::of(output.status.code().unwrap_or(-1), &String::from_utf8_lossy(&output.stderr)))
    }
}

impl From<(&'static str, Failure)> for ManagerError {
    fn from((what, failure): (&'static str, Failure)) -> Self {
        match failure {
            Failure::Slow | Failure::NotRun(_) | Failure::NoDomain => {
                Self::Unreachable(format!("launchctl {what}: {failure}"))
            }
            _ => Self::Refused { what, why: failure.to_string() },
        }
    }
}
