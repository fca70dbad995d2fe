//! The healer: a state machine that takes facts and the time, and returns actions.
//!
//! It performs nothing itself. The daemon turns what happens into [`Fact`]s, calls [`Healer::observe`], and performs
//! the [`Action`]s; the command line drives the same machine for a batch; tests drive it without waiting. The phases of
//! an incident:
//!
//! ```text
//!             fails                is unhealthy                  job done             stable_after
//!   well ───────────► due ─► inspecting ───────► starting ─────────────► proving ─► verifying ─► resting
//!     ▲                ▲        │                    │                    ▲ │           │           │
//!     │                │        ├─ needs something ► held ─ has passed ► due│           │           │
//!     │                │        ├─ stopped on request ► stopped           │ │           │           │
//!     │                │        ├─ backoff ► waiting ── comes up without us ┤           │           │
//!     │                │        └─ cannot help, or too many attempts ► gave up          │           │
//!     │                └──────────────── fails again ◄──────────────────────┴───────────┘           │
//!     └──────────────────────────── up for reset_after: attempts forgotten ◄────────────────────────┘
//! ```
//!
//! How a worker comes up makes one difference only: a worker that we started is `healed`, one that a person or the
//! service manager started is `recovered`, both once they have stayed up for `stable_after`. Until then attempts and
//! give-ups stand. While the manager restarts a worker automatically it stays in `proving`.
//!
//! In every phase a person can stop the worker (`stopped`), or it can cease to be covered. The short-lived phase
//! `cancelled` waits for what becomes of the unit when another client's job replaced our start. A worker that was
//! inspected because it is down without having failed, and should be down, is `off`.
//!
//! An inspection precedes each attempt, so that a mask, a stop or a pending job of the last instant is respected;
//! another one ends it, so that a worker that died and was restarted in between does not count as healed. The
//! [rules](super::rules) judge the result of an inspection; this module draws the consequences.
//!
//! Everything is level-triggered: [`Fact::Changed`] makes the healer fast, the next [`Fact::NotActive`] or
//! [`Fact::Units`] leads to the same decisions if every change was missed, and workers that are left alone are inspected
//! from time to time. A signal is never proof that a worker was not stopped: that takes its timestamps, or the journal.
//!
//! - [`interface`]: the facts and the actions.
//! - [`transitions`]: what each phase makes of each fact; start reading here.
//! - [`requests`]: what a person requests.
//! - [`updates`]: what lists, signals and new files mean for all workers.
//! - [`inspection`]: the inspection before every attempt, and what follows from its result.
//! - [`attempts`]: how an attempt begins, and how it ends.
//! - [`decisions`]: to begin, to wait, to hold, to leave alone.
//! - [`primitives`]: the few functions that change state.
//! - [`refusals`]: how a worker that is held gets another inspection.
//! - [`monitoring`]: health probes, and repeated inspections of workers that are left alone.
//! - [`groups`]: workers that wait for the same unit.
//! - [`persistence`]: what survives a restart.
//! - [`locate`]: locations of units, and directories that vanish.
//! - [`unit`](mod@unit): what is known about one unit, healthy or not.
//! - [`report`]: the state of all workers, on request.
//! - [`incident`]: the phases, and what is known about one incident.

mod attempts;
mod decisions;
mod groups;
mod incident;
mod inspection;
mod interface;
mod locate;
mod monitoring;
mod persistence;
mod primitives;
mod refusals;
mod report;
mod requests;
mod transitions;
mod unit;
mod updates;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::context::Context;
use super::diagnosis::Refusal;
use super::explain::{Explanation, References};
use super::selector::Resolution;
use super::units::{Inspection, UnitName};
use groups::Group;
use incident::{Incident, Phase};
use locate::Unlocated;
use unit::{Unit, UnitCondition};

pub use super::time::Timestamp;
pub use interface::{Action, Fact, InspectionId, Outcome, Purpose};
pub use locate::Located;

/// Whether the healer acts on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It heals failures automatically: the daemon.
    Automatic,
    /// It heals only what [`Fact::Heal`] names, with one attempt each: the command line.
    OnRequest,
    /// It judges as the daemon would, to find out which workers are unhealthy. Its starts are not performed.
    Inquiry,
}

/// The number of workers in each condition, for the status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Covered workers that are loaded.
    pub workers: usize,
    /// Workers that are being started or proven.
    pub healing: usize,
    /// Workers that wait for their next attempt.
    pub waiting: usize,
    /// Workers that wait for something else.
    pub held: usize,
    /// Workers that were given up.
    pub gave_up: usize,
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Healer {
    mode: Mode,
    /// Only facts change it.
    context: Context,
    /// Source of jitter, passed in so that a run can be repeated.
    random: fastrand::Rng,
    /// Until the first list, nothing is known to act on.
    frozen: bool,
    /// Boxed, as the table has up to twice as many places as units.
    units: HashMap<UnitName, Box<Unit>>,
    /// Incidents of workers that are unhealthy, or were lately. Ordered, so that the same facts lead to the same
    /// actions.
    incidents: BTreeMap<UnitName, Incident>,
    timers: BTreeSet<(Timestamp, UnitName)>,
    /// Workers in [`Phase::Due`], in order; an entry whose worker has moved on is skipped.
    queue: VecDeque<UnitName>,
    /// Workers in [`Phase::Inspecting`] and [`Phase::Starting`]: at most `max_concurrent`.
    in_flight: usize,
    /// Workers that wait for a unit, by its name.
    groups: HashMap<String, Group>,
    /// When to report groups.
    summaries: BTreeSet<(Timestamp, String)>,
    /// The number of the last inspection.
    ticket: u32,
    /// The state to be saved may have changed.
    saved_state_changed: bool,
    unlocated: Unlocated,
    /// The given-up worker that was rechecked last.
    last_rechecked: Option<UnitName>,
    /// Actions for the current fact.
    actions: Vec<Action>,
}

impl Healer {
    /// A healer that knows the settings, and no unit. It acts from the first [`Fact::Units`] on.
    #[must_use]
    pub fn new(mode: Mode, context: Context, random: fastrand::Rng) -> Self {
        Self {
            mode,
            context,
            random,
            frozen: true,
            units: HashMap::new(),
            incidents: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            in_flight: 0,
            groups: HashMap::new(),
            summaries: BTreeSet::new(),
            ticket: 0,
            saved_state_changed: false,
            unlocated: Unlocated::None,
            last_rechecked: None,
            actions: Vec::new(),
        }
    }

    /// Processes a fact and returns the actions for it, in order.
    #[must_use = "the actions have to be performed"]
    pub fn observe(&mut self, now: Timestamp, fact: Fact) -> Vec<Action> {
        match fact {
            Fact::Units(list) => self.listed(now, list),
            Fact::NotActive(list) => self.listed_not_active(now, list),
            Fact::Changed(status) => self.changed(now, status),
            Fact::Frozen => self.frozen = true,
            Fact::Inspected(unit, id, result) => self.inspected(now, &unit, id, result),
            Fact::Finished(unit, outcome) => self.finished(now, &unit, outcome),
            Fact::JobDone(unit) => self.foreign_job_done(now, &unit),
            Fact::JobCancelled(unit) => self.foreign_job_cancelled(&unit),
            Fact::StopOverridden(unit) => self.stop_overtaken(&unit),
            Fact::KeptFromStarting(unit) => self.kept_from_starting(now, &unit),
            Fact::FailedSockets(units) => self.sockets_failed(now, &units),
            Fact::Registry(registry) => self.registry_changed(now, registry),
            Fact::StopMarker(exists) => {
                self.context.stop_marker = exists;
                self.consider_all(now);
            }
            Fact::Settings(selector, policy) => {
                self.context.selector = selector;
                let before = std::mem::replace(&mut self.context.policy, policy);
                self.resolve_all();
                if before.give_up_after != self.context.policy.give_up_after {
                    // A worker may have used up its attempts.
                    self.wake(now, |phase| matches!(phase, Phase::Waiting { .. }));
                }
                self.consider_all(now);
            }
            Fact::Located(locations) => self.located(now, locations),
            Fact::Probed(unit, result) => self.probed(now, &unit, &result),
            Fact::Pause(targets, time) => {
                self.saved_state_changed = true;
                for target in targets {
                    self.context.pauses.pause(target, time.map(|time| now + time));
                }
                self.consider_all(now);
            }
            Fact::Resume(targets) => self.resumed(now, &targets),
            Fact::Heal(units) => units.iter().for_each(|unit| self.heal_on_request(now, unit)),
            Fact::Deadline => {}
        }
        if self.context.pauses.expire(now) {
            self.saved_state_changed = true;
            self.consider_all(now);
        }
        self.run_timers(now);
        self.summarize(now);
        self.fill_slots(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Fact::Deadline`] has to be observed, unless another fact comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let summary = self.summaries.first().map(|(at, _)| *at);
        [timer, summary, self.context.pauses.next_end()].into_iter().flatten().min()
    }

    /// Why the worker is, or is not, being healed, given the result of an inspection. `None` if it is no worker.
    #[must_use]
    pub fn explain(
        &mut self,
        now: Timestamp,
        name: &UnitName,
        seen: &Inspection,
        references: &References,
    ) -> Option<Explanation> {
        self.settle_resolution(name, &seen.location());
        let case = self.case(now, name, seen)?;
        let (explanation, has_changed) = (case.explain(references), case.has_changed_since_given_up());
        let (is_unhealthy, why_down) = (explanation.state.is_some(), case.why_down());
        let is_outdated = |it: &Incident| it.phase == Phase::Off && (is_unhealthy || it.off_because != why_down);
        if has_changed || self.incidents.get(name).is_some_and(is_outdated) {
            // What is said and what is done must agree.
            self.set_timer(name, Some(now));
        }
        Some(explanation)
    }

    /// The phase of the worker's incident, as named in the module's diagram; `None` if it is healthy. For tests that
    /// count what was reached.
    #[must_use]
    pub fn phase_of(&self, name: &UnitName) -> Option<&'static str> {
        self.incidents.get(name).map(|incident| incident.phase.name())
    }

    /// What the worker is held for, if it is.
    #[must_use]
    pub fn held_for(&self, name: &UnitName) -> Option<&Refusal> {
        match &self.incidents.get(name)?.phase {
            Phase::Held(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The number of workers in each condition.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            workers: self.units.values().filter(|unit| matches!(unit.resolution, Resolution::Worker(_))).count(),
            ..Counts::default()
        };
        for incident in self.incidents.values() {
            match incident.phase {
                Phase::Due | Phase::Inspecting | Phase::Starting | Phase::Proving | Phase::Verifying => {
                    counts.healing += 1;
                }
                Phase::Waiting { .. } => counts.waiting += 1,
                Phase::Held(_) => counts.held += 1,
                Phase::GaveUp => counts.gave_up += 1,
                Phase::Cancelled | Phase::Stopped | Phase::Off | Phase::Resting => {}
            }
        }
        counts
    }

    fn run_timers(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, name)) = self.timers.pop_first()
        {
            self.timer_ran_out(now, &name);
        }
    }

    /// Gives free slots to the workers that are due.
    fn fill_slots(&mut self, now: Timestamp) {
        while !self.frozen
            && self.in_flight < self.context.policy.max_concurrent
            && let Some(name) = self.queue.pop_front()
        {
            self.inspect_due(now, &name);
        }
    }
}
