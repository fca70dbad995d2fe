//! What a heal would do: to everything that is unhealthy, or to named workers.
//!
//! A heal of everything does what the healer's [inquiry] finds. Named workers are judged one by one, as a request
//! overrules an earlier stop.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::probe::refuses;
use super::{Detector, Inspections, MAX_CONCURRENT_INSPECTIONS, inquiry};
use crate::core::batch::Plan;
use crate::core::diagnosis::{Refusal, State, Trigger};
use crate::core::event::{Failure, UnhealthyWorker};
use crate::core::healer::Timestamp;
use crate::core::rules::{Case, History, Verdict};
use crate::core::selector::{Resolution, Worker};
use crate::core::target::{self, UnknownTarget};
use crate::core::units::{ActiveState, Inspection, UnitName, UnitStatus};
use crate::manager::{ManagerError, ServiceManager};

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

/// A worker that is down and must not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    /// The worker.
    worker: UnhealthyWorker,
    /// The reason.
    refusal: Refusal,
}

/// The result of a search for unhealthy workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Findings {
    /// Unhealthy workers to heal.
    unhealthy: Vec<UnhealthyWorker>,
    /// Unhealthy workers that are only listed: a start would not help, or the configuration excludes their state.
    shown: Vec<Refused>,
    /// Workers that are down on purpose.
    refused: Vec<Refused>,
    /// Workers that no start would bring up yet.
    not_yet: Vec<Failure>,
}

impl<M: ServiceManager> Detector<M> {
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
        let (Findings { unhealthy, shown, refused, not_yet }, inspections) =
            self.find(&self.context.selector.by_own_names(targets), named).await?;
        let refused = refused.into_iter().chain(shown);
        let refused = refused.map(|it| Failure { worker: it.worker, error: it.refusal.to_string() });
        let refused = refused.chain(not_yet).collect();
        Ok((Plan { unhealthy, refused, ..Plan::default() }, inspections))
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
                self.judge(&unit, named_itself, &seen, refuses.as_deref(), &mut findings);
            }
            made.add(unit, asked_at, detail, seen);
        }
        findings.unhealthy.sort_by_cached_key(order);
        findings.shown.sort_by_cached_key(|shown| order(&shown.worker));
        Ok((findings, made))
    }

    fn judge(
        &self,
        unit: &UnitName,
        named_itself: bool,
        seen: &Inspection,
        refuses: Option<&str>,
        findings: &mut Findings,
    ) {
        let resolution = self.resolution_in(unit, &seen.location());
        let Resolution::Worker(worker) = &resolution else { return };
        let history = History { trigger: Trigger::Request, refuses, ..History::default() };
        let case = Case { context: &self.context, unit, worker, seen, history };
        let judgement = case.judge();
        let found = |state| UnhealthyWorker {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            worktree: worker.worktree.clone(),
            unit: unit.clone(),
            state,
            last_error: String::new(),
        };
        let Some(state) = judgement.state else {
            // That one of a site's workers is being stopped is no failure to heal the site.
            let why = case.why_not_yet().filter(|_| named_itself || seen.active != ActiveState::Deactivating);
            findings.not_yet.extend(why.map(|error| Failure { worker: found(State::Failed), error }));
            return;
        };
        let found = found(state);
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
}

/// The order of lists: by site, then worker.
fn order(worker: &UnhealthyWorker) -> (String, String, String) {
    (worker.site.clone(), worker.worker.clone(), worker.unit.short().to_owned())
}

/// Whether nothing says that it should be up: its site's name does not mean it.
fn rests_disabled(seen: &Inspection) -> bool {
    seen.active == ActiveState::Inactive && seen.file.is_some_and(|file| !file.enabled || file.waits_with_targets)
}
