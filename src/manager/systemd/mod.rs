//! systemd, of the user or of the system, over D-Bus.
//!
//! [`session`] owns the connection and everything whose order matters; [`connection`] has the calls whose order does
//! not matter; [`related`] finds out what a start would do to other units; [`wire`] has the names and the messages.
//! [`inspection`] assembles inspections. This module has the handle.
//!
//! The manager is reached through its private socket if there is one ([`private_socket`]), else through a bus.

mod address;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inspection;
mod private_socket;
mod related;
pub(crate) mod self_unit;
mod session;
mod signals;
mod stop;
mod wire;

use std::slice;
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use zbus::{Message, OwnedVariant, Variant};

use super::journal::Journal;
use super::log::{Log, WantedLines};
use super::{Changes, ManagerError, Scope, ServiceManager, Usage};
use crate::core::event::Event;
use crate::core::rules::Start;
use crate::core::selector::Aliases;
use crate::core::units::{Detail, Inspection, LoadState, Location, UnitName, UnitStatus};
use address::Address;
use connection::{CALL_TIMEOUT, ManagerConnection};
use inspection::{Directory, is_container, when};
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
    /// Connects to the manager of the scope, for the units that match the patterns (globs in systemd's own syntax; see
    /// [`ServiceManager::cover`]). They are followed from the first request on.
    ///
    /// # Errors
    ///
    /// If no manager can be reached now. A connection that is lost later is restored automatically.
    pub async fn connect(scope: Scope, patterns: Vec<String>) -> Result<(Self, Changes), ManagerError> {
        let addresses = Address::of(scope);
        let connection = session::connect(&addresses).await?;
        let (requests, requested) = mpsc::unbounded_channel();
        let (changes, reported_changes) = mpsc::unbounded_channel();
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
        Ok((systemd, reported_changes))
    }

    fn connection(&self) -> Result<ManagerConnection, ManagerError> {
        self.connection.borrow().clone().ok_or_else(|| ManagerError::Unreachable("not connected".to_owned()))
    }

    /// The units to list: by the patterns, and by the own names of units whose aliases match.
    fn listed(&self) -> Vec<String> {
        with_aliased(&self.patterns.borrow(), &self.aliases.borrow())
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
        self.last_errors(slice::from_ref(unit)).await.pop()?
    }

    async fn last_errors(&self, units: &[UnitName]) -> Vec<Option<String>> {
        let mut errors = vec![None; units.len()];
        let Ok(connection) = self.connection() else { return errors };
        let found = join_all(units.iter().map(|unit| connection.failed_run(unit.as_str()))).await;
        let failed = found.into_iter().enumerate().filter_map(|(at, run)| Some((at, run.ok()??)));
        let (places, runs): (Vec<_>, Vec<_>) = failed.map(|(at, run)| (at, (units[at].clone(), run))).unzip();
        for (at, error) in places.into_iter().zip(self.journal.what_went_wrong(&runs).await) {
            errors[at] = error;
        }
        errors
    }

    async fn history(&self, before: SystemTime) -> Vec<Event> {
        self.journal.history(before).await
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
    match signals::parse(signal) {
        Some(signals::Signal::Changed(status, _)) => Some(status),
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
