//! What a simulated life is made of, all drawn from one seed: the units, the settings, what people do,
//! and which faults happen.
//!
//! Each concern draws from a source of its own, so that leaving one out hardly disturbs the others:
//! that is how a failing life is made smaller.

use std::time::Duration;

use fastrand::Rng;
use workerheal_core::backoff::Backoff;
use workerheal_core::diagnosis::State;
use workerheal_core::policy::Policy;
use workerheal_core::probe::Probe;

use crate::model::{Bond, Dependency, Exit, Life, Model, ProcessSignal, Restart, Spec, Type, UnitId};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The units of every life: a container, a database that is watched over itself, and workers.
pub const NAMES: [&str; 7] = [
    "lerd-php85-fpm",
    "db",
    "lerd-queue-alpha",
    "lerd-mail-alpha",
    "lerd-queue-beta",
    "lerd-vite-beta",
    "lerd-cron-beta",
];
pub const UNITS: usize = NAMES.len();
/// The container is no worker.
pub const FIRST_WORKER: usize = 1;
/// The worker that has a health probe.
pub const PROBED: usize = 5;

/// What may happen in a life. Each kind can be left out.
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
}

impl Kind {
    pub const ALL: [Self; 29] = [
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
    ];
}

/// Which kinds happen, and for how long a life goes on.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub length: Duration,
    pub without: u32,
}

impl Plan {
    pub fn new(seed: u64, length: Duration) -> Self {
        Self { seed, length, without: 0 }
    }

    pub fn has(self, kind: Kind) -> bool {
        self.without & (1 << kind as u32) == 0
    }

    pub fn without(self, kind: Kind) -> Self {
        Self { without: self.without | (1 << kind as u32), ..self }
    }

    /// The kinds that are left.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// A source of chance for one concern.
    pub fn chance(self, concern: u64) -> Rng {
        Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ concern)
    }
}

/// How long until the next of things that happen so often on average.
pub fn interval(chance: &mut Rng, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - chance.f64()).ln())
}

/// The settings of a life.
pub fn policy(chance: &mut Rng) -> Policy {
    let mut states = vec![State::Failed, State::StartLimitHit];
    if chance.u8(..4) == 0 {
        states.push(State::ExpectedButStopped);
    }
    Policy {
        states,
        backoff: Backoff::new(SECOND, 2.0, [5 * SECOND, MINUTE, 5 * MINUTE][chance.usize(..3)], 0.1)
            .expect("it is good"),
        stable_after: [SECOND, 10 * SECOND][chance.usize(..2)],
        reset_after: [MINUTE, 10 * MINUTE][chance.usize(..2)],
        give_up_after: [Some(1), Some(3), Some(10), None][chance.usize(..4)],
        timeout: 90 * SECOND,
        max_concurrent: [1, 2, 8][chance.usize(..3)],
        probes: [("vite".to_owned(), Probe::Tcp("127.0.0.1:5173".to_owned()))].into(),
    }
}

/// The unit files of a life, written into a model.
pub fn units(chance: &mut Rng, model: &mut Model) -> Vec<Spec> {
    let mut specs = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        let mut spec = Spec {
            kind: if chance.u8(..3) == 0 { Type::Notify } else { Type::Simple },
            restart: [Restart::No, Restart::OnFailure, Restart::Always][chance.usize(..3)],
            restart_delay: [Duration::from_millis(100), 5 * SECOND][chance.usize(..2)],
            start_limit_interval: [Duration::ZERO, 10 * SECOND, 10 * SECOND, 10 * MINUTE][chance.usize(..4)],
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
        model.add(name, spec.clone());
        specs.push(spec);
    }
    specs
}

/// Decides what each process does, from how its unit is doing.
#[derive(Debug)]
pub struct Lives {
    chance: Rng,
    /// The unit's processes die soon until then.
    pub bad_until: [Duration; UNITS],
    oneshot: [bool; UNITS],
}

impl Lives {
    pub fn new(chance: Rng, specs: &[Spec]) -> Self {
        let mut oneshot = [false; UNITS];
        for (index, spec) in specs.iter().enumerate() {
            oneshot[index] = spec.kind == Type::Oneshot;
        }
        Self { chance, bad_until: [Duration::ZERO; UNITS], oneshot }
    }

    pub fn next(&mut self, unit: UnitId, now: Duration) -> Life {
        let chance = &mut self.chance;
        let crash = [Exit::Code(1), Exit::Code(1), Exit::Signal(ProcessSignal::Kill), Exit::Code(0)][chance.usize(..4)];
        let bad = now < self.bad_until[unit.0];
        // At least some time: in reality nothing is stopped from one moment to the next.
        let stop_takes = Duration::from_micros(chance.u64(100..3_000_000));
        let stop_exit = if chance.u8(..3) == 0 { Exit::Code(1) } else { Exit::Signal(ProcessSignal::Term) };
        let lives_for = match (bad, self.oneshot[unit.0]) {
            (true, _) => Some(Duration::from_millis(chance.u64(1..4_000))),
            (false, true) => Some(Duration::from_millis(chance.u64(1..20_000))),
            // Most live until somebody ends them, some for hours, some for less.
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
        Life { ready_after, lives_for, exit, stop_takes: (chance.u8(..60) != 0).then_some(stop_takes), stop_exit }
    }
}
