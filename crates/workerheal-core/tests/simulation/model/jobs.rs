//! Jobs: the queue that runs them, and the effect of their end on others (systemd's job.c).

use std::collections::VecDeque;
use std::time::Duration;

use super::service::Start;
use super::spec::Bond;
use super::states::{ActiveState, LoadState};
use super::unit::{Due, UnitId};
use super::{Lives, Model, Signal};

/// The type of a job. `try-restart` becomes a restart or nothing when it is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Start,
    /// The check that `Requisite=` makes of the parent.
    VerifyActive,
    Stop,
    Reload,
    Restart,
    /// A `try-restart` of a unit that is down.
    Nop,
}

impl JobKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::VerifyActive => "verify-active",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::Nop => "nop",
        }
    }

    /// One job that does the work of both, for a unit in this state; `None` if they contradict each other in any state.
    pub(super) fn merged(self, other: Self, active: ActiveState) -> Option<Self> {
        use JobKind::{Nop, Reload, Restart, Start, Stop, VerifyActive};
        match (self, other) {
            _ if self == other => Some(self),
            (Nop, kind) | (kind, Nop) => Some(kind),
            (Stop, _) | (_, Stop) => None,
            (Restart, _) | (_, Restart) => Some(Restart),
            (Reload, VerifyActive) | (VerifyActive, Reload) => Some(Reload),
            // A reload-or-start.
            (Reload, Start) | (Start, Reload) if active.is_up() => Some(Reload),
            (Start | VerifyActive | Reload, Start | VerifyActive | Reload) => Some(Start),
        }
    }

    pub(super) fn conflicts(self, other: Self) -> bool {
        self.merged(other, ActiveState::Inactive).is_none()
    }

    pub(super) fn is_redundant(self, active: ActiveState) -> bool {
        match self {
            Self::Start | Self::VerifyActive => active.is_up(),
            Self::Reload => active == ActiveState::Reloading,
            Self::Stop => active.is_down(),
            Self::Restart => false,
            Self::Nop => true,
        }
    }

    pub(super) fn takes_down(self) -> bool {
        matches!(self, Self::Stop | Self::Restart)
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobResult {
    Done,
    Failed,
    Canceled,
    /// It took longer than `JobTimeoutSec=`. A start that takes longer than `TimeoutStartSec=` has failed instead.
    Timeout,
    Dependency,
    Skipped,
    /// A reload of a unit that is down.
    Invalid,
}

impl JobResult {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Dependency => "dependency",
            Self::Skipped => "skipped",
            Self::Invalid => "invalid",
        }
    }
}

/// The number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A unit's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub kind: JobKind,
    /// Not waiting: it has begun.
    pub running: bool,
    /// It must not be cancelled: a stop for the manager's shutdown.
    pub(super) irreversible: bool,
    queued: bool,
    began: Duration,
    pub(super) timer: Option<Due>,
}

/// The job mode: what to do about conflicting jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse the new job, and drop its optional parts that would stop something.
    Fail,
    /// Cancel the old job.
    Replace,
    /// Cancel the old job, and ignore dependencies.
    IgnoreRequirements,
    /// Cancel all old jobs, and stop everything else.
    Isolate,
}

/// Why the manager did not accept a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It would cancel an irreversible job, its own or that of a unit it requires (`TransactionIsDestructive`).
    Destructive,
    /// The unit, or one that it requires, is masked (`UnitMasked`).
    Masked,
    /// There is no file (`NoSuchUnit`).
    NotFound,
    /// The file is bad (`BadUnitSetting`).
    BadSetting,
    /// It is not loaded, and loading it would not help (`NoSuchUnit`).
    NotLoaded,
    /// Its dependencies contradict each other (`TransactionJobsConflicting`).
    Contradiction,
    /// It cannot be reloaded (`JobTypeNotApplicable`).
    NotApplicable,
    /// `RefuseManualStart=` (`OnlyByDependency`).
    OnlyByDependency,
}

impl Model {
    /// `job_install`: one job per unit. A job that does not contradict an old one is merged into it and shares its
    /// number.
    pub(super) fn install(&mut self, unit: UnitId, kind: JobKind) -> JobId {
        if kind == JobKind::Nop {
            // It has a slot of its own beside the unit's job, and ends as soon as it runs.
            let id = self.next_job();
            self.signals.push(Signal::JobRemoved { job: id, unit, kind, result: JobResult::Done });
            self.notify_triggers(unit);
            self.queue_neighbours(unit);
            return id;
        }
        if let Some(old) = self[unit].run.job
            && old.kind.conflicts(kind)
        {
            self.finish_job(unit, JobResult::Canceled, false);
        }
        let job = match self[unit].run.job {
            Some(old) => {
                let merged = old.kind.merged(kind, self[unit].active()).unwrap_or(kind);
                // A file that was read before a reload was requested is not current enough.
                let covers = merged == old.kind && kind != JobKind::Reload;
                Job { kind: merged, running: old.running && covers, ..old }
            }
            None => Job {
                id: self.next_job(),
                kind,
                running: false,
                irreversible: false,
                queued: false,
                began: self.now,
                timer: None,
            },
        };
        self[unit].run.job = Some(job);
        if job.timer.is_none() {
            self.arm_job(unit);
        }
        self.changed(unit);
        self.queue(unit);
        job.id
    }

    /// `JobTimeoutSec=` counts from when the job was enqueued.
    pub(super) fn arm_job(&mut self, unit: UnitId) {
        let Some((began, timeout)) = self[unit].run.job.map(|job| job.began).zip(self[unit].spec.job_timeout) else {
            return;
        };
        let timer = self.due_at(began + timeout);
        if let Some(job) = &mut self[unit].run.job {
            job.timer = Some(timer);
        }
    }

    /// How many jobs there were.
    pub fn jobs_so_far(&self) -> u64 {
        self.jobs
    }

    fn next_job(&mut self) -> JobId {
        self.jobs += 1;
        JobId(self.jobs)
    }

    /// `job_add_to_run_queue`.
    pub(super) fn queue(&mut self, unit: UnitId) {
        if let Some(job) = &mut self[unit].run.job
            && !job.queued
        {
            job.queued = true;
            self.run_queue.push_back(unit);
        }
    }

    /// Runs the queued jobs, and those that they lead to.
    pub(super) fn run_jobs(&mut self, lives: &mut Lives<'_>) {
        let last_first = self.whim.last_job_first;
        let next = |queue: &mut VecDeque<UnitId>| if last_first { queue.pop_back() } else { queue.pop_front() };
        while let Some(unit) = next(&mut self.run_queue) {
            if let Some(job) = &mut self[unit].run.job
                && job.queued
            {
                job.queued = false;
                if !job.running {
                    self.run_job(unit, lives);
                }
            }
        }
    }

    /// `job_run_and_invalidate`.
    fn run_job(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        let Some(job) = self[unit].run.job.filter(|job| self.is_runnable(unit, job.kind)) else { return };
        self.set_running(unit, true);
        match job.kind {
            JobKind::Start => match self.start_unit(unit, lives) {
                Start::Begun => self[unit].last_start = Some(job.id),
                Start::Later => self.set_running(unit, false),
                Start::Already => self.finish_job(unit, JobResult::Done, true),
                Start::Failed => self.finish_job(unit, JobResult::Failed, true),
                Start::Dependency => self.finish_job(unit, JobResult::Dependency, true),
            },
            JobKind::Reload => match self[unit].active() {
                _ if self[unit].load != LoadState::Loaded => self.finish_job(unit, JobResult::Failed, true),
                _ if !self[unit].spec.can_reload => self.finish_job(unit, JobResult::Skipped, true),
                ActiveState::Active => self.reload_unit(unit),
                ActiveState::Reloading => self.set_running(unit, false),
                _ => self.finish_job(unit, JobResult::Invalid, true),
            },
            JobKind::VerifyActive => match self[unit].active() {
                ActiveState::Active | ActiveState::Reloading => self.finish_job(unit, JobResult::Done, true),
                ActiveState::Activating => self.set_running(unit, false),
                _ => self.finish_job(unit, JobResult::Skipped, true),
            },
            JobKind::Stop | JobKind::Restart => {
                if self[unit].active().is_down() {
                    // Nothing was done, and nothing is logged.
                    let (stops, last_stop) = (self[unit].stops, self[unit].last_stop);
                    self.finish_job(unit, JobResult::Done, true);
                    (self[unit].stops, self[unit].last_stop) = (stops, last_stop);
                } else {
                    // Even if it has ended: an announcement of the unit may have included the job.
                    self.signal_state(unit);
                    let logs = self.stop_unit(unit);
                    // Signalled only if the job still exists; a stop does not if the unit was down at once.
                    if logs && self[unit].run.job.is_some_and(|still| still.id == job.id) {
                        self.log_stop(unit, job.id);
                    }
                }
            }
            JobKind::Nop => {}
        }
    }

    fn log_stop(&mut self, unit: UnitId, job: JobId) {
        let now = self.now;
        self[unit].stops |= 1;
        self[unit].last_stop = Some((job, now));
    }

    fn set_running(&mut self, unit: UnitId, running: bool) {
        if let Some(job) = &mut self[unit].run.job {
            job.running = running;
        }
    }

    /// `job_is_runnable`: stops go before starts, children go down before and come up after their parents.
    fn is_runnable(&self, unit: UnitId, kind: JobKind) -> bool {
        if self.is_shutting_down && !kind.takes_down() {
            // It is ordered after basic.target, which is about to be stopped.
            return false;
        }
        // Both up, or one down: jobs of parents run first, unless this one is a stop.
        let waits_for_parent = |parent: UnitId| match self[parent].run.job {
            Some(_) => !kind.takes_down(),
            None => false,
        };
        let waits_for_child = |child: UnitId| self[child].run.job.is_some_and(|job| job.kind.takes_down());
        // A service is ordered after the units that trigger it.
        let (parents, children) = (&self[unit].spec.parents, &self.children[unit.0]);
        !parents.iter().any(|it| {
            it.after && waits_for_parent(it.parent) || it.bond == Bond::Triggers && waits_for_child(it.parent)
        }) && !children
            .iter()
            .any(|it| it.after && waits_for_child(it.unit) || it.bond == Bond::Triggers && waits_for_parent(it.unit))
    }

    /// `job_finish_and_invalidate`. With `recursive`, a failure fails the jobs that depend on it.
    pub(super) fn finish_job(&mut self, unit: UnitId, result: JobResult, recursive: bool) {
        let Some(mut job) = self[unit].run.job else { return };
        if result == JobResult::Done && job.kind == JobKind::Restart {
            // The first half is done: it becomes a start with the same number.
            job = Job { kind: JobKind::Start, running: false, ..job };
            self[unit].run.job = Some(job);
            self.queue(unit);
        } else {
            if job.kind == JobKind::Stop && matches!(result, JobResult::Done | JobResult::Timeout) {
                // "Stopped" (or that it took too long) is logged even without a "Stopping", if the unit was still
                // starting.
                self.log_stop(unit, job.id);
            }
            // The state of the unit is signalled before the end of the job, and that it has no job after it.
            self.signal_change(unit);
            self.signals.push(Signal::JobRemoved { job: job.id, unit, kind: job.kind, result });
            self[unit].run.job = None;
            self.changed(unit);
            self.notify_triggers(unit);
            let brings_up = matches!(job.kind, JobKind::Start | JobKind::VerifyActive);
            if recursive && brings_up && result != JobResult::Done {
                self.fail_dependents(unit, Bond::passes_failures);
            }
            if recursive && job.kind == JobKind::Stop && result != JobResult::Done {
                self.fail_dependents(unit, |bond| bond == Bond::Conflicts);
            }
            // A finished oneshot is not up, which is what `Requisite=` checks.
            if recursive && result == JobResult::Done && job.kind == JobKind::Start && !self[unit].active().is_up() {
                self.fail_dependents(unit, |bond| bond == Bond::Requisite);
            }
        }
        self.queue_neighbours(unit);
    }

    /// Jobs of units that are ordered after or before this one may have waited for it.
    fn queue_neighbours(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let dependency = self[unit].spec.parents[index];
            if dependency.after || dependency.bond == Bond::Triggers {
                self.queue_freed(dependency.parent);
            }
        }
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if child.after || child.bond == Bond::Triggers {
                self.queue_freed(child.unit);
            }
        }
    }

    fn queue_freed(&mut self, unit: UnitId) {
        let count = self.run_queue.len();
        self.queue(unit);
        if self.whim.freed_job_first && self.run_queue.len() > count {
            self.run_queue.rotate_right(1);
        }
    }

    fn fail_dependents(&mut self, unit: UnitId, bonds: impl Fn(Bond) -> bool) {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            let waits = |job: Job| matches!(job.kind, JobKind::Start | JobKind::VerifyActive);
            if bonds(child.bond) && self[child.unit].run.job.is_some_and(waits) {
                self.finish_job(child.unit, JobResult::Dependency, true);
            }
        }
    }

    /// Applies a unit's new state to its job (`unit_process_job`); returns whether the state was unexpected.
    pub(super) fn process_job(&mut self, unit: UnitId) -> bool {
        let Some(job) = self[unit].run.job else { return true };
        if !job.running {
            self.queue(unit);
        }
        let active = self[unit].active();
        match job.kind {
            JobKind::Start | JobKind::VerifyActive => {
                if active.is_up() {
                    self.finish_job(unit, JobResult::Done, true);
                } else if job.running && active != ActiveState::Activating {
                    if active.is_down() {
                        let failed = active == ActiveState::Failed;
                        self.finish_job(unit, if failed { JobResult::Failed } else { JobResult::Done }, true);
                    }
                    return true;
                }
            }
            JobKind::Reload => {
                if job.running && active == ActiveState::Active {
                    let failed = self[unit].run.reload_fails;
                    self.finish_job(unit, if failed { JobResult::Failed } else { JobResult::Done }, true);
                } else if job.running && !matches!(active, ActiveState::Activating | ActiveState::Reloading) {
                    if active.is_down() {
                        let failed = active == ActiveState::Failed;
                        self.finish_job(unit, if failed { JobResult::Failed } else { JobResult::Done }, true);
                    }
                    return true;
                }
            }
            JobKind::Stop | JobKind::Restart => {
                if active.is_down() {
                    self.finish_job(unit, JobResult::Done, true);
                } else if job.running && active != ActiveState::Deactivating {
                    self.finish_job(unit, JobResult::Failed, true);
                    return true;
                }
            }
            JobKind::Nop => {}
        }
        false
    }
}
