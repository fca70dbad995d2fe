//! The parts of a simulated run, all drawn from one seed: the units, the settings, what people do, and which faults
//! happen.
//!
//! Each concern has a random source of its own, so that leaving one out hardly disturbs the others: this is how a
//! failing run is reduced.

use std::time::Duration;

use fastrand::Rng;
use workerheal_core::backoff::Backoff;
use workerheal_core::diagnosis::State;
use workerheal_core::policy::{DefinedProbes, Policy};
use workerheal_core::probe::Probe;

use crate::model::{Bond, Dependency, Elapses, Exit, Life, Model, Origin, ProcessSignal, Restart, Spec, Type, UnitId};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The units of every run: a container, a database that is a worker itself, workers, and two units that are no workers.
/// The relations of the last four depend on the [`Family`] of the run.
pub const NAMES: [&str; 11] = [
    "lerd-php85-fpm",
    "db",
    "lerd-queue-alpha",
    "lerd-mail-alpha",
    "lerd-queue-beta",
    "lerd-vite-beta",
    "lerd-cron-beta",
    "lerd-one-gamma",
    "lerd-two-gamma",
    "helper-a",
    "helper-b",
];
pub const UNITS: usize = NAMES.len();
/// The container is no worker.
pub const FIRST_WORKER: usize = 1;
/// The first unit after the workers.
pub const FIRST_HELPER: usize = 9;
/// The worker that has a health probe.
pub const PROBED: usize = 5;
/// The first of those that belong to the family.
pub const FIRST_OF_FAMILY: usize = ONE;
/// The workers and the other units of the family.
const ONE: usize = 7;
const TWO: usize = 8;
const HELPER: usize = 9;
const OTHER: usize = 10;

/// The relation of the last four units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The workers want a store, but can run without it.
    Store,
    /// One worker conflicts with a maintenance unit, and another such unit conflicts with the other.
    Maintenance,
    /// One is a oneshot with a timer, the other one without.
    Jobs,
    /// Both require a oneshot that runs a migration, and is down when that is done.
    Migration,
    /// Both require a pool that is stopped when it is unneeded.
    Pool,
    /// One is part of a target, the other of a service.
    Group,
    /// One is transient, the other generated.
    Passing,
    /// One refuses a manual start; the unit of the other excludes an exit status from restarts.
    Refusing,
    /// They hang while they start or stop.
    Hanging,
    /// The manager restarts them forever, slower or faster than its start limit allows.
    Restarting,
    /// One is started by its socket.
    Socket,
}

impl Family {
    const ALL: [Self; 11] = [
        Self::Store,
        Self::Maintenance,
        Self::Jobs,
        Self::Migration,
        Self::Pool,
        Self::Group,
        Self::Passing,
        Self::Refusing,
        Self::Hanging,
        Self::Restarting,
        Self::Socket,
    ];

    pub fn of(plan: Plan) -> Self {
        Self::ALL[plan.chance(4).usize(..Self::ALL.len())]
    }

    /// Whether the unit is enabled: then it is wanted at the beginning, and kept in memory.
    pub fn enables(self, unit: usize) -> bool {
        match self {
            Self::Store | Self::Group => true,
            Self::Maintenance => unit < FIRST_HELPER,
            Self::Jobs => unit != ONE && unit != OTHER,
            Self::Migration | Self::Pool | Self::Hanging | Self::Restarting => unit < FIRST_HELPER,
            Self::Passing => unit < FIRST_HELPER && unit != ONE,
            // The target wants it.
            Self::Refusing => unit != ONE && unit != OTHER,
            Self::Socket => unit != OTHER,
        }
    }

    /// Whether the unit is started at the beginning.
    pub fn starts(self, unit: usize) -> bool {
        self.enables(unit) || (self == Self::Passing && unit == ONE)
    }

    pub fn origin(self, unit: usize) -> Origin {
        match (self, unit) {
            (Self::Passing, ONE) => Origin::Transient,
            (Self::Passing, TWO) => Origin::Generator,
            _ => Origin::Person,
        }
    }

    fn write(self, chance: &mut Rng, specs: &mut [Spec]) {
        let line = |parent: usize, bond: Bond, after: bool| Dependency { parent: UnitId(parent), bond, after };
        let after = chance.u8(..4) != 0;
        match self {
            Self::Store => {
                specs[ONE].parents = vec![line(HELPER, Bond::Wants, after)];
                specs[TWO].parents = vec![line(HELPER, Bond::BindsTo, true), line(OTHER, Bond::Wants, after)];
            }
            Self::Maintenance => {
                specs[ONE].parents = vec![line(HELPER, Bond::Conflicts, false)];
                specs[OTHER].parents = vec![line(TWO, Bond::Conflicts, false)];
            }
            Self::Jobs => {
                for unit in [ONE, TWO] {
                    specs[unit].kind = Type::Oneshot;
                    specs[unit].restart = Restart::No;
                    specs[unit].timeout_start = None;
                }
                if chance.u8(..3) == 0 {
                    specs[TWO].restart = Restart::OnFailure;
                }
                specs[HELPER].kind = Type::Timer;
                specs[HELPER].elapses = Elapses::Every(HOUR);
                specs[HELPER].parents = vec![line(ONE, Bond::Triggers, false)];
            }
            Self::Migration => {
                specs[HELPER].kind = Type::Oneshot;
                specs[HELPER].restart = Restart::No;
                specs[HELPER].remain_after_exit = chance.bool();
                let bond = if specs[HELPER].remain_after_exit { Bond::BindsTo } else { Bond::Requires };
                specs[ONE].parents = vec![line(HELPER, Bond::Requires, true)];
                specs[TWO].parents = vec![line(HELPER, bond, true)];
            }
            Self::Pool => {
                specs[HELPER].stop_when_unneeded = true;
                specs[HELPER].restart = Restart::No;
                specs[ONE].parents = vec![line(HELPER, Bond::Requires, true)];
                if chance.bool() {
                    specs[TWO].parents = vec![line(HELPER, Bond::Requires, true)];
                }
            }
            Self::Group => {
                specs[HELPER].kind = Type::Target;
                specs[HELPER].parents = vec![line(ONE, Bond::Wants, false)];
                specs[ONE].parents = vec![line(HELPER, Bond::PartOf, after)];
                specs[TWO].parents = vec![line(OTHER, Bond::PartOf, after), line(HELPER, Bond::PartOf, after)];
                specs[TWO].wanted_elsewhere = chance.bool();
            }
            Self::Passing => {}
            Self::Refusing => {
                specs[ONE].refuse_manual_start = true;
                specs[TWO].restart = Restart::Always;
                specs[TWO].restart_prevent = vec![Exit::Code(1)];
                specs[HELPER].kind = Type::Target;
                specs[HELPER].parents = vec![line(ONE, Bond::Wants, true)];
            }
            Self::Hanging => {
                specs[ONE].kind = Type::Notify;
                specs[ONE].timeout_start = [None, Some(90 * SECOND)][chance.usize(..2)];
                specs[ONE].job_timeout = [None, Some(30 * SECOND)][chance.usize(..2)];
                specs[TWO].timeout_stop = None;
            }
            Self::Restarting => {
                for unit in [ONE, TWO] {
                    specs[unit].restart = Restart::Always;
                    specs[unit].restart_delay =
                        [Duration::from_millis(100), SECOND, 5 * SECOND, 10 * SECOND][chance.usize(..4)];
                    specs[unit].start_limit_interval = [Duration::ZERO, 10 * SECOND][chance.usize(..2)];
                }
            }
            Self::Socket => {
                specs[HELPER].kind = Type::Socket;
                specs[HELPER].parents = vec![line(ONE, Bond::Triggers, false)];
                specs[ONE].can_reload = true;
            }
        }
    }
}

/// A unit's name in full.
pub fn full_name(unit: usize, spec: &Spec) -> String {
    let suffix = match spec.kind {
        Type::Simple | Type::Notify | Type::Oneshot => "service",
        Type::Target => "target",
        Type::Timer => "timer",
        Type::Socket => "socket",
    };
    format!("{}.{suffix}", NAMES[unit])
}

/// What may happen in a run. Each kind can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stop,
    Start,
    Restart,
    ResetFailed,
    Kill,
    Mask,
    Disable,
    Edit,
    BreakFile,
    Reload,
    PauseSite,
    PauseWorker,
    Sleep,
    Unregister,
    Marker,
    Pause,
    Heal,
    BadTimes,
    Silence,
    DirectoryGone,
    Container,
    LostSignals,
    LateSignals,
    TwiceSignals,
    LostBus,
    SlowManager,
    DaemonRestart,
    ClockJump,
    NoJournal,
    Helper,
    RestartParent,
    StopRightAfter,
    StopWhileDown,
    StopMany,
    KillFamily,
    TryRestart,
    ReloadUnit,
    Isolate,
    Shutdown,
    HealNow,
    StopNow,
    Connect,
}

impl Kind {
    pub const ALL: [Self; 42] = [
        Self::Stop,
        Self::Start,
        Self::Restart,
        Self::ResetFailed,
        Self::Kill,
        Self::Mask,
        Self::Disable,
        Self::Edit,
        Self::BreakFile,
        Self::Reload,
        Self::PauseSite,
        Self::PauseWorker,
        Self::Sleep,
        Self::Unregister,
        Self::Marker,
        Self::Pause,
        Self::Heal,
        Self::BadTimes,
        Self::Silence,
        Self::DirectoryGone,
        Self::Container,
        Self::LostSignals,
        Self::LateSignals,
        Self::TwiceSignals,
        Self::LostBus,
        Self::SlowManager,
        Self::DaemonRestart,
        Self::ClockJump,
        Self::NoJournal,
        Self::Helper,
        Self::RestartParent,
        Self::StopRightAfter,
        Self::StopWhileDown,
        Self::StopMany,
        Self::KillFamily,
        Self::TryRestart,
        Self::ReloadUnit,
        Self::Isolate,
        Self::Shutdown,
        Self::HealNow,
        Self::StopNow,
        Self::Connect,
    ];
}

/// Which kinds happen, and how long a run takes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub length: Duration,
    pub without: u64,
}

impl Plan {
    pub fn new(seed: u64, length: Duration) -> Self {
        Self { seed, length, without: 0 }
    }

    pub fn has(self, kind: Kind) -> bool {
        self.without & (1 << kind as u64) == 0
    }

    pub fn without(self, kind: Kind) -> Self {
        Self { without: self.without | (1 << kind as u64), ..self }
    }

    /// The kinds that are left.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// A random number generator for one concern.
    pub fn chance(self, concern: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ concern)
    }
}

/// A random time until the next event, for a mean interval.
pub fn interval(chance: &mut Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - chance.f64()).ln())
}

/// The settings of a run.
pub fn policy(chance: &mut Rng) -> Policy {
    let mut states = vec![State::Failed, State::StartLimitHit];
    if chance.u8(..4) == 0 {
        states.push(State::ExpectedButStopped);
    }
    Policy {
        states,
        backoff: Backoff::new(SECOND, 2.0, [5 * SECOND, MINUTE, 5 * MINUTE][chance.usize(..3)], 0.1)
            .expect("the policy is valid"),
        stable_after: [SECOND, 10 * SECOND][chance.usize(..2)],
        reset_after: [MINUTE, 10 * MINUTE][chance.usize(..2)],
        give_up_after: [Some(1), Some(3), Some(10), None][chance.usize(..4)],
        timeout: 90 * SECOND,
        max_concurrent: [1, 2, 8][chance.usize(..3)],
        probes: [("vite".to_owned(), Probe::Tcp("127.0.0.1:5173".to_owned()))].into(),
        defined_probes: DefinedProbes::default(),
    }
}

/// The unit files of a run, written into a model.
pub fn units(chance: &mut Rng, family: Family) -> Vec<Spec> {
    let mut specs = Vec::new();
    for index in 0..UNITS {
        let mut spec = Spec {
            kind: if chance.u8(..3) == 0 { Type::Notify } else { Type::Simple },
            restart: [Restart::No, Restart::OnFailure, Restart::Always][chance.usize(..3)],
            restart_delay: [Duration::from_millis(100), 5 * SECOND][chance.usize(..2)],
            start_limit_interval: [Duration::ZERO, 10 * SECOND, 10 * SECOND, 10 * MINUTE][chance.usize(..4)],
            can_reload: chance.u8(..3) == 0,
            ..Spec::default()
        };
        let parent = match index {
            2 | 3 => Some(0),
            4 => Some(1),
            _ => None,
        };
        if let Some(parent) = parent {
            let bond = [Bond::BindsTo, Bond::Requires, Bond::Requisite][chance.usize(..3)];
            spec.parents = vec![Dependency { parent: UnitId(parent), bond, after: chance.u8(..4) != 0 }];
        }
        if index == 6 && chance.bool() {
            spec.kind = Type::Oneshot;
            spec.restart = Restart::No;
        }
        specs.push(spec);
    }
    family.write(chance, &mut specs);
    specs
}

/// Writes the unit files into a model, and boots with the enabled units.
pub fn install(model: &mut Model, specs: &[Spec], family: Family) {
    for (index, spec) in specs.iter().enumerate() {
        let unit = model.add(NAMES[index], spec.clone());
        model.set_origin(unit, family.origin(index));
    }
}

/// Decides the behaviour of each process, by the state of its unit.
#[derive(Debug)]
pub struct Lives {
    chance: Rng,
    /// The unit's processes die early until then.
    pub bad_until: [Duration; UNITS],
    oneshot: [bool; UNITS],
    family: Family,
}

impl Lives {
    pub fn new(chance: Rng, specs: &[Spec], family: Family) -> Self {
        let mut oneshot = [false; UNITS];
        for (index, spec) in specs.iter().enumerate() {
            oneshot[index] = spec.kind == Type::Oneshot;
        }
        Self { chance, bad_until: [Duration::ZERO; UNITS], oneshot, family }
    }

    pub fn next(&mut self, unit: UnitId, now: Duration) -> Life {
        let chance = &mut self.chance;
        let crash = [Exit::Code(1), Exit::Code(1), Exit::Signal(ProcessSignal::Kill), Exit::Code(0)][chance.usize(..4)];
        let bad = now < self.bad_until[unit.0];
        // At least some time: in reality, no stop is instantaneous.
        let stop_takes = Duration::from_micros(chance.u64(100..3_000_000));
        let stop_exit = if chance.u8(..3) == 0 { Exit::Code(1) } else { Exit::Signal(ProcessSignal::Term) };
        let lives_for = match (bad, self.oneshot[unit.0]) {
            (true, _) => Some(Duration::from_millis(chance.u64(1..4_000))),
            (false, true) => Some(Duration::from_millis(chance.u64(1..20_000))),
            // Most live until they are ended, some for hours, some for less.
            (false, false) => match chance.u8(..10) {
                0 => Some(interval(chance, MINUTE)),
                1 | 2 => Some(interval(chance, 4 * HOUR)),
                _ => None,
            },
        };
        let exit = if self.oneshot[unit.0] && !bad { Exit::Code(0) } else { crash };
        let ready_after = match chance.u8(..40) {
            0 => None,
            1..10 => Some(interval(chance, 10 * SECOND)),
            _ => Some(Duration::from_millis(chance.u64(1..200))),
        };
        let stop_takes = (chance.u8(..60) != 0).then_some(stop_takes);
        let mut life = Life { ready_after, lives_for, exit, stop_takes, stop_exit, ..Life::GOOD };
        if bad && chance.u8(..8) == 0 {
            life.pre = Some((Duration::from_millis(chance.u64(1..300)), Exit::Code(1)));
        }
        if chance.u8(..3) == 0 {
            let code = chance.u8(..2);
            life.reload_exit = Some((Duration::from_millis(chance.u64(1..300)), Exit::Code(code)));
        }
        life.reload_takes = Duration::from_millis(chance.u64(1..500));
        life.accepts = !bad;
        if self.family == Family::Hanging {
            let hangs = chance.u8(..4) == 0;
            match unit.0 {
                ONE if hangs => (life.ready_after, life.lives_for) = (None, None),
                TWO if hangs => (life.leaves_child, life.stop_takes) = (true, None),
                _ => {}
            }
        }
        life
    }
}
