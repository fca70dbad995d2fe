//! The rules, as a table: what each phase makes of each state, look, outcome and deadline.

use super::track::{Phase, Standing};
use super::{Healer, Outcome, Purpose, Timestamp};
use crate::core::coverage::Resolution;
use crate::core::diagnosis::{Asked, Refusal};
use crate::core::event::Phase as EventPhase;
use crate::core::units::{Detail, Inspection, UnitName};

impl Refusal {
    /// Whether a reload of the manager's files can have removed the reason.
    pub(super) fn may_pass_with_a_reload(&self) -> bool {
        match self {
            Self::Disabled | Self::Masked | Self::ParentDown(_) | Self::JobPending | Self::Unreadable(_) => true,
            Self::StopMarker
            | Self::SitePaused(_)
            | Self::WorkerPaused(_)
            | Self::IdleSuspended(_)
            | Self::StopUnknown(_)
            | Self::StateNotHealed(_) => false,
        }
    }
}

/// Facts about a unit, as they come in.
impl Healer {
    /// Brings a worker's phase in line with the state of its unit. Does nothing when it already is.
    pub(super) fn consider(&mut self, now: Timestamp, name: &UnitName) {
        use Standing::{Down, Failed, Rising, Settling, Unknown, Up};
        let Some(unit) = self.units.get(name) else { return };
        if self.frozen || unit.resolution == Resolution::NotAWorker {
            return;
        }
        let standing = match unit.standing() {
            // Only the first half of our start has happened.
            Down if unit.cleared_by_us && !unit.stop_seen => Failed,
            standing => standing,
        };
        let phase = self.tracks.get(name).map(|track| track.phase.clone());
        match (phase, standing) {
            (None | Some(Phase::Resting), Failed) => self.fell_ill(now, name),
            (None, Up | Rising | Settling | Down | Unknown) => {}

            (Some(Phase::Resting), Up) => self.count_uptime(now, name),
            (Some(Phase::Resting), Rising | Settling | Down) => self.set_timer(name, None),

            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_)), Failed) => self.reconsider_wait(now, name),
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp), Up) => {
                self.recovered(now, name);
            }
            (Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp), Down) => {
                self.went_down(now, name);
            }
            (
                Some(Phase::Due | Phase::Waiting { .. } | Phase::Held(_) | Phase::GaveUp | Phase::Stopped),
                Rising | Settling,
            )
            | (Some(Phase::GaveUp | Phase::Stopped), Failed) => {}

            (Some(Phase::Cleared | Phase::Cancelled), Up) => self.recovered(now, name),
            (Some(Phase::Cleared | Phase::Cancelled), Rising | Settling) => {}
            (Some(Phase::Cleared), Failed) => self.fell_ill(now, name),
            (Some(Phase::Cleared), Down) => self.went_down(now, name),
            (Some(Phase::Cancelled), Failed | Down) => self.was_cancelled(now, name, standing == Failed),

            // The answer to the look or the end of the job says more than the state of the moment.
            (Some(Phase::Looking | Phase::Starting), Up | Failed | Rising | Settling | Down) => {}

            (Some(Phase::Proving | Phase::Verifying), Up | Settling) => {}
            (Some(Phase::Proving | Phase::Verifying), Failed) => self.died_while_proving(now, name),
            (Some(Phase::Proving | Phase::Verifying), Rising) => {
                self.attempt_failed(now, name, "died right after its start".to_owned());
            }
            (Some(Phase::Proving | Phase::Verifying), Down) => self.ended_while_proving(now, name),

            (Some(Phase::Stopped), Up | Down) => self.rest(now, name),

            (Some(_), Unknown) => {}
        }
    }

    /// The answer to a close look.
    pub(super) fn inspected(
        &mut self,
        now: Timestamp,
        name: &UnitName,
        purpose: Purpose,
        result: Result<Inspection, String>,
    ) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        match (purpose, &track.phase) {
            (Purpose::Attempt, Phase::Looking) => self.looked(now, name, result),
            (Purpose::Proof, Phase::Verifying) => self.verified(now, name, result),
            (Purpose::Memory, _) => track.file = track.file.or(result.ok().and_then(|seen| seen.file)),
            // The worker has moved on since the look was asked for.
            (Purpose::Attempt | Purpose::Proof, _) => {}
        }
    }

    /// Somebody's job succeeded. If the unit is down all the same, that was a stop: of a unit that
    /// is down already it only tells what its user wants. (So does a `try-restart`, which does
    /// nothing to a unit that is down; to leave the worker alone then is the safe mistake.)
    pub(super) fn foreign_job_done(&mut self, name: &UnitName) {
        use Phase::{Due, GaveUp, Held, Looking, Waiting};
        let is_up = self.units.get(name).is_none_or(|unit| unit.active.is_up());
        let Some(track) = self.tracks.get_mut(name).filter(|_| !is_up && !self.frozen) else { return };
        if track.phase == Looking {
            track.told_to_stop = true;
        } else if matches!(track.phase, Due | Waiting { .. } | Held(_) | GaveUp) {
            self.stopped(name, "");
        }
    }

    /// The end of a start.
    pub(super) fn finished(&mut self, now: Timestamp, name: &UnitName, outcome: Outcome) {
        if self.tracks.get(name).is_none_or(|track| track.phase != Phase::Starting) {
            return;
        }
        if self.units.get(name).is_some_and(|unit| unit.resolution == Resolution::NotAWorker) {
            return self.dismiss(now, name, "it is no longer covered");
        }
        if matches!(outcome, Outcome::Done | Outcome::Failed(_) | Outcome::Cancelled)
            && let Some(unit) = self.units.get_mut(name)
        {
            // Both halves have happened.
            unit.cleared_by_us = false;
        }
        match outcome {
            Outcome::Done => {
                let oneshot = self.tracks.get(name).is_some_and(|track| track.oneshot);
                let worked_off = oneshot && self.units.get(name).is_none_or(|unit| unit.standing() == Standing::Down);
                if worked_off {
                    self.healed(now, name);
                } else {
                    self.enter(name, Phase::Proving);
                    self.set_timer(name, Some(now + self.policy.stable_after));
                }
            }
            Outcome::Failed(error) | Outcome::NotStarted(error) => self.attempt_failed(now, name, error),
            Outcome::Refused(refusal, error) => {
                // Whoever was faster decides; this was no attempt.
                self.emit(name, EventPhase::Failed, |event| event.error = error);
                if let Some(track) = self.tracks.get_mut(name) {
                    track.attempts = track.attempts.saturating_sub(1);
                }
                self.hold(name, refusal);
                self.consider(now, name);
            }
            Outcome::Cancelled => {
                self.enter(name, Phase::Cancelled);
                self.consider(now, name);
            }
            Outcome::Impossible(why) => {
                self.emit(name, EventPhase::Failed, |event| event.error = why.to_string());
                self.give_up(name, &why.to_string());
            }
        }
    }

    pub(super) fn timer_ran_out(&mut self, now: Timestamp, name: &UnitName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.timer = None;
        match track.phase {
            Phase::Waiting { .. } => self.consider(now, name),
            Phase::Proving => {
                self.enter(name, Phase::Verifying);
                self.inspect(name, Purpose::Proof, Detail::default());
            }
            Phase::Resting => {
                self.tracks.remove(name);
            }
            Phase::Cleared => {
                if self.units.get(name).is_none_or(|unit| unit.standing() == Standing::Down) {
                    self.dismiss(now, name, "somebody cleared its failure");
                }
            }
            Phase::Due
            | Phase::Looking
            | Phase::Held(_)
            | Phase::Starting
            | Phase::Verifying
            | Phase::Cancelled
            | Phase::Stopped
            | Phase::GaveUp => {}
        }
    }

    /// A person wants the unit healed now, whatever was tried before.
    pub(super) fn heal_on_request(&mut self, now: Timestamp, name: &UnitName) {
        match self.tracks.get(name).map(|track| &track.phase) {
            Some(Phase::Starting | Phase::Proving | Phase::Verifying) => {}
            Some(Phase::Looking) => {
                if let Some(track) = self.tracks.get_mut(name) {
                    track.asked = Asked::ByPerson;
                }
            }
            Some(
                Phase::Due
                | Phase::Waiting { .. }
                | Phase::Held(_)
                | Phase::Cancelled
                | Phase::Cleared
                | Phase::Stopped
                | Phase::GaveUp
                | Phase::Resting,
            )
            | None => self.begin(now, name, Asked::ByPerson),
        }
    }

    /// Looks again at workers that wait for a unit that has come up.
    pub(super) fn wake_children(&mut self, now: Timestamp, parent: &UnitName) {
        for child in self.parents.remove(parent.as_str()).unwrap_or_default() {
            let waits = self.tracks.get(&child).is_some_and(|track| {
                matches!(&track.phase, Phase::Held(Refusal::ParentDown(held_by)) if held_by.name == parent.as_str())
            });
            if waits {
                self.make_due(&child);
                self.consider(now, &child);
            }
        }
    }

    /// Looks again at workers for which nothing is done, where that may have changed.
    pub(super) fn wake(&mut self, now: Timestamp, may_have_changed: impl Fn(&Phase) -> bool) {
        let names: Vec<UnitName> = self
            .tracks
            .iter()
            .filter(|(_, track)| may_have_changed(&track.phase))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            self.make_due(&name);
            self.consider(now, &name);
        }
    }
}
