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
//! Everything is level-triggered: [`Fact::Changed`] makes the healer fast, the next [`Fact::Units`] leads to the same
//! decisions if every change was missed, and workers that are left alone are inspected from time to time. A signal is
//! never proof that a worker was not stopped: that takes its timestamps, or the journal.
//!
//! - [`transitions`]: what each phase makes of each fact; start reading here.
//! - [`inspection`]: the inspection before every attempt, and what follows from its result.
//! - [`attempts`]: how an attempt begins, and how it ends.
//! - [`decisions`]: to begin, to wait, to hold, to leave alone; and the few functions that change state.
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
mod locate;
mod monitoring;
mod persistence;
mod report;
mod transitions;
mod unit;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::context::ContextRef;
use super::diagnosis::{Refusal, Trigger, Unrecoverable};
use super::event::Event;
use super::explain::{Explanation, References};
use super::pauses::{Pauses, Target};
use super::policy::Policy;
use super::probe::{Probe, ProbeResult};
use super::registry::Registry;
use super::rules::Start;
use super::selector::{Resolution, Selector};
use super::units::{ActiveState, Detail, Inspection, UnitName, UnitStatus};
use groups::Group;
use incident::{Incident, Phase};
use unit::{Unit, UnitCondition};

pub use super::time::Timestamp;
pub use locate::Located;

/// An input of the healer.
#[derive(Debug, Clone)]
pub enum Fact {
    /// All loaded units that can be covered. The list is complete: a unit that is missing is gone. Ends the uncertainty
    /// that [`Fact::Frozen`] began.
    Units(Vec<UnitStatus>),
    /// One unit has just changed.
    Changed(UnitStatus),
    /// The known states of units may be wrong until the next [`Fact::Units`]: the manager reloads its files, or cannot
    /// be reached.
    Frozen,
    /// The result of [`Action::Inspect`]; an error says why there is none.
    Inspected(UnitName, InspectionId, Result<Inspection, String>),
    /// How the start of [`Action::Start`] ended.
    Finished(UnitName, Outcome),
    /// Another client's job succeeded, and was not one without effect (`try-restart` of a unit that is down).
    JobDone(UnitName),
    /// Our start replaced a requested stop.
    StopOverridden(UnitName),
    /// Another client's start ended because a unit that this one needs did not come up.
    KeptFromStarting(UnitName),
    /// All units with a failed socket.
    FailedSockets(Vec<UnitName>),
    /// The registry's new content.
    Registry(Arc<Registry>),
    /// Whether the stop marker exists.
    StopMarker(bool),
    /// New settings.
    Settings(Selector, Policy),
    /// Locations of units: of those that [`Healer::take_unlocated`] returns, and again of those whose directories have
    /// vanished or come back.
    Located(Vec<Located>),
    /// The result of [`Action::Probe`].
    Probed(UnitName, ProbeResult),
    /// A person requests to heal these units now.
    Heal(Vec<UnitName>),
    /// A person pauses healing, for this long or until it is resumed.
    Pause(Vec<Target>, Option<Duration>),
    /// A person ends pauses. Workers that were given up are tried again.
    Resume(Vec<Target>),
    /// Only time has passed.
    Deadline,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The start job is done. The worker still has to stay up.
    Done,
    /// The start job did not succeed; says why.
    Failed(String),
    /// There was no start, or that is unknown; says why.
    NotStarted(String),
    /// The manager refused the start for now, because of another client; says why.
    Refused(Refusal, String),
    /// Another client's job replaced the start.
    Cancelled,
    /// The manager will refuse every start until the unit is changed.
    Impossible(Unrecoverable),
}

/// An output of the healer, for the caller to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Inspect a unit and answer with [`Fact::Inspected`].
    Inspect {
        /// The unit.
        unit: UnitName,
        /// Identifies the inspection; part of the answer.
        id: InspectionId,
        /// What to find out.
        detail: Detail,
    },
    /// Start or restart a unit; answer with [`Fact::Finished`].
    Start(Start),
    /// Stop a unit that was started although a stop was requested.
    Stop(UnitName),
    /// Probe the health of a worker that is up; answer with [`Fact::Probed`].
    Probe {
        /// The unit.
        unit: UnitName,
        /// The probe.
        probe: Probe,
        /// Its directory; `None` is the unit's `WorkingDirectory=`.
        directory: Option<PathBuf>,
    },
    /// Publish an event.
    Emit(Event),
}

/// Identifies an inspection. A result is ignored when its inspection is no longer pending: it may be about an earlier
/// run of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InspectionId {
    /// Its purpose.
    pub purpose: Purpose,
    ticket: u32,
}

/// The purpose of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Decides about an attempt.
    Attempt,
    /// Proves that the worker has stayed up.
    Proof,
    /// Records the unit files, to detect later changes. Done once the worker has been down for longer: before the first
    /// attempt there is no time.
    Baseline,
    /// Checks whether anything has changed for a worker that is left alone: its files, or its last run.
    Recheck,
    /// Checks whether the worker has been up for long.
    Uptime,
}

/// Whether the healer acts on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It heals failures automatically: the daemon.
    Automatic,
    /// It heals only what [`Fact::Heal`] names, with one attempt each: the command line.
    OnRequest,
    /// It judges as the daemon would, to tell which workers are unhealthy. Its starts are not performed.
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
#[expect(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub struct Healer {
    mode: Mode,
    selector: Selector,
    policy: Policy,
    registry: Arc<Registry>,
    stop_marker: bool,
    pauses: Pauses,
    /// Source of jitter, passed in so that a run can be repeated.
    random: fastrand::Rng,
    /// Until the first list, nothing is known to act on.
    frozen: bool,
    units: HashMap<UnitName, Unit>,
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
    /// There may be units without a known location.
    has_newcomers: bool,
    /// The given-up worker that was rechecked last.
    last_rechecked: Option<UnitName>,
    /// Actions for the current fact.
    actions: Vec<Action>,
}

impl Healer {
    /// A healer without any knowledge. It acts from the first [`Fact::Units`] on.
    #[must_use]
    pub fn new(mode: Mode, selector: Selector, policy: Policy, registry: Arc<Registry>, random: fastrand::Rng) -> Self {
        Self {
            mode,
            selector,
            policy,
            registry,
            stop_marker: false,
            pauses: Pauses::default(),
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
            has_newcomers: false,
            last_rechecked: None,
            actions: Vec::new(),
        }
    }

    /// Processes a fact and returns the actions for it, in order.
    #[must_use = "the actions have to be performed"]
    pub fn observe(&mut self, now: Timestamp, fact: Fact) -> Vec<Action> {
        match fact {
            Fact::Units(list) => self.listed(now, list),
            Fact::Changed(status) => self.changed(now, status),
            Fact::Frozen => self.frozen = true,
            Fact::Inspected(unit, id, result) => self.inspected(now, &unit, id, result),
            Fact::Finished(unit, outcome) => self.finished(now, &unit, outcome),
            Fact::JobDone(unit) => self.foreign_job_done(now, &unit),
            Fact::StopOverridden(unit) => self.stop_overtaken(&unit),
            Fact::KeptFromStarting(unit) => self.kept_from_starting(now, &unit),
            Fact::FailedSockets(units) => self.sockets_failed(now, &units),
            Fact::Registry(registry) => self.registry_changed(now, registry),
            Fact::StopMarker(exists) => {
                self.stop_marker = exists;
                self.consider_all(now);
            }
            Fact::Settings(selector, policy) => {
                self.selector = selector;
                self.policy = policy;
                self.resolve_all();
                self.consider_all(now);
            }
            Fact::Located(locations) => self.located(now, locations),
            Fact::Probed(unit, result) => self.probed(now, &unit, &result),
            Fact::Pause(targets, time) => {
                self.saved_state_changed = true;
                for target in targets {
                    self.pauses.pause(target, time.map(|time| now + time));
                }
                self.consider_all(now);
            }
            Fact::Resume(targets) => self.resumed(now, &targets),
            Fact::Heal(units) => units.iter().for_each(|unit| self.heal_on_request(now, unit)),
            Fact::Deadline => {}
        }
        if self.pauses.expire(now) {
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
        [timer, summary, self.pauses.next_end()].into_iter().flatten().min()
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
        let is_off = self.incidents.get(name).is_some_and(|incident| incident.phase == Phase::Off);
        if has_changed || (is_off && explanation.state.is_some()) {
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

    /// The settings shared by all workers.
    fn context(&self) -> ContextRef<'_> {
        ContextRef {
            policy: &self.policy,
            registry: &self.registry,
            stop_marker: self.stop_marker,
            pauses: &self.pauses,
        }
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

    fn listed(&mut self, now: Timestamp, list: Vec<UnitStatus>) {
        let thawed = std::mem::take(&mut self.frozen);
        let mut listed = HashSet::with_capacity(list.len());
        for status in list {
            listed.insert(status.name.clone());
            self.note(now, status, false);
        }
        let gone: Vec<UnitName> = self.units.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        for name in gone {
            if self.incidents.contains_key(&name) {
                self.note(now, UnitStatus::gone(name), false);
            } else {
                self.units.remove(&name);
            }
        }
        if thawed {
            for unit in self.units.values_mut() {
                // It may have come up and gone down again in between.
                (unit.witnessed, unit.fresh) = (false, false);
            }
            self.forget_the_unlisted();
            self.wake(now, |phase| match phase {
                // It may have been started and have gone down again meanwhile, with another unit.
                Phase::Held(Refusal::StateNotHealed(_)) => true,
                Phase::Held(refusal) => refusal.may_pass_with_a_reload(),
                // It may have been masked, disabled, enabled, or changed.
                phase => matches!(phase, Phase::Waiting { .. } | Phase::Off),
            });
            self.recheck_all();
        }
        self.consider_all(now);
        self.recheck_some_given_up();
        self.probe_healthy();
    }

    fn changed(&mut self, now: Timestamp, status: UnitStatus) {
        if self.frozen {
            // The list that ends the uncertainty includes it.
            return;
        }
        let (name, is_up) = (status.name.clone(), status.active.is_up());
        self.note(now, status, true);
        self.consider(now, &name);
        if is_up {
            self.wake_group(now, name.as_str());
        }
    }

    fn sockets_failed(&mut self, now: Timestamp, failed: &[UnitName]) {
        for (name, unit) in &mut self.units {
            unit.socket_failed = failed.contains(name);
        }
        self.wake(now, |phase| matches!(phase, Phase::Off));
        self.consider_all(now);
    }

    /// Records a status, if the unit can be covered. `live`: it was signalled as it happened, not found in a list.
    fn note(&mut self, now: Timestamp, status: UnitStatus, live: bool) {
        if !self.selector.may_cover(&status.name) {
            return;
        }
        if let Some(unit) = self.units.get_mut(&status.name) {
            return unit.take_in(now, &status, live);
        }
        let resolution = self.selector.resolve(&self.registry, &status.name);
        let unit = Unit::new(now, &status, resolution);
        self.has_newcomers = true;
        self.units.insert(status.name, unit);
    }

    fn registry_changed(&mut self, now: Timestamp, registry: Arc<Registry>) {
        let before = std::mem::replace(&mut self.registry, registry);
        self.resolve_all();
        // An edited registry entry is worth new attempts.
        let edited: Vec<UnitName> = self
            .incidents
            .iter()
            .filter(|(name, incident)| {
                incident.phase == Phase::GaveUp
                    && self
                        .worker(name)
                        .is_some_and(|worker| before.site(&worker.site) != self.registry.site(&worker.site))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in edited {
            self.begin(now, &name, None, Trigger::Automatic);
        }
        self.consider_all(now);
    }

    /// Resolves every unit again, and drops the incidents of units that are no longer covered.
    fn resolve_all(&mut self) {
        for (name, unit) in &mut self.units {
            unit.resolution = self.selector.resolve(&self.registry, name);
            unit.located = false;
        }
        self.has_newcomers = true;
        let uncovered: Vec<UnitName> = self
            .incidents
            .keys()
            .filter(|name| self.units.get(*name).is_none_or(|unit| unit.resolution == Resolution::NotAWorker))
            // What is under way is dismissed when it ends, so that it is not begun a second time.
            .filter(|name| {
                self.incidents.get(*name).is_some_and(|incident| !incident.phase.takes_a_slot() && !incident.restored)
            })
            .cloned()
            .collect();
        for name in uncovered {
            self.shelve(&name);
        }
    }

    fn consider_all(&mut self, now: Timestamp) {
        let mut names: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(name, unit)| {
                unit.active == ActiveState::Failed
                    || self.suspicion(now, unit).is_some()
                    || self.incidents.contains_key(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        for name in names {
            self.consider(now, &name);
        }
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
            && self.in_flight < self.policy.max_concurrent
            && let Some(name) = self.queue.pop_front()
        {
            self.inspect_due(now, &name);
        }
    }
}
