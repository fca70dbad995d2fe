//! What survives a restart of the daemon: the healer made into a value, and from one again.

use super::incident::{Incident, Phase};
use super::{Healer, Timestamp};
use crate::event::Phase as EventPhase;
use crate::rules::GivenUp;
use crate::saved_state::{SavedPhase, SavedState, SavedWorker};
use crate::units::UnitName;

impl Healer {
    /// Whether what has to survive a restart may have changed since it was last asked for.
    #[must_use]
    pub fn saved_state_changed(&self) -> bool {
        self.saved_state_changed
    }

    /// What has to survive a restart, if that may have changed since this was last asked.
    pub fn saved_state_if_changed(&mut self) -> Option<SavedState> {
        std::mem::take(&mut self.saved_state_changed).then(|| self.saved_state())
    }

    /// What has to survive a restart.
    #[must_use]
    pub fn saved_state(&self) -> SavedState {
        let memorable = self.incidents.iter().filter(|(_, incident)| incident.is_worth_saving());
        let workers = memorable.map(|(name, incident)| (name.clone(), incident.to_saved())).collect();
        SavedState { workers, pauses: self.pauses.clone() }
    }

    /// Takes up where an earlier daemon left off. To be called before the first list.
    pub fn restore(&mut self, saved_state: SavedState) {
        self.pauses = saved_state.pauses;
        for (name, saved) in saved_state.workers {
            self.incidents.insert(name, Incident::from_saved(saved));
        }
    }

    /// Forgets what an earlier daemon knew of units that do not exist any more, or are not covered.
    pub(super) fn forget_the_unlisted(&mut self) {
        let before = self.incidents.len();
        self.incidents.retain(|name, incident| !incident.restored || self.units.contains_key(name));
        self.saved_state_changed |= self.incidents.len() != before;
    }

    /// Leaves a worker alone that is covered no longer, but remembers it, should it be covered again.
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

    /// What is kept of a track: what a restart of the daemon would keep, but for what ends with being covered.
    fn to_shelved(incident: &Incident) -> Incident {
        let mut saved = incident.to_saved();
        match saved.phase {
            SavedPhase::Attempt => saved.phase = SavedPhase::Open,
            // To be covered again is a new entry in the registry, and worth a new series of attempts.
            SavedPhase::GivenUp(_) => {
                (saved.phase, saved.attempts) = (SavedPhase::Open, 0);
                saved.not_before = Timestamp::default();
            }
            SavedPhase::Open | SavedPhase::Stopped { .. } => {}
        }
        Incident::from_saved(saved)
    }

    /// Goes on with an attempt that an earlier daemon began.
    pub(super) fn resume_attempt(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.restored = false;
        (incident.attempt_open, incident.attempt_under_way, incident.started_at) = (false, true, now);
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + self.policy.stable_after));
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
            // It is looked at, or held: that does not end it.
            _ => self.given_up.clone().map_or(SavedPhase::Open, SavedPhase::GivenUp),
        };
        SavedWorker {
            attempts: self.attempts,
            not_before: self.not_before,
            phase,
            suspected: self.suspected,
            last_failure: self.last_failure.clone(),
            at_failure: self.file,
            taken_along: self.taken_along,
        }
    }

    fn from_saved(saved: SavedWorker) -> Self {
        let SavedWorker { attempts, not_before, phase, suspected, last_failure, at_failure, taken_along } = saved;
        let mut incident = Self::new(not_before);
        incident.suspected = suspected;
        (incident.attempts, incident.last_failure, incident.file, incident.taken_along) =
            (attempts, last_failure, at_failure, taken_along);
        incident.restored = true;
        match phase {
            SavedPhase::Open => {}
            SavedPhase::Attempt => incident.attempt_open = true,
            SavedPhase::GivenUp(given_up) => {
                incident.phase = Phase::GaveUp;
                // Loudly, so its end is worth a word too.
                incident.announced = true;
                incident.run.clone_from(&given_up.run);
                incident.given_up = Some(given_up);
            }
            SavedPhase::Stopped { run, certain } => {
                incident.phase = Phase::Stopped;
                (incident.run, incident.stop_is_certain) = (run, certain);
            }
        }
        incident
    }
}
