//! Which workers are unhealthy in a daemon's view: a healer gets the saved state, the service manager's list, and the
//! results of its inspections and probes; its other actions are not performed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::probe::{refused_often, refuses};
use super::{Detector, Inspections, MAX_CONCURRENT_INSPECTIONS};
use crate::core::context::Context;
use crate::core::healer::{Action, Fact, Healer, InspectionId, Mode, Purpose, Timestamp};
use crate::core::probe::{ProbeAnswer, ProbeResult};
use crate::core::selector::Resolution;
use crate::core::units::{Detail, UnitName, UnitStatus};
use crate::manager::{ManagerError, ServiceManager, directory_is_gone};

/// The healer, once it has no more questions, and the inspections that answered them.
///
/// # Errors
///
/// If the service manager does not answer.
pub(super) async fn judge<M: ServiceManager>(detector: &Detector<M>) -> Result<(Healer, Inspections), ManagerError> {
    let list = detector.manager.list().await?;
    let suspects = with_lost_homes(detector, &list).await;
    let deaf = detector.manager.failed_sockets().await?;
    Inquiry::new(detector).run(list, suspects, deaf).await
}

/// Units of sites whose directories are gone. Most workers are up and their directories exist: looking up all locations
/// would take longer than everything else.
async fn with_lost_homes<M: ServiceManager>(detector: &Detector<M>, list: &[UnitStatus]) -> Vec<UnitName> {
    let Context { selector, registry, .. } = &detector.context;
    let mut homes: HashMap<_, Vec<UnitName>> = HashMap::new();
    for status in list {
        if let Resolution::Worker(worker) = selector.resolve(registry, &status.name)
            && let Some(site) = registry.site(&worker.site).filter(|site| site.path.is_absolute())
        {
            homes.entry(site.path.clone()).or_default().push(status.name.clone());
        }
    }
    let check = spawn_blocking(|| {
        let gone = homes.into_iter().filter(|(home, _)| directory_is_gone(home));
        gone.flat_map(|(_, units)| units).collect()
    });
    check.await.unwrap_or_default()
}

struct Inquiry<'s, M> {
    detector: &'s Detector<M>,
    healer: Healer,
    /// When pending inspections were requested, and with which details.
    requested: HashMap<InspectionId, (Instant, Detail)>,
    inspections: Inspections,
    /// Pending answers to the healer, in order.
    answers: JoinSet<Result<Vec<Fact>, ManagerError>>,
    turns: Arc<Semaphore>,
}

impl<'s, M: ServiceManager> Inquiry<'s, M> {
    fn new(detector: &'s Detector<M>) -> Self {
        let mut context = detector.context.clone();
        // Starts never end here, and must not delay the others.
        context.policy.max_concurrent = usize::MAX;
        let mut healer = Healer::new(Mode::Inquiry, context, fastrand::Rng::new());
        healer.restore_workers(detector.saved_workers.clone());
        Self {
            detector,
            healer,
            requested: HashMap::new(),
            inspections: Inspections::default(),
            answers: JoinSet::new(),
            turns: Arc::new(Semaphore::new(MAX_CONCURRENT_INSPECTIONS)),
        }
    }

    /// Passes on the list, the locations of these units, and failed sockets.
    async fn run(
        mut self,
        list: Vec<UnitStatus>,
        suspects: Vec<UnitName>,
        deaf: Vec<UnitName>,
    ) -> Result<(Healer, Inspections), ManagerError> {
        self.observe(Fact::Units(list));
        if !deaf.is_empty() {
            self.observe(Fact::FailedSockets(deaf));
        }
        let strangers = self.healer.take_unlocated();
        let Context { selector, registry, .. } = &self.detector.context;
        let strangers =
            strangers.into_iter().filter(|unit| selector.resolve(registry, unit) == Resolution::NeedsDirectory);
        for unit in strangers.chain(suspects) {
            let detector = self.detector.clone();
            self.ask(async move {
                let place = detector.location(&unit).await?;
                Ok(vec![Fact::Located(vec![(unit, Ok(place))])])
            });
        }
        while let Some(answer) = self.answers.join_next().await {
            // Only a panic ends a question without an answer.
            let Ok(facts) = answer else { continue };
            for fact in facts? {
                if let Fact::Inspected(unit, id, Ok(seen)) = &fact
                    && let Some((at, detail)) = self.requested.remove(id)
                {
                    self.inspections.add(unit.clone(), at, detail, seen.clone());
                }
                self.observe(fact);
            }
        }
        Ok((self.healer, self.inspections))
    }

    fn ask(&mut self, question: impl Future<Output = Result<Vec<Fact>, ManagerError>> + Send + 'static) {
        let turns = Arc::clone(&self.turns);
        self.answers.spawn(async move {
            let _turn = turns.acquire().await;
            question.await
        });
    }

    fn observe(&mut self, fact: Fact) {
        for action in self.healer.observe(Timestamp::default(), fact) {
            match action {
                // Not needed here.
                Action::Inspect { id, .. } if matches!(id.purpose, Purpose::Baseline | Purpose::Uptime) => {}
                Action::Inspect { unit, id, detail } => {
                    self.requested.insert(id, (Instant::now(), detail));
                    let detector = self.detector.clone();
                    self.ask(async move {
                        let seen = detector.inspect(&unit, detail).await?;
                        Ok(vec![Fact::Inspected(unit, id, Ok(seen))])
                    });
                }
                Action::Probe { unit, probe, directory } => {
                    let (manager, grace) = (self.detector.manager.clone(), self.healer.context().policy.stable_after);
                    self.ask(async move {
                        if let Some(place) = refuses(&manager, &unit, &probe, directory, grace).await {
                            return Ok(refused_often(&unit, &place).collect());
                        }
                        let answer = ProbeAnswer::Unknown(String::new());
                        Ok(vec![Fact::Probed(unit, ProbeResult { answer, up_for: None, file_age: None })])
                    });
                }
                // These would be performed or published.
                Action::Start(_) | Action::Stop(_) | Action::ListAll | Action::Emit(_) => {}
            }
        }
    }
}
