//! The edge to the service manager: everything the system knows of units comes in here, and every
//! start goes out here.
//!
//! [`ServiceManager`] is what the rest of the program sees. Changes and the ends of starts arrive
//! on one channel in the order in which the manager told them, because that order carries meaning:
//! a unit that is seen to fail after its start job ended has died, before it has not been started.

mod directory;
mod fingerprint;
#[cfg(target_os = "linux")]
mod journal;
pub mod launchd;
pub mod log;
#[cfg(target_os = "linux")]
pub mod systemd;

#[cfg(all(target_os = "linux", any(test, fuzzing)))]
pub(crate) use journal::fuzz as fuzz_journal;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::explain;
use crate::core::healer::{Fact, Outcome};
use crate::core::rules::Start;
use crate::core::selector::Aliases;
use crate::core::units::{Detail, Inspection, Location, UnitName, UnitStatus};
pub(crate) use directory::is_gone as directory_is_gone;
use log::{Log, WantedLines};

/// The service manager of this platform. Here, and nowhere else, it is decided which one that is.
#[cfg(target_os = "linux")]
pub type Native = systemd::Systemd;
/// The service manager of this platform. Here, and nowhere else, it is decided which one that is.
#[cfg(not(target_os = "linux"))]
pub type Native = launchd::Launchd;

/// Whose units: those of the calling user, or those of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The calling user's (`systemctl --user`).
    User,
    /// The system's (`systemctl --system`).
    System,
}

/// Something the service manager told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// All units asked for that are loaded.
    Units(Vec<UnitStatus>),
    /// One unit changed just now.
    Unit(UnitStatus),
    /// The manager reloads its files: what was told before may be wrong until the next
    /// [`Change::Units`].
    Reloading,
    /// The manager cannot be reached, says why: nothing is known until the next
    /// [`Change::Units`].
    Lost(String),
    /// The manager is about to end, and stops everything: nothing is to be decided, or concluded from what goes
    /// down, until the next [`Change::Units`].
    ShuttingDown,
    /// A start ended.
    Finished(UnitName, Outcome),
    /// Another client's job succeeded that did something to the unit, or would have if it had not been so already.
    JobDone(UnitName),
    /// A start of ours took the place of another client's stop.
    StopOverridden(UnitName),
    /// Another client's start ended because a unit that this one needs did not come up.
    KeptFromStarting(UnitName),
    /// The units whose socket has failed: all of them.
    FailedSockets(Vec<UnitName>),
    /// Which units have other names that match the patterns: told before they are listed, when that is another than
    /// before.
    Aliases(Aliases),
}

impl From<Change> for Fact {
    fn from(change: Change) -> Self {
        match change {
            Change::Units(list) => Self::Units(list),
            Change::Unit(status) => Self::Changed(status),
            Change::Reloading | Change::Lost(_) | Change::ShuttingDown => Self::Frozen,
            Change::Finished(unit, outcome) => Self::Finished(unit, outcome),
            Change::JobDone(unit) => Self::JobDone(unit),
            Change::StopOverridden(unit) => Self::StopOverridden(unit),
            Change::KeptFromStarting(unit) => Self::KeptFromStarting(unit),
            Change::FailedSockets(units) => Self::FailedSockets(units),
            // Which units are covered is a setting: it takes effect with the settings that it is put into.
            Change::Aliases(_) => Self::Deadline,
        }
    }
}

/// Changes, in the order in which the manager told them.
pub type Changes = mpsc::UnboundedReceiver<Change>;

/// Why the service manager did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManagerError {
    /// No connection, or it was lost.
    #[error("cannot reach the service manager: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("the service manager refused {what}: {why}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        why: String,
    },
    /// It answered something that this version does not understand.
    #[error("the service manager's answer to {what} cannot be read: {why}")]
    Unexpected {
        /// What was asked.
        what: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
}

/// A service manager: lists units, looks at one closely, starts one, and tells of changes.
///
/// A handle is cheap to clone. When the last one is dropped, the connection ends.
pub trait ServiceManager: Clone + Send + Sync + 'static {
    /// The loaded units that match the patterns given at connection.
    fn list(&self) -> impl Future<Output = Result<Vec<UnitStatus>, ManagerError>> + Send;

    /// Those of them that are not simply up: on most days next to none, so that there is hardly
    /// anything to send. A manager that cannot tell them apart lists all.
    fn list_not_up(&self) -> impl Future<Output = Result<Vec<UnitStatus>, ManagerError>> + Send {
        self.list()
    }

    /// The units whose socket has failed: their clients reach nothing, though they may be up.
    fn failed_sockets(&self) -> impl Future<Output = Result<Vec<UnitName>, ManagerError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Asks for a list; it arrives as [`Change::Units`]. Before the first call of it a manager need not
    /// tell of changes: who only wants to ask does not pay for that.
    fn refresh(&self);

    /// Replaces the patterns of units to list, and asks for a list.
    fn cover(&self, patterns: Vec<String>);

    /// The units with other names that match the patterns. From then on they are listed too. A manager that knows no
    /// other names has none.
    fn aliases(&self) -> impl Future<Output = Result<Aliases, ManagerError>> + Send {
        std::future::ready(Ok(Aliases::new()))
    }

    /// Whether there is a unit, or a file of one, that the pattern matches. Not known is `None`.
    fn has_any(&self, _pattern: &str) -> impl Future<Output = Option<bool>> + Send {
        std::future::ready(None)
    }

    /// A close look at one unit.
    fn inspect(&self, unit: &UnitName, detail: Detail)
    -> impl Future<Output = Result<Inspection, ManagerError>> + Send;

    /// Where a unit works. Asked of every covered unit once, so it is to be cheap.
    fn location(&self, unit: &UnitName) -> impl Future<Output = Result<Location, ManagerError>> + Send {
        async { Ok(self.inspect(unit, Detail::default()).await?.location()) }
    }

    /// Starts a unit, or restarts it, so that no other unit changes. Its failure is cleared only if the manager
    /// refuses the start for the sake of a start limit, and the unit survives that. Always leads to exactly one
    /// [`Change::Finished`], after `timeout` at the latest.
    fn start(&self, start: &Start, timeout: Duration);

    /// Stops a unit that was started although a stop was requested.
    fn stop(&self, unit: &UnitName);

    /// What went wrong, fit to show: the last line that the unit's own processes wrote in the run that failed, else
    /// the manager's line that names the cause. `None` if nothing went wrong, or it cannot be found.
    fn last_error(&self, unit: &UnitName) -> impl Future<Output = Option<String>> + Send;

    /// The log of the unit, whether or not it is covered: what its processes wrote, and where that is
    /// kept together, what was told of it.
    fn log(&self, unit: &UnitName, wanted: WantedLines) -> impl Future<Output = Log> + Send;

    /// Since when the unit has been up; `None` if it is not, or that cannot be told.
    fn up_since(&self, unit: &UnitName) -> impl Future<Output = Option<SystemTime>> + Send {
        async {
            let up_for = self.inspect(unit, Detail::default()).await.ok()?.up_for?;
            SystemTime::now().checked_sub(up_for)
        }
    }

    /// The manager's own commands about the unit, for people to paste; `None` are systemd's for the scope.
    fn commands(&self, unit: &UnitName) -> impl Future<Output = Option<explain::Manager>> + Send {
        let _ = unit;
        std::future::ready(None)
    }

    /// Waits until no start is under way that would be left half done if this process ended: none
    /// ever is where the manager itself performs them.
    fn settled(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
