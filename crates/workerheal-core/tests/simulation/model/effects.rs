//! Automatic effects of a unit's state on other units (systemd's unit.c, and queues of manager.c).

use super::jobs::{JobKind, Mode};
use super::spec::Bond;
use super::states::ActiveState;
use super::unit::UnitId;
use super::{Child, Model};

impl Model {
    /// `retroactively_start_dependencies`: without `After=`, parents may come up later than their children.
    pub(super) fn start_parents(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let it = self[unit].spec.parents[index];
            let mode = match it.bond {
                Bond::Requires | Bond::BindsTo => Mode::Replace,
                Bond::Wants => Mode::Fail,
                Bond::Requisite | Bond::PartOf | Bond::Conflicts | Bond::Triggers => continue,
            };
            if !it.after && self[it.parent].active().is_down_or_deactivating() {
                // Refused if the parent is, for example, masked; this has no consequence.
                let _ = self.enqueue(it.parent, JobKind::Start, mode);
            }
        }
    }

    /// The other half of it: a unit that comes up without a job stops the units that it conflicts with, in either
    /// direction.
    pub(super) fn stop_partners(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let it = self[unit].spec.parents[index];
            if it.bond == Bond::Conflicts {
                self.stop_without_request(it.parent);
            }
        }
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if child.bond == Bond::Conflicts {
                self.stop_without_request(child.unit);
            }
        }
    }

    fn stop_without_request(&mut self, unit: UnitId) {
        if !self[unit].active().is_down_or_deactivating() {
            let _ = self.enqueue(unit, JobKind::Stop, Mode::Replace);
            self.signal_change(unit);
        }
    }

    /// `retroactively_stop_dependencies`: a unit bound to one that went down by itself goes down with it.
    pub(super) fn stop_bound_children(&mut self, unit: UnitId) {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if child.bond == Bond::BindsTo {
                self.stop_without_request(child.unit);
            }
        }
    }

    /// `manager_dispatch_stop_when_unneeded_queue`: a unit that is up only for others is stopped when all of them are
    /// down and have no job.
    pub(super) fn stop_unneeded(&mut self) {
        while let Some(unit) = self.maybe_unneeded.pop() {
            let it = &self[unit];
            let at_rest = |child: &Child| {
                let child = &self[child.unit];
                child.run.job.is_none() && child.active().is_down()
            };
            let pins = |child: &&Child| child.bond.needs();
            if it.spec.stop_when_unneeded
                && it.active() == ActiveState::Active
                && it.run.job.is_none()
                && !it.wanted
                && self.children[unit.0].iter().filter(pins).all(at_rest)
            {
                let _ = self.enqueue(unit, JobKind::Stop, Mode::Fail);
            }
        }
    }

    /// `manager_dispatch_stop_when_bound_queue`: a unit that is up and bound to one that is down goes down as well,
    /// unless a pending job may bring that up. Checked once, when one of the two has changed.
    pub(super) fn stop_unbound(&mut self) {
        while let Some(unit) = self.maybe_unbound.pop() {
            let down = |parent: UnitId| self[parent].active().is_down() && self[parent].run.job.is_none();
            let it = &self[unit];
            if it.active() == ActiveState::Active
                && it.run.job.is_none()
                && it.spec.parents.iter().any(|it| it.bond == Bond::BindsTo && down(it.parent))
            {
                let _ = self.enqueue(unit, JobKind::Stop, Mode::Replace);
            }
        }
    }
}
