//! A family: one unit, or a parent with children, in the model, and the operations on it.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use crate::agreement::member::{Behaviour, Member, TIMEOUT, one_of, signal_name};
use crate::agreement::model::{
    Bond, Dependency, File, JobResult, Life, Mode, Model, ProcessSignal, Refusal, Restart, Signal, Spec, SubState,
    Unit, UnitId, Whim,
};
use crate::agreement::view::{MODELLED, View, job_results};

/// Events that are due later than this do not happen in a round.
const ROUND: Duration = Duration::from_secs(60);
/// Time that passes after each round. In reality less time passes, and the manager then catches up with the model.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(2);
/// Minimum real time that passes. A younger process may not be ready to handle a signal, or may be younger than the
/// default `RestartSec=`.
pub const PAUSE: Duration = Duration::from_millis(200);

/// An operation on one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Start(Mode),
    Stop(Mode),
    Restart(Mode),
    TryRestart(Mode),
    Reload(Mode),
    /// A client connects to a socket.
    Connect,
    Kill(ProcessSignal),
    ResetFailed,
    /// Changes the behaviour of the next runs.
    Behave(Behaviour),
    /// A change of files, after which the manager reloads.
    Change(Change),
}

/// A change of the files of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Mask,
    Unmask,
    Enable,
    Disable,
    Write(File),
    /// Only the reload that another family caused.
    Nothing,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(mode) => write!(f, "start ({mode:?})"),
            Self::Stop(mode) => write!(f, "stop ({mode:?})"),
            Self::Restart(mode) => write!(f, "restart ({mode:?})"),
            Self::TryRestart(mode) => write!(f, "try-restart ({mode:?})"),
            Self::Reload(mode) => write!(f, "reload ({mode:?})"),
            Self::Connect => f.write_str("connect to"),
            Self::Kill(signal) => write!(f, "kill -{}", signal_name(*signal)),
            Self::ResetFailed => f.write_str("reset-failed"),
            Self::Behave(behaviour) => write!(f, "from now on {behaviour:?}:"),
            Self::Change(Change::Write(File::Good(_))) => f.write_str("edit and reload"),
            Self::Change(Change::Write(File::Bad)) => f.write_str("spoil the file and reload"),
            Self::Change(Change::Write(File::Missing)) => f.write_str("remove the file and reload"),
            Self::Change(change) => write!(f, "{change:?} and reload"),
        }
    }
}

/// Units that are related only to each other.
#[derive(Debug, Clone)]
pub struct Family {
    pub model: Model,
    pub members: Vec<Member>,
    /// All signals of the model.
    pub signals: Vec<Signal>,
    /// All operations, for the report of a failure.
    history: Vec<String>,
}

impl Family {
    pub fn generate(number: usize, rng: &mut Rng) -> Self {
        let shape = *one_of(&[Shape::Lineage, Shape::Lineage, Shape::Lineage, Shape::Group, Shape::Triggered], rng);
        let count = match shape {
            Shape::Lineage => *one_of(&[1, 1, 2, 3], rng),
            Shape::Group => 3,
            Shape::Triggered => 2,
        };
        let (mut model, mut members) = (Model::new(), Vec::new());
        let is_enabled = rng.bool();
        let times_jobs = rng.u8(0..3) == 0;
        for (index, (rank, letter)) in [(0, "a"), (1, "b"), (2, "c")].into_iter().enumerate().take(count) {
            let parents = shape.dependencies(index, rng);
            let name = format!("f{number:03}{letter}.{}", shape.kind_of_unit(index, rng));
            let job_timeout = times_jobs.then_some(TIMEOUT.saturating_sub(PAUSE / 4 * rank));
            let member = Member::generate(name.clone(), parents, is_enabled, job_timeout, shape == Shape::Lineage, rng);
            model.add(name, Spec::default());
            members.push(member);
        }
        for (index, member) in members.iter().enumerate() {
            model.edit(UnitId(index), member.file.clone());
        }
        if is_enabled {
            for unit in (0..count).map(UnitId) {
                model.enable(unit, &mut |_, _| unreachable!("nothing is started"));
            }
        }
        model.drain_signals();
        Self { model, members, signals: Vec::new(), history: Vec::new() }
    }

    pub fn units(&self) -> impl Iterator<Item = (UnitId, &str)> {
        self.members.iter().enumerate().map(|(index, member)| (UnitId(index), member.name.as_str()))
    }

    /// The text of a unit's file, if it has one.
    pub fn unit_file(&self, unit: UnitId) -> Option<String> {
        let names: Vec<&str> = self.units().map(|(_, name)| name).collect();
        self.members[unit.0].unit_file(&names)
    }

    /// An operation with one outcome whatever the timing; performed on the model.
    pub fn next(&mut self, reloads: bool, rng: &mut Rng) -> (UnitId, Operation, Result<(), Refusal>) {
        // The later behaviour of a unit with an orphan is not modelled.
        let is_over = self.model.units().iter().any(Unit::has_orphan);
        loop {
            let unit = UnitId(rng.usize(0..self.members.len()));
            let operation = match (reloads, is_over) {
                (true, true) => Some(Operation::Change(Change::Nothing)),
                (true, false) => Some(Operation::Change(self.change(unit, rng))),
                (false, true) => Some(Operation::Behave(self.members[unit.0].behaviour)),
                (false, false) => self.operation(unit, rng),
            };
            let Some(operation) = operation else { continue };
            let [outcome, others @ ..] = Timing::ALL.map(|timing| self.tried(unit, &operation, timing));
            if !outcome.is_race() && others.iter().all(|other| !other.is_race() && outcome.is_like(other)) {
                self.adopt(unit, &operation, &outcome);
                self.model = outcome.model;
                self.signals.extend(outcome.signals);
                return (unit, operation, outcome.accepted);
            }
        }
    }

    fn adopt(&mut self, unit: UnitId, operation: &Operation, outcome: &Outcome) {
        let member = &mut self.members[unit.0];
        match operation {
            Operation::Behave(behaviour) => member.behaviour = *behaviour,
            Operation::Change(Change::Write(file)) => member.file = file.clone(),
            Operation::Change(Change::Enable) => member.is_enabled = true,
            Operation::Change(Change::Disable) => {
                member.is_enabled = false;
                member.was_always_enabled = false;
            }
            _ => {}
        }
        let refused = outcome.accepted.err().map_or(String::new(), |why| format!(" (refused: {why:?})"));
        self.history.push(format!("{operation} {}{refused}", member.name));
    }

    fn operation(&self, unit: UnitId, rng: &mut Rng) -> Option<Operation> {
        let mode = *one_of(&[Mode::Fail, Mode::Replace, Mode::Replace, Mode::Replace, Mode::IgnoreRequirements], rng);
        Some(match rng.u8(0..26) {
            0..=5 => Operation::Start(mode),
            6..=8 => Operation::Stop(mode),
            9..=10 => Operation::Restart(mode),
            11 => Operation::TryRestart(mode),
            12..=15 if self.model.unit(unit).has_process() => {
                use ProcessSignal::{Kill, Segv, Term};
                Operation::Kill(*one_of(&[Kill, Kill, Segv, Term], rng))
            }
            16..=17 => Operation::ResetFailed,
            18..=19 => Operation::Behave(self.members[unit.0].behaviour(rng)),
            20.. if matches!(self.model.unit(unit).sub(), SubState::Listening | SubState::Running)
                && self.members[unit.0].name.ends_with(".socket") =>
            {
                Operation::Connect
            }
            20.. if self.members[unit.0].can_reload() => Operation::Reload(mode),
            _ => return None,
        })
    }

    fn change(&self, unit: UnitId, rng: &mut Rng) -> Change {
        let member = &self.members[unit.0];
        let is_masked = self.model.unit(unit).is_masked();
        // A timer or socket without its file has neither times nor a socket, and triggers no service without one.
        let needs_file = self.members.iter().any(Member::is_trigger);
        match rng.u8(0..10) {
            0..=1 if !is_masked && !needs_file => Change::Mask,
            0..=4 if is_masked => Change::Unmask,
            5 if member.is_enabled => Change::Disable,
            5 => Change::Enable,
            6 if !needs_file => Change::Write(File::Missing),
            7 if member.can_be_spoilt() && !needs_file => Change::Write(File::Bad),
            8..=9 => Change::Write(File::Good(member.spec(rng))),
            _ => Change::Nothing,
        }
    }

    /// The result of an operation and its early consequences.
    fn tried(&self, unit: UnitId, operation: &Operation, timing: Timing) -> Outcome {
        let mut model = self.model.clone();
        model.set_whim(timing.whim);
        for (unit, _) in self.units() {
            if model.unit(unit).stop_takes().is_some() {
                model.set_stop_takes(unit, Some(Behaviour::stop_takes(timing.latency_of(unit))));
            }
        }
        let mut lives =
            |unit: UnitId, _: Duration| -> Life { self.members[unit.0].behaviour.life(timing.latency_of(unit)) };
        let mut accepted = Ok(());
        match operation {
            Operation::Start(mode) => accepted = model.start(unit, *mode, &mut lives).map(|_| ()),
            Operation::Stop(mode) => accepted = model.stop(unit, *mode, &mut lives).map(|_| ()),
            Operation::Restart(mode) => accepted = model.restart(unit, *mode, &mut lives).map(|_| ()),
            Operation::TryRestart(mode) => accepted = model.try_restart(unit, *mode, &mut lives).map(|_| ()),
            Operation::Reload(mode) => accepted = model.reload(unit, *mode, &mut lives).map(|_| ()),
            Operation::ResetFailed => accepted = model.reset_failed(unit, &mut lives),
            Operation::Connect => assert!(model.connect(unit, &mut lives), "only what is open is connected to"),
            Operation::Kill(signal) => assert!(model.kill(unit, *signal), "only what lives is killed"),
            Operation::Behave(_) => {}
            Operation::Change(change) => match change {
                Change::Mask => model.mask(unit, &mut lives),
                Change::Unmask => model.unmask(unit, &mut lives),
                Change::Enable => model.enable(unit, &mut lives),
                Change::Disable => model.disable(unit, &mut lives),
                Change::Write(file) => {
                    model.edit(unit, file.clone());
                    model.daemon_reload(&mut lives);
                }
                Change::Nothing => model.daemon_reload(&mut lives),
            },
        }
        while let Some(due) = model.next_event().filter(|due| *due < model.now() + ROUND) {
            model.advance(due, &mut lives);
        }
        model.set_whim(Whim::default());
        model.advance(model.now() + BETWEEN_ROUNDS, &mut lives);
        let signals = model.drain_signals().collect();
        Outcome { model, accepted, signals }
    }

    /// The interesting cases that have occurred, by name.
    pub fn seen(&self) -> Vec<&'static str> {
        let mut seen = Vec::new();
        for signal in &self.signals {
            match signal {
                Signal::JobRemoved { result, .. } if *result != JobResult::Done => seen.push(result.as_str()),
                Signal::JobRemoved { kind, .. } => seen.push(kind.as_str()),
                Signal::Changed { active, .. } => seen.push(active.as_str()),
                _ => {}
            }
        }
        for unit in self.model.units() {
            for dependency in &unit.spec().parents {
                let parent = self.model.unit(dependency.parent);
                seen.extend(bond_at_work(dependency.bond, unit, parent));
            }
            seen.push(unit.result().as_str());
            if unit.sub() == SubState::AutoRestart || unit.sub() == SubState::StopSigterm {
                seen.push(unit.sub().as_str());
            }
            if unit.is_restart_prevented() && unit.spec().restart == Restart::Always {
                seen.push("restart-prevented");
            }
            if unit.n_restarts() > 0 {
                seen.push("restarted");
            }
        }
        seen
    }
}

/// Whether a dependency visibly had an effect, or visibly had none.
fn bond_at_work(bond: Bond, unit: &Unit, parent: &Unit) -> Option<&'static str> {
    let [unit, parent] = [unit.active(), parent.active()].map(crate::agreement::model::ActiveState::is_up);
    match bond {
        Bond::Wants if unit && parent => Some("wants"),
        Bond::Wants if unit && !parent => Some("wants, without"),
        Bond::PartOf if unit && parent => Some("part of"),
        Bond::PartOf if unit && !parent => Some("part of, without"),
        Bond::Conflicts if unit && parent => Some("conflicts, both"),
        Bond::Conflicts if unit || parent => Some("conflicts"),
        Bond::Triggers if unit && parent => Some("triggered"),
        _ => None,
    }
}

/// The relations of the units of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Each depends on one before it; some are grandchildren.
    Lineage,
    /// A target that wants its members, and they are part of it.
    Group,
    /// A service and its trigger.
    Triggered,
}

impl Shape {
    fn kind_of_unit(self, index: usize, rng: &mut Rng) -> &'static str {
        match (self, index) {
            (Self::Group, 0) => "target",
            (Self::Lineage, 0) if rng.u8(0..8) == 0 => "target",
            (Self::Triggered, 1) => one_of::<&str>(&["timer", "socket", "socket"], rng),
            _ => "service",
        }
    }

    fn dependencies(self, index: usize, rng: &mut Rng) -> Vec<Dependency> {
        use Bond::{BindsTo, Conflicts, PartOf, Requires, Requisite, Triggers, Wants};
        let line = |parent: usize, bond: Bond, after: bool| Dependency { parent: UnitId(parent), bond, after };
        match (self, index) {
            (Self::Lineage | Self::Triggered, 0) => Vec::new(),
            (Self::Lineage, _) => {
                let bonds = [Requires, Requires, BindsTo, BindsTo, BindsTo, Requisite, Wants, PartOf, Conflicts];
                vec![line(rng.usize(0..index), *one_of(&bonds, rng), rng.u8(0..4) > 0)]
            }
            (Self::Group, 0) => (1..3).map(|it| line(it, *one_of(&[Wants, Requires], rng), rng.bool())).collect(),
            (Self::Group, _) => vec![line(0, PartOf, false)],
            (Self::Triggered, _) => vec![line(0, Triggers, false)],
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in self.units() {
            let file = self.unit_file(unit).map_or("no file".to_owned(), |text| text.replace('\n', " "));
            let Member { behaviour, is_enabled, .. } = &self.members[unit.0];
            writeln!(f, "  {name}: {file}\n    now {behaviour:?}, enabled: {is_enabled}")?;
        }
        writeln!(f, "  done: {}", self.history.join(", "))
    }
}

/// The result of an operation.
struct Outcome {
    model: Model,
    accepted: Result<(), Refusal>,
    signals: Vec<Signal>,
}

impl Outcome {
    /// Whether a process was stopped that may not be ready to handle that, or to be counted.
    fn is_race(&self) -> bool {
        self.model.units().iter().any(|unit| unit.youngest_termination() < PAUSE)
    }

    /// Whether it is the same in everything that is visible in the end or matters later.
    fn is_like(&self, other: &Self) -> bool {
        let of = |outcome: &Self, unit: UnitId| {
            let it = outcome.model.unit(unit);
            let stops: Vec<bool> = (1..=it.runs()).map(|run| it.is_stop_logged(run)).collect();
            (View::of(it, MODELLED), it.hidden(), stops, job_results(&outcome.signals, unit))
        };
        let mut units = (0..self.model.units().len()).map(UnitId);
        self.accepted == other.accepted && units.all(|unit| of(self, unit) == of(other, unit))
    }
}

/// Delays all operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    None,
    Parent,
    Children,
    All,
}

/// The timings to try: which processes are slow, and what else is left open. A result that does not depend on them is
/// no race.
#[derive(Debug, Clone, Copy)]
struct Timing {
    slow: Slow,
    latency: Duration,
    whim: Whim,
}

impl Timing {
    const ALL: [Self; 9] = {
        const NO_WHIM: Whim = Whim { last_job_first: false, freed_job_first: false, jobs_wait: false };
        const SHORT: Duration = Duration::from_millis(5);
        const LONG: Duration = Duration::from_millis(500);
        [
            Self { slow: Slow::None, latency: Duration::ZERO, whim: NO_WHIM },
            Self { slow: Slow::None, latency: Duration::ZERO, whim: Whim { last_job_first: true, ..NO_WHIM } },
            Self { slow: Slow::None, latency: Duration::ZERO, whim: Whim { freed_job_first: true, ..NO_WHIM } },
            Self { slow: Slow::None, latency: Duration::ZERO, whim: Whim { jobs_wait: true, ..NO_WHIM } },
            Self { slow: Slow::Parent, latency: SHORT, whim: NO_WHIM },
            Self { slow: Slow::Parent, latency: LONG, whim: NO_WHIM },
            Self { slow: Slow::Children, latency: SHORT, whim: NO_WHIM },
            Self { slow: Slow::Children, latency: LONG, whim: NO_WHIM },
            Self { slow: Slow::All, latency: LONG, whim: NO_WHIM },
        ]
    };

    fn latency_of(self, unit: UnitId) -> Duration {
        let is_slow = match self.slow {
            Slow::None => false,
            Slow::Parent => unit.0 == 0,
            Slow::Children => unit.0 > 0,
            Slow::All => true,
        };
        if is_slow { self.latency } else { Duration::ZERO }
    }
}
