//! Finds unhealthy workers by asking the service manager: for clients without a daemon, and for the daemon when a
//! request names workers.
//!
//! A [`Detector`] decides nothing itself. The healer [judges](inquiry) which workers are unhealthy, and named workers
//! are judged by the same rules.

mod inquiry;
mod inspections;
mod named;
mod preview;
pub mod probe;
pub mod references;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::checkout;
use crate::core::batch::Plan;
use crate::core::context::Context;
use crate::core::diagnosis::{Refusal, State, Trigger};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::explain::{Explanation, References};
use crate::core::healer::{Fact, Healer, Mode, Timestamp};
use crate::core::probe::{Probe, ProbeAnswer, ProbeResult, ProbeVerdict, REFUSALS};
use crate::core::report::WorkerReport;
use crate::core::rules::{Case, History, Verdict};
use crate::core::saved_state::SavedWorker;
use crate::core::selector::{Resolution, Worker};
use crate::core::target::{self, UnknownTarget};
use crate::core::units::{ActiveState, Detail, Inspection, Location, UnitName, UnitStatus};
use crate::detect::probe::probe;
use crate::manager::{ManagerError, ServiceManager};
pub(crate) use inspections::Inspections;

/// Maximum time of [`Detector::enrich`] for all workers together.
pub(crate) const ENRICH_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum number of concurrent inspections.
const MAX_CONCURRENT_INSPECTIONS: usize = 16;
/// Maximum number of concurrent searches in the journal: each is a process.
const MAX_CONCURRENT_SEARCHES: usize = 4;
/// Time between two probes of a worker that has refused one.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// A worker that is down and must not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The worker.
    pub worker: UnhealthyWorker,
    /// The reason.
    pub refusal: Refusal,
}

/// The result of a search for unhealthy workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Unhealthy workers to heal.
    pub unhealthy: Vec<UnhealthyWorker>,
    /// Unhealthy workers that are only listed: a start would not help, or the configuration excludes their state.
    pub shown: Vec<Refused>,
    /// Workers that are down on purpose.
    pub refused: Vec<Refused>,
}

/// Inspects a unit. The directory that it runs in is spelt like that of the site.
pub(crate) fn inspect<M: ServiceManager>(
    manager: &M,
    context: &Context,
    unit: &UnitName,
    detail: Detail,
) -> impl Future<Output = Result<Inspection, ManagerError>> + Send + use<M> {
    let rivals = context.selector.rival_checkouts(&context.registry, unit);
    let (manager, unit) = (manager.clone(), unit.clone());
    async move { Ok(checkout::inspection_spelt_as_registered(manager.inspect(&unit, detail).await?, rivals).await) }
}

/// Whether the last log line of a worker in this state says what went wrong: not if it ended cleanly, cannot start, or
/// continues to run.
fn says_why(state: State) -> bool {
    match state {
        State::Failed | State::StartLimitHit | State::CrashLooping | State::Stuck => true,
        State::ExpectedButStopped | State::Unreachable | State::Orphaned => false,
    }
}

/// The order of lists: by site, then worker.
fn order(worker: &UnhealthyWorker) -> (String, String, String) {
    (worker.site.clone(), worker.worker.clone(), worker.unit.short().to_owned())
}

/// Why there is no plan.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlanError {
    /// A target names no covered worker.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// A service manager, and what its units are judged by.
#[derive(Debug, Clone)]
pub struct Detector<M> {
    /// The service manager.
    pub manager: M,
    /// The settings.
    pub context: Context,
    /// The workers' histories, as of when the saved state was read; none for the daemon, whose healer has them.
    pub saved_workers: BTreeMap<UnitName, SavedWorker>,
}

impl<M: ServiceManager> Detector<M> {
    /// A detector without a saved state.
    #[must_use]
    pub fn new(manager: M, context: Context) -> Self {
        Self { manager, context, saved_workers: BTreeMap::new() }
    }

    /// Every covered worker in any state. If a unit's name is ambiguous, the manager is asked for its directory.
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

    /// The worker of a unit, if it is covered.
    ///
    /// # Errors
    ///
    /// If the service manager has to be asked and does not answer.
    pub async fn resolve(&self, unit: &UnitName) -> Result<Option<Worker>, ManagerError> {
        let Context { selector, registry, .. } = &self.context;
        let resolution = match selector.resolve(registry, unit) {
            Resolution::NeedsDirectory => self.resolution_in(unit, &self.location(unit).await?),
            resolution => resolution,
        };
        Ok(match resolution {
            Resolution::Worker(worker) => Some(worker),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        })
    }

    fn resolution_in(&self, unit: &UnitName, place: &Location) -> Resolution {
        let Context { selector, registry, .. } = &self.context;
        if place.container {
            return selector.resolve_container(unit);
        }
        selector.resolve_in(registry, unit, place.directory.as_deref())
    }

    async fn location(&self, unit: &UnitName) -> Result<Location, ManagerError> {
        let rivals = self.context.selector.rival_checkouts(&self.context.registry, unit);
        Ok(checkout::spelt_as_registered(self.manager.location(unit).await?, rivals).await)
    }

    /// Inspects one unit.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    pub async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        inspect(&self.manager, &self.context, unit, detail).await
    }

    /// Every unhealthy worker that is not down on purpose, sorted by site, then worker: what a daemon's healer would
    /// report, given the saved state. Costs one list, an inspection of each unit that is not simply up, and a probe of
    /// each worker that has one.
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
        let (healer, _) = inquiry::judge(self).await?;
        Ok(healer.reports(Timestamp::default()).iter().filter_map(WorkerReport::unhealthy).collect())
    }

    /// Judges named workers: a request overrules an earlier stop, but no pause.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached or does not answer.
    async fn find(
        &self,
        targets: &[String],
        named: &[(UnitName, Worker)],
    ) -> Result<(Findings, Inspections), ManagerError> {
        let asked_at = Instant::now();
        let mut inspections = Vec::new();
        let places = Arc::new(Semaphore::new(MAX_CONCURRENT_INSPECTIONS));
        let list = self.manager.list().await?;
        let mut listed: HashMap<UnitName, UnitStatus> =
            list.into_iter().map(|status| (status.name.clone(), status)).collect();
        for (unit, worker) in named {
            let status = listed.remove(unit).unwrap_or_else(|| UnitStatus::gone(unit.clone()));
            let named_itself = target::names_itself(targets, unit, worker);
            let (detail, question) = self.detail_and_probe(&status);
            let (this, places, unit) = (self.clone(), Arc::clone(&places), unit.clone());
            inspections.push(tokio::spawn(async move {
                let _place = places.acquire().await;
                let refuses = match question {
                    Some((question, directory)) => {
                        refuses(&this.manager, &unit, &question, directory, this.context.policy.stable_after).await
                    }
                    None => None,
                };
                let seen = this.inspect(&unit, detail).await;
                (unit, named_itself, detail, seen, refuses)
            }));
        }
        let (mut findings, mut made) = (Findings::default(), Inspections::default());
        for inspection in inspections {
            let Ok((unit, named_itself, detail, seen, refuses)) = inspection.await else { continue };
            let seen = seen?;
            if named_itself || !rests_disabled(&seen) {
                self.judge(&unit, &seen, refuses.as_deref(), &mut findings);
            }
            made.add(unit, asked_at, detail, seen);
        }
        findings.unhealthy.sort_by_cached_key(order);
        findings.shown.sort_by_cached_key(|shown| order(&shown.worker));
        Ok((findings, made))
    }

    /// What to inspect of a named unit, and how to probe it if it is up.
    fn detail_and_probe(&self, status: &UnitStatus) -> (Detail, Option<(Probe, Option<PathBuf>)>) {
        let Context { selector, registry, policy, .. } = &self.context;
        // The healer wants to know its file before it starts it.
        let is_down = matches!(status.active, ActiveState::Inactive | ActiveState::Failed);
        let detail = Detail { file: is_down, restarts: true, ..Detail::default() };
        let Resolution::Worker(worker) = selector.resolve(registry, &status.name) else { return (detail, None) };
        let question = policy.probe_of(registry, &worker).filter(|_| status.active.is_up());
        let site = registry.site(&worker.site).filter(|_| worker.worktree.is_none());
        (detail, question.map(|question| (question, site.map(|site| site.path.clone()))))
    }

    fn judge(&self, unit: &UnitName, seen: &Inspection, refuses: Option<&str>, findings: &mut Findings) {
        let resolution = self.resolution_in(unit, &seen.location());
        let Resolution::Worker(worker) = &resolution else { return };
        let history = History { trigger: Trigger::Request, refuses, ..History::default() };
        let judgement = Case { context: &self.context, unit, worker, seen, history }.judge();
        let Some(state) = judgement.state else { return };
        let found = UnhealthyWorker {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            worktree: worker.worktree.clone(),
            unit: unit.clone(),
            state,
            last_error: String::new(),
        };
        match judgement.verdict {
            Verdict::Well | Verdict::Stopped => {}
            Verdict::Held(refusal) if refusal.is_intent() || matches!(refusal, Refusal::Masked | Refusal::Disabled) => {
                findings.refused.push(Refused { worker: found, refusal });
            }
            Verdict::Held(refusal) if refusal.is_shown_only() => {
                findings.shown.push(Refused { worker: found, refusal });
            }
            Verdict::Held(_)
            | Verdict::GivenUp
            | Verdict::Unrecoverable(_)
            | Verdict::Exhausted(_)
            | Verdict::Wait(_)
            | Verdict::Start
            | Verdict::Restart => findings.unhealthy.push(found),
        }
    }

    /// Fills in the last log line of each failed worker, in order, until 500 ms have passed; the others keep theirs. In
    /// other states that line would be no error.
    pub async fn enrich(&self, workers: &mut [UnhealthyWorker]) {
        let deadline = Instant::now() + ENRICH_TIMEOUT;
        let places = Arc::new(Semaphore::new(MAX_CONCURRENT_SEARCHES));
        let mut searches = JoinSet::new();
        for (at, worker) in workers.iter().enumerate().filter(|(_, worker)| says_why(worker.state)) {
            let (unit, manager, places) = (worker.unit.clone(), self.manager.clone(), Arc::clone(&places));
            searches.spawn(async move {
                let _place = places.acquire().await;
                (at, manager.last_error(&unit).await)
            });
        }
        while let Ok(Some(found)) = timeout_at(deadline, searches.join_next()).await {
            if let Ok((at, Some(line))) = found {
                // It says more than the error of the last attempt.
                workers[at].last_error = line;
            }
        }
    }

    /// Why a worker is, or is not, being healed, as far as that is known without the daemon: from the service manager,
    /// the journal, the files, and the saved state.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached.
    pub async fn explain(&self, unit: &UnitName, references: &References) -> Result<Option<Explanation>, ManagerError> {
        let mut list = self.manager.list().await?;
        let question =
            list.iter().find(|status| status.name == *unit).and_then(|status| self.detail_and_probe(status).1);
        let seen = self.inspect(unit, Detail::ALL).await?;
        let grace = self.context.policy.stable_after;
        let mut healer = Healer::new(Mode::Automatic, self.context.clone(), fastrand::Rng::new());
        healer.restore_workers(self.saved_workers.clone());
        if !list.iter().any(|status| status.name == *unit) {
            list.push(UnitStatus::gone(unit.clone()));
        }
        let mut facts = vec![Fact::Units(list)];
        if let Some((question, directory)) = question
            && let Some(place) = refuses(&self.manager, unit, &question, directory, grace).await
        {
            facts.extend(refused_often(unit, &place));
        }
        for fact in facts {
            // Only the resulting state is of interest, not the actions.
            let _ = healer.observe(Timestamp::default(), fact);
        }
        Ok(healer.explain(Timestamp::default(), unit, &seen, references))
    }

    /// What to heal: everything, or what the targets name. Named workers that are not healed are included with the
    /// reason.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn plan(&self, targets: &[String]) -> Result<Plan, PlanError> {
        Ok(self.plan_to_heal(targets).await?.0)
    }

    /// What to heal, as [`plan`](Self::plan), with the inspections that show it.
    pub(crate) async fn plan_to_heal(&self, targets: &[String]) -> Result<(Plan, Inspections), PlanError> {
        if targets.is_empty() {
            let (healer, inspections) = inquiry::judge(self).await?;
            return Ok((healer.plan(Timestamp::default()), inspections));
        }
        let named = self.named(targets, &self.workers().await?).await?;
        Ok(self.plan_for(targets, &named).await?)
    }

    /// What to heal of the workers that these targets name, with the inspections that show it.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached.
    pub(crate) async fn plan_for(
        &self,
        targets: &[String],
        named: &[(UnitName, Worker)],
    ) -> Result<(Plan, Inspections), ManagerError> {
        let (Findings { unhealthy, shown, refused }, inspections) =
            self.find(&self.context.selector.by_own_names(targets), named).await?;
        let refused = refused.into_iter().chain(shown);
        let refused = refused.map(|it| Failure { worker: it.worker, error: it.refusal.to_string() }).collect();
        Ok((Plan { unhealthy, refused, ..Plan::default() }, inspections))
    }

    /// The last line that a unit has logged, if it is found in time.
    pub async fn last_words(&self, unit: &UnitName) -> Option<String> {
        timeout_at(Instant::now() + ENRICH_TIMEOUT, self.manager.last_error(unit)).await.ok().flatten()
    }
}

/// Whether nothing says that it should be up: its site's name does not mean it.
fn rests_disabled(seen: &Inspection) -> bool {
    seen.active == ActiveState::Inactive && seen.file.is_some_and(|file| !file.enabled)
}

/// Facts for the healer that make a worker unreachable: as many refused probes as that takes.
pub(crate) fn refused_often(unit: &UnitName, place: &str) -> impl Iterator<Item = Fact> {
    let result =
        ProbeResult { answer: ProbeAnswer::Refused(place.to_owned()), up_for: Some(Duration::MAX), file_age: None };
    std::iter::repeat_n(Fact::Probed(unit.clone(), result), REFUSALS as usize)
}

/// The address at which a worker that is up keeps refusing its probe, if it does.
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
            sleep(PROBE_INTERVAL).await;
        }
        match probe(manager, unit, question, directory.clone()).await.verdict(grace) {
            ProbeVerdict::Refused(place) => refused = Some(place),
            ProbeVerdict::Reachable | ProbeVerdict::Nothing(_) => return None,
        }
    }
    refused
}
