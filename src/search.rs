//! Who is unhealthy, found by asking the service manager: for whoever has no daemon to ask, and for
//! the daemon when a person wants something done.
//!
//! A [`Search`] decides nothing itself: it asks the very rules that the healer acts by.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::core::batch::{LeftAlone, Plan};
use crate::core::coverage::{Coverage, Resolution, Worker};
use crate::core::diagnosis::{Asked, Refusal};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::explain::{Explanation, Sources};
use crate::core::healer::{Fact, Healer, Mode, Timestamp};
use crate::core::memory::Memory;
use crate::core::policy::Policy;
use crate::core::probe::{Answer, Probe, REFUSALS, Reading, Sighting};
use crate::core::registry::Registry;
use crate::core::rules::{Case, History, Orders, Verdict};
use crate::core::target::{self, UnknownTarget};
use crate::core::units::{ActiveState, Detail, Inspection, UnitName, UnitStatus};
use crate::manager::{ManagerError, ServiceManager};
use crate::probe::probe;

/// How long [`Search::enrich`] may take for all workers together.
pub(crate) const ENRICH_BUDGET: Duration = Duration::from_millis(500);
/// How many units are looked at at once.
const LOOKS_AT_ONCE: usize = 16;
/// How many searches in the journal run at once: each is a process.
const SEARCHES_AT_ONCE: usize = 4;
/// The time between two questions to a worker that has refused to answer one.
const ASK_AGAIN: Duration = Duration::from_millis(200);

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

/// Why there is no plan.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlanError {
    /// Something was named that is no covered worker.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// A service manager, and the rules by which its units are judged.
#[derive(Debug, Clone)]
pub struct Search<M> {
    /// The manager.
    pub manager: M,
    /// The rules.
    pub rules: Rules,
}

impl<M: ServiceManager> Search<M> {
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

    /// Whose worker a unit is, if it is covered.
    ///
    /// # Errors
    ///
    /// If the service manager has to be asked and does not answer.
    pub async fn resolve(&self, unit: &UnitName) -> Result<Option<Worker>, ManagerError> {
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
        // Of those that are up there is something to find out only by a probe.
        let probes = !self.rules.policy.probes.is_empty();
        let list = if probes { self.manager.list().await? } else { self.manager.list_not_up().await? };
        let deaf = self.manager.failed_sockets().await?;
        let deaf = deaf.into_iter().filter(|unit| !list.iter().any(|status| status.name == *unit));
        let deaf = deaf.map(|unit| (unit, (Detail::default(), None)));
        let asked_about = list.iter().filter_map(|status| Some((status.name.clone(), self.curiosity(status, asked)?)));
        for (unit, (detail, question)) in asked_about.chain(deaf).collect::<Vec<_>>() {
            let (manager, places) = (self.manager.clone(), Arc::clone(&places));
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
            ActiveState::Activating | ActiveState::Deactivating => Some((Detail::default(), None)),
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
            Verdict::Held(refusal) if refusal.is_shown_only() => {
                findings.shown.push(Refused { worker: found, refusal })
            }
            Verdict::Held(_)
            | Verdict::GivenUp
            | Verdict::Hopeless(_)
            | Verdict::Exhausted(_)
            | Verdict::Wait(_)
            | Verdict::Start
            | Verdict::Restart => findings.unhealthy.push(found),
        }
    }

    /// Fills in the last log line of each worker, begun in order, until 500 ms have passed; what is left
    /// then stays empty.
    pub async fn enrich(&self, workers: &mut [UnhealthyWorker]) {
        let deadline = Instant::now() + ENRICH_BUDGET;
        let places = Arc::new(Semaphore::new(SEARCHES_AT_ONCE));
        let mut searches = JoinSet::new();
        for (at, worker) in workers.iter().enumerate().filter(|(_, worker)| worker.last_error.is_empty()) {
            let Ok(unit) = UnitName::parse(&worker.unit) else { continue };
            let (manager, places) = (self.manager.clone(), Arc::clone(&places));
            searches.spawn(async move {
                let _place = places.acquire().await;
                (at, manager.last_error(&unit).await)
            });
        }
        while let Ok(Some(found)) = timeout_at(deadline, searches.join_next()).await {
            if let Ok((at, line)) = found {
                workers[at].last_error = line.unwrap_or_default();
            }
        }
    }

    /// Why a worker is, or is not, being healed, as far as that can be known without the daemon: from
    /// the service manager, the journal, the files, and what the daemon has written down.
    ///
    /// # Errors
    ///
    /// If the service manager cannot be reached.
    pub async fn explain(&self, unit: &UnitName, sources: &Sources) -> Result<Option<Explanation>, ManagerError> {
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
        Ok(healer.explain(Timestamp::default(), unit, &seen, sources))
    }

    /// What there is to heal: everything, or what the targets name. Whoever names a worker wants to
    /// know why nothing is done about it.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn plan(&self, targets: &[String]) -> Result<Plan, PlanError> {
        let left_alone = |it: Refused| LeftAlone { worker: it.worker, reason: it.refusal.to_string() };
        if targets.is_empty() {
            let Findings { unhealthy, shown, .. } = self.find(Asked::ByRule).await?;
            return Ok(Plan {
                unhealthy,
                left_alone: shown.into_iter().map(left_alone).collect(),
                refused: Vec::new(),
            });
        }
        let workers = self.workers().await?;
        let units = target::select(&self.rules.coverage.by_own_names(targets), &workers)?;
        let is_named = |worker: &UnhealthyWorker| units.iter().any(|unit| unit.short() == worker.unit);
        let Findings { mut unhealthy, shown, refused } = self.find(Asked::ByPerson).await?;
        unhealthy.retain(is_named);
        let refused = refused.into_iter().chain(shown).filter(|it| is_named(&it.worker));
        let refused = refused.map(|it| Failure { worker: it.worker, error: it.refusal.to_string() }).collect();
        Ok(Plan { unhealthy, left_alone: Vec::new(), refused })
    }

    /// The last line that a unit has logged, if it can be found in time.
    pub async fn last_words(&self, unit: &UnitName) -> Option<String> {
        timeout_at(Instant::now() + ENRICH_BUDGET, self.manager.last_error(unit)).await.ok().flatten()
    }
}

/// What the healer has to know of a worker that was found to refuse its probe: that it did so as often
/// as it takes.
pub(crate) fn refused_often(unit: &UnitName, place: &str) -> impl Iterator<Item = Fact> {
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
