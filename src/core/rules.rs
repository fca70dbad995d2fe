//! The rules of healing, in the order of their weight.
//!
//! A [`Case`] is everything that a decision about one worker rests on. [`Case::judge`] asks each
//! [`Rule`] in turn what it has against a heal, and the first that objects decides. The healer acts
//! by that judgement, `detect` lists by it, and `explain` shows the same rules with their evidence,
//! so that what a person reads is what the healer did.
//!
//! Intent wins over illness: what somebody stopped, paused or masked is never started. What cannot
//! be read is unknown, and unknown is never acted on either.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::coverage::Worker;
use super::diagnosis::{Asked, Hopeless, Refusal, State};
use super::pauses::Pauses;
use super::policy::Policy;
use super::registry::Registry;
use super::units::{
    ActiveState, Fall, Inspection, LoadState, Parent, RestartPolicy, ServiceResult, StopEvidence, UnitFile, UnitName,
    has_run_since,
};

#[cfg(test)]
mod tests;

/// So many restarts by the manager, none followed by a long uptime, are a crash loop. It is the
/// number after which systemd itself gives up by default, if they follow each other closely.
pub const LOOP: u32 = 5;

/// A unit and what it took along go down within this time: systemd does it in one go, which takes it a
/// while if there is much to take along. A stop of just the one in the same second looks the same.
const TOGETHER: Duration = Duration::from_secs(1);

/// What holds for all workers alike.
#[derive(Debug, Clone, Copy)]
pub struct Orders<'a> {
    /// How eagerly to heal.
    pub policy: &'a Policy,
    /// What Lerd says of the sites.
    pub registry: &'a Registry,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
    /// What people have paused by hand.
    pub pauses: &'a Pauses,
}

impl Orders<'_> {
    /// What people have said against healing the worker, if anything.
    #[must_use]
    pub fn intent_against(&self, unit: &UnitName, worker: &Worker) -> Option<Refusal> {
        self.marker().or_else(|| self.pause(unit, worker)).or_else(|| self.registered(worker))
    }

    fn marker(&self) -> Option<Refusal> {
        self.stop_marker.then_some(Refusal::StopMarker)
    }

    fn pause(&self, unit: &UnitName, worker: &Worker) -> Option<Refusal> {
        self.pauses.over(unit, worker).map(Refusal::Paused)
    }

    fn registered(&self, worker: &Worker) -> Option<Refusal> {
        let site = self.registry.site(&worker.site)?;
        if site.paused {
            Some(Refusal::SitePaused(site.name.clone()))
        } else if site.is_worker_paused(&worker.name) {
            Some(Refusal::WorkerPaused(worker.clone()))
        } else if site.is_idle_suspended(&worker.name, worker.worktree.as_deref()) {
            Some(Refusal::IdleSuspended(worker.clone()))
        } else {
            None
        }
    }
}

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

/// What is remembered of one worker. The default is a worker of which nothing is.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub struct History<'a> {
    /// Who wants it healed.
    pub asked: Asked,
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
    /// Its user stopped it when it was this long before the look: a job of theirs had succeeded, and
    /// it was down.
    pub job_done_before: Option<Duration>,
    /// Its user stopped it while it was down already, and it still is the same run that is down.
    pub stays_stopped: bool,
    /// A unit that it needs went down and took it along: the stop was not meant for it.
    pub taken_along: bool,
    /// We cleared its failure, and nothing has become of it since: it is as ill as before.
    pub cleared_by_us: bool,
    /// It has refused its health probe often enough; where.
    pub refuses: Option<&'a str>,
}

impl Default for History<'_> {
    fn default() -> Self {
        Self {
            asked: Asked::ByRule,
            attempts: 0,
            wait: Duration::ZERO,
            at_failure: None,
            given_up: None,
            stop_seen: false,
            job_done_before: None,
            stays_stopped: false,
            taken_along: false,
            cleared_by_us: false,
            refuses: None,
        }
    }
}

/// Everything that a decision about one worker rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What holds for all workers.
    pub orders: Orders<'a>,
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
    Hopeless(Hopeless),
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
    /// Somebody has paused healing.
    Pause,
    /// The registry says that it is to rest.
    Registry,
    /// It was given up, and nothing has changed since.
    GivenUp,
    /// Its unit's file is masked, missing or wrong.
    File,
    /// The manager restarts it by itself.
    Manager,
    /// It was disabled while it was down, and nobody has asked for it since.
    Enabled,
    /// A job of somebody else is under way for it.
    Job,
    /// Its working directory is gone.
    Directory,
    /// A unit that it needs is down.
    Parents,
    /// It cannot be told whether somebody stopped it.
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
    pub const ALL: [Self; 15] = [
        Self::Stop,
        Self::Marker,
        Self::Pause,
        Self::Registry,
        Self::GivenUp,
        Self::File,
        Self::Manager,
        Self::Enabled,
        Self::Job,
        Self::Directory,
        Self::Parents,
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
        let by_rule = self.history.asked == Asked::ByRule;
        let held = |refusal: Option<Refusal>| refusal.map(Verdict::Held);
        match rule {
            // That its directory is gone is worth telling of one that was stopped, too.
            Rule::Stop => (by_rule && state != State::Orphaned && self.was_stopped()).then_some(Verdict::Stopped),
            Rule::Marker => held(self.orders.marker()),
            Rule::Pause => held(self.orders.pause(self.unit, self.worker)),
            Rule::Registry => held(self.orders.registered(self.worker)),
            Rule::GivenUp => self.stays_given_up().then_some(Verdict::GivenUp),
            Rule::File => match self.seen.load {
                LoadState::Masked => Some(Verdict::Held(Refusal::Masked)),
                LoadState::NotFound => Some(Verdict::Hopeless(Hopeless::NotFound)),
                LoadState::BadSetting => Some(Verdict::Hopeless(Hopeless::BadSetting)),
                LoadState::Error => Some(Verdict::Hopeless(Hopeless::Unreadable)),
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
            Rule::Parents => held(down_parent(self.seen).cloned().map(Refusal::ParentDown)),
            Rule::Doubt => match &self.seen.stop {
                Some(StopEvidence::Unknown(why)) if by_rule && !self.history.taken_along => {
                    Some(Verdict::Held(Refusal::StopUnknown(why.clone())))
                }
                _ => None,
            },
            Rule::States => {
                held((by_rule && !self.orders.policy.heals(state)).then_some(Refusal::StateNotHealed(state)))
            }
            Rule::Attempts => {
                let attempts = self.attempts();
                let limit = self.orders.policy.give_up_after;
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
        match seen.active {
            ActiveState::Failed => Some(self.failure()),
            ActiveState::Inactive if self.history.cleared_by_us => Some(self.failure()),
            ActiveState::Inactive if self.is_expected() => Some(State::ExpectedButStopped),
            _ if self.is_looping() => Some(State::CrashLooping),
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

    /// Whether a worker that is down without having failed is meant to be up: it is enabled, nothing
    /// else decides when it runs, and it is known how it came to be down.
    fn is_expected(&self) -> bool {
        let known = self.was_stopped() || !matches!(self.seen.stop, Some(StopEvidence::Unknown(_)));
        self.seen.file.is_some_and(|file| file.enabled && !file.on_demand)
            && !self.seen.oneshot
            && (known || self.history.taken_along || self.history.asked == Asked::ByPerson)
    }

    /// Whether the manager restarts it again and again, and none of its runs lasts.
    fn is_looping(&self) -> bool {
        let Some(restarts) = self.seen.restarts else { return false };
        let policy = self.orders.policy;
        let now = match self.seen.active {
            ActiveState::Activating => true,
            active => active.is_up() && self.seen.up_for.is_some_and(|up_for| up_for < policy.stable_after),
        };
        now && restarts.count >= LOOP && restarts.last_run.is_none_or(|run| run < policy.reset_after)
    }

    /// Whether a requested stop ended its last run, whoever it was meant for.
    fn stop_requested(&self) -> bool {
        self.history.stop_seen || self.seen.stop == Some(StopEvidence::Requested)
    }

    /// Whether a unit that it needs went down and took it along: that one is about to be stopped, or
    /// went down when this one did.
    #[must_use]
    pub fn was_taken_along(&self) -> bool {
        let down = self.seen.parents.iter().filter(|parent| !parent.is_up());
        let took_along = |parent: &Parent| match (self.seen.fall, parent.left) {
            (Some(fall), Some(left)) => left + TOGETHER >= fall.left && left <= fall.down + TOGETHER,
            // One that never was up, or a time that is not known, is no excuse to start what was stopped.
            _ => parent.active.is_up(),
        };
        self.history.taken_along || (self.stop_requested() && down.into_iter().any(took_along))
    }

    /// Whether nothing rules out that somebody stopped it: the journal was not asked, and neither its
    /// signals nor its timestamps show that it went down by itself.
    #[must_use]
    pub fn may_have_been_stopped(&self) -> bool {
        let sudden = self.seen.fall.is_some_and(Fall::was_sudden);
        self.history.asked == Asked::ByRule
            && self.seen.stop.is_none()
            && !sudden
            && !self.history.taken_along
            && !self.seen.active.is_up()
    }

    /// Whether its user stopped it while it was down, which nothing but the end of that job tells. (A job
    /// that started it would have had it up, and down again only after that.)
    #[must_use]
    pub fn was_told_to_stop(&self) -> bool {
        let told = self.history.job_done_before;
        told.is_some_and(|before| self.seen.down_for.is_some_and(|down_for| down_for >= before))
    }

    /// Whether its user stopped it.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.was_told_to_stop() || self.history.stays_stopped || (self.stop_requested() && !self.was_taken_along())
    }

    /// Whether it was given up, and neither its unit nor its last run is another now.
    fn stays_given_up(&self) -> bool {
        let Some(then) = self.history.given_up else { return false };
        let same_definition = match (then.definition, self.seen.file) {
            (Some(then), Some(now)) => then == now.definition,
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

/// A unit that this one needs, and that is down or about to be. If a requested stop ended this one,
/// the request was for that one, and it was taken along.
#[must_use]
pub fn down_parent(unit: &Inspection) -> Option<&Parent> {
    unit.parents.iter().find(|parent| !parent.is_up())
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
    unit.result == StartLimitHit || (covers && !unit.restart_prevented)
}
