//! Why a worker is, or is not, being healed, in words.
//!
//! An [`Explanation`] is made of the very [`Case`] that the healer decides by: each [`Rule`] says what
//! it makes of it, with the evidence, and the first that objects is the reason. Nothing is decided
//! here; only what a rule has to say that matters for this worker is told. The sentences are in
//! [`wording`], what a person can do in [`remedies`], by which [`commands`], why a worker does not count as ill in [`rest`],
//! and times in [`times`].

pub mod rest;

mod commands;
mod remedies;
pub mod times;
mod wording;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use self::commands::{Commands, LaunchdJob, Manager};
use self::wording::Wording;
use super::diagnosis::{Refusal, State};
use super::rules::{Case, Judgement, Rule, Verdict};
use super::time::Timestamp;

/// Where things stand that an explanation points to, and how late it is.
#[derive(Debug, Clone)]
pub struct References {
    /// The registry's path.
    pub sites: String,
    /// Lines in the registry, from 1, of the keys of the worker's site.
    pub lines: BTreeMap<&'static str, usize>,
    /// The configuration's path.
    pub config: String,
    /// The stop marker's path.
    pub stop_marker: String,
    /// Commands to the same manager.
    pub commands: Commands,
    /// Now, as people say it.
    pub now: SystemTime,
    /// Now, by the clock that the ends of pauses are told by.
    pub clock: Timestamp,
}

/// What speaks for a heal, or against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// For or against.
    pub mark: Mark,
    /// In words.
    pub says: String,
    /// What that is known from: property and value, file and line, time. May be empty.
    pub evidence: String,
}

/// Why a worker is, or is not, being healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its site; empty if it has none.
    pub site: String,
    /// What it does there.
    pub worker: String,
    /// The git worktree that it serves, if it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Its unit, without `.service`.
    pub unit: String,
    /// What is wrong with it, if anything.
    pub state: Option<State>,
    /// The answer in one sentence.
    pub summary: String,
    /// What was found, then each rule that has something to say, in the order of its weight.
    pub chain: Vec<Line>,
    /// What would change the answer: steps to be taken in this order, `or ..` where there is a choice.
    pub change: Vec<String>,
    /// The command that shows its log.
    pub log: String,
}

impl Case<'_> {
    /// What the rules make of the case, in words.
    #[must_use]
    pub fn explain(&self, references: &References) -> Explanation {
        let Judgement { state, verdict } = self.judge();
        let wording = Wording { case: self, references };
        let objections = state.map(|state| self.objections(state)).unwrap_or_default();
        let mut chain = vec![wording.covered()];
        chain.extend(match state {
            Some(state) => vec![wording.finding(state)],
            None => wording.rests(&self.rest()),
        });
        for rule in Rule::ALL {
            let Some(state) = state else { break };
            let line = match objections.iter().find(|(objecting, _)| *objecting == rule) {
                Some(_) if is_an_echo(rule, &objections) => None,
                Some((_, objection)) => {
                    let decides = objections.first().is_some_and(|(first, _)| *first == rule);
                    let mark = if decides { Mark::Decides } else { Mark::Objects };
                    Some(wording.objects(mark, objection))
                }
                None => wording.passes(rule, state, &objections),
            };
            chain.extend(line);
        }
        let change = match state {
            Some(_) => wording.remedies(&objections),
            None => wording.ways_out_of_rest(&self.rest()),
        };
        Explanation {
            site: self.worker.site.clone(),
            worker: self.worker.name.clone(),
            worktree: self.worker.worktree.clone(),
            unit: self.unit.short().to_owned(),
            state,
            summary: wording.summary(state, &verdict),
            chain,
            change,
            log: wording.log(),
        }
    }

    /// All that the rules have against healing it now, the weightiest first.
    fn objections(&self, state: State) -> Vec<Objection> {
        Rule::ALL.into_iter().filter_map(|rule| Some((rule, self.objection(rule, state)?))).collect()
    }

    /// What people have said against having it up.
    fn intent(&self) -> Option<Refusal> {
        self.context.intent_against(self.unit, self.worker)
    }
}

/// A rule, and what it has against a heal.
type Objection = (Rule, Verdict);

/// Whether an objection only follows from a weightier one, and would be told twice.
fn is_an_echo(rule: Rule, objections: &[Objection]) -> bool {
    let objects = |weightier| objections.iter().any(|(rule, _)| *rule == weightier);
    match rule {
        // The manager's own restart is a job, and nobody configures that such a worker be started.
        Rule::Job => objects(Rule::Manager) || objects(Rule::Stuck),
        // It was given up for just that.
        Rule::Prevented => objects(Rule::GivenUp),
        // Nor that what was stopped be started.
        Rule::States => [Rule::Stop, Rule::Manager, Rule::Directory, Rule::Stuck, Rule::Once].into_iter().any(objects),
        // What was given up is not waiting for anything.
        Rule::Attempts => objects(Rule::GivenUp),
        Rule::Backoff => objects(Rule::GivenUp) || objects(Rule::Attempts) || objects(Rule::Manager),
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
