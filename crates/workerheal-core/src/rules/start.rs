//! How to start a worker so that no other unit changes.

use std::time::Duration;

use super::Case;
use crate::units::{ActiveState, Deactivation, Parent, UnitName};

/// A start in which the worker's unit is the only one that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The worker's unit.
    pub unit: UnitName,
    /// Whether it is up, and has to be stopped first.
    pub restart: bool,
    /// Whether to ignore what it requires, wants or conflicts with (job mode `ignore-requirements`), where a plain
    /// start would start, run again or stop another unit. Otherwise a plain start (job mode `fail`) is better, as it
    /// never replaces another job.
    pub alone: bool,
    /// Units to start before it: failed triggers, and units that the manager stopped because they were not needed.
    pub first: Vec<String>,
    /// Whether to clear its failure if the manager's start limit refuses the start.
    pub clearable: bool,
}

impl Case<'_> {
    /// How to start or restart it so that no other unit changes.
    #[must_use]
    pub fn start(&self) -> Start {
        let seen = self.seen;
        let cannot_come_along = |parent: &Parent| parent.cannot_be_started() || parent.finished;
        let without_parents = seen.parents.iter().any(cannot_come_along);
        let unneeded = seen.parents.iter().filter(|parent| !parent.is_up() && self.brings_back(parent));
        let unneeded = unneeded.map(|parent| parent.name.clone());
        Start {
            unit: self.unit.clone(),
            restart: seen.active.is_up(),
            // A conflicting unit may come up between the inspection and the start.
            alone: without_parents || !seen.pulls_in.is_empty() || seen.has_conflicts,
            first: seen.failed_triggers().map(str::to_owned).chain(unneeded).collect(),
            clearable: seen.clearable,
        }
    }

    /// Units that it needs, that are down or about to be, and that its start would not or should not bring back.
    pub fn down_parents(&self) -> impl Iterator<Item = &Parent> {
        self.seen.parents.iter().filter(|parent| {
            let comes_along = self.brings_back(parent) || self.history.needs_it_too == Some(parent.name.as_str());
            let is_needed = !parent.is_optional || self.was_taken_along();
            !parent.is_up() && !parent.finished && !comes_along && is_needed
        })
    }

    /// Whether the manager stopped that unit only because this worker was down. (If a person had stopped the unit, the
    /// worker would have been stopped with it.)
    pub(super) fn brings_back(&self, parent: &Parent) -> bool {
        let after = |(left, deactivation): (Duration, Deactivation)| left >= deactivation.left;
        parent.stops_when_unneeded
            && !parent.is_optional
            && !parent.stopping
            && parent.active == ActiveState::Inactive
            && !self.stop_requested()
            && parent.left.zip(self.seen.deactivation).is_some_and(after)
    }
}
