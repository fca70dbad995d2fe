//! A stop that a person requests.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Systemd;
use crate::core::units::UnitName;
use crate::manager::ManagerError;

/// Maximum time to wait for the end of a unit, which may ignore its signal up to `TimeoutStopSec=`.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

impl Systemd {
    /// Stops the unit, replacing any job for it, and waits until it is down.
    pub(super) async fn end_unit(&self, unit: &UnitName) -> Result<(), ManagerError> {
        const WHAT: &str = "the stop";
        let connection = self.connection()?;
        connection.call("StopUnit", &(unit.as_str(), "replace")).await?;
        let name = [unit.as_str().to_owned()];
        let latest = Instant::now() + STOP_TIMEOUT;
        loop {
            let lines = connection.list_names(&name).await?;
            if lines.iter().all(|line| line.job.is_none() && line.active.is_down()) {
                return Ok(());
            }
            if Instant::now() >= latest {
                let why = format!("it is still stopping after {} s", STOP_TIMEOUT.as_secs());
                return Err(ManagerError::Refused { what: WHAT, why });
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
