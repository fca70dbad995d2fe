//! Which workers of the list are measured, and for how long that is remembered. Pure.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::model::{DaemonLink, Model};
use super::rows::Row;
use super::usage::{Measurement, has_processes};
use crate::api::MAX_USAGE_UNITS;
use crate::core::report::{Stage, WorkerReport};
use crate::core::units::UnitName;
use crate::manager::Usage;

impl Model {
    /// The units to measure for the list: of each visible row that is up, except the one that is measured for its
    /// details.
    pub fn to_measure_in_list(&self) -> Vec<String> {
        if self.daemon != DaemonLink::Up {
            return Vec::new();
        }
        let for_details = self.to_measure().map(UnitName::short);
        self.visible().into_iter().filter(|unit| Some(*unit) != for_details).map(ToOwned::to_owned).collect()
    }

    /// Whether a visible row has never been measured, as it came into view or up after the last time.
    pub fn lacks_measurements(&self) -> bool {
        self.visible().into_iter().any(|unit| self.measured.get(unit).is_none())
    }

    /// Takes in the measurements of these units, and returns whether a visible text has changed. A unit that is missing in
    /// the answer takes nothing that is known.
    pub fn measure_list(&mut self, units: &[String], usages: &BTreeMap<String, Usage>, at: Instant) -> bool {
        let mut is_changed = false;
        for unit in units {
            is_changed |= self.measured.add(unit, usages.get(unit).copied().unwrap_or_default(), at);
        }
        self.forget_hidden();
        is_changed
    }

    /// The resource usage of a worker of the list, if known.
    pub fn usage_of(&self, worker: &WorkerReport) -> Option<&Measurement> {
        self.measured.get(worker.unit.short()).filter(|_| worker.phase == Stage::Up)
    }

    /// Forgets the measurements of workers that are not visible, so that their number is bounded.
    pub(super) fn forget_hidden(&mut self) {
        let for_details = self.to_measure().map(|unit| unit.short().to_owned());
        let kept: HashSet<String> = self.visible().into_iter().map(ToOwned::to_owned).chain(for_details).collect();
        self.measured.keep(|unit| kept.contains(unit));
    }

    /// Forgets the measurements of workers that are gone, down, or have been restarted, given what is now known of all.
    pub(super) fn forget_ended_runs(&mut self, workers: &[WorkerReport]) {
        let before = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.workers);
        self.measured.keep(|unit| {
            let of_unit = |worker: &&WorkerReport| worker.unit == unit;
            let Some(now) = workers.iter().find(of_unit).filter(|worker| has_processes(worker)) else { return false };
            let up_since = before.iter().find(of_unit).and_then(|worker| worker.up_since);
            // An uptime that has become known is no restart.
            up_since.is_none() || now.up_since.is_none() || up_since == now.up_since
        });
    }

    /// The units of visible rows that are up, while the list has columns for their resource usage.
    fn visible(&self) -> Vec<&str> {
        if !self.measures_list {
            return Vec::new();
        }
        let rows = self.rows().into_iter().skip(self.top).take(usize::from(self.list_at.height));
        let up = rows.filter_map(|row| match row {
            Row::Worker(worker) if worker.phase == Stage::Up => Some(worker.unit.short()),
            Row::Worker(_) | Row::Site(..) => None,
        });
        up.take(MAX_USAGE_UNITS).collect()
    }
}
