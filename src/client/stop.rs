//! Stops workers for a person: through the daemon, or directly with the service manager.

use futures_util::future::join_all;

use super::daemon::DaemonClient;
use super::{Access, ClientError, ConfiguredStandalone};
use crate::api::{NotStopped, StopReport, StoppedWorker};
use crate::core::saved_state::SavedPhase;
use crate::core::units::{Detail, UnitName};
use crate::files::state_file::{Clocks, StateFile};
use crate::manager::ServiceManager;
use crate::setup::Options;

impl Access {
    /// Stops what the targets name. It is then not healed until it is started.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn stop(&self, options: &Options, targets: &[String]) -> Result<StopReport, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.stop(targets).await?),
            Self::Standalone(standalone) => standalone.stop(options, targets).await,
        }
    }
}

impl ConfiguredStandalone {
    async fn stop(&self, options: &Options, targets: &[String]) -> Result<StopReport, ClientError> {
        let detector = self.client.detector();
        let named = detector.named(targets, &detector.workers().await?).await?;
        let mut report = StopReport::default();
        let mut stopped = Vec::new();
        let ends = join_all(named.iter().map(|(unit, _)| detector.manager.end(unit))).await;
        for ((unit, worker), end) in named.into_iter().zip(ends) {
            match end {
                Ok(()) => {
                    report.stopped.push(detector.stopped(&unit, &worker).await);
                    stopped.push(unit);
                }
                Err(error) => {
                    let worker = StoppedWorker::of(&unit, &worker);
                    report.failed.push(NotStopped { worker, error: error.to_string() });
                }
            }
        }
        // A running daemon has noticed, and saves that itself.
        if DaemonClient::connect(options).await.is_err() {
            self.remember(&stopped).await;
        }
        Ok(report)
    }

    /// Saves for a later daemon what the journal does not record: the stop of a worker that had failed.
    async fn remember(&self, stopped: &[UnitName]) {
        let clocks = Clocks::at_origin();
        let store = StateFile::new(self.paths.state.clone());
        let Ok(mut saved_state) = store.read(clocks) else { return };
        for unit in stopped {
            let seen = self.client.detector().inspect(unit, Detail { file: true, ..Detail::default() }).await.ok();
            let run = seen.and_then(|seen| seen.run);
            let it = saved_state.workers.entry(unit.clone()).or_default();
            it.phase = SavedPhase::Stopped { run, certain: true };
        }
        // If that cannot be written, the journal still records stops of workers that were up.
        let _ = store.write(&saved_state, clocks);
    }
}
