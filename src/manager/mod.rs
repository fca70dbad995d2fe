//! The service manager: all knowledge about units comes from here, and all starts go through here.
//!
//! [`ServiceManager`] is the interface for the rest of the program. Changes and the ends of starts arrive on one
//! channel in the order in which the manager reported them, because that order matters: a unit that fails after its
//! start job has ended has died, one that fails before was not started.

mod directory;
mod fingerprint;
#[cfg(target_os = "linux")]
mod journal;
pub mod launchd;
pub mod log;
#[cfg(target_os = "linux")]
pub mod systemd;
mod usage;

#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) use journal::fuzz as fuzz_journal;

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::event::Event;
use crate::core::explain;
use crate::core::healer::{Fact, Outcome};
use crate::core::rules::Start;
use crate::core::selector::Aliases;
use crate::core::units::{Detail, Inspection, Location, UnitName, UnitStatus};
pub(crate) use directory::is_gone as directory_is_gone;
use log::{Log, WantedLines};
pub use usage::Usage;

/// The service manager of this platform, chosen only here.
#[cfg(target_os = "linux")]
pub type Native = systemd::Systemd;
/// The service manager of this platform, chosen only here.
#[cfg(not(target_os = "linux"))]
pub type Native = launchd::Launchd;

/// The scope of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The calling user's (`systemctl --user`).
    User,
    /// The system's (`systemctl --system`).
    System,
}

/// A change that the service manager reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All loaded units that match the patterns.
    Units(Vec<UnitStatus>),
    /// All loaded units that match the patterns and are not simply `active`.
    NotActive(Vec<UnitStatus>),
    /// One unit has just changed.
    Unit(UnitStatus),
    /// The manager reloads its files: earlier reports may be wrong until the next [`Change::Units`].
    Reloading,
    /// The manager cannot be reached, says why: nothing is known until the next [`Change::Units`].
    Lost(String),
    /// The manager is shutting down, and stops everything: nothing must be decided or concluded until the next
    /// [`Change::Units`].
    ShuttingDown,
    /// A start ended.
    Finished(UnitName, Outcome),
    /// Another client's job succeeded that had an effect on the unit, or would have had one.
    JobDone(UnitName),
    /// Another client's job was cancelled: a contrary one replaces it.
    JobCancelled(UnitName),
    /// A start of ours replaced another client's stop.
    StopOverridden(UnitName),
    /// Another client's start ended because a unit that this one needs did not come up.
    KeptFromStarting(UnitName),
    /// All units with a failed socket.
    FailedSockets(Vec<UnitName>),
    /// The aliases that match the patterns: sent before the units are listed, when they have changed.
    Aliases(Aliases),
}

impl From<Change> for Fact {
    fn from(change: Change) -> Self {
        match change {
            Change::Units(list) => Self::Units(list),
            Change::NotActive(list) => Self::NotActive(list),
            Change::Unit(status) => Self::Changed(status),
            Change::Reloading | Change::Lost(_) | Change::ShuttingDown => Self::Frozen,
            Change::Finished(unit, outcome) => Self::Finished(unit, outcome),
            Change::JobDone(unit) => Self::JobDone(unit),
            Change::JobCancelled(unit) => Self::JobCancelled(unit),
            Change::StopOverridden(unit) => Self::StopOverridden(unit),
            Change::KeptFromStarting(unit) => Self::KeptFromStarting(unit),
            Change::FailedSockets(units) => Self::FailedSockets(units),
            // Which units are covered is a setting: it changes together with the settings.
            Change::Aliases(_) => Self::Deadline,
        }
    }
}

/// Changes, in the order in which the manager reported them.
pub type Changes = mpsc::UnboundedReceiver<Change>;

/// Why the service manager did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManagerError {
    /// No connection, or it was lost.
    #[error("cannot reach the service manager: {0}")]
    Unreachable(String),
    /// It returned an error.
    #[error("the service manager refused {what}: {why}")]
    Refused {
        /// The operation.
        what: &'static str,
        /// The manager's message.
        why: String,
    },
    /// Its answer makes no sense to this version.
    #[error("the service manager's answer to {what} cannot be read: {why}")]
    Unexpected {
        /// The operation.
        what: &'static str,
        /// The error in the answer.
        why: String,
    },
}

/// A service manager: lists units, inspects and starts them, and reports changes.
///
/// A handle is cheap to clone. When the last one is dropped, the connection ends.
pub trait ServiceManager: Clone + Send + Sync + 'static {
    /// The loaded units that match the patterns given at connection.
    fn list(&self) -> impl Future<Output = Result<Vec<UnitStatus>, ManagerError>> + Send;

    /// Units with a failed socket: their clients cannot reach them, although they may be up.
    fn failed_sockets(&self) -> impl Future<Output = Result<Vec<UnitName>, ManagerError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Requests a list, which arrives as [`Change::Units`] or [`Change::NotActive`]. Before the first call, a manager
    /// need not report changes, which would be a waste for a single question.
    fn refresh(&self);

    /// Requests a complete list, which arrives as [`Change::Units`].
    fn list_all(&self) {
        self.refresh();
    }

    /// Replaces the patterns of units to list, and asks for a list. The first pattern is only for names of units; those
    /// after it also cover units by their aliases.
    fn cover(&self, patterns: Vec<String>);

    /// The aliases that match the patterns. From then on, their units are listed too. A manager without aliases returns
    /// none.
    fn aliases(&self) -> impl Future<Output = Result<Aliases, ManagerError>> + Send {
        std::future::ready(Ok(Aliases::new()))
    }

    /// Whether there is a unit, or a unit file, that matches the pattern. `None` if unknown.
    fn has_any(&self, _pattern: &str) -> impl Future<Output = Option<bool>> + Send {
        std::future::ready(None)
    }

    /// Inspects one unit.
    fn inspect(&self, unit: &UnitName, detail: Detail)
    -> impl Future<Output = Result<Inspection, ManagerError>> + Send;

    /// The location of a unit. Called once for every covered unit, so it should be cheap.
    fn location(&self, unit: &UnitName) -> impl Future<Output = Result<Location, ManagerError>> + Send {
        async { Ok(self.inspect(unit, Detail::default()).await?.location()) }
    }

    /// Starts or restarts a unit so that no other unit changes. Its failure is cleared only if the manager's start
    /// limit refuses the start, and the unit survives that. Always leads to exactly one [`Change::Finished`], after
    /// `timeout` at the latest.
    fn start(&self, start: &Start, timeout: Duration);

    /// Stops a unit that was started although a stop was requested.
    fn stop(&self, unit: &UnitName);

    /// Stops a unit because you want it down, and waits until it is. The manager's own signals tell the healer that
    /// the stop was on purpose.
    fn end(&self, unit: &UnitName) -> impl Future<Output = Result<(), ManagerError>> + Send;

    /// The cause of a failure: the last line of the unit's own processes in the failed run, else the manager's line
    /// that names the cause. `None` if there was no failure, or it cannot be found.
    fn last_error(&self, unit: &UnitName) -> impl Future<Output = Option<String>> + Send;

    /// The same of several different units, in their order, where that is faster.
    fn last_errors(&self, units: &[UnitName]) -> impl Future<Output = Vec<Option<String>>> + Send {
        join_all(units.iter().map(|unit| self.last_error(unit)))
    }

    /// The log of the unit, whether or not it is covered: output of its processes, and messages about it if they are in
    /// the same place.
    fn log(&self, unit: &UnitName, wanted: WantedLines) -> impl Future<Output = Log> + Send;

    /// When the unit came up; `None` if it is not up, or that is unknown.
    fn up_since(&self, unit: &UnitName) -> impl Future<Output = Option<SystemTime>> + Send {
        async {
            let up_for = self.inspect(unit, Detail::default()).await.ok()?.up_for?;
            SystemTime::now().checked_sub(up_for)
        }
    }

    /// The events of earlier daemons in the 24 hours before this time, the oldest first, where they are kept.
    fn history(&self, before: SystemTime) -> impl Future<Output = Vec<Event>> + Send {
        let _ = before;
        std::future::ready(Vec::new())
    }

    /// The resource usage of the unit's processes; empty if the manager does not count it.
    fn usage(&self, unit: &UnitName) -> impl Future<Output = Result<Usage, ManagerError>> + Send {
        let _ = unit;
        std::future::ready(Ok(Usage::default()))
    }

    /// Commands to the manager about the unit, for users; `None` for systemd's commands for the scope.
    fn commands(&self, unit: &UnitName) -> impl Future<Output = Option<explain::Manager>> + Send {
        let _ = unit;
        std::future::ready(None)
    }

    /// Waits until no start is under way that would be incomplete if this process ended. Returns at once if the manager
    /// performs starts itself.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
