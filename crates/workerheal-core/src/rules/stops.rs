//! How a worker came to be down: stopped on purpose, taken along by a unit that it needs, or kept from starting by one.

use std::time::Duration;

use super::Case;
use crate::diagnosis::{State, Trigger};
use crate::units::{ActiveState, Deactivation, Parent, StopEvidence};

/// A unit and what it took along go down within this time: systemd does it in one go, which takes it a
/// while if there is much to take along. A stop of just the one in the same second looks the same.
const TAKEN_ALONG_WITHIN: Duration = Duration::from_secs(1);

impl Case<'_> {
    /// Whether it was stopped on purpose.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.was_told_to_stop()
            || self.history.stays_stopped
            || (self.stop_requested() && !self.was_taken_along() && !self.history.kept_from_starting)
            || self.stopped_group().is_some()
    }

    /// Whether a person stopped it while it was down, which nothing but the end of that job tells. (A job
    /// that started it would have had it up, and down again only after that.)
    #[must_use]
    pub fn was_told_to_stop(&self) -> bool {
        let Some(before) = self.history.job_done_before else { return false };
        match self.seen.down_for {
            Some(down_for) => down_for >= before,
            // It never was up as far as the manager knows, so it was down then too.
            None => matches!(self.seen.active, ActiveState::Inactive | ActiveState::Failed),
        }
    }

    /// The group that was stopped while it was down or waiting: that stop was meant for it too.
    #[must_use]
    pub fn stopped_group(&self) -> Option<&str> {
        self.seen.stopped_group().filter(|_| !self.seen.active.is_up())
    }

    /// Whether a requested stop ended its last run, also if it was meant for another unit.
    pub(super) fn stop_requested(&self) -> bool {
        self.history.stop_seen || self.seen.stop == Some(StopEvidence::Requested)
    }

    /// Whether nothing rules out that it was stopped on purpose: the journal was not asked, and neither its
    /// signals nor its timestamps show that it went down by itself.
    #[must_use]
    pub fn may_have_been_stopped(&self) -> bool {
        let sudden = self.seen.deactivation.is_some_and(Deactivation::was_sudden);
        self.history.trigger == Trigger::Automatic
            && self.seen.stop.is_none()
            && !sudden
            && !self.history.taken_along
            && !self.seen.active.is_up()
    }

    /// Whether a unit that it needs went down and took it along: that one is about to be stopped, or
    /// went down when this one did.
    #[must_use]
    pub fn was_taken_along(&self) -> bool {
        // What is not enabled is unloaded once it is down, and the manager has forgotten when that was.
        let seen_down = self.history.seen_down_for.map(|down_for| self.seen.at.saturating_sub(down_for));
        let deactivation = self.seen.deactivation.or(seen_down.map(|down| Deactivation { left: down, down }));
        let took_along = |parent: &Parent| match (deactivation, parent.left) {
            _ if parent.stopped_later => false,
            // It is about to be stopped, and waits for its children to be down.
            (Some(deactivation), _)
                if parent.active.is_up()
                    && parent.stopping
                    && self.seen.at <= deactivation.down + TAKEN_ALONG_WITHIN =>
            {
                true
            }
            (Some(deactivation), Some(left)) => {
                // One that went down before this run began has nothing to do with its end.
                let began = self.seen.began.filter(|began| *began <= deactivation.left);
                left + TAKEN_ALONG_WITHIN >= deactivation.left
                    && left <= deactivation.down + TAKEN_ALONG_WITHIN
                    && began.is_none_or(|began| left >= began)
            }
            // One that never was up, or a time that is not known, is no excuse to start what was stopped.
            _ => parent.active.is_up(),
        };
        // One that is up again has come back since, or is about to go.
        let went = |parent: &&Parent| parent.left.is_some() || !parent.is_up();
        self.history.taken_along || (self.stop_requested() && self.seen.parents.iter().filter(went).any(took_along))
    }

    /// Whether it is down because a unit that it needs went down or did not come up, and for no other reason.
    pub(super) fn went_down_with_a_parent(&self, state: State) -> bool {
        state == State::ExpectedButStopped && (self.was_taken_along() || self.was_kept_from_starting())
    }

    pub(super) fn was_kept_from_starting(&self) -> bool {
        self.history.kept_from_starting || self.seen.stop == Some(StopEvidence::KeptFromStarting)
    }
}
