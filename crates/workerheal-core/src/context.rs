//! The settings shared by all workers.

use std::sync::Arc;

use super::diagnosis::Refusal;
use super::pauses::Pauses;
use super::policy::Policy;
use super::registry::Registry;
use super::selector::{Selector, Worker};
use super::units::UnitName;

/// The settings shared by all workers: which units are workers, how they are healed, and what is paused. The
/// [`Healer`](super::healer::Healer) owns those in force.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Which units are workers.
    pub selector: Selector,
    /// How they are healed.
    pub policy: Policy,
    /// The sites, and what is paused in them.
    pub registry: Arc<Registry>,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
    /// Pauses that were requested with a command.
    pub pauses: Pauses,
}

impl Context {
    /// The pause, stop marker or registry entry that rules out healing the worker, if any.
    #[must_use]
    pub fn intent_against(&self, unit: &UnitName, worker: &Worker) -> Option<Refusal> {
        self.marker().or_else(|| self.pause(unit, worker)).or_else(|| self.registered(worker))
    }

    /// Why a target names no worker, as far as the target shows it.
    pub(crate) fn why_unknown(&self, target: &str) -> Option<String> {
        if let Some(unit) = self.selector.unit_of(target).filter(UnitName::is_template) {
            return Some(format!("that is a template, so name an instance of it, such as \"{}1\"", unit.short()));
        }
        let site = self.selector.site_of(&self.registry, target)?;
        let place = self.registry.mistake_in(site)?;
        Some(format!("the entry of the site {site} is skipped for the mistake at {place}"))
    }

    pub(crate) fn marker(&self) -> Option<Refusal> {
        self.stop_marker.then_some(Refusal::StopMarker)
    }

    pub(crate) fn pause(&self, unit: &UnitName, worker: &Worker) -> Option<Refusal> {
        self.pauses.over(unit, worker).map(Refusal::Paused)
    }

    pub(crate) fn registered(&self, worker: &Worker) -> Option<Refusal> {
        let site = self.registry.site(&worker.site)?;
        if site.paused {
            Some(Refusal::SitePaused(site.name.clone()))
        } else if site.is_worker_paused(&worker.name) {
            Some(Refusal::WorkerPaused(worker.clone()))
        } else if site.is_idle_suspended(&worker.name, worker.worktree.as_deref()) {
            Some(Refusal::IdleSuspended(worker.clone()))
        } else {
            None
        }
    }
}
