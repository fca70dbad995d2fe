//! The result of a heal as far as inspections can predict it: a dry run lists no worker that the heal would refuse.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self as streams, StreamExt};

use super::{Detector, MAX_CONCURRENT_INSPECTIONS};
use crate::core::batch::Plan;
use crate::core::diagnosis::{Refusal, State, Trigger};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::rules::{Case, History, Judgement, Verdict};
use crate::core::units::{ActiveState, Detail, UnitName};
use crate::manager::ServiceManager;

impl<M: ServiceManager> Detector<M> {
    /// The plan without the workers whose start would be refused now; these are listed as refused.
    pub async fn preview(&self, mut plan: Plan) -> Plan {
        let planned: HashSet<UnitName> = plan.unhealthy.iter().map(|worker| worker.unit.clone()).collect();
        let planned = Arc::new(planned);
        let inspections = streams::iter(std::mem::take(&mut plan.unhealthy)).map(|worker| {
            let (detector, planned) = (self.clone(), Arc::clone(&planned));
            async move { detector.predict(worker, &planned).await }
        });
        for (worker, refusal) in inspections.buffered(MAX_CONCURRENT_INSPECTIONS).collect::<Vec<_>>().await {
            match refusal {
                None => plan.unhealthy.push(worker),
                Some(error) => plan.refused.push(Failure { worker, error }),
            }
        }
        plan
    }

    /// The worker, and why its start would be refused, if so. If that is unknown, the heal finds out.
    async fn predict(
        &self,
        mut found: UnhealthyWorker,
        planned: &HashSet<UnitName>,
    ) -> (UnhealthyWorker, Option<String>) {
        let Some(judgement) = self.judge_closely(&found).await else { return (found, None) };
        if let Some(state @ State::Failed) = judgement.state {
            // That it was not restarted was no refusal, but a stop.
            found.state = state;
        }
        let refusal = match judgement.verdict {
            // This ends by itself, or with a unit that is healed too.
            Verdict::Held(Refusal::JobPending | Refusal::StateNotHealed(_)) => None,
            Verdict::Held(Refusal::ParentDown(parent)) if is_planned(&parent.name, planned) => None,
            Verdict::Held(refusal) => Some(refusal.to_string()),
            Verdict::Unrecoverable(why) => Some(why.to_string()),
            _ => None,
        };
        (found, refusal)
    }

    /// A judgement of a worker that is down, by the request to heal it.
    async fn judge_closely(&self, found: &UnhealthyWorker) -> Option<Judgement> {
        let unit = &found.unit;
        let worker = self.resolve(unit).await.ok()??;
        // Whether a restart was refused or the worker was stopped, only the journal may tell.
        let stop = found.state == State::StartLimitHit;
        let seen = self.inspect(unit, Detail { file: true, stop, ..Detail::default() }).await.ok()?;
        if !matches!(seen.active, ActiveState::Failed | ActiveState::Inactive) {
            return None;
        }
        let history = History { trigger: Trigger::Request, ..History::default() };
        Some(Case { context: &self.context, unit, worker: &worker, seen: &seen, history }.judge())
    }
}

fn is_planned(name: &str, planned: &HashSet<UnitName>) -> bool {
    UnitName::parse(name).is_ok_and(|unit| planned.contains(&unit))
}
