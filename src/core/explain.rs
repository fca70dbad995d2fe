//! Why a worker is, or is not, being healed, in words.
//!
//! An [`Explanation`] is made of the very [`Case`] that the healer decides by: each [`Rule`] says what
//! it makes of it, with the evidence, and the first that objects is the reason. Nothing is decided
//! here.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::diagnosis::{Hopeless, Refusal, State};
use super::rules::{Case, Judgement, Rule, Verdict};
use super::units::{ActiveState, StopEvidence};

/// Where things stand that an explanation points to, and how late it is.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The registry's path.
    pub sites: String,
    /// Lines in the registry, from 1, of the keys of the worker's site.
    pub lines: BTreeMap<&'static str, usize>,
    /// The configuration's path.
    pub config: String,
    /// The stop marker's path.
    pub stop_marker: String,
    /// The beginning of a command to the service manager, such as `systemctl --user`.
    pub systemctl: &'static str,
    /// Now.
    pub now: SystemTime,
}

/// What speaks for a heal, or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing against it.
    Passes,
    /// This is the reason why it is not healed now.
    Decides,
    /// This would be a reason too.
    Objects,
    /// What is wrong with it, if anything.
    Finding,
}

/// One rule, and what it makes of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// For or against.
    pub mark: Mark,
    /// In words.
    pub says: String,
    /// What that is known from: property and value, file and line, time. May be empty.
    pub evidence: String,
}

/// Why a worker is, or is not, being healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Its site; empty if it has none.
    pub site: String,
    /// What it does there.
    pub worker: String,
    /// Its unit, without `.service`.
    pub unit: String,
    /// What is wrong with it, if anything.
    pub state: Option<State>,
    /// The answer in one sentence.
    pub summary: String,
    /// What was found, then each rule in the order of its weight.
    pub chain: Vec<Line>,
    /// What would change the answer.
    pub change: Vec<String>,
}

impl Case<'_> {
    /// What the rules make of the case, in words.
    #[must_use]
    pub fn explain(&self, sources: &Sources) -> Explanation {
        let Judgement { state, verdict } = self.judge();
        let words = Words { case: self, sources };
        let mut chain = vec![words.covered(), words.finding(state)];
        let mut change = Vec::new();
        let mut decided = false;
        for rule in Rule::ALL {
            let Some(state) = state else { break };
            let objection = self.objection(rule, state);
            let mark = match (&objection, decided) {
                (None, _) => Mark::Passes,
                (Some(_), false) => Mark::Decides,
                (Some(_), true) => Mark::Objects,
            };
            decided |= objection.is_some();
            let (says, evidence) = match &objection {
                Some(objection) => words.objects(rule, objection),
                None => words.passes(rule),
            };
            if let Some(objection) = objection {
                change.extend(words.remedies(&objection));
            }
            if !says.is_empty() {
                chain.push(Line { mark, says, evidence });
            }
        }
        if state.is_none() {
            change = words.ways_out_of_rest();
        }
        change.dedup();
        Explanation {
            site: self.worker.site.clone(),
            worker: self.worker.name.clone(),
            unit: self.unit.short().to_owned(),
            state,
            summary: words.summary(state, &verdict),
            chain,
            change,
        }
    }
}

/// Puts a case in words.
struct Words<'a> {
    case: &'a Case<'a>,
    sources: &'a Sources,
}

impl Words<'_> {
    /// `SITE/WORKER`, or the unit where there is no site.
    fn name(&self) -> String {
        match self.case.worker.site.as_str() {
            "" => self.case.unit.short().to_owned(),
            site => format!("{site}/{}", self.case.worker.name),
        }
    }

    fn unit(&self) -> &str {
        self.case.unit.short()
    }

    fn line(&self, key: &str) -> String {
        match self.sources.lines.get(key) {
            Some(line) => format!("{}:{line}", self.sources.sites),
            None => self.sources.sites.clone(),
        }
    }

    fn summary(&self, state: Option<State>, verdict: &Verdict) -> String {
        let name = self.name();
        let limit = self.case.orders.policy.give_up_after;
        let next = self.case.history.attempts + 1;
        let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        match (state, verdict) {
            (None, _) if self.case.seen.active.is_up() => format!("{name} is up and well."),
            (None, _) => format!("{name} is not healed, as nothing seems to be wrong with it."),
            (Some(_), Verdict::Well) => format!("{name} is well."),
            (Some(_), Verdict::Stopped) => format!("{name} is not healed: its user stopped it."),
            (Some(_), Verdict::Held(refusal)) => format!("{name} is not healed now: {refusal}."),
            (Some(_), Verdict::GivenUp) => {
                let why = self.case.history.given_up.map(|given_up| given_up.reason.as_str()).unwrap_or_default();
                format!("{name} is given up: {why}.")
            }
            (Some(_), Verdict::Hopeless(why)) => format!("{name} cannot be healed: {why}."),
            (Some(_), Verdict::Exhausted(attempts)) => format!("{name} is given up: {attempts} attempts failed."),
            (Some(_), Verdict::Wait(wait)) => format!("{name} is tried again in {} (attempt {next}{of}).", rounded(*wait)),
            (Some(state), Verdict::Start) => {
                format!("{name} is {state}, and nothing speaks against starting it (attempt {next}{of}).")
            }
            (Some(state), Verdict::Restart) => {
                format!("{name} is {state}, and nothing speaks against restarting it (attempt {next}{of}).")
            }
        }
    }

    fn covered(&self) -> Line {
        let worker = self.case.worker;
        let (says, evidence) = match (worker.site.as_str(), &worker.worktree) {
            ("", _) => ("it is watched over without a site".to_owned(), format!("also_watch in {}", self.sources.config)),
            (site, None) => (format!("it is the worker {} of the site {site}", worker.name), self.line("name")),
            (site, Some(worktree)) => (
                format!("it is the worker {} of the worktree {worktree} of the site {site}", worker.name),
                self.line("name"),
            ),
        };
        Line { mark: Mark::Finding, says, evidence }
    }

    fn finding(&self, state: Option<State>) -> Line {
        let seen = self.case.seen;
        let age = seen.since.and_then(|since| self.sources.now.duration_since(since).ok());
        let since = age.map(|age| format!(", for {}", rounded(age))).unwrap_or_default();
        let mut evidence = format!("ActiveState={}{since}", seen.active);
        let says = match state {
            Some(State::Failed) => {
                evidence.push_str(&format!(", Result={}", seen.result));
                "it has failed".to_owned()
            }
            Some(State::StartLimitHit) => {
                evidence.push_str(&format!(", Result={}, Restart={}", seen.result, seen.restart));
                "it has failed so often that the service manager will not restart it again".to_owned()
            }
            Some(State::ExpectedButStopped) => {
                evidence.push_str(", UnitFileState=enabled");
                "it is down, though it is enabled and nobody stopped it".to_owned()
            }
            Some(State::Unreachable) => {
                evidence.push_str(&format!(", refused at {}", self.case.history.refuses.unwrap_or("its address")));
                "it is up, but does not answer its health probe".to_owned()
            }
            Some(State::CrashLooping) => {
                let restarts = seen.restarts.map_or(0, |restarts| restarts.count);
                evidence.push_str(&format!(", NRestarts={restarts}"));
                "it crashes again and again".to_owned()
            }
            Some(State::Orphaned) => "it is down, and its directory is gone".to_owned(),
            None => self.rests(),
        };
        Line { mark: Mark::Finding, says, evidence }
    }

    /// Why it does not count as ill.
    fn rests(&self) -> String {
        let seen = self.case.seen;
        match seen.active {
            active if active.is_up() => "it is up".to_owned(),
            ActiveState::Activating if seen.auto_restart => {
                "it has died, and the service manager is about to restart it".to_owned()
            }
            ActiveState::Activating => "it is on its way up".to_owned(),
            ActiveState::Deactivating => "it is on its way down".to_owned(),
            ActiveState::Inactive => {
                let why = match (seen.file, &seen.stop) {
                    (Some(file), _) if !file.enabled => "it is not enabled",
                    (Some(file), _) if file.on_demand => "something else decides when it runs",
                    _ if seen.oneshot => "its work is done once it has ended",
                    (_, Some(StopEvidence::Unknown(_))) => "it is not known whether somebody stopped it",
                    _ => "it ended without error",
                };
                format!("it is down without having failed: {why}")
            }
            _ => "its state says nothing clear".to_owned(),
        }
    }

    fn passes(&self, rule: Rule) -> (String, String) {
        let (case, history) = (self.case, &self.case.history);
        let none = || (String::new(), String::new());
        let said = |says: &str, evidence: String| (says.to_owned(), evidence);
        match rule {
            Rule::Stop if case.was_taken_along() => {
                said("its stop was meant for a unit that it needs", "it came with the stop of that unit".to_owned())
            }
            Rule::Stop => match (&case.seen.stop, &case.seen.run) {
                (Some(StopEvidence::NotRequested), Some(run)) => {
                    said("nobody asked for its stop", format!("no stop job in the journal of run {}", short(run)))
                }
                (Some(StopEvidence::Requested), _) => {
                    said("its user stopped it, but wants it healed now", "asked for by name".to_owned())
                }
                (Some(StopEvidence::Unknown(_)), _) => none(),
                (None | Some(StopEvidence::NotRequested), _) => {
                    said("nobody asked for its stop", "it was seen to go down without a stop job".to_owned())
                }
            },
            Rule::Marker => said("not everything was stopped", format!("there is no {}", self.sources.stop_marker)),
            Rule::Pause => said("nobody has paused healing of it", String::new()),
            Rule::Registry if case.worker.site.is_empty() => none(),
            Rule::Registry => said("the registry does not pause it", self.line("name")),
            Rule::GivenUp if history.given_up.is_some() => {
                said("it was given up, but has changed since", "its unit's file or its last run is another".to_owned())
            }
            Rule::GivenUp => none(),
            Rule::File => said("its unit's file is in order", format!("LoadState={}", case.seen.load)),
            Rule::Enabled => match case.seen.file {
                Some(file) if file.enabled => said("it is enabled", "UnitFileState=enabled".to_owned()),
                Some(_) => said("it was not enabled before it failed either", "UnitFileState is not enabled".to_owned()),
                None => none(),
            },
            Rule::Job => said("nobody else is doing something with it", "no Job".to_owned()),
            Rule::Manager => none(),
            Rule::Directory => match &case.seen.working_directory {
                Some(directory) => said("its directory is there", format!("WorkingDirectory={}", directory.display())),
                None => none(),
            },
            Rule::Parents => match case.seen.parents.as_slice() {
                [] => none(),
                parents => {
                    let names: Vec<&str> = parents.iter().map(|parent| parent.name.as_str()).collect();
                    said("what it needs is up", names.join(", "))
                }
            },
            Rule::Doubt => none(),
            Rule::States => said("its state is one that is healed", self.states()),
            Rule::Attempts => {
                let limit = case.orders.policy.give_up_after;
                let limit = limit.map_or_else(|| "never given up".to_owned(), |limit| format!("given up after {limit}"));
                said("attempts are left", format!("{} made so far, {limit}", history.attempts))
            }
            Rule::Backoff => said("no wait is left", String::new()),
        }
    }

    fn states(&self) -> String {
        let states: Vec<&str> = self.case.orders.policy.states.iter().map(|state| state.as_str()).collect();
        format!("heal.states is [{}]", states.join(", "))
    }

    fn objects(&self, rule: Rule, objection: &Verdict) -> (String, String) {
        let case = self.case;
        let evidence = match (rule, objection) {
            (Rule::Stop, _) => match (&case.seen.stop, &case.seen.run) {
                (Some(StopEvidence::Requested), Some(run)) => {
                    format!("a stop job (JOB_TYPE=stop) in the journal of run {}", short(run))
                }
                _ => "its stop job was seen".to_owned(),
            },
            (Rule::Marker, _) => format!("{} exists", self.sources.stop_marker),
            (Rule::Pause, Verdict::Held(Refusal::Paused(pause))) => match pause.until {
                Some(_) => "until the time that was given".to_owned(),
                None => "until somebody resumes it".to_owned(),
            },
            (Rule::Registry, Verdict::Held(Refusal::SitePaused(_))) => format!("{} paused: true", self.line("paused")),
            (Rule::Registry, Verdict::Held(Refusal::WorkerPaused(_))) => {
                format!("{} paused_workers", self.line("paused_workers"))
            }
            (Rule::Registry, Verdict::Held(Refusal::IdleSuspended(worker))) => {
                let key = if worker.worktree.is_some() { "worktree_idle_suspended" } else { "idle_suspended_workers" };
                format!("{} {key}", self.line(key))
            }
            (Rule::GivenUp, _) => "its unit's file and its last run are the same as then".to_owned(),
            (Rule::File, _) => format!("LoadState={}", case.seen.load),
            (Rule::Enabled, _) => "UnitFileState was enabled when it failed, and is not now".to_owned(),
            (Rule::Job, _) => "Job is set".to_owned(),
            (Rule::Manager, _) => format!("Restart={}", case.seen.restart),
            (Rule::Directory, _) => "ENOENT".to_owned(),
            (Rule::Parents, Verdict::Held(Refusal::ParentDown(parent))) => format!("ActiveState={}", parent.active),
            (Rule::States, _) => self.states(),
            (Rule::Attempts, _) => format!("heal.give_up_after in {}", self.sources.config),
            (Rule::Backoff, _) => format!("heal.backoff in {}", self.sources.config),
            (Rule::Pause | Rule::Registry | Rule::Parents | Rule::Doubt, _) => String::new(),
        };
        let says = match objection {
            Verdict::Stopped => "its user stopped it".to_owned(),
            Verdict::Held(refusal) => refusal.to_string(),
            Verdict::GivenUp => {
                let why = case.history.given_up.map(|given_up| given_up.reason.as_str()).unwrap_or_default();
                format!("it was given up: {why}")
            }
            Verdict::Hopeless(why) => why.to_string(),
            Verdict::Exhausted(attempts) => format!("{attempts} attempts have failed"),
            Verdict::Wait(wait) => format!("the next attempt is due in {}", rounded(*wait)),
            Verdict::Well | Verdict::Start | Verdict::Restart => String::new(),
        };
        (says, evidence)
    }

    /// What would take an objection away.
    fn remedies(&self, objection: &Verdict) -> Vec<String> {
        let (unit, name, systemctl) = (self.unit(), self.name(), self.sources.systemctl);
        let heal = format!("heal it by hand: workerheal heal {name}");
        match objection {
            Verdict::Stopped => vec![format!("start it: {systemctl} start {unit}"), heal],
            Verdict::GivenUp | Verdict::Exhausted(_) => vec![
                heal,
                "change its unit's file, or its site's entry in the registry".to_owned(),
                format!("start it: {systemctl} start {unit}"),
            ],
            Verdict::Hopeless(Hopeless::NotFound) => vec!["write its unit's file again, and reload".to_owned()],
            Verdict::Hopeless(_) => {
                vec![format!("mend its unit's file: {systemctl} status {unit} says what is wrong with it")]
            }
            Verdict::Wait(_) => vec![format!("try it at once: workerheal heal {name}")],
            Verdict::Held(refusal) => match refusal {
                Refusal::StopMarker => vec![format!("start Lerd again, which removes {}", self.sources.stop_marker)],
                Refusal::Paused(_) => vec![format!("workerheal resume {name}, or whatever was paused with it")],
                Refusal::SitePaused(site) => vec![format!("resume the site {site} in Lerd")],
                Refusal::WorkerPaused(worker) => vec![format!("start the worker {} of {} in Lerd", worker.name, worker.site)],
                Refusal::IdleSuspended(worker) => vec![format!("use the site {}", worker.site)],
                Refusal::Masked => vec![format!("{systemctl} unmask {unit}")],
                Refusal::Disabled => vec![format!("{systemctl} enable {unit}"), heal],
                Refusal::JobPending => vec!["the end of that job".to_owned()],
                Refusal::ParentDown(parent) => vec![format!("start what it needs: {systemctl} start {}", parent.name)],
                Refusal::StopUnknown(_) => vec![format!("start it: {systemctl} start {unit}"), heal],
                Refusal::CrashLooping(_) => vec![
                    "mend what makes it crash: its last log line may tell".to_owned(),
                    format!("stop it: {systemctl} stop {unit}"),
                ],
                Refusal::DirectoryGone(path) => vec![
                    format!("bring back {}", path.display()),
                    format!("or have the unit removed: {systemctl} disable {unit}"),
                ],
                Refusal::StateNotHealed(state) => {
                    vec![format!("add {state} to heal.states in {}", self.sources.config), heal]
                }
                Refusal::Declined(_) => vec!["the end of what the service manager names".to_owned()],
                Refusal::Unreadable(_) => vec!["an answer of the service manager".to_owned()],
            },
            Verdict::Well | Verdict::Start | Verdict::Restart => Vec::new(),
        }
    }

    /// What a person can do with a worker that is not ill.
    fn ways_out_of_rest(&self) -> Vec<String> {
        if self.case.seen.active == ActiveState::Inactive {
            return vec![format!("start it: {} start {}", self.sources.systemctl, self.unit())];
        }
        Vec::new()
    }
}

/// The beginning of a run's id, enough to find it by.
fn short(run: &str) -> &str {
    run.get(..8).unwrap_or(run)
}

/// A time as people say it: `850ms`, `12s`, `4m 16s`, `3h 5m`.
fn rounded(time: Duration) -> String {
    let seconds = match time.as_secs() {
        0 => return format!("{}ms", time.as_millis()),
        seconds @ ..3600 => seconds,
        seconds => seconds - seconds % 60,
    };
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
