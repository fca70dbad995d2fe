//! The workers that targets name, with their display names.

use super::{Access, ClientError};
use crate::core::batch::LeftAlone;
use crate::core::context::Context;
use crate::core::report::WorkerReport;
use crate::core::selector::Worker;
use crate::core::units::UnitName;

impl Access {
    /// Every worker as the daemon sees it; none without one.
    ///
    /// # Errors
    ///
    /// If the daemon does not answer.
    pub async fn reports(&self) -> Result<Vec<WorkerReport>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.workers().await?),
            Self::Standalone(_) => Ok(Vec::new()),
        }
    }

    /// Workers that something is wrong with, and that are not healed because of a pause or the stop marker.
    ///
    /// # Errors
    ///
    /// If the daemon, or the service manager, does not answer.
    pub async fn paused(&self) -> Result<Vec<LeftAlone>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.plan(&[]).await?.paused),
            Self::Standalone(standalone) => {
                let detector = standalone.client.detector();
                let Context { stop_marker, pauses, .. } = &detector.context;
                let is_paused = *stop_marker || pauses.iter().next().is_some();
                Ok(if is_paused { detector.plan(&[]).await?.paused } else { Vec::new() })
            }
        }
    }

    /// Every worker that the targets name, once, in the order of sites and names; all if there is no target.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn named(&self, targets: &[String]) -> Result<Vec<(UnitName, Worker)>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.named(targets).await?),
            Self::Standalone(standalone) => {
                let workers = standalone.client.workers().await?;
                if targets.is_empty() {
                    return Ok(workers);
                }
                let mut named = standalone.client.detector().named(targets, &workers).await?;
                named.sort_by(|(_, a), (_, b)| a.cmp(b));
                Ok(named)
            }
        }
    }
}
