//! systemd, of the user or of the system, over D-Bus.
//!
//! [`session`] owns the connection and everything whose order matters; [`connection`] has the calls whose order does
//! not matter; [`related`] finds out what a start would do to other units; [`wire`] has the names and the messages.
//! This module has the handle, and assembles inspections.
//!
//! The manager is reached through its private socket if there is one ([`private_socket`]), else through a bus.

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod private_socket;
mod related;
pub(crate) mod self_unit;
mod session;
mod stop;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use zbus::{Message, OwnedVariant, Variant};

use super::directory::is_gone;
use super::journal::{End, Journal};
use super::log::{Log, WantedLines};
use super::{Changes, ManagerError, Scope, ServiceManager, Usage};
use crate::blocking::FILES;
use crate::core::rules::Start;
use crate::core::selector::Aliases;
use crate::core::units::{
    ActiveState, Deactivation, Depth, Detail, Inspection, LoadState, Location, RestartPolicy, ServiceResult,
    StopEvidence, UnitName, UnitStatus,
};
use connection::{Address, CALL_TIMEOUT, ManagerConnection, monotonic, since_then};
use related::{Dependencies, Related};
use session::{Request, Session};

/// Maximum time to look at files.
const FILE_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle on systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    journal: Journal,
    requests: mpsc::UnboundedSender<Request>,
    connection: watch::Receiver<Option<ManagerConnection>>,
    patterns: watch::Sender<Vec<String>>,
    aliases: watch::Sender<Aliases>,
}

impl Systemd {
    /// Connects to the manager of the scope, for the units that match the patterns (globs in systemd's own syntax).
    /// They are followed from the first request on.
    ///
    /// # Errors
    ///
    /// If no manager can be reached now. A connection that is lost later is restored automatically.
    pub async fn connect(scope: Scope, patterns: Vec<String>) -> Result<(Self, Changes), ManagerError> {
        let addresses = Address::of(scope);
        let connection = session::connect(&addresses).await?;
        let (requests, requested) = mpsc::unbounded_channel();
        let (changes, told) = mpsc::unbounded_channel();
        let (link_sender, link_receiver) = watch::channel(Some(connection.clone()));
        let aliases = watch::Sender::new(Aliases::new());
        let session = Session {
            addresses,
            patterns: patterns.clone(),
            aliases: aliases.clone(),
            requests: requested,
            changes,
            connection: link_sender,
        };
        tokio::spawn(session.run(connection));
        let systemd = Self {
            journal: Journal::new(scope),
            requests,
            connection: link_receiver,
            patterns: watch::Sender::new(patterns),
            aliases,
        };
        Ok((systemd, told))
    }

    fn connection(&self) -> Result<ManagerConnection, ManagerError> {
        self.connection.borrow().clone().ok_or_else(|| ManagerError::Unreachable("not connected".to_owned()))
    }

    /// The units to list: by the patterns, and by the own names of units whose aliases match.
    fn listed(&self) -> Vec<String> {
        with_aliased(&self.patterns.borrow(), &self.aliases.borrow())
    }

    /// Reads its state, and what it has to give way to if that is asked.
    async fn inspect_state(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        let connection = self.connection()?;
        let (name, names) = (unit.as_str(), [unit.as_str().to_owned()]);
        let of_others = when(detail.depth == Depth::Proof, async {
            let (partners, began) = tokio::try_join!(
                Dependencies::to_give_way_to(&connection, name),
                connection.moment(name, "InactiveExitTimestampMonotonic"),
            )?;
            Ok((self.related(&connection, &partners, false).await?, began))
        });
        let (listed, since, related) = tokio::try_join!(
            connection.list_names(&names),
            connection.moment(name, "ActiveEnterTimestampMonotonic"),
            of_others,
        )?;
        let seen = listed.into_iter().next().ok_or_else(nothing_listed)?;
        let (Related { conflicts, stopped_groups, .. }, began) = related.unwrap_or_default();
        Ok(Inspection {
            load: seen.load,
            active: seen.active,
            has_job: seen.job.is_some(),
            auto_restart: seen.auto_restart,
            up_for: since.filter(|_| seen.active.is_up()).and_then(since_then),
            at: monotonic(),
            began,
            conflicts,
            stopped_groups,
            ..Inspection::default()
        })
    }

    /// Reads single properties, all at once: for a whole interface, systemd would also read files and control groups
    /// that are not needed, which takes longer than a start.
    async fn inspect_untimed(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        if detail.depth != Depth::Decision {
            return self.inspect_state(unit, detail).await;
        }
        let connection = self.connection()?;
        let name = unit.as_str();
        let of_service = |key| connection.property(name, wire::SERVICE, key);
        let names = [name.to_owned()];
        let of_unit = |key| connection.property(name, wire::UNIT, key);
        let (listed, left, down, began, dependencies, clearable, source, result, restart, kind, directory) = tokio::try_join!(
            connection.list_names(&names),
            connection.moment(name, "ActiveExitTimestampMonotonic"),
            connection.moment(name, "InactiveEnterTimestampMonotonic"),
            connection.moment(name, "InactiveExitTimestampMonotonic"),
            Dependencies::of(&connection, name),
            connection.can_be_loaded_again(name),
            of_unit("SourcePath"),
            of_service("Result"),
            of_service("Restart"),
            of_service("Type"),
            of_service("WorkingDirectory"),
        )?;
        let seen = listed.into_iter().next().ok_or_else(nothing_listed)?;
        let restart = RestartPolicy::from(text(&restart));
        let is_down = seen.active.is_down();
        let changes = matches!(seen.active, ActiveState::Activating | ActiveState::Deactivating) && !seen.auto_restart;
        let deactivation = left.zip(down).map(|(left, down)| Deactivation { left, down });
        // For a unit that went down by itself it does not matter when its parents were up, unless it had a stop job: if
        // it was killed together with a parent that is up again, the stop was not meant for it.
        let with_history = is_down && (detail.stop || !deactivation.is_some_and(Deactivation::was_sudden));
        let directory = Directory::from(text(&directory));
        let (related, restart_prevented, transition, up_for, file, run, restarts, since, gone, in_container) = tokio::try_join!(
            self.related(&connection, &dependencies, with_history),
            when(seen.active == ActiveState::Failed, connection.restart_prevented(name)),
            when(changes, connection.transition(name, seen.active)),
            when(seen.active.is_up(), connection.uptime(name)),
            when(detail.file, connection.file(name)),
            when(detail.file || detail.stop, connection.invocation(name)),
            when(detail.restarts || seen.auto_restart, connection.restarts(name)),
            when(detail.times, connection.realtime(name, "StateChangeTimestamp")),
            directory.is_gone(&connection, name),
            when(directory.path.is_none(), connection.container_directory(name)),
        )?;
        let deactivation = left.zip(down).map(|(left, down)| Deactivation { left, down });
        let down_for = down.filter(|_| is_down).and_then(since_then);
        let result = ServiceResult::from(text(&result));
        let end = End {
            is_over: is_down,
            was_clean: seen.active == ActiveState::Inactive && result == ServiceResult::Success,
            was_sudden: deactivation.is_some_and(Deactivation::was_sudden),
            ago: down_for.unwrap_or_default(),
        };
        let stop = if detail.stop { Some(self.stop_evidence(unit, run.as_deref(), end).await) } else { None };
        let mut related = related;
        if let (Some(StopEvidence::Requested), Some(run)) = (&stop, &run) {
            for parent in related.parents.iter_mut().filter(|parent| parent.left.is_some() || parent.stopping) {
                let stop_job = related.stop_jobs.get(&parent.name).copied();
                parent.stopped_later = self.journal.was_stopped_before(run, &parent.name, stop_job).await;
            }
        }
        Ok(Inspection {
            load: seen.load,
            active: seen.active,
            has_job: seen.job.is_some(),
            up_for: up_for.flatten(),
            at: monotonic(),
            deactivation,
            began,
            transition: transition.flatten(),
            down_for,
            result,
            restart,
            restart_prevented: restart_prevented.flatten(),
            oneshot: text(&kind) == "oneshot",
            file: file.flatten(),
            run,
            restarts,
            auto_restart: seen.auto_restart,
            since: since.flatten(),
            working_directory: directory.path.or(in_container.flatten()),
            directory_gone: gone,
            container: is_container(text(&source)),
            parents: related.parents,
            pulls_in: related.pulls_in,
            conflicts: related.conflicts,
            has_conflicts: dependencies.has_conflicts(),
            stopped_groups: related.stopped_groups,
            triggers: dependencies.triggers,
            failed_sockets: related.failed_sockets,
            clearable,
            stop,
            said: None,
        })
    }

    async fn stop_evidence(&self, unit: &UnitName, run: Option<&str>, end: End) -> StopEvidence {
        match run {
            Some(run) if !run.is_empty() => self.journal.stop_evidence(run, end).await,
            _ => match self.end_of_last_job(unit).await {
                Ok(Some(evidence)) => evidence,
                Ok(None) => StopEvidence::Unknown(format!("the service manager does not know the last run of {unit}")),
                Err(unknown) => unknown,
            },
        }
    }

    async fn end_of_last_job(&self, unit: &UnitName) -> Result<Option<StopEvidence>, StopEvidence> {
        let began = async { self.connection()?.began().await };
        match began.await {
            Ok(began) => self.journal.end_of_last_job(unit, began).await,
            Err(error) => Err(StopEvidence::Unknown(error.to_string())),
        }
    }
}

fn nothing_listed() -> ManagerError {
    ManagerError::Unexpected { what: "ListUnitsByNames", why: "the list is empty".to_owned() }
}

/// Whether podman's generator creates units from this file, podman-systemd.unit(5).
fn is_container(source: &str) -> bool {
    [".container", ".pod", ".kube"].iter().any(|kind| source.ends_with(kind))
}

/// `WorkingDirectory=` as systemd reports it.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    /// The configured directory of the unit, if any.
    path: Option<PathBuf>,
    /// Whether the unit starts without it too.
    optional: bool,
}

impl From<&str> for Directory {
    /// A `-` in front means that the directory may be missing. A `!` means the same for the home directory that systemd
    /// reports for user units without a setting: it was not configured.
    fn from(text: &str) -> Self {
        let optional = text.starts_with('-');
        let path = Some(text.trim_start_matches('-')).filter(|path| path.starts_with('/')).map(PathBuf::from);
        Self { path, optional }
    }
}

impl Directory {
    /// Whether it is definitely no directory, or missing. If it cannot be accessed, it may exist; a file system that
    /// does not answer is not waited for.
    /// file system that does not answer is not waited for.
    async fn is_gone(&self, connection: &ManagerConnection, unit: &str) -> Result<bool, ManagerError> {
        let Some(path) = self.path.clone().filter(|_| !self.optional) else {
            return Ok(false);
        };
        let check = FILES.within(FILE_TIMEOUT, move || is_gone(&path));
        if !matches!(check.await, Ok(true)) {
            return Ok(false);
        }
        // A directory in another root is not checked.
        let (root, image) = tokio::try_join!(
            connection.property(unit, wire::SERVICE, "RootDirectory"),
            connection.property(unit, wire::SERVICE, "RootImage"),
        )?;
        Ok(matches!(text(&root), "" | "/") && text(&image).is_empty())
    }
}

impl ServiceManager for Systemd {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        self.connection()?.list(&self.listed()).await
    }

    async fn failed_sockets(&self) -> Result<Vec<UnitName>, ManagerError> {
        self.connection()?.failed_sockets().await
    }

    fn refresh(&self) {
        // The task ends only after the last handle.
        let _ = self.requests.send(Request::Refresh);
    }

    fn list_all(&self) {
        let _ = self.requests.send(Request::ListAll);
    }

    fn cover(&self, patterns: Vec<String>) {
        self.patterns.send_replace(patterns.clone());
        let _ = self.requests.send(Request::Cover(patterns));
    }

    async fn aliases(&self) -> Result<Aliases, ManagerError> {
        let patterns = self.patterns.borrow().clone();
        let aliases = self.connection()?.aliases(&patterns).await?;
        self.aliases.send_replace(aliases.clone());
        Ok(aliases)
    }

    async fn has_any(&self, pattern: &str) -> Option<bool> {
        let connection = self.connection().ok()?;
        let pattern = [pattern.to_owned()];
        if !connection.list(&pattern).await.ok()?.is_empty() || !connection.unit_files(&pattern).await.ok()?.is_empty()
        {
            return Some(true);
        }
        // An instance of a template has no file with its name.
        if UnitName::parse(&pattern[0]).is_err() {
            return Some(false);
        }
        let lines = connection.list_names(&pattern).await.ok()?;
        Some(lines.iter().any(|line| line.load != LoadState::NotFound))
    }

    async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        match timeout(CALL_TIMEOUT, Box::pin(self.inspect_untimed(unit, detail))).await {
            Ok(result) => result,
            Err(_) => Err(ManagerError::Unreachable("no answer".to_owned())),
        }
    }

    /// Reads few properties, so that it can be called for thousands of units.
    async fn location(&self, unit: &UnitName) -> Result<Location, ManagerError> {
        let (connection, name) = (self.connection()?, unit.as_str());
        let ask = async {
            let (source, directory) = tokio::try_join!(
                connection.property(name, wire::UNIT, "SourcePath"),
                connection.property(name, wire::SERVICE, "WorkingDirectory"),
            )?;
            let directory = Directory::from(text(&directory));
            let (gone, in_container) = tokio::try_join!(
                directory.is_gone(&connection, name),
                when(directory.path.is_none(), connection.container_directory(name)),
            )?;
            Ok(Location {
                required: directory.path.is_some() && !directory.optional,
                directory: directory.path.or(in_container.flatten()),
                gone,
                container: is_container(text(&source)),
            })
        };
        timeout(CALL_TIMEOUT, ask).await.unwrap_or_else(|_| Err(ManagerError::Unreachable("no answer".to_owned())))
    }

    fn start(&self, start: &Start, timeout: Duration) {
        let _ = self.requests.send(Request::Start(start.clone(), timeout));
    }

    fn stop(&self, unit: &UnitName) {
        let _ = self.requests.send(Request::Stop(unit.clone()));
    }

    async fn end(&self, unit: &UnitName) -> Result<(), ManagerError> {
        self.end_unit(unit).await
    }

    async fn up_since(&self, unit: &UnitName) -> Option<SystemTime> {
        // Also for a unit that is no longer up: the caller checks that it is.
        self.connection().ok()?.realtime(unit.as_str(), "ActiveEnterTimestamp").await.ok()?
    }

    async fn usage(&self, unit: &UnitName) -> Result<Usage, ManagerError> {
        let connection = self.connection()?;
        let of_service = |key| connection.property(unit.as_str(), wire::SERVICE, key);
        let ask = async {
            let (pid, memory, cpu) =
                tokio::try_join!(of_service("MainPID"), of_service("MemoryCurrent"), of_service("CPUUsageNSec"))?;
            // Accounting that is off, or a unit without processes, is the largest number.
            let counted = |value| u64::try_from(value).ok().filter(|value| *value != u64::MAX);
            Ok(Usage {
                pid: u32::try_from(pid).ok().filter(|pid| *pid != 0),
                memory: counted(memory),
                cpu: counted(cpu).map(Duration::from_nanos),
            })
        };
        timeout(CALL_TIMEOUT, ask).await.unwrap_or_else(|_| Err(ManagerError::Unreachable("no answer".to_owned())))
    }

    async fn last_error(&self, unit: &UnitName) -> Option<String> {
        let run = self.connection().ok()?.failed_run(unit.as_str()).await.ok()??;
        self.journal.what_went_wrong(unit, &run).await
    }

    async fn log(&self, unit: &UnitName, wanted: WantedLines) -> Log {
        let (this, name) = (self.clone(), unit.clone());
        let last_run = move || {
            let (this, name) = (this.clone(), name.clone());
            let answer: BoxFuture<'static, _> =
                Box::pin(async move { this.connection().ok()?.last_run(name.as_str()).await.ok()? });
            answer
        };
        self.journal.log(unit, Box::new(last_run), wanted).await
    }
}

/// The service units in the response to a list call: each refresh parses this.
///
/// # Errors
///
/// If it is no such response.
pub fn listed(reply: &Message) -> zbus::Result<Vec<UnitStatus>> {
    wire::statuses(reply).map(|statuses| statuses.units)
}

/// The status of a unit in a signal of systemd, if the signal has one.
#[must_use]
pub fn signalled(signal: &Message) -> Option<UnitStatus> {
    match wire::signal(signal) {
        Some(wire::Signal::Changed(status, _)) => Some(status),
        _ => None,
    }
}

/// The patterns, and the units with aliases.
fn with_aliased(patterns: &[String], aliases: &Aliases) -> Vec<String> {
    patterns.iter().cloned().chain(aliases.values().map(|unit| unit.as_str().to_owned())).collect()
}

/// A text property. Other types read as empty, which becomes unknown.
fn text(property: &OwnedVariant) -> &str {
    match &**property {
        Variant::Str(text) => text.as_str(),
        _ => "",
    }
}

/// A property that is a list of names.
fn names(property: OwnedVariant) -> Vec<String> {
    Vec::<String>::try_from(property).unwrap_or_default()
}

/// A boolean property. Other types read as false.
fn flag(property: &OwnedVariant) -> bool {
    matches!(&**property, Variant::Bool(true))
}

/// The answer to an optional question.
async fn when<T>(
    asked: bool,
    question: impl Future<Output = Result<T, ManagerError>>,
) -> Result<Option<T>, ManagerError> {
    if asked { question.await.map(Some) } else { Ok(None) }
}
