//! Why a worker is down: stopped on purpose, taken down with a unit that it needs, or prevented from starting by one.

use std::time::Duration;

use super::Case;
use crate::diagnosis::Trigger;
use crate::units::{ActiveState, Deactivation, Parent, ServiceResult, StopEvidence, StopOrder, StoppedGroup};

/// A unit and the units that it takes down go down within this time. systemd does it in one transaction, which takes a
/// while for many units. A stop of just the one unit within the same second looks the same.
const TAKEN_ALONG_WITHIN: Duration = Duration::from_secs(1);

/// The end of a start that was skipped is signalled within this time after its condition was checked. A job that ends
/// later is another one: a stop.
const SKIPPED_WITHIN: Duration = Duration::from_secs(1);

impl Case<'_> {
    /// Whether it was stopped on purpose.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        let is_refused = self.was_refused_since();
        self.was_stopped_while_down()
            || (self.history.stays_stopped && !is_refused)
            || (self.stop_requested() && !is_refused && !self.was_taken_along() && !self.history.kept_from_starting)
            || self.stopped_group().is_some()
    }

    /// Whether it was stopped while it was down already, which only the end of that job shows. (A job that started it
    /// would have brought it up, and it would have gone down after that.)
    #[must_use]
    pub fn was_stopped_while_down(&self) -> bool {
        if self.history.stopped_after_run {
            return self.seen.active.is_down();
        }
        let Some(before) = self.history.job_done_before else { return false };
        let was_skipped = |at: Duration| at.abs_diff(self.seen.at.saturating_sub(before)) <= SKIPPED_WITHIN;
        if self.stop_was_of_parent() || self.seen.skipped.is_some_and(was_skipped) {
            // The job was a stop of another unit, or a start that was skipped.
            return false;
        }
        // The manager forgets when a unit went down that it has unloaded since.
        match self.seen.down_for.or(self.history.seen_down_for) {
            Some(down_for) => down_for >= before,
            // It never was up as far as the manager knows, so it was down then too.
            None => matches!(self.seen.active, ActiveState::Inactive | ActiveState::Failed),
        }
    }

    /// Whether the stop of a worker that waited to be started was that of a unit that it needs, which goes down at the
    /// same time, or came with the start of a unit that it conflicts with. Of a worker that is down and does not wait,
    /// the manager drops a stop that is not meant for it.
    pub(crate) fn stop_was_of_parent(&self) -> bool {
        let Some(before) = self.history.job_done_before.filter(|_| self.history.stop_replaced_start) else {
            return false;
        };
        let ended = self.seen.at.saturating_sub(before);
        // One that is stopped when no unit needs it goes down because of this stop.
        let mut parents = self.seen.parents.iter().filter(|parent| !parent.stops_when_unneeded);
        self.was_displaced()
            || parents.any(|parent| match parent.down {
                Some(down) => down.abs_diff(ended) <= TAKEN_ALONG_WITHIN,
                // One that goes down without a stop job is being restarted.
                None => parent.stopping && before <= TAKEN_ALONG_WITHIN,
            })
    }

    /// The group that was stopped while the worker was down or waiting: that stop was meant for it too.
    #[must_use]
    pub fn stopped_group(&self) -> Option<&str> {
        self.seen.stopped_group().filter(|_| !self.seen.active.is_up())
    }

    /// That it was stopped with its group, if it was, as a clause.
    pub(crate) fn why_stopped_with_group(&self) -> Option<String> {
        self.stopped_group().map(|group| format!("{group} was stopped, which it is part of"))
    }

    /// Why it is stopped, as a clause: with its group, also if that is up again, or by itself.
    pub(crate) fn why_stopped(&self) -> String {
        let known = match self.history.stopped_because {
            "" => "you stopped it",
            because => because,
        };
        self.why_stopped_with_group().unwrap_or_else(|| known.to_owned())
    }

    /// Whether a group that it is part of is being stopped at this moment, which may be newer than a request to heal
    /// it, or was stopped after that.
    pub(super) fn group_was_stopped_since_the_request(&self) -> bool {
        let is_requested = self.history.trigger == Trigger::Request;
        let requested_at = self.seen.at.saturating_sub(self.history.requested_before);
        let since = self.seen.began.map_or(requested_at, |began| began.max(requested_at));
        let is_newer = |group: &StoppedGroup| group.left.is_none_or(|left| is_requested && left > since);
        !self.seen.active.is_up() && self.seen.stopped_groups.iter().any(is_newer)
    }

    /// Whether a start was requested since it was stopped, and refused.
    fn was_refused_since(&self) -> bool {
        // A socket starts it again right after a stop, and by no person's wish.
        self.seen.active == ActiveState::Failed
            && self.seen.result == ServiceResult::StartLimitHit
            && self.seen.triggers.is_empty()
    }

    /// Whether a requested stop ended its last run, even if it was meant for another unit.
    pub(crate) fn stop_requested(&self) -> bool {
        self.history.stop_seen || self.seen.stop == Some(StopEvidence::Requested)
    }

    /// Whether it may have been stopped on purpose: the journal was not searched, and neither its signals nor its
    /// timestamps show that it went down by itself.
    #[must_use]
    pub fn may_have_been_stopped(&self) -> bool {
        let sudden = self.seen.deactivation.is_some_and(Deactivation::was_sudden);
        self.history.trigger == Trigger::Automatic
            && self.seen.stop.is_none()
            && !sudden
            && !self.history.taken_along
            && !self.seen.active.is_up()
    }

    /// Whether it needs a unit of which it is unknown when it last went down, as that was not asked or the manager has
    /// unloaded it since, or conflicts with one that is up.
    #[must_use]
    pub fn may_have_been_taken_along(&self) -> bool {
        // Of one that took its time, that is asked with the first inspection.
        let is_unasked = self.seen.deactivation.is_none_or(Deactivation::was_sudden);
        let is_unknown = |parent: &Parent| match parent.active {
            ActiveState::Inactive => parent.left.is_none(),
            active => active.is_up() && !parent.stopping && parent.left.is_none() && is_unasked,
        };
        self.history.trigger == Trigger::Automatic
            && (self.seen.parents.iter().any(is_unknown) || !self.seen.conflicts.is_empty())
    }

    /// Whether it is enabled, and was stopped only because a unit that it conflicts with was started: it comes back after
    /// that. One that is not enabled may have been replaced for good.
    fn was_displaced(&self) -> bool {
        self.seen.displaced_by.is_some() && self.seen.file.is_some_and(|file| file.enabled)
    }

    /// Whether a unit that it needs took it down, or one that it conflicts with, so that the stop was not meant for the
    /// worker.
    #[must_use]
    pub fn was_taken_along(&self) -> bool {
        // Of a run that the manager has forgotten, the journal may not tell for whose sake it was stopped.
        let stop_is_of_last_run = self.history.stop_seen
            || !self.seen.never_ran()
            || self.seen.parents.iter().any(|parent| parent.stop_order == StopOrder::ParentFirst);
        self.history.taken_along
            || self.was_displaced()
            || (self.stop_requested()
                && stop_is_of_last_run
                && (self.history.fell_with_parent || self.fell_with_parent()))
    }

    /// Whether it went down with a unit that it needs, whatever ended it: that unit is about to be stopped, or went down
    /// at the same time.
    pub(crate) fn fell_with_parent(&self) -> bool {
        // A unit that is not enabled is unloaded once it is down, and the manager forgets when that was.
        let seen_down = self.history.seen_down_for.map(|down_for| self.seen.at.saturating_sub(down_for));
        let deactivation = self.seen.deactivation.or(seen_down.map(|down| Deactivation { left: down, down }));
        let deactivation = deactivation.map(|deactivation| deactivation.of_run(self.seen.began));
        let began = self.seen.began.filter(|began| deactivation.is_none_or(|deactivation| *began <= deactivation.left));
        let was_down_before = |parent: &Parent| parent.down.zip(began).is_some_and(|(down, began)| down < began);
        // It was back before the worker began to go down, so it did not take it along.
        let was_back_before = |parent: &Parent| {
            let times = parent.since.zip(deactivation).filter(|_| parent.active.is_up());
            times.is_some_and(|(since, deactivation)| since < deactivation.left)
        };
        let is_recent = deactivation.is_none_or(|it| self.seen.at <= it.down + TAKEN_ALONG_WITHIN);
        let took_along = |parent: &Parent| match (deactivation, parent.left) {
            _ if parent.stop_order == StopOrder::WorkerFirst || was_down_before(parent) => false,
            // It is about to be stopped, and waits until the units that need it are down.
            _ if parent.active.is_up() && parent.stopping => parent.stop_order == StopOrder::ParentFirst || is_recent,
            _ if was_back_before(parent) => false,
            _ if parent.stop_order == StopOrder::ParentFirst => true,
            (Some(deactivation), Some(left)) => {
                // A unit that went down before this run began did not end it.
                left + TAKEN_ALONG_WITHIN >= deactivation.left
                    && left <= deactivation.down + TAKEN_ALONG_WITHIN
                    && began.is_none_or(|began| left >= began)
            }
            // Without a known time, or if it never was up, it is no excuse to start a stopped worker.
            _ => parent.active.is_up(),
        };
        // A unit that is up again came back since, or is about to go down.
        let went = |parent: &&Parent| parent.left.is_some() || !parent.is_up();
        self.seen.parents.iter().filter(went).any(took_along)
    }

    /// Whether it should be up although it neither has failed nor need be enabled: it is down only because of another
    /// unit (one that it needs went down or did not come up, or one that it conflicts with was started), or its
    /// automatic restart was skipped.
    pub(crate) fn should_be_back(&self) -> bool {
        self.was_taken_along() || self.was_kept_from_starting() || self.restart_was_skipped()
    }

    /// Whether it ended, and its automatic restart was skipped because a condition of the unit was not met: the manager
    /// then leaves it down for good, as if it had ended without error.
    pub(crate) fn restart_was_skipped(&self) -> bool {
        self.seen.active == ActiveState::Inactive
            && self.seen.skipped.is_some()
            && self.seen.restarts.is_some_and(|restarts| restarts.count > 0)
            && self.seen.triggers.is_empty()
    }

    pub(super) fn was_kept_from_starting(&self) -> bool {
        self.history.kept_from_starting || self.seen.stop == Some(StopEvidence::KeptFromStarting)
    }
}
