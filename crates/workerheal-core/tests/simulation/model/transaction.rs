//! Transactions: which jobs a job brings with it, and whether they are accepted (systemd's transaction.c).

use super::Model;
use super::jobs::{JobId, JobKind, JobResult, Mode, Refusal};
use super::spec::Bond;
use super::states::{ActiveState, LoadState};
use super::unit::UnitId;

/// A job of a transaction that is not accepted yet.
#[derive(Debug, Clone, Copy)]
struct PlannedJob {
    unit: UnitId,
    kind: JobKind,
    kept: bool,
    /// The anchor requires it.
    matters: bool,
    /// It was pulled in by a job that is kept.
    reached: bool,
}

/// Which job pulled in which.
#[derive(Debug, Clone, Copy)]
struct Pull {
    from: usize,
    to: usize,
    matters: bool,
}

/// Jobs that belong together; the first is the anchor. Reused, to keep its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    jobs: Vec<PlannedJob>,
    pulls: Vec<Pull>,
}

impl Transaction {
    /// Marks the jobs that can be reached from the anchor by pulls that are `followed`.
    fn reach(&mut self, followed: impl Fn(&Pull) -> bool) {
        let Self { jobs, pulls } = self;
        for planned in jobs.iter_mut() {
            planned.reached = false;
        }
        jobs[0].reached = true;
        while let Some(pull) = pulls.iter().find(|pull| {
            let [from, to] = [jobs[pull.from], jobs[pull.to]];
            from.reached && to.kept && !to.reached && followed(pull)
        }) {
            jobs[pull.to].reached = true;
        }
    }

    /// `transaction_find_jobs_that_matter_to_anchor`.
    fn find_what_matters(&mut self) {
        self.reach(|pull| pull.matters);
        for planned in &mut self.jobs {
            planned.matters = planned.reached;
        }
    }

    /// `transaction_collect_garbage`.
    fn drop_unneeded(&mut self) {
        self.reach(|_| true);
        for planned in &mut self.jobs {
            planned.kept &= planned.reached;
        }
    }

    /// `transaction_delete_job`, with the jobs that require it.
    fn delete(&mut self, index: usize) {
        self.jobs[index].kept = false;
        while let Some(pull) = self
            .pulls
            .iter()
            .find(|pull| pull.matters && !self.jobs[pull.to].kept && self.jobs[pull.from].kept && pull.from != 0)
        {
            self.jobs[pull.from].kept = false;
        }
    }

    /// `transaction_merge_jobs`: one job per unit. If two contradict each other, one that does not matter is dropped.
    fn merge(&mut self, active: impl Fn(UnitId) -> ActiveState) -> Result<(), Refusal> {
        while let Some((one, other)) = self.contradiction() {
            let [first, second] = [self.jobs[one], self.jobs[other]];
            let dropped = match (first.matters, second.matters) {
                (true, true) => return Err(Refusal::Contradiction),
                (true, false) => other,
                (false, true) => one,
                // A stop is preferred to a start.
                (false, false) if first.kind == JobKind::Stop => one,
                (false, false) => other,
            };
            self.delete(dropped);
            self.drop_unneeded();
        }
        let jobs = &mut self.jobs;
        for index in 0..jobs.len() {
            for other in index + 1..jobs.len() {
                let [one, another] = [jobs[index], jobs[other]];
                if one.kept && another.kept && one.unit == another.unit {
                    jobs[index].kind = one.kind.merged(another.kind, active(one.unit)).unwrap_or(one.kind);
                    jobs[other].kept = false;
                }
            }
        }
        Ok(())
    }

    fn contradiction(&self) -> Option<(usize, usize)> {
        let jobs = &self.jobs;
        let clash = |one: &PlannedJob, other: &PlannedJob| {
            one.kept && other.kept && one.unit == other.unit && one.kind.conflicts(other.kind)
        };
        (0..jobs.len()).find_map(|one| {
            (one + 1..jobs.len()).find(|other| clash(&jobs[one], &jobs[*other])).map(|other| (one, other))
        })
    }
}

impl Model {
    /// Enqueues a job with all its dependencies; it is the first of the transaction.
    pub(super) fn enqueue(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> Result<JobId, Refusal> {
        let mut transaction = std::mem::take(&mut self.transaction);
        transaction.jobs.clear();
        transaction.pulls.clear();
        let enqueued = self
            .add_job(&mut transaction, unit, kind, None, mode)
            .and_then(|()| {
                if mode == Mode::Isolate {
                    self.add_isolate_jobs(&mut transaction)?;
                }
                self.activate(&mut transaction, mode)
            })
            .map(|anchor| anchor.unwrap_or(JobId(0)));
        self.transaction = transaction;
        enqueued
    }

    /// `transaction_add_job_and_dependencies`.
    fn add_job(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        kind: JobKind,
        by: Option<(usize, bool)>,
        mode: Mode,
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
        if kind == JobKind::Reload && !self[unit].spec.can_reload {
            return Err(Refusal::NotApplicable);
        }
        let known = transaction.jobs.iter().position(|planned| planned.unit == unit && planned.kind == kind);
        let this = known.unwrap_or(transaction.jobs.len());
        if let Some((from, matters)) = by {
            transaction.pulls.push(Pull { from, to: this, matters });
        }
        if known.is_some() {
            return Ok(());
        }
        transaction.jobs.push(PlannedJob { unit, kind, kept: true, matters: false, reached: false });
        if mode == Mode::IgnoreRequirements {
            return Ok(());
        }
        if matches!(kind, JobKind::Start | JobKind::Restart) {
            self.add_start_dependencies(transaction, unit, this, mode)?;
        }
        if kind.takes_down() {
            self.add_stop_dependencies(transaction, unit, kind, this, mode)?;
        }
        Ok(())
    }

    fn add_start_dependencies(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        this: usize,
        mode: Mode,
    ) -> Result<(), Refusal> {
        if self.is_shutting_down {
            // All units conflict with shutdown.target, whose start must not be cancelled.
            return Err(Refusal::Destructive);
        }
        for index in 0..self[unit].spec.parents.len() {
            let dependency = self[unit].spec.parents[index];
            let pulled = match dependency.bond {
                Bond::Requires | Bond::BindsTo => JobKind::Start,
                Bond::Requisite => JobKind::VerifyActive,
                Bond::Conflicts => JobKind::Stop,
                Bond::Wants => {
                    // It does not matter that it cannot be started.
                    let _ = self.add_job(transaction, dependency.parent, JobKind::Start, Some((this, false)), mode);
                    continue;
                }
                Bond::PartOf | Bond::Triggers => continue,
            };
            self.add_job(transaction, dependency.parent, pulled, Some((this, true)), mode)?;
        }
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if child.bond == Bond::Conflicts {
                let _ = self.add_job(transaction, child.unit, JobKind::Stop, Some((this, false)), mode);
            }
        }
        Ok(())
    }

    fn add_stop_dependencies(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        kind: JobKind,
        this: usize,
        mode: Mode,
    ) -> Result<(), Refusal> {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            // A restart is passed on as try-restart, so that it starts no unit that was down.
            let is_concerned = kind == JobKind::Stop || !self[child.unit].active().is_down_or_deactivating();
            if child.bond.passes_stops() && is_concerned {
                self.add_job(transaction, child.unit, kind, Some((this, true)), mode)?;
            }
        }
        Ok(())
    }

    /// `transaction_add_isolate_jobs`: everything else is stopped.
    fn add_isolate_jobs(&mut self, transaction: &mut Transaction) -> Result<(), Refusal> {
        for unit in (0..self.units.len()).map(UnitId) {
            let it = &self.units[unit.0];
            let is_idle = it.active().is_down() && it.run.job.is_none();
            if it.in_memory && !is_idle && transaction.jobs.iter().all(|planned| planned.unit != unit) {
                self.add_job(transaction, unit, JobKind::Stop, Some((0, true)), Mode::Isolate)?;
            }
        }
        Ok(())
    }

    /// `transaction_activate`, for what has no cycles.
    fn activate(&mut self, transaction: &mut Transaction, mode: Mode) -> Result<Option<JobId>, Refusal> {
        transaction.find_what_matters();
        if mode == Mode::Fail {
            self.minimize_impact(transaction);
        }
        self.drop_redundant(transaction);
        if mode != Mode::Isolate {
            transaction.drop_unneeded();
        }
        transaction.merge(|unit| self[unit].active())?;
        self.drop_redundant(transaction);
        let in_the_way = |planned: &&PlannedJob| {
            let job = self[planned.unit].run.job.filter(|job| job.kind.conflicts(planned.kind));
            job.is_some_and(|job| mode == Mode::Fail || job.irreversible)
        };
        let mut kept = transaction.jobs.iter().filter(|planned| planned.kept);
        if kept.any(|planned| in_the_way(&planned)) {
            return Err(Refusal::Destructive);
        }
        if mode == Mode::Isolate {
            self.cancel_all_but(transaction);
        }
        let mut anchor = None;
        for planned in transaction.jobs.iter().filter(|planned| planned.kept) {
            let id = self.install(planned.unit, planned.kind);
            anchor = anchor.or(Some(id));
        }
        Ok(anchor)
    }

    fn cancel_all_but(&mut self, transaction: &Transaction) {
        for unit in (0..self.units.len()).map(UnitId) {
            if !transaction.jobs.iter().any(|planned| planned.kept && planned.unit == unit) {
                self.finish_job(unit, JobResult::Canceled, false);
            }
        }
    }

    /// `transaction_minimize_impact`: drops optional jobs that would stop something or cancel a job.
    fn minimize_impact(&self, transaction: &mut Transaction) {
        for index in 0..transaction.jobs.len() {
            let planned = transaction.jobs[index];
            let it = &self[planned.unit];
            let stops = planned.kind == JobKind::Stop && !it.active().is_down_or_deactivating();
            let cancels = it.run.job.is_some_and(|job| job.kind.conflicts(planned.kind));
            if planned.kept && !planned.matters && (stops || cancels) {
                transaction.delete(index);
            }
        }
    }

    /// `transaction_drop_redundant`: drops redundant jobs.
    fn drop_redundant(&self, transaction: &mut Transaction) {
        let jobs = &mut transaction.jobs;
        for index in 1..jobs.len() {
            let unit = jobs[index].unit;
            let needed = |(index, planned): (usize, &PlannedJob)| {
                let conflicts = self[unit].run.job.is_some_and(|job| job.kind.conflicts(planned.kind));
                planned.kept
                    && planned.unit == unit
                    && (index == 0 || conflicts || !planned.kind.is_redundant(self[unit].active()))
            };
            jobs[index].kept = jobs[index].kept && jobs.iter().enumerate().any(needed);
        }
    }

    /// The manager begins to shut down: everything is stopped, and that must not be cancelled.
    pub(super) fn enqueue_shutdown(&mut self) {
        self.is_shutting_down = true;
        for unit in (0..self.units.len()).map(UnitId) {
            let it = &self.units[unit.0];
            let is_busy = it.active() != ActiveState::Inactive && it.active() != ActiveState::Failed;
            if it.in_memory && (is_busy || it.run.job.is_some_and(|job| job.kind.conflicts(JobKind::Stop))) {
                self.install(unit, JobKind::Stop);
                if let Some(job) = &mut self[unit].run.job {
                    job.irreversible = true;
                }
            }
        }
    }
}
