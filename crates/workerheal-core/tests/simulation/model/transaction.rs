//! Transactions: which jobs a job brings with it, and whether they are accepted (systemd's transaction.c).

use super::Model;
use super::jobs::{JobId, JobKind, JobResult, Mode, Refusal};
use super::spec::Bond;
use super::states::{ActiveState, LoadState};
use super::unit::UnitId;

/// A job to be.
#[derive(Debug, Clone, Copy)]
struct Wish {
    unit: UnitId,
    kind: JobKind,
    kept: bool,
    /// The anchor needs it.
    matters: bool,
    /// It was pulled in by what is kept.
    reached: bool,
}

/// Which wish pulled in which.
#[derive(Debug, Clone, Copy)]
struct Pull {
    from: usize,
    to: usize,
    matters: bool,
}

/// Jobs that belong together; the first is the anchor. Kept between uses for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    wishes: Vec<Wish>,
    pulls: Vec<Pull>,
}

impl Transaction {
    /// Marks what can be reached from the anchor by pulls that are `followed`.
    fn reach(&mut self, followed: impl Fn(&Pull) -> bool) {
        let Self { wishes, pulls } = self;
        for wish in wishes.iter_mut() {
            wish.reached = false;
        }
        wishes[0].reached = true;
        while let Some(pull) = pulls.iter().find(|pull| {
            let [from, to] = [wishes[pull.from], wishes[pull.to]];
            from.reached && to.kept && !to.reached && followed(pull)
        }) {
            wishes[pull.to].reached = true;
        }
    }

    /// `transaction_find_jobs_that_matter_to_anchor`.
    fn find_what_matters(&mut self) {
        self.reach(|pull| pull.matters);
        for wish in &mut self.wishes {
            wish.matters = wish.reached;
        }
    }

    /// `transaction_collect_garbage`.
    fn drop_unneeded(&mut self) {
        self.reach(|_| true);
        for wish in &mut self.wishes {
            wish.kept &= wish.reached;
        }
    }

    /// `transaction_delete_job`, with what needs it.
    fn delete(&mut self, index: usize) {
        self.wishes[index].kept = false;
        while let Some(pull) = self
            .pulls
            .iter()
            .find(|pull| pull.matters && !self.wishes[pull.to].kept && self.wishes[pull.from].kept && pull.from != 0)
        {
            self.wishes[pull.from].kept = false;
        }
    }

    /// `transaction_merge_jobs`: one job a unit. Of two that contradict each other, one goes that does not matter.
    fn merge(&mut self, active: impl Fn(UnitId) -> ActiveState) -> Result<(), Refusal> {
        while let Some((one, other)) = self.contradiction() {
            let [first, second] = [self.wishes[one], self.wishes[other]];
            let dropped = match (first.matters, second.matters) {
                (true, true) => return Err(Refusal::Contradiction),
                (true, false) => other,
                (false, true) => one,
                // Rather a stop than a start.
                (false, false) if first.kind == JobKind::Stop => one,
                (false, false) => other,
            };
            self.delete(dropped);
            self.drop_unneeded();
        }
        let wishes = &mut self.wishes;
        for index in 0..wishes.len() {
            for other in index + 1..wishes.len() {
                let [one, another] = [wishes[index], wishes[other]];
                if one.kept && another.kept && one.unit == another.unit {
                    wishes[index].kind = one.kind.merged(another.kind, active(one.unit)).unwrap_or(one.kind);
                    wishes[other].kept = false;
                }
            }
        }
        Ok(())
    }

    fn contradiction(&self) -> Option<(usize, usize)> {
        let wishes = &self.wishes;
        let clash = |one: &Wish, other: &Wish| {
            one.kept && other.kept && one.unit == other.unit && one.kind.conflicts(other.kind)
        };
        (0..wishes.len()).find_map(|one| {
            (one + 1..wishes.len()).find(|other| clash(&wishes[one], &wishes[*other])).map(|other| (one, other))
        })
    }
}

impl Model {
    /// Enqueues a job with all that it needs; it is the first of the transaction's.
    pub(super) fn enqueue(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> Result<JobId, Refusal> {
        let mut transaction = std::mem::take(&mut self.transaction);
        transaction.wishes.clear();
        transaction.pulls.clear();
        let enqueued = self
            .wish(&mut transaction, unit, kind, None, mode)
            .and_then(|()| {
                if mode == Mode::Isolate {
                    self.wish_isolation(&mut transaction)?;
                }
                self.activate(&mut transaction, mode)
            })
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
        let known = transaction.wishes.iter().position(|wish| wish.unit == unit && wish.kind == kind);
        let this = known.unwrap_or(transaction.wishes.len());
        if let Some((from, matters)) = by {
            transaction.pulls.push(Pull { from, to: this, matters });
        }
        if known.is_some() {
            return Ok(());
        }
        transaction.wishes.push(Wish { unit, kind, kept: true, matters: false, reached: false });
        if mode == Mode::IgnoreRequirements {
            return Ok(());
        }
        if matches!(kind, JobKind::Start | JobKind::Restart) {
            self.wish_what_a_start_needs(transaction, unit, this, mode)?;
        }
        if kind.takes_down() {
            self.wish_what_goes_down(transaction, unit, kind, this, mode)?;
        }
        Ok(())
    }

    fn wish_what_a_start_needs(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        this: usize,
        mode: Mode,
    ) -> Result<(), Refusal> {
        if self.is_shutting_down {
            // All units conflict with shutdown.target, whose start nothing may cancel.
            return Err(Refusal::Destructive);
        }
        for index in 0..self[unit].spec.parents.len() {
            let dependency = self[unit].spec.parents[index];
            let pulled = match dependency.bond {
                Bond::Requires | Bond::BindsTo => JobKind::Start,
                Bond::Requisite => JobKind::VerifyActive,
                Bond::Conflicts => JobKind::Stop,
                Bond::Wants => {
                    // That it cannot be had does not matter.
                    let _ = self.wish(transaction, dependency.parent, JobKind::Start, Some((this, false)), mode);
                    continue;
                }
                Bond::PartOf | Bond::Triggers => continue,
            };
            self.wish(transaction, dependency.parent, pulled, Some((this, true)), mode)?;
        }
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            if child.bond == Bond::Conflicts {
                let _ = self.wish(transaction, child.unit, JobKind::Stop, Some((this, false)), mode);
            }
        }
        Ok(())
    }

    fn wish_what_goes_down(
        &mut self,
        transaction: &mut Transaction,
        unit: UnitId,
        kind: JobKind,
        this: usize,
        mode: Mode,
    ) -> Result<(), Refusal> {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            // A restart is passed on as try-restart, so that nothing is started that was down.
            let is_concerned = kind == JobKind::Stop || !self[child.unit].active().is_down_or_deactivating();
            if child.bond.passes_stops() && is_concerned {
                self.wish(transaction, child.unit, kind, Some((this, true)), mode)?;
            }
        }
        Ok(())
    }

    /// `transaction_add_isolate_jobs`: everything else is stopped.
    fn wish_isolation(&mut self, transaction: &mut Transaction) -> Result<(), Refusal> {
        for unit in (0..self.units.len()).map(UnitId) {
            let it = &self.units[unit.0];
            let is_idle = it.active().is_down() && it.run.job.is_none();
            if it.in_memory && !is_idle && transaction.wishes.iter().all(|wish| wish.unit != unit) {
                self.wish(transaction, unit, JobKind::Stop, Some((0, true)), Mode::Isolate)?;
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
        let in_the_way = |wish: &&Wish| {
            let job = self[wish.unit].run.job.filter(|job| job.kind.conflicts(wish.kind));
            job.is_some_and(|job| mode == Mode::Fail || job.irreversible)
        };
        let mut kept = transaction.wishes.iter().filter(|wish| wish.kept);
        if kept.any(|wish| in_the_way(&wish)) {
            return Err(Refusal::Destructive);
        }
        if mode == Mode::Isolate {
            self.cancel_all_but(transaction);
        }
        let mut anchor = None;
        for wish in transaction.wishes.iter().filter(|wish| wish.kept) {
            let id = self.install(wish.unit, wish.kind);
            anchor = anchor.or(Some(id));
        }
        Ok(anchor)
    }

    fn cancel_all_but(&mut self, transaction: &Transaction) {
        for unit in (0..self.units.len()).map(UnitId) {
            if !transaction.wishes.iter().any(|wish| wish.kept && wish.unit == unit) {
                self.finish_job(unit, JobResult::Canceled, false);
            }
        }
    }

    /// `transaction_minimize_impact`: drops what does not matter and would stop something or cancel a job.
    fn minimize_impact(&self, transaction: &mut Transaction) {
        for index in 0..transaction.wishes.len() {
            let wish = transaction.wishes[index];
            let it = &self[wish.unit];
            let stops = wish.kind == JobKind::Stop && !it.active().is_down_or_deactivating();
            let cancels = it.run.job.is_some_and(|job| job.kind.conflicts(wish.kind));
            if wish.kept && !wish.matters && (stops || cancels) {
                transaction.delete(index);
            }
        }
    }

    /// `transaction_drop_redundant`: drops what need not be done.
    fn drop_redundant(&self, transaction: &mut Transaction) {
        let wishes = &mut transaction.wishes;
        for index in 1..wishes.len() {
            let unit = wishes[index].unit;
            let needed = |(index, wish): (usize, &Wish)| {
                let conflicts = self[unit].run.job.is_some_and(|job| job.kind.conflicts(wish.kind));
                wish.kept
                    && wish.unit == unit
                    && (index == 0 || conflicts || !wish.kind.is_redundant(self[unit].active()))
            };
            wishes[index].kept = wishes[index].kept && wishes.iter().enumerate().any(needed);
        }
    }

    /// The manager begins to shut down: everything is stopped, and nothing may cancel that.
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
