//! Jobs: transactions that enqueue them, the queue that runs them, and what their end does to others
//! (systemd's transaction.c and job.c).

use std::collections::VecDeque;
use std::time::Duration;

use super::service::Start;
use super::spec::Bond;
use super::unit::{ActiveState, Due, LoadState, UnitId};
use super::{Lives, Model, Signal};

/// The type of a job. `try-restart` becomes a restart or nothing when it is enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Start,
    /// What `Requisite=` asks of the parent.
    VerifyActive,
    Stop,
    Restart,
    /// A `try-restart` of what is down.
    Nop,
}

impl JobKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::VerifyActive => "verify-active",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Nop => "nop",
        }
    }

    /// One job that does the work of both; `None` if they contradict each other.
    fn merged(self, other: Self) -> Option<Self> {
        use JobKind::{Nop, Restart, Start, Stop, VerifyActive};
        match (self, other) {
            _ if self == other => Some(self),
            (Nop, kind) | (kind, Nop) => Some(kind),
            (Stop, _) | (_, Stop) => None,
            (Restart, _) | (_, Restart) => Some(Restart),
            (Start | VerifyActive, Start | VerifyActive) => Some(Start),
        }
    }

    fn conflicts(self, other: Self) -> bool {
        self.merged(other).is_none()
    }

    fn is_redundant(self, active: ActiveState) -> bool {
        match self {
            Self::Start | Self::VerifyActive => active == ActiveState::Active,
            Self::Stop => active.is_down(),
            Self::Restart => false,
            Self::Nop => true,
        }
    }

    fn takes_down(self) -> bool {
        matches!(self, Self::Stop | Self::Restart)
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobResult {
    Done,
    Failed,
    Canceled,
    /// It took longer than `JobTimeoutSec=`. That of a start which takes longer than `TimeoutStartSec=` has failed.
    Timeout,
    Dependency,
    Skipped,
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
    /// Not waiting: it has been begun.
    pub running: bool,
    queued: bool,
    began: Duration,
    pub(super) timer: Option<Due>,
}

/// What to do about a job that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse the new one.
    Fail,
    /// Cancel the old one.
    Replace,
}

/// Why the manager did not accept a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It would cancel a job, its own or that of a unit it needs (`TransactionIsDestructive`).
    Destructive,
    /// The unit, or one that it needs, is masked (`UnitMasked`).
    Masked,
    /// There is no file (`NoSuchUnit`).
    NotFound,
    /// The file is bad (`BadUnitSetting`).
    BadSetting,
    /// It is not loaded, and loading it would not help (`NoSuchUnit`).
    NotLoaded,
}

/// A job to be, and whether the anchor needs it.
#[derive(Debug, Clone, Copy)]
struct Wish {
    unit: UnitId,
    kind: JobKind,
    kept: bool,
    reached: bool,
}

/// Jobs that belong together. Kept between uses for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    wishes: Vec<Wish>,
    /// Which wish pulled in which.
    pulls: Vec<(usize, usize)>,
}

impl Model {
    /// Enqueues a job with all that it needs; it is the first of the transaction's.
    pub(super) fn enqueue(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> Result<JobId, Refusal> {
        let mut transaction = std::mem::take(&mut self.transaction);
        transaction.wishes.clear();
        transaction.pulls.clear();
        let enqueued = self
            .wish(&mut transaction, unit, kind, None)
            .and_then(|()| self.activate(&mut transaction, mode))
            .map(|anchor| anchor.unwrap_or(JobId(0)));
        self.transaction = transaction;
        enqueued
    }

    /// `transaction_add_job_and_dependencies`.
    fn wish(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        kind: JobKind,
        by: Option<usize>,
    ) -> Result<(), Refusal> {
        self.load_into_memory(unit);
        if kind != JobKind::Stop {
            match self[unit].load {
                LoadState::Loaded => {}
                LoadState::Masked => return Err(Refusal::Masked),
                LoadState::NotFound => return Err(Refusal::NotFound),
                LoadState::BadSetting => return Err(Refusal::BadSetting),
            }
        }
        let known = transaction.wishes.iter().position(|wish| wish.unit == unit && wish.kind == kind);
        let this = known.unwrap_or(transaction.wishes.len());
        if let Some(by) = by {
            transaction.pulls.push((by, this));
        }
        if known.is_some() {
            return Ok(());
        }
        transaction.wishes.push(Wish { unit, kind, kept: true, reached: false });

        if matches!(kind, JobKind::Start | JobKind::Restart) {
            for index in 0..self[unit].spec.parents.len() {
                let dependency = self[unit].spec.parents[index];
                let pulled = match dependency.bond {
                    Bond::Requires | Bond::BindsTo => JobKind::Start,
                    Bond::Requisite => JobKind::VerifyActive,
                };
                self.wish(transaction, dependency.parent, pulled, Some(this))?;
            }
        }
        if kind.takes_down() {
            for index in 0..self.children[unit.0].len() {
                let child = self.children[unit.0][index];
                // A restart is passed on as try-restart, so that nothing is started that was down.
                if kind == JobKind::Stop || !self[child].active().is_down_or_deactivating() {
                    self.wish(transaction, child, kind, Some(this))?;
                }
            }
        }
        Ok(())
    }

    /// `transaction_activate`, as far as service units get with it: all their dependencies matter to the anchor, and
    /// no transaction of theirs contradicts itself.
    fn activate(&mut self, transaction: &mut Transaction, mode: Mode) -> Result<Option<JobId>, Refusal> {
        self.drop_redundant(transaction);
        let wishes = &mut transaction.wishes;
        for index in 0..wishes.len() {
            let later = index + 1..wishes.len();
            for other in later {
                if wishes[index].kept && wishes[other].kept && wishes[index].unit == wishes[other].unit {
                    wishes[index].kind = wishes[index].kind.merged(wishes[other].kind).unwrap_or(wishes[index].kind);
                    wishes[other].kept = false;
                }
            }
        }
        let in_the_way = |wish: &Wish| self[wish.unit].run.job.is_some_and(|job| job.kind.conflicts(wish.kind));
        if mode == Mode::Fail && wishes.iter().any(|wish| wish.kept && in_the_way(wish)) {
            return Err(Refusal::Destructive);
        }
        let mut anchor = None;
        for wish in wishes.iter().filter(|wish| wish.kept) {
            let id = self.install(wish.unit, wish.kind);
            anchor = anchor.or(Some(id));
        }
        Ok(anchor)
    }

    /// Drops what need not be done, and then what only that had needed.
    fn drop_redundant(&self, transaction: &mut Transaction) {
        let Transaction { wishes, pulls } = transaction;
        for index in 1..wishes.len() {
            let unit = wishes[index].unit;
            let needed = |(index, wish): (usize, &Wish)| {
                let conflicts = self[unit].run.job.is_some_and(|job| job.kind.conflicts(wish.kind));
                wish.unit == unit && (index == 0 || conflicts || !wish.kind.is_redundant(self[unit].active()))
            };
            wishes[index].kept = wishes.iter().enumerate().any(needed);
        }
        wishes[0].reached = true;
        while let Some(&(_, to)) = pulls.iter().find(|(from, to)| {
            let [from, to] = [wishes[*from], wishes[*to]];
            from.reached && to.kept && !to.reached
        }) {
            wishes[to].reached = true;
        }
        for wish in wishes {
            wish.kept = wish.kept && wish.reached;
        }
    }

    /// `job_install`: one job a unit. What does not contradict an old one is merged into it and shares its number.
    fn install(&mut self, unit: UnitId, kind: JobKind) -> JobId {
        if kind == JobKind::Nop {
            // It has a place of its own beside the unit's job, and ends as soon as it runs.
            let id = self.next_job();
            self.signals.push(Signal::JobRemoved { job: id, unit, kind, result: JobResult::Done });
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
                let merged = old.kind.merged(kind).unwrap_or(kind);
                Job { kind: merged, running: old.running && merged == old.kind, ..old }
            }
            None => Job { id: self.next_job(), kind, running: false, queued: false, began: self.now, timer: None },
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

    /// Runs what is queued, and what that leads to.
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
                Start::Begun => {}
                Start::Later => self.set_running(unit, false),
                Start::Already => self.finish_job(unit, JobResult::Done, true),
                Start::Failed => self.finish_job(unit, JobResult::Failed, true),
                Start::Dependency => self.finish_job(unit, JobResult::Dependency, true),
            },
            JobKind::VerifyActive => match self[unit].active() {
                ActiveState::Active => self.finish_job(unit, JobResult::Done, true),
                ActiveState::Activating => self.set_running(unit, false),
                _ => self.finish_job(unit, JobResult::Skipped, true),
            },
            JobKind::Stop | JobKind::Restart => {
                if self[unit].active().is_down() {
                    // Nothing was done, and nothing is logged.
                    let stops = self[unit].stops;
                    self.finish_job(unit, JobResult::Done, true);
                    self[unit].stops = stops;
                } else {
                    let logs = self.stop_unit(unit);
                    // Told only if the job is still there, as a stop is not if the unit was down at once.
                    if logs && self[unit].run.job.is_some_and(|still| still.id == job.id) {
                        self[unit].stops |= 1;
                    }
                }
            }
            JobKind::Nop => {}
        }
    }

    fn set_running(&mut self, unit: UnitId, running: bool) {
        if let Some(job) = &mut self[unit].run.job {
            job.running = running;
        }
    }

    /// `job_is_runnable`: stops go before starts, children go down before and come up after their parents.
    fn is_runnable(&self, unit: UnitId, kind: JobKind) -> bool {
        let has_job = |other: UnitId| self[other].run.job;
        let parents = self[unit].spec.parents.iter().filter(|dependency| dependency.after);
        let waits_for_parent =
            !kind.takes_down() && parents.into_iter().any(|dependency| has_job(dependency.parent).is_some());
        let waits_for_child = self.children[unit.0]
            .iter()
            .any(|child| self[*child].spec.is_after(unit) && has_job(*child).is_some_and(|job| job.kind.takes_down()));
        !waits_for_parent && !waits_for_child
    }

    /// `job_finish_and_invalidate`. With `recursive`, a failure fails the jobs that depend on it.
    pub(super) fn finish_job(&mut self, unit: UnitId, result: JobResult, recursive: bool) {
        let Some(mut job) = self[unit].run.job else { return };
        if result == JobResult::Done && job.kind == JobKind::Restart {
            // The first half is done: it becomes a start, under the same number.
            job = Job { kind: JobKind::Start, running: false, ..job };
            self[unit].run.job = Some(job);
            self.queue(unit);
        } else {
            if job.kind == JobKind::Stop && matches!(result, JobResult::Done | JobResult::Timeout) {
                // "Stopped" (or that it took too long), which comes even where there was no "Stopping": while it was
                // being started.
                self[unit].stops |= 1;
            }
            // What the unit has become is signalled before the end of the job, its being without one after it.
            self.signal_change(unit);
            self.signals.push(Signal::JobRemoved { job: job.id, unit, kind: job.kind, result });
            self[unit].run.job = None;
            self.changed(unit);
            let brings_up = matches!(job.kind, JobKind::Start | JobKind::VerifyActive);
            if recursive && brings_up && result != JobResult::Done {
                self.fail_dependents(unit, |_| true);
            }
            // A oneshot that is done is not up, which is what Requisite= is about.
            if recursive
                && result == JobResult::Done
                && job.kind == JobKind::Start
                && self[unit].active() != ActiveState::Active
            {
                self.fail_dependents(unit, |bond| bond == Bond::Requisite);
            }
        }
        self.queue_neighbours(unit);
    }

    /// Jobs of units that are ordered after or before this one may have waited for it.
    fn queue_neighbours(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let dependency = self[unit].spec.parents[index];
            if dependency.after {
                self.queue(dependency.parent);
            }
        }
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if self[child].spec.is_after(unit) {
                self.queue(child);
            }
        }
    }

    fn fail_dependents(&mut self, unit: UnitId, bonds: impl Fn(Bond) -> bool) {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            let needs = self[child].spec.parents.iter().any(|it| it.parent == unit && bonds(it.bond));
            let waits =
                matches!(self[child].run.job, Some(job) if matches!(job.kind, JobKind::Start | JobKind::VerifyActive));
            if needs && waits {
                self.finish_job(child, JobResult::Dependency, true);
            }
        }
    }

    /// What a unit's new state means for its job (`unit_process_job`); returns whether the state came unexpectedly.
    pub(super) fn process_job(&mut self, unit: UnitId) -> bool {
        let Some(job) = self[unit].run.job else { return true };
        if !job.running {
            self.queue(unit);
        }
        let active = self[unit].active();
        match job.kind {
            JobKind::Start | JobKind::VerifyActive => {
                if active == ActiveState::Active {
                    self.finish_job(unit, JobResult::Done, true);
                } else if job.running && active != ActiveState::Activating {
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
