//! The rules of healing, in the order of their weight.
//!
//! A [`Case`] is everything that a decision about one worker rests on. [`Case::judge`] asks each
//! [`Rule`] in turn what it has against a heal, and the first that objects decides. The healer acts
//! by that judgement, `detect` lists by it, and `explain` shows the same rules with their evidence,
//! so that what a person reads is what the healer did.
//!
//! Intent wins over illness: what was stopped, paused or masked on purpose is never started. What cannot
//! be read is unknown, and unknown is never acted on either.

mod start;
mod stops;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use start::Start;

use super::context::ContextRef;
use super::diagnosis::{Refusal, State, Trigger, Unrecoverable};
use super::selector::Worker;
use super::units::{
    ActiveState, Inspection, LoadState, RestartPolicy, ServiceResult, StopEvidence, UnitFile, UnitName, has_run_since,
    is_another_definition,
};

/// More restarts by the manager than this, none followed by a long uptime, are a crash loop. It is the
/// number after which systemd itself gives up by default, if they follow each other closely.
pub const MAX_RESTARTS: u32 = 5;

/// That no further attempts are made, and what would have to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Why.
    pub reason: String,
    /// What the unit's files were like then, if known.
    pub definition: Option<u64>,
    /// The run that was the last then, if known.
    pub run: Option<String>,
}

/// Who has cleared the failure of a worker that is down (`systemctl reset-failed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearedBy {
    /// workerheal, on the way to a start: the worker is as ill as before.
    Us,
    /// A person. That clears a mark and says nothing about whether an enabled worker is to be up; one that is
    /// not enabled is dismissed by it.
    Person,
}

/// What is remembered of one worker. The default is a worker of which nothing is.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub struct History<'a> {
    /// Who wants it healed.
    pub trigger: Trigger,
    /// Attempts since the history was last forgotten.
    pub attempts: u32,
    /// How long until the next attempt may be made.
    pub wait: Duration,
    /// What its files were like when it failed, or when a person asked for it since, as far as that is known.
    pub at_failure: Option<UnitFile>,
    /// It was given up.
    pub given_up: Option<&'a GivenUp>,
    /// A requested stop was seen under way since it was last up.
    pub stop_seen: bool,
    /// For how long it has been down, if it was seen to go down.
    pub seen_down_for: Option<Duration>,
    /// Its user stopped it when it was this long before the look: a job of theirs had succeeded, and
    /// it was down.
    pub job_done_before: Option<Duration>,
    /// Its user stopped it while it was down already, and it still is the same run that is down.
    pub stays_stopped: bool,
    /// A unit that it needs went down and took it along: the stop was not meant for it.
    pub taken_along: bool,
    /// A start of it ended because a unit that it needs did not come up, and nothing has become of it since.
    pub kept_from_starting: bool,
    /// Its failure was cleared, and nothing has become of it since.
    pub cleared: Option<ClearedBy>,
    /// It has refused its health probe often enough; where.
    pub refuses: Option<&'a str>,
}

impl Default for History<'_> {
    fn default() -> Self {
        Self {
            trigger: Trigger::Automatic,
            attempts: 0,
            wait: Duration::ZERO,
            at_failure: None,
            given_up: None,
            stop_seen: false,
            seen_down_for: None,
            job_done_before: None,
            stays_stopped: false,
            taken_along: false,
            kept_from_starting: false,
            cleared: None,
            refuses: None,
        }
    }
}

/// Everything that a decision about one worker rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What holds for all workers.
    pub context: ContextRef<'a>,
    /// Its unit.
    pub unit: &'a UnitName,
    /// Whose worker it is.
    pub worker: &'a Worker,
    /// What a close look at it shows.
    pub seen: &'a Inspection,
    /// What is remembered of it.
    pub history: History<'a>,
}

/// What is to be done about a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is well, or something is under way that will tell.
    Well,
    /// Nothing: its user stopped it. That is intent, not illness.
    Stopped,
    /// Something has to happen first.
    Held(Refusal),
    /// Nothing: it was given up, and nothing has changed since.
    GivenUp,
    /// It is to be given up: no attempt can succeed.
    Unrecoverable(Unrecoverable),
    /// It is to be given up: so many attempts have failed.
    Exhausted(u32),
    /// The next attempt is due in so long.
    Wait(Duration),
    /// It is to be started.
    Start,
    /// It is to be restarted.
    Restart,
}

/// What a close look at a worker comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What is wrong with it, if anything.
    pub state: Option<State>,
    /// What is to be done about it.
    pub verdict: Verdict,
}

/// One reason not to heal a worker that is ill. In the order of their weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Its user stopped it.
    Stop,
    /// Everything was stopped on purpose.
    Marker,
    /// Healing is paused.
    Pause,
    /// The registry says that it is to rest.
    Registry,
    /// It was given up, and nothing has changed since.
    GivenUp,
    /// Its unit's file is masked, missing or wrong.
    File,
    /// The manager restarts it by itself.
    Manager,
    /// It was disabled while it was down, and has not been asked for since.
    Enabled,
    /// A job of somebody else is under way for it.
    Job,
    /// Its working directory is gone.
    Directory,
    /// It has been starting or stopping for too long.
    Stuck,
    /// A unit that it conflicts with is up.
    Conflicts,
    /// A unit that it needs is down.
    Parents,
    /// It runs once, and when is not for workerheal to decide.
    Once,
    /// Its unit excludes the way in which it ended from restarts.
    Prevented,
    /// It cannot be told whether it was stopped on purpose.
    Doubt,
    /// The configuration does not heal what is wrong with it.
    States,
    /// As many attempts as are allowed have failed.
    Attempts,
    /// The time for the next attempt has not come.
    Backoff,
}

impl Rule {
    /// All rules, the weightiest first.
    pub const ALL: [Self; 19] = [
        Self::Stop,
        Self::Marker,
        Self::Pause,
        Self::Registry,
        Self::GivenUp,
        Self::File,
        Self::Manager,
        Self::Enabled,
        Self::Stuck,
        Self::Job,
        Self::Directory,
        Self::Conflicts,
        Self::Parents,
        Self::Once,
        Self::Prevented,
        Self::Doubt,
        Self::States,
        Self::Attempts,
        Self::Backoff,
    ];
}

impl Case<'_> {
    /// What is wrong with the worker, and what is to be done about it.
    #[must_use]
    pub fn judge(&self) -> Judgement {
        let Some(state) = self.state() else {
            // Nothing is wrong with it while it is masked, but once it is unmasked there may be.
            let is_stopped = self.seen.load == LoadState::Masked && self.was_told_to_stop();
            return Judgement { state: None, verdict: if is_stopped { Verdict::Stopped } else { Verdict::Well } };
        };
        let objection = Rule::ALL.into_iter().find_map(|rule| self.objection(rule, state));
        let cure = if state == State::Unreachable { Verdict::Restart } else { Verdict::Start };
        Judgement { state: Some(state), verdict: objection.unwrap_or(cure) }
    }

    /// What a rule has against healing the worker now, if anything.
    #[must_use]
    pub fn objection(&self, rule: Rule, state: State) -> Option<Verdict> {
        let by_rule = self.history.trigger == Trigger::Automatic;
        let held = |refusal: Option<Refusal>| refusal.map(Verdict::Held);
        match rule {
            // That its directory is gone is worth telling of one that was stopped, too.
            Rule::Stop => (by_rule && state != State::Orphaned && self.was_stopped()).then_some(Verdict::Stopped),
            Rule::Marker => held(self.context.marker()),
            Rule::Pause => held(self.context.pause(self.unit, self.worker)),
            Rule::Registry => held(self.context.registered(self.worker)),
            Rule::GivenUp => self.stays_given_up().then_some(Verdict::GivenUp),
            Rule::File => match self.seen.load {
                LoadState::Masked => Some(Verdict::Held(Refusal::Masked)),
                LoadState::NotFound => Some(Verdict::Unrecoverable(Unrecoverable::NotFound)),
                LoadState::BadSetting => Some(Verdict::Unrecoverable(Unrecoverable::BadSetting)),
                LoadState::Error => Some(Verdict::Unrecoverable(Unrecoverable::Unreadable)),
                LoadState::Loaded | LoadState::Merged | LoadState::Stub | LoadState::Unknown => None,
            },
            Rule::Enabled => held(self.was_disabled().then_some(Refusal::Disabled)),
            Rule::Job => held((self.seen.has_job && state != State::Orphaned).then_some(Refusal::JobPending)),
            Rule::Manager => {
                let count = self.seen.restarts.map_or(0, |restarts| restarts.count);
                held((state == State::CrashLooping).then_some(Refusal::CrashLooping(count)))
            }
            Rule::Directory => {
                let directory = self.seen.working_directory.clone().unwrap_or_default();
                held((state == State::Orphaned).then_some(Refusal::DirectoryGone(directory)))
            }
            Rule::Stuck => match self.seen.transition {
                Some(transition) if by_rule && state == State::Stuck => {
                    held(Some(Refusal::Stuck(self.seen.active, transition.lasts)))
                }
                _ => None,
            },
            Rule::Conflicts => held(self.seen.conflicts.first().cloned().map(Refusal::ConflictUp)),
            Rule::Parents => held(self.down_parents().next().cloned().map(Refusal::ParentDown)),
            Rule::Once => held(self.ran_once().filter(|_| by_rule && is_failure(state))),
            Rule::Prevented => {
                let exit = self.seen.restart_prevented.clone().filter(|_| by_rule && is_failure(state));
                exit.map(|exit| Verdict::Unrecoverable(Unrecoverable::RestartPrevented(exit)))
            }
            Rule::Doubt => match &self.seen.stop {
                Some(StopEvidence::Unknown(why)) if by_rule && !self.history.taken_along && !self.seen.never_ran() => {
                    Some(Verdict::Held(Refusal::StopUnknown(why.clone())))
                }
                _ => None,
            },
            Rule::States => {
                let is_healed = !by_rule || self.context.policy.heals(state) || self.went_down_with_a_parent(state);
                held((!is_healed).then_some(Refusal::StateNotHealed(state)))
            }
            Rule::Attempts => {
                let attempts = self.attempts();
                let limit = self.context.policy.give_up_after;
                limit.is_some_and(|limit| attempts >= limit).then_some(Verdict::Exhausted(attempts))
            }
            Rule::Backoff => (!self.history.wait.is_zero()).then_some(Verdict::Wait(self.history.wait)),
        }
    }

    /// What is wrong with it, if anything.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        let seen = self.seen;
        if matches!(seen.load, LoadState::Merged | LoadState::Stub | LoadState::Unknown) {
            // Other names of a unit never fail, and unknown is never acted on.
            return None;
        }
        if seen.directory_gone {
            // Whatever the manager does with it meanwhile.
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
            ActiveState::Inactive if !seen.failed_sockets.is_empty() && seen.load == LoadState::Loaded => {
                Some(State::Unreachable)
            }
            ActiveState::Inactive if self.is_expected() => Some(State::ExpectedButStopped),
            ActiveState::Activating | ActiveState::Deactivating if self.is_overdue() => Some(State::Stuck),
            _ if self.is_looping() => Some(State::CrashLooping),
            active if active.is_up() && !seen.failed_sockets.is_empty() => Some(State::Unreachable),
            active if active.is_up() => self.history.refuses.map(|_| State::Unreachable),
            _ => None,
        }
    }

    fn failure(&self) -> State {
        if self.seen.stop != Some(StopEvidence::Requested) && refused_a_restart(self.seen) {
            State::StartLimitHit
        } else {
            State::Failed
        }
    }

    /// Whether a worker that is down without having failed is meant to be up: it is enabled or was taken along,
    /// nothing else decides when it runs, and it is known how it came to be down.
    fn is_expected(&self) -> bool {
        let Some(file) = self.seen.file else { return false };
        let known = self.was_stopped()
            || self.seen.never_ran()
            || !matches!(self.seen.stop, Some(StopEvidence::Unknown(_)))
            || self.history.taken_along
            || self.history.trigger == Trigger::Request;
        // With a job it may be about to be started.
        let is_wanted = (file.enabled || self.was_taken_along()) && !file.on_demand && !self.seen.oneshot;
        is_wanted && known && !self.seen.has_job
    }

    /// Whether it has been starting or stopping for longer than it may take. A oneshot works while it is
    /// starting, by default for as long as it takes.
    fn is_overdue(&self) -> bool {
        let Some(transition) = self.seen.transition.filter(|_| !self.seen.auto_restart) else { return false };
        let works = self.seen.oneshot && self.seen.active == ActiveState::Activating;
        match transition.limit {
            None if works => false,
            limit => transition.lasts > limit.unwrap_or(self.context.policy.timeout),
        }
    }

    /// Why a oneshot that failed is not to be run again by rule, if so.
    fn ran_once(&self) -> Option<Refusal> {
        if !self.seen.oneshot {
            return None;
        }
        match self.seen.triggers.first() {
            Some(trigger) => Some(Refusal::LeftToTrigger(trigger.clone())),
            None => (self.seen.restart == RestartPolicy::No).then_some(Refusal::OneshotEnded),
        }
    }

    /// Whether the manager restarts it again and again, and none of its runs lasts.
    fn is_looping(&self) -> bool {
        let Some(restarts) = self.seen.restarts else { return false };
        let policy = self.context.policy;
        let now = match self.seen.active {
            ActiveState::Activating => true,
            active => active.is_up() && self.seen.up_for.is_some_and(|up_for| up_for < policy.stable_after),
        };
        now && restarts.count > MAX_RESTARTS && restarts.last_run.is_none_or(|run| run < policy.reset_after)
    }

    /// Whether it was given up, and neither its unit nor its last run is another now.
    fn stays_given_up(&self) -> bool {
        let Some(then) = self.history.given_up else { return false };
        let same_definition = match (then.definition, self.seen.file) {
            (Some(then), Some(now)) => !is_another_definition(then, now.definition),
            _ => true,
        };
        same_definition && !has_run_since(then.run.as_deref(), self.seen.run.as_deref())
    }

    /// Whether it was given up, and its unit or its last run is another now.
    #[must_use]
    pub fn has_changed_since_given_up(&self) -> bool {
        self.history.given_up.is_some() && !self.stays_given_up()
    }

    /// Attempts that count: none if it was given up and something has changed since.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        if self.has_changed_since_given_up() { 0 } else { self.history.attempts }
    }

    fn was_disabled(&self) -> bool {
        self.history.at_failure.is_some_and(|file| file.enabled) && self.seen.file.is_some_and(|file| !file.enabled)
    }
}

fn is_failure(state: State) -> bool {
    matches!(state, State::Failed | State::StartLimitHit)
}

/// Whether the manager refused the failed unit a restart that its policy asks for.
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
