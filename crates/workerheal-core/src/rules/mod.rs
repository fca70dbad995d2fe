//! The rules of healing, by priority.
//!
//! A [`Case`] is everything that a decision about one worker depends on. [`Case::judge`] asks each [`Rule`] in turn
//! whether it objects to a heal, and the first objection decides. The healer acts on that judgement, `detect` lists by
//! it, and `explain` shows the same rules with their evidence, so that an explanation always matches what the healer
//! did.
//!
//! Intent has priority: what was stopped, paused or masked on purpose is never started. What cannot be read is unknown,
//! and nothing is done about the unknown.

mod start;
mod state;
mod stops;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use super::diagnosis::GivenUp;
pub use start::Start;
pub use state::MAX_RESTARTS;

use super::context::Context;
use super::diagnosis::{Refusal, State, Trigger, Unrecoverable};
use super::selector::Worker;
use super::units::{
    Inspection, LoadState, RestartPolicy, StopEvidence, TriggerUnit, UnitFile, UnitName, has_run_since,
    is_another_definition,
};

/// What cleared the failure of a worker that is down (`systemctl reset-failed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearedBy {
    /// workerheal, on the way to a start: the worker is still unhealthy.
    Us,
    /// A person. That says nothing about whether an enabled worker should be up; a worker that is not enabled is
    /// dismissed by it.
    Person,
}

/// What is known about one worker from earlier. The default is a worker without a history.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub struct History<'a> {
    /// What triggered the heal.
    pub trigger: Trigger,
    /// If a person triggered it, how long before the inspection.
    pub requested_before: Duration,
    /// Attempts since the history was last reset.
    pub attempts: u32,
    /// How long until the next attempt may be made.
    pub wait: Duration,
    /// The unit files when it failed, or when a person asked for a heal since, if known.
    pub at_failure: Option<UnitFile>,
    /// It was given up.
    pub given_up: Option<&'a GivenUp>,
    /// A requested stop was seen under way since it was last up.
    pub stop_seen: bool,
    /// It was seen up since the manager began, whatever the manager still knows of that.
    pub was_up: bool,
    /// For how long it has been down, if it was seen to go down.
    pub seen_down_for: Option<Duration>,
    /// You stopped it this long before the inspection: a job of yours succeeded, and it was down.
    pub job_done_before: Option<Duration>,
    /// That job was a stop which replaced a start: it may have been meant for a unit that this one needs.
    pub stop_replaced_start: bool,
    /// An earlier inspection found that you had stopped it after this run, while it was down.
    pub stopped_after_run: bool,
    /// You stopped it while it was down already, and it has not run since.
    pub stays_stopped: bool,
    /// Why it stays stopped, as a clause, if you did not stop it by itself; else empty.
    pub stopped_because: &'a str,
    /// A unit that it needs went down and took it down: the stop was not meant for it.
    pub taken_along: bool,
    /// It went down together with a unit that it needs, as an earlier inspection showed.
    pub fell_with_parent: bool,
    /// The unit that it needs and that itself waits for this worker: only a start of both brings them up.
    pub needs_it_too: Option<&'a str>,
    /// Its start ended because a unit that it needs did not come up, and nothing has happened to it since.
    pub kept_from_starting: bool,
    /// When it was last seen to wait for an automatic restart, it had ended without an error.
    pub ends_cleanly: bool,
    /// Its failure was cleared, and nothing happened to it since.
    pub cleared: Option<ClearedBy>,
    /// The address at which it has refused its health probe often enough.
    pub refuses: Option<&'a str>,
    /// workerheal has requested its start, which has not ended: the pending job is that.
    pub starting: bool,
    /// It is coming up, and has to stay up for this long.
    pub proving: Option<Duration>,
    /// Why the manager did not permit the last start, if it did not. That is no rule: each attempt asks again.
    pub forbidden: Option<&'a str>,
}

impl Default for History<'_> {
    fn default() -> Self {
        Self {
            trigger: Trigger::Automatic,
            requested_before: Duration::ZERO,
            attempts: 0,
            wait: Duration::ZERO,
            at_failure: None,
            given_up: None,
            stop_seen: false,
            was_up: false,
            seen_down_for: None,
            job_done_before: None,
            stop_replaced_start: false,
            stopped_after_run: false,
            stays_stopped: false,
            stopped_because: "",
            taken_along: false,
            fell_with_parent: false,
            needs_it_too: None,
            kept_from_starting: false,
            ends_cleanly: false,
            cleared: None,
            refuses: None,
            starting: false,
            proving: None,
            forbidden: None,
        }
    }
}

/// Everything that a decision about one worker depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The settings shared by all workers.
    pub context: &'a Context,
    /// Its unit.
    pub unit: &'a UnitName,
    /// The worker that the unit runs.
    pub worker: &'a Worker,
    /// What an inspection shows.
    pub seen: &'a Inspection,
    /// What is known from earlier.
    pub history: History<'a>,
}

/// What to do about a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is healthy, or something is under way whose result will show.
    Well,
    /// Nothing: you stopped it. That is intent, not a failure.
    Stopped,
    /// Wait until this has changed.
    Held(Refusal),
    /// Nothing: it was given up, and nothing has changed since.
    GivenUp,
    /// Give it up: no attempt can succeed.
    Unrecoverable(Unrecoverable),
    /// Give it up: this many attempts have failed.
    Exhausted(u32),
    /// Make the next attempt after this time.
    Wait(Duration),
    /// Start it.
    Start,
    /// Restart it.
    Restart,
}

/// The result of judging a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What is wrong with it, if anything.
    pub state: Option<State>,
    /// What to do about it.
    pub verdict: Verdict,
}

/// A reason not to heal an unhealthy worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It was stopped on request.
    Stop,
    /// The stop marker says that everything was stopped on purpose.
    Marker,
    /// Healing is paused.
    Pause,
    /// The registry pauses or suspends it.
    Registry,
    /// It was given up, and nothing has changed since.
    GivenUp,
    /// Its unit file is masked, missing or invalid.
    File,
    /// The manager keeps restarting it.
    Manager,
    /// It was disabled while it was down, and no heal was requested since.
    Enabled,
    /// Another client's job for it is pending.
    Job,
    /// Its working directory is gone.
    Directory,
    /// It has been starting or stopping longer than allowed.
    Stuck,
    /// A unit that it conflicts with is up.
    Conflicts,
    /// A unit that it needs is down.
    Parents,
    /// It is a oneshot or scheduled, and whether to run it again is not workerheal's decision.
    Once,
    /// The way in which it ended excludes restarts (`RestartPreventExitStatus=`).
    Prevented,
    /// It is unknown whether it was stopped on purpose.
    Doubt,
    /// The configuration does not heal this state.
    States,
    /// The maximum number of attempts has failed.
    Attempts,
    /// The next attempt is not due yet.
    Backoff,
}

impl Rule {
    /// All rules, by priority.
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
    /// What is wrong with the worker, and what to do about it.
    #[must_use]
    pub fn judge(&self) -> Judgement {
        let Some(state) = self.state() else {
            // A masked worker counts as healthy, but that can change once it is unmasked.
            let is_stopped = self.seen.load == LoadState::Masked && self.was_stopped_while_down();
            return Judgement { state: None, verdict: if is_stopped { Verdict::Stopped } else { Verdict::Well } };
        };
        let objection = Rule::ALL.into_iter().find_map(|rule| self.objection(rule, state));
        let cure = if state == State::Unreachable { Verdict::Restart } else { Verdict::Start };
        Judgement { state: Some(state), verdict: objection.unwrap_or(cure) }
    }

    /// The rule's objection to healing the worker now, if any.
    #[must_use]
    pub fn objection(&self, rule: Rule, state: State) -> Option<Verdict> {
        let by_rule = self.history.trigger == Trigger::Automatic;
        let held = |refusal: Option<Refusal>| refusal.map(Verdict::Held);
        match rule {
            // A missing directory is worth reporting even for a stopped worker.
            Rule::Stop => {
                let is_stopped = (by_rule && self.was_stopped()) || self.group_was_stopped_since_the_request();
                (state != State::Orphaned && is_stopped).then_some(Verdict::Stopped)
            }
            Rule::Marker => held(self.context.marker()),
            Rule::Pause => held(self.context.pause(self.unit, self.worker)),
            Rule::Registry => held(self.context.registered(self.worker)),
            Rule::GivenUp => self.stays_given_up().then_some(Verdict::GivenUp),
            Rule::File => match self.seen.load {
                LoadState::Masked => Some(Verdict::Held(Refusal::Masked)),
                // It may still run, and is not started without its directory anyway.
                load if load.is_unusable() && state == State::Orphaned => None,
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
                Some(StopEvidence::Unknown(why)) if by_rule && !self.history.taken_along && !self.never_ran() => {
                    Some(Verdict::Held(Refusal::StopUnknown(why.clone())))
                }
                _ => None,
            },
            Rule::States => {
                let comes_back = state == State::ExpectedButStopped && self.should_be_back();
                let is_healed = !by_rule || self.context.policy.heals(state) || comes_back;
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

    /// The socket whose connection it serves (`Accept=yes`, systemd.socket(5)): an instance of a template with the name of
    /// that socket. A start would lack the connection.
    fn connection_from(&self) -> Option<&TriggerUnit> {
        let (template, _) = self.unit.as_str().split_once('@')?;
        self.seen.triggers.iter().find(|trigger| trigger.name.strip_suffix(".socket") == Some(template))
    }

    /// Why a failed oneshot or scheduled job is not run again automatically, if so.
    fn ran_once(&self) -> Option<Refusal> {
        if let Some(socket) = self.connection_from() {
            return Some(Refusal::LeftToTrigger(socket.clone()));
        }
        let has_no_restarts = self.seen.restart == RestartPolicy::No;
        if !self.seen.oneshot {
            // A job that a timer starts is often of the default type.
            let timer = self.seen.triggers.iter().find(|trigger| trigger.is_timer()).filter(|_| has_no_restarts);
            return timer.cloned().map(Refusal::LeftToTrigger);
        }
        match self.seen.trigger() {
            Some(trigger) => Some(Refusal::LeftToTrigger(trigger.clone())),
            None => has_no_restarts.then_some(Refusal::OneshotEnded),
        }
    }

    /// Whether it was given up, and neither its unit nor its last run has changed since.
    fn stays_given_up(&self) -> bool {
        let Some(then) = self.history.given_up else { return false };
        let same_definition = match (then.definition, self.seen.definition()) {
            (Some(then), Some(now)) => !is_another_definition(then, now),
            _ => true,
        };
        same_definition && !has_run_since(then.run.as_deref(), self.seen.run.as_deref())
    }

    /// Whether it was given up, and its unit or its last run has changed since.
    #[must_use]
    pub fn has_changed_since_given_up(&self) -> bool {
        self.history.given_up.is_some() && !self.stays_given_up()
    }

    /// Attempts that count: none if it was given up and something has changed since.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        if self.has_changed_since_given_up() { 0 } else { self.history.attempts }
    }

    /// Whether it has not been started since the manager began. A manager that has unloaded it has forgotten its runs.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        self.seen.never_ran() && !self.history.was_up
    }

    fn was_disabled(&self) -> bool {
        // Without a readable file it counts as not enabled.
        !self.seen.load.is_unusable()
            && self.history.at_failure.is_some_and(|file| file.enabled)
            && self.seen.file.is_some_and(|file| !file.enabled)
    }
}

fn is_failure(state: State) -> bool {
    matches!(state, State::Failed | State::StartLimitHit)
}
