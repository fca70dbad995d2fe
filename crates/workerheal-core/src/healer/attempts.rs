//! Attempts: how one begins, and how it ends.

use std::time::Duration;

use super::incident::{CONTRADICTION_DELAY, Incident, Phase, RECHECK_INTERVAL};
use super::unit::UnitCondition;
use super::{Action, Healer, Mode, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::event::Phase as EventPhase;
use crate::explain::times::rounded;
use crate::rules::{ClearedBy, GivenUp, Start};
use crate::units::{ActiveState, Depth, Detail, Inspection, LoadState, ServiceResult, UnitName};

/// The error of an attempt whose start job was replaced by another.
pub(super) const CANCELLED: &str = "its start was cancelled by another client";
/// The error of an attempt whose worker came up and did not stay up.
pub(super) const DIED: &str = "exited right after starting";
/// The error of a start that changed nothing, although the manager reports success.
const SKIPPED: &str = "its start was skipped: a condition of the unit is not met";
/// The error of an attempt whose worker was stopped with a unit that it needs.
const STOPPED: &str = "it was stopped while it was coming up";
/// Our start ended this much earlier than that was known, at most.
const SLACK: Duration = Duration::from_secs(1);
/// Minimum time until a proof is inspected again.
const MIN_PROOF: Duration = Duration::from_millis(50);

impl Healer {
    pub(super) fn attempt(&mut self, now: Timestamp, name: &UnitName, start: Start) {
        // Until a permission is there, each start is refused alike, which was reported once, with the first.
        let quietly = self.was_reported_forbidden(name);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.attempts += 1;
        // Counted again from its end, once that is known.
        incident.not_before = now + self.context.policy.backoff.wait(incident.attempts, self.random.f64());
        incident.reported_hold = incident.reported_hold.take().filter(|_| quietly);
        incident.scheduled = None;
        incident.answered = false;
        (incident.attempt_under_way, incident.stop_asked, incident.stop_took_effect) = (true, false, false);
        (incident.restarted, incident.job_done_while_frozen) = (false, false);
        if start.restart {
            incident.suspected = Some(State::Unreachable);
        } else if incident.suspected == Some(State::Unreachable) {
            // It died before it could be restarted.
            incident.suspected = None;
            incident.refuses = None;
        }
        // The request is fulfilled with this; what the person does next is newer.
        incident.trigger = Trigger::Automatic;
        if let Some(unit) = self.units.get_mut(name) {
            let may_be_cleared = start.clearable && unit.active == ActiveState::Failed;
            unit.cleared = may_be_cleared.then_some(ClearedBy::Us);
            unit.refusals = 0;
            unit.moved_since_start = false;
        }
        self.enter(name, Phase::Starting);
        if !quietly {
            self.emit(name, EventPhase::Starting, |_| {});
        }
        self.actions.push(Action::Start(start));
    }

    /// The manager refused the start. It is asked again after a backoff, as nothing may signal that the obstacle is
    /// gone.
    pub(super) fn refused(&mut self, now: Timestamp, name: &UnitName, refusal: Refusal, error: String) {
        let is_masked = self.units.get(name).is_some_and(|unit| unit.load == LoadState::Masked);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.attempts = incident.attempts.saturating_sub(1);
        incident.attempt_under_way = false;
        incident.refused = incident.refused.saturating_add(1);
        let wait = self.context.policy.backoff.wait(incident.refused, self.random.f64());
        if matches!(refusal, Refusal::Forbidden(_)) {
            // The wait of an attempt that does not count would be reported.
            incident.not_before = now;
        }
        // The masked unit may be one that the worker needs.
        let refusal = if refusal == Refusal::Masked && !is_masked { Refusal::Declined(error) } else { refusal };
        self.hold(now, name, refusal);
        self.set_timer(name, Some(now + wait));
        self.consider(now, name);
    }

    /// Whether the last report is that starting it is not permitted, and no person waits for an answer.
    pub(super) fn was_reported_forbidden(&self, name: &UnitName) -> bool {
        self.incidents
            .get(name)
            .is_some_and(|incident| !incident.awaited && matches!(incident.reported_hold, Some(Refusal::Forbidden(_))))
    }

    pub(super) fn attempt_failed(&mut self, now: Timestamp, name: &UnitName, error: String) {
        self.emit(name, EventPhase::Failed, |event| event.error.clone_from(&error));
        self.attempt_ended(now, name, error);
    }

    /// Reports a failed attempt whose cause an inspection had still to name.
    pub(super) fn report_failure(&mut self, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if std::mem::take(&mut incident.unreported_failure) {
            let error = incident.last_failure.clone();
            self.emit(name, EventPhase::Failed, |event| event.error = error);
        }
    }

    fn attempt_ended(&mut self, now: Timestamp, name: &UnitName, error: String) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.last_failure = error;
        incident.proving_time = None;
        incident.attempt_under_way = false;
        incident.awaited = false;
        incident.not_before = now + self.context.policy.backoff.wait(incident.attempts, self.random.f64());
        if self.mode == Mode::OnRequest {
            return self.rest(now, name);
        }
        let does_not_answer = incident.suspected == Some(State::Unreachable);
        match self.units.get(name).map(|unit| unit.condition()) {
            Some(UnitCondition::Up) if does_not_answer => self.make_due(name),
            // The manager restarts it, or the start continues: both belong to this attempt.
            Some(UnitCondition::Up | UnitCondition::ComingUp | UnitCondition::Settling) => {
                self.enter(name, Phase::Proving);
            }
            // An inspection shows whether the manager restarts it; only then is the next step known.
            _ => self.make_due(name),
        }
        self.consider(now, name);
    }

    pub(super) fn died_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.is_stopped_while_proving(now, name) {
            return;
        }
        let skipped = self.units.get(name).is_some_and(|unit| !unit.moved_since_start);
        if skipped {
            return self.attempt_failed(now, name, SKIPPED.to_owned());
        }
        if self.mode == Mode::OnRequest {
            // There is no further inspection.
            return self.attempt_failed(now, name, DIED.to_owned());
        }
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.unreported_failure = true;
        }
        self.attempt_ended(now, name, DIED.to_owned());
    }

    pub(super) fn ended_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.is_stopped_while_proving(now, name) {
            return;
        }
        let Some(incident) = self.incidents.get(name) else { return };
        if incident.oneshot {
            self.healed(now, name);
        } else if incident.phase == Phase::Proving {
            // Unless this is its state before the start, reported late.
            self.verify(now, name);
        }
    }

    /// Whether a stop ended it. An inspection shows whether the stop was meant for it or for a unit that it needs, and
    /// decides how the attempt ends.
    fn is_stopped_while_proving(&mut self, now: Timestamp, name: &UnitName) -> bool {
        if self.incidents.get(name).is_some_and(|incident| incident.stop_asked) {
            self.stopped(now, name, "");
            return true;
        }
        let stop_seen = self.stop_seen(name);
        if stop_seen {
            self.went_down(name);
        }
        stop_seen
    }

    /// The stop that ended an attempt was meant for a unit that the worker needs, or for an unknown one.
    pub(super) fn attempt_was_stopped(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name).filter(|incident| incident.attempt_under_way) else { return };
        incident.attempt_under_way = false;
        incident.not_before = now + self.context.policy.backoff.wait(incident.attempts, self.random.f64());
        STOPPED.clone_into(&mut incident.last_failure);
        self.emit(name, EventPhase::Failed, |event| STOPPED.clone_into(&mut event.error));
    }

    /// A stop is under way during the proof, which may be the first half of a restart: a run that follows has to prove
    /// itself from its beginning.
    pub(super) fn is_stopping_while_proving(&mut self, name: &UnitName) {
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.restarted = true;
        }
        self.enter(name, Phase::Proving);
    }

    /// It is up: its proving time begins, unless it has begun already.
    pub(super) fn goes_on_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.incidents.get(name).is_some_and(|incident| incident.phase == Phase::Proving && incident.timer.is_none())
        {
            if let Some(incident) = self.incidents.get_mut(name) {
                incident.started_at = now;
            }
            self.set_timer(name, Some(now + self.proving_time(name)));
        }
    }

    /// It ended soon after its start, and without error.
    pub(super) fn ended(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection) {
        if seen.skipped.is_some() {
            // `ExecCondition=` has cleared the failure, or the count of restarts, and that was our start.
            if let Some(unit) = self.units.get_mut(name).filter(|_| seen.result == ServiceResult::ExecCondition) {
                unit.cleared = Some(ClearedBy::Us);
            }
            return self.attempt_failed(now, name, SKIPPED.to_owned());
        }
        if self.units.get(name).is_some_and(|unit| unit.kept_from_starting) {
            // It was being restarted with a unit that it needs, which did not come up.
            self.attempt_was_stopped(now, name);
            return self.went_down(name);
        }
        if self.incidents.get(name).is_some_and(|incident| incident.suspected == Some(State::ExpectedButStopped)) {
            self.attempt_failed(now, name, "ended without error right after its start".to_owned());
        } else {
            self.stopped(now, name, "it ended without error soon after its start");
            if let Some(incident) = self.incidents.get_mut(name) {
                incident.stop_is_certain = true;
            }
        }
    }

    /// Starts the inspection that ends the proving time.
    pub(super) fn verify(&mut self, now: Timestamp, name: &UnitName) {
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.inspected_at = now;
        }
        self.enter(name, Phase::Verifying);
        self.inspect(name, Purpose::Proof, Detail::of(Depth::Proof));
    }

    /// Handles the result of that inspection.
    pub(super) fn verified(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        if self.frozen {
            return self.prove_on(now, name);
        }
        let (Ok(seen), Some(incident)) = (result, self.incidents.get(name)) else { return self.prove_on(now, name) };
        let since_start = incident.inspected_at.from_now(incident.started_at);
        // Our start does not stop conflicting units: one that came up at the same time has priority.
        let gives_way = seen.stopped_group().is_some() || !seen.conflicts.is_empty();
        let is_ours = incident.attempt_under_way && !incident.restarted;
        let must_stop = incident.attempt_under_way && (incident.stop_asked || (is_ours && gives_way));
        let (attempt_under_way, proving_time) = (incident.attempt_under_way, self.proving_time(name));
        match seen.up_for.filter(|_| seen.active.is_up()) {
            Some(up_for) if must_stop && (incident.stop_took_effect || up_for + SLACK < since_start) => {
                // Another client has started it since: that is newer.
                self.attempt_was_stopped(now, name);
                if let Some(incident) = self.incidents.get_mut(name) {
                    incident.stop_asked = false;
                }
                self.prove_on(now, name);
            }
            Some(_) if must_stop => {
                if let Some(incident) = self.incidents.get_mut(name) {
                    incident.stop_asked = true;
                }
                self.actions.push(Action::Stop(name.clone()));
                self.prove_on(now, name);
            }
            Some(up_for) if up_for >= proving_time => {
                if let Some(incident) = self.incidents.get_mut(name) {
                    // Of one that ran and was restarted since it failed, there is no such time.
                    let fell = incident.fell.filter(|_| !incident.restarted);
                    incident.downtime = fell.and_then(|fell| seen.at.checked_sub(up_for)?.checked_sub(fell));
                }
                if self.still_has_to_answer(name) {
                    self.prove_on(now, name);
                } else if is_ours {
                    self.healed(now, name);
                } else {
                    self.recovered(now, name);
                }
            }
            Some(up_for) if attempt_under_way && up_for < since_start => {
                self.attempt_failed(now, name, "exited and was restarted right after starting".to_owned());
            }
            Some(up_for) if !attempt_under_way => {
                self.enter(name, Phase::Proving);
                self.set_timer(name, Some(now + proving_time.saturating_sub(up_for).max(MIN_PROOF)));
            }
            Some(_) => self.prove_on(now, name),
            None if seen.active == ActiveState::Inactive && !seen.has_job && attempt_under_way => {
                let was_seen = self.units.get(name).is_some_and(|unit| unit.witnessed);
                if self.is_stopped_while_proving(now, name) {
                    return;
                }
                // What was not seen as it happened may be a stop, and meant for a unit that it needs.
                if was_seen || seen.skipped.is_some() { self.ended(now, name, &seen) } else { self.make_due(name) }
            }
            // A signal about its state is on its way, and decides.
            None => self.prove_on(now, name),
        }
    }

    pub(super) fn prove_on(&mut self, now: Timestamp, name: &UnitName) {
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + CONTRADICTION_DELAY));
    }

    pub(super) fn healed(&mut self, now: Timestamp, name: &UnitName) {
        self.emit(name, EventPhase::Healed, |_| {});
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.came_up = true;
            if incident.taken_along.is_some() {
                // Not its own fault: it went down with another unit, and came back with it.
                incident.attempts = incident.attempts.saturating_sub(1);
            }
        }
        self.rest(now, name);
    }

    /// The job that replaced our start has ended, and the worker is down.
    pub(super) fn was_cancelled(&mut self, now: Timestamp, name: &UnitName, failed: bool) {
        if self.incidents.get(name).is_some_and(|incident| incident.stop_asked) {
            return self.stopped(now, name, "");
        }
        let Some((unit, incident)) = self.units.get_mut(name).zip(self.incidents.get_mut(name)) else { return };
        if failed && !unit.stop_possible {
            return self.attempt_failed(now, name, CANCELLED.to_owned());
        }
        // The job that was seen is not ours, and a start job would not have left the unit down. An inspection shows
        // whether that stop was meant for the worker or for a unit that it needs.
        (unit.stop_seen, incident.needs_stop_evidence) = (true, true);
        self.went_down(name);
    }

    pub(super) fn exhausted(&mut self, now: Timestamp, name: &UnitName) {
        let Some(Incident { attempts, came_up, .. }) = self.incidents.get(name) else { return };
        let attempts = format!("{attempts} attempt{}", if *attempts == 1 { "" } else { "s" });
        let reason = match came_up {
            true => format!("{attempts}, and it never stayed up for {}", rounded(self.context.policy.reset_after)),
            false => format!("{attempts} failed"),
        };
        self.give_up(now, name, &reason);
    }

    pub(super) fn give_up(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let error = incident.last_failure.clone();
        incident.given_up =
            Some(GivenUp { reason: reason.to_owned(), definition: incident.definition, run: incident.run.clone() });
        incident.attempt_under_way = false;
        self.emit(name, EventPhase::GaveUp, |event| {
            reason.clone_into(&mut event.reason);
            event.error = error;
        });
        self.enter(name, Phase::GaveUp);
        if self.mode == Mode::Automatic {
            self.set_timer(name, Some(now + RECHECK_INTERVAL));
            self.recheck(name);
        }
    }
}
