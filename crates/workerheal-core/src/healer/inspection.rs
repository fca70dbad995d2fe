//! The inspection before every attempt: what is requested, and what follows from the result.

use std::time::Duration;

use super::attempts::DIED;
use super::incident::{CONTRADICTION_DELAY, Phase};
use super::unit::UnitCondition;
use super::{Healer, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger, waits_for};
use crate::rules::{Case, ClearedBy, History, Judgement, Verdict};
use crate::units::{
    ActiveState, Deactivation, Depth, Detail, Inspection, LoadState, ServiceResult, StopEvidence, UnitName,
    has_run_since,
};

/// A start or stop is stuck when it exceeds its limit by this much. Also how soon to inspect again when an inspection
/// contradicts a signal.
const TIMEOUT_MARGIN: Duration = Duration::from_millis(20);

impl Healer {
    /// Whether a stop was seen. A later request by a person is newer intent.
    pub(super) fn was_stopped_since(&self, name: &UnitName) -> bool {
        self.incidents
            .get(name)
            .is_some_and(|incident| incident.trigger == Trigger::Automatic && incident.taken_along.is_none())
            && self.stop_seen(name)
    }

    /// Whether a requested stop was under way since the unit was last up.
    pub(super) fn stop_seen(&self, name: &UnitName) -> bool {
        self.units.get(name).is_some_and(|unit| unit.stop_seen)
    }

    /// Starts the inspection that precedes every attempt.
    pub(super) fn inspect_due(&mut self, now: Timestamp, name: &UnitName) {
        if self.incidents.get(name).is_none_or(|incident| incident.phase != Phase::Due) {
            return;
        }
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.inspected_at = now;
        let Some(incident) = self.incidents.get(name) else { return };
        let witnessed = self.units.get(name).is_some_and(|unit| unit.witnessed) && !incident.needs_stop_evidence;
        // Right after its failure it cannot have been disabled, and there is no time to ask.
        let fresh = self.units.get(name).is_some_and(|unit| unit.fresh) && witnessed && incident.attempts == 0;
        let (suspected, has_stopped_run) = (incident.suspected, incident.stopped_after.is_some());
        if let Some(unit) = self.units.get_mut(name) {
            unit.fresh = false;
        }
        self.enter(name, Phase::Inspecting);
        let detail = Detail {
            depth: Depth::Decision,
            stop: !witnessed,
            file: !fresh || suspected.is_some() || has_stopped_run,
            restarts: suspected == Some(State::CrashLooping),
            times: false,
        };
        self.inspect(name, Purpose::Attempt, detail);
    }

    pub(super) fn due_inspected(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        if self.frozen {
            // The result may be outdated: inspect again when the manager answers reliably.
            return self.make_due(name);
        }
        let seen = match result {
            Ok(seen) => seen,
            Err(why) => {
                self.attempt_was_stopped(now, name);
                return self.hold(now, name, Refusal::Unreadable(why));
            }
        };
        self.note_inspection(name, &seen);
        self.report_failure(name);
        let Some(case) = self.case(now, name, &seen) else {
            return self.shelve(name);
        };
        let (Judgement { state, verdict }, taken_along) = (case.judge(), case.was_taken_along());
        let held_by_parent = matches!(verdict, Verdict::Held(Refusal::ParentDown(_)));
        let fell_with_parent = held_by_parent && case.fell_with_parent();
        let (start, needs_nothing) = (case.start(), case.down_parents().next().is_none());
        let (was_stopped_while_down, stop_was_of_parent) = (case.was_stopped_while_down(), case.stop_was_of_parent());
        let group = case.why_stopped_with_group();
        let is_certain = group.is_some() || was_stopped_while_down || seen.stop == Some(StopEvidence::Requested);
        let has_changed = case.has_changed_since_given_up();
        let (in_doubt, is_only_requested) = (is_in_doubt(&case, &verdict), case.is_only_requested());
        let off_because = if verdict == Verdict::Well { case.why_down() } else { String::new() };
        let went_down = self.units.get(name).and_then(|unit| unit.went_down);
        let is_proving = self.incidents.get(name).is_some_and(|incident| incident.attempt_under_way);
        if let Some(unit) = self.units.get_mut(name).filter(|_| stop_was_of_parent) {
            unit.job_done = None;
        }
        if is_proving && ended_by_itself(&seen) && !taken_along && !in_doubt {
            return self.ended(now, name, &seen);
        }
        if !in_doubt && verdict != Verdict::Stopped {
            self.attempt_was_stopped(now, name);
        }
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if in_doubt {
            // The signals are inconclusive: search the journal.
            incident.needs_stop_evidence = true;
            self.make_due(name);
            return;
        }
        incident.needs_stop_evidence = matches!(verdict, Verdict::Held(Refusal::StopUnknown(_)));
        if !incident.needs_stop_evidence {
            incident.doubts = 0;
        }
        if state.is_some() {
            incident.contradictions = 0;
        }
        if has_changed {
            incident.forget_attempts();
            incident.given_up = None;
        }
        incident.taken_along =
            (taken_along && incident.trigger == Trigger::Automatic).then(|| seen.deactivation.unwrap_or_default());
        incident.seen_taken_along = went_down;
        if fell_with_parent {
            incident.fell_with_parent = seen.deactivation;
        }
        incident.stopped_after = seen.run.clone().filter(|_| was_stopped_while_down);
        incident.oneshot = seen.oneshot;
        incident.diagnosed = state;
        incident.off_because = off_because;
        if state.is_some() && seen.active.is_down() {
            incident.fell = incident.fell.or(seen.deactivation.map(|deactivation| deactivation.down));
        }
        let was_orphaned = incident.suspected == Some(State::Orphaned);
        // What is wrong now need not be wrong with the file of an earlier inspection.
        let earlier = incident.definition.filter(|_| !matches!(verdict, Verdict::Unrecoverable(_)));
        incident.definition = seen.definition().or(earlier);
        // Not requested right after a failure; then the known run is an earlier one.
        incident.run.clone_from(&seen.run);
        incident.suspected = suspected(state, incident.suspected);
        if !held_by_parent && let Some(parent) = incident.waits_for.clone() {
            self.leave(name);
            if needs_nothing {
                self.wake_group(now, &parent);
            }
        }
        if let Some(state) = state.filter(|_| is_worth_an_event(&verdict) && !is_only_requested) {
            self.announce(name, state, &seen);
        }
        if state == Some(State::CrashLooping) {
            self.may_take_longer(now, name, &seen);
        }
        match verdict {
            Verdict::Well if was_orphaned && seen.active == ActiveState::Inactive => {
                self.dismiss(now, name, "its directory is back, and it is down");
            }
            Verdict::Well => self.found_well(now, name, &seen),
            Verdict::Stopped => self.found_stopped(now, name, seen, group.as_deref(), is_certain),
            Verdict::Held(refusal @ Refusal::CrashLooping(_)) => {
                self.hold(now, name, refusal);
                // Signals may have said since that it is up, or has failed for good.
                self.goes_on_looping(now, name);
            }
            Verdict::Held(refusal) => self.hold(now, name, refusal),
            Verdict::GivenUp => self.enter(name, Phase::GaveUp),
            Verdict::Unrecoverable(why) => self.give_up(now, name, &why.to_string()),
            Verdict::Exhausted(_) => self.exhausted(now, name),
            Verdict::Wait(_) => self.schedule(now, name),
            Verdict::Start | Verdict::Restart => self.attempt(now, name, start),
        }
    }

    /// Records what an inspection shows, whatever is decided.
    fn note_inspection(&mut self, name: &UnitName, seen: &Inspection) {
        if let Some(incident) = self.incidents.get_mut(name) {
            if incident.attempts == 0 && has_run_since(incident.run.as_deref(), seen.run.as_deref()) {
                // It was started by another client, unseen, which is newer than a disable.
                incident.file = None;
            }
            // Even if it is not covered at the moment.
            incident.note_file(seen);
            if incident.last_failure == DIED && seen.active == ActiveState::Failed {
                // Its signals did not say what ended it.
                let limit = match seen.result {
                    ServiceResult::Watchdog => Some("ended by its watchdog"),
                    ServiceResult::Timeout => Some("ended by a time limit of its unit"),
                    _ => None,
                };
                limit.unwrap_or(DIED).clone_into(&mut incident.last_failure);
            }
            if incident.trigger == Trigger::Request && has_run_since(incident.run.as_deref(), seen.run.as_deref()) {
                // Another client has fulfilled the request.
                incident.trigger = Trigger::Automatic;
            }
        }
        self.settle_resolution(name, &seen.location());
        if let Some(unit) = self.units.get_mut(name) {
            unit.directory_gone = seen.directory_gone;
            unit.ends_cleanly = seen.ended_cleanly().unwrap_or(unit.ends_cleanly);
        }
    }

    /// Everything that a decision about the worker depends on; `None` if it is not covered.
    pub(super) fn case<'a>(&'a self, now: Timestamp, name: &'a UnitName, seen: &'a Inspection) -> Option<Case<'a>> {
        let worker = self.worker(name)?;
        let unit = self.units.get(name);
        let mut history = History {
            stop_seen: unit.is_some_and(|unit| unit.stop_seen),
            was_up: unit.is_some_and(|unit| unit.was_up),
            seen_down_for: unit.and_then(|unit| unit.went_down).map(|at| now.from_now(at)),
            cleared: unit.and_then(|unit| unit.cleared),
            kept_from_starting: unit.is_some_and(|unit| unit.kept_from_starting),
            ends_cleanly: unit.is_some_and(|unit| unit.ends_cleanly),
            ..History::default()
        };
        let held_for = |unit: &str| match &self.incidents.get(unit)?.phase {
            Phase::Held(refusal) => Some(refusal),
            _ => None,
        };
        if let Some(incident) = self.incidents.get(name) {
            history = History {
                trigger: incident.trigger,
                requested_before: incident.inspected_at.from_now(incident.requested_at),
                attempts: incident.attempts,
                wait: incident.not_before.from_now(now),
                at_failure: incident.file.or(seen.file),
                given_up: incident.given_up.as_ref(),
                job_done_before: unit.and_then(|unit| unit.job_done).map(|at| incident.inspected_at.from_now(at)),
                stays_stopped: incident.was_stopped_in(seen),
                stopped_because: if incident.was_stopped_in(seen) { &incident.off_because } else { "" },
                stop_replaced_start: unit.is_some_and(|unit| unit.stop_replaced_start),
                taken_along: incident.taken_along.is_some_and(|then| match seen.deactivation {
                    Some(deactivation) => is_still_down_since(seen, deactivation, then),
                    // The manager knows none of a unit that was unloaded since.
                    None => {
                        incident.seen_taken_along.is_some()
                            && incident.seen_taken_along == unit.and_then(|unit| unit.went_down)
                    }
                }),
                fell_with_parent: incident.fell_with_parent.is_some() && incident.fell_with_parent == seen.deactivation,
                needs_it_too: seen
                    .parents
                    .iter()
                    .map(|parent| parent.name.as_str())
                    .find(|it| waits_for(it, name.as_str(), held_for)),
                stopped_after_run: incident.stopped_after.is_some()
                    && seen.run.is_some()
                    && !has_run_since(incident.stopped_after.as_deref(), seen.run.as_deref()),
                refuses: incident.refuses.as_deref(),
                forbidden: match &incident.phase {
                    Phase::Held(Refusal::Forbidden(why)) => Some(why),
                    _ => None,
                },
                starting: incident.phase == Phase::Starting,
                proving: matches!(incident.phase, Phase::Proving | Phase::Verifying).then(|| self.proving_time(name)),
                ..history
            };
        }
        Some(Case { context: &self.context, unit: name, worker, seen, history })
    }

    /// A start or stop that is under way need not be inspected before it exceeds its limit.
    fn may_take_longer(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection) {
        let Some((transition, unit)) = seen.transition.zip(self.units.get_mut(name)) else { return };
        let limit = transition.limit.unwrap_or(self.context.policy.timeout);
        unit.checked_until = Some(now + limit.saturating_sub(transition.lasts) + TIMEOUT_MARGIN);
    }

    /// An inspection showed that nothing is wrong, or that something is under way.
    fn found_well(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection) {
        let suspected = self.incidents.get(name).and_then(|incident| incident.suspected);
        self.may_take_longer(now, name, seen);
        let Some(unit) = self.units.get(name) else { return };
        let (condition, was_cleared) = (unit.condition(), unit.cleared == Some(ClearedBy::Person));
        let checked_until = unit.checked_until.filter(|_| seen.transition.is_some());
        // Signals are newer than the inspection, or on their way.
        let contradicts = match condition {
            UnitCondition::Unhealthy => true,
            // A job that was under way has ended since, and the end of a stop says more than this inspection.
            UnitCondition::Down => seen.active.is_up() || seen.has_job,
            _ => false,
        };
        match suspected {
            Some(State::CrashLooping) if !contradicts => self.no_loop(now, name),
            // It was inspected as one that has failed, and its stop has come in between: its files are of interest now.
            None if seen.active == ActiveState::Inactive
                && seen.file.is_none()
                && seen.load == LoadState::Loaded
                && condition == UnitCondition::Down =>
            {
                self.went_down(name);
            }
            _ if seen.active == ActiveState::Inactive && condition == UnitCondition::Down && !contradicts => {
                self.is_down_as_it_should_be(now, name, seen, was_cleared);
            }
            _ if seen.active.is_up() && !contradicts => self.comes_up(now, name),
            // The manager is about to restart it, or it is coming up: signals decide.
            _ => {
                self.enter(name, Phase::Proving);
                // If it lasts, inspect again.
                if contradicts {
                    let Some(incident) = self.incidents.get_mut(name) else { return };
                    let wait =
                        TIMEOUT_MARGIN.saturating_mul(1 << incident.contradictions.min(6)).min(CONTRADICTION_DELAY);
                    incident.contradictions = incident.contradictions.saturating_add(1);
                    self.set_timer(name, Some(now + wait));
                } else {
                    self.set_timer(name, checked_until);
                }
            }
        }
    }

    /// It was stopped, with the group if that was.
    fn found_stopped(&mut self, now: Timestamp, name: &UnitName, seen: Inspection, group: Option<&str>, certain: bool) {
        self.stopped(now, name, group.unwrap_or_default());
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.stop_is_certain = certain;
        if seen.stop == Some(StopEvidence::Requested) {
            // The journal names the run that the stop ended.
            incident.run = seen.run;
        }
    }

    /// It is down without having failed, and nothing says that it should be up.
    fn is_down_as_it_should_be(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection, was_cleared: bool) {
        if was_cleared {
            return self.dismiss(now, name, "its failure was cleared, and it is not enabled");
        }
        if self.incidents.get(name).is_some_and(|incident| incident.is_public() || incident.given_up.is_some()) {
            if seen.oneshot && seen.stop != Some(StopEvidence::Requested) {
                // Its work is done, by a run that the manager or a person started.
                return self.recovered(now, name);
            }
            // A stop of one that waits for an automatic restart is not in the journal; nor is a start that was skipped.
            let another_job_ended = self.units.get(name).is_some_and(|unit| unit.job_done.is_some());
            let was_stopped = seen.stop == Some(StopEvidence::Requested)
                || self.stop_seen(name)
                || (another_job_ended && seen.skipped.is_none());
            // Without a reason it is reported as stopped by hand.
            return self.dismiss(now, name, if was_stopped { "" } else { "it has ended without error" });
        }
        if seen.load == LoadState::NotFound {
            // A transient unit is gone with its run.
            self.rest(now, name);
            if !self.incidents.contains_key(name) {
                self.units.remove(name);
            }
            return;
        }
        let never_ran = self.case(now, name, seen).is_none_or(|case| case.never_ran());
        self.enter(name, Phase::Off);
        if matches!(seen.stop, Some(StopEvidence::Unknown(_))) && !never_ran {
            self.reinspect_in_doubt(now, name);
        }
    }
}

/// Whether a detected problem is reported: not if a person or an earlier report is behind it.
fn is_worth_an_event(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Stopped | Verdict::GivenUp => false,
        Verdict::Held(Refusal::StateNotHealed(State::ExpectedButStopped)) => false,
        Verdict::Held(refusal) => !refusal.is_intent(),
        _ => true,
    }
}

/// Whether the last deactivation is that one. The manager takes a failure that is cleared for another end of it, and of
/// a run that ended while it was starting it says when an earlier one ceased to be up.
fn is_still_down_since(seen: &Inspection, last: Deactivation, then: Deactivation) -> bool {
    last == then || (last.left == then.left && seen.began.is_none_or(|began| began <= then.down))
}

/// Whether it is down without an error, and nothing shows that it was stopped.
fn ended_by_itself(seen: &Inspection) -> bool {
    let was_stopped = matches!(seen.stop, None | Some(StopEvidence::Requested));
    seen.active == ActiveState::Inactive && !seen.has_job && !seen.oneshot && !was_stopped
}

/// Whether the signals do not show if it was stopped, or this inspection not if it is enabled, and the verdict depends
/// on that.
fn is_in_doubt(case: &Case, verdict: &Verdict) -> bool {
    let is_unsearched = case.seen.stop.is_none();
    ((*verdict == Verdict::Start || wants_evidence(verdict)) && case.may_have_been_stopped())
        || (wants_evidence(verdict) && is_unsearched && case.may_have_been_taken_along())
        || (*verdict == Verdict::Stopped
            && is_unsearched
            && !case.was_stopped_while_down()
            && case.may_have_been_taken_along())
        || (case.was_taken_along()
            && is_unsearched
            && case.history.trigger == Trigger::Automatic
            && !case.history.taken_along)
        || (case.history.cleared == Some(ClearedBy::Person) && case.seen.file.is_none() && is_unsearched)
}

/// Whether a verdict about a worker that is down depends on its not having been stopped on purpose. Once a unit that it
/// conflicts with has ended, nothing else says that the stop was for that unit's sake.
fn wants_evidence(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Held(Refusal::StateNotHealed(State::ExpectedButStopped) | Refusal::ConflictUp(_)))
}

/// The problem to carry over to the next inspection, where the unit's state alone does not show it: that state is no
/// recovery.
fn suspected(state: Option<State>, before: Option<State>) -> Option<State> {
    match state {
        Some(
            State::CrashLooping
            | State::Stuck
            | State::Unreachable
            | State::ExpectedButStopped
            // This stays true until the directory is back, in any state of the unit.
            | State::Orphaned,
        ) => state,
        Some(State::Failed | State::StartLimitHit) => None,
        None => before.filter(|state| *state != State::Orphaned),
    }
}
