//! Attempts: how one begins, and the ways in which it ends.

use super::track::{LOOK_AGAIN, Phase, SECOND_LOOK};
use super::{Action, Healer, Mode, Purpose, Timestamp};
use crate::core::diagnosis::{Asked, Refusal, State};
use crate::core::event::Phase as EventPhase;
use crate::core::rules::GivenUp;
use crate::core::units::{ActiveState, Detail, Inspection, LoadState, UnitName};

/// Why an attempt failed whose start job gave way to another.
pub(super) const CANCELLED: &str = "its start was cancelled by somebody else";

impl Healer {
    pub(super) fn attempt(&mut self, now: Timestamp, name: &UnitName, call: Action) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.attempts += 1;
        // Counted from its end, if we get to see that.
        track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
        track.told = None;
        track.scheduled = None;
        track.answered = false;
        if call == Action::Restart(name.clone()) {
            track.suspected = Some(State::Unreachable);
        } else if track.suspected == Some(State::Unreachable) {
            // It died before it could be restarted.
            track.suspected = None;
            track.refuses = None;
        }
        // The wish of a person is fulfilled with this; what they do next is newer.
        track.asked = Asked::ByRule;
        if let Some(unit) = self.units.get_mut(name) {
            unit.cleared_by_us = matches!(call, Action::Start(_));
            unit.refusals = 0;
        }
        self.enter(name, Phase::Starting);
        self.emit(name, EventPhase::Starting, |_| {});
        self.actions.push(call);
    }

    /// The manager would not have the start. It is asked again after a wait that grows as that between
    /// attempts does: what stands in the way need not be something that is seen to pass.
    pub(super) fn refused(&mut self, now: Timestamp, name: &UnitName, refusal: Refusal, error: String) {
        let is_masked = self.units.get(name).is_some_and(|unit| unit.load == LoadState::Masked);
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.attempts = track.attempts.saturating_sub(1);
        track.refused = track.refused.saturating_add(1);
        let wait = self.policy.backoff.wait(track.refused, self.random.f64());
        // A unit that it needs may be the masked one.
        let refusal = if refusal == Refusal::Masked && !is_masked { Refusal::Declined(error) } else { refusal };
        self.hold(now, name, refusal);
        self.set_timer(name, Some(now + wait));
        self.consider(now, name);
    }

    pub(super) fn attempt_failed(&mut self, now: Timestamp, name: &UnitName, error: String) {
        self.emit(name, EventPhase::Failed, |event| event.error.clone_from(&error));
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.last_failure = error;
        track.proving_time = None;
        self.remember_file(name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        if self.policy.give_up_after.is_some_and(|limit| track.attempts >= limit) {
            self.exhausted(now, name);
        } else {
            track.not_before = now + self.policy.backoff.wait(track.attempts, self.random.f64());
            self.schedule(now, name);
        }
        // It may be up again already: a restart by the manager, or by its user.
        self.consider(now, name);
    }

    pub(super) fn died_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        if self.stop_seen(name) {
            self.stopped(now, name, "");
        } else {
            self.attempt_failed(now, name, "died right after its start".to_owned());
        }
    }

    pub(super) fn ended_while_proving(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get(name) else { return };
        if self.stop_seen(name) {
            self.stopped(now, name, "");
        } else if track.oneshot {
            self.healed(now, name);
        } else if track.phase == Phase::Proving {
            // Unless that was its state before the start, told late.
            self.verify(now, name);
        }
    }

    /// It ended soon after its start, and without error.
    fn ended(&mut self, now: Timestamp, name: &UnitName) {
        if self.tracks.get(name).is_some_and(|track| track.suspected == Some(State::ExpectedButStopped)) {
            self.attempt_failed(now, name, "ended without error right after its start".to_owned());
        } else {
            self.stopped(now, name, "it ended without error soon after its start");
            if let Some(track) = self.tracks.get_mut(name) {
                track.stop_is_certain = true;
            }
        }
    }

    /// Takes the close look that ends the proving time.
    pub(super) fn verify(&mut self, now: Timestamp, name: &UnitName) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.looked_at = now;
        }
        self.enter(name, Phase::Verifying);
        self.inspect(name, Purpose::Proof, Detail::default());
    }

    /// The answer to that look.
    pub(super) fn verified(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        let (Ok(unit), Some(track)) = (result, self.tracks.get(name)) else { return self.prove_on(now, name) };
        let since_start = track.looked_at.from_now(track.started_at);
        match unit.up_for.filter(|_| unit.active.is_up()) {
            Some(up_for) if up_for >= self.proving_time(name) => {
                if self.still_has_to_answer(name) {
                    self.prove_on(now, name);
                } else {
                    self.healed(now, name);
                }
            }
            Some(up_for) if up_for >= since_start => self.prove_on(now, name),
            Some(_) => self.attempt_failed(now, name, "died and was restarted right after its start".to_owned()),
            None if unit.active == ActiveState::Inactive && !unit.has_job => self.ended(now, name),
            // Its change of state is on its way to us, and decides.
            None => self.prove_on(now, name),
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

    /// What took the place of our start has ended, and the worker is down.
    pub(super) fn was_cancelled(&mut self, now: Timestamp, name: &UnitName, failed: bool) {
        // The job that was seen is none of ours, and one that starts the unit would not have left it so.
        let stopped = self.units.get(name).is_some_and(|unit| unit.stop_possible);
        if !failed || stopped {
            self.stopped(now, name, "");
        } else {
            self.attempt_failed(now, name, CANCELLED.to_owned());
        }
    }

    pub(super) fn exhausted(&mut self, now: Timestamp, name: &UnitName) {
        let attempts = self.tracks.get(name).map_or(0, |track| track.attempts);
        let attempts = format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" });
        self.give_up(now, name, &format!("{attempts} failed"));
    }

    pub(super) fn give_up(&mut self, now: Timestamp, name: &UnitName, reason: &str) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let error = std::mem::take(&mut track.last_failure);
        track.given_up = Some(GivenUp { reason: reason.to_owned(), definition: track.definition, run: None });
        track.run = None;
        self.emit(name, EventPhase::GaveUp, |event| {
            reason.clone_into(&mut event.reason);
            event.error = error;
        });
        self.enter(name, Phase::GaveUp);
        if self.mode == Mode::Automatic {
            self.set_timer(name, Some(now + LOOK_AGAIN));
            self.recheck(name);
        }
    }
}
