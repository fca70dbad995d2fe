//! The truth about each unit, which the laws judge by.

use std::time::Duration;

use workerheal_core::units::Deactivation;

use super::inspection::transition;
use super::{Manager, is_need};
use crate::laws::Seen;
use crate::model::{ActiveState, Bond, JobId, JobKind, LoadState, Restart, Type, Unit, UnitId};
use crate::scenario::{SECOND, UNITS};

/// The truth about one unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Truth {
    pub(super) up: bool,
    pub(super) up_since: Duration,
    /// Duration of the last run.
    pub(super) last_uptime: Duration,
    /// The longest run that has ended and was not consumed yet.
    pub(super) longest_uptime: Duration,
    /// When a person last stopped it.
    pub(super) last_stop: Option<Duration>,
    /// When it went down.
    pub(super) down: Option<Duration>,
    /// A person stopped it, and it has not been started since.
    pub(super) stopped: bool,
    /// The healer can know that, from the journal or from the end of the stop.
    pub(super) stop_can_be_known: bool,
    /// When the end of a stop was reported that nothing else shows.
    pub(super) stop_reported_at: Option<Duration>,
    /// A person cleared its failure, and it has not been started since.
    pub(super) cleared: bool,
    /// The end of a start was reported while signals were lost or reordered, and looks like the end of a stop.
    pub(super) looks_stopped: bool,
    /// A heal was requested since it went down.
    pub(super) wanted: bool,
    /// It was disabled since it last began to come up.
    pub(super) disabled: bool,
    /// It was disabled after it went down and after its file had been read.
    pub(super) disabled_while_down: bool,
    pub(super) file_seen: bool,
    /// A start by the healer is under way; its job.
    pub(super) asked: bool,
    pub(super) job: Option<JobId>,
    /// The manager restarts it, or has done so since it was last down for good.
    pub(super) by_manager: bool,
    /// A person's start of it ended because a unit that it requires did not come up.
    pub(super) kept: bool,
    pub(super) directory_gone: bool,
    /// A unit that it requires took it down, as the healer could see.
    pub(super) taken_along: bool,
    /// The healer could see that.
    pub(super) kept_seen: bool,
    /// A unit that it conflicts with displaced it while it was enabled, as the healer has seen.
    pub(super) displaced: bool,
    /// A person cleared its failure while it was enabled, and the healer could see that.
    pub(super) reset: bool,
    /// It was stopped with a group that it is part of.
    pub(super) with_group: bool,
    /// When a person stopped it during a start by the healer.
    pub(super) obey: Option<Duration>,
    /// It waits for an automatic restart.
    pub(super) waits: bool,
    /// It is being started, or being stopped without having come up.
    pub(super) starts: bool,
}

impl Manager {
    pub(super) fn changed(
        &mut self,
        unit: UnitId,
        active: ActiveState,
        job: Option<JobId>,
        auto_restart: bool,
        is_watched: bool,
        now: Duration,
    ) {
        if let Some(starting) = &mut self.starting[unit.0] {
            starting.began |= !active.is_down();
        }
        // A stop with its parent also ends a start, and the wait for an automatic restart.
        let Truth { up, waits, starts, last_stop, obey, .. } = self.truth[unit.0];
        // At that instant a person may have stopped it, too.
        let ran = up || (waits && active == ActiveState::Inactive && last_stop != Some(now));
        let loses_parent = ran && !active.is_up() && self.needs(unit.0).any(|it| self.goes_down(it));
        // When the stop of such a start began is not known, only when it ended.
        let is_free = obey.is_none() && last_stop <= self.model.unit(unit).active_exit();
        let was_cancelled = starts && active.is_down() && job.is_some() && is_free;
        let loses_parent = loses_parent || (was_cancelled && self.needs(unit.0).any(|it| self.has_just_gone(it)));
        if active == ActiveState::Active && !self.truth[unit.0].up {
            // The group is up again: for a member that was down before, only that can be seen.
            for member in 0..UNITS {
                let is_part = self.specs[member].parents.iter().any(|it| it.bond == Bond::PartOf && it.parent == unit);
                if is_part && self.truth[member].with_group {
                    (self.truth[member].stop_can_be_known, self.truth[member].obey) = (false, None);
                }
            }
        }
        let is_refused = active == ActiveState::Failed
            && self.model.unit(unit).result() == crate::model::ServiceResult::StartLimitHit
            && self.model.unit(unit).state_change() == now
            && !(0..UNITS).any(|it| self.triggers(it, unit.0));
        let truth = &mut self.truth[unit.0];
        truth.taken_along |= loses_parent && !truth.stopped && is_watched;
        if truth.up && active == ActiveState::Failed && (!is_watched || self.is_slow) {
            // It died before the stop began, so only the signals of that job show the stop.
            truth.stop_can_be_known = false;
        }
        if truth.up && !active.is_up() {
            truth.last_uptime = now - truth.up_since;
            truth.longest_uptime = truth.longest_uptime.max(truth.last_uptime);
        }
        truth.up &= active.is_up();
        truth.waits = auto_restart;
        truth.starts = match active {
            ActiveState::Activating => !auto_restart,
            ActiveState::Deactivating => truth.starts,
            _ => false,
        };
        match active {
            // Or it got a job and is up as before, or lost its job without being stopped.
            ActiveState::Reloading => {}
            ActiveState::Active if truth.up => truth.stopped &= job.is_some(),
            ActiveState::Active => {
                *truth = Truth {
                    up: true,
                    up_since: now,
                    longest_uptime: truth.longest_uptime,
                    last_stop: truth.last_stop,
                    disabled: truth.disabled && truth.down.is_none(),
                    asked: truth.asked,
                    job: truth.job,
                    obey: truth.obey.filter(|_| truth.asked || truth.by_manager),
                    by_manager: truth.by_manager,
                    directory_gone: truth.directory_gone,
                    ..Truth::default()
                };
            }
            ActiveState::Inactive | ActiveState::Failed => {
                // A refused start shows that it should be up, and supersedes the stop before it.
                truth.stopped &= !is_refused || truth.asked;
                truth.down.get_or_insert(now);
                truth.by_manager = false;
            }
            // It is started, perhaps as a dependency: that is newer.
            ActiveState::Activating => {
                (truth.down, truth.stopped, truth.cleared, truth.kept) = (None, false, false, false);
                truth.obey = truth.obey.filter(|_| truth.asked);
                (truth.taken_along, truth.kept_seen, truth.reset) = (false, false, false);
                truth.displaced = false;
                truth.by_manager |= auto_restart;
                (truth.disabled, truth.disabled_while_down, truth.file_seen) = (false, false, false);
            }
            ActiveState::Deactivating => truth.down = None,
        }
    }

    /// A unit goes down. It cannot be known whether the stop was meant for a child that is stopped at the same time.
    pub(super) fn takes_along(&mut self, parent: UnitId, active: ActiveState, now: Duration) {
        if active.is_up() {
            return;
        }
        for index in 0..UNITS {
            if self.truth[index].down.is_none_or(|down| now <= down + SECOND)
                && self.needs(index).any(|it| it == parent)
            {
                (self.truth[index].stop_can_be_known, self.truth[index].obey) = (false, None);
            }
        }
    }

    /// The truth at the moment of an inspection that decides about a start.
    pub fn seen(&mut self, index: usize) -> Seen {
        self.inspected_at[index] = self.model.now();
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active().is_up();
        Seen {
            // A group that is up again shows nothing.
            stopped_by_person: truth.stopped
                && truth.stop_can_be_known
                && !(truth.with_group && self.stopped_groups(unit).is_empty()),
            masked: unit.load() == LoadState::Masked,
            disabled_while_down: truth.disabled_while_down,
            foreign_job: unit.job().is_some(),
            parent_down: unit.spec().parents.iter().filter(|it| is_need(it.bond)).any(|it| {
                let parent = self.model.unit(it.parent);
                let is_left = parent.spec().stop_when_unneeded && parent.active() == ActiveState::Inactive;
                let is_done = parent.spec().ends_done() && parent.active() == ActiveState::Inactive;
                !up(it.parent) && !is_left && !is_done
            }),
            partner_up: self.partners(index).any(|it| self.model.unit(it).active().is_up()),
            left_to_others: self.is_left_to_others(index),
            socket_failed: (0..UNITS)
                .any(|it| self.triggers(it, index) && self.model.unit(UnitId(it)).active() == ActiveState::Failed),
            directory_gone: truth.directory_gone,
            // A person may start a unit that is stuck.
            down: unit.active().is_down() || truth.wanted,
        }
    }

    /// The healer learns that the unit was enabled after this deactivation.
    pub fn file_was_seen(&mut self, index: usize, deactivation: Option<Deactivation>) {
        let truth = &mut self.truth[index];
        truth.file_seen |= truth.down.is_some() && deactivation.map(|deactivation| deactivation.down) == truth.down;
    }

    /// A late signal looks like a start by a person, which supersedes an earlier disable.
    pub fn looks_started(&mut self, index: usize) {
        let truth = &mut self.truth[index];
        (truth.file_seen, truth.disabled_while_down) = (false, false);
    }

    /// Whether its author excluded it from restarts after a failure.
    fn is_left_to_others(&self, index: usize) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let is_triggered = (0..UNITS).any(|it| self.triggers(it, index));
        let oneshot = unit.spec().kind == Type::Oneshot && (is_triggered || unit.spec().restart == Restart::No);
        let prevented = unit.is_restart_prevented();
        unit.active() == ActiveState::Failed && (oneshot || prevented) && !truth.wanted
    }

    /// The longest of its uptimes that have ended since the last call.
    pub fn take_longest_uptime(&mut self, index: usize) -> Duration {
        std::mem::take(&mut self.truth[index].longest_uptime)
    }

    /// Whether it has been up for this long without interruption, or had been when it went down.
    pub fn has_been_up_for(&self, index: usize, time: Duration) -> bool {
        let truth = &self.truth[index];
        let uptime = if truth.up { self.model.now() - truth.up_since } else { truth.last_uptime };
        // A report may be a moment late.
        uptime + SECOND >= time
    }

    pub fn forget_stops(&mut self) {
        self.truth.iter_mut().for_each(|truth| truth.obey = None);
    }

    /// Whether a person stopped it while the healer's start was under way, so long ago that it has to be down again.
    pub fn ignores_stop(&self, index: usize, tolerance: Duration) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        truth.obey.is_some_and(|since| self.model.now() > since + tolerance)
            && unit.active() == ActiveState::Active
            && unit.job().is_none()
    }

    /// Whether a unit that it requires went down at the same time. A stop of that unit that was cancelled before it
    /// began leaves no trace.
    fn lost_its_parent(&self, index: usize) -> bool {
        let unit = self.model.unit(UnitId(index));
        // Clearing its failure is signalled as another end by the manager.
        let Some((left, down)) = unit.active_exit().zip(self.truth[index].down) else { return false };
        let took_along = |parent: &Unit| {
            let went = parent.active_exit().is_some_and(|it| left <= it && it <= down);
            // A stop of that unit which was replaced by another one looks as if it came after the worker's stop.
            let stops = unit.last_stop().zip(parent.last_stop());
            went && stops.is_none_or(|((own, _), (other, _))| own >= other)
        };
        self.needs(index).any(|it| took_along(self.model.unit(it)))
    }

    /// Whether its unit file can be used.
    pub fn has_usable_file(&self, index: usize) -> bool {
        self.model.unit(UnitId(index)).load() == LoadState::Loaded
    }

    /// Whether nothing that can be known prevents healing it.
    pub fn is_healable(&self, index: usize) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active() == ActiveState::Active;
        if !matches!(unit.active(), ActiveState::Failed | ActiveState::Inactive) {
            return false;
        }
        let logged = unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
        let ran = unit.invocation().is_some() && unit.active_exit().is_some();
        let is_oneshot = unit.spec().kind == Type::Oneshot;
        let needs_it = match unit.active() {
            ActiveState::Failed => ran && !logged,
            _ if is_oneshot => false,
            // Its parent took it along, and is back.
            ActiveState::Inactive if truth.taken_along => logged && self.lost_its_parent(index),
            // It gave way to a unit that is down again.
            ActiveState::Inactive if truth.displaced => logged,
            // Its parent did not come up in time, and has since.
            ActiveState::Inactive if truth.kept_seen => !ran,
            // A person cleared its failure, and did nothing else.
            _ => truth.reset && ran && !logged,
        };
        let parent_is_fine = |it: UnitId| {
            let parent = self.model.unit(it);
            let is_done = parent.spec().ends_done() && parent.result() == crate::model::ServiceResult::Success;
            let is_left = parent.spec().stop_when_unneeded
                && !self.truth[it.0].stopped
                && unit.active() == ActiveState::Failed
                && parent.active_exit() >= unit.active_exit();
            let comes_back = parent.active() == ActiveState::Inactive
                && parent.job().is_none()
                && parent.active_exit().is_some()
                && (is_done || is_left);
            up(it) || comes_back
        };
        needs_it
            && unit.load() == LoadState::Loaded
            && unit.job().is_none()
            && (unit.is_enabled() || (unit.active() == ActiveState::Failed && !truth.disabled))
            && !truth.stopped
            && truth.obey.is_none()
            && !truth.cleared
            && !truth.looks_stopped
            && !truth.directory_gone
            && self.needs(index).all(parent_is_fine)
            && !self.is_left_to_others(index)
            && !unit.spec().refuse_manual_start
            && self.stopped_groups(unit).is_empty()
            && !self.partners(index).any(|it| self.is_up_or_coming(it))
    }

    /// Whether a unit that it needs took it along, or was down at some time since a second before it began to go down, or
    /// it may have given way to a unit that it conflicts with.
    pub fn went_with_a_parent(&self, index: usize) -> bool {
        if self.truth[index].taken_along || self.truth[index].displaced {
            return true;
        }
        let unit = self.model.unit(UnitId(index));
        let stop = unit.last_stop().map(|(job, _)| job);
        if self.partners(index).any(|it| self.model.unit(it).last_start().is_some_and(|start| Some(start) < stop)) {
            // The start of a unit that it conflicts with may have stopped it.
            return true;
        }
        // A unit that was unloaded since has no times.
        let down = unit.inactive_enter().min(unit.active_exit()).or(unit.inactive_enter());
        let Some(down) = down.or(self.truth[index].down) else { return false };
        self.needs(index)
            .map(|parent| self.model.unit(parent))
            .any(|parent| !parent.active().is_up() || parent.active_enter().is_some_and(|since| since + SECOND >= down))
    }

    /// An inspection has shown that a unit which it conflicts with displaced it.
    pub fn was_seen_displaced(&mut self, index: usize) {
        self.truth[index].displaced = !self.truth[index].stopped && self.model.unit(UnitId(index)).is_enabled();
    }

    /// The end of a stop was reported while the unit had been down for a while, so that it cannot be taken for anything
    /// else.
    pub fn stop_was_reported(&mut self, index: usize) {
        let now = self.model.now();
        // With the start that it cancels, that stop may be meant for a unit that this one needs.
        let is_of_parent = self.needs(index).any(|parent| {
            let parent = self.model.unit(parent);
            parent.job().is_some_and(|job| job.kind == JobKind::Stop) || parent.inactive_enter() == Some(now)
        });
        let truth = &mut self.truth[index];
        // The same signal ends a restart together with a required unit that was followed by a stop together with it.
        truth.looks_stopped |= !truth.stopped && truth.down.is_some_and(|since| now > since + SECOND);
        if truth.stopped && !is_of_parent && truth.down.is_some_and(|since| now > since + 10 * SECOND) {
            truth.stop_can_be_known = true;
            truth.stop_reported_at = Some(now);
        }
    }

    /// The end of a job was lost: nothing else shows that a person stopped a unit that was down already.
    pub fn end_of_job_is_lost(&mut self, index: usize) {
        let truth = &mut self.truth[index];
        truth.obey = truth.obey.filter(|_| truth.stop_can_be_known);
    }

    pub fn end_of_job_may_mislead(&mut self, index: usize) {
        self.truth[index].looks_stopped = true;
    }

    /// The daemon is gone, and may not have handled the last signals.
    pub fn listener_is_gone(&mut self) {
        let now = self.model.now();
        for (truth, unit) in self.truth.iter_mut().zip(self.model.units()) {
            (truth.taken_along, truth.obey) = (false, None);
            (truth.kept_seen, truth.reset, truth.displaced) = (false, false, false);
            // If it was not enabled, nothing is remembered, and the manager has forgotten its run.
            truth.stop_can_be_known &= unit.invocation().is_some();
            if truth.stop_reported_at.is_some_and(|at| now <= at + 10 * SECOND) {
                truth.stop_can_be_known = false;
            }
        }
    }

    /// The daemon was killed before it had saved its state. `has_file` says of which units the state that was saved
    /// before has the file.
    pub fn state_is_lost(&mut self, has_file: impl Fn(usize) -> bool) {
        for (index, truth) in self.truth.iter_mut().enumerate() {
            let unit = self.model.unit(UnitId(index));
            let logged = unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
            truth.stop_can_be_known &= logged;
            // That request may not have been saved, and neither an earlier stop.
            truth.cleared |= truth.wanted;
            truth.disabled_while_down = false;
            truth.file_seen &= has_file(index);
        }
    }

    /// Since when it has been starting or stopping for longer than its file or the settings allow.
    pub fn is_stuck_since(&self, index: usize, timeout: Duration) -> Option<Duration> {
        let unit = self.model.unit(UnitId(index));
        if !matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating) {
            return None;
        }
        // A oneshot works while it is starting.
        let works = unit.spec().kind == Type::Oneshot && unit.active() == ActiveState::Activating;
        // A stop that a person requested is not reported as stuck.
        let is_stopped = unit.job().is_some_and(|job| job.kind == JobKind::Stop)
            || unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
        // A worker without its directory is reported as orphaned in any state.
        let is_reported_otherwise = is_stopped || self.truth[index].directory_gone;
        if is_reported_otherwise || unit.is_auto_restart() || works || unit.load() != LoadState::Loaded {
            return None;
        }
        let since = unit.state_change() + transition(unit, self.model.now()).limit.unwrap_or(timeout);
        (since <= self.model.now()).then_some(since)
    }
}
