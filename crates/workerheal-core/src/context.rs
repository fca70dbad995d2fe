//! The settings shared by all workers.

use std::sync::Arc;

use super::diagnosis::Refusal;
use super::pauses::Pauses;
use super::policy::Policy;
use super::registry::Registry;
use super::saved_state::SavedState;
use super::selector::{Selector, Worker};
use super::units::UnitName;

/// The settings shared by all workers: which units are workers, how they are healed, and what is paused.
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
    /// The daemon's saved state, as of when it was read.
    pub saved_state: SavedState,
}

impl Context {
    /// Borrows the settings for a decision.
    #[must_use]
    pub fn view(&self) -> ContextRef<'_> {
        let Self { policy, registry, stop_marker, saved_state, .. } = self;
        ContextRef { policy, registry, stop_marker: *stop_marker, pauses: &saved_state.pauses }
    }
}

/// The settings shared by all workers, borrowed for a decision.
#[derive(Debug, Clone, Copy)]
pub struct ContextRef<'a> {
    /// How workers are healed.
    pub policy: &'a Policy,
    /// What Lerd says of the sites.
    pub registry: &'a Registry,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
    /// Pauses that were requested with a command.
    pub pauses: &'a Pauses,
}

impl ContextRef<'_> {
    /// The pause, stop marker or registry entry that rules out healing the worker, if any.
    #[must_use]
    pub fn intent_against(&self, unit: &UnitName, worker: &Worker) -> Option<Refusal> {
        self.marker().or_else(|| self.pause(unit, worker)).or_else(|| self.registered(worker))
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
