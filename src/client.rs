//! Detecting and healing in one go: what the command line and other programs use.
//!
//! A [`Client`] is a connection to the service manager together with the rules of who is a worker
//! and who is not to be touched. It decides nothing itself: [`Client::detect`] asks the diagnosis
//! that the daemon acts by, and [`Client::heal`] drives the daemon's own state machine, one
//! attempt for each worker.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::core::coverage::{Coverage, Resolution, Worker};
use crate::core::diagnosis::{Asked, Diagnosis, Refusal, diagnose, intent};
use crate::core::event::{Event, Failure, Phase, Report, UnhealthyWorker};
use crate::core::healer::{Action, Fact, Healer, Mode, Purpose, Timestamp};
use crate::core::policy::Policy;
use crate::core::registry::Registry;
use crate::core::units::{ActiveState, Detail, Inspection, UnitName};
use crate::deadline;
use crate::manager::{Change, Changes, ManagerError, ServiceManager};

/// How long [`Client::enrich`] may take for all workers together.
const ENRICH_BUDGET: Duration = Duration::from_millis(500);
/// How many units are looked at at once.
const LOOKS_AT_ONCE: usize = 16;

/// Who is a worker, and who is not to be touched.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Which units are workers.
    pub coverage: Coverage,
    /// How they are healed.
    pub policy: Policy,
    /// The sites, and what their users paused.
    pub registry: Arc<Registry>,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
}

/// A worker that is down and is not going to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which worker.
    pub worker: UnhealthyWorker,
    /// Why.
    pub refusal: Refusal,
}

/// What a search for unhealthy workers found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Workers that something is wrong with, sorted by site, then worker.
    pub unhealthy: Vec<UnhealthyWorker>,
    /// Workers that are down, but meant to be.
    pub refused: Vec<Refused>,
}

/// A connection to the service manager, and the rules to use it by.
#[derive(Debug)]
pub struct Client<M> {
    manager: M,
    changes: Changes,
    rules: Rules,
}

impl<M: ServiceManager> Client<M> {
    /// A client of a manager that is connected, with the channel of its changes.
    #[must_use]
    pub fn new(manager: M, changes: Changes, rules: Rules) -> Self {
        Self { manager, changes, rules }
    }

    /// The rules it works by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Every covered worker, whatever its state. Of a unit whose name alone does not tell, the
    /// manager is asked.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn workers(&self) -> Result<Vec<(UnitName, Worker)>, ManagerError> {
        let mut workers = Vec::new();
        for status in self.manager.list().await? {
            if let Some(worker) = self.resolve(&status.name).await? {
                workers.push((status.name, worker));
            }
        }
        workers.sort_by(|(_, a), (_, b)| a.cmp(b));
        Ok(workers)
    }

    async fn resolve(&self, unit: &UnitName) -> Result<Option<Worker>, ManagerError> {
        let Rules { coverage, registry, .. } = &self.rules;
        let resolution = match coverage.resolve(registry, unit) {
            Resolution::NeedsDirectory => {
                let seen = self.manager.inspect(unit, Detail::default()).await?;
                coverage.resolve_in(registry, unit, seen.working_directory.as_deref())
            }
            resolution => resolution,
        };
        Ok(match resolution {
            Resolution::Worker(worker) => Some(worker),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        })
    }

    /// Every worker that something is wrong with and that is not meant to be down, sorted by site,
    /// then worker. Costs one list, and a closer look at each unit that failed.
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
    /// # async fn main() -> Result<(), workerheal::Error> {
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
        Ok(self.find(Asked::ByRule).await?.unhealthy)
    }

    /// As [`detect`](Self::detect), and those that are down on purpose with it. A person who asks
    /// for a worker by name overrules an earlier stop, but no pause.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn find(&self, asked: Asked) -> Result<Findings, ManagerError> {
        let mut looks = Vec::new();
        let places = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        let Rules { coverage, registry, .. } = &self.rules;
        for status in self.manager.list().await? {
            if status.active == ActiveState::Failed
                && coverage.resolve(registry, &status.name) != Resolution::NotAWorker
            {
                let (manager, places, unit) = (self.manager.clone(), Arc::clone(&places), status.name);
                looks.push(tokio::spawn(async move {
                    let _place = places.acquire().await;
                    let seen = manager.inspect(&unit, Detail { stop: asked == Asked::ByRule, file: false }).await;
                    (unit, seen)
                }));
            }
        }
        let mut findings = Findings::default();
        for look in looks {
            let Ok((unit, seen)) = look.await else { continue };
            self.judge(&unit, &seen?, asked, &mut findings);
        }
        findings.unhealthy.sort_by(|a, b| (&a.site, &a.worker, &a.unit).cmp(&(&b.site, &b.worker, &b.unit)));
        Ok(findings)
    }

    fn judge(&self, unit: &UnitName, seen: &Inspection, asked: Asked, findings: &mut Findings) {
        let Rules { coverage, registry, stop_marker, .. } = &self.rules;
        let resolution = coverage.resolve_in(registry, unit, seen.working_directory.as_deref());
        let Resolution::Worker(worker) = resolution else { return };
        let unhealthy = |state| UnhealthyWorker {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            unit: unit.short().to_owned(),
            state,
            last_error: String::new(),
        };
        let against = intent(registry, *stop_marker, &worker);
        match (diagnose(seen, None, asked), against) {
            (Diagnosis::Well | Diagnosis::Stopped, _) => {}
            (Diagnosis::Curable(state) | Diagnosis::Hopeless(state, _) | Diagnosis::Held(state, _), Some(refusal))
            | (Diagnosis::Held(state, refusal @ (Refusal::Masked | Refusal::Disabled)), None) => {
                findings.refused.push(Refused { worker: unhealthy(state), refusal });
            }
            (Diagnosis::Curable(state) | Diagnosis::Hopeless(state, _) | Diagnosis::Held(state, _), None) => {
                findings.unhealthy.push(unhealthy(state));
            }
        }
    }

    /// Fills in the last log line of each worker, in order, until 500 ms have passed; what is left
    /// then stays empty.
    pub async fn enrich(&self, workers: &mut [UnhealthyWorker]) {
        let deadline = Instant::now() + ENRICH_BUDGET;
        for worker in workers.iter_mut().filter(|worker| worker.last_error.is_empty()) {
            let Ok(unit) = UnitName::parse(&worker.unit) else { continue };
            match timeout_at(deadline, self.manager.last_error(&unit)).await {
                Ok(line) => worker.last_error = line.unwrap_or_default(),
                Err(_) => return,
            }
        }
    }

    /// Heals one unit that the rules cover, and waits until that is proven or has failed.
    ///
    /// # Errors
    ///
    /// If the unit is not covered, or could not be healed; says why.
    pub async fn heal_unit(&mut self, unit: &UnitName) -> Result<(), HealError> {
        if self.resolve(unit).await?.is_none() {
            return Err(HealError::NotCovered(unit.clone()));
        }
        let mut findings = self.find(Asked::ByPerson).await?;
        if let Some(refused) = findings.refused.into_iter().find(|refused| refused.worker.unit == unit.short()) {
            return Err(HealError::Failed(refused.refusal.to_string()));
        }
        findings.unhealthy.retain(|worker| worker.unit == unit.short());
        let mut healing = self.heal(findings.unhealthy).await?;
        while healing.next().await.is_some() {}
        match healing.into_report().failed.pop() {
            Some(failure) => Err(HealError::Failed(failure.error)),
            None => Ok(()),
        }
    }

    /// Detects every unhealthy worker and heals them, telling each step to `emit`.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached. A worker that could not be healed is no error, but
    /// stands in the report.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use workerheal::{Options, connect};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), workerheal::Error> {
    /// let mut client = connect(&Options::default()).await?;
    /// let report = client.heal_all(|event| println!("{event}")).await?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn heal_all(&mut self, mut emit: impl FnMut(Event)) -> Result<Report, ManagerError> {
        let unhealthy = self.detect().await?;
        let mut healing = self.heal(unhealthy).await?;
        while let Some(event) = healing.next().await {
            emit(event);
        }
        Ok(healing.into_report())
    }

    /// Begins to heal these workers, in this order, at most `max_concurrent` at once; the events
    /// come from [`Healing::next`].
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached.
    pub async fn heal(&mut self, workers: Vec<UnhealthyWorker>) -> Result<Healing<'_, M>, ManagerError> {
        let Rules { coverage, policy, registry, stop_marker } = self.rules.clone();
        let policy = Policy { give_up_after: Some(1), ..policy };
        let start_timeout = policy.timeout;
        let healer = Healer::new(Mode::OnRequest, coverage, policy, registry, fastrand::Rng::new());
        let units: Vec<UnitName> = workers.iter().filter_map(|worker| UnitName::parse(&worker.unit).ok()).collect();
        let mut healing = Healing {
            healer,
            start_timeout,
            origin: Instant::now(),
            looks: VecDeque::new(),
            started: HashSet::new(),
            pending: units.iter().cloned().zip(workers).collect(),
            events: VecDeque::new(),
            finished: false,
            report: Report::default(),
            client: self,
        };
        let list = healing.client.manager.list().await?;
        healing.observe(Fact::StopMarker(stop_marker)).await;
        healing.observe(Fact::Units(list)).await;
        healing.observe(Fact::Heal(units)).await;
        Ok(healing)
    }
}

/// Why a unit was not healed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HealError {
    /// It is none of the workers that the configuration covers.
    #[error("{0} is not a worker that the configuration covers")]
    NotCovered(UnitName),
    /// It could not be brought back, or is not to be; says why.
    #[error("{0}")]
    Failed(String),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// The end of a close look.
type Look = (UnitName, Purpose, Result<Inspection, String>);

/// Workers being healed. Dropped early, it starts nothing further.
#[derive(Debug)]
pub struct Healing<'a, M> {
    client: &'a mut Client<M>,
    healer: Healer,
    start_timeout: Duration,
    origin: Instant,
    /// Answered in order, so that the workers are started in order.
    looks: VecDeque<JoinHandle<Look>>,
    started: HashSet<UnitName>,
    pending: HashMap<UnitName, UnhealthyWorker>,
    events: VecDeque<Event>,
    finished: bool,
    report: Report,
}

impl<M: ServiceManager> Healing<'_, M> {
    /// The next event: `starting` for each worker in order, for each of them later `healed` or
    /// `failed`, and at the very end `done`. `None` after that.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.finished {
                return None;
            }
            if self.pending.is_empty() {
                self.finished = true;
                return Some(Event::new(Phase::Done));
            }
            let fact = self.next_fact().await;
            self.observe(fact).await;
        }
    }

    /// What became of the workers, once [`next`](Self::next) has answered `None`.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    async fn next_fact(&mut self) -> Fact {
        let deadline = self.healer.next_deadline().map(|at| self.origin + at.since_origin());
        tokio::select! {
            biased;
            change = self.client.changes.recv() => match change {
                Some(Change::Units(list)) => Fact::Units(list),
                Some(Change::Unit(status)) => Fact::Changed(status),
                Some(Change::Finished(unit, outcome)) => Fact::Finished(unit, outcome),
                Some(Change::JobDone(unit)) => Fact::JobDone(unit),
                // The task that tells of changes lives as long as the manager's handle.
                Some(Change::Reloading | Change::Lost(_)) | None => Fact::Frozen,
            },
            Some(look) = front(&mut self.looks) => {
                self.looks.pop_front();
                match look {
                    Ok((unit, purpose, result)) => Fact::Inspected(unit, purpose, result),
                    Err(_) => Fact::Deadline,
                }
            }
            () = deadline::reached(deadline) => Fact::Deadline,
        }
    }

    async fn observe(&mut self, fact: Fact) {
        let now = Timestamp::from_origin(self.origin.elapsed());
        for action in self.healer.observe(now, fact) {
            match action {
                Action::Inspect { unit, purpose, detail } => {
                    let manager = self.client.manager.clone();
                    self.looks.push_back(tokio::spawn(async move {
                        // Whoever names a worker overrules an earlier stop: no need to trace it.
                        let detail = Detail { stop: false, ..detail };
                        let seen = manager.inspect(&unit, detail).await.map_err(|error| error.to_string());
                        (unit, purpose, seen)
                    }));
                }
                Action::Start(unit) => self.client.manager.start(&unit, self.start_timeout),
                Action::Emit(event) => self.tell(event).await,
            }
        }
    }

    /// Turns the healer's event into those of a batch.
    async fn tell(&mut self, event: Event) {
        let Ok(unit) = UnitName::parse(&event.unit) else { return };
        if !self.pending.contains_key(&unit) {
            return;
        }
        match event.phase {
            Phase::Starting => self.begin(&unit),
            Phase::Healed | Phase::Recovered => self.conclude(&unit, None),
            Phase::Failed => {
                let mut error = event.error;
                if let Ok(Some(line)) = timeout(ENRICH_BUDGET, self.client.manager.last_error(&unit)).await {
                    error = format!("{error}: {line}");
                    if let Some(worker) = self.pending.get_mut(&unit) {
                        worker.last_error = line;
                    }
                }
                self.conclude(&unit, Some(error));
            }
            Phase::Held | Phase::GaveUp => self.conclude(&unit, Some(event.reason)),
            Phase::Stopped if event.reason.is_empty() => self.conclude(&unit, Some("its user stopped it".to_owned())),
            Phase::Stopped => self.conclude(&unit, Some(event.reason)),
            Phase::Detected | Phase::Scheduled | Phase::Done => {}
        }
    }

    fn begin(&mut self, unit: &UnitName) {
        if self.started.insert(unit.clone()) {
            let event = self.event(unit, Phase::Starting);
            self.events.push_back(event);
        }
    }

    fn conclude(&mut self, unit: &UnitName, error: Option<String>) {
        // What was refused before its start is told in the same two steps as everything else.
        self.begin(unit);
        let phase = if error.is_some() { Phase::Failed } else { Phase::Healed };
        let mut event = self.event(unit, phase);
        let Some(worker) = self.pending.remove(unit) else { return };
        match error {
            None => self.report.healed.push(worker),
            Some(error) => {
                event.error.clone_from(&error);
                self.report.failed.push(Failure { worker, error });
            }
        }
        self.events.push_back(event);
    }

    fn event(&self, unit: &UnitName, phase: Phase) -> Event {
        let site = self.pending.get(unit).map(|worker| worker.site.clone()).unwrap_or_default();
        Event { site, unit: unit.short().to_owned(), ..Event::new(phase) }
    }
}

/// The end of the oldest look, `None` if there is none under way.
async fn front<T>(looks: &mut VecDeque<JoinHandle<T>>) -> Option<Result<T, tokio::task::JoinError>> {
    match looks.front_mut() {
        Some(look) => Some(look.await),
        None => None,
    }
}
