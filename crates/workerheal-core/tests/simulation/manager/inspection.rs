//! What the daemon reads over D-Bus, taken from the model: the list of units, the failed sockets, an inspection, and a
//! probe.

use std::path::PathBuf;
use std::time::Duration;

use workerheal_core::probe::{ProbeAnswer, ProbeResult};
use workerheal_core::units::{
    self, Deactivation, Depth, Detail, Inspection, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence,
    StopOrder, StoppedGroup, Transition, TriggerUnit, UnitFile, UnitName, UnitStatus,
};

use super::{Manager, is_need};
use crate::model::{ActiveState, Bond, Exit, JobId, JobKind, LoadState, Origin, Restart, Type, Unit, UnitId};
use crate::scenario::{self, FIRST_HELPER, SECOND, UNITS};

impl Manager {
    /// The units whose socket has failed.
    pub fn failed_sockets(&self, names: &[UnitName; UNITS]) -> Vec<UnitName> {
        let failed = (0..UNITS).filter(|socket| {
            let unit = self.model.unit(UnitId(*socket));
            unit.spec().kind == Type::Socket && unit.active() == ActiveState::Failed
        });
        failed
            .flat_map(|socket| self.specs[socket].parents.iter().filter(|it| it.bond == Bond::Triggers))
            .map(|it| names[it.parent.0].clone())
            .collect()
    }

    /// The loaded units: all, or those that are not up.
    pub fn list(&mut self, names: &[UnitName; UNITS], all: bool) -> Vec<UnitStatus> {
        let is_listed = |unit: &Unit| unit.is_in_memory() && (all || unit.active() != ActiveState::Active);
        let loaded = self.model.units().iter().zip(names).take(FIRST_HELPER).filter(|(unit, _)| is_listed(unit));
        let list = loaded
            .map(|(unit, name)| UnitStatus {
                name: name.clone(),
                load: Some(load(unit.load())),
                active: state(unit.active()),
                has_job: unit.job().is_some(),
                auto_restart: unit.is_auto_restart(),
            })
            .collect();
        for (known, unit) in self.reported_jobs.iter_mut().zip(self.model.units()).filter(|(_, unit)| is_listed(unit)) {
            *known = unit.job().map(|job| job.id).or(*known);
        }
        list
    }

    /// The number of loaded units, and that of all jobs so far.
    pub fn numbers(&self) -> (usize, u64) {
        (self.model.units().iter().filter(|unit| unit.is_in_memory()).count(), self.model.jobs_so_far())
    }

    /// Inspects a unit.
    pub fn inspect(&self, index: usize, detail: Detail, no_journal: bool) -> Inspection {
        let unit = self.model.unit(UnitId(index));
        let (spec, now) = (unit.spec(), self.model.now());
        let active = state(unit.active());
        let is_up = active.is_up();
        let is_down = unit.active().is_down();
        let stop = detail.stop.then(|| match unit.invocation() {
            _ if no_journal => StopEvidence::Unknown("the journal is gone".to_owned()),
            None if unit.runs() > 0 && unit.is_stop_logged(unit.runs()) && !self.truth[index].kept => {
                StopEvidence::Requested
            }
            None if self.truth[index].kept => StopEvidence::KeptFromStarting,
            None => StopEvidence::Unknown("it never ran".to_owned()),
            Some(run) if unit.is_stop_logged(run) => StopEvidence::Requested,
            Some(_) => StopEvidence::NotRequested,
        });
        let last_run = unit.active_exit().zip(unit.active_enter()).and_then(|(exit, enter)| exit.checked_sub(enter));
        let deactivation =
            unit.active_exit().zip(unit.inactive_enter()).map(|(left, down)| Deactivation { left, down });
        let with_history = is_down && (detail.stop || !deactivation.is_some_and(Deactivation::was_sudden));
        let parents = spec.parents.iter().filter(|it| is_need(it.bond));
        let parents = parents.map(|it| self.parent(unit, it.parent, with_history, stop.as_ref())).collect();
        let changes = matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating);
        let triggers: Vec<usize> = (0..UNITS).filter(|it| self.triggers(*it, index)).collect();
        let full_name = |index: &usize| scenario::full_name(*index, &self.specs[*index]);
        let seen = Inspection {
            load: load(unit.load()),
            active,
            has_job: unit.job().is_some(),
            up_for: unit.active_enter().filter(|_| is_up).map(|since| now - since),
            skipped: None,
            down_for: unit.inactive_enter().filter(|_| is_down).map(|since| now - since),
            at: now,
            began: unit.inactive_exit(),
            transition: (changes && !unit.is_auto_restart()).then(|| transition(unit, now)),
            deactivation,
            result: result(unit.result()),
            restart: restart(spec.restart),
            restart_prevented: (unit.active() == ActiveState::Failed && unit.is_restart_prevented())
                .then(|| "status 1".to_owned()),
            oneshot: spec.kind == Type::Oneshot,
            file: (detail.file && !unit.is_masked()).then(|| UnitFile {
                enabled: unit.is_enabled(),
                on_demand: !triggers.is_empty(),
                waits_with_targets: false,
                // The lowest bit stands for a file that cannot be used: no two definitions differ in that alone.
                definition: 2 * unit.definition(),
            }),
            run: (detail.file || detail.stop).then(|| self.run_of(unit)),
            restarts: (detail.restarts || unit.is_auto_restart()).then(|| Restarts {
                count: unit.n_restarts(),
                last_run,
                delay: None,
                status: status(unit),
            }),
            auto_restart: unit.is_auto_restart(),
            since: None,
            working_directory: Some(PathBuf::from("/srv")),
            directory_gone: self.truth[index].directory_gone,
            container: false,
            parents,
            pulls_in: self.pulls_in(unit).map(|it| full_name(&it.0)).collect(),
            displaced_by: self
                .displaced_by(unit, index)
                .filter(|_| stop == Some(StopEvidence::Requested))
                .map(|it| full_name(&it.0)),
            conflicts: self.partners(index).filter(|it| self.is_up_or_coming(*it)).map(|it| full_name(&it.0)).collect(),
            has_conflicts: self.partners(index).next().is_some(),
            stopped_groups: self.stopped_groups(unit),
            triggers: triggers
                .iter()
                .map(|it| TriggerUnit { name: full_name(it), active: state(self.model.unit(UnitId(*it)).active()) })
                .collect(),
            clearable: unit.origin() != Origin::Transient && unit.load() != LoadState::NotFound,
            stop,
            said: None,
        };
        let Inspection { load, active, has_job, auto_restart, up_for, at, .. } = seen;
        let state = Inspection { load, active, has_job, auto_restart, up_for, at, ..Inspection::default() };
        match detail.depth {
            Depth::Decision => seen,
            Depth::Proof => {
                let Inspection { began, conflicts, stopped_groups, .. } = seen;
                Inspection { began, conflicts, stopped_groups, ..state }
            }
            Depth::Uptime => state,
        }
    }

    /// The manager's id of a run, which is unique across boots.
    fn run_of(&self, unit: &Unit) -> String {
        unit.invocation().map(|run| format!("{}-{run}", self.boots)).unwrap_or_default()
    }

    pub(super) fn triggers(&self, trigger: usize, service: usize) -> bool {
        self.specs[trigger].parents.iter().any(|it| it.bond == Bond::Triggers && it.parent == UnitId(service))
    }

    fn parent(&self, child: &Unit, parent: UnitId, with_history: bool, stop: Option<&StopEvidence>) -> Parent {
        let unit = self.model.unit(parent);
        let spec = unit.spec();
        let (active, is_down) = (unit.active(), unit.active().is_down());
        let left = unit.active_exit().filter(|_| with_history || !active.is_up());
        let stops = child.last_stop().zip(unit.last_stop());
        let stop_job = unit.job().filter(|job| job.kind == JobKind::Stop && !is_down);
        let is_requested = stop == Some(&StopEvidence::Requested);
        let is_unloaded = active == ActiveState::Inactive && left.is_none();
        let stopping = unit.job().is_some_and(|job| job.kind == JobKind::Stop);
        let has_gone = left.is_some() || stopping;
        let order = if !is_requested {
            None
        } else if is_unloaded || (child.invocation().is_none() && has_gone) {
            stops.filter(|(own, other)| are_near(own.1, other.1)).map(|(own, other)| own.0 < other.0)
        } else if let (Some(pending), Some((job, _))) = (stop_job, child.last_stop()) {
            Some(job < pending.id)
        } else {
            let (exit, began) = (child.active_exit(), child.inactive_exit());
            let began_to_end = if began > exit { child.inactive_enter() } else { exit };
            let order = |((own, at), (other, begun)): ((JobId, Duration), (JobId, Duration))| {
                // It is stopped once all units that need it are down, the slowest of them included.
                let is_last =
                    left.is_some_and(|left| began_to_end.is_none_or(|it| left >= it) && are_near(left, begun));
                let is_known = if own < other { are_near(at, begun) } else { is_last };
                is_known.then_some(own < other)
            };
            stops.filter(|_| left.is_some()).and_then(order)
        };
        let stop_order = match order {
            Some(true) => StopOrder::WorkerFirst,
            Some(false) => StopOrder::ParentFirst,
            None => StopOrder::Unknown,
        };
        Parent {
            name: scenario::full_name(parent.0, &self.specs[parent.0]),
            load: load(unit.load()),
            active: state(active),
            stopping,
            left,
            since: unit.active_enter().filter(|_| with_history && active.is_up()),
            finished: active == ActiveState::Inactive
                && spec.ends_done()
                && unit.result() == crate::model::ServiceResult::Success
                && unit.inactive_exit().is_some(),
            stops_when_unneeded: (is_down || stopping) && spec.stop_when_unneeded,
            is_optional: false,
            stop_order,
            down: unit.inactive_enter().filter(|_| is_down),
        }
    }

    /// The unit that is up, or coming up, by a start that was requested before the stop of this unit, of those that
    /// conflict with it.
    fn displaced_by(&self, unit: &Unit, index: usize) -> Option<UnitId> {
        let ((stop, _), own) = (unit.last_stop()?, unit.last_start());
        let starts_before = |partner: &UnitId| {
            let unit = self.model.unit(*partner);
            let pending = unit.job().filter(|job| matches!(job.kind, JobKind::Start | JobKind::Restart));
            let start = pending.map(|job| job.id).or(unit.last_start());
            start.is_some_and(|start| start < stop && own.is_none_or(|own| own < start))
        };
        self.partners(index).filter(|it| self.is_up_or_coming(*it)).find(starts_before)
    }

    /// Wanted units that a start would start too.
    fn pulls_in(&self, unit: &Unit) -> impl Iterator<Item = UnitId> {
        let wanted = unit.spec().parents.iter().filter(|it| it.bond == Bond::Wants).map(|it| it.parent);
        wanted.filter(|it| {
            let it = self.model.unit(*it);
            !it.active().is_up() || it.job().is_some_and(|job| job.kind == JobKind::Stop)
        })
    }

    /// The units that conflict with it, by its own file or by theirs.
    pub(super) fn partners(&self, index: usize) -> impl Iterator<Item = UnitId> {
        let own = self.specs[index].parents.iter().filter(|it| it.bond == Bond::Conflicts).map(|it| it.parent);
        let conflicts = move |it: &usize| {
            self.specs[*it].parents.iter().any(|it| it.bond == Bond::Conflicts && it.parent == UnitId(index))
        };
        own.chain((0..UNITS).filter(conflicts).map(UnitId))
    }

    pub(super) fn is_up_or_coming(&self, unit: UnitId) -> bool {
        let unit = self.model.unit(unit);
        let is_started = unit.job().is_some_and(|job| matches!(job.kind, JobKind::Start | JobKind::Restart));
        !unit.active().is_down() || is_started
    }

    /// The groups that it is part of, and that were stopped or are being stopped.
    pub(super) fn stopped_groups(&self, unit: &Unit) -> Vec<StoppedGroup> {
        let groups = unit.spec().parents.iter().filter(|it| it.bond == Bond::PartOf).map(|it| it.parent);
        let stopped = groups.filter_map(|group| {
            let (it, name) = (self.model.unit(group), scenario::full_name(group.0, &self.specs[group.0]));
            if !it.active().is_down() {
                let is_stopped = it.job().is_some_and(|job| job.kind == JobKind::Stop);
                return is_stopped.then_some(StoppedGroup { name, left: None });
            }
            let left = it.active_exit()?;
            let was_stopped =
                it.spec().kind == Type::Target || it.invocation().is_some_and(|run| it.is_stop_logged(run));
            was_stopped.then_some(StoppedGroup { name, left: Some(left) })
        });
        stopped.collect()
    }

    pub fn probe(&self, index: usize, silent: bool) -> ProbeResult {
        let unit = self.model.unit(UnitId(index));
        let up = unit.active_enter().filter(|_| unit.active() == ActiveState::Active);
        let answer = match up {
            Some(_) if silent => ProbeAnswer::Refused("127.0.0.1:5173".to_owned()),
            Some(_) => ProbeAnswer::Accepted,
            None => ProbeAnswer::Refused("127.0.0.1:5173".to_owned()),
        };
        ProbeResult { answer, up_for: up.map(|since| self.model.now() - since), file_age: None }
    }
}

/// Whether two stops were logged at about the same time.
fn are_near(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= 2 * SECOND
}

/// How long a start or stop has taken, and may take: three steps, each with the timeout of the unit's file.
pub(super) fn transition(unit: &Unit, now: Duration) -> Transition {
    let (spec, is_start) = (unit.spec(), unit.active() == ActiveState::Activating);
    let steps = if is_start { spec.timeout_start } else { spec.timeout_stop }.map(|timeout| timeout * 3);
    let job = spec.job_timeout.filter(|_| is_start);
    Transition { lasts: now - unit.state_change(), limit: steps.or(job) }
}

pub(super) fn state(active: ActiveState) -> units::ActiveState {
    match active {
        ActiveState::Inactive => units::ActiveState::Inactive,
        ActiveState::Failed => units::ActiveState::Failed,
        ActiveState::Activating => units::ActiveState::Activating,
        ActiveState::Active => units::ActiveState::Active,
        ActiveState::Reloading => units::ActiveState::Reloading,
        ActiveState::Deactivating => units::ActiveState::Deactivating,
    }
}

fn load(load: LoadState) -> units::LoadState {
    units::LoadState::from(load.as_str())
}

fn result(result: crate::model::ServiceResult) -> ServiceResult {
    ServiceResult::from(result.as_str())
}

fn restart(policy: Restart) -> RestartPolicy {
    match policy {
        Restart::No => RestartPolicy::No,
        Restart::OnSuccess => RestartPolicy::OnSuccess,
        Restart::OnFailure => RestartPolicy::OnFailure,
        Restart::OnAbnormal => RestartPolicy::OnAbnormal,
        Restart::OnAbort => RestartPolicy::OnAbort,
        Restart::OnWatchdog => RestartPolicy::OnWatchdog,
        Restart::Always => RestartPolicy::Always,
    }
}

/// `ExecMainStatus` of the last run.
fn status(unit: &Unit) -> i32 {
    match unit.last_exit() {
        Some(Exit::Code(code)) => i32::from(code),
        // Which one does not matter.
        Some(Exit::Signal(_)) => 9,
        None => 0,
    }
}
