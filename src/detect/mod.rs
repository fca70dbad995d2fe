//! Finds unhealthy workers by asking the service manager: for clients without a daemon, and for the daemon when a
//! request names workers.
//!
//! A [`Detector`] decides nothing itself. The healer judges which workers are unhealthy, and named workers are judged by
//! the same rules.
//!
//! - `inquiry`: which workers are unhealthy.
//! - `plan`: what a heal would do; `preview`: what it would do now, for a dry run.
//! - `named`: the workers that a request names.
//! - `inspections`: inspections made for a plan, so that the heal need not repeat them.
//! - [`probe`]: health probes.
//! - [`references`]: the files and commands that an explanation refers to.

mod inquiry;
mod inspections;
mod named;
mod plan;
mod preview;
pub mod probe;
pub mod references;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::checkout;
use crate::core::context::Context;
use crate::core::diagnosis::State;
use crate::core::event::UnhealthyWorker;
use crate::core::explain::{Explanation, References};
use crate::core::healer::{Fact, Healer, Mode, Timestamp};
use crate::core::probe::Probe;
use crate::core::report::WorkerReport;
use crate::core::saved_state::SavedWorker;
use crate::core::selector::{Resolution, Worker};
use crate::core::units::{ActiveState, Detail, Inspection, Location, UnitName, UnitStatus};
use crate::manager::{ManagerError, ServiceManager};
pub(crate) use inspections::Inspections;
pub use plan::PlanError;
pub(crate) use probe::refused_often;
use probe::refuses;

/// Maximum time to find last errors, and how much more for each of them.
const LAST_ERRORS_TIMEOUT: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(25)];
/// Number of last errors that are looked up together.
const LOOKED_UP_TOGETHER: usize = 16;
/// Maximum number of concurrent inspections.
const MAX_CONCURRENT_INSPECTIONS: usize = 16;
/// Maximum number of concurrent look-ups of last errors: each runs a process.
const MAX_CONCURRENT_LOOK_UPS: usize = 4;

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

/// The last errors of different units, in their order, as far as they are found in time.
pub(crate) async fn last_errors<M: ServiceManager>(manager: &M, units: &[UnitName]) -> Vec<Option<String>> {
    let [time, each] = LAST_ERRORS_TIMEOUT;
    let deadline = Instant::now() + time + each.saturating_mul(u32::try_from(units.len()).unwrap_or(u32::MAX));
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT_LOOK_UPS));
    let mut look_ups = JoinSet::new();
    for (at, units) in units.chunks(LOOKED_UP_TOGETHER).enumerate() {
        let (units, manager, places) = (units.to_vec(), manager.clone(), Arc::clone(&places));
        look_ups.spawn(async move {
            let _place = places.acquire().await;
            (at * LOOKED_UP_TOGETHER, manager.last_errors(&units).await)
        });
    }
    let mut errors = vec![None; units.len()];
    while let Ok(Some(found)) = timeout_at(deadline, look_ups.join_next()).await {
        let Ok((begin, found)) = found else { continue };
        for (error, found) in errors.iter_mut().skip(begin).zip(found) {
            *error = found;
        }
    }
    errors
}

/// Whether the last log line of a worker in this state says what went wrong: not if it ended cleanly, cannot start, or
/// continues to run.
fn says_why(state: State) -> bool {
    match state {
        State::Failed | State::StartLimitHit | State::CrashLooping | State::Stuck => true,
        State::ExpectedButStopped | State::Unreachable | State::Orphaned => false,
    }
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

    /// What to inspect of a unit, and how to probe it if it is up.
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

    /// Fills in the last log line of each failed worker, until half a second and 25 ms for each have passed; the others
    /// keep theirs. In other states that line would be no error.
    pub async fn enrich(&self, workers: &mut [UnhealthyWorker]) {
        let failed: Vec<usize> = (0..workers.len()).filter(|at| says_why(workers[*at].state)).collect();
        let units: Vec<UnitName> = failed.iter().map(|at| workers[*at].unit.clone()).collect();
        for (at, line) in failed.into_iter().zip(last_errors(&self.manager, &units).await) {
            if let Some(line) = line {
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

    /// The last line that a unit has logged, if it is found in time.
    pub async fn last_words(&self, unit: &UnitName) -> Option<String> {
        last_errors(&self.manager, slice::from_ref(unit)).await.pop().flatten()
    }
}
