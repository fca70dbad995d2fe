//! The log of a worker: its last lines, or those and all that follow.
//!
//! It is read from where the service manager keeps it, whether or not a daemon runs.

use std::time::Duration;

use tokio::time::timeout;

use super::ClientError;
use crate::core::units::UnitName;
use crate::manager::log::WantedLines;
pub use crate::manager::log::{Author, Log, LogError, LogLine};
use crate::manager::{Native, ServiceManager};
use crate::setup::{Options, SetupError};

/// How long reading the last lines may take: a journal can be large, and its disk slow.
const LOG_TIMEOUT: Duration = Duration::from_secs(15);

/// The last `count` lines of the unit's log, the oldest first; fewer if it has no more.
///
/// The caller sees to it that the unit is a worker that the configuration covers: nothing is checked
/// here. [`Access::explain`](super::Access::explain), for one, refuses all others.
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

/// About the last `count` lines of the unit's log, the oldest first, and then each that is written, as
/// it is. Dropped, the [`Log`] reads no further.
///
/// Which units may be asked for is the caller's to check, as with [`last`].
///
/// # Errors
///
/// If the service manager cannot be reached. That the log cannot be read is told by [`Log::next`].
pub async fn follow(options: &Options, unit: &UnitName, count: usize) -> Result<Log, ClientError> {
    open(options, unit, WantedLines { last: count, follow: true }).await
}

async fn open(options: &Options, unit: &UnitName, wanted: WantedLines) -> Result<Log, ClientError> {
    let connected = Native::connect(options.scope, vec![unit.as_str().to_owned()]).await;
    let (manager, _changes) = connected.map_err(SetupError::Manager)?;
    Ok(manager.log(unit, wanted).await)
}
