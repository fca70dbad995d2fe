//! The decisions: what to do about a worker that is ill, and the few ways in which state is changed.

use std::time::Duration;

use super::track::{Phase, SECOND_LOOK, Standing, Track};
use super::{Action, Healer, Mode, Purpose, Timestamp};
use crate::core::coverage::{Resolution, Worker};
use crate::core::diagnosis::{Asked, Diagnosis, Refusal, State, diagnose, down_parent, intent};
use crate::core::event::{Event, Phase as EventPhase};
use crate::core::units::{ActiveState, Detail, Inspection, LoadState, StopEvidence, UnitName};

/// Decisions.
impl Healer {
    pub(super) fn fell_ill(&mut self, now: Timestamp, name: &UnitName) {
        if self.mode == Mode::OnRequest {
            return;
        }
        self.begin(now, name, Asked::ByRule);
    }

    /// Begins to heal: at once for the first attempt, after the backoff for later ones.
    pub(super) fn begin(&mut self, now: Timestamp, name: &UnitName, asked: Asked) {
        let track = self.tracks.entry(name.clone()).or_insert_with(|| Track::new(now));
        if asked == Asked::ByPerson || track.phase == Phase::GaveUp {
            track.attempts = 0;
        }
        track.ends();
        // Whatever ended it: what follows is no mere look.
        track.phase = Phase::Resting;
        track.asked = asked;
        track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
        self.make_due(name);
        self.consider(now, name);
    }

    /// Still down, and an attempt is due, scheduled or held: does that stand?
    pub(super) fn reconsider_wait(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        let against = self.intent_against(name);
        match (&track.phase, against) {
            // A look tells what that stop was for.
            (Phase::Waiting { .. } | Phase::Held(_), _) if self.was_stopped_since(name) => self.make_due(name),
            (Phase::Held(refusal), Some(against)) if *refusal == against => {}
            (_, Some(against)) => self.hold(name, against),
            (Phase::Held(refusal), None) if self.has_passed(name, refusal) => self.make_due(name),
            (Phase::Waiting { until }, None) if *until <= now => self.make_due(name),
            (_, None) => {}
        }
    }

    /// Whether its stop was seen. A person who asks for it later means something newer.
    fn was_stopped_since(&self, name: &UnitName) -> bool {
        self.tracks.get(name).is_some_and(|track| track.asked == Asked::ByRule && !track.taken_along)
            && self.stop_seen(name)
    }

    /// Whether a stop on request was under way since the unit was last up.
    fn stop_seen(&self, name: &UnitName) -> bool {
        self.units.get(name).is_some_and(|unit| unit.stop_seen)
    }

    /// Whether its user stopped it, rather than a unit that it needs, which took it along.
    fn was_told_to_stop(&mut self, name: &UnitName, seen: &Inspection) -> bool {
        let stop_seen = self.was_stopped_since(name);
        let Some(track) = self.tracks.get_mut(name).filter(|track| track.asked == Asked::ByRule) else { return false };
        let stopped = stop_seen || (seen.stop == Some(StopEvidence::Requested) && !track.taken_along);
        track.taken_along |= stopped && down_parent(seen).is_some();
        track.told_to_stop || (stopped && !track.taken_along)
    }

    /// Whether the reason for holding is known to be gone, or only a close look can tell.
    fn has_passed(&self, name: &UnitName, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::StopMarker | Refusal::SitePaused(_) | Refusal::WorkerPaused(_) | Refusal::IdleSuspended(_) => true,
            Refusal::Masked => self.units.get(name).is_some_and(|unit| unit.load == LoadState::Loaded),
            // Standing Failed already means that no job is under way.
            Refusal::JobPending | Refusal::Unreadable(_) => true,
            Refusal::ParentDown(parent) => match self.units.get(parent.name.as_str()) {
                Some(unit) => unit.active.is_up(),
                // Not among the units that are listed: look.
                None => true,
            },
            Refusal::StateNotHealed(state) => self.policy.states.contains(state),
            Refusal::Disabled | Refusal::StopUnknown(_) => false,
        }
    }

    /// Takes the close look that precedes every attempt.
    pub(super) fn look(&mut self, name: &UnitName) {
        if self.tracks.get(name).is_none_or(|track| track.phase != Phase::Due) {
            return;
        }
        let witnessed = self.units.get(name).is_some_and(|unit| unit.witnessed);
        let first = self.tracks.get(name).is_some_and(|track| track.attempts == 0 && !track.given_up);
        self.enter(name, Phase::Looking);
        self.inspect(name, Purpose::Attempt, Detail { stop: !witnessed, file: !(witnessed && first) });
    }

    pub(super) fn looked(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        if self.frozen {
            // What was seen may be wrong already: look again when the doubt is over.
            return self.make_due(name);
        }
        let mut unit = match result {
            Ok(unit) => unit,
            Err(_) if self.tracks.get(name).is_some_and(|track| track.given_up) => {
                return self.enter(name, Phase::GaveUp);
            }
            Err(why) => return self.hold(name, Refusal::Unreadable(why)),
        };
        self.settle_resolution(name, &unit);
        if self.worker(name).is_none() {
            return self.dismiss(now, name, "it is no longer covered");
        }
        if self.was_told_to_stop(name, &unit) {
            return self.stopped(name, "");
        }
        if let Some(refusal) = self.intent_against(name) {
            return self.hold(name, refusal);
        }
        if unit.active == ActiveState::Inactive && self.units.get(name).is_some_and(|unit| unit.cleared_by_us) {
            unit.active = ActiveState::Failed;
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.taken_along {
            unit.stop = None;
        }
        track.oneshot = unit.oneshot;
        let asked = track.asked;
        let at_failure = track.file.or(unit.file);
        track.file = at_failure;
        if std::mem::take(&mut track.given_up) {
            if unit.file.map(|file| file.definition) == at_failure.map(|file| file.definition) {
                return self.enter(name, Phase::GaveUp);
            }
            track.attempts = 0;
            track.file = unit.file;
        }
        match diagnose(&unit, at_failure, asked) {
            Diagnosis::Well if unit.active.is_up() => self.recovered(now, name),
            Diagnosis::Well => self.wait_until(name, now + SECOND_LOOK),
            Diagnosis::Stopped => self.stopped(name, ""),
            Diagnosis::Held(state, refusal) => {
                self.announce(name, state);
                self.hold(name, refusal);
            }
            Diagnosis::Hopeless(state, why) => {
                self.announce(name, state);
                self.give_up(name, &why.to_string());
            }
            Diagnosis::Curable(state) => {
                self.announce(name, state);
                self.attempt(now, name, state);
            }
        }
    }

    /// Starts the worker, unless the policy has something against it.
    fn attempt(&mut self, now: Timestamp, name: &UnitName, state: State) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.asked == Asked::ByRule && !self.policy.states.contains(&state) {
            return self.hold(name, Refusal::StateNotHealed(state));
        }
        if self.policy.give_up_after.is_some_and(|limit| track.attempts >= limit) {
            return self.exhausted(name);
        }
        if track.wait(now) > Duration::ZERO {
            return self.schedule(now, name);
        }
        track.attempts += 1;
        track.told = None;
        // The wish of a person is fulfilled with this; what they do next is newer.
        track.asked = Asked::ByRule;
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared_by_us = true;
        }
        self.enter(name, Phase::Starting);
        self.emit(name, EventPhase::Starting, |_| {});
        self.actions.push(Action::Start(name.clone()));
    }

    pub(super) fn attempt_failed(&mut self, now: Timestamp, name: &UnitName, error: String) {
        self.emit(name, EventPhase::Failed, |event| event.error.clone_from(&error));
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.last_failure = error;
        self.remember_file(name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        if self.policy.give_up_after.is_some_and(|limit| track.attempts >= limit) {
            self.exhausted(name);
        } else {
            track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
            self.schedule(now, name);
        }
        // It may be up again already: a restart by the manager, or by its user.
        self.consider(now, name);
    }

    pub(super) fn died_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            self.stopped(name, "");
        } else {
            self.attempt_failed(now, name, "died right after its start".to_owned());
        }
    }

    pub(super) fn ended_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            self.stopped(name, "");
        } else if self.tracks.get(name).is_some_and(|track| track.oneshot) {
            self.healed(now, name);
        } else {
            self.stopped(name, "it ended without error soon after its start");
        }
    }

    /// The close look at the end of the proving time.
    pub(super) fn verified(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        let Ok(unit) = result else { return self.prove_on(now, name) };
        match unit.up_for {
            Some(up_for) if unit.active.is_up() && up_for >= self.policy.stable_after => self.healed(now, name),
            Some(_) if unit.active.is_up() => {
                self.attempt_failed(now, name, "died and was restarted right after its start".to_owned());
            }
            // Its change of state is on its way to us, and decides.
            Some(_) | None => self.prove_on(now, name),
        }
    }

    fn prove_on(&mut self, now: Timestamp, name: &UnitName) {
        self.enter(name, Phase::Proving);
        self.set_timer(name, Some(now + SECOND_LOOK));
    }

    pub(super) fn healed(&mut self, now: Timestamp, name: &UnitName) {
        self.emit(name, EventPhase::Healed, |_| {});
        self.rest(now, name);
    }

    pub(super) fn recovered(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(Track::is_public) {
            self.emit(name, EventPhase::Recovered, |_| {});
        }
        self.rest(now, name);
    }

    /// Somebody cleared the failure of a worker. Mostly they start it next.
    pub(super) fn went_down(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            return self.stopped(name, "");
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.phase == Phase::Cleared && track.timer.is_some() {
            return;
        }
        if track.phase == Phase::GaveUp {
            track.attempts = 0;
        }
        self.enter(name, Phase::Cleared);
        self.set_timer(name, Some(now + SECOND_LOOK));
    }

    /// What took the place of our start has ended, and the worker is down.
    pub(super) fn was_cancelled(&mut self, now: Timestamp, name: &UnitName, failed: bool) {
        if !failed || self.stop_seen(name) {
            self.stopped(name, "");
        } else {
            self.attempt_failed(now, name, "its start was cancelled by somebody else".to_owned());
        }
    }

    pub(super) fn stopped(&mut self, name: &UnitName, reason: &str) {
        self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        self.enter(name, Phase::Stopped);
    }

    /// Nothing is left to heal, by somebody's doing.
    pub(super) fn dismiss(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(track) = self.tracks.get(name) else { return };
        if track.is_public() {
            self.emit(name, EventPhase::Stopped, |event| reason.clone_into(&mut event.reason));
        }
        self.rest(now, name);
    }

    /// The illness is over. Its history is kept until the worker has been up for `reset_after`.
    pub(super) fn rest(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.phase == Phase::GaveUp {
            // Somebody took care of it where we could not: a new series of attempts may follow.
            track.attempts = 0;
        }
        track.ends();
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared_by_us = false;
        }
        self.enter(name, Phase::Resting);
        let Some(track) = self.tracks.get(name) else { return };
        if track.attempts == 0 {
            self.set_timer(name, None);
            self.tracks.remove(name);
        } else if self.units.get(name).is_some_and(|unit| unit.standing() == Standing::Up) {
            self.count_uptime(now, name);
        }
    }

    pub(super) fn count_uptime(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(|track| track.timer.is_none()) {
            self.set_timer(name, Some(now + self.policy.reset_after));
        }
    }

    fn exhausted(&mut self, name: &UnitName) {
        let attempts = self.tracks.get(name).map_or(0, |track| track.attempts);
        let attempts = format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" });
        self.give_up(name, &format!("{attempts} failed"));
    }

    pub(super) fn give_up(&mut self, name: &UnitName, reason: &str) {
        let error = self.tracks.get_mut(name).map(|track| std::mem::take(&mut track.last_failure)).unwrap_or_default();
        self.emit(name, EventPhase::GaveUp, |event| {
            reason.clone_into(&mut event.reason);
            event.error = error;
        });
        self.enter(name, Phase::GaveUp);
        self.remember_file(name);
    }

    pub(super) fn hold(&mut self, name: &UnitName, refusal: Refusal) {
        if let Refusal::ParentDown(parent) = &refusal {
            self.parents.entry(parent.name.clone()).or_default().insert(name.clone());
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        if track.told.as_ref() != Some(&refusal) {
            track.told = Some(refusal.clone());
            self.emit(name, EventPhase::Held, |event| event.reason = refusal.to_string());
        }
        let is_intent = refusal.is_intent();
        self.enter(name, Phase::Held(refusal));
        if !is_intent {
            self.remember_file(name);
        }
    }

    fn schedule(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        let (until, wait, next) = (track.not_before, track.wait(now), track.attempts + 1);
        self.emit(name, EventPhase::Scheduled, |event| {
            event.attempt = Some(next);
            event.retry_in = Some(wait);
        });
        self.wait_until(name, until);
    }

    fn announce(&mut self, name: &UnitName, state: State) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if !std::mem::replace(&mut track.announced, true) {
            self.emit(name, EventPhase::Detected, |event| {
                event.attempt = None;
                state.as_str().clone_into(&mut event.reason);
            });
        }
    }
}

/// The few ways in which state is changed.
impl Healer {
    pub(super) fn inspect(&mut self, name: &UnitName, purpose: Purpose, detail: Detail) {
        self.actions.push(Action::Inspect { unit: name.clone(), purpose, detail });
    }

    /// Has a look taken at the unit's files, unless it is known what they were like at the failure.
    fn remember_file(&mut self, name: &UnitName) {
        let known = self.tracks.get(name).is_none_or(|track| track.file.is_some());
        if !known && self.mode == Mode::Automatic {
            self.inspect(name, Purpose::Memory, Detail { stop: false, file: true });
        }
    }

    pub(super) fn enter(&mut self, name: &UnitName, phase: Phase) {
        self.set_timer(name, None);
        if let Some(track) = self.tracks.get_mut(name) {
            self.in_flight -= usize::from(track.phase.takes_a_slot());
            self.in_flight += usize::from(phase.takes_a_slot());
            track.phase = phase;
        }
    }

    pub(super) fn make_due(&mut self, name: &UnitName) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.given_up |= track.phase == Phase::GaveUp;
        }
        self.enter(name, Phase::Due);
        self.queue.push_back(name.clone());
    }

    fn wait_until(&mut self, name: &UnitName, until: Timestamp) {
        self.enter(name, Phase::Waiting { until });
        self.set_timer(name, Some(until));
    }

    pub(super) fn set_timer(&mut self, name: &UnitName, at: Option<Timestamp>) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if let Some(before) = std::mem::replace(&mut track.timer, at) {
            self.timers.remove(&(before, name.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, name.clone()));
        }
    }

    pub(super) fn emit(&mut self, name: &UnitName, phase: EventPhase, fill: impl FnOnce(&mut Event)) {
        let mut event = Event::new(phase);
        if let Some(worker) = self.worker(name) {
            worker.site.clone_into(&mut event.site);
        }
        name.short().clone_into(&mut event.unit);
        if matches!(phase, EventPhase::Starting | EventPhase::Healed | EventPhase::Failed | EventPhase::GaveUp) {
            event.attempt = self.tracks.get(name).map(|track| track.attempts).filter(|attempts| *attempts > 0);
        }
        fill(&mut event);
        self.actions.push(Action::Emit(event));
    }

    pub(super) fn worker(&self, name: &UnitName) -> Option<&Worker> {
        match &self.units.get(name)?.resolution {
            Resolution::Worker(worker) => Some(worker),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        }
    }

    fn intent_against(&self, name: &UnitName) -> Option<Refusal> {
        if self.stop_marker {
            return Some(Refusal::StopMarker);
        }
        intent(&self.registry, self.stop_marker, self.worker(name)?)
    }

    /// Uses the look to tell apart what the name alone could not.
    fn settle_resolution(&mut self, name: &UnitName, seen: &Inspection) {
        if let Some(unit) = self.units.get_mut(name)
            && unit.resolution == Resolution::NeedsDirectory
        {
            unit.resolution = self.coverage.resolve_in(&self.registry, name, seen.working_directory.as_deref());
        }
    }
}
