//! Detects and heals without a daemon, directly through the service manager.
//!
//! A [`Standalone`] is a connection to the service manager together with the settings. It decides nothing itself:
//! [`Standalone::detect`] uses the daemon's own judgement, and [`Standalone::heal`] drives the daemon's own state
//! machine, with one attempt for each worker.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::actions::{self, InspectionOutcome, Rest};
use crate::core::batch::{Batch, Plan};
use crate::core::diagnosis::State;
use crate::core::event::{Event, Phase, Report, UnhealthyWorker};
use crate::core::healer::{Action, Fact, Healer, Mode, Timestamp};
use crate::core::selector::Worker;
use crate::core::units::{UnitName, UnitStatus};
use crate::deadline;
use crate::detect::{Detector, Inspections, PlanError, refused_often};
use crate::manager::{Changes, ManagerError, ServiceManager};

/// How often the units are listed while workers are being healed.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// A connection to the service manager, and the settings.
#[derive(Debug)]
pub struct Standalone<M> {
    detector: Detector<M>,
    changes: Changes,
}

impl<M: ServiceManager> Standalone<M> {
    /// A client of the detector's manager, with the channel of the manager's changes.
    #[must_use]
    pub fn new(detector: Detector<M>, changes: Changes) -> Self {
        Self { detector, changes }
    }

    /// Reads the aliases by which units are covered.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn find_aliases(&mut self) -> Result<(), ManagerError> {
        let Detector { manager, context, .. } = &mut self.detector;
        if context.selector.may_name_aliases() {
            context.selector.set_aliases(&manager.aliases().await?);
        }
        Ok(())
    }

    /// How long a worker has to stay up to count as healed.
    pub fn prove_within(&mut self, time: Duration) {
        self.detector.context.policy.stable_after = time;
    }

    /// The detector, for further questions.
    #[must_use]
    pub fn detector(&self) -> &Detector<M> {
        &self.detector
    }

    /// Every covered worker in any state: see [`Detector::workers`].
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn workers(&self) -> Result<Vec<(UnitName, Worker)>, ManagerError> {
        self.detector.workers().await
    }

    /// Every unhealthy worker that is not down on purpose: see [`Detector::detect`].
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use workerheal::{Options, connect};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), workerheal::SetupError> {
    /// let client = connect(&Options::default()).await?;
    /// let mut workers = client.detect().await?;
    /// client.enrich(&mut workers).await;
    /// for worker in &workers {
    ///     println!("{} is {}: {}", worker.unit, worker.state, worker.last_error);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn detect(&self) -> Result<Vec<UnhealthyWorker>, ManagerError> {
        self.detector.detect().await
    }

    /// Fills in the last log line of each failed worker, until half a second and 25 ms for each have passed; the others
    /// keep theirs.
    pub async fn enrich(&self, workers: &mut [UnhealthyWorker]) {
        self.detector.enrich(workers).await;
    }

    /// Heals one covered unit, and waits until it has stayed up or failed.
    ///
    /// # Errors
    ///
    /// If the unit is not covered, or could not be healed; says why.
    pub async fn heal_unit(&mut self, unit: &UnitName) -> Result<(), HealError> {
        if self.detector.resolve(unit).await?.is_none() {
            return Err(HealError::NotCovered(unit.clone()));
        }
        let planned = self.detector.plan_to_heal(&[unit.as_str().to_owned()]).await;
        let (plan, inspections) = planned.map_err(|error| match error {
            PlanError::Target(_) => HealError::NotCovered(unit.clone()),
            PlanError::Manager(error) => HealError::Manager(error),
        })?;
        let mut healing = self.heal_inspected(&plan, inspections).await?;
        while healing.next().await.is_some() {}
        match healing.into_report().failed.pop() {
            Some(failure) => Err(HealError::Failed(failure.error)),
            None => Ok(()),
        }
    }

    /// Detects and heals every unhealthy worker, passing each event to `emit`.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached. A worker that could not be healed is no error, but part of the report.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use workerheal::{Options, connect};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), workerheal::SetupError> {
    /// let mut client = connect(&Options::default()).await?;
    /// let report = client.heal_all(|event| println!("{event}")).await?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn heal_all(&mut self, mut emit: impl FnMut(Event)) -> Result<Report, ManagerError> {
        let (plan, inspections) = match self.detector.plan_to_heal(&[]).await {
            Ok(planned) => planned,
            Err(PlanError::Manager(error)) => return Err(error),
            // There are no targets.
            Err(PlanError::Target(_)) => Default::default(),
        };
        let mut healing = self.heal_inspected(&plan, inspections).await?;
        while let Some(event) = healing.next().await {
            emit(event);
        }
        Ok(healing.into_report())
    }

    /// Begins to heal the workers of a plan, in its order, at most `max_concurrent` at once; the events
    /// come from [`Healing::next`].
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached.
    pub async fn heal(&mut self, plan: &Plan) -> Result<Healing<'_, M>, ManagerError> {
        self.heal_inspected(plan, Inspections::default()).await
    }

    /// As [`heal`](Self::heal), without a second inspection of what the plan was made from a moment ago.
    pub(crate) async fn heal_inspected(
        &mut self,
        plan: &Plan,
        inspected: Inspections,
    ) -> Result<Healing<'_, M>, ManagerError> {
        let mut context = self.detector.context.clone();
        context.policy.give_up_after = Some(1);
        // A request overrules the workers' histories.
        let healer = Healer::new(Mode::OnRequest, context, fastrand::Rng::new());
        let batch = Batch::new(plan);
        let units = batch.units().to_vec();
        let mut healing = Healing {
            healer,
            origin: Instant::now(),
            refresh: Instant::now() + LIST_INTERVAL,
            inspected,
            inspections: VecDeque::new(),
            batch,
            begun: false,
            finished: false,
            client: self,
        };
        // From now on, changes are received.
        healing.client.detector.manager.refresh();
        let mut list = healing.client.detector.manager.list().await?;
        let listed: HashSet<UnitName> = list.iter().map(|status| status.name.clone()).collect();
        list.extend(units.iter().filter(|unit| !listed.contains(*unit)).cloned().map(UnitStatus::gone));
        healing.observe(Fact::Units(list)).await;
        for worker in plan.unhealthy.iter().filter(|worker| worker.state == State::Unreachable) {
            for fact in refused_often(&worker.unit, "its address") {
                healing.observe(fact).await;
            }
        }
        healing.begun = true;
        healing.observe(Fact::Heal(units)).await;
        Ok(healing)
    }
}

/// Why a unit was not healed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HealError {
    /// It is no covered worker.
    #[error("no worker named {0}")]
    NotCovered(UnitName),
    /// It could not be healed, or must not be; says why.
    #[error("{0}")]
    Failed(String),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// Workers being healed. If this is dropped early, it starts nothing further.
#[derive(Debug)]
pub struct Healing<'a, M> {
    client: &'a mut Standalone<M>,
    healer: Healer,
    origin: Instant,
    /// When to request a list, signals or not.
    refresh: Instant,
    /// The inspections of the plan.
    inspected: Inspections,
    /// Answered in order, so that the workers are started in order.
    inspections: VecDeque<JoinHandle<InspectionOutcome>>,
    batch: Batch,
    /// The healer has received the request.
    begun: bool,
    finished: bool,
}

impl<M: ServiceManager> Healing<'_, M> {
    /// The next event: `starting` for each worker in order, for each of them later `healed` or
    /// `failed`, and at the very end `done`. `None` after that.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.batch.take() {
                return Some(event);
            }
            if self.finished {
                return None;
            }
            if self.batch.is_done() {
                self.finished = true;
                return Some(Event::new(Phase::Done));
            }
            let fact = self.next_fact().await;
            self.observe(fact).await;
        }
    }

    /// The result for each worker, once [`next`](Self::next) has returned `None`.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.batch.into_report()
    }

    async fn next_fact(&mut self) -> Fact {
        let deadline = self.healer.next_deadline().map(|at| self.origin + at.since_origin());
        tokio::select! {
            biased;
            // The task that sends changes lives as long as the manager's handle.
            change = self.client.changes.recv() => change.map_or(Fact::Frozen, Fact::from),
            Some(ended) = front(&mut self.inspections) => {
                self.inspections.pop_front();
                match ended {
                    Ok((unit, id, result)) => Fact::Inspected(unit, id, result),
                    Err(_) => Fact::Deadline,
                }
            }
            () = deadline::reached(deadline) => Fact::Deadline,
            () = sleep_until(self.refresh) => {
                self.refresh = Instant::now() + LIST_INTERVAL;
                self.client.detector.manager.refresh();
                Fact::Deadline
            }
        }
    }

    async fn observe(&mut self, fact: Fact) {
        let now = Timestamp::from_origin(self.origin.elapsed());
        self.inspected.outdate(&fact);
        for mut action in self.healer.observe(now, fact) {
            if let Action::Inspect { detail, .. } = &mut action {
                // A request overrules an earlier stop: no need to search for it.
                detail.stop = false;
            }
            let manager = &self.client.detector.manager;
            match actions::perform(action, manager, self.healer.context(), &mut self.inspected) {
                Rest::Inspection(task) => self.inspections.push_back(tokio::spawn(task)),
                // Probes are for monitoring, not for a requested heal.
                Rest::Nothing | Rest::Probe(_) => {}
                Rest::Event(event) => self.pass_to_batch(event).await,
            }
        }
        for unit in self.batch.units().to_vec() {
            if self.begun
                && self.batch.awaits(&unit)
                && let Some(is_up) = self.healer.at_rest(&unit)
            {
                self.batch.settle(&unit, is_up);
            }
        }
    }

    /// Passes an event of the healer to the batch.
    async fn pass_to_batch(&mut self, event: Event) {
        let Some(unit) = &event.unit else { return };
        let last_words = if event.phase == Phase::Failed && self.batch.awaits(unit) {
            self.client.detector.last_words(unit).await
        } else {
            None
        };
        self.batch.observe(&event, self.healer.held_for(unit), last_words);
    }
}

/// The result of the oldest inspection; `None` if there is none under way.
async fn front<T>(inspections: &mut VecDeque<JoinHandle<T>>) -> Option<Result<T, tokio::task::JoinError>> {
    match inspections.front_mut() {
        Some(task) => Some(task.await),
        None => None,
    }
}
