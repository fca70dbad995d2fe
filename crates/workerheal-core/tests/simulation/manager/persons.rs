//! What people do to units, and how that changes the truth about them.

use std::time::Duration;

use super::Manager;
use crate::model::{ActiveState, Bond, File, LoadState, Mode, Origin, Type, Unit, UnitId};
use crate::scenario::UNITS;

/// Events within this time reach the healer in one batch of signals.
const SAME_MOMENT: Duration = Duration::from_millis(50);

impl Manager {
    pub fn person_stops(&mut self, index: usize) {
        let unit = UnitId(index);
        let before = (self.model.unit(unit).active(), self.model.unit(unit).is_in_memory());
        let now = self.model.now();
        let lost_its_parent = self.needs(index).any(|it| self.goes_down(it));
        if self.with(|model, lives| model.stop(unit, Mode::Replace, lives)).is_ok() {
            self.is_stopped_by_person(index, before, lost_its_parent, now);
        }
    }

    fn is_stopped_by_person(
        &mut self,
        index: usize,
        (state, was_loaded): (ActiveState, bool),
        lost_its_parent: bool,
        now: Duration,
    ) {
        self.takes_along(UnitId(index), ActiveState::Inactive, now);
        // Its parts are stopped with it, in any state.
        let is_part =
            |it: &usize| self.specs[*it].parents.iter().any(|it| it.bond == Bond::PartOf && it.parent == UnitId(index));
        for member in (0..UNITS).filter(is_part).collect::<Vec<_>>() {
            let truth = &mut self.truth[member];
            (truth.stopped, truth.stop_can_be_known) = (true, state == ActiveState::Active);
            truth.last_stop = Some(now);
            truth.with_group = true;
            truth.obey = truth.asked.then_some(now).filter(|_| state == ActiveState::Active);
        }
        // If it was down already, only the end of the stop shows it, see `stop_was_reported`; if its parent is taking
        // it down, nothing does. A unit without a valid file is not inspected, and is forgotten when it is unloaded.
        let is_readable = self.model.unit(UnitId(index)).load() == LoadState::Loaded;
        let known = matches!(state, ActiveState::Active | ActiveState::Activating) && !lost_its_parent && is_readable;
        // A stop joins the one with which the healer's restart begins, and cannot be told from it.
        let joins_ours = self.is_stopped_for_a_restart(index);
        let truth = &mut self.truth[index];
        (truth.stopped, truth.stop_can_be_known) = (true, known || (truth.stopped && truth.stop_can_be_known));
        (truth.taken_along, truth.displaced, truth.with_group) = (false, false, false);
        truth.last_stop = Some(now);
        // If its parent takes it down at the same moment, it cannot be known whether the stop was meant for it. A stop
        // of a unit that is not loaded yet leaves no trace.
        if truth.asked && !lost_its_parent && was_loaded && !joins_ours {
            truth.obey = Some(now);
        }
    }

    /// All of them are stopped with one command.
    pub fn person_stops_many(&mut self, indices: &[usize]) {
        let now = self.model.now();
        let units: Vec<UnitId> = indices.iter().map(|index| UnitId(*index)).collect();
        let before = |unit: &UnitId| (self.model.unit(*unit).active(), self.model.unit(*unit).is_in_memory());
        let before: Vec<(ActiveState, bool)> = units.iter().map(before).collect();
        let _ = self.with(|model, lives| model.stop_together(&units, Mode::Replace, lives));
        for (index, before) in indices.iter().zip(before) {
            let lost_its_parent = self.needs(*index).any(|it| self.goes_down(it));
            self.is_stopped_by_person(*index, before, lost_its_parent, now);
        }
    }

    /// A stopped unit that a person starts counts as stopped until it is on its way up, see `signals`.
    fn person_wants_it_up(&mut self, index: usize) {
        let now = self.model.now();
        self.truth[index].obey = None;
        // A start right after the stop cannot be distinguished from a start by the healer that the stop overtook.
        self.truth[index].last_stop = self.truth[index].last_stop.filter(|at| now <= *at + SAME_MOMENT);
        let is_gone = self.model.unit(UnitId(index)).load() == LoadState::NotFound;
        if is_gone && self.family.origin(index) == Origin::Transient {
            // Runs `systemd-run` again.
            self.model.edit(UnitId(index), File::Good(self.specs[index].clone()));
        }
        if !self.model.unit(UnitId(index)).active().is_down() {
            (self.truth[index].stopped, self.truth[index].cleared) = (false, false);
        }
    }

    pub fn person_starts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.start(UnitId(index), Mode::Replace, lives));
        if self.model.unit(UnitId(index)).result() == crate::model::ServiceResult::StartLimitHit {
            // The start was refused, but it was wanted. If the unit had failed before, nothing shows that.
            let truth = &mut self.truth[index];
            truth.looks_stopped |= truth.stopped;
            truth.stopped = false;
        }
    }

    pub fn person_restarts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.restart(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_resets(&mut self, index: usize, is_watched: bool) {
        let unit = self.model.unit(UnitId(index));
        let was_failed = unit.active() == ActiveState::Failed && unit.job().is_none() && unit.is_enabled();
        let _ = self.with(|model, lives| model.reset_failed(UnitId(index), lives));
        let truth = &mut self.truth[index];
        truth.reset |= was_failed && is_watched && !truth.asked;
        truth.cleared = !truth.reset;
    }

    /// Requests a heal, which supersedes earlier requests.
    pub fn person_wants_it_healed(&mut self, index: usize) {
        let has_job = self.model.unit(UnitId(index)).job().is_some();
        let now = self.model.now();
        let truth = &mut self.truth[index];
        // Its signals may still be under way.
        let was_just_stopped = truth.last_stop.is_some_and(|at| now <= at + Duration::from_millis(50));
        (truth.stopped, truth.cleared, truth.disabled_while_down) = (false, false, false);
        truth.obey = None;
        // The end of a pending stop looks like a newer one.
        truth.looks_stopped |= has_job || was_just_stopped;
        (truth.wanted, truth.file_seen) = (true, false);
    }

    pub fn person_tries_restart(&mut self, index: usize) {
        if !self.model.unit(UnitId(index)).active().is_down() {
            self.person_wants_it_up(index);
        }
        let _ = self.with(|model, lives| model.try_restart(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_reloads(&mut self, index: usize) {
        let _ = self.with(|model, lives| model.reload(UnitId(index), Mode::Replace, lives));
    }

    /// Isolates a unit: everything else is stopped. Returns whether that has begun and is under way.
    pub fn person_isolates(&mut self, index: usize) -> bool {
        let states: Vec<ActiveState> = self.model.units().iter().map(Unit::active).collect();
        let job = self.with(|model, lives| model.start(UnitId(index), Mode::Isolate, lives));
        let Ok(job) = job else { return false };
        let now = self.model.now();
        for (truth, state) in self.truth.iter_mut().zip(states) {
            if !state.is_down() {
                truth.last_stop = Some(now);
                // It cannot be known whether the stop was meant for this unit.
                (truth.stopped, truth.stop_can_be_known, truth.taken_along) = (true, false, false);
            }
            // Pending jobs are cancelled: a stop that waited is not made, and the end of a start looks like a stop.
            truth.obey = None;
            truth.looks_stopped |= truth.taken_along || truth.asked;
        }
        let goes_on = self.model.unit(UnitId(index)).job().is_some_and(|it| it.id == job);
        self.isolating = goes_on.then_some(job);
        true
    }

    /// The session ends: everything is stopped.
    pub fn shut_down(&mut self) {
        self.with(|model, lives| model.shut_down(lives));
    }

    pub fn connect(&mut self, index: usize) {
        if self.specs[index].kind == Type::Socket {
            let _ = self.with(|model, lives| model.connect(UnitId(index), lives));
        }
    }

    pub fn kill(&mut self, index: usize) {
        self.model.kill_all(UnitId(index));
    }

    pub fn mask(&mut self, index: usize, masked: bool) {
        let unit = UnitId(index);
        if masked {
            self.with(|model, lives| model.mask(unit, lives));
        } else {
            self.with(|model, lives| model.unmask(unit, lives));
        }
    }

    pub fn enable(&mut self, index: usize, enabled: bool) {
        let unit = UnitId(index);
        if enabled {
            (self.truth[index].disabled, self.truth[index].disabled_while_down) = (false, false);
            self.with(|model, lives| model.enable(unit, lives));
        } else {
            let truth = &mut self.truth[index];
            truth.disabled = true;
            truth.disabled_while_down |= truth.down.is_some() && truth.file_seen;
            self.with(|model, lives| model.disable(unit, lives));
        }
    }

    pub fn edit(&mut self, index: usize, file: Option<File>) {
        let is_unreadable = !matches!(file, None | Some(File::Good(_)));
        if is_unreadable && self.model.unit(UnitId(index)).active() == ActiveState::Deactivating {
            // Its file no longer shows what takes it down.
            self.truth[index].looks_stopped = true;
        }
        let file = file.unwrap_or_else(|| File::Good(self.specs[index].clone()));
        self.model.edit(UnitId(index), file);
        self.with(|model, lives| model.daemon_reload(lives));
    }

    pub fn reload(&mut self) {
        self.with(|model, lives| model.daemon_reload(lives));
    }

    pub fn lose_directory(&mut self, index: usize, gone: bool) {
        self.truth[index].directory_gone = gone;
    }
}
