//! A stop that a person requests: the job is booted out, which counts as stopped.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Launchd;
use super::label::label_of;
use super::launchctl::Failure;
use crate::core::units::UnitName;
use crate::manager::ManagerError;

/// Maximum time to wait for the end of a job, which may ignore its signal up to `ExitTimeOut`.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Launchd {
    /// Boots the unit's job out, and waits until it is gone.
    pub(super) async fn end_unit(&self, unit: &UnitName) -> Result<(), ManagerError> {
        const WHAT: &str = "the stop";
        let found = self.inspector.job(unit).await?;
        let file = self.inspector.file(unit, found.as_ref().map(|(_, job)| job)).await;
        if file.agent().is_some_and(|agent| agent.by_podman) {
            let why = format!("podman runs it; to stop it: podman stop {}", unit.short());
            return Err(ManagerError::Refused { what: WHAT, why });
        }
        let Some((domain, _)) = found else { return Ok(()) };
        match self.inspector.launchctl.bootout(domain, &label_of(unit)).await {
            Ok(()) | Err(Failure::NotLoaded | Failure::Redundant | Failure::InProgress | Failure::Busy) => {}
            Err(failure) => return Err((WHAT, failure).into()),
        }
        let latest = Instant::now() + STOP_TIMEOUT;
        while self.inspector.job(unit).await?.is_some() {
            if Instant::now() >= latest {
                let why = format!("it is still stopping after {} s", STOP_TIMEOUT.as_secs());
                return Err(ManagerError::Refused { what: WHAT, why });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}
