//! What the manager has in memory: reading unit files, reading them again, and forgetting units (systemd's load-fragment.c
//! and the garbage collection of manager.c).

use super::unit::{ActiveState, Runtime, SubState, UnitId};
use super::{File, Lives, Model, Signal};

impl Model {
    /// `systemctl mask` and its reload.
    pub fn mask(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        self[unit].masked = true;
        self.touch(unit);
        self.daemon_reload(lives);
    }

    /// `systemctl unmask` and its reload.
    pub fn unmask(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        self[unit].masked = false;
        self.touch(unit);
        self.daemon_reload(lives);
    }

    /// `systemctl enable` and its reload.
    pub fn enable(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        self[unit].enabled = true;
        self.daemon_reload(lives);
    }

    /// `systemctl disable` and its reload.
    pub fn disable(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        self[unit].enabled = false;
        self.daemon_reload(lives);
    }

    /// Somebody writes or removes the unit file. It takes effect with the next reload, or when the unit is loaded.
    pub fn edit(&mut self, unit: UnitId, file: File) {
        self[unit].file = file;
        self.touch(unit);
    }

    fn touch(&mut self, unit: UnitId) {
        self[unit].definition += 1;
    }

    /// `systemctl daemon-reload`: all units are read anew and keep their states, but not the count of their starts.
    pub fn daemon_reload(&mut self, lives: &mut Lives<'_>) {
        self.signal_changes();
        self.signals.push(Signal::Reloading(true));
        let all = || (0..usize::MAX).map(UnitId);
        let count = self.units.len();
        for unit in all().take(count).filter(|unit| self.units[unit.0].in_memory) {
            self.signals.push(Signal::UnitRemoved(unit));
        }
        for unit in all().take(count) {
            let it = &mut self[unit];
            if it.in_memory || it.enabled {
                it.read_file();
                it.in_memory = true;
                it.run.limit = None;
            }
        }
        self.find_children();
        for unit in all().take(count) {
            if self[unit].in_memory {
                self.load_parents(unit);
                self.signals.push(Signal::UnitNew(unit));
                self.maybe_garbage.push(unit);
                self.maybe_unbound.push(unit);
                self.rearm(unit);
                self.arm_job(unit);
                self.queue(unit);
            }
        }
        self.signals.push(Signal::Reloading(false));
        // A job is run when there is nothing else to do: what is due by the settings now in force comes first.
        while self.do_next(self.now) {
            self.signal_changes();
        }
        self.settle(lives);
    }

    pub(super) fn load_into_memory(&mut self, unit: UnitId) {
        if self[unit].in_memory {
            return;
        }
        let it = &mut self[unit];
        it.in_memory = true;
        it.read_file();
        it.run = Runtime::FRESH;
        it.signalled = (ActiveState::Inactive, false, false);
        it.is_untold = true;
        self.signals.push(Signal::UnitNew(unit));
        self.maybe_garbage.push(unit);
        self.load_parents(unit);
        self.find_children();
    }

    fn load_parents(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let parent = self[unit].spec.parents[index].parent;
            self.load_into_memory(parent);
        }
    }

    fn find_children(&mut self) {
        for children in &mut self.children {
            children.clear();
        }
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| unit.in_memory) {
            for dependency in &unit.spec.parents {
                self.children[dependency.parent.0].push(UnitId(index));
            }
        }
    }

    /// `unit_may_gc`: what is down without failure and what nobody refers to is forgotten.
    pub(super) fn collect_garbage(&mut self) {
        while let Some(unit) = self.maybe_garbage.pop() {
            let it = &self[unit];
            let idle = it.run.sub == SubState::Dead && it.run.job.is_none() && !it.run.has_orphan;
            if it.in_memory && idle && !it.wanted && self.children[unit.0].is_empty() {
                self[unit].in_memory = false;
                self[unit].run = Runtime::FRESH;
                self.signals.push(Signal::UnitRemoved(unit));
                for index in 0..self[unit].spec.parents.len() {
                    self.maybe_garbage.push(self[unit].spec.parents[index].parent);
                }
                self.find_children();
            }
        }
    }
}
