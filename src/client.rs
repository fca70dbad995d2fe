//! Detecting and healing in one go: what the command line and other programs use.
//!
//! A [`Client`] is a connection to the service manager together with the rules of who is a worker
//! and who is not to be touched. It decides nothing itself: [`Client::detect`] asks the diagnosis
//! that the daemon acts by, and [`Client::heal`] drives the daemon's own state machine, one
//! attempt for each worker.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::core::coverage::{Coverage, Resolution, Worker};
use crate::core::diagnosis::{Asked, Refusal, State};
use crate::core::event::{Event, Failure, Phase, Report, UnhealthyWorker};
use crate::core::explain::{Explanation, Sources};
use crate::core::healer::{Action, Fact, Healer, Look, Mode, Timestamp};
use crate::core::memory::Memory;
use crate::core::policy::Policy;
use crate::core::probe::{Answer, Probe, REFUSALS, Reading, Sighting};
use crate::core::registry::Registry;
use crate::core::rules::{Case, History, Orders, Verdict};
use crate::core::units::{ActiveState, Detail, Inspection, UnitName, UnitStatus};
use crate::deadline;
use crate::manager::{Change, Changes, ManagerError, ServiceManager};
use crate::probe::probe;

/// How long [`Client::enrich`] may take for all workers together.
const ENRICH_BUDGET: Duration = Duration::from_millis(500);
/// How many units are looked at at once.
const LOOKS_AT_ONCE: usize = 16;
/// The time between two questions to a worker that has refused to answer one.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How often the units are listed while workers are being healed.
const REFRESH: Duration = Duration::from_secs(1);

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
    /// What the daemon has written down, as it was when this was read.
    pub memory: Memory,
}

impl Rules {
    fn orders(&self) -> Orders<'_> {
        let Self { policy, registry, stop_marker, memory, .. } = self;
        Orders { policy, registry, stop_marker: *stop_marker, pauses: &memory.pauses }
    }
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
    /// Workers that something is wrong with, and that are to be healed.
    pub unhealthy: Vec<UnhealthyWorker>,
    /// Workers that something is wrong with, but nothing that a start would mend, or nothing that the
    /// configuration has healed.
    pub shown: Vec<Refused>,
    /// Workers that are down, but meant to be.
    pub refused: Vec<Refused>,
}

/// By site, then worker.
fn order(worker: &UnhealthyWorker) -> (String, String, String) {
    (worker.site.clone(), worker.worker.clone(), worker.unit.clone())
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
    /// then worker. Costs one list, a closer look at each unit that is not simply up, and a question
    /// to each that has a health probe.
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
        let Findings { mut unhealthy, shown, .. } = self.find(Asked::ByRule).await?;
        unhealthy.extend(shown.into_iter().map(|shown| shown.worker));
        unhealthy.sort_by_cached_key(order);
        Ok(unhealthy)
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
        for status in self.manager.list().await? {
            let Some((detail, question)) = self.curiosity(&status, asked) else { continue };
            let (manager, places, unit) = (self.manager.clone(), Arc::clone(&places), status.name);
            let grace = self.rules.policy.stable_after;
            looks.push(tokio::spawn(async move {
                let _place = places.acquire().await;
                let refuses = match question {
                    Some((question, directory)) => refuses(&manager, &unit, &question, directory, grace).await,
                    None => None,
                };
                let seen = manager.inspect(&unit, detail).await;
                (unit, seen, refuses)
            }));
        }
        let mut findings = Findings::default();
        for look in looks {
            let Ok((unit, seen, refuses)) = look.await else { continue };
            self.judge(&unit, &seen?, asked, refuses.as_deref(), &mut findings);
        }
        findings.unhealthy.sort_by_cached_key(order);
        findings.shown.sort_by_cached_key(|shown| order(&shown.worker));
        Ok(findings)
    }

    /// What there is to find out about a unit, if anything: a unit that is up is well, unless it has
    /// a probe that says otherwise.
    #[expect(clippy::type_complexity, reason = "a question and where it is asked belong together")]
    fn curiosity(&self, status: &UnitStatus, asked: Asked) -> Option<(Detail, Option<(Probe, Option<PathBuf>)>)> {
        let Rules { coverage, registry, policy, .. } = &self.rules;
        let resolution = coverage.resolve(registry, &status.name);
        if resolution == Resolution::NotAWorker {
            return None;
        }
        let stop = asked == Asked::ByRule;
        match status.active {
            ActiveState::Failed => Some((Detail { stop, ..Detail::default() }, None)),
            ActiveState::Inactive => Some((Detail { stop, file: true, ..Detail::default() }, None)),
            ActiveState::Activating if status.auto_restart => Some((Detail::default(), None)),
            active if active.is_up() => {
                let Resolution::Worker(worker) = resolution else { return None };
                let question = policy.probes.get(&worker.name)?.clone();
                let site = registry.site(&worker.site).filter(|_| worker.worktree.is_none());
                Some((Detail::default(), Some((question, site.map(|site| site.path.clone())))))
            }
            _ => None,
        }
    }

    fn judge(&self, unit: &UnitName, seen: &Inspection, asked: Asked, refuses: Option<&str>, findings: &mut Findings) {
        let Rules { coverage, registry, .. } = &self.rules;
        let resolution = coverage.resolve_in(registry, unit, seen.working_directory.as_deref());
        let Resolution::Worker(worker) = &resolution else { return };
        let history = History { asked, refuses, ..History::default() };
        let judgement = Case { orders: self.rules.orders(), unit, worker, seen, history }.judge();
        let Some(state) = judgement.state else { return };
        let found = UnhealthyWorker {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            unit: unit.short().to_owned(),
            state,
            last_error: String::new(),
        };
        match judgement.verdict {
            Verdict::Well | Verdict::Stopped => {}
            Verdict::Held(refusal) if refusal.is_intent() || matches!(refusal, Refusal::Masked | Refusal::Disabled) => {
                findings.refused.push(Refused { worker: found, refusal });
            }
            Verdict::Held(
                refusal @ (Refusal::CrashLooping(_) | Refusal::DirectoryGone(_) | Refusal::StateNotHealed(_)),
            ) => findings.shown.push(Refused { worker: found, refusal }),
            Verdict::Held(_)
            | Verdict::GivenUp
            | Verdict::Hopeless(_)
            | Verdict::Exhausted(_)
            | Verdict::Wait(_)
            | Verdict::Start
            | Verdict::Restart => findings.unhealthy.push(found),
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

    /// Why a worker is, or is not, being healed, as far as that can be known without the daemon: from
    /// the service manager, the journal, the files, and what the daemon has written down.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached, or the unit is not covered.
    pub async fn explain(&self, unit: &UnitName, sources: &Sources) -> Result<Explanation, HealError> {
        let list = self.manager.list().await?;
        let status = list.iter().find(|status| status.name == *unit).cloned();
        let seen = self.manager.inspect(unit, Detail::ALL).await?;
        let Rules { coverage, policy, registry, stop_marker, memory } = self.rules.clone();
        let grace = policy.stable_after;
        let mut healer = Healer::new(Mode::Automatic, coverage, policy, registry, fastrand::Rng::new());
        healer.restore(memory);
        let mut facts = vec![Fact::StopMarker(stop_marker), Fact::Units(list)];
        let question = status.as_ref().and_then(|status| self.curiosity(status, Asked::ByRule)).and_then(|(_, it)| it);
        if let Some((question, directory)) = question
            && let Some(place) = refuses(&self.manager, unit, &question, directory, grace).await
        {
            facts.extend(refused_often(unit, &place));
        }
        for fact in facts {
            // Only what it makes of them is of interest, not what it would do.
            let _ = healer.observe(Timestamp::default(), fact);
        }
        healer.explain(Timestamp::default(), unit, &seen, sources).ok_or_else(|| HealError::NotCovered(unit.clone()))
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
        let mut refused = findings.refused.into_iter().chain(findings.shown);
        if let Some(refused) = refused.find(|refused| refused.worker.unit == unit.short()) {
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
        let unhealthy = self.find(Asked::ByRule).await?.unhealthy;
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
        let Rules { coverage, policy, registry, stop_marker, memory } = self.rules.clone();
        let policy = Policy { give_up_after: Some(1), ..policy };
        let start_timeout = policy.timeout;
        let mut healer = Healer::new(Mode::OnRequest, coverage, policy, registry, fastrand::Rng::new());
        healer.restore(Memory { workers: BTreeMap::new(), ..memory });
        let silent = workers.iter().filter(|worker| worker.state == State::Unreachable);
        let silent: Vec<UnitName> = silent.filter_map(|worker| UnitName::parse(&worker.unit).ok()).collect();
        let units: Vec<UnitName> = workers.iter().filter_map(|worker| UnitName::parse(&worker.unit).ok()).collect();
        let mut healing = Healing {
            healer,
            start_timeout,
            origin: Instant::now(),
            refresh: Instant::now() + REFRESH,
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
        for unit in silent {
            for fact in refused_often(&unit, "its address") {
                healing.observe(fact).await;
            }
        }
        healing.observe(Fact::Heal(units)).await;
        Ok(healing)
    }
}

/// What the healer has to know of a worker that was found to refuse its probe: that it did so as often
/// as it takes.
fn refused_often(unit: &UnitName, place: &str) -> impl Iterator<Item = Fact> {
    let sighting = Sighting { answer: Answer::Refused(place.to_owned()), up_for: Some(Duration::MAX), file_age: None };
    std::iter::repeat_n(Fact::Probed(unit.clone(), sighting), REFUSALS as usize)
}

/// Whether a worker that is up refuses to answer, and goes on refusing; where.
async fn refuses(
    manager: &impl ServiceManager,
    unit: &UnitName,
    question: &Probe,
    directory: Option<PathBuf>,
    grace: Duration,
) -> Option<String> {
    let mut refused = None;
    for asked in 0..REFUSALS {
        if asked > 0 {
            sleep(ASK_AGAIN).await;
        }
        match probe(manager, unit, question, directory.clone()).await.reading(grace) {
            Reading::Refused(place) => refused = Some(place),
            Reading::Reachable | Reading::Nothing(_) => return None,
        }
    }
    refused
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
type Seen = (UnitName, Look, Result<Inspection, String>);

/// Workers being healed. Dropped early, it starts nothing further.
#[derive(Debug)]
pub struct Healing<'a, M> {
    client: &'a mut Client<M>,
    healer: Healer,
    start_timeout: Duration,
    origin: Instant,
    /// When to ask for a list, whatever was signalled.
    refresh: Instant,
    /// Answered in order, so that the workers are started in order.
    looks: VecDeque<JoinHandle<Seen>>,
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
                    Ok((unit, look, result)) => Fact::Inspected(unit, look, result),
                    Err(_) => Fact::Deadline,
                }
            }
            () = deadline::reached(deadline) => Fact::Deadline,
            () = sleep_until(self.refresh) => {
                self.refresh = Instant::now() + REFRESH;
                self.client.manager.refresh();
                Fact::Deadline
            }
        }
    }

    async fn observe(&mut self, fact: Fact) {
        let now = Timestamp::from_origin(self.origin.elapsed());
        for action in self.healer.observe(now, fact) {
            match action {
                Action::Inspect { unit, look, detail } => {
                    let manager = self.client.manager.clone();
                    self.looks.push_back(tokio::spawn(async move {
                        // Whoever names a worker overrules an earlier stop: no need to trace it.
                        let detail = Detail { stop: false, ..detail };
                        let seen = manager.inspect(&unit, detail).await.map_err(|error| error.to_string());
                        (unit, look, seen)
                    }));
                }
                Action::Start(unit) => self.client.manager.start(&unit, self.start_timeout),
                Action::Restart(unit) => self.client.manager.restart(&unit, self.start_timeout),
                // Who heals on request watches over nothing.
                Action::Probe { .. } => {}
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
            Phase::Held if self.is_worth_waiting_for(&unit) => {}
            Phase::Held | Phase::GaveUp => self.conclude(&unit, Some(event.reason)),
            Phase::Stopped if event.reason.is_empty() => self.conclude(&unit, Some("its user stopped it".to_owned())),
            Phase::Stopped => self.conclude(&unit, Some(event.reason)),
            Phase::Detected | Phase::Scheduled | Phase::Done => {}
        }
    }

    /// Whether what the worker is held for is about to pass: a job of somebody else, or a unit that it
    /// needs and that is being healed too.
    fn is_worth_waiting_for(&self, unit: &UnitName) -> bool {
        match self.healer.held_for(unit) {
            Some(Refusal::JobPending) => true,
            Some(Refusal::ParentDown(parent)) => self.pending.contains_key(parent.name.as_str()),
            _ => false,
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
        self.conclude_those_left_waiting();
    }

    /// Gives up on the workers that need a unit which was to be healed first, and was not.
    fn conclude_those_left_waiting(&mut self) {
        let left = self.pending.keys().find_map(|unit| match self.healer.held_for(unit)? {
            Refusal::ParentDown(_) if self.is_worth_waiting_for(unit) => None,
            refusal @ Refusal::ParentDown(_) => Some((unit.clone(), refusal.to_string())),
            _ => None,
        });
        if let Some((unit, why)) = left {
            self.conclude(&unit, Some(why));
        }
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
