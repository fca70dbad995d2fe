//! Who is unhealthy, as a daemon would see it: its healer is told what is remembered, what the service
//! manager lists, and the answers to whatever it wants to know; what it would do is not done.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::{LOOKS_AT_ONCE, Rules, Search, refused_often, refuses};
use crate::core::coverage::Resolution;
use crate::core::healer::{Action, Fact, Healer, Mode, Purpose, Timestamp};
use crate::core::policy::Policy;
use crate::core::probe::{Answer, Sighting};
use crate::core::units::{UnitName, UnitStatus};
use crate::manager::{ManagerError, ServiceManager, directory_is_gone};

/// The healer, once it has no more questions.
///
/// # Errors
///
/// If the service manager does not answer.
pub(super) async fn judge<M: ServiceManager>(search: &Search<M>) -> Result<Healer, ManagerError> {
    let list = search.manager.list().await?;
    let suspects = with_lost_homes(search, &list).await;
    let deaf = search.manager.failed_sockets().await?;
    Inquiry::new(search).run(list, suspects, deaf).await
}

/// Units of sites whose directories are gone. Most workers are up and their sites where they were: to ask
/// where each of them works would take longer than all else.
async fn with_lost_homes<M: ServiceManager>(search: &Search<M>, list: &[UnitStatus]) -> Vec<UnitName> {
    let Rules { coverage, registry, .. } = &search.rules;
    let mut homes: HashMap<_, Vec<UnitName>> = HashMap::new();
    for status in list {
        if let Resolution::Worker(worker) = coverage.resolve(registry, &status.name)
            && let Some(site) = registry.site(&worker.site).filter(|site| site.path.is_absolute())
        {
            homes.entry(site.path.clone()).or_default().push(status.name.clone());
        }
    }
    let look = spawn_blocking(|| {
        let gone = homes.into_iter().filter(|(home, _)| directory_is_gone(home));
        gone.flat_map(|(_, units)| units).collect()
    });
    look.await.unwrap_or_default()
}

struct Inquiry<'s, M> {
    search: &'s Search<M>,
    healer: Healer,
    /// Answers that are awaited: what the healer is told, in order.
    answers: JoinSet<Result<Vec<Fact>, ManagerError>>,
    turns: Arc<Semaphore>,
}

impl<'s, M: ServiceManager> Inquiry<'s, M> {
    fn new(search: &'s Search<M>) -> Self {
        let Rules { coverage, policy, registry, memory, .. } = search.rules.clone();
        // What it would start never ends here, and must not keep the others waiting.
        let policy = Policy { max_concurrent: usize::MAX, ..policy };
        let mut healer = Healer::new(Mode::Inquiry, coverage, policy, registry, fastrand::Rng::new());
        healer.restore(memory);
        Self { search, healer, answers: JoinSet::new(), turns: Arc::new(Semaphore::new(LOOKS_AT_ONCE)) }
    }

    /// Tells it the list, of these units where they work, and of which the socket has failed.
    async fn run(
        mut self,
        list: Vec<UnitStatus>,
        suspects: Vec<UnitName>,
        deaf: Vec<UnitName>,
    ) -> Result<Healer, ManagerError> {
        self.observe(Fact::StopMarker(self.search.rules.stop_marker));
        self.observe(Fact::Units(list));
        if !deaf.is_empty() {
            self.observe(Fact::FailedSockets(deaf));
        }
        let strangers = self.healer.take_unlocated();
        let Rules { coverage, registry, .. } = &self.search.rules;
        let strangers =
            strangers.into_iter().filter(|unit| coverage.resolve(registry, unit) == Resolution::NeedsDirectory);
        for unit in strangers.chain(suspects) {
            let search = self.search.clone();
            self.ask(async move {
                let place = search.whereabouts(&unit).await?;
                Ok(vec![Fact::Located(vec![(unit, Ok(place))])])
            });
        }
        while let Some(answer) = self.answers.join_next().await {
            // Only a panic ends a question without an answer.
            let Ok(facts) = answer else { continue };
            for fact in facts? {
                self.observe(fact);
            }
        }
        Ok(self.healer)
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
                // That is for later.
                Action::Inspect { look, .. } if matches!(look.purpose, Purpose::Memory | Purpose::Uptime) => {}
                Action::Inspect { unit, look, detail } => {
                    let search = self.search.clone();
                    self.ask(async move {
                        let seen = search.inspect(&unit, detail).await?;
                        Ok(vec![Fact::Inspected(unit, look, Ok(seen))])
                    });
                }
                Action::Probe { unit, probe, directory } => {
                    let (manager, grace) = (self.search.manager.clone(), self.search.rules.policy.stable_after);
                    self.ask(async move {
                        if let Some(place) = refuses(&manager, &unit, &probe, directory, grace).await {
                            return Ok(refused_often(&unit, &place).collect());
                        }
                        let answer = Answer::Unknown(String::new());
                        Ok(vec![Fact::Probed(unit, Sighting { answer, up_for: None, file_age: None })])
                    });
                }
                // That would be done, and told.
                Action::Start(_) | Action::Stop(_) | Action::Emit(_) => {}
            }
        }
    }
}
