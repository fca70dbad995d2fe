//! The edge to the service manager: everything the system knows of units comes in here, and every
//! start goes out here.
//!
//! [`ServiceManager`] is what the rest of the program sees. Changes and the ends of starts arrive
//! on one channel in the order in which the manager told them, because that order carries meaning:
//! a unit that is seen to fail after its start job ended has died, before it has not been started.

mod fingerprint;
#[cfg(target_os = "linux")]
mod journal;
pub mod launchd;
pub mod log;
#[cfg(target_os = "linux")]
pub mod systemd;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::explain;
use crate::core::healer::Outcome;
use crate::core::units::{Detail, Inspection, UnitName, UnitStatus};
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
    /// A start ended.
    Finished(UnitName, Outcome),
    /// A job of somebody else succeeded.
    JobDone(UnitName),
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

    /// Asks for a list; it arrives as [`Change::Units`]. Before the first call of it a manager need not
    /// tell of changes: who only wants to ask does not pay for that.
    fn refresh(&self);

    /// Replaces the patterns of units to list, and asks for a list.
    fn cover(&self, patterns: Vec<String>);

    /// A close look at one unit.
    fn inspect(&self, unit: &UnitName, detail: Detail)
    -> impl Future<Output = Result<Inspection, ManagerError>> + Send;

    /// Clears the unit's failure and starts it, without taking the place of anybody else's job.
    /// Always leads to exactly one [`Change::Finished`], after `timeout` at the latest.
    fn start(&self, unit: &UnitName, timeout: Duration);

    /// Restarts the unit, as [`start`](Self::start) starts it.
    fn restart(&self, unit: &UnitName, timeout: Duration);

    /// The last line that the unit logged, fit to show; `None` if it cannot be found.
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
