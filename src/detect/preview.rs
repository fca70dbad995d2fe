//! The result of a heal as far as inspections can predict it: a dry run lists no worker that the heal would refuse.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self as streams, StreamExt};

use super::{Detector, MAX_CONCURRENT_INSPECTIONS};
use crate::core::batch::Plan;
use crate::core::diagnosis::{Refusal, Trigger};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::rules::{Case, History, Verdict};
use crate::core::units::{ActiveState, Detail, UnitName};
use crate::manager::ServiceManager;

impl<M: ServiceManager> Detector<M> {
    /// The plan without the workers whose start would be refused now; these are listed as refused.
    pub async fn preview(&self, mut plan: Plan) -> Plan {
        let planned: HashSet<UnitName> = plan.unhealthy.iter().map(|worker| worker.unit.clone()).collect();
        let planned = Arc::new(planned);
        let inspections = streams::iter(std::mem::take(&mut plan.unhealthy)).map(|worker| {
            let (detector, planned) = (self.clone(), Arc::clone(&planned));
            async move {
                let refusal = detector.refusal(&worker, &planned).await;
                (worker, refusal)
            }
        });
        for (worker, refusal) in inspections.buffered(MAX_CONCURRENT_INSPECTIONS).collect::<Vec<_>>().await {
            match refusal {
                None => plan.unhealthy.push(worker),
                Some(error) => plan.refused.push(Failure { worker, error }),
            }
        }
        plan
    }

    /// Why a start of this worker would be refused, if so. If that is unknown, the heal finds out.
    async fn refusal(&self, found: &UnhealthyWorker, planned: &HashSet<UnitName>) -> Option<String> {
        let unit = &found.unit;
        let worker = self.resolve(unit).await.ok()??;
        let seen = self.inspect(unit, Detail { file: true, ..Detail::default() }).await.ok()?;
        if !matches!(seen.active, ActiveState::Failed | ActiveState::Inactive) {
            return None;
        }
        let history = History { trigger: Trigger::Request, ..History::default() };
        let judgement = Case { context: self.context.view(), unit, worker: &worker, seen: &seen, history }.judge();
        match judgement.verdict {
            // This ends by itself, or with a unit that is healed too.
            Verdict::Held(Refusal::JobPending | Refusal::StateNotHealed(_)) => None,
            Verdict::Held(Refusal::ParentDown(parent)) if is_planned(&parent.name, planned) => None,
            Verdict::Held(refusal) => Some(refusal.to_string()),
            Verdict::Unrecoverable(why) => Some(why.to_string()),
            _ => None,
        }
    }
}

fn is_planned(name: &str, planned: &HashSet<UnitName>) -> bool {
    UnitName::parse(name).is_ok_and(|unit| planned.contains(&unit))
}
