//! The healer: a state machine that takes facts and the time, and answers with actions.
//!
//! It performs nothing itself. The daemon turns the world into [`Fact`]s, calls
//! [`Healer::observe`], and performs the [`Action`]s; the command line drives the same machine for
//! a batch; tests drive it without waiting. The life of one worker's illness:
//!
//! ```text
//!             fails                look says ill                 job done             stable_after
//!   well ───────────► due ─► looking ──────────► starting ─────────────► proving ─► verifying ─► resting
//!     ▲                ▲        │                    │                    ▲ │           │           │
//!     │                │        ├─ needs something ► held ─ has passed ► due│           │           │
//!     │                │        ├─ stopped on request ► stopped           │ │           │           │
//!     │                │        ├─ backoff ► waiting ── comes up without us ┤           │           │
//!     │                │        └─ cannot help, or too many attempts ► gave up          │           │
//!     │                └──────────────── fails again ◄──────────────────────┴───────────┘           │
//!     └──────────────────────────── up for reset_after: attempts forgotten ◄────────────────────────┘
//! ```
//!
//! Coming up is one thing, by whatever hand: a worker that we started is `healed`, one that its user or
//! the service manager started is `recovered`, both once they have stayed up for `stable_after`. Until then
//! attempts and give-ups stand. While the manager restarts a worker by itself it stays in `proving`.
//!
//! From every state the worker can be taken down by its user (`stopped`), or cease to be covered. One
//! short-lived state waits for what becomes of the unit: `cancelled`, when another client's job took the
//! place of our start. A worker that was looked at because it is down without having failed, and is down as
//! it should be, is `off`.
//!
//! Each attempt is preceded by a close look at the unit, so that a mask, a stop or a pending job of
//! the last instant is respected, and ended by another, so that a worker that died and was restarted
//! in between does not count as healed. What a look comes to is decided by the [rules](super::rules);
//! here is only what follows from that.
//!
//! Everything is level-triggered: [`Fact::Changed`] makes the healer fast, the next [`Fact::Units`]
//! leads to the same decisions if every change was missed, and workers for which nothing is done are
//! looked at now and then all the same. A signal is never proof that a worker was not stopped: that
//! takes its timestamps, or the journal.
//!
//! - [`transitions`]: what each phase makes of each fact; the table to begin with.
//! - [`inspection`]: the close look that precedes every attempt, and what its answer leads to.
//! - [`attempts`]: how an attempt begins, and the ways in which it ends.
//! - [`decisions`]: to begin, to wait, to hold, to leave alone; and the few ways in which state is changed.
//! - [`monitoring`]: health probes, and second looks at what is left alone.
//! - [`groups`]: workers that wait for the same unit.
//! - [`persistence`]: what survives a restart.
//! - [`locate`]: where units work, and directories that vanish.
//! - [`unit`](mod@unit): what is known of one unit, healthy or not.
//! - [`report`]: how things are, for those who ask.
//! - [`incident`]: the phases, and what is remembered of one worker.

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

/// Something that is known now.
#[derive(Debug, Clone)]
pub enum Fact {
    /// All units that can be covered and are loaded: complete, so what is missing is gone. Ends
    /// the doubt that [`Fact::Frozen`] began.
    Units(Vec<UnitStatus>),
    /// One unit changed just now.
    Changed(UnitStatus),
    /// What is known of the units may be wrong until the next [`Fact::Units`]: the manager
    /// reloads its files, or cannot be reached.
    Frozen,
    /// The answer to [`Action::Inspect`]; an error says why there is none.
    Inspected(UnitName, InspectionId, Result<Inspection, String>),
    /// How the start of [`Action::Start`] ended.
    Finished(UnitName, Outcome),
    /// Another client's job succeeded that was not one that does nothing (`try-restart` of a unit that is
    /// down).
    JobDone(UnitName),
    /// Our start took the place of a stop that was asked for.
    StopOverridden(UnitName),
    /// A start that somebody else asked for ended because a unit that this one needs did not come up.
    KeptFromStarting(UnitName),
    /// The units whose socket has failed: all of them.
    FailedSockets(Vec<UnitName>),
    /// The registry's new content.
    Registry(Arc<Registry>),
    /// Whether the stop marker exists.
    StopMarker(bool),
    /// New settings.
    Settings(Selector, Policy),
    /// Where units work: of those that [`Healer::take_unlocated`] names, and again of those whose
    /// directories have vanished or come back.
    Located(Vec<Located>),
    /// The answer to [`Action::Probe`].
    Probed(UnitName, ProbeResult),
    /// A person wants these units healed now.
    Heal(Vec<UnitName>),
    /// A person pauses healing, for so long or until it is resumed.
    Pause(Vec<Target>, Option<Duration>),
    /// A person ends pauses. Workers that were given up are tried anew.
    Resume(Vec<Target>),
    /// Nothing but time passed.
    Deadline,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The start job is done. That the worker stays up remains to be proven.
    Done,
    /// The start job did not succeed; says why.
    Failed(String),
    /// There was no start, or that is not known; says why.
    NotStarted(String),
    /// The manager would not have it now, because of another client; says why.
    Refused(Refusal, String),
    /// Another client's job took the place of the start.
    Cancelled,
    /// The manager will refuse every start until the unit is changed.
    Impossible(Unrecoverable),
}

/// Something the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Take a close look at a unit and answer with [`Fact::Inspected`].
    Inspect {
        /// Which one.
        unit: UnitName,
        /// Which look it is; part of the answer.
        id: InspectionId,
        /// What to find out.
        detail: Detail,
    },
    /// Start or restart a unit; answer with [`Fact::Finished`].
    Start(Start),
    /// Stop a unit that was started although a stop was requested.
    Stop(UnitName),
    /// Ask a worker that is up whether it is well; answer with [`Fact::Probed`].
    Probe {
        /// Which one.
        unit: UnitName,
        /// How.
        probe: Probe,
        /// Its directory; `None` is the unit's `WorkingDirectory=`.
        directory: Option<PathBuf>,
    },
    /// Tell the world.
    Emit(Event),
}

/// One close look among others. An answer that comes when its question is no longer open is
/// ignored: what it says may be of another life of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InspectionId {
    /// What it is for.
    pub purpose: Purpose,
    ticket: u32,
}

/// What a close look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To decide about an attempt.
    Attempt,
    /// To prove that the worker has stayed up.
    Proof,
    /// To remember what the unit's files are like, and see later if they were changed. Taken
    /// once the worker is down for longer: before the first attempt there is no time for it.
    Baseline,
    /// To see if something has changed with a worker for which nothing is done: its files, or the
    /// run that was its last.
    Recheck,
    /// To see if it really has been up for long.
    Uptime,
}

/// Whether failures are healed without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes: the daemon.
    Automatic,
    /// Only what [`Fact::Heal`] names, one attempt each: the command line.
    OnRequest,
    /// They would be: to tell which workers are unhealthy. Its starts are not performed.
    Inquiry,
}

/// How many workers are in which condition, for the status line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Covered workers that are loaded.
    pub workers: usize,
    /// Being started or proven.
    pub healing: usize,
    /// Waiting for their next attempt.
    pub waiting: usize,
    /// Down until something else happens first.
    pub held: usize,
    /// Given up.
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
    /// Until the first list, nothing is known that could be acted on.
    frozen: bool,
    units: HashMap<UnitName, Unit>,
    /// The workers that are ill, or were lately. In an order, so that the same facts lead to the same actions.
    incidents: BTreeMap<UnitName, Incident>,
    timers: BTreeSet<(Timestamp, UnitName)>,
    /// Workers in [`Phase::Due`], in order; an entry whose worker has moved on is skipped.
    queue: VecDeque<UnitName>,
    /// Workers in [`Phase::Inspecting`] and [`Phase::Starting`]: at most `max_concurrent`.
    in_flight: usize,
    /// Workers that wait for a unit, by its name.
    groups: HashMap<String, Group>,
    /// When groups are told about.
    summaries: BTreeSet<(Timestamp, String)>,
    /// The number of the last look.
    ticket: u32,
    /// What has to survive a restart may have changed.
    saved_state_changed: bool,
    /// There may be units of which it is not known where they work.
    has_newcomers: bool,
    /// The worker that was given up and was looked at last, to see whether its definition is another.
    last_rechecked: Option<UnitName>,
    /// Actions of the fact being observed.
    actions: Vec<Action>,
}

impl Healer {
    /// A healer that knows nothing yet. It acts from the first [`Fact::Units`] on.
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

    /// Takes in a fact and answers what to do about it, in order.
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

    /// When [`Fact::Deadline`] has to be observed, if no other fact is earlier.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let summary = self.summaries.first().map(|(at, _)| *at);
        [timer, summary, self.pauses.next_end()].into_iter().flatten().min()
    }

    /// Why the worker is, or is not, being healed, given what a close look shows. `None` if it is no
    /// worker.
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
        if has_changed {
            // What is said and what is done are to agree.
            self.set_timer(name, Some(now));
        }
        Some(explanation)
    }

    /// The name of the phase that the worker's illness is in, as drawn in the module's documentation; `None` if it is
    /// well. For tests that count what was reached.
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

    /// What holds for all workers alike.
    fn context(&self) -> ContextRef<'_> {
        ContextRef {
            policy: &self.policy,
            registry: &self.registry,
            stop_marker: self.stop_marker,
            pauses: &self.pauses,
        }
    }

    /// How many workers are in which condition.
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
                // It may have come up and gone down again meanwhile.
                (unit.witnessed, unit.fresh) = (false, false);
            }
            self.forget_the_unlisted();
            self.wake(now, |phase| match phase {
                Phase::Held(refusal) => refusal.may_pass_with_a_reload(),
                // It may have been masked or disabled, enabled, or made another.
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
            // The list that ends the doubt says it too.
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

    /// Takes a status into the map, if the unit can be covered at all. `live`: it was signalled as
    /// it happened, not found in a list.
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
        // A person who edits a site's entry has changed something: worth new attempts.
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

    /// Finds out anew who every unit works for; forgets the illness of what is covered no longer.
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
            // What is under way is dismissed when its end is known, lest it be begun a second time.
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
