//! The transitions as a table: what each phase makes of each state, inspection, outcome and deadline.

use std::time::Duration;

use super::attempts::DIED;
use super::incident::{Incident, Phase};
use super::unit::UnitCondition;
use super::{Action, Healer, InspectionId, Outcome, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::event::Phase as EventPhase;
use crate::selector::Resolution;
use crate::units::{ActiveState, Depth, Detail, Inspection, LoadState, UnitName};

/// Maximum delay of the manager's signals, even under load.
const MAX_SIGNAL_DELAY: Duration = Duration::from_secs(10);

impl Healer {
    /// Brings a worker's phase in line with the state of its unit. Does nothing if it already is.
    pub(super) fn consider(&mut self, now: Timestamp, name: &UnitName) {
        use UnitCondition::{ComingUp, Down, Settling, Unhealthy, Unknown, Up};
        let Some(unit) = self.units.get(name) else { return };
        if self.frozen || unit.resolution == Resolution::NotAWorker {
            return;
        }
        if unit.condition() != UnitCondition::Up
            && !unit.socket_failed
            && let Some(incident) = self.incidents.get_mut(name)
            && incident.suspected == Some(State::Unreachable)
            && incident.phase.waits()
        {
            // It died before it could be restarted: its refusal belonged to that run.
            (incident.suspected, incident.refuses) = (None, None);
        }
        self.notice_a_cleared_failure(now, name);
        let Some(unit) = self.units.get(name) else { return };
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.stop_took_effect |= incident.stop_asked && unit.active == ActiveState::Deactivating;
        }
        let incident = self.incidents.get(name);
        let condition = unit.condition_of(incident);
        let suspicion = self.suspicion(now, unit);
        let attempt_under_way = incident.is_some_and(|incident| incident.attempt_under_way);
        let stop_asked = incident.is_some_and(|incident| incident.stop_asked);
        // Another client restarts it, and its new run is still on its way.
        let restarted = incident.is_some_and(|incident| incident.restarted && incident.timer.is_none());
        let restarted = restarted && !unit.restarted_by_manager;
        match (incident.map(|incident| incident.phase.clone()), condition) {
            (None | Some(Phase::Resting), Unhealthy) => self.became_unhealthy(now, name, None),
            (None | Some(Phase::Resting), Up | ComingUp | Settling | Down) if suspicion.is_some() => {
                self.became_unhealthy(now, name, suspicion);
            }
            (None, Up | ComingUp | Settling | Down | Unknown) => {}

            (Some(Phase::Resting), Up) => self.is_well(now, name),
            (Some(Phase::Resting), ComingUp | Settling | Down) => self.set_timer(name, None),

            (Some(Phase::Held(Refusal::CrashLooping(_))), Unhealthy) if self.intent_against(name).is_none() => {
                self.goes_on_looping(now, name);
            }
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_)), Unhealthy) => self.reconsider_wait(now, name),
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp | Phase::Cancelled), Up) => {
                self.comes_up(now, name);
            }
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp), ComingUp) => {
                self.comes_up(now, name);
            }
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp), Down) => {
                self.went_down(name);
            }
            (
                Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp | Phase::Off),
                Settling | ComingUp,
            ) => match suspicion {
                Some(suspicion) => self.suspect(name, suspicion),
                None => self.other_client_acts(name),
            },
            // It may have been started unnoticed, and hang.
            (Some(Phase::Stopped), Settling) if suspicion.is_some() => self.stays_down(now, name),
            (Some(Phase::Stopped), Settling) => {}
            // It has failed since: a start was refused, or has failed so fast that nothing else was seen.
            (Some(Phase::Stopped), Unhealthy) if unit.fresh && unit.active == ActiveState::Failed => {
                self.make_due(name);
            }
            (Some(Phase::GaveUp | Phase::Stopped), Unhealthy) => self.stays_down(now, name),

            // What replaced our start hangs.
            (Some(Phase::Cancelled), ComingUp | Settling) => {
                if let Some(suspicion) = suspicion {
                    self.suspect(name, suspicion);
                }
            }
            (Some(Phase::Cancelled), Unhealthy | Down) => self.was_cancelled(now, name, condition == Unhealthy),

            // The result of the inspection or the end of the job says more than the current state.
            (Some(Phase::Inspecting | Phase::Starting), Up | Unhealthy | ComingUp | Settling | Down) => {}

            (Some(Phase::Proving | Phase::Verifying), Up) => self.goes_on_proving(now, name),
            (Some(Phase::Proving | Phase::Verifying), Unhealthy) if attempt_under_way => {
                self.died_while_proving(now, name);
            }
            (Some(Phase::Proving | Phase::Verifying), Unhealthy) => self.make_due(name),
            // It is about to be stopped.
            (Some(Phase::Proving | Phase::Verifying), ComingUp) if stop_asked => {}
            (Some(Phase::Proving | Phase::Verifying), ComingUp) if attempt_under_way && !restarted => {
                self.attempt_failed(now, name, DIED.to_owned());
            }
            (Some(Phase::Proving | Phase::Verifying), Settling)
                if attempt_under_way && unit.stop_seen && !stop_asked && suspicion.is_none() =>
            {
                self.is_stopping_while_proving(name);
            }
            (Some(Phase::Proving | Phase::Verifying), ComingUp | Settling) => match suspicion {
                Some(suspicion) => self.suspect(name, suspicion),
                None if condition == ComingUp => self.enter(name, Phase::Proving),
                None => {}
            },
            (Some(Phase::Proving | Phase::Verifying), Down) if attempt_under_way => self.ended_while_proving(now, name),
            (Some(Phase::Proving | Phase::Verifying), Down) => self.went_down(name),

            // A person starts it, which supersedes an earlier stop.
            (Some(Phase::Stopped), Up | ComingUp) => self.rest(now, name),
            (Some(Phase::Stopped), Down) => {}

            (Some(Phase::Off), Up) => self.rest(now, name),
            (Some(Phase::Off), Down) => {}
            (Some(Phase::Off), Unhealthy) => self.became_unhealthy(now, name, None),

            (Some(_), Unknown) => {}
        }
    }

    /// Handles the result of an inspection.
    pub(super) fn inspected(
        &mut self,
        now: Timestamp,
        name: &UnitName,
        id: InspectionId,
        result: Result<Inspection, String>,
    ) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if !incident.inspections.close(id) {
            return;
        }
        match (id.purpose, &incident.phase) {
            (Purpose::Attempt, Phase::Inspecting) => self.due_inspected(now, name, result),
            (Purpose::Proof, Phase::Verifying) => self.verified(now, name, result),
            (Purpose::Baseline, _) => self.baseline_inspected(name, result),
            (Purpose::Recheck, _) => self.rechecked(now, name, result),
            (Purpose::Uptime, _) => self.uptime_seen(now, name, result),
            // The worker's phase has changed since the inspection was requested.
            (Purpose::Attempt | Purpose::Proof, _) => {}
        }
    }

    /// Another client's job was cancelled. That of a unit which is down was a start: a stop of it would have ended at once.
    pub(super) fn foreign_job_cancelled(&mut self, name: &UnitName) {
        if let Some(unit) = self.units.get_mut(name) {
            unit.start_cancelled = unit.active.is_down();
        }
    }

    /// Another client's job succeeded. If the unit is still down and not coming up, the job was a stop: for a unit that
    /// was down already, nothing else shows that.
    pub(super) fn foreign_job_done(&mut self, now: Timestamp, name: &UnitName) {
        self.other_client_acts(name);
        let Some(unit) = self.units.get_mut(name) else { return };
        unit.stop_replaced_start = std::mem::take(&mut unit.start_cancelled);
        if std::mem::take(&mut unit.stop_ends) || unit.reloads {
            // It took the unit down, perhaps as a dependency, which other signals show. It counts only if an inspection
            // shows that the unit had been down for a while by then.
            unit.job_done = unit.job_done.or(now.earlier(MAX_SIGNAL_DELAY).filter(|_| !unit.reloads));
            return;
        }
        if unit.active.is_up() && !unit.has_job {
            // It is said to be up and to have no job, so a signal was missed: it may have gone down.
            unit.stop_possible = true;
            unit.job_done = now.earlier(MAX_SIGNAL_DELAY);
        }
        if unit.up_while_frozen || !unit.active.is_down() {
            return;
        }
        unit.job_done = Some(now);
        if self.frozen {
            // The list that ends the uncertainty shows whether it came up with that job.
            if let Some(incident) = self.incidents.get_mut(name).filter(|it| it.phase == Phase::Starting) {
                incident.job_done_while_frozen = true;
            }
            return;
        }
        // An inspection shows whether it has been down since before that. (One that is under way takes this into
        // account.)
        let is_masked = unit.load == LoadState::Masked && matches!(unit.resolution, Resolution::Worker(_));
        match self.incidents.get(name).map(|incident| &incident.phase) {
            Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp | Phase::Off) => {
                self.make_due(name);
            }
            Some(Phase::Starting) => self.stop_overtaken(name),
            // It is not inspected until it is unmasked, and then this has to be known.
            None | Some(Phase::Resting) if is_masked => {
                let incident = self.incidents.entry(name.clone()).or_insert_with(|| Incident::new(now));
                incident.suspected = Some(State::ExpectedButStopped);
                self.make_due(name);
            }
            // The current or final inspection takes it into account.
            None
            | Some(
                Phase::Resting
                | Phase::Inspecting
                | Phase::Proving
                | Phase::Verifying
                | Phase::Cancelled
                | Phase::Stopped,
            ) => {}
        }
    }

    /// A stop was requested while our start was on its way. It is requested once more, after the start.
    pub(super) fn stop_overtaken(&mut self, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name).filter(|incident| incident.attempt_under_way) else { return };
        if !std::mem::replace(&mut incident.stop_asked, true) {
            self.actions.push(Action::Stop(name.clone()));
        }
    }

    /// Another client's start ended because a unit that the worker needs did not come up.
    pub(super) fn kept_from_starting(&mut self, now: Timestamp, name: &UnitName) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if !matches!(unit.active, ActiveState::Failed | ActiveState::Inactive) {
            return;
        }
        unit.kept_from_starting = true;
        // This supersedes earlier requests: it should be up now.
        (unit.stop_seen, unit.stop_possible, unit.job_done) = (false, false, None);
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.stopped_after = None;
        }
        let may_change_that = |incident: &Incident| {
            matches!(incident.phase, Phase::Off | Phase::Held(_) | Phase::Waiting { .. } | Phase::Stopped)
        };
        if self.incidents.get(name).is_some_and(may_change_that) {
            self.make_due(name);
        }
        self.consider(now, name);
    }

    /// A client acts on a worker that waits: that is newer than a request to heal it.
    fn other_client_acts(&mut self, name: &UnitName) {
        let Some((unit, incident)) = self.units.get(name).zip(self.incidents.get_mut(name)) else { return };
        incident.trigger = Trigger::Automatic;
        if unit.active == ActiveState::Activating && !unit.restarted_by_manager {
            // This start is newer than a disable.
            incident.file = None;
        }
    }

    /// Handles the end of a start.
    pub(super) fn finished(&mut self, now: Timestamp, name: &UnitName, outcome: Outcome) {
        if self.incidents.get(name).is_none_or(|incident| incident.phase != Phase::Starting) {
            return;
        }
        if self.units.get(name).is_some_and(|unit| unit.resolution == Resolution::NotAWorker) {
            return self.shelve(name);
        }
        if matches!(outcome, Outcome::Done | Outcome::Failed(_) | Outcome::Cancelled)
            && let Some(unit) = self.units.get_mut(name)
        {
            // The failure was cleared and the start was made.
            unit.cleared = None;
            if outcome == Outcome::Cancelled {
                unit.start_cancelled = unit.active.is_down();
            } else {
                // It ended by itself, so the job that was seen was this one.
                (unit.stop_seen, unit.stop_possible) = (false, false);
            }
        }
        if !matches!(outcome, Outcome::Refused(..)) {
            if self.was_reported_forbidden(name) {
                // It is permitted now, so this was an attempt, whose beginning was not reported.
                self.emit(name, EventPhase::Starting, |_| {});
            }
            if let Some(incident) = self.incidents.get_mut(name) {
                (incident.refused, incident.reported_hold) = (0, None);
            }
        }
        if let Some(incident) = self.incidents.get_mut(name).filter(|incident| incident.stop_asked)
            && outcome != Outcome::Cancelled
        {
            if matches!(outcome, Outcome::Refused(..)) {
                // This was no attempt.
                incident.attempts = incident.attempts.saturating_sub(1);
            }
            if outcome != Outcome::Done {
                return self.stopped(now, name, "");
            }
            incident.started_at = now;
            if !incident.stop_took_effect && self.units.get(name).is_some_and(|unit| unit.active.is_up()) {
                // The second stop came between two steps of the start.
                self.actions.push(Action::Stop(name.clone()));
            }
            return self.prove_on(now, name);
        }
        match outcome {
            Outcome::Done => {
                let oneshot = self.incidents.get(name).is_some_and(|incident| incident.oneshot);
                let worked_off =
                    oneshot && self.units.get(name).is_none_or(|unit| unit.condition() == UnitCondition::Down);
                if worked_off {
                    self.healed(now, name);
                } else {
                    if let Some(incident) = self.incidents.get_mut(name) {
                        incident.started_at = now;
                    }
                    self.enter(name, Phase::Proving);
                    self.set_timer(name, Some(now + self.proving_time(name)));
                }
            }
            Outcome::Failed(error) | Outcome::NotStarted(error) => {
                if let Some(unit) = self.units.get_mut(name) {
                    // If it continues to start, it may be stuck.
                    unit.checked_until = Some(now);
                }
                self.attempt_failed(now, name, error);
            }
            Outcome::Refused(refusal, error) => {
                // The faster client has priority; this was no attempt.
                if !self.was_reported_forbidden(name) {
                    self.emit(name, EventPhase::Failed, |event| event.error.clone_from(&error));
                }
                self.refused(now, name, refusal, error);
            }
            Outcome::Cancelled => {
                self.enter(name, Phase::Cancelled);
                self.consider(now, name);
            }
            Outcome::Impossible(why) => {
                self.emit(name, EventPhase::Failed, |event| event.error = why.to_string());
                if let Some(incident) = self.incidents.get_mut(name).filter(|_| why.is_of_its_file()) {
                    // The inspection before the start saw another one.
                    incident.definition = None;
                }
                self.give_up(now, name, &why.to_string());
            }
        }
    }

    pub(super) fn timer_ran_out(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.timer = None;
        match incident.phase {
            Phase::Waiting { .. } => self.consider(now, name),
            Phase::Proving
                if !incident.attempt_under_way
                    && self.units.get(name).is_some_and(|unit| unit.condition() == UnitCondition::Unhealthy) =>
            {
                self.make_due(name);
            }
            Phase::Proving => match self.units.get(name).and_then(|unit| self.suspicion(now, unit)) {
                Some(suspicion) if self.incidents.get(name).is_some_and(|incident| !incident.attempt_under_way) => {
                    self.suspect(name, suspicion);
                }
                _ => self.verify(now, name),
            },
            Phase::Held(Refusal::CrashLooping(_))
                if self.units.get(name).is_some_and(|unit| unit.condition() == UnitCondition::Unhealthy) =>
            {
                self.make_due(name);
                self.consider(now, name);
            }
            Phase::Off => self.make_due(name),
            Phase::Held(Refusal::CrashLooping(_)) => {
                self.inspect(name, Purpose::Uptime, Detail { restarts: true, ..Detail::default() });
            }
            Phase::Resting => self.inspect(name, Purpose::Uptime, Detail::of(Depth::Uptime)),
            Phase::Held(_) => {
                self.make_due(name);
                self.consider(now, name);
            }
            Phase::Stopped | Phase::GaveUp => self.recheck(name),
            Phase::Due | Phase::Inspecting | Phase::Starting | Phase::Verifying | Phase::Cancelled => {}
        }
    }

    /// Inspects workers that are left alone, where that may have changed.
    pub(super) fn wake(&mut self, now: Timestamp, may_have_changed: impl Fn(&Phase) -> bool) {
        let names: Vec<UnitName> = self
            .incidents
            .iter()
            .filter(|(_, incident)| may_have_changed(&incident.phase))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.make_due(&name);
            self.consider(now, &name);
        }
    }
}
