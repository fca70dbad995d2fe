//! Reports of the healer's state. Nothing is decided here.

use std::time::Duration;

use super::incident::{Incident, Phase};
use super::unit::UnitCondition;
use super::{Healer, Timestamp, Unit};
use crate::batch::{LeftAlone, Plan};
use crate::diagnosis::{Refusal, State};
use crate::event::UnhealthyWorker;
use crate::explain::rest::{NOT_EXPECTED, START_QUEUED};
use crate::report::{Stage, WorkerReport};
use crate::selector::{Resolution, Worker};
use crate::units::{ActiveState, LoadState, UnitName};

impl Healer {
    /// Every worker, sorted by site, then worker.
    #[must_use]
    pub fn reports(&self, now: Timestamp) -> Vec<WorkerReport> {
        let mut reports: Vec<WorkerReport> =
            self.workers().map(|(name, unit, worker)| self.report(now, name, unit, worker)).collect();
        reports.sort_by(|a, b| (&a.site, &a.worker, a.unit.short()).cmp(&(&b.site, &b.worker, b.unit.short())));
        reports
    }

    /// What to heal if a person requests everything: all unhealthy workers, except those that a start would not help
    /// and those whose state the configuration does not heal.
    #[must_use]
    pub fn plan(&self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        for report in self.reports(now) {
            let held_for = self.shown_refusal(&report.unit).cloned();
            let Some(worker) = report.unhealthy() else {
                if let (Some(worker), Some(Refusal::Paused(_) | Refusal::StopMarker)) = (report.problem(), held_for) {
                    plan.paused.push(LeftAlone { worker, reason: report.reason });
                }
                continue;
            };
            let is_left_alone = match &held_for {
                Some(refusal) if refusal.is_shown_only() => true,
                _ => worker.state == State::Orphaned,
            };
            if is_left_alone {
                plan.left_alone.push(LeftAlone { worker, reason: report.reason });
            } else {
                plan.unhealthy.push(worker);
            }
        }
        plan
    }

    /// Those of the units that are being started or proven: a requested heal waits for their result.
    #[must_use]
    pub fn under_way(&self, units: &[UnitName]) -> Vec<UnhealthyWorker> {
        let under_way = |name: &&UnitName| {
            let incident = self.incidents.get(*name);
            incident
                .is_some_and(|incident| matches!(incident.phase, Phase::Starting | Phase::Proving | Phase::Verifying))
        };
        let worker = |name: &UnitName| {
            let worker = self.worker(name)?;
            Some(UnhealthyWorker {
                site: worker.site.clone(),
                worker: worker.name.clone(),
                worktree: worker.worktree.clone(),
                unit: name.clone(),
                state: self.incidents.get(name)?.diagnosed.unwrap_or(State::Failed),
                last_error: String::new(),
            })
        };
        units.iter().filter(under_way).filter_map(worker).collect()
    }

    /// A worker whose unit is known to have failed while nothing is decided, scheduled or under way for it, so that only
    /// the next list would lead to its healing. There is none; the simulation checks that.
    #[must_use]
    pub fn overlooked(&self) -> Option<&UnitName> {
        let is_left_to_the_next_list = |name: &UnitName| match self.incidents.get(name) {
            None => true,
            Some(incident) => match &incident.phase {
                Phase::Resting | Phase::Off => true,
                Phase::Proving | Phase::Held(Refusal::CrashLooping(_)) => incident.timer.is_none(),
                _ => false,
            },
        };
        let failed = self.units.iter().filter(|(_, unit)| {
            matches!(unit.resolution, Resolution::Worker(_)) && unit.condition() == UnitCondition::Unhealthy
        });
        failed.map(|(name, _)| name).find(|name| !self.frozen && is_left_to_the_next_list(name))
    }

    /// The number of workers at each stage.
    #[must_use]
    pub fn stages(&self) -> [(Stage, usize); Stage::ALL.len()] {
        let mut counts = Stage::ALL.map(|stage| (stage, 0));
        for (name, unit, _) in self.workers() {
            let stage = self.stage(name, unit);
            counts.iter_mut().filter(|(it, _)| *it == stage).for_each(|(_, count)| *count += 1);
        }
        counts
    }

    /// Site and unit of each worker that was given up.
    #[must_use]
    pub fn given_up(&self) -> Vec<(String, String)> {
        let given_up = self.incidents.iter().filter(|(_, incident)| incident.phase == Phase::GaveUp);
        given_up.filter_map(|(name, _)| Some((self.worker(name)?.site.clone(), name.short().to_owned()))).collect()
    }

    /// The worker that the unit runs, if it is covered.
    #[must_use]
    pub fn worker_of(&self, name: &UnitName) -> Option<&Worker> {
        self.worker(name)
    }

    /// Every unit that is a worker.
    pub fn covered(&self) -> impl Iterator<Item = (&UnitName, &Worker)> {
        self.workers().map(|(name, _, worker)| (name, worker))
    }

    /// Every worker whose unit is up.
    pub fn up(&self) -> impl Iterator<Item = &UnitName> {
        self.workers().filter(|(_, unit, _)| unit.active.is_up()).map(|(name, ..)| name)
    }

    /// Whether the unit is up, if nothing is being done about it; else `None`.
    #[must_use]
    pub fn at_rest(&self, name: &UnitName) -> Option<bool> {
        let rests =
            self.incidents.get(name).is_none_or(|incident| matches!(incident.phase, Phase::Resting | Phase::Off));
        rests.then(|| self.units.get(name).is_some_and(|unit| unit.active.is_up()))
    }

    /// Sets the proving time of a requested attempt, in place of `stable_after`.
    pub fn prove_within(&mut self, name: &UnitName, time: Duration) {
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.proving_time = Some(time);
        }
    }

    /// How long the worker has to stay up to count as healed.
    pub(super) fn proving_time(&self, name: &UnitName) -> Duration {
        let asked_for = self.incidents.get(name).and_then(|incident| incident.proving_time);
        asked_for.unwrap_or(self.context.policy.stable_after)
    }

    fn workers(&self) -> impl Iterator<Item = (&UnitName, &Unit, &Worker)> {
        self.units.iter().filter_map(|(name, unit)| match &unit.resolution {
            Resolution::Worker(worker) => Some((name, &**unit, worker)),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        })
    }

    /// What the worker is held for, for reports: also while it is inspected once more, unless that is known to be gone.
    fn shown_refusal(&self, name: &UnitName) -> Option<&Refusal> {
        let (unit, incident) = (self.units.get(name)?, self.incidents.get(name)?);
        let refusal = incident.held_for()?;
        let is_up = |other: &str| self.units.get(other).is_some_and(|other| other.active.is_up());
        let lasts = match refusal {
            _ if matches!(incident.phase, Phase::Held(_)) => true,
            Refusal::Masked => unit.load == LoadState::Masked,
            Refusal::ParentDown(parent) => !is_up(&parent.name),
            Refusal::ConflictUp(other) => self.units.get(other.as_str()).is_none_or(|other| other.active.is_up()),
            Refusal::Stuck(..) => unit.changing_since.is_some(),
            Refusal::JobPending => unit.has_job,
            Refusal::DirectoryGone(_) => unit.directory_gone,
            Refusal::StateNotHealed(state) => !self.context.policy.heals(*state),
            refusal => !refusal.is_intent(),
        };
        lasts.then_some(refusal)
    }

    /// The stage of a worker, for reports.
    fn stage(&self, name: &UnitName, unit: &Unit) -> Stage {
        if self.shown_refusal(name).is_some() { Stage::Held } else { stage(unit, self.incidents.get(name)) }
    }

    fn report(&self, now: Timestamp, name: &UnitName, unit: &Unit, worker: &Worker) -> WorkerReport {
        let incident = self.incidents.get(name);
        let phase = self.stage(name, unit);
        let refusal = self.shown_refusal(name);
        let orphaned = unit.directory_gone.then_some(State::Orphaned);
        let state =
            orphaned.or_else(|| incident.filter(|_| is_unhealthy(phase)).and_then(|incident| wrong(unit, incident)));
        let against = self.context.intent_against(name, worker);
        let (mut reason, mut retry_at) = match incident.map(|incident| &incident.phase) {
            _ if let Some(refusal) = refusal => {
                let ago = incident.map_or(Duration::ZERO, |incident| now.from_now(incident.held_at));
                (refusal.after(ago).to_string(), pause_end(refusal))
            }
            Some(Phase::Waiting { until }) => (String::new(), Some(*until)),
            Some(Phase::GaveUp) => (
                incident.and_then(|incident| incident.given_up.as_ref()).map_or(String::new(), |it| it.reason.clone()),
                None,
            ),
            Some(Phase::Stopped) => match incident.map_or("", |incident| incident.off_because.as_str()) {
                "" => ("you stopped it".to_owned(), None),
                because => (because.to_owned(), None),
            },
            _ => (String::new(), None),
        };
        if reason.is_empty() && orphaned.is_some() && against.is_none() {
            "its working directory is gone".clone_into(&mut reason);
        }
        if let (true, Some(against)) = (reason.is_empty(), &against) {
            (reason, retry_at) = (against.to_string(), retry_at.or(pause_end(against)));
        }
        if reason.is_empty() {
            reason = why(phase, unit, incident);
        }
        let meant_to_be = match refusal {
            Some(refusal) => refusal.is_intent() || matches!(refusal, Refusal::Masked | Refusal::Disabled),
            _ => against.is_some(),
        };
        let healthy = state.is_none() || !(is_unhealthy(phase) || orphaned.is_some());
        WorkerReport {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            worktree: worker.worktree.clone(),
            unit: name.clone(),
            healthy,
            on_purpose: meant_to_be && !healthy,
            phase,
            state,
            attempts: incident.map_or(0, |incident| incident.attempts),
            retry_in: retry_at.map(|at| at.from_now(now)),
            reason,
            last_error: incident.map(|incident| last_error(state, incident)).unwrap_or_default(),
            since: None,
            up_since: None,
        }
    }
}

/// The stage of a worker that is not held.
fn stage(unit: &Unit, incident: Option<&Incident>) -> Stage {
    let by_itself = match unit.condition() {
        UnitCondition::Up => Stage::Up,
        UnitCondition::Unhealthy => Stage::Due,
        UnitCondition::ComingUp | UnitCondition::Settling => Stage::Changing,
        UnitCondition::Down => Stage::Down,
        UnitCondition::Unknown => Stage::Unknown,
    };
    match incident.map(|incident| &incident.phase) {
        None | Some(Phase::Resting) => by_itself,
        // It has not failed, and nothing is known to be wrong with that.
        Some(Phase::Due | Phase::Inspecting)
            if matches!(by_itself, Stage::Down | Stage::Changing)
                && incident.is_some_and(|incident| incident.diagnosed.is_none()) =>
        {
            by_itself
        }
        Some(Phase::Due | Phase::Inspecting) => Stage::Due,
        Some(Phase::Starting) => Stage::Starting,
        Some(Phase::Proving | Phase::Verifying) if incident.is_some_and(|incident| incident.given_up.is_some()) => {
            Stage::GaveUp
        }
        // An inspection that is to come shows why it is down.
        Some(Phase::Proving | Phase::Verifying) if by_itself == Stage::Down => Stage::Changing,
        Some(Phase::Proving | Phase::Verifying) if !unit.active.is_up() => by_itself,
        Some(Phase::Proving | Phase::Verifying) => Stage::Proving,
        Some(Phase::Waiting { .. }) => Stage::Waiting,
        Some(Phase::Held(_)) => Stage::Held,
        Some(Phase::Cancelled) => Stage::Changing,
        Some(Phase::Stopped) => Stage::Stopped,
        Some(Phase::Off) => Stage::Down,
        Some(Phase::GaveUp) => Stage::GaveUp,
    }
}

/// Whether a worker at this stage is down or not as it should be, without that being intended.
fn is_unhealthy(stage: Stage) -> bool {
    matches!(stage, Stage::Due | Stage::Starting | Stage::Waiting | Stage::Held | Stage::GaveUp)
}

/// What is wrong with it: by the last inspection, or before that by its unit's state alone.
fn wrong(unit: &Unit, incident: &Incident) -> Option<State> {
    let by_itself = (unit.active == ActiveState::Failed).then_some(State::Failed);
    incident.diagnosed.or(incident.suspected).or(by_itself)
}

/// Why it is not up although nothing is wrong with it, as an explanation says it; empty if that says itself, or is
/// unknown.
fn why(stage: Stage, unit: &Unit, incident: Option<&Incident>) -> String {
    let why = match (stage, unit.active) {
        (Stage::Down, _) => match incident {
            Some(incident) if incident.phase == Phase::Off => &incident.off_because,
            _ if matches!(unit.load, LoadState::Masked | LoadState::NotFound) => NOT_EXPECTED,
            _ => "",
        },
        (Stage::Changing, ActiveState::Activating) if unit.auto_restart => "the service manager is about to restart it",
        (Stage::Changing, ActiveState::Activating) => "it is on its way up",
        (Stage::Changing, ActiveState::Deactivating) => "it is being stopped",
        (Stage::Changing, ActiveState::Inactive) if unit.has_job => START_QUEUED,
        _ => "",
    };
    why.to_owned()
}

/// The last error, if known.
fn last_error(state: Option<State>, incident: &Incident) -> String {
    match (state, &incident.refuses) {
        // There was none.
        (Some(State::ExpectedButStopped | State::Orphaned), _) => String::new(),
        (Some(State::Unreachable), Some(place)) => format!("it refuses connections to {place}"),
        _ => incident.last_failure.clone(),
    }
}

fn pause_end(refusal: &Refusal) -> Option<Timestamp> {
    match refusal {
        Refusal::Paused(pause) => pause.until,
        _ => None,
    }
}
