//! Runs `launchctl`, with a time limit, and tells errors apart by exit status.
//!
//! Its error messages differ between versions of macOS; its exit statuses do not.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::core::text::excerpt;
use crate::manager::{ManagerError, Scope};

/// Maximum time of a call. `kickstart` may block for minutes, `print` when launchd is busy.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The domains of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A user's graphical session (`Aqua`).
    Gui(u32),
    /// A user, even without a graphical session (`Background`).
    User(u32),
    /// The system.
    System,
}

impl Domain {
    /// The type of its sessions, as in `LimitLoadToSessionType`; the system has none.
    pub(super) fn session(self) -> Option<&'static str> {
        match self {
            Self::Gui(_) => Some("Aqua"),
            Self::User(_) => Some("Background"),
            Self::System => None,
        }
    }
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

/// Why a call of launchctl failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// 5: launchd does not say why. It also stands for some of the others here.
    Busy,
    /// 36: the operation is under way, or done already.
    Redundant,
    /// 37: the job is being booted out.
    InProgress,
    /// 3 and 113: no such job is loaded.
    NotLoaded,
    /// 119: the job is disabled.
    Disabled,
    /// 112, 124 and 125: there is no such domain, as its user is not logged in there.
    NoDomain(i32),
    /// 134: the job's plist is for sessions of another type.
    WrongSession,
    /// 122: the plist can be written by others, or has another owner.
    BadOwner,
    /// Any other exit status, with its message.
    Other(i32, String),
    /// It did not end in time.
    Slow,
    /// It cannot be run; says why.
    NotRun(String),
}

impl Failure {
    pub(super) fn of(status: i32, said: &str) -> Self {
        match status {
            5 => Self::Busy,
            36 => Self::Redundant,
            37 => Self::InProgress,
            3 | 113 => Self::NotLoaded,
            119 => Self::Disabled,
            112 | 124 | 125 => Self::NoDomain(status),
            122 => Self::BadOwner,
            134 => Self::WrongSession,
            other => Self::Other(other, excerpt(said)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str(
                "launchd does not say why (5): the job may be loaded, disabled or still ending, \
                 or its plist may be for another session or writable by others",
            ),
            Self::Redundant => f.write_str("that is under way or done already (36)"),
            Self::InProgress => f.write_str("it is still being taken out (37)"),
            Self::NotLoaded => f.write_str("it is not loaded (113)"),
            Self::Disabled => f.write_str("it is disabled (119)"),
            Self::NoDomain(status) => write!(f, "its user is not logged in there ({status})"),
            Self::WrongSession => f.write_str("its plist is for sessions of another type (134)"),
            Self::BadOwner => f.write_str("its plist may be changed by others, or is not its user's (122)"),
            Self::Other(1, _) => f.write_str("not permitted (1)"),
            Self::Other(139, _) => f.write_str("its program cannot be run now (139)"),
            Self::Other(146, _) => f.write_str("launchd only starts what is demanded just now (146)"),
            Self::Other(155, _) => f.write_str("macOS keeps its program in quarantine (155)"),
            Self::Other(status, said) if said.is_empty() => write!(f, "exit status {status}"),
            Self::Other(status, said) => write!(f, "{said} (exit status {status})"),
            Self::Slow => write!(f, "no answer within {} s", CALL_TIMEOUT.as_secs()),
            Self::NotRun(why) => write!(f, "it cannot be run: {why}"),
        }
    }
}

/// The program, and the domains.
#[derive(Debug, Clone)]
pub struct Launchctl {
    program: PathBuf,
    /// The preferred domain.
    domains: Arc<[Domain]>,
}

impl Launchctl {
    /// For the jobs of the scope. `probe` is a label to check if launchd answers; such a job need not exist.
    ///
    /// # Errors
    ///
    /// If launchctl cannot be run, or knows none of the scope's domains.
    pub async fn connect(program: &Path, scope: Scope, probe: &str) -> Result<Self, ManagerError> {
        let uid = rustix::process::getuid().as_raw();
        let domains = match scope {
            Scope::System => vec![Domain::System],
            Scope::User => vec![Domain::Gui(uid), Domain::User(uid)],
        };
        let launchctl = Self { program: program.to_owned(), domains: domains.into() };
        let mut failure = Failure::NoDomain(112);
        for domain in launchctl.domains() {
            match launchctl.print(*domain, probe).await {
                Ok(_) | Err(Failure::NotLoaded) => return Ok(launchctl),
                Err(Failure::NoDomain(_)) => {}
                Err(other) => failure = other,
            }
        }
        Err(ManagerError::Unreachable(match failure {
            Failure::NoDomain(_) => format!("launchd has no domain for user {uid}"),
            failure => format!("{} print: {failure}", program.display()),
        }))
    }

    /// All domains, the preferred one first.
    pub(super) fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// All jobs of a domain, from any session. (`list` shows only those of the calling session.)
    pub(super) async fn table(&self, domain: Domain) -> Result<String, Failure> {
        self.run(&["print", &domain.to_string()]).await
    }

    /// One job in detail.
    pub(super) async fn print(&self, domain: Domain, label: &str) -> Result<String, Failure> {
        self.run(&["print", &target(domain, label)]).await
    }

    /// Which jobs were disabled or enabled on purpose. All domains of a user share this.
    pub(super) async fn print_disabled(&self) -> Result<String, Failure> {
        let domain = self.domains.last().copied().unwrap_or(Domain::System);
        self.run(&["print-disabled", &domain.to_string()]).await
    }

    /// Boots a job out. It returns before that has happened.
    pub(super) async fn bootout(&self, domain: Domain, label: &str) -> Result<(), Failure> {
        self.run(&["bootout", &target(domain, label)]).await.map(drop)
    }

    /// Enables a job.
    pub(super) async fn enable(&self, domain: Domain, label: &str) -> Result<(), Failure> {
        self.run(&["enable", &target(domain, label)]).await.map(drop)
    }

    /// Loads the job of a plist.
    pub(super) async fn bootstrap(&self, domain: Domain, plist: &Path) -> Result<(), Failure> {
        let plist = plist.to_str().ok_or_else(|| Failure::NotRun("the plist's path is no text".to_owned()))?;
        self.run(&["bootstrap", &domain.to_string(), plist]).await.map(drop)
    }

    /// Demands that a loaded job run. Has no effect on a running job; never used with `-k`, which would end it.
    pub(super) async fn kickstart(&self, domain: Domain, label: &str) -> Result<(), Failure> {
        self.run(&["kickstart", &target(domain, label)]).await.map(drop)
    }

    /// Arguments and environments are printed as they are, so invalid UTF-8 is replaced.
    async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = match timeout(CALL_TIMEOUT, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(Failure::NotRun(error.to_string())),
            Err(_) => return Err(Failure::Slow),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::of(output.status.code().unwrap_or(-1), &String::from_utf8_lossy(&output.stderr)))
    }
}

/// A job in a domain, as launchctl names it.
pub(super) fn target(domain: Domain, label: &str) -> String {
    format!("{domain}/{label}")
}

impl From<(&'static str, Failure)> for ManagerError {
    fn from((what, failure): (&'static str, Failure)) -> Self {
        match failure {
            Failure::Slow | Failure::NotRun(_) | Failure::NoDomain(_) => {
                Self::Unreachable(format!("launchctl {what}: {failure}"))
            }
            _ => Self::Refused { what, why: failure.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_status_is_interpreted() {
        for (status, says) in [
            (1, "not permitted"),
            (3, "not loaded"),
            (5, "may be loaded, disabled or still ending"),
            (36, "done already"),
            (37, "still being taken out"),
            (112, "not logged in"),
            (113, "not loaded"),
            (119, "disabled"),
            (122, "changed by others"),
            (124, "not logged in"),
            (125, "not logged in"),
            (134, "another type"),
            (139, "cannot be run"),
            (146, "demanded"),
            (155, "quarantine"),
            (64, "what it said (exit status 64)"),
        ] {
            let text = Failure::of(status, "what it said").to_string();
            assert!(text.contains(says), "{status}: {text}");
        }
    }
}
