//! What is known of one unit, healthy or not, and what that means by itself.

use super::Timestamp;
use super::track::Track;
use crate::core::coverage::Resolution;
use crate::core::diagnosis::State;
use crate::core::units::{ActiveState, LoadState, UnitStatus};

/// What is known of one unit, healthy or not. Small, for there is one of these for each.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known, or not, by itself")]
pub(super) struct Unit {
    pub load: LoadState,
    pub active: ActiveState,
    pub has_job: bool,
    pub resolution: Resolution,
    /// A stop on request was seen under way since the unit was last up.
    pub stop_seen: bool,
    /// A job was seen while it went down: a stop on request, or what is left of a start.
    pub stop_possible: bool,
    /// The end of the stop that takes it down, whoever that is meant for, is yet to be told.
    pub stop_ends: bool,
    /// When a job of somebody else's was told to have succeeded, while it was down.
    pub job_done: Option<Timestamp>,
    /// We cleared its failure, and it has not been seen to rise or fail since: if it is down, that is
    /// by our doing, and it is as ill as before.
    pub cleared_by_us: bool,
    /// The unit was seen to go down, so that a requested stop would have been seen too.
    pub witnessed: bool,
    /// It has only just gone down: nothing has been found out about that yet.
    pub fresh: bool,
    /// It waits for the manager to restart it.
    pub auto_restart: bool,
    /// How often it was seen to do that, less what a look has explained.
    pub restarts_seen: i16,
    /// Refusals of its health probe, in a row.
    pub refusals: u8,
    /// Its health probe is under way.
    pub probed: bool,
    /// It was asked where it works.
    pub located: bool,
    /// The directory that it works in is gone.
    pub directory_gone: bool,
}

/// What the state of a unit means for healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It works.
    Up,
    /// Something is wrong with it, and nothing is under way.
    Ill,
    /// It is on its way up, or waits for an automatic restart.
    Rising,
    /// Something is under way whose end will say more.
    Settling,
    /// It is down, and not by failing.
    Down,
    /// The manager said something that this version does not know.
    Unknown,
}

impl Unit {
    pub fn new(status: &UnitStatus, resolution: Resolution) -> Self {
        let UnitStatus { load, active, has_job, auto_restart, .. } = *status;
        Self {
            load: load.unwrap_or(LoadState::Loaded),
            active,
            has_job,
            resolution,
            stop_seen: false,
            stop_possible: active == ActiveState::Deactivating && has_job,
            stop_ends: false,
            job_done: None,
            cleared_by_us: false,
            witnessed: false,
            fresh: false,
            auto_restart,
            restarts_seen: i16::from(auto_restart),
            refusals: 0,
            probed: false,
            located: false,
            directory_gone: false,
        }
    }

    /// Takes in its state. `live`: it was signalled as it happened, not found in a list.
    pub fn take_in(&mut self, status: &UnitStatus, live: bool) {
        let UnitStatus { load, active, has_job, auto_restart, .. } = *status;
        let ran = matches!(self.active, ActiveState::Activating | ActiveState::Deactivating) || self.active.is_up();
        if active.is_up() || active == ActiveState::Activating {
            // A job of one that is up may be a stop that waits for its turn.
            (self.stop_seen, self.stop_possible, self.job_done) = (false, active.is_up() && has_job, None);
        } else if active == ActiveState::Deactivating && has_job {
            // Of one that never came up, the job may also be the start that has failed.
            self.stop_seen |= self.active.is_up();
            self.stop_ends |= self.active.is_up();
            self.stop_possible = true;
        } else if self.active.is_up() && has_job {
            // It died while that job waited for its turn.
            self.stop_possible = true;
        }
        let is_down = matches!(active, ActiveState::Failed | ActiveState::Inactive);
        let is_over = is_down && (!live || (!has_job && active == self.active));
        if active.is_up() || active == ActiveState::Activating || is_over {
            // A stop ends with the unit's being down, and that is told before anything else is shown of the unit:
            // it was missed, or that job is a restart.
            self.stop_ends = false;
        }
        if active != self.active {
            if !live {
                // What came between was missed, so what was seen before says nothing of it.
                (self.stop_seen, self.stop_possible) = (false, self.stop_possible || self.stop_seen);
            }
            self.fresh = live;
            self.witnessed = live && ran && (!self.stop_possible || self.stop_seen);
            self.cleared_by_us &= active == ActiveState::Inactive;
        }
        if !active.is_up() {
            self.refusals = 0;
        }
        self.restarts_seen = self.restarts_seen.saturating_add(i16::from(auto_restart));
        self.load = load.unwrap_or(self.load);
        self.active = active;
        self.has_job = has_job;
        self.auto_restart = auto_restart;
    }

    /// What the state of the unit means by itself.
    pub fn standing(&self) -> Standing {
        match (self.active, self.has_job) {
            (ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing, _) => Standing::Up,
            (ActiveState::Activating, _) => Standing::Rising,
            (ActiveState::Deactivating, _)
            | (ActiveState::Failed | ActiveState::Inactive | ActiveState::Maintenance, true) => Standing::Settling,
            (ActiveState::Failed, false) => Standing::Ill,
            (ActiveState::Inactive | ActiveState::Maintenance, false) => Standing::Down,
            (ActiveState::Unknown, _) => Standing::Unknown,
        }
    }

    /// What the state of the unit means, given what it is being healed of.
    pub fn standing_of(&self, track: Option<&Track>) -> Standing {
        let suspected = track.filter(|track| track.phase.waits()).and_then(|track| track.suspected);
        match (self.standing(), suspected) {
            // Only the first half of our start has happened.
            (Standing::Down, _) if self.cleared_by_us && !self.stop_seen => Standing::Ill,
            (Standing::Down, Some(State::ExpectedButStopped)) => Standing::Ill,
            (Standing::Up, Some(State::Unreachable)) => Standing::Ill,
            (Standing::Up | Standing::Rising, Some(State::CrashLooping)) => Standing::Ill,
            // Whatever the manager does with it meanwhile.
            (Standing::Up | Standing::Rising | Standing::Settling | Standing::Down, Some(State::Orphaned)) => {
                Standing::Ill
            }
            (standing, _) => standing,
        }
    }
}
