//! What survives a restart of the daemon: the healer made into a value, and from one again.

use super::track::{Phase, Track};
use super::{Healer, Timestamp};
use crate::event::Phase as EventPhase;
use crate::memory::{Memory, Remembered, Standing};
use crate::rules::GivenUp;
use crate::units::UnitName;

impl Healer {
    /// Whether what has to survive a restart may have changed since it was last asked for.
    #[must_use]
    pub fn remembers_otherwise(&self) -> bool {
        self.remembers_otherwise
    }

    /// What has to survive a restart, if that may have changed since this was last asked.
    pub fn memory_if_changed(&mut self) -> Option<Memory> {
        std::mem::take(&mut self.remembers_otherwise).then(|| self.memory())
    }

    /// What has to survive a restart.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let memorable = self.tracks.iter().filter(|(_, track)| track.is_memorable());
        let workers = memorable.map(|(name, track)| (name.clone(), track.remembered())).collect();
        Memory { workers, pauses: self.pauses.clone() }
    }

    /// Takes up where an earlier daemon left off. To be called before the first list.
    pub fn restore(&mut self, memory: Memory) {
        self.pauses = memory.pauses;
        for (name, remembered) in memory.workers {
            self.tracks.insert(name, Track::of(remembered));
        }
    }

    /// Forgets what an earlier daemon knew of units that do not exist any more, or are not covered.
    pub(super) fn forget_the_unlisted(&mut self) {
        let before = self.tracks.len();
        self.tracks.retain(|name, track| !track.restored || self.units.contains_key(name));
        self.remembers_otherwise |= self.tracks.len() != before;
    }

    /// Leaves a worker alone that is covered no longer, but remembers it, should it be covered again.
    pub(super) fn shelve(&mut self, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        if track.is_public() {
            self.emit(name, EventPhase::Stopped, |event| "it is no longer covered".clone_into(&mut event.reason));
        }
        let Some(track) = self.tracks.get(name) else { return };
        let shelved = track.is_memorable().then(|| Self::on_the_shelf(track));
        self.leave(name);
        self.enter(name, Phase::Resting);
        match shelved {
            Some(shelved) => self.tracks.insert(name.clone(), shelved),
            None => self.tracks.remove(name),
        };
    }

    /// What is kept of a track: what a restart of the daemon would keep, but for what ends with being covered.
    fn on_the_shelf(track: &Track) -> Track {
        let mut remembered = track.remembered();
        match remembered.standing {
            Standing::Attempt => remembered.standing = Standing::Open,
            // To be covered again is a new entry in the registry, and worth a new series of attempts.
            Standing::GivenUp(_) => {
                (remembered.standing, remembered.attempts) = (Standing::Open, 0);
                remembered.not_before = Timestamp::default();
            }
            Standing::Open | Standing::Stopped { .. } => {}
        }
        Track::of(remembered)
    }

    /// Goes on with an attempt that an earlier daemon began.
    pub(super) fn take_up(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.restored = false;
        (track.attempt_open, track.attempt_under_way, track.started_at) = (false, true, now);
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + self.policy.stable_after));
    }
}

impl Track {
    fn remembered(&self) -> Remembered {
        let standing = match &self.phase {
            Phase::Stopped => Standing::Stopped { run: self.run.clone(), certain: self.stop_is_certain },
            Phase::GaveUp => Standing::GivenUp(self.given_up.clone().unwrap_or_else(|| GivenUp {
                reason: String::new(),
                definition: None,
                run: None,
            })),
            _ if self.attempt_under_way || self.attempt_open => Standing::Attempt,
            // It is looked at, or held: that does not end it.
            _ => self.given_up.clone().map_or(Standing::Open, Standing::GivenUp),
        };
        Remembered {
            attempts: self.attempts,
            not_before: self.not_before,
            standing,
            suspected: self.suspected,
            last_failure: self.last_failure.clone(),
            at_failure: self.file,
            taken_along: self.taken_along,
            stopped_after: self.stopped_after.clone(),
        }
    }

    fn of(remembered: Remembered) -> Self {
        let Remembered {
            attempts,
            not_before,
            standing,
            suspected,
            last_failure,
            at_failure,
            taken_along,
            stopped_after,
        } = remembered;
        let mut track = Self::new(not_before);
        track.suspected = suspected;
        (track.attempts, track.last_failure, track.file, track.taken_along) =
            (attempts, last_failure, at_failure, taken_along);
        track.stopped_after = stopped_after;
        track.restored = true;
        match standing {
            Standing::Open => {}
            Standing::Attempt => track.attempt_open = true,
            Standing::GivenUp(given_up) => {
                track.phase = Phase::GaveUp;
                // Loudly, so its end is worth a word too.
                track.announced = true;
                track.run.clone_from(&given_up.run);
                track.given_up = Some(given_up);
            }
            Standing::Stopped { run, certain } => {
                track.phase = Phase::Stopped;
                (track.run, track.stop_is_certain) = (run, certain);
            }
        }
        track
    }
}
