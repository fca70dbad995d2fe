//! What lists, signals and new files mean for all workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::incident::{Incident, Phase};
use super::locate::Unlocated;
use super::unit::Unit;
use super::{Action, Healer, Timestamp};
use crate::diagnosis::{Refusal, Trigger};
use crate::registry::Registry;
use crate::selector::Resolution;
use crate::units::{ActiveState, UnitName, UnitStatus};

/// When to inspect a unit that a list shows for the first time as starting or stopping: it may have been for long.
const FOUND_CHANGING_CHECK: Duration = Duration::from_secs(1);

impl Healer {
    pub(super) fn listed(&mut self, now: Timestamp, list: Vec<UnitStatus>) {
        let thawed = std::mem::take(&mut self.frozen);
        let mut listed = HashSet::with_capacity(list.len());
        for status in list {
            listed.insert(status.name.clone());
            self.note(now, status, false);
        }
        let gone: Vec<UnitName> = self.units.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            // One that was up went down unseen, and an inspection shows why.
            let was_up = self.units.get(&name).is_some_and(|unit| !unit.active.is_down());
            if was_up || self.incidents.contains_key(&name) {
                self.note(now, UnitStatus::gone(name.clone()), false);
                if let Some(unit) = self.units.get_mut(&name) {
                    unit.gone = true;
                }
            } else {
                self.units.remove(&name);
            }
        }
        if thawed {
            for unit in self.units.values_mut() {
                // It may have come up and gone down again in between.
                (unit.witnessed, unit.fresh) = (false, false);
            }
            self.forget_the_unlisted();
            self.obey_stops_of_starting();
            self.wake(now, |phase| match phase {
                // It may have been started and have gone down again meanwhile, with another unit.
                Phase::Held(Refusal::StateNotHealed(_)) => true,
                Phase::Held(refusal) => refusal.may_pass_with_a_reload(),
                // It may have been masked, disabled, enabled, or changed.
                phase => matches!(phase, Phase::Waiting { .. } | Phase::Off),
            });
            self.recheck_all();
        }
        self.follow_up(now);
    }

    /// A stop that ended while signals were ignored, and before our start of the same worker began.
    fn obey_stops_of_starting(&mut self) {
        let is_overtaken = |name: &UnitName, incident: &Incident| match self.units.get(name).map(|unit| unit.active) {
            Some(ActiveState::Inactive | ActiveState::Failed) => self.stop_was_signalled_since_the_inspection(name),
            // Had the other job been a start, it would be up by now, and ours would have ended.
            Some(ActiveState::Activating) => incident.job_done_while_frozen,
            _ => false,
        };
        let starting = self.incidents.iter().filter(|(_, incident)| incident.phase == Phase::Starting);
        let overtaken: Vec<UnitName> =
            starting.filter(|(name, incident)| is_overtaken(name, incident)).map(|(name, _)| name.clone()).collect();
        for name in overtaken {
            self.stop_overtaken(&name);
        }
    }

    /// Handles a list of those that are not up. Signals have reported the others, and a complete list will show what
    /// they did not. But a unit that is known to be down and is missing has come up or is gone, and its signal was
    /// lost: which of both it is decides, so the complete list is due at once.
    pub(super) fn listed_not_active(&mut self, now: Timestamp, list: Vec<UnitStatus>) {
        if self.frozen {
            // Only a complete list ends the uncertainty.
            self.actions.push(Action::ListAll);
            return;
        }
        let mut listed = HashSet::with_capacity(list.len());
        for status in list {
            listed.insert(status.name.clone());
            self.note(now, status, false);
        }
        let is_missing =
            |name: &UnitName, unit: &Unit| unit.active != ActiveState::Active && !unit.gone && !listed.contains(name);
        if self.units.iter().any(|(name, unit)| is_missing(name, unit)) {
            self.actions.push(Action::ListAll);
        }
        self.follow_up(now);
    }

    /// Follows up on a list, whatever it says.
    fn follow_up(&mut self, now: Timestamp) {
        if self.unlocated == Unlocated::Failed {
            self.unlocated = Unlocated::Some;
        }
        self.consider_all(now);
        self.recheck_some_given_up();
        self.probe_healthy();
    }

    pub(super) fn changed(&mut self, now: Timestamp, status: UnitStatus) {
        if self.frozen {
            // The list that ends the uncertainty includes it. But a job that ends while it is up is no stop of it.
            if let Some(unit) = self.units.get_mut(&status.name) {
                unit.up_while_frozen = !status.active.is_down();
            }
            return;
        }
        let (name, is_up) = (status.name.clone(), status.active.is_up());
        self.note(now, status, true);
        self.consider(now, &name);
        if is_up {
            self.wake_group(now, name.as_str());
        }
    }

    pub(super) fn sockets_failed(&mut self, now: Timestamp, failed: &[UnitName]) {
        for (name, unit) in &mut self.units {
            unit.socket_failed = failed.contains(name);
        }
        self.wake(now, |phase| matches!(phase, Phase::Off));
        self.consider_all(now);
    }

    /// Records a status, if the unit can be covered. `live`: it was signalled as it happened, not found in a list.
    fn note(&mut self, now: Timestamp, status: UnitStatus, live: bool) {
        if !self.context.selector.may_cover(&status.name) {
            return;
        }
        if let Some(unit) = self.units.get_mut(&status.name) {
            return unit.take_in(now, &status, live);
        }
        let resolution = self.context.selector.resolve(&self.context.registry, &status.name);
        let mut unit = Unit::new(now, &status, resolution);
        if !live {
            unit.checked_until = Some(now + FOUND_CHANGING_CHECK);
        }
        self.unlocated = Unlocated::Some;
        self.units.insert(status.name, Box::new(unit));
    }

    pub(super) fn registry_changed(&mut self, now: Timestamp, registry: Arc<Registry>) {
        let before = std::mem::replace(&mut self.context.registry, registry);
        self.resolve_all();
        // An edited registry entry is worth new attempts.
        let edited: Vec<UnitName> = self
            .incidents
            .iter()
            .filter(|(name, incident)| {
                incident.phase == Phase::GaveUp
                    && self
                        .worker(name)
                        .is_some_and(|worker| before.site(&worker.site) != self.context.registry.site(&worker.site))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in edited {
            self.begin(now, &name, None, Trigger::Automatic);
        }
        self.consider_all(now);
    }

    /// Resolves every unit again, and drops the incidents of units that are no longer covered.
    pub(super) fn resolve_all(&mut self) {
        for (name, unit) in &mut self.units {
            unit.resolution = self.context.selector.resolve(&self.context.registry, name);
            unit.located = false;
        }
        self.unlocated = Unlocated::Some;
        let uncovered: Vec<UnitName> = self
            .incidents
            .keys()
            .filter(|name| self.units.get(*name).is_none_or(|unit| unit.resolution == Resolution::NotAWorker))
            // What is under way is dismissed when it ends, so that it is not begun a second time.
            .filter(|name| {
                self.incidents.get(*name).is_some_and(|incident| !incident.phase.takes_a_slot() && !incident.restored)
            })
            .cloned()
            .collect();
        for name in uncovered {
            self.shelve(&name);
        }
    }

    pub(super) fn consider_all(&mut self, now: Timestamp) {
        let mut names: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(name, unit)| {
                unit.active == ActiveState::Failed
                    || self.suspicion(now, unit).is_some()
                    || self.incidents.contains_key(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        for name in names {
            self.consider(now, &name);
        }
    }
}
