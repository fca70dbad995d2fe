//! What a person requests: to heal a worker now, and to end a pause.

use super::incident::Phase;
use super::unit::UnitCondition;
use super::{Healer, Timestamp};
use crate::diagnosis::{State, Trigger};
use crate::pauses::Target;
use crate::units::UnitName;

impl Healer {
    /// A person requests to heal the unit now. Earlier attempts do not count.
    pub(super) fn heal_on_request(&mut self, now: Timestamp, name: &UnitName) {
        match self.incidents.get(name).map(|incident| &incident.phase) {
            Some(Phase::Starting | Phase::Proving | Phase::Verifying) => self.heal_is_under_way(name),
            Some(
                Phase::Due
                | Phase::Inspecting
                | Phase::Waiting { .. }
                | Phase::Held(_)
                | Phase::Cancelled
                | Phase::Stopped
                | Phase::Off
                | Phase::GaveUp
                | Phase::Resting,
            )
            | None => {
                let refuses = self.incidents.get(name).and_then(|incident| incident.refuses.clone());
                let socket_failed = self.units.get(name).is_some_and(|unit| unit.socket_failed);
                let suspected = match self.units.get(name).map(|unit| unit.condition()) {
                    Some(_) if self.units.get(name).is_some_and(|unit| unit.directory_gone) => Some(State::Orphaned),
                    Some(UnitCondition::Up | UnitCondition::Down) if socket_failed => Some(State::Unreachable),
                    Some(UnitCondition::Up) if refuses.is_some() => Some(State::Unreachable),
                    Some(UnitCondition::Down) => Some(State::ExpectedButStopped),
                    _ => None,
                };
                if let Some(unit) = self.units.get_mut(name) {
                    // This request is newer.
                    (unit.stop_seen, unit.job_done) = (false, None);
                }
                self.begin(now, name, suspected, Trigger::Request);
                if let Some(incident) = self.incidents.get_mut(name) {
                    // A disable counts only if it comes after this.
                    (incident.refuses, incident.file, incident.stopped_after) = (refuses, None, None);
                }
            }
        }
    }

    /// A person requests a heal, and the worker is coming up already: they are informed of the result, and if it does
    /// not come up, it is tried again.
    fn heal_is_under_way(&mut self, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.awaited = true;
        if incident.given_up.take().is_some() {
            incident.forget_attempts();
        }
    }

    /// A person ends pauses, and wants workers that were given up to be tried again.
    pub(super) fn resumed(&mut self, now: Timestamp, targets: &[Target]) {
        self.saved_state_changed = true;
        for target in targets {
            self.context.pauses.resume(target);
            let given_up = self.incidents.iter().filter(|(name, incident)| {
                incident.phase == Phase::GaveUp
                    && match self.worker(name) {
                        Some(worker) => target.includes(name, worker),
                        None => *target == Target::Everything,
                    }
            });
            for name in given_up.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.begin(now, &name, None, Trigger::Automatic);
            }
        }
        self.consider_all(now);
    }
}
