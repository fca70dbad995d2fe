//! What is known about one unit, healthy or not, and what that means by itself.

use super::Timestamp;
use super::incident::Incident;
use crate::diagnosis::State;
use crate::rules::ClearedBy;
use crate::selector::Resolution;
use crate::units::{ActiveState, LoadState, UnitStatus};

/// What is known about one unit, healthy or not. Kept small, as there is one for each unit.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known, or not, by itself")]
pub(super) struct Unit {
    pub load: LoadState,
    pub active: ActiveState,
    pub has_job: bool,
    pub resolution: Resolution,
    /// A requested stop was seen under way since the unit was last up.
    pub stop_seen: bool,
    /// A job was seen while it went down: a requested stop, or the remainder of a start.
    pub stop_possible: bool,
    /// The end of the stop that takes it down, which may be meant for another unit, is still to come.
    pub stop_ends: bool,
    /// When another client's job was reported as successful while the unit was down.
    pub job_done: Option<Timestamp>,
    /// A start that waited was cancelled, and what replaces it has not ended yet.
    pub start_cancelled: bool,
    /// The job of [`job_done`](Self::job_done) was a stop that replaced such a start.
    pub stop_replaced_start: bool,
    /// It was signalled as not down while signals decide nothing, until the next list.
    pub up_while_frozen: bool,
    /// Its failure was cleared, and it has not come up or failed since.
    pub cleared: Option<ClearedBy>,
    /// Its start ended because a unit that it needs did not come up, and it has not run since.
    pub kept_from_starting: bool,
    /// The manager restarts it automatically, or has done so since it was last down for good.
    pub restarted_by_manager: bool,
    /// The pending job is a reload: its end says nothing about a stop.
    pub reloads: bool,
    /// It was seen up: a manager that knows of no run has forgotten it.
    pub was_up: bool,
    /// When it was seen to go down.
    pub went_down: Option<Timestamp>,
    /// When it was seen to begin starting or stopping.
    pub changing_since: Option<Timestamp>,
    /// Until then, a start or stop that is under way is within its limit and need not be inspected.
    pub checked_until: Option<Timestamp>,
    /// A socket that starts it has failed.
    pub socket_failed: bool,
    /// The unit was seen to go down, so that a requested stop would have been seen too.
    pub witnessed: bool,
    /// Its state has changed since our last start was requested.
    pub moved_since_start: bool,
    /// It has just gone down: nothing has been found out about that yet.
    pub fresh: bool,
    /// It waits for the manager to restart it.
    pub auto_restart: bool,
    /// How many automatic restarts were seen, minus those that an inspection has explained.
    pub restarts_seen: i16,
    /// When it was last seen to wait for an automatic restart, it had ended without an error.
    pub ends_cleanly: bool,
    /// Refusals of its health probe, in a row.
    pub refusals: u8,
    /// Its health probe is under way.
    pub probed: bool,
    /// Its location was requested.
    pub located: bool,
    /// Its directory is gone.
    pub directory_gone: bool,
    /// It is not loaded, as a complete list showed.
    pub gone: bool,
}

/// With more, the memory for thousands of workers grows noticeably.
const _: () = assert!(size_of::<Unit>() <= 136);

/// What the state of a unit means for healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitCondition {
    /// It works.
    Up,
    /// Something is wrong with it, and nothing is under way.
    Unhealthy,
    /// It is on its way up, or waits for an automatic restart.
    ComingUp,
    /// Something is under way whose end will show more.
    Settling,
    /// It is down without having failed.
    Down,
    /// The manager reported a state that this version does not know.
    Unknown,
}

impl Unit {
    pub fn new(now: Timestamp, status: &UnitStatus, resolution: Resolution) -> Self {
        let UnitStatus { load, active, has_job, auto_restart, .. } = *status;
        Self {
            load: load.unwrap_or(LoadState::Loaded),
            active,
            has_job,
            resolution,
            stop_seen: false,
            stop_possible: active == ActiveState::Deactivating && has_job,
            stop_ends: active == ActiveState::Deactivating && has_job,
            job_done: None,
            start_cancelled: false,
            stop_replaced_start: false,
            up_while_frozen: false,
            cleared: None,
            kept_from_starting: false,
            restarted_by_manager: auto_restart,
            reloads: active == ActiveState::Reloading && has_job,
            was_up: active.is_up(),
            went_down: None,
            changing_since: changes(active, auto_restart).then_some(now),
            checked_until: None,
            socket_failed: false,
            witnessed: false,
            moved_since_start: false,
            fresh: false,
            auto_restart,
            restarts_seen: i16::from(auto_restart),
            ends_cleanly: false,
            refusals: 0,
            probed: false,
            located: false,
            directory_gone: false,
            gone: false,
        }
    }

    /// Records its state. `live`: it was signalled as it happened, not found in a list.
    pub fn take_in(&mut self, now: Timestamp, status: &UnitStatus, live: bool) {
        let UnitStatus { load, active, has_job, auto_restart, .. } = *status;
        self.reloads = has_job && (self.reloads || active == ActiveState::Reloading);
        // A reload that ends the unit is no stop.
        let has_stop_job = has_job && !self.reloads;
        let ran = matches!(self.active, ActiveState::Activating | ActiveState::Deactivating) || self.active.is_up();
        if active.is_up() || active == ActiveState::Activating {
            // The job of a unit that is up may be a stop that waits.
            (self.stop_seen, self.stop_possible, self.job_done) = (false, active.is_up() && has_stop_job, None);
            (self.kept_from_starting, self.start_cancelled) = (false, false);
        } else if active == ActiveState::Deactivating && has_stop_job {
            // If the unit never came up, the job may also be the failed start.
            self.stop_seen |= self.active.is_up();
            (self.stop_possible, self.stop_ends) = (true, true);
        } else if self.active.is_up() && has_stop_job {
            // It died while that job waited. That the job then ends shows no more than that it was a stop.
            (self.stop_possible, self.stop_ends) = (true, true);
        } else if self.active == ActiveState::Activating && has_stop_job {
            // The same of one that was being started, whose start may also be what ends.
            self.stop_ends = true;
        }
        if has_stop_job && (self.auto_restart || auto_restart) && !active.is_up() {
            // A stop ends the wait for an automatic restart: its own, or that of a unit that it needs.
            self.stop_ends = true;
        }
        let is_down = matches!(active, ActiveState::Failed | ActiveState::Inactive);
        let is_over = is_down && (!live || !has_job);
        if active.is_up() || (active == ActiveState::Activating && !auto_restart) || is_over {
            // A stop ends when the unit is down, and its end is reported before any other change of the unit: it was
            // missed, or the job is a restart.
            self.stop_ends = false;
        }
        if active != self.active {
            self.moved_since_start = true;
            if !live {
                // Changes in between were missed, so earlier observations say nothing about it.
                (self.stop_seen, self.stop_possible) = (false, self.stop_possible || self.stop_seen);
                self.kept_from_starting = false;
            }
            self.fresh = live;
            self.witnessed = live && ran && (!self.stop_possible || self.stop_seen);
            let cleared_now = (self.active == ActiveState::Failed && !has_job).then_some(ClearedBy::Person);
            self.cleared = self.cleared.or(cleared_now).filter(|_| active == ActiveState::Inactive);
        }
        self.was_up |= active.is_up();
        if !is_down {
            self.went_down = None;
        } else if live && ran {
            self.went_down = Some(now);
        }
        if !changes(active, auto_restart) {
            self.changing_since = None;
        } else if active != self.active || self.changing_since.is_none() {
            (self.changing_since, self.checked_until) = (Some(now), None);
        }
        self.restarted_by_manager = auto_restart || (self.restarted_by_manager && !is_down);
        if !active.is_up() {
            self.refusals = 0;
        }
        self.restarts_seen = self.restarts_seen.saturating_add(i16::from(auto_restart));
        (self.gone, self.up_while_frozen) = (false, false);
        self.load = load.unwrap_or(self.load);
        self.active = active;
        self.has_job = has_job;
        self.auto_restart = auto_restart;
    }

    /// What the state of the unit means by itself.
    pub fn condition(&self) -> UnitCondition {
        match (self.active, self.has_job) {
            (ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing, _) => UnitCondition::Up,
            (ActiveState::Activating, _) => UnitCondition::ComingUp,
            (ActiveState::Deactivating, _)
            | (ActiveState::Failed | ActiveState::Inactive | ActiveState::Maintenance, true) => UnitCondition::Settling,
            (ActiveState::Failed, false) => UnitCondition::Unhealthy,
            (ActiveState::Inactive | ActiveState::Maintenance, false) => UnitCondition::Down,
            (ActiveState::Unknown, _) => UnitCondition::Unknown,
        }
    }

    /// What the state of the unit means, given the problem that it is being healed of.
    pub fn condition_of(&self, incident: Option<&Incident>) -> UnitCondition {
        let suspected = incident.filter(|incident| incident.phase.waits()).and_then(|incident| incident.suspected);
        match (self.condition(), suspected) {
            // A cleared failure is only a mark that is gone.
            (UnitCondition::Down, _) if self.cleared.is_some() && !self.stop_seen && incident.is_some() => {
                UnitCondition::Unhealthy
            }
            (UnitCondition::ComingUp | UnitCondition::Settling, Some(State::Stuck)) => UnitCondition::Unhealthy,
            (UnitCondition::Down, Some(State::ExpectedButStopped)) => UnitCondition::Unhealthy,
            (UnitCondition::Up | UnitCondition::Down, Some(State::Unreachable)) => UnitCondition::Unhealthy,
            (UnitCondition::Up | UnitCondition::ComingUp, Some(State::CrashLooping)) => UnitCondition::Unhealthy,
            // Regardless of what the manager does with it meanwhile.
            (
                UnitCondition::Up | UnitCondition::ComingUp | UnitCondition::Settling | UnitCondition::Down,
                Some(State::Orphaned),
            ) => UnitCondition::Unhealthy,
            (condition, _) => condition,
        }
    }
}

/// Whether the unit is coming up or going down, not counting the wait for an automatic restart.
fn changes(active: ActiveState, auto_restart: bool) -> bool {
    matches!(active, ActiveState::Activating | ActiveState::Deactivating) && !auto_restart
}
