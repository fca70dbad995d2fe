//! The units in the manager's memory: loading, reloading and unloading (systemd's load-fragment.c and the garbage
//! collection of manager.c).

use super::states::{ActiveState, SubState};
use super::unit::{Origin, Runtime, UnitId};
use super::{Child, Dependency, File, Lives, Model, Signal};

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

    /// Writes or removes the unit file. This takes effect with the next reload, or when the unit is loaded.
    pub fn edit(&mut self, unit: UnitId, file: File) {
        self[unit].file = file;
        self.touch(unit);
    }

    fn touch(&mut self, unit: UnitId) {
        self[unit].definition += 1;
        self[unit].written += 1;
    }

    /// `systemctl daemon-reload`: all units are read again and keep their states, but not the count of their starts.
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
            it.written += u64::from(it.origin == Origin::Generator);
            if it.in_memory || it.enabled {
                it.read_file();
                it.in_memory = true;
                it.is_untold = false;
                it.run.limit = None;
                it.run.limit_hit = false;
            }
        }
        self.find_children();
        for unit in all().take(count) {
            if self[unit].in_memory {
                self.load_parents(unit);
                self.maybe_garbage.push(unit);
                self.maybe_unbound.push(unit);
                self.maybe_unneeded.push(unit);
                self.rearm(unit);
                self.arm_job(unit);
                self.queue(unit);
            }
        }
        // Units that these stop have their job when they are announced, and no further change is signalled.
        self.stop_unbound();
        self.stop_unneeded();
        for unit in all().take(count) {
            let it = &mut self[unit];
            if it.in_memory && !it.is_untold {
                it.signalled = it.to_signal();
                self.signals.push(Signal::UnitNew(unit));
            }
        }
        self.signals.push(Signal::Reloading(false));
        // Jobs run when there is nothing else to do: timers that are due by the new settings come first.
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
        it.signalled = (ActiveState::Inactive, false, None);
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
            for &Dependency { parent, bond, after } in &unit.spec.parents {
                self.children[parent.0].push(Child { unit: UnitId(index), bond, after });
            }
        }
    }

    /// Whether something keeps it in memory: itself, or a unit that refers to it, directly or not. `seen` has a bit for
    /// each unit.
    fn is_referred_to(&self, unit: UnitId, seen: &mut u64) -> bool {
        let bit = 1u64 << (unit.0 % 64);
        let is_new = *seen & bit == 0;
        *seen |= bit;
        let it = &self[unit];
        let is_idle = it.run.sub == SubState::Dead && it.run.job.is_none() && !it.run.has_orphan;
        is_new
            && (!is_idle
                || it.wanted
                || self.children[unit.0].iter().any(|child| self.is_referred_to(child.unit, seen)))
    }

    /// `unit_may_gc`: a unit that is down without failure and not referenced is unloaded.
    pub(super) fn collect_garbage(&mut self) {
        while let Some(unit) = self.maybe_garbage.pop() {
            if self[unit].in_memory && !self.is_referred_to(unit, &mut 0) {
                self[unit].in_memory = false;
                self[unit].run = Runtime::FRESH;
                if self[unit].origin == Origin::Transient {
                    self.edit(unit, File::Missing);
                }
                self.signals.push(Signal::UnitRemoved(unit));
                for index in 0..self[unit].spec.parents.len() {
                    self.maybe_garbage.push(self[unit].spec.parents[index].parent);
                }
                self.find_children();
            }
        }
    }
}
