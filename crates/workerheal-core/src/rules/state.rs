//! What is wrong with a worker.

use super::{Case, ClearedBy, History};
use crate::diagnosis::{State, Trigger};
use crate::units::{ActiveState, Inspection, LoadState, RestartPolicy, ServiceResult, StopEvidence};

/// Number of restarts by the manager, none followed by a long uptime, above which they are a crash loop. By default,
/// systemd gives up after the same number if they follow each other closely.
pub const MAX_RESTARTS: u32 = 5;

impl Case<'_> {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        let seen = self.seen;
        if matches!(seen.load, LoadState::Merged | LoadState::Stub | LoadState::Unknown) {
            // Aliases never fail, and nothing is done about unknown states.
            return None;
        }
        if seen.directory_gone {
            // Regardless of what the manager does with it meanwhile.
            return Some(State::Orphaned);
        }
        let cleared = match self.history.cleared {
            Some(ClearedBy::Us) => true,
            Some(ClearedBy::Person) => seen.file.is_some_and(|file| file.enabled),
            None => false,
        };
        match seen.active {
            ActiveState::Failed => Some(self.failure()),
            ActiveState::Inactive if cleared => Some(self.failure()),
            ActiveState::Inactive if seen.failed_sockets().next().is_some() && seen.load == LoadState::Loaded => {
                Some(State::Unreachable)
            }
            ActiveState::Inactive if self.is_expected() => Some(State::ExpectedButStopped),
            ActiveState::Activating | ActiveState::Deactivating if self.is_overdue() => Some(State::Stuck),
            _ if self.is_looping() => Some(State::CrashLooping),
            active if active.is_up() && seen.failed_sockets().next().is_some() => Some(State::Unreachable),
            active if active.is_up() => self.history.refuses.map(|_| State::Unreachable),
            _ => None,
        }
    }

    fn failure(&self) -> State {
        if !self.stop_requested() && refused_a_restart(self.seen) { State::StartLimitHit } else { State::Failed }
    }

    /// Whether a worker that is down without having failed should be up: it is enabled, [should be
    /// back](Self::should_be_back), or a person names it; nothing else decides when it runs, and the reason why it is down
    /// is known.
    fn is_expected(&self) -> bool {
        let Some(file) = self.seen.file else { return false };
        let known = self.was_stopped()
            || self.never_ran()
            || !matches!(self.seen.stop, Some(StopEvidence::Unknown(_)))
            || self.history.taken_along
            || self.history.trigger == Trigger::Request;
        // A request names the worker, so it is wanted whether or not it is enabled.
        let is_asked_for = self.history.trigger == Trigger::Request;
        // A condition that does not hold decides when it runs, unless it is one that was up.
        let is_on_demand = file.on_demand && !self.restart_was_skipped();
        let is_enabled = file.enabled && !self.waits_with_its_targets();
        let is_wanted = (is_enabled || is_asked_for || self.should_be_back()) && !is_on_demand && !self.seen.oneshot;
        // A pending job may be about to start it.
        is_wanted && known && !self.seen.has_job
    }

    /// Whether it is enabled for units of which none is up, such as the target of a project that was not started, and
    /// has not run either.
    pub(crate) fn waits_with_its_targets(&self) -> bool {
        self.never_ran() && self.seen.file.is_some_and(|file| file.waits_with_targets)
    }

    /// Whether nothing is wrong with it but that a person wants it up: it was stopped, or nothing says that it should run.
    pub(crate) fn is_only_requested(&self) -> bool {
        let expected = Some(State::ExpectedButStopped);
        let unrequested = Case { history: History { trigger: Trigger::Automatic, ..self.history }, ..*self };
        self.history.trigger == Trigger::Request
            && self.state() == expected
            && (unrequested.state() != expected || unrequested.was_stopped())
    }

    /// Whether it has been starting or stopping longer than allowed. A oneshot does its work while starting, by default
    /// without a limit.
    fn is_overdue(&self) -> bool {
        let Some(transition) = self.seen.transition.filter(|_| !self.seen.auto_restart) else { return false };
        let works = self.seen.oneshot && self.seen.active == ActiveState::Activating;
        match transition.limit {
            None if works => false,
            limit => transition.lasts > limit.unwrap_or(self.context.policy.timeout),
        }
    }

    /// Whether the manager keeps restarting it, and none of its runs lasts.
    fn is_looping(&self) -> bool {
        let Some(restarts) = self.seen.restarts else { return false };
        let policy = &self.context.policy;
        // One that ends without error and is started again, such as a worker that leaves after so many jobs.
        if self.seen.ended_cleanly().unwrap_or(self.history.ends_cleanly) {
            return false;
        }
        let now = match self.seen.active {
            ActiveState::Activating => true,
            active => {
                let ends_after = policy.crash_loop_ends_after(restarts.last_run);
                active.is_up() && self.seen.up_for.is_some_and(|up_for| up_for < ends_after)
            }
        };
        now && restarts.count > MAX_RESTARTS && restarts.last_run.is_none_or(|run| run < policy.reset_after)
    }
}

/// Whether the manager refused to restart the failed unit although its policy asks for it.
///
/// `Result` says `start-limit-hit` only where there was no earlier failure; after automatic
/// restarts it keeps the last failure's result. The reliable sign is a failed unit whose
/// `Restart=` covers that result (the table in systemd.service(5)): had the manager not refused,
/// the unit would be activating.
fn refused_a_restart(unit: &Inspection) -> bool {
    use ServiceResult::{CoreDump, ExecCondition, ExitCode, Signal, StartLimitHit, Success, Unknown, Watchdog};
    let covers = match unit.restart {
        RestartPolicy::No | RestartPolicy::Unknown => false,
        RestartPolicy::Always => !matches!(unit.result, ExecCondition | Unknown),
        RestartPolicy::OnSuccess => unit.result == Success,
        RestartPolicy::OnFailure => !matches!(unit.result, Success | ExecCondition | Unknown),
        RestartPolicy::OnAbnormal => !matches!(unit.result, Success | ExitCode | ExecCondition | Unknown),
        RestartPolicy::OnAbort => matches!(unit.result, Signal | CoreDump),
        RestartPolicy::OnWatchdog => unit.result == Watchdog,
    };
    unit.result == StartLimitHit || (covers && unit.restart_prevented.is_none())
}
