//! Which workers targets name, with what people call them.

use super::{Access, Error};
use crate::core::coverage::Worker;
use crate::core::target;
use crate::core::units::UnitName;

impl Access {
    /// Every worker that the targets name, once, in the order of sites and names; all if there is no target.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn named(&self, targets: &[String]) -> Result<Vec<(UnitName, Worker)>, Error> {
        let (workers, units) = match self {
            Self::Daemon(daemon) => (daemon.named_workers().await?, daemon.select(targets).await?),
            Self::Direct(direct) => {
                let workers = direct.client.workers().await?;
                let coverage = &direct.client.search().rules.coverage;
                let units = target::select(&coverage.by_own_names(targets), &workers)?;
                (workers, units)
            }
        };
        Ok(workers.into_iter().filter(|(unit, _)| targets.is_empty() || units.contains(unit)).collect())
    }
}
