//! The log of a worker: its last lines, and optionally those that follow.
//!
//! It is read from the service manager's log, whether or not a daemon runs.

use std::time::Duration;

use tokio::time::timeout;

use super::ClientError;
use crate::core::units::UnitName;
use crate::manager::log::WantedLines;
pub use crate::manager::log::{Author, Log, LogError, LogLine};
use crate::manager::{Native, ServiceManager};
use crate::setup::{Options, SetupError};

/// Maximum time to read the last lines: a journal can be large, and its disk slow.
const LOG_TIMEOUT: Duration = Duration::from_secs(15);

/// The last `count` lines of the unit's log, the oldest first; fewer if it has no more.
///
/// The caller checks that the unit is a covered worker, for example with [`Access::explain`](super::Access::explain),
/// which rejects all others.
///
/// # Errors
///
/// If the service manager cannot be reached, or the log cannot be read.
pub async fn last(options: &Options, unit: &UnitName, count: usize) -> Result<Vec<LogLine>, ClientError> {
    let mut log = open(options, unit, WantedLines { last: count, follow: false }).await?;
    let mut lines = Vec::new();
    let read = async {
        while let Some(line) = log.next().await? {
            lines.push(line);
        }
        Ok(())
    };
    timeout(LOG_TIMEOUT, read).await.unwrap_or_else(|_| Err(LogError::slow()))?;
    // One entry can have several lines, and a unit several files.
    lines.drain(..lines.len().saturating_sub(count));
    Ok(lines)
}

/// About the last `count` lines of the unit's log, the oldest first, and then each new line. Reading ends when the
/// [`Log`] is dropped.
///
/// As with [`last`], the caller checks the unit.
///
/// # Errors
///
/// If the service manager cannot be reached. [`Log::next`] reports that the log cannot be read.
pub async fn follow(options: &Options, unit: &UnitName, count: usize) -> Result<Log, ClientError> {
    open(options, unit, WantedLines { last: count, follow: true }).await
}

async fn open(options: &Options, unit: &UnitName, wanted: WantedLines) -> Result<Log, ClientError> {
    let connected = Native::connect(options.scope, vec![unit.as_str().to_owned()]).await;
    let (manager, _changes) = connected.map_err(SetupError::Manager)?;
    Ok(manager.log(unit, wanted).await)
}
