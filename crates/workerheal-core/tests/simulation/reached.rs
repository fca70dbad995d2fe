//! What a run has reached: facts by phase, reasons to hold, and reasons to give up.
//!
//! A case that is never reached proves nothing about the healer: either it cannot happen, or the world is too small for
//! it. Each such case is listed here with the reason.

use std::collections::{BTreeSet, HashSet};

use workerheal_core::healer::{Fact, Healer, Outcome, Purpose};
use workerheal_core::units::{ActiveState, UnitName};

/// The phases of the healer, and none.
const PHASES: [&str; 13] = [
    "well",
    "due",
    "inspecting",
    "waiting",
    "held",
    "starting",
    "proving",
    "verifying",
    "cancelled",
    "stopped",
    "off",
    "gave-up",
    "resting",
];
/// The facts that are about one unit.
const FACTS: [&str; 17] = [
    "up",
    "rising",
    "settling",
    "down",
    "failed",
    "with a job",
    "inspected",
    "proof",
    "baseline",
    "recheck",
    "uptime",
    "done",
    "not done",
    "refused",
    "stop reported",
    "kept from starting",
    "heal",
];
/// Reasons to hold, as the variants are called.
const REFUSALS: [&str; 20] = [
    "StopMarker",
    "Paused",
    "SitePaused",
    "WorkerPaused",
    "IdleSuspended",
    "Masked",
    "Disabled",
    "JobPending",
    "ParentDown",
    "ConflictUp",
    "LeftToTrigger",
    "OneshotEnded",
    "Stuck",
    "StopUnknown",
    "CrashLooping",
    "DirectoryGone",
    "StateNotHealed",
    "Declined",
    "Forbidden",
    "Unreadable",
];
/// Reasons to give up, by their first words.
const GIVEN_UP: [&str; 5] = [
    "the unit has no file",
    "the unit's file has a setting",
    "its unit forbids a restart",
    "its unit refuses to be started by hand",
    "1 attempt failed",
];

/// A cell that ten thousand days need not reach, and why: it cannot be reached, it takes more days, or the world does
/// not have it yet. `*` is any phase.
const NOT_DEMANDED: [(&str, &str); 16] = [
    ("* inspected", "an answer is taken in the phase that asked for it"),
    ("* proof", "an answer is taken in the phase that asked for it"),
    ("* recheck", "an answer is taken in the phase that asked for it"),
    ("* uptime", "an answer is taken in the phase that asked for it"),
    ("* baseline", "an answer is taken in the phase that asked for it"),
    ("* done", "only a start that is under way ends"),
    ("* not done", "only a start that is under way ends"),
    ("* refused", "only a start that is under way ends"),
    ("waiting heal", "few people heal a worker in the seconds for which it waits"),
    ("waiting kept from starting", "a person starts it in the seconds for which it waits, and what it needs fails"),
    ("starting kept from starting", "the same, in the milliseconds in which our own start is under way"),
    ("verifying kept from starting", "the same, in the millisecond in which an inspection is answered"),
    ("due kept from starting", "the same, while it waits for its turn among workers that are started"),
    ("cancelled kept from starting", "the same, in the moment in which our start is cancelled"),
    ("refusal Declined", "a unit that a worker needs loses its file in the milliseconds before the worker is started"),
    (
        "refusal LeftToTrigger",
        "a oneshot with a timer is not enabled, and its failure is recognized by this in few lives only",
    ),
];

/// What was reached, as lines of text.
#[derive(Debug, Default, Clone)]
pub struct Reached {
    /// Phases, and the facts that were observed in them.
    cells: HashSet<(&'static str, &'static str)>,
    /// Refusals and reasons to give up.
    verdicts: BTreeSet<String>,
}

impl Reached {
    /// Notes a fact that the healer is about to take in.
    pub fn note(&mut self, healer: &Healer, fact: &Fact) {
        let Some((unit, what)) = about(fact) else { return };
        let phase = healer.phase_of(unit).unwrap_or("well");
        self.cells.extend(what.into_iter().flatten().map(|what| (phase, what)));
    }

    /// Notes why a unit is held, if it is.
    pub fn note_refusal(&mut self, healer: &Healer, unit: &UnitName) {
        if let Some(refusal) = healer.held_for(unit) {
            let text = format!("{refusal:?}");
            let name = text.split(['(', ' ']).next().unwrap_or_default().to_owned();
            self.verdicts.insert(format!("refusal {name}"));
        }
    }

    /// Notes why a unit is given up.
    pub fn note_give_up(&mut self, reason: &str) {
        if let Some(known) = GIVEN_UP.iter().find(|known| reason.starts_with(**known)) {
            self.verdicts.insert(format!("given up: {known}"));
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.cells.extend(other.cells);
        self.verdicts.extend(other.verdicts);
    }

    /// What should have been reached and was not, and what was, as a table of phases and facts.
    pub fn summary(&self) -> (Vec<String>, String) {
        let cells = PHASES.iter().flat_map(|phase| FACTS.iter().map(move |fact| (*phase, *fact)));
        let cells = cells.filter(|cell| !self.cells.contains(cell)).map(|(phase, fact)| format!("{phase} {fact}"));
        let refusals = REFUSALS.iter().map(|name| format!("refusal {name}"));
        let reasons = GIVEN_UP.iter().map(|reason| format!("given up: {reason}"));
        let verdicts = refusals.chain(reasons).filter(|line| !self.verdicts.contains(line));
        let never = cells.chain(verdicts);
        let mut table = String::new();
        for fact in FACTS {
            let reached: Vec<&str> = PHASES.into_iter().filter(|phase| self.cells.contains(&(*phase, fact))).collect();
            table.push_str(&format!("  {fact}: {}\n", reached.join(", ")));
        }
        (never.filter(|line| !is_not_demanded(line)).collect(), table)
    }
}

fn is_not_demanded(line: &str) -> bool {
    NOT_DEMANDED.iter().any(|(cell, _)| match cell.strip_prefix("* ") {
        Some(fact) => line.strip_suffix(fact).is_some_and(|phase| PHASES.contains(&phase.trim_end())),
        None => line == *cell,
    })
}

fn about(fact: &Fact) -> Option<(&UnitName, [Option<&'static str>; 2])> {
    let (unit, what) = match fact {
        Fact::Changed(status) => {
            let what = match status.active {
                ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing => "up",
                ActiveState::Activating => "rising",
                ActiveState::Failed => "failed",
                ActiveState::Inactive => "down",
                _ => "settling",
            };
            return Some((&status.name, [Some(what), status.has_job.then_some("with a job")]));
        }
        Fact::Inspected(unit, id, _) => {
            let what = match id.purpose {
                Purpose::Attempt => "inspected",
                Purpose::Proof => "proof",
                Purpose::Baseline => "baseline",
                Purpose::Recheck => "recheck",
                Purpose::Uptime => "uptime",
                #[expect(unreachable_patterns, reason = "other purposes concern no unhealthy worker")]
                _ => return None,
            };
            (unit, what)
        }
        Fact::Finished(unit, Outcome::Done) => (unit, "done"),
        Fact::Finished(unit, Outcome::Refused(..)) => (unit, "refused"),
        Fact::Finished(unit, _) => (unit, "not done"),
        Fact::JobDone(unit) => (unit, "stop reported"),
        Fact::KeptFromStarting(unit) => (unit, "kept from starting"),
        Fact::Heal(units) => (units.first()?, "heal"),
        _ => return None,
    };
    Some((unit, [Some(what), None]))
}
