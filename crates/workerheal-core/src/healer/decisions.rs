//! Decisions that are not about an attempt: to begin, to wait, to hold, to leave alone.

use super::attempts::CANCELLED;
use super::incident::{CONTRADICTION_DELAY, Incident, Phase, RECHECK_INTERVAL};
use super::unit::UnitCondition;
use super::{Healer, Mode, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::event::Phase as EventPhase;
use crate::rules::ClearedBy;
use crate::units::{ActiveState, Depth, Detail, Inspection, LoadState, UnitName};

impl Healer {
    pub(super) fn became_unhealthy(&mut self, now: Timestamp, name: &UnitName, suspected: Option<State>) {
        if self.mode == Mode::OnRequest {
            return;
        }
        match self.incidents.get_mut(name) {
            // It stays given up unless an inspection shows that something has changed.
            Some(incident) if incident.given_up.is_some() => {
                self.make_due(name);
                self.consider(now, name);
            }
            Some(incident) if incident.restored => {
                incident.restored = false;
                incident.suspected = suspected;
                if std::mem::take(&mut incident.attempt_open) {
                    incident.not_before = now + self.context.policy.backoff.wait(incident.attempts, self.random.f64());
                }
                self.make_due(name);
                self.consider(now, name);
            }
            _ => self.begin(now, name, suspected, Trigger::Automatic),
        }
    }

    /// Begins an incident: the first attempt is made at once, later ones after the backoff.
    pub(super) fn begin(&mut self, now: Timestamp, name: &UnitName, suspected: Option<State>, trigger: Trigger) {
        self.leave(name);
        if self.incidents.get(name).is_some_and(|incident| incident.phase == Phase::Cancelled) {
            self.emit(name, EventPhase::Failed, |event| CANCELLED.clone_into(&mut event.error));
        } else {
            // What became of an attempt under way is no longer of interest.
            self.attempt_was_stopped(now, name);
        }
        let incident = self.incidents.entry(name.clone()).or_insert_with(|| Incident::new(now));
        if trigger == Trigger::Request || incident.phase == Phase::GaveUp {
            incident.forget_attempts();
        }
        incident.begins_anew();
        incident.suspected = suspected;
        (incident.trigger, incident.awaited, incident.requested_at) = (trigger, trigger == Trigger::Request, now);
        incident.not_before = now + self.context.policy.backoff.wait(incident.attempts, self.random.f64());
        self.make_due(name);
        self.consider(now, name);
    }

    /// Checks whether a due, scheduled or held attempt is still right for a worker that is still unhealthy.
    pub(super) fn reconsider_wait(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get(name) else { return };
        let masked = self.units.get(name).is_some_and(|unit| unit.load == LoadState::Masked);
        let against = self.intent_against(name).or(masked.then_some(Refusal::Masked));
        match (&incident.phase, against) {
            // An inspection shows what that stop was meant for.
            (Phase::Waiting { .. } | Phase::Held(_), _) if self.was_stopped_since(name) => self.make_due(name),
            // A recorded stop is checked first: after a restart of the daemon nothing else would show it.
            (Phase::Due, _) if self.stop_was_signalled_since_the_inspection(name) => {}
            (Phase::Held(refusal), Some(against)) if *refusal == against => {}
            (_, Some(against)) => self.hold(now, name, against),
            // Its timer decides when the manager is asked again.
            (
                Phase::Held(Refusal::JobPending | Refusal::Masked | Refusal::Declined(_) | Refusal::Forbidden(_)),
                None,
            ) if incident.refused > 0 => {}
            (Phase::Held(refusal), None) if self.has_passed(name, refusal) => self.make_due(name),
            (Phase::Waiting { until }, None) if *until <= now => self.make_due(name),
            (_, None) => {}
        }
    }

    pub(super) fn stop_was_signalled_since_the_inspection(&self, name: &UnitName) -> bool {
        let job_done = self.units.get(name).and_then(|unit| unit.job_done);
        job_done.zip(self.incidents.get(name)).is_some_and(|(at, incident)| at > incident.inspected_at)
    }

    /// It is in a crash loop, which ends once a run lasts.
    pub(super) fn goes_on_looping(&mut self, now: Timestamp, name: &UnitName) {
        let Some((unit, incident)) = self.units.get(name).zip(self.incidents.get(name)) else { return };
        match unit.condition() {
            UnitCondition::Up if incident.timer.is_none() => {
                self.set_timer(name, Some(now + self.context.policy.stable_after));
            }
            // One of its restarts hangs.
            UnitCondition::ComingUp if self.suspicion(now, unit) == Some(State::Stuck) => {
                self.suspect(name, State::Stuck);
            }
            UnitCondition::ComingUp => self.set_timer(name, None),
            // systemd reports that before each restart, for an instant. If it lasts, systemd has given up.
            UnitCondition::Unhealthy if incident.timer.is_none_or(|at| at > now + CONTRADICTION_DELAY) => {
                self.set_timer(name, Some(now + CONTRADICTION_DELAY));
            }
            UnitCondition::Up
            | UnitCondition::Unhealthy
            | UnitCondition::Settling
            | UnitCondition::Down
            | UnitCondition::Unknown => {}
        }
    }

    /// It was left alone and is still down: inspect it from time to time.
    pub(super) fn stays_down(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if incident.restored || (incident.run.is_none() && incident.timer.is_none()) {
            self.set_timer(name, Some(now + RECHECK_INTERVAL));
            self.recheck(name);
            if let Some(incident) = self.incidents.get_mut(name) {
                incident.restored = false;
            }
        } else if incident.timer.is_none() && !incident.inspections.is_open(Purpose::Recheck) {
            self.set_timer(name, Some(now + RECHECK_INTERVAL));
        }
    }

    /// Whether the reason for holding is known to be gone, or only an inspection can show it.
    fn has_passed(&self, name: &UnitName, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::StopMarker
            | Refusal::Paused(_)
            | Refusal::SitePaused(_)
            | Refusal::WorkerPaused(_)
            | Refusal::IdleSuspended(_) => true,
            Refusal::Masked => self.units.get(name).is_some_and(|unit| unit.load == LoadState::Loaded),
            // That it is unhealthy already means that no job is under way.
            Refusal::JobPending | Refusal::Declined(_) | Refusal::Forbidden(_) | Refusal::Unreadable(_) => true,
            Refusal::ParentDown(parent) => match self.units.get(parent.name.as_str()) {
                Some(unit) => unit.active.is_up(),
                // The unit is not in the list: inspect it.
                None => self.is_inspected_for_its_group(name, &parent.name),
            },
            Refusal::ConflictUp(other) => match self.units.get(other.as_str()) {
                Some(unit) => matches!(unit.condition(), UnitCondition::Down | UnitCondition::Unhealthy),
                None => true,
            },
            Refusal::Stuck(..) => self.units.get(name).is_some_and(|unit| unit.changing_since.is_none()),
            // An inspection that was under way when it failed shows the state before that.
            Refusal::StateNotHealed(State::ExpectedButStopped)
                if self.units.get(name).is_some_and(|unit| unit.active == ActiveState::Failed) =>
            {
                true
            }
            Refusal::StateNotHealed(state) => self.context.policy.heals(*state),
            Refusal::Disabled
            | Refusal::LeftToTrigger(_)
            | Refusal::OneshotEnded
            | Refusal::StopUnknown(_)
            | Refusal::CrashLooping(_)
            | Refusal::DirectoryGone(_) => false,
        }
    }

    pub(super) fn recovered(&mut self, now: Timestamp, name: &UnitName) {
        if self.incidents.get(name).is_some_and(|incident| incident.is_public() || incident.attempt_under_way) {
            self.emit(name, EventPhase::Recovered, |_| {});
        }
        self.rest(now, name);
    }

    /// It comes up without an attempt of ours: started by the manager, by a person, or as a dependency. It still has to
    /// stay up.
    pub(super) fn comes_up(&mut self, now: Timestamp, name: &UnitName) {
        let Some(unit) = self.units.get(name) else { return };
        let (by_manager, is_up) = (unit.restarted_by_manager, unit.active.is_up());
        self.leave(name);
        let was_to_be_inspected = |incident: &Incident| matches!(incident.phase, Phase::Due | Phase::Waiting { .. });
        if self.incidents.get(name).is_some_and(was_to_be_inspected) {
            // It went down during our attempt, and comes up by another.
            self.attempt_was_stopped(now, name);
        }
        if self.incidents.get(name).is_some_and(|incident| incident.phase == Phase::Cancelled) {
            // It comes up because of the job that replaced ours.
            self.emit(name, EventPhase::Failed, |event| CANCELLED.clone_into(&mut event.error));
        }
        let Some(incident) = self.incidents.get_mut(name) else { return };
        // A wait that was reported gets a reported end.
        incident.announced |= incident.reported_hold.is_some();
        incident.attempt_under_way = false;
        (incident.suspected, incident.refuses) = (None, None);
        (incident.reported_hold, incident.scheduled) = (None, None);
        if !by_manager {
            // A start by hand ends what was before, a give-up included.
            incident.trigger = Trigger::Automatic;
            (incident.file, incident.taken_along, incident.stopped_after) = (None, None, None);
            if incident.given_up.take().is_some() {
                incident.forget_attempts();
                incident.not_before = now;
            }
        }
        if is_up && incident.attempts == 0 && incident.given_up.is_none() && !incident.is_public() {
            return self.rest(now, name);
        }
        incident.started_at = now;
        self.enter(name, Phase::Proving);
        if is_up {
            self.goes_on_proving(now, name);
        }
    }

    /// Inspects a worker for a problem that its unit's state alone does not show.
    pub(super) fn suspect(&mut self, name: &UnitName, suspicion: State) {
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.suspected = Some(suspicion);
        }
        self.make_due(name);
    }

    /// It is down without having failed. An inspection shows why.
    pub(super) fn went_down(&mut self, name: &UnitName) {
        self.suspect(name, State::ExpectedButStopped);
    }

    /// A person cleared the failure of a worker. Usually they start it next; if not, an inspection shows whether it
    /// should still be up.
    pub(super) fn notice_a_cleared_failure(&mut self, now: Timestamp, name: &UnitName) {
        let cleared = self.units.get(name).is_some_and(|unit| unit.cleared == Some(ClearedBy::Person));
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if !cleared {
            incident.cleared_seen = false;
        } else if incident.phase.waits() && !std::mem::replace(&mut incident.cleared_seen, true) {
            self.wait_until(name, now + CONTRADICTION_DELAY);
        }
    }

    pub(super) fn stopped(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let failed = self.units.get(name).is_some_and(|unit| unit.active == ActiveState::Failed);
        let is_news = |incident: &Incident| incident.is_public() || incident.attempts > 0 || incident.attempt_under_way;
        // The stop or clean end of a healthy worker is not worth an event.
        if failed
            || self.incidents.get(name).is_some_and(is_news)
            || self.context.policy.heals(State::ExpectedButStopped)
        {
            self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        }
        self.leave(name);
        self.enter(name, Phase::Stopped);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        reason.clone_into(&mut incident.off_because);
        (incident.attempt_under_way, incident.stop_asked, incident.awaited) = (false, false, false);
        (incident.announced, incident.reported_hold, incident.scheduled) = (false, None, None);
        // A run that was recorded before the stop may be an earlier one.
        incident.run = None;
        incident.given_up = None;
        incident.stop_is_certain = false;
        if self.mode == Mode::Automatic {
            self.set_timer(name, Some(now + RECHECK_INTERVAL));
            self.recheck(name);
        }
    }

    /// A person's action has left nothing to heal.
    pub(super) fn dismiss(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(incident) = self.incidents.get(name) else { return };
        if incident.is_public() {
            self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        }
        self.rest(now, name);
    }

    /// The incident is over. Its history is kept until the worker has been up for `reset_after`.
    pub(super) fn rest(&mut self, now: Timestamp, name: &UnitName) {
        self.report_failure(name);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if incident.phase == Phase::GaveUp || incident.given_up.is_some() {
            // Something else succeeded where our attempts failed: the next incident gets a new series.
            incident.forget_attempts();
        }
        self.leave(name);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.ends();
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared = None;
        }
        self.enter(name, Phase::Resting);
        let Some(incident) = self.incidents.get(name) else { return };
        if incident.attempts == 0 {
            self.set_timer(name, None);
            self.incidents.remove(name);
        } else if self.units.get(name).is_some_and(|unit| unit.condition() == UnitCondition::Up) {
            self.count_uptime(now, name);
        }
    }

    /// It is up and healthy; at the beginning, that may be the attempt of an earlier daemon.
    pub(super) fn is_well(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if std::mem::take(&mut incident.restored) {
            if incident.attempt_open {
                return self.resume_attempt(now, name);
            }
            // It may have been up for long already.
            incident.ends();
            return self.inspect(name, Purpose::Uptime, Detail::of(Depth::Uptime));
        }
        self.count_uptime(now, name);
    }

    fn count_uptime(&mut self, now: Timestamp, name: &UnitName) {
        if self.incidents.get(name).is_some_and(|incident| incident.timer.is_none()) {
            self.set_timer(name, Some(now + self.context.policy.reset_after));
        }
    }

    pub(super) fn hold(&mut self, now: Timestamp, name: &UnitName, refusal: Refusal) {
        // An attempt that was still to be proven ends with this.
        self.attempt_was_stopped(now, name);
        let one_of_many = if let Refusal::ParentDown(parent) = &refusal {
            self.join(now, name, parent)
        } else {
            self.leave(name);
            false
        };
        let Some(incident) = self.incidents.get_mut(name) else { return };
        incident.held_at = now;
        // A clean end that is left alone is shown in the state, and is not worth an event.
        let is_quiet = refusal == Refusal::StateNotHealed(State::ExpectedButStopped) && !incident.is_public();
        if !is_quiet && incident.reported_hold.as_ref().is_none_or(|reported| !reported.is_alike(&refusal)) {
            incident.reported_hold = Some(refusal.clone());
            incident.scheduled = None;
            let until = match &refusal {
                Refusal::Paused(pause) => pause.until.map(|until| until.from_now(now)),
                _ => None,
            };
            self.emit(name, EventPhase::Held, |event| {
                event.reason = refusal.to_string();
                event.one_of_many = one_of_many;
                event.retry_in = until;
            });
        }
        let needs_rechecks = refusal.needs_rechecks();
        let in_doubt = matches!(refusal, Refusal::StopUnknown(_) | Refusal::Unreadable(_));
        self.enter(name, Phase::Held(refusal));
        if needs_rechecks {
            self.set_timer(name, Some(now + RECHECK_INTERVAL));
        } else if in_doubt {
            self.reinspect_in_doubt(now, name);
        }
        self.inspect_baseline(name);
    }

    /// Searches again for evidence that is missing, soon at first: the journal may lag behind.
    pub(super) fn reinspect_in_doubt(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let wait = CONTRADICTION_DELAY.saturating_mul(1 << incident.doubts.min(6)).min(RECHECK_INTERVAL);
        incident.doubts = incident.doubts.saturating_add(1);
        self.set_timer(name, Some(now + wait));
    }

    pub(super) fn schedule(&mut self, now: Timestamp, name: &UnitName) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let (until, wait, next) = (incident.not_before, incident.not_before.from_now(now), incident.attempts + 1);
        incident.reported_hold = None;
        if incident.scheduled.replace(until) != Some(until) {
            self.emit(name, EventPhase::Scheduled, |event| {
                event.attempt = Some(next);
                event.retry_in = Some(wait);
            });
        }
        self.wait_until(name, until);
    }

    pub(super) fn announce(&mut self, name: &UnitName, state: State, seen: &Inspection) {
        if state == State::CrashLooping {
            return self.announce_loop(name, seen.restarts.map_or(0, |restarts| restarts.count));
        }
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let error = incident.refuses.as_ref().filter(|_| state == State::Unreachable);
        let error = error.map(|place| format!("it refuses connections to {place}")).unwrap_or_default();
        if !std::mem::replace(&mut incident.announced, true) {
            self.emit(name, EventPhase::Detected, |event| {
                event.attempt = None;
                event.error = error;
                state.as_str().clone_into(&mut event.reason);
            });
        }
    }
}
