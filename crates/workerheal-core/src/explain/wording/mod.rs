//! The sentences of an explanation.

mod rules;

use super::rest::{NOT_EXPECTED, Rest, START_QUEUED, WAITS_WITH_TARGETS};
use super::times::{exactly, left, roughly, rounded};
use super::{Line, Mark, References};
use crate::diagnosis::{Refusal, State, Unrecoverable};
use crate::rules::{Case, ClearedBy, Rule, Verdict};
use crate::units::{ActiveState, Parent, ServiceResult};

/// What the job of a worker that is still down is, if workerheal has requested it.
const OWN_START: &str = "its start waits for the job of another unit";

/// Words a case.
pub(super) struct Wording<'a> {
    pub case: &'a Case<'a>,
    pub references: &'a References,
}

impl Wording<'_> {
    /// What the worker is called: `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or by its unit.
    pub fn name(&self) -> String {
        self.case.worker.to_string()
    }

    /// The line of this key of the worker's site, as `FILE:LINE`: in the version of the registry that decides.
    fn line(&self, key: &str) -> String {
        let lines = self.case.context.registry.lines(&self.case.worker.site);
        match lines.and_then(|lines| lines.line_of(key)) {
            Some(line) => format!("{}:{line}", self.references.sites),
            None => self.references.sites.clone(),
        }
    }

    /// The answer in one sentence.
    pub fn summary(&self, state: Option<State>, verdict: &Verdict) -> String {
        let name = self.name();
        let limit = self.case.context.policy.give_up_after;
        let next = self.case.attempts().saturating_add(1);
        let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let is = match state {
            None => return self.summary_of_rest(&name),
            Some(State::Failed | State::StartLimitHit) => "has failed",
            Some(State::ExpectedButStopped | State::Orphaned) => "is down",
            Some(State::Unreachable) => "does not answer",
            Some(State::CrashLooping) => "crashes again and again",
            Some(State::Stuck) => "is stuck",
        };
        match verdict {
            Verdict::Well => format!("{name} is well."),
            Verdict::Stopped => {
                format!("{name} is not healed: {}.", self.case.why_stopped())
            }
            Verdict::Held(Refusal::StopUnknown(_)) => {
                format!("{name} is not healed, as it may have been stopped on purpose.")
            }
            Verdict::Held(refusal @ Refusal::Stuck(..)) => format!("{name} is stuck: {}.", in_short(refusal)),
            Verdict::Held(Refusal::JobPending) if self.case.history.starting => {
                format!("{name} is being started, and {OWN_START}.")
            }
            Verdict::Held(refusal) => format!("{name} is not healed: {}.", in_short(refusal)),
            Verdict::GivenUp => match self.reason_of_giving_up() {
                "" => format!("{name} was given up."),
                why => format!("{name} was given up: {why}."),
            },
            Verdict::Unrecoverable(why @ Unrecoverable::RestartPrevented(_)) => format!("{name} is not healed: {why}."),
            Verdict::Unrecoverable(why) => format!("{name} cannot be healed: {why}."),
            Verdict::Exhausted(count) => format!("{name} is given up: {} failed.", attempts(*count)),
            Verdict::Wait(_) if !self.references.daemon_runs => {
                format!("{name} {is}, and no daemon is running that would try it again (attempt {next}{of}).")
            }
            Verdict::Start | Verdict::Restart if !self.references.daemon_runs => {
                format!("{name} {is}, and no daemon is running that would start it (attempt {next}{of}).")
            }
            Verdict::Wait(wait) => {
                format!("{name} {is}, and is tried again in {} (attempt {next}{of}).", rounded(*wait))
            }
            Verdict::Start => format!("{name} {is}, and nothing speaks against starting it (attempt {next}{of})."),
            Verdict::Restart => format!("{name} {is}, and nothing speaks against restarting it (attempt {next}{of})."),
        }
    }

    fn summary_of_rest(&self, name: &str) -> String {
        let rest = self.case.rest();
        if rest.is_down()
            && let Some(refusal) = self.case.intent()
        {
            return format!("{name} is down, as it should be: {}.", in_short(&refusal));
        }
        if self.case.rests_stopped() {
            return format!("{name} is down, as it should be: {}.", self.case.why_down());
        }
        if let (Rest::Up, Some(refusal)) = (&rest, self.case.intent()) {
            return format!("{name} is up, and would not be healed: {}.", in_short(&refusal));
        }
        match rest {
            Rest::Up => match self.case.history.proving {
                Some(time) => {
                    format!("{name} is up, and counts as healed once it has stayed up for {}.", rounded(time))
                }
                None => format!("{name} is up and well."),
            },
            Rest::Restarting => match self.case.seen.restarts_in() {
                Some(time) => format!("{name} is restarted by the service manager itself in {}.", left(time)),
                None => format!("{name} is about to be restarted by the service manager itself."),
            },
            Rest::Starting => format!("{name} is on its way up."),
            Rest::Stopping => format!("{name} is being stopped."),
            Rest::Queued => format!("{name} is down, and {START_QUEUED}."),
            Rest::Masked | Rest::NoFile | Rest::NotEnabled => format!("{name} is down, and {NOT_EXPECTED}."),
            Rest::OnDemand => match self.case.idle_trigger() {
                Some(trigger) => format!("{name} is down: {trigger}."),
                None => format!("{name} is down until it is wanted."),
            },
            Rest::WithTargets => format!("{name} is down, and {WAITS_WITH_TARGETS}."),
            Rest::Once => format!("{name} has done its work."),
            Rest::PerhapsStopped(_) => format!("{name} is not healed, as it may have been stopped on purpose."),
            Rest::FilesUnknown => format!("{name} is down, but has not failed."),
            Rest::LeftTo(left_to) => format!("{name} is not healed: {left_to}."),
            Rest::NotLoaded(_) | Rest::Unclear(_) => format!("{name} is not healed: its state is not clear."),
        }
    }

    /// Why it is a worker.
    pub fn covered(&self) -> Line {
        let worker = self.case.worker;
        let site = format!("site {} in {}", worker.site, self.line("name"));
        match (worker.site.as_str(), &worker.worktree) {
            ("", _) => found("it belongs to no site", format!("also_watch in {}", self.references.config)),
            (_, None) => found(&format!("its unit is {}", self.case.unit.short()), site),
            (_, Some(worktree)) => found(&format!("it is {} of the worktree {worktree}", worker.name), site),
        }
    }

    /// How long it has been starting or stopping, and its limit.
    fn stuck(&self) -> Line {
        let seen = self.case.seen;
        let (lasts, limit) = seen.transition.map(|it| (it.lasts, it.limit)).unwrap_or_default();
        let what = if seen.active == ActiveState::Deactivating { "stopping" } else { "starting" };
        let limit = match limit {
            Some(limit) => format!("its unit allows {}", rounded(limit)),
            None => format!("its unit sets no limit, heal.timeout is {}", rounded(self.case.context.policy.timeout)),
        };
        found(
            &format!("it has been {what} for {}", rounded(lasts)),
            listed(vec![format!("ActiveState={}", seen.active), limit]),
        )
    }

    /// What is wrong with it.
    pub fn finding(&self, state: State) -> Line {
        let seen = self.case.seen;
        let (ago, down_for) = match self.age() {
            Some(age) => (format!(" {age} ago"), format!(" for {age}")),
            None => (String::new(), String::new()),
        };
        let failed = seen.active == ActiveState::Failed;
        let mut evidence = vec![self.moment()];
        let says = match state {
            _ if self.case.history.cleared == Some(ClearedBy::Us) && !failed => {
                evidence.push("workerheal has cleared its failure to start it".to_owned());
                "it failed, and has not come up since".to_owned()
            }
            State::Failed if self.case.history.cleared.is_some() && !failed => {
                evidence.push("its failure was cleared (reset-failed), but it is enabled".to_owned());
                "it failed, and has not come up since".to_owned()
            }
            State::Stuck => return self.stuck(),
            State::Unreachable if seen.failed_sockets().next().is_some() => {
                let sockets = seen.failed_sockets().collect::<Vec<_>>().join(", ");
                return found(
                    &format!("its socket {sockets} has failed, so that its clients reach nothing"),
                    listed(evidence),
                );
            }
            State::Failed | State::Orphaned if failed => {
                evidence.extend(self.property(format!("Result={}", seen.result)));
                format!("it failed{ago}{}", cause(seen.result))
            }
            State::StartLimitHit => {
                evidence.extend(self.property(format!("Result={}, Restart={}", seen.result, seen.restart)));
                format!("it crashed too often; the service manager gave up{ago}")
            }
            State::ExpectedButStopped if self.case.restart_was_skipped() => {
                evidence.extend(self.property(format!("Restart={}, Result={}", seen.restart, seen.result)));
                format!("it ended{ago}, and its restart was skipped: a condition of its unit is not met")
            }
            State::ExpectedButStopped if seen.file.is_some_and(|file| file.enabled) => {
                evidence.extend(self.property("UnitFileState=enabled".to_owned()));
                format!("it is enabled, but has been down{down_for}")
            }
            State::Orphaned if seen.active.is_up() => format!("it has been up{down_for}"),
            State::Failed | State::Orphaned | State::ExpectedButStopped => format!("it has been down{down_for}"),
            State::Unreachable => {
                evidence.clear();
                evidence.extend(self.case.history.refuses.map(|place| format!("refused at {place}")));
                evidence.extend(seen.up_for.map(|up_for| format!("up for {}", roughly(up_for))));
                "it is up, but does not answer its health probe".to_owned()
            }
            State::CrashLooping => {
                evidence.clear();
                let last_run = seen.restarts.and_then(|restarts| restarts.last_run);
                evidence.extend(last_run.map(|run| format!("its last run lasted {}", roughly(run))));
                "it crashes again and again".to_owned()
            }
        };
        evidence.push(self.state());
        let finding =
            seen.said.as_ref().and_then(|said| said.finding.as_ref()).filter(|_| failed && !seen.directory_gone);
        found(finding.unwrap_or(&says), listed(evidence))
    }

    /// A systemd property; `None` for a manager with its own terms.
    fn property(&self, property: String) -> Option<String> {
        self.case.seen.said.is_none().then_some(property)
    }

    /// What the manager says about the unit's state.
    fn state(&self) -> String {
        match &self.case.seen.said {
            Some(said) => said.evidence.clone(),
            None => format!("ActiveState={}", self.case.seen.active),
        }
    }

    /// What systemd says, or the equivalent for launchd.
    fn by_manager(&self, of_systemd: String, of_launchd: &str) -> String {
        self.property(of_systemd).unwrap_or_else(|| of_launchd.to_owned())
    }

    /// Why it counts as healthy.
    pub fn rests(&self, rest: &Rest) -> Vec<Line> {
        let seen = self.case.seen;
        let state = self.state();
        let so_far = self.age().map(|age| format!(", for {age} so far")).unwrap_or_default();
        let down = || {
            let down_for = self.age().map(|age| format!(" for {age}")).unwrap_or_default();
            let says = format!("it has been down{down_for}, without having failed");
            found(&says, listed(vec![self.moment(), state.clone()]))
        };
        let mut lines = match rest {
            Rest::Up => {
                let up_for = seen.up_for.map(|up_for| format!(" for {}", roughly(up_for))).unwrap_or_default();
                let since = seen.up_for.and_then(|up_for| self.references.now.checked_sub(up_for));
                let since = since.map(|since| format!("since {}", exactly(since, self.references.now)));
                vec![found(&format!("it has been up{up_for}"), listed(vec![since.unwrap_or_default(), state]))]
            }
            Rest::Restarting => {
                let restarts = seen.restarts.map(|restarts| format!("NRestarts={}", restarts.count));
                let restarts = restarts.and_then(|restarts| self.property(restarts));
                let restart = self.property(format!("Restart={}", seen.restart));
                let evidence = vec![restarts.unwrap_or_default(), restart.unwrap_or_default(), state];
                vec![found("it has ended, and the service manager restarts it", listed(evidence))]
            }
            Rest::Starting => vec![found(&format!("it is starting{so_far}"), state)],
            Rest::Stopping => vec![found(&format!("it is being stopped{so_far}"), state)],
            Rest::Queued => {
                let waits_for = |parent: &Parent| format!("it waits for {}, which {}", parent.name, parent.state());
                let what = self.down_parents().next().map_or_else(|| START_QUEUED.to_owned(), waits_for);
                vec![down(), found(&what, self.property("its Job is set".to_owned()).unwrap_or_default())]
            }
            Rest::Masked => {
                vec![down(), found("it is masked, so that nothing can start it", "LoadState=masked".to_owned())]
            }
            Rest::NoFile => {
                let evidence = self.by_manager("LoadState=not-found".to_owned(), "its plist is gone");
                vec![down(), found("its unit has no file any more", evidence)]
            }
            Rest::NotEnabled => {
                let evidence = self.by_manager("UnitFileState is not enabled".to_owned(), "launchctl print-disabled");
                vec![down(), found("it is not enabled", evidence)]
            }
            Rest::OnDemand => {
                let (says, evidence) = match seen.triggers.as_slice() {
                    [] => {
                        ("something else decides when it runs".to_owned(), "a Condition...= does not hold".to_owned())
                    }
                    triggers => {
                        let names: Vec<&str> = triggers.iter().map(|trigger| trigger.name.as_str()).collect();
                        let names = names.join(" ");
                        let says = match (self.case.idle_trigger(), triggers.len()) {
                            (Some(idle), _) => idle.to_string(),
                            (None, 1) => format!("{names} decides when it runs"),
                            (None, _) => format!("{names} decide when it runs"),
                        };
                        (says, format!("TriggeredBy={names}"))
                    }
                };
                vec![down(), found(&says, evidence)]
            }
            Rest::WithTargets => {
                vec![down(), found(WAITS_WITH_TARGETS, "WantedBy=, RequiredBy= or UpheldBy=".to_owned())]
            }
            Rest::Once => vec![down(), found("it does its work once, and ends", "Type=oneshot".to_owned())],
            Rest::PerhapsStopped(why) => {
                vec![down(), found("it is unknown whether it was stopped on purpose", why.clone())]
            }
            Rest::FilesUnknown => vec![down()],
            Rest::LeftTo(left_to) => vec![found(left_to, state)],
            Rest::NotLoaded(load) => {
                vec![found(
                    "its unit is not loaded under this name",
                    listed(vec![self.property(format!("LoadState={load}")).unwrap_or_default(), state]),
                )]
            }
            Rest::Unclear(_) => vec![found("its state is none that can be judged", state)],
        };
        if rest.is_down()
            && let Some(refusal) = self.case.intent()
        {
            lines.push(Line { mark: Mark::Objects, ..found(&in_short(&refusal), self.evidence_of(&refusal)) });
        }
        if self.case.rests_stopped() {
            lines.push(self.objects(Mark::Objects, &Verdict::Stopped));
        }
        lines
    }

    /// Units that it needs and that are down, or about to be.
    pub fn down_parents(&self) -> impl Iterator<Item = &Parent> {
        self.case.down_parents()
    }

    fn states(&self) -> String {
        let states: Vec<&str> = self.case.context.policy.states.iter().map(|state| state.as_str()).collect();
        format!("heal.states is [{}]", states.join(", "))
    }

    pub(super) fn reason_of_giving_up(&self) -> &str {
        self.case.history.given_up.map(|given_up| given_up.reason.as_str()).unwrap_or_default()
    }

    /// Whether it was given up for an error that its file still has, which the rule about files says better.
    pub fn is_said_by_the_file(&self) -> bool {
        let file = self.case.state().and_then(|state| self.case.objection(Rule::File, state));
        matches!(file, Some(Verdict::Unrecoverable(why)) if why.to_string() == self.reason_of_giving_up())
    }

    /// How long it has been in its state, roughly.
    fn age(&self) -> Option<String> {
        let age = self.references.now.duration_since(self.case.seen.since?).ok()?;
        Some(roughly(age))
    }

    /// Since when it has been in its state; empty if unknown.
    fn moment(&self) -> String {
        self.case.seen.since.map(|since| exactly(since, self.references.now)).unwrap_or_default()
    }
}

fn found(says: &str, evidence: String) -> Line {
    Line { mark: Mark::Finding, says: says.to_owned(), evidence }
}

/// A refusal without the worker's name and the evidence, which stand beside it.
fn in_short(refusal: &Refusal) -> String {
    match refusal {
        Refusal::StopMarker => "everything was stopped on purpose".to_owned(),
        Refusal::WorkerPaused(_) => "it is paused in Lerd".to_owned(),
        Refusal::IdleSuspended(_) => "it sleeps until its site is used again".to_owned(),
        Refusal::Forbidden(_) => "workerheal has no permission to start it".to_owned(),
        refusal => refusal.to_string(),
    }
}

/// Joins the non-empty pieces of evidence.
fn listed(evidence: Vec<String>) -> String {
    let evidence: Vec<String> = evidence.into_iter().filter(|piece| !piece.is_empty()).collect();
    evidence.join(", ")
}

fn names<'a>(parents: impl Iterator<Item = &'a Parent>) -> String {
    let names: Vec<&str> = parents.map(|parent| parent.name.as_str()).collect();
    names.join(", ")
}

fn by_name() -> String {
    "asked for by name".to_owned()
}

fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

/// How its last run ended, to follow `it failed`.
fn cause(result: ServiceResult) -> &'static str {
    match result {
        ServiceResult::ExitCode => ": it ended with an error",
        ServiceResult::Signal => ": it was killed",
        ServiceResult::CoreDump => ": it crashed",
        ServiceResult::Timeout => ": it took too long",
        ServiceResult::Watchdog => ": it hung",
        ServiceResult::StartLimitHit => ": it was started too often",
        ServiceResult::OomKill => ": it ran out of memory",
        ServiceResult::Protocol => ": it ended before it was ready",
        ServiceResult::Resources => ": something it needs was missing",
        ServiceResult::ExecCondition | ServiceResult::Success | ServiceResult::Unknown => "",
    }
}

/// The last run with the beginning of its id, long enough to find it. Of a unit that it has unloaded, the manager no
/// longer knows the id.
fn last_run(run: &str) -> String {
    match run.get(..8).unwrap_or(run) {
        "" => "its last run".to_owned(),
        id => format!("its last run, {id}"),
    }
}
