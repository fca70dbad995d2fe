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
};

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
        let Some(state) = self.state() else { return Judgement { state: None, verdict: Verdict::Well } };
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
            Rule::Stop => (by_rule && self.was_stopped()).then_some(Verdict::Stopped),
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
            Rule::Job => held(self.seen.has_job.then_some(Refusal::JobPending)),
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
        match seen.active {
            ActiveState::Failed => Some(self.failure()),
            ActiveState::Inactive if self.history.cleared_by_us => Some(self.failure()),
            ActiveState::Inactive if self.is_expected() && seen.directory_gone => Some(State::Orphaned),
            ActiveState::Inactive if self.is_expected() => Some(State::ExpectedButStopped),
            _ if self.is_looping() => Some(State::CrashLooping),
            active if active.is_up() => self.history.refuses.map(|_| State::Unreachable),
            _ => None,
        }
    }

    fn failure(&self) -> State {
        if self.seen.directory_gone {
            State::Orphaned
        } else if self.seen.stop != Some(StopEvidence::Requested) && refused_a_restart(self.seen) {
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
        let same_run = match (&then.run, &self.seen.run) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        };
        same_definition && same_run
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pauses::Target;
    use crate::core::units::Restarts;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn crashed() -> Inspection {
        Inspection::crashed()
    }

    const ENABLED: UnitFile = UnitFile { enabled: true, on_demand: false, definition: 1 };
    const DISABLED: UnitFile = UnitFile { enabled: false, ..ENABLED };

    /// A worker of which nothing is remembered but that it was enabled when it failed.
    fn unknown() -> History<'static> {
        History { at_failure: Some(ENABLED), ..History::default() }
    }

    fn judged(seen: &Inspection, history: History<'_>) -> Judgement {
        judged_under(seen, history, &Policy::default(), &Pauses::default())
    }

    fn judged_under(seen: &Inspection, history: History<'_>, policy: &Policy, pauses: &Pauses) -> Judgement {
        let registry = Registry::parse(b"sites: [{name: myapp, path: /srv/myapp}]").unwrap();
        let orders = Orders { policy, registry: &registry, stop_marker: false, pauses };
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        let worker = Worker { site: "myapp".into(), name: "queue".into(), worktree: None };
        Case { orders, unit: &unit, worker: &worker, seen, history }.judge()
    }

    fn by_rule(seen: &Inspection) -> Judgement {
        judged(seen, unknown())
    }

    fn is(state: State, verdict: Verdict) -> Judgement {
        Judgement { state: Some(state), verdict }
    }

    const WELL: Judgement = Judgement { state: None, verdict: Verdict::Well };

    #[test]
    fn a_refused_restart_is_known_by_the_policy_that_would_have_made_it() {
        use RestartPolicy::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
        use ServiceResult::{ExitCode, Protocol, Signal, Success, Timeout, Watchdog};
        for (restart, result, refused) in [
            (No, ExitCode, false),
            (Always, ExitCode, true),
            (Always, Success, true),
            (OnFailure, ExitCode, true),
            (OnFailure, Protocol, true),
            (OnAbnormal, ExitCode, false),
            (OnAbnormal, Timeout, true),
            (OnAbort, Signal, true),
            (OnAbort, ExitCode, false),
            (OnWatchdog, Watchdog, true),
            (OnWatchdog, Signal, false),
            (OnSuccess, ExitCode, false),
            (RestartPolicy::Unknown, ExitCode, false),
            (Always, ServiceResult::Unknown, false),
            (No, ServiceResult::StartLimitHit, true),
        ] {
            let state = if refused { State::StartLimitHit } else { State::Failed };
            let unit = Inspection { result, restart, ..crashed() };
            assert_eq!(by_rule(&unit), is(state, Verdict::Start), "{restart:?} {result:?}");
        }
        let prevented = Inspection { restart: Always, restart_prevented: true, ..crashed() };
        assert_eq!(by_rule(&prevented), is(State::Failed, Verdict::Start));
    }

    #[test]
    fn the_weightiest_reason_is_told() {
        let parent = Parent { name: "db.service".into(), active: ActiveState::Activating, stopping: false, left: None };
        let mut unit = Inspection {
            stop: Some(StopEvidence::Requested),
            load: LoadState::Masked,
            file: Some(DISABLED),
            has_job: true,
            ..crashed()
        };
        let failed = |verdict| is(State::Failed, verdict);
        assert_eq!(by_rule(&unit), failed(Verdict::Stopped));
        unit.parents = vec![parent.clone()];
        unit.stop = Some(StopEvidence::Unknown("no journal".into()));
        assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::Masked)));
        unit.load = LoadState::Loaded;
        assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::Disabled)));
        unit.file = Some(ENABLED);
        assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::JobPending)));
        unit.has_job = false;
        assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::ParentDown(parent))));
        unit.parents.clear();
        assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::StopUnknown("no journal".into()))));
        unit.stop = None;
        let tried = |attempts, wait| judged(&unit, History { attempts, wait, ..unknown() });
        assert_eq!(tried(10, Duration::from_secs(1)), failed(Verdict::Exhausted(10)));
        assert_eq!(tried(9, Duration::from_secs(1)), failed(Verdict::Wait(Duration::from_secs(1))));
        assert_eq!(tried(9, Duration::ZERO), failed(Verdict::Start));
        let mut pauses = Pauses::default();
        pauses.pause(Target::Site("myapp".into()), None);
        let held = judged_under(&unit, unknown(), &Policy::default(), &pauses);
        assert!(matches!(held.verdict, Verdict::Held(Refusal::Paused(_))), "{held:?}");
        let unwanted = Policy { states: vec![], ..Policy::default() };
        let shown = judged_under(&unit, unknown(), &unwanted, &Pauses::default());
        assert_eq!(shown.verdict, Verdict::Held(Refusal::StateNotHealed(State::Failed)));
    }

    #[test]
    fn a_stop_that_took_a_parent_down_was_not_meant_for_the_worker() {
        let parent = |left| Parent {
            name: "db.service".into(),
            active: ActiveState::Inactive,
            stopping: false,
            left: Some(Duration::from_secs(left)),
        };
        let fall = Some(Fall { left: Duration::from_secs(50), down: Duration::from_secs(60) });
        for left in [49, 55, 61] {
            let down =
                Inspection { stop: Some(StopEvidence::Requested), fall, parents: vec![parent(left)], ..crashed() };
            assert_eq!(by_rule(&down), is(State::Failed, Verdict::Held(Refusal::ParentDown(parent(left)))));
            let back = Inspection { parents: vec![], ..down };
            assert_eq!(judged(&back, History { taken_along: true, ..unknown() }), is(State::Failed, Verdict::Start));
            assert_eq!(by_rule(&back).verdict, Verdict::Stopped);
        }
        for left in [40, 70] {
            let down =
                Inspection { stop: Some(StopEvidence::Requested), fall, parents: vec![parent(left)], ..crashed() };
            assert_eq!(by_rule(&down).verdict, Verdict::Stopped, "each was stopped by itself");
        }
    }

    #[test]
    fn a_worker_is_expected_to_be_up_if_it_is_enabled_and_nothing_else_decides() {
        let policy = Policy { states: vec![State::ExpectedButStopped], ..Policy::default() };
        let judged = |seen: &Inspection| judged_under(seen, unknown(), &policy, &Pauses::default());
        let ended = Inspection {
            active: ActiveState::Inactive,
            file: Some(ENABLED),
            stop: Some(StopEvidence::NotRequested),
            ..crashed()
        };
        assert_eq!(judged(&ended), is(State::ExpectedButStopped, Verdict::Start));
        assert_eq!(
            by_rule(&ended),
            is(State::ExpectedButStopped, Verdict::Held(Refusal::StateNotHealed(State::ExpectedButStopped)))
        );
        let requested = Inspection { stop: Some(StopEvidence::Requested), ..ended.clone() };
        assert_eq!(judged(&requested).verdict, Verdict::Stopped);
        // What was seen counts, whether or not the journal is there to confirm it.
        let silent = Inspection { stop: Some(StopEvidence::Unknown("?".into())), ..ended.clone() };
        let seen = History { stop_seen: true, ..unknown() };
        assert_eq!(judged_under(&silent, seen, &policy, &Pauses::default()).verdict, Verdict::Stopped);
        for well in [
            Inspection { file: Some(DISABLED), ..ended.clone() },
            Inspection { file: Some(UnitFile { on_demand: true, ..ENABLED }), ..ended.clone() },
            Inspection { file: None, ..ended.clone() },
            Inspection { oneshot: true, ..ended.clone() },
            Inspection { stop: Some(StopEvidence::Unknown("?".into())), ..ended.clone() },
        ] {
            assert_eq!(judged(&well), WELL, "{well:?}");
        }
    }

    #[test]
    fn without_its_directory_a_worker_is_an_orphan() {
        let gone = Inspection { directory_gone: true, working_directory: Some("/srv/gone".into()), ..crashed() };
        let held = Verdict::Held(Refusal::DirectoryGone("/srv/gone".into()));
        assert_eq!(by_rule(&gone), is(State::Orphaned, held));
    }

    #[test]
    fn what_the_manager_restarts_again_and_again_is_left_to_it() {
        let minute = Duration::from_secs(60);
        let looping = |count, last_run| Inspection {
            active: ActiveState::Activating,
            auto_restart: true,
            has_job: true,
            restarts: Some(Restarts { count, last_run }),
            ..crashed()
        };
        let held = is(State::CrashLooping, Verdict::Held(Refusal::CrashLooping(7)));
        assert_eq!(by_rule(&looping(7, Some(minute))), held);
        assert_eq!(by_rule(&looping(7, None)), held);
        assert_eq!(by_rule(&looping(4, Some(minute))), WELL);
        assert_eq!(by_rule(&looping(7, Some(10 * minute))), WELL, "its last run was a long one");
    }

    #[test]
    fn a_worker_that_does_not_answer_is_restarted() {
        let up = Inspection { active: ActiveState::Active, up_for: Some(Duration::from_secs(60)), ..crashed() };
        assert_eq!(by_rule(&up), WELL);
        let silent = History { refuses: Some("127.0.0.1:6001"), ..unknown() };
        assert_eq!(judged(&up, silent), is(State::Unreachable, Verdict::Restart));
    }

    #[test]
    fn what_was_given_up_stays_so_until_its_unit_or_its_run_is_another() {
        let given_up = GivenUp { reason: "x".into(), definition: Some(1), run: Some("a".into()) };
        let history = History { given_up: Some(&given_up), attempts: 10, ..unknown() };
        let seen = |definition, run: &str| Inspection {
            file: Some(UnitFile { definition, ..ENABLED }),
            run: Some(run.into()),
            ..crashed()
        };
        assert_eq!(judged(&seen(1, "a"), history).verdict, Verdict::GivenUp);
        assert_eq!(judged(&seen(2, "a"), history).verdict, Verdict::Start);
        assert_eq!(judged(&seen(1, "b"), history).verdict, Verdict::Start);
    }

    fn any_inspection() -> impl Strategy<Value = Inspection> {
        let words = (
            prop::sample::select(LoadState::ALL),
            prop::sample::select(ActiveState::ALL),
            prop::sample::select(ServiceResult::ALL),
            prop::sample::select(RestartPolicy::ALL),
        );
        let parents = prop::collection::vec(prop::sample::select(ActiveState::ALL), 0..3);
        (words, any::<[bool; 6]>(), parents, 0u8..4).prop_map(
            |((load, active, result, restart), flags, parents, stop)| {
                let [has_job, enabled, oneshot, restart_prevented, auto_restart, directory_gone] = flags;
                Inspection {
                    load,
                    active,
                    has_job,
                    up_for: active.is_up().then_some(Duration::from_secs(1)),
                    fall: None,
                    down_for: None,
                    result,
                    restart,
                    restart_prevented,
                    oneshot,
                    file: Some(if enabled { ENABLED } else { DISABLED }),
                    run: None,
                    restarts: auto_restart.then_some(Restarts { count: 9, last_run: None }),
                    auto_restart,
                    since: None,
                    working_directory: directory_gone.then(|| PathBuf::from("/gone")),
                    directory_gone,
                    parents: parents
                        .into_iter()
                        .map(|active| Parent { name: "p.service".into(), active, stopping: false, left: None })
                        .collect(),
                    stop: match stop {
                        0 => None,
                        1 => Some(StopEvidence::Requested),
                        2 => Some(StopEvidence::NotRequested),
                        _ => Some(StopEvidence::Unknown("?".into())),
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn only_what_failed_may_run_and_was_not_stopped_is_started(unit in any_inspection(), was_enabled: bool) {
            let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
            let judgement = judged(&unit, History { at_failure, ..History::default() });
            prop_assert_ne!(&judgement.verdict, &Verdict::Restart);
            if judgement.verdict == Verdict::Start {
                prop_assert_eq!(unit.active, ActiveState::Failed);
                prop_assert_eq!(unit.load, LoadState::Loaded);
                prop_assert!(!unit.has_job && !unit.directory_gone);
                prop_assert!(unit.parents.iter().all(|parent| parent.active.is_up()));
                prop_assert!(matches!(unit.stop, None | Some(StopEvidence::NotRequested)));
                prop_assert!(unit.file != Some(DISABLED) || !was_enabled);
            }
        }

        #[test]
        fn a_person_is_never_refused_what_the_rule_allows(unit in any_inspection(), was_enabled: bool) {
            let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
            let rule = judged(&unit, History { at_failure, ..History::default() });
            let person = judged(&unit, History { at_failure, asked: Asked::ByPerson, ..History::default() });
            if rule.verdict == Verdict::Start {
                prop_assert_eq!(person, rule);
            }
        }
    }
}
