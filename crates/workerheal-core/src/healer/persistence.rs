//! What survives a restart of the daemon: the healer as a saved state, and back.

use std::collections::BTreeMap;

use super::incident::{Incident, Phase};
use super::{Healer, Timestamp};
use crate::event::Phase as EventPhase;
use crate::rules::GivenUp;
use crate::saved_state::{SavedPhase, SavedState, SavedWorker};
use crate::units::UnitName;

impl Healer {
    /// Whether the state to be saved may have changed since it was last taken.
    #[must_use]
    pub fn saved_state_changed(&self) -> bool {
        self.saved_state_changed
    }

    /// The state to save, if it may have changed since this was last called.
    pub fn saved_state_if_changed(&mut self) -> Option<SavedState> {
        std::mem::take(&mut self.saved_state_changed).then(|| self.saved_state())
    }

    /// The state to save.
    #[must_use]
    pub fn saved_state(&self) -> SavedState {
        let memorable = self.incidents.iter().filter(|(_, incident)| incident.is_worth_saving());
        let workers = memorable.map(|(name, incident)| (name.clone(), incident.to_saved())).collect();
        SavedState { workers, pauses: self.context.pauses.clone() }
    }

    /// Restores the state of an earlier daemon. To be called before the first list.
    pub fn restore(&mut self, saved_state: SavedState) {
        self.context.pauses = saved_state.pauses;
        self.restore_workers(saved_state.workers);
    }

    /// Restores the workers' histories, but not the pauses.
    pub fn restore_workers(&mut self, workers: BTreeMap<UnitName, SavedWorker>) {
        for (name, saved) in workers {
            self.incidents.insert(name, Incident::from_saved(saved));
        }
    }

    /// Drops the restored state of units that no longer exist or are not covered.
    pub(super) fn forget_the_unlisted(&mut self) {
        let before = self.incidents.len();
        self.incidents.retain(|name, incident| !incident.restored || self.units.contains_key(name));
        self.saved_state_changed |= self.incidents.len() != before;
    }

    /// Leaves a worker alone that is no longer covered, but keeps its history in case it is covered again.
    pub(super) fn shelve(&mut self, name: &UnitName) {
        let Some(incident) = self.incidents.get(name) else { return };
        if incident.is_public() {
            self.emit(name, EventPhase::Stopped, |event| "it is no longer covered".clone_into(&mut event.reason));
        }
        let Some(incident) = self.incidents.get(name) else { return };
        let shelved = incident.is_worth_saving().then(|| Self::to_shelved(incident));
        self.leave(name);
        self.enter(name, Phase::Resting);
        match shelved {
            Some(shelved) => self.incidents.insert(name.clone(), shelved),
            None => self.incidents.remove(name),
        };
    }

    /// What is kept of an incident: what a restart of the daemon would keep, except what ends with the coverage.
    fn to_shelved(incident: &Incident) -> Incident {
        let mut saved = incident.to_saved();
        match saved.phase {
            SavedPhase::Attempt => saved.phase = SavedPhase::Open,
            // Being covered again means a new entry in the registry, which is worth a new series of attempts.
            SavedPhase::GivenUp(_) => {
                (saved.phase, saved.attempts) = (SavedPhase::Open, 0);
                saved.not_before = Timestamp::default();
            }
            SavedPhase::Open | SavedPhase::Stopped { .. } => {}
        }
        let shelved = Incident::from_saved(saved);
        // A run since then is a start by hand, which is newer than a disable.
        Incident { run: incident.run.clone().or(shelved.run), ..shelved }
    }

    /// Continues an attempt that an earlier daemon began.
    pub(super) fn resume_attempt(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.restored = false;
        (incident.attempt_open, incident.attempt_under_way, incident.started_at) = (false, true, now);
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + self.context.policy.stable_after));
    }
}

impl Incident {
    fn to_saved(&self) -> SavedWorker {
        let phase = match &self.phase {
            Phase::Stopped => SavedPhase::Stopped { run: self.run.clone(), certain: self.stop_is_certain },
            Phase::GaveUp => SavedPhase::GivenUp(self.given_up.clone().unwrap_or_else(|| GivenUp {
                reason: String::new(),
                definition: None,
                run: None,
            })),
            _ if self.attempt_under_way || self.attempt_open => SavedPhase::Attempt,
            // An inspection or a hold does not end a give-up.
            _ => self.given_up.clone().map_or(SavedPhase::Open, SavedPhase::GivenUp),
        };
        SavedWorker {
            attempts: self.attempts,
            not_before: self.not_before,
            phase,
            suspected: self.suspected,
            last_failure: self.last_failure.clone(),
            came_up: self.came_up,
            at_failure: self.file,
            taken_along: self.taken_along,
            stopped_after: self.stopped_after.clone(),
        }
    }

    fn from_saved(saved: SavedWorker) -> Self {
        let SavedWorker {
            attempts,
            not_before,
            phase,
            suspected,
            last_failure,
            came_up,
            at_failure,
            taken_along,
            stopped_after,
        } = saved;
        let mut incident = Self::new(not_before);
        incident.suspected = suspected;
        (incident.attempts, incident.last_failure, incident.file, incident.taken_along) =
            (attempts, last_failure, at_failure, taken_along);
        (incident.stopped_after, incident.came_up) = (stopped_after, came_up);
        incident.restored = true;
        match phase {
            SavedPhase::Open => {}
            SavedPhase::Attempt => incident.attempt_open = true,
            SavedPhase::GivenUp(given_up) => {
                incident.phase = Phase::GaveUp;
                // The give-up was reported, so its end is reported too.
                incident.announced = true;
                incident.run.clone_from(&given_up.run);
                incident.given_up = Some(given_up);
            }
            SavedPhase::Stopped { run, certain } => {
                incident.phase = Phase::Stopped;
                // The stop may have been reported before its run was requested.
                (incident.run, incident.stop_is_certain) = (run.or(incident.stopped_after.clone()), certain);
            }
        }
        incident
    }
}
