//! Why a worker counts as healthy.

use super::times::left;
use crate::rules::Case;
use crate::units::{ActiveState, LoadState, StopEvidence, TriggerUnit};

/// Why a worker is down that is masked, not enabled, or without a file.
pub(crate) const NOT_EXPECTED: &str = "nothing says that it should be up";

/// Why a worker is down that is enabled for other units than the manager has started.
pub(crate) const WAITS_WITH_TARGETS: &str = "no unit that it is enabled for is up";

/// Why a worker is down for which another client's start job waits.
pub(crate) const START_QUEUED: &str = "its start is queued";

/// What a healthy worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// It is up.
    Up,
    /// It has ended, and waits for an automatic restart.
    Restarting,
    /// It is on its way up.
    Starting,
    /// It is on its way down.
    Stopping,
    /// It is down, and its start is queued.
    Queued,
    /// Its unit's name is only an alias, or has no file.
    NotLoaded(LoadState),
    /// It is down, and masked.
    Masked,
    /// It is down, and has no file any more.
    NoFile,
    /// It is down, and not enabled.
    NotEnabled,
    /// It waits for a timer, a path, a socket or a condition.
    OnDemand,
    /// It is down with the units that it is enabled for.
    WithTargets,
    /// It is down because its work is done.
    Once,
    /// It is down, and it is unknown whether it was stopped on purpose; says why.
    PerhapsStopped(String),
    /// It is down, and its unit files were not read.
    FilesUnknown,
    /// It is down, and something else starts it; says what.
    LeftTo(String),
    /// This version does not know its state.
    Unclear(ActiveState),
}

impl Rest {
    /// Whether the worker is down for good, rather than up or on its way.
    pub(super) fn is_down(&self) -> bool {
        !matches!(self, Self::Up | Self::Restarting | Self::Starting | Self::Stopping | Self::Queued)
    }

    /// Why it is down, as a clause; empty if it is not, or if that is unknown.
    fn reason(&self) -> String {
        match self {
            Self::Masked | Self::NoFile | Self::NotEnabled => NOT_EXPECTED.to_owned(),
            Self::Queued => START_QUEUED.to_owned(),
            Self::OnDemand => "it is down until it is wanted".to_owned(),
            Self::WithTargets => WAITS_WITH_TARGETS.to_owned(),
            Self::Once => "it has done its work".to_owned(),
            Self::PerhapsStopped(_) => "it may have been stopped on purpose".to_owned(),
            Self::LeftTo(left_to) => left_to.clone(),
            Self::NotLoaded(_) | Self::Unclear(_) => "its state is not clear".to_owned(),
            Self::Up | Self::Restarting | Self::Starting | Self::Stopping | Self::FilesUnknown => String::new(),
        }
    }
}

impl Case<'_> {
    /// Why it is down although nothing is wrong with it, as a clause; empty if it is not down, or if that is unknown.
    /// The summary of an explanation and every list of workers say the same.
    pub(crate) fn why_down(&self) -> String {
        if !self.rests_stopped() {
            let rest = self.rest();
            let idle = self.idle_trigger().filter(|_| rest == Rest::OnDemand);
            return idle.map_or_else(|| rest.reason(), ToString::to_string);
        }
        self.why_stopped()
    }

    /// Why no start would bring up yet what a person asks for, as a clause, although nothing is wrong with the worker: it is
    /// being stopped, or it has ended and the manager restarts it later, and starts it no earlier (systemd.service(5),
    /// `RestartSec=`).
    #[must_use]
    pub fn why_not_yet(&self) -> Option<String> {
        if self.seen.active == ActiveState::Deactivating {
            return Some("it is being stopped".to_owned());
        }
        let time = left(self.seen.restarts_in()?);
        Some(format!("the service manager restarts it in {time}; how to restart it now is in its explanation"))
    }

    /// Whether it is down because it was stopped, whatever else says that it need not be up.
    pub(super) fn rests_stopped(&self) -> bool {
        // A oneshot is down after a start too: that a job has ended shows no stop.
        self.rest().is_down() && self.was_stopped() && (!self.seen.oneshot || self.stop_requested())
    }

    /// The trigger that decides when it runs, if it and all others are down.
    pub(super) fn idle_trigger(&self) -> Option<&TriggerUnit> {
        self.seen.trigger().filter(|trigger| trigger.why_idle().is_some())
    }

    /// What starts it, if that is not workerheal and the manager says so.
    pub(super) fn left_to(&self) -> Option<&str> {
        self.seen.said.as_ref()?.left_to.as_deref()
    }

    /// Why it counts as healthy. Meaningful only if [`state`](Self::state) finds nothing.
    #[must_use]
    pub fn rest(&self) -> Rest {
        let seen = self.seen;
        let is_down =
            !seen.active.is_up() && !matches!(seen.active, ActiveState::Activating | ActiveState::Deactivating);
        if is_down && let Some(left_to) = self.left_to() {
            return Rest::LeftTo(left_to.to_owned());
        }
        if matches!(seen.load, LoadState::Merged | LoadState::Stub | LoadState::Unknown) {
            return Rest::NotLoaded(seen.load);
        }
        match seen.active {
            active if active.is_up() => Rest::Up,
            ActiveState::Activating if seen.auto_restart => Rest::Restarting,
            ActiveState::Activating => Rest::Starting,
            ActiveState::Deactivating => Rest::Stopping,
            // The stop of a unit that is down ends at once.
            ActiveState::Inactive if seen.has_job => Rest::Queued,
            ActiveState::Inactive => match (seen.load, seen.file, &seen.stop) {
                (LoadState::Masked, ..) => Rest::Masked,
                (LoadState::NotFound, ..) => Rest::NoFile,
                (_, Some(file), _) if file.on_demand && (file.enabled || !seen.triggers.is_empty()) => Rest::OnDemand,
                (_, Some(file), _) if !file.enabled => Rest::NotEnabled,
                _ if seen.oneshot => Rest::Once,
                _ if self.waits_with_its_targets() => Rest::WithTargets,
                (_, _, Some(StopEvidence::Unknown(why))) => Rest::PerhapsStopped(why.clone()),
                _ => Rest::FilesUnknown,
            },
            active => Rest::Unclear(active),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::context::Context;
    use crate::rules::History;
    use crate::selector::Worker;
    use crate::units::{Inspection, Restarts, UnitName};

    #[test]
    fn a_worker_that_no_start_would_bring_up_yet_is_refused_with_the_reason() {
        let stopping = Inspection { active: ActiveState::Deactivating, ..Inspection::crashed() };
        let waits = |delay, waited: u64| Inspection {
            active: ActiveState::Activating,
            auto_restart: true,
            restarts: Some(Restarts { count: 1, last_run: None, delay, status: 1 }),
            at: Duration::from_secs(400),
            began: Some(Duration::from_secs(400 - waited)),
            ..Inspection::crashed()
        };
        let context = Context::default();
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        let worker = Worker { site: "myapp".into(), name: "queue".into(), worktree: None };
        let minutes = Some(Duration::from_secs(300));
        for (seen, why) in [
            (stopping, Some("it is being stopped")),
            (waits(minutes, 60), Some("the service manager restarts it in 4m")),
            (waits(minutes, 291), None),
            (waits(minutes, 301), None),
            (waits(None, 1), None),
            (Inspection::crashed(), None),
        ] {
            let case =
                Case { context: &context, unit: &unit, worker: &worker, seen: &seen, history: History::default() };
            let said = case.why_not_yet();
            match why {
                Some(why) => assert!(said.as_ref().is_some_and(|said| said.starts_with(why)), "{said:?}"),
                None => assert_eq!(said, None),
            }
        }
    }
}
