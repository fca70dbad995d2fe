//! launchd, of the user or of the system, through `launchctl`.
//!
//! It runs a program and reads files, so it compiles and is tested on every platform; it is used on macOS.
//!
//! - [`launchctl`]: the calls and their exit statuses. [`answers`] parses the output about a job, [`tables`] the output
//!   about all jobs.
//! - [`label`]: names of units. [`plist`]: the files of jobs, [`starts`] what starts a job, [`guard`] what Lerd's
//!   scripts add. [`tail`]: the end of log files.
//! - [`inspect`]: inspects jobs, [`seen`] is the result. [`job`]: maps it to a unit; [`said`]: describes it in
//!   launchd's words.
//! - [`start`]: heals a job, [`stop`] stops one for you. [`records`]: jobs that are booted out meanwhile.
//! - [`self_job`]: workerheal's own job.
//! - [`session`]: the task that everything passes through, and [`watched`], its memory.

mod answers;
mod guard;
mod inspect;
mod job;
mod label;
pub(crate) mod launchctl;
mod plist;
#[cfg(test)]
mod recorded;
mod records;
mod said;
mod seen;
pub(crate) mod self_job;
mod session;
mod start;
mod starts;
mod stop;
mod tables;
mod tail;
mod watched;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::log::{Log, WantedLines};
use super::{Changes, ManagerError, Scope, ServiceManager};
use crate::core::explain;
use crate::core::rules::Start;
use crate::core::units::{Detail, Inspection, Location, UnitName, UnitStatus};
use crate::files::paths::{Overrides, Paths};
use inspect::Inspector;
use launchctl::Launchctl;
use plist::File;
use records::Records;
use session::{Request, Session};

/// The path of launchctl.
pub(crate) const LAUNCHCTL: &str = "/bin/launchctl";
/// The label of workerheal's own agent.
pub const LABEL: &str = "dev.workerheal";
/// Maximum time to read the end of a log.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle on launchd.
#[derive(Debug, Clone)]
pub struct Launchd {
    inspector: Inspector,
    requests: mpsc::UnboundedSender<Request>,
    under_way: watch::Receiver<usize>,
}

impl Launchd {
    /// Connects to the launchd of this Mac, and follows the jobs whose units match the patterns.
    ///
    /// # Errors
    ///
    /// If `launchctl` cannot be run, or does not answer.
    pub async fn connect(scope: Scope, patterns: Vec<String>) -> Result<(Self, Changes), ManagerError> {
        let paths = LaunchdPaths { directories: directories(scope), records: records_path(scope) };
        Self::connect_through(Path::new(LAUNCHCTL), paths, scope, patterns).await
    }

    /// Like [`connect`](Self::connect), with this `launchctl`, and with files in these directories.
    ///
    /// # Errors
    ///
    /// If it cannot be run, or does not answer.
    pub async fn connect_through(
        program: &Path,
        paths: LaunchdPaths,
        scope: Scope,
        patterns: Vec<String>,
    ) -> Result<(Self, Changes), ManagerError> {
        let launchctl = Launchctl::connect(program, scope, LABEL).await?;
        let inspector = Inspector { launchctl, directories: paths.directories.into() };
        let records = paths.records.map(Records);
        let (requests, requested) = mpsc::unbounded_channel();
        let (changes, reported_changes) = mpsc::unbounded_channel();
        let (busy, under_way) = watch::channel(0);
        tokio::spawn(Session::new(inspector.clone(), records, &patterns, requested, changes, busy).run());
        Ok((Self { inspector, requests, under_way }, reported_changes))
    }

    async fn file(&self, unit: &UnitName) -> File {
        let job = self.inspector.job(unit).await.ok().flatten().map(|(_, job)| job);
        self.inspector.file(unit, job.as_ref()).await
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, ManagerError>>) -> Request,
    ) -> Result<T, ManagerError> {
        let (answer, answered) = oneshot::channel();
        // The task ends only after the last handle.
        let _ = self.requests.send(question(answer));
        answered.await.unwrap_or_else(|_| Err(ManagerError::Unreachable("not connected".to_owned())))
    }
}

/// The directories of files.
#[derive(Debug, Clone)]
pub struct LaunchdPaths {
    /// Directories of the plists of jobs that are not loaded.
    pub directories: Vec<PathBuf>,
    /// The directory for records of jobs that are booted out.
    pub records: Option<PathBuf>,
}

/// Beside the saved state.
fn records_path(scope: Scope) -> Option<PathBuf> {
    let overrides = Overrides { system: scope == Scope::System, ..Overrides::default() };
    let paths = Paths::find(&overrides, |name| std::env::var_os(name)).ok()?;
    Some(paths.state.with_file_name("taken-out"))
}

/// The directories of plists, the user's own first.
fn directories(scope: Scope) -> Vec<PathBuf> {
    match scope {
        Scope::System => vec![PathBuf::from("/Library/LaunchDaemons")],
        Scope::User => {
            let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
            let own = home.map(|home| home.join("Library/LaunchAgents"));
            own.into_iter().chain([PathBuf::from("/Library/LaunchAgents")]).collect()
        }
    }
}

impl ServiceManager for Launchd {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        self.ask(Request::List).await
    }

    fn refresh(&self) {
        let _ = self.requests.send(Request::Refresh);
    }

    fn cover(&self, patterns: Vec<String>) {
        let _ = self.requests.send(Request::Cover(patterns));
    }

    async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        let unit = unit.clone();
        self.ask(|answer| Request::Inspect(unit, detail, answer)).await
    }

    fn start(&self, start: &Start, timeout: Duration) {
        let (unit, restart) = (start.unit.clone(), start.restart);
        let _ = self.requests.send(Request::Start { unit, restart, timeout });
    }

    /// launchd has no jobs that a start could replace, so this is never called.
    fn stop(&self, _unit: &UnitName) {}

    async fn end(&self, unit: &UnitName) -> Result<(), ManagerError> {
        self.end_unit(unit).await
    }

    /// By its plist alone: launchd is not asked about a running job.
    async fn location(&self, unit: &UnitName) -> Result<Location, ManagerError> {
        let file = self.inspector.file(unit, None).await;
        let agent = file.agent();
        let directory = agent.and_then(|agent| agent.working_directory.clone());
        // A worker in a container has its directory there.
        let required = directory.is_some() && !agent.is_some_and(|agent| agent.by_podman);
        let gone = required && inspect::is_gone(directory.clone()).await;
        Ok(Location { directory, required, gone, container: false })
    }

    async fn last_error(&self, unit: &UnitName) -> Option<String> {
        let logs = self.file(unit).await.agent()?.logs.clone();
        let read = spawn_blocking(move || logs.iter().find_map(|log| tail::last_line(log)));
        timeout(LOG_TIMEOUT, read).await.ok()?.ok()?
    }

    async fn log(&self, unit: &UnitName, wanted: WantedLines) -> Log {
        let file = self.file(unit).await;
        tail::log(file.agent().map(|agent| agent.logs.clone()).unwrap_or_default(), wanted)
    }

    async fn commands(&self, unit: &UnitName) -> Option<explain::Manager> {
        let found = self.inspector.job(unit).await.ok().flatten();
        let file = self.inspector.file(unit, found.as_ref().map(|(_, job)| job)).await;
        let domain =
            found.as_ref().map(|(domain, _)| *domain).or(self.inspector.launchctl.domains().first().copied())?;
        let text = |path: &Path| path.display().to_string();
        Some(explain::Manager::Launchd(explain::LaunchdJob {
            domain: domain.to_string(),
            label: label::label_of(unit),
            plist: file.agent().map_or_else(String::new, |agent| text(&agent.path)),
            loaded: found.is_some(),
            put_off: found.as_ref().is_some_and(|(_, job)| seen::is_put_off(job, file.agent())),
            by_podman: file.agent().is_some_and(|agent| agent.by_podman),
            log: file.agent().and_then(|agent| agent.logs.first()).map(|log| text(log)),
        }))
    }

    async fn settled(&self) {
        let mut under_way = self.under_way.clone();
        let _ = under_way.wait_for(|count| *count == 0).await;
    }
}

/// Fuzz target, see [`fuzz`](crate::fuzz).
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) {
    drop(answers::job(text));
}
