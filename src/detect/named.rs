//! Workers that are named in a request: loaded ones, and those that the service manager has unloaded.
//!
//! systemd unloads a unit that is down and that nothing refers to, for example a worker that was stopped and is not
//! enabled. It is still a worker, as its file says.

use std::collections::HashSet;

use super::{Detector, PlanError};
use crate::api::StoppedWorker;
use crate::core::selector::Worker;
use crate::core::target;
use crate::core::units::{Detail, LoadState, UnitName};
use crate::manager::{ManagerError, ServiceManager};

impl<M: ServiceManager> Detector<M> {
    /// The workers that the targets name, each once: among these that are loaded, else among the unit files.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn named(
        &self,
        targets: &[String],
        loaded: &[(UnitName, Worker)],
    ) -> Result<Vec<(UnitName, Worker)>, PlanError> {
        let mut named: Vec<(UnitName, Worker)> = Vec::new();
        for target in &self.context.selector.by_own_names(targets) {
            match target::find(target, loaded) {
                Ok(found) => named.extend(found.into_iter().cloned()),
                Err(unknown) => {
                    named.push(self.unloaded(target).await?.ok_or_else(|| unknown.in_context(&self.context))?);
                }
            }
        }
        let mut seen = HashSet::new();
        named.retain(|(unit, _)| seen.insert(unit.clone()));
        Ok(named)
    }

    /// The worker that a target names, if its unit has a file.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn unloaded(&self, target: &str) -> Result<Option<(UnitName, Worker)>, ManagerError> {
        let unit = self.context.selector.unit_of(target).filter(|unit| !unit.is_template());
        let Some(unit) = unit else { return Ok(None) };
        let Some(worker) = self.resolve(&unit).await? else { return Ok(None) };
        if !target::names(target, &unit, &worker) {
            return Ok(None);
        }
        let seen = self.inspect(&unit, Detail::default()).await?;
        let has_file = matches!(seen.load, LoadState::Loaded | LoadState::Masked);
        Ok(has_file.then_some((unit, worker)))
    }

    /// A stopped worker, and the state of its unit after that.
    pub async fn stopped(&self, unit: &UnitName, worker: &Worker) -> StoppedWorker {
        let seen = self.inspect(unit, Detail { file: true, ..Detail::default() }).await.ok();
        let gone = seen.as_ref().is_some_and(|seen| seen.load == LoadState::NotFound);
        let enabled = seen.and_then(|seen| seen.file).is_none_or(|file| file.enabled);
        StoppedWorker { gone, enabled, ..StoppedWorker::of(unit, worker) }
    }
}
