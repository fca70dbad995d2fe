//! A family: one unit, or a parent with children, in the model and as files for the real manager.
//!
//! A unit's process is a shell that runs `~/life/UNIT`, which says what becomes of it, and is replaced to change the
//! behaviour of the next run. Each run leaves a line in `~/runs/UNIT` once it can be stopped or killed as the model
//! has it.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use workerheal_sandbox::Sandbox;

use crate::model::{
    Bond, Dependency, Exit, Life, Mode, Model, ProcessSignal, Refusal, Restart, Signal, Spec, Type, UnitId,
};

use crate::reality::State;

/// A timer of this length has not elapsed when the test ends.
pub const LONG: Duration = Duration::from_secs(3600);
/// What is due later than this does not happen in a round.
const ROUND: Duration = Duration::from_secs(60);
/// Time passes in reality too.
pub const PAUSE: Duration = Duration::from_millis(200);
/// One of this length elapses in each round.
const SHORT: Duration = Duration::from_millis(50);

/// What a process does on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnTerm {
    Dies,
    Exits(u8),
    Ignores,
}

/// What it does in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Lives,
    Ends(Exit),
}

/// The behaviour of the next runs of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    on_term: OnTerm,
    is_ready: bool,
    then: Then,
}

impl Behaviour {
    /// With this time taken for everything, except that stops are quicker.
    fn life(self, latency: Duration) -> Life {
        let (lives_for, exit) = match self.then {
            Then::Lives => (None, Exit::Code(0)),
            Then::Ends(exit) => (Some(latency), exit),
        };
        let (stop_takes, stop_exit) = match self.on_term {
            OnTerm::Dies => (Some(latency / 4), Exit::Signal(ProcessSignal::Term)),
            OnTerm::Exits(code) => (Some(latency / 4), Exit::Code(code)),
            OnTerm::Ignores => (None, Exit::Code(0)),
        };
        Life { ready_after: self.is_ready.then_some(latency), lives_for, exit, stop_takes, stop_exit }
    }

    fn script(self, unit: &str) -> String {
        let trap = match self.on_term {
            OnTerm::Dies => String::new(),
            OnTerm::Exits(code) => format!("trap 'exit {code}' TERM\n"),
            OnTerm::Ignores => "trap '' TERM\n".to_owned(),
        };
        let ready = if self.is_ready { "systemd-notify --ready\n" } else { "" };
        let then = match self.then {
            Then::Lives => "read -r nothing <>\"$HOME/silence\"\n".to_owned(),
            Then::Ends(Exit::Code(code)) => format!("exit {code}\n"),
            Then::Ends(Exit::Signal(signal)) => format!("trap - TERM\nkill -{} $$\n", signal_name(signal)),
        };
        format!("{trap}echo >>\"$HOME/runs/{unit}\"\n{ready}{then}")
    }
}

fn signal_name(signal: ProcessSignal) -> &'static str {
    match signal {
        ProcessSignal::Hup => "HUP",
        ProcessSignal::Int => "INT",
        ProcessSignal::Kill => "KILL",
        ProcessSignal::Segv => "SEGV",
        ProcessSignal::Pipe => "PIPE",
        ProcessSignal::Term => "TERM",
    }
}

/// What is done to one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Start(Mode),
    Stop(Mode),
    Restart(Mode),
    TryRestart(Mode),
    Kill(ProcessSignal),
    ResetFailed,
    Mask,
    Unmask,
    /// Nothing but the reload that another family caused.
    Reload,
    /// The next runs behave in another way.
    Behave(Behaviour),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(mode) => write!(f, "start ({mode:?})"),
            Self::Stop(mode) => write!(f, "stop ({mode:?})"),
            Self::Restart(mode) => write!(f, "restart ({mode:?})"),
            Self::TryRestart(mode) => write!(f, "try-restart ({mode:?})"),
            Self::Kill(signal) => write!(f, "kill -{}", signal_name(*signal)),
            Self::ResetFailed => f.write_str("reset-failed"),
            Self::Mask => f.write_str("mask"),
            Self::Unmask => f.write_str("unmask"),
            Self::Reload => f.write_str("(reload)"),
            Self::Behave(behaviour) => write!(f, "behave: {behaviour:?}"),
        }
    }
}

/// What can be seen of a unit, in the model and in reality.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Load state, active state, sub state and type of the job, if the manager has it in memory.
    pub listed: Option<[String; 4]>,
    pub result: String,
    pub n_restarts: u32,
    pub has_invocation: bool,
    pub runs: u64,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listed {
            Some([load, active, sub, job]) => write!(f, "{load} {active} ({sub}), job [{job}]")?,
            None => f.write_str("not in memory")?,
        }
        write!(f, ", {}, NRestarts={}, {} runs", self.result, self.n_restarts, self.runs)?;
        f.write_str(if self.has_invocation { "" } else { ", no invocation" })
    }
}

/// One unit of a family, apart from the model.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    spec: Spec,
    behaviour: Behaviour,
    /// Its stops are ignored, and time out if they are to end.
    is_stubborn: bool,
    /// It never gets ready, and its start times out.
    is_never_ready: bool,
}

/// Units that have to do with each other only.
#[derive(Debug, Clone)]
pub struct Family {
    pub model: Model,
    members: Vec<Member>,
    enabled: bool,
    /// All that the model has signalled.
    pub signals: Vec<Signal>,
    /// All that was done, for the report of a failure.
    pub history: Vec<String>,
}

impl Family {
    pub fn generate(number: usize, rng: &mut Rng) -> Self {
        let count = if rng.bool() { 1 } else { rng.usize(2..=3) };
        let mut model = Model::new();
        let mut members = Vec::new();
        for index in 0..count {
            let bonds = [Bond::Requires, Bond::BindsTo, Bond::BindsTo, Bond::Requisite];
            let parent = (index > 0).then(|| Dependency {
                // Of two children, some are grandchildren.
                parent: UnitId(rng.usize(0..index)),
                bond: bonds[rng.usize(0..bonds.len())],
                after: rng.u8(0..4) > 0,
            });
            let name = format!("f{number:03}{}.service", ["a", "b", "c"][index]);
            let member = Member::generate(name.clone(), parent, rng);
            model.add(name, member.spec.clone());
            members.push(member);
        }
        let enabled = rng.bool();
        let mut family = Self { model, members, enabled, signals: Vec::new(), history: Vec::new() };
        if enabled {
            for index in 0..count {
                family.model.enable(UnitId(index), &mut |_, _| Life::GOOD);
            }
        }
        family
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    pub fn write(&self, sandbox: &Sandbox) {
        for member in &self.members {
            // Not below ~/.config, where a mask would have to take the file's place.
            sandbox.write_file(format!(".local/share/systemd/user/{}", member.name), &self.unit_file(member));
            sandbox.write_file(format!("life/{}", member.name), &member.behaviour.script(&member.name));
            sandbox.write_file(format!("runs/{}", member.name), "");
        }
    }

    fn unit_file(&self, member: &Member) -> String {
        let mut text = "[Unit]\n".to_owned();
        for dependency in &member.spec.parents {
            let parent = &self.members[dependency.parent.0].name;
            text.push_str(&format!("{:?}={parent}\n", dependency.bond));
            if dependency.after {
                text.push_str(&format!("After={parent}\n"));
            }
        }
        let spec = &member.spec;
        let seconds =
            |time: Option<Duration>| time.map_or("infinity".to_owned(), |time| format!("{}ms", time.as_millis()));
        text.push_str(&format!(
            "StartLimitIntervalSec={}s\nStartLimitBurst={}\n[Service]\nType={}\nNotifyAccess=all\n\
             ExecStart=/bin/sh %h/life/%n\nRestart={}\nRestartSec={}\nTimeoutStartSec={}\nTimeoutStopSec={}\n",
            spec.start_limit_interval.as_secs(),
            spec.start_limit_burst,
            match spec.kind {
                Type::Simple => "simple",
                Type::Notify => "notify",
                Type::Oneshot => "oneshot",
            },
            match spec.restart {
                Restart::No => "no",
                Restart::OnSuccess => "on-success",
                Restart::OnFailure => "on-failure",
                Restart::OnAbnormal => "on-abnormal",
                Restart::OnAbort => "on-abort",
                Restart::OnWatchdog => "on-watchdog",
                Restart::Always => "always",
            },
            seconds(Some(spec.restart_delay)),
            seconds(spec.timeout_start),
            seconds(spec.timeout_stop),
        ));
        for (key, exits) in
            [("SuccessExitStatus", &spec.success_exit), ("RestartPreventExitStatus", &spec.restart_prevent)]
        {
            for exit in exits {
                match exit {
                    Exit::Code(code) => text.push_str(&format!("{key}={code}\n")),
                    Exit::Signal(signal) => text.push_str(&format!("{key}=SIG{}\n", signal_name(*signal))),
                }
            }
        }
        if spec.remain_after_exit {
            text.push_str("RemainAfterExit=yes\n");
        }
        text.push_str("[Install]\nWantedBy=default.target\n");
        text
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub fn script(&self, unit: UnitId) -> (String, String) {
        let Member { name, behaviour, .. } = &self.members[unit.0];
        (name.clone(), behaviour.script(name))
    }

    /// What this unit looks like in the model.
    pub fn view(&self, unit: UnitId) -> View {
        view(&self.model, unit)
    }

    /// Something to do that has one outcome, whatever takes how long; done to the model.
    pub fn next(&mut self, reloads: bool, rng: &mut Rng) -> (UnitId, Operation, Result<(), Refusal>) {
        loop {
            let unit = UnitId(rng.usize(0..self.members.len()));
            let is_over = self.model.units().iter().any(|unit| unit.has_orphan());
            let operation = if is_over {
                Some(if reloads { Operation::Reload } else { Operation::Behave(self.members[unit.0].behaviour) })
            } else if reloads {
                self.reloading(unit, rng)
            } else {
                self.ordinary(unit, rng)
            };
            let Some(operation) = operation else { continue };
            if let Operation::Behave(behaviour) = operation {
                self.members[unit.0].behaviour = behaviour;
                self.note(unit, operation, Ok(()));
                return (unit, operation, Ok(()));
            }
            let [outcome, others @ ..] = Timing::ALL.map(|timing| self.tried(unit, operation, timing));
            if !outcome.is_race() && others.iter().all(|other| !other.is_race() && outcome.is_like(other)) {
                self.note(unit, operation, outcome.accepted);
                self.model = outcome.model;
                self.signals.extend(outcome.signals);
                return (unit, operation, outcome.accepted);
            }
        }
    }

    fn note(&mut self, unit: UnitId, operation: Operation, refused: Result<(), Refusal>) {
        let name = &self.members[unit.0].name;
        let refused = refused.err().map_or(String::new(), |why| format!(", refused: {why:?}"));
        self.history.push(format!("{operation} {name}{refused}"));
    }

    fn ordinary(&self, unit: UnitId, rng: &mut Rng) -> Option<Operation> {
        let mode = if rng.u8(0..4) == 0 { Mode::Fail } else { Mode::Replace };
        Some(match rng.u8(0..20) {
            0..=5 => Operation::Start(mode),
            6..=8 => Operation::Stop(mode),
            9..=10 => Operation::Restart(mode),
            11 => Operation::TryRestart(mode),
            12..=15 if self.model.unit(unit).has_process() => {
                let signals = [ProcessSignal::Kill, ProcessSignal::Kill, ProcessSignal::Segv, ProcessSignal::Term];
                Operation::Kill(signals[rng.usize(0..signals.len())])
            }
            16..=17 => Operation::ResetFailed,
            18..=19 => Operation::Behave(self.members[unit.0].behaviour(rng)),
            _ => return None,
        })
    }

    fn reloading(&self, unit: UnitId, rng: &mut Rng) -> Option<Operation> {
        match rng.u8(0..4) {
            0 if !self.model.unit(unit).is_masked() => Some(Operation::Mask),
            1 if self.model.unit(unit).is_masked() => Some(Operation::Unmask),
            2 => Some(Operation::Reload),
            _ => None,
        }
    }

    /// The model after an operation and all that follows from it soon.
    fn tried(&self, unit: UnitId, operation: Operation, timing: Timing) -> Outcome {
        let mut model = self.model.clone();
        model.run_last_job_first(timing.last_job_first);
        let behaviours: Vec<Behaviour> = self.members.iter().map(|member| member.behaviour).collect();
        for unit in (0..self.members.len()).map(UnitId) {
            if model.unit(unit).stop_takes().is_some() {
                model.set_stop_takes(unit, Some(timing.latency_of(unit) / 4));
            }
        }
        let mut lives = |unit: UnitId, _: Duration| behaviours[unit.0].life(timing.latency_of(unit));
        let accepted = match operation {
            Operation::Start(mode) => model.start(unit, mode, &mut lives).map(|_| ()),
            Operation::Stop(mode) => model.stop(unit, mode, &mut lives).map(|_| ()),
            Operation::Restart(mode) => model.restart(unit, mode, &mut lives).map(|_| ()),
            Operation::TryRestart(mode) => model.try_restart(unit, mode, &mut lives).map(|_| ()),
            Operation::ResetFailed => model.reset_failed(unit, &mut lives),
            Operation::Kill(signal) => {
                model.kill(unit, signal);
                Ok(())
            }
            Operation::Mask => {
                model.mask(unit, &mut lives);
                Ok(())
            }
            Operation::Unmask => {
                model.unmask(unit, &mut lives);
                Ok(())
            }
            Operation::Reload => {
                model.daemon_reload(&mut lives);
                Ok(())
            }
            Operation::Behave(_) => Ok(()),
        };
        while let Some(due) = model.next_event().filter(|due| *due < model.now() + ROUND) {
            model.advance(due, &mut lives);
        }
        model.run_last_job_first(false);
        model.advance(model.now() + PAUSE, &mut lives);
        let signals = model.drain_signals().collect();
        Outcome { model, accepted, signals }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for member in &self.members {
            let file = self.unit_file(member).replace('\n', "; ");
            writeln!(f, "  {} is enabled: {}, {file}\n    behaves: {:?}", member.name, self.enabled, member.behaviour)?;
        }
        writeln!(f, "  done: {}", self.history.join(", "))
    }
}

/// What an operation leads to.
struct Outcome {
    model: Model,
    accepted: Result<(), Refusal>,
    signals: Vec<Signal>,
}

impl Outcome {
    /// Whether a process was stopped that may not have come far enough to handle that, or to be counted.
    fn is_race(&self) -> bool {
        self.model.units().iter().any(|unit| unit.youngest_termination() < PAUSE)
    }

    /// Whether it is the same for all that can be seen in the end, and could be seen of what was stopped.
    fn is_like(&self, other: &Self) -> bool {
        self.accepted == other.accepted
            && (0..self.model.units().len()).map(UnitId).all(|unit| {
                let of = |outcome: &Self| {
                    let it = outcome.model.unit(unit);
                    let stops: Vec<bool> = (1..=it.runs()).map(|run| it.is_stop_logged(run)).collect();
                    (view(&outcome.model, unit), stops, job_results(&outcome.signals, unit))
                };
                of(self) == of(other)
            })
    }
}

/// How the jobs of a unit have ended, in order.
pub fn job_results(signals: &[Signal], of: UnitId) -> Vec<&'static str> {
    let result = |signal: &Signal| match signal {
        Signal::JobRemoved { unit, result, .. } if *unit == of => Some(result.as_str()),
        _ => None,
    };
    signals.iter().filter_map(result).collect()
}

/// What was told of a unit's state, in order.
pub fn changes(signals: &[Signal], of: UnitId) -> impl Iterator<Item = State> {
    signals.iter().filter_map(move |signal| match *signal {
        Signal::Changed { unit, active, auto_restart, has_job } if unit == of => {
            Some((active.as_str().to_owned(), auto_restart, has_job))
        }
        _ => None,
    })
}

/// Who takes time for everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Nobody,
    Parent,
    Children,
    All,
}

/// Whether, and which, processes take their time: what does not depend on that is no race.
#[derive(Debug, Clone, Copy)]
struct Timing {
    slow: Slow,
    latency: Duration,
    /// The order of jobs that do not wait for each other is the manager's whim.
    last_job_first: bool,
}

impl Timing {
    fn latency_of(self, unit: UnitId) -> Duration {
        let is_slow = match self.slow {
            Slow::Nobody => false,
            Slow::Parent => unit.0 == 0,
            Slow::Children => unit.0 > 0,
            Slow::All => true,
        };
        if is_slow { self.latency } else { Duration::ZERO }
    }

    const ALL: [Self; 6] = [
        Self { slow: Slow::Nobody, latency: Duration::ZERO, last_job_first: false },
        Self { slow: Slow::Parent, latency: Duration::from_millis(5), last_job_first: false },
        Self { slow: Slow::Children, latency: Duration::from_millis(5), last_job_first: false },
        Self { slow: Slow::Parent, latency: Duration::from_millis(500), last_job_first: false },
        Self { slow: Slow::Nobody, latency: Duration::ZERO, last_job_first: true },
        Self { slow: Slow::All, latency: Duration::from_millis(500), last_job_first: false },
    ];
}

impl Member {
    fn generate(name: String, parent: Option<Dependency>, rng: &mut Rng) -> Self {
        let kind = [Type::Simple, Type::Simple, Type::Notify, Type::Oneshot][rng.usize(0..4)];
        let policies = [
            Restart::No,
            Restart::No,
            Restart::OnFailure,
            Restart::OnFailure,
            Restart::OnAbnormal,
            Restart::OnAbort,
            Restart::OnWatchdog,
            // Refused for a oneshot.
            Restart::Always,
            Restart::Always,
            Restart::OnSuccess,
        ];
        let policies = if kind == Type::Oneshot { &policies[..7] } else { &policies[..] };
        let is_stubborn = rng.u8(0..6) == 0;
        let is_never_ready = kind == Type::Notify && rng.u8(0..3) == 0;
        let spec = Spec {
            kind,
            restart: policies[rng.usize(0..policies.len())],
            restart_delay: if rng.bool() { SHORT } else { LONG },
            timeout_start: (is_never_ready && rng.bool()).then_some(SHORT * 8),
            timeout_stop: (is_stubborn && rng.bool()).then_some(SHORT * 8),
            start_limit_interval: LONG,
            start_limit_burst: rng.u32(2..=4),
            success_exit: if rng.u8(0..3) == 0 { vec![Exit::Code(1)] } else { Vec::new() },
            restart_prevent: if rng.u8(0..4) == 0 { vec![Exit::Code(2)] } else { Vec::new() },
            remain_after_exit: rng.u8(0..if kind == Type::Oneshot { 2 } else { 8 }) == 0,
            parents: parent.into_iter().collect(),
        };
        let behaviour = Behaviour { on_term: OnTerm::Dies, is_ready: false, then: Then::Lives };
        let mut member = Self { name, spec, behaviour, is_stubborn, is_never_ready };
        member.behaviour = member.behaviour(rng);
        member
    }

    fn behaviour(&self, rng: &mut Rng) -> Behaviour {
        let ends = [
            Exit::Code(0),
            Exit::Code(1),
            Exit::Code(2),
            Exit::Signal(ProcessSignal::Kill),
            Exit::Signal(ProcessSignal::Term),
        ];
        let on_term = [OnTerm::Dies, OnTerm::Exits(0), OnTerm::Exits(1), OnTerm::Exits(2)];
        Behaviour {
            on_term: if self.is_stubborn { OnTerm::Ignores } else { on_term[rng.usize(0..on_term.len())] },
            is_ready: self.spec.kind == Type::Notify && !self.is_never_ready && rng.u8(0..4) > 0,
            then: if rng.bool() { Then::Lives } else { Then::Ends(ends[rng.usize(0..ends.len())]) },
        }
    }
}

fn view(model: &Model, unit: UnitId) -> View {
    let unit = model.unit(unit);
    let job = unit.job().map_or("", |job| job.kind.as_str());
    let listed = [unit.load().as_str(), unit.active().as_str(), unit.sub().as_str(), job];
    View {
        listed: unit.is_in_memory().then(|| listed.map(str::to_owned)),
        result: unit.result().as_str().to_owned(),
        n_restarts: unit.n_restarts(),
        has_invocation: unit.invocation().is_some(),
        runs: unit.runs(),
    }
}
