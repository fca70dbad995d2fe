//! Why a worker is, or is not, being healed, in words.
//!
//! An [`Explanation`] is made from the same [`Case`] that the healer decides by: each [`Rule`] says what it makes of
//! it, with the evidence, and the first objection is the reason. Nothing is decided here; rules that do not matter for
//! this worker are left out. The sentences are in [`wording`], what you can do in [`remedies`], the commands for that
//! in [`commands`], why a worker counts as healthy in [`rest`], and times in [`times`].

pub mod rest;

mod commands;
mod remedies;
pub mod times;
mod wording;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use self::commands::{Commands, LaunchdJob, Manager, quoted};
use self::wording::Wording;
use super::diagnosis::{Refusal, State};
use super::rules::{Case, Judgement, Rule, Verdict};
use super::time::Timestamp;
use super::units::UnitName;

/// What an explanation refers to: paths, commands, and the current time.
#[derive(Debug, Clone)]
pub struct References {
    /// The registry's path.
    pub sites: String,
    /// The configuration's path.
    pub config: String,
    /// The stop marker's path.
    pub stop_marker: String,
    /// Commands to the worker's service manager.
    pub commands: Commands,
    /// Whether a daemon is running that would heal the worker.
    pub daemon_runs: bool,
    /// The current time.
    pub now: SystemTime,
    /// The current time by the clock of pauses.
    pub clock: Timestamp,
}

/// What a line of an explanation says about healing the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// No objection.
    Passes,
    /// This is why it is not healed now.
    Decides,
    /// A further reason not to heal it.
    Objects,
    /// What is wrong with it.
    Finding,
}

/// One rule's result for the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// For or against a heal.
    pub mark: Mark,
    /// The result as a sentence.
    pub says: String,
    /// The evidence: property and value, file and line, time. May be empty.
    pub evidence: String,
}

/// Why a worker is, or is not, being healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its site; empty if it has none.
    pub site: String,
    /// What it does there.
    pub worker: String,
    /// Its git worktree, if it does not run in the site's main checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Its unit; in JSON without `.service`.
    pub unit: UnitName,
    /// What is wrong with it, if anything.
    pub state: Option<State>,
    /// The answer in one sentence.
    pub summary: String,
    /// What was found, then each rule that matters for it, by priority.
    pub chain: Vec<Line>,
    /// What you can do about it, as steps in this order; `or ..` begins an alternative.
    pub change: Vec<String>,
    /// The command that shows its log.
    pub log: String,
}

impl Case<'_> {
    /// Explains the case.
    #[must_use]
    pub fn explain(&self, references: &References) -> Explanation {
        let Judgement { state, mut verdict } = self.judge();
        let forbidden = self.history.forbidden.filter(|_| matches!(verdict, Verdict::Start | Verdict::Restart));
        let wording = Wording { case: self, references };
        let objections = state.map(|state| self.objections(state)).unwrap_or_default();
        let mut chain = vec![wording.covered()];
        chain.extend(match state {
            Some(state) => vec![wording.finding(state)],
            None => wording.rests(&self.rest()),
        });
        // Of a worker that is down, the summary says it.
        let is_up = state.is_none() && matches!(self.rest(), rest::Rest::Up);
        let intent = self.intent().filter(|_| is_up).map(Verdict::Held);
        chain.extend(intent.as_ref().map(|intent| wording.objects(Mark::Objects, intent)));
        let is_given_up = objections.iter().any(|(rule, _)| *rule == Rule::GivenUp);
        for rule in Rule::ALL {
            let Some(state) = state else { break };
            let line = match objections.iter().find(|(objecting, _)| *objecting == rule) {
                Some(_) if is_an_echo(rule, &objections) => None,
                // The line about the give-up says it.
                Some(_) if rule == Rule::File && is_given_up && wording.is_said_by_the_file() => None,
                Some((_, objection)) => {
                    let decides = objections.first().is_some_and(|(first, _)| *first == rule);
                    let mark = if decides { Mark::Decides } else { Mark::Objects };
                    Some(wording.objects(mark, objection))
                }
                None => wording.passes(rule, state, &objections),
            };
            chain.extend(line);
        }
        if let Some(why) = forbidden {
            verdict = Verdict::Held(Refusal::Forbidden(why.to_owned()));
            chain.push(wording.objects(Mark::Decides, &verdict));
        }
        let change = match state {
            Some(_) if forbidden.is_some() => wording.remedy(&verdict),
            Some(_) => wording.remedies(&objections),
            None => wording.ways_out_of_rest(&self.rest()),
        };
        Explanation {
            site: self.worker.site.clone(),
            worker: self.worker.name.clone(),
            worktree: self.worker.worktree.clone(),
            unit: self.unit.clone(),
            state,
            summary: wording.summary(state, &verdict),
            chain,
            change,
            log: wording.log(),
        }
    }

    /// All objections to healing it now, by priority.
    fn objections(&self, state: State) -> Vec<Objection> {
        Rule::ALL.into_iter().filter_map(|rule| Some((rule, self.objection(rule, state)?))).collect()
    }

    /// The pause, stop marker or registry entry that rules out having it up, if any.
    fn intent(&self) -> Option<Refusal> {
        self.context.intent_against(self.unit, self.worker)
    }
}

/// A rule and its objection.
type Objection = (Rule, Verdict);

/// Whether an objection only follows from another one with higher priority, and need not be repeated.
fn is_an_echo(rule: Rule, objections: &[Objection]) -> bool {
    let objects = |weightier| objections.iter().any(|(rule, _)| *rule == weightier);
    match rule {
        // The manager's own restart is a job, and such a worker is never configured to be started.
        Rule::Job => objects(Rule::Manager) || objects(Rule::Stuck),
        // It was given up for that reason.
        Rule::Prevented => objects(Rule::GivenUp),
        // Nor is a stopped worker configured to be started.
        Rule::States => [Rule::Stop, Rule::Manager, Rule::Directory, Rule::Stuck, Rule::Once].into_iter().any(objects),
        // A worker that was given up waits for nothing.
        Rule::Attempts => objects(Rule::GivenUp),
        // What is not to be started waits for no attempt.
        Rule::Backoff => {
            let lasting = [Rule::GivenUp, Rule::Attempts, Rule::Manager, Rule::Stop, Rule::Marker, Rule::Pause];
            lasting.into_iter().any(objects) || objects(Rule::Registry) || objects(Rule::Enabled)
        }
        Rule::Stop
        | Rule::Marker
        | Rule::Pause
        | Rule::Registry
        | Rule::GivenUp
        | Rule::File
        | Rule::Manager
        | Rule::Enabled
        | Rule::Directory
        | Rule::Stuck
        | Rule::Conflicts
        | Rule::Parents
        | Rule::Once
        | Rule::Doubt => false,
    }
}
