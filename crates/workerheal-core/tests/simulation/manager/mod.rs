//! The interface to the model of systemd: it answers what the daemon would read over D-Bus. It also tracks the truth
//! that the laws judge by.

mod inspection;
mod persons;
mod starts;
mod truth;

use std::time::Duration;

use fastrand::Rng;
use workerheal_core::healer::Fact;
use workerheal_core::units::{UnitName, UnitStatus};

use crate::model::{ActiveState, Bond, JobId, JobKind, JobResult, Mode, Model, Signal, Spec, Type, Unit, UnitId, Whim};
use crate::scenario::{self, FIRST_HELPER, Family, Lives, NAMES, Plan, SECOND, UNITS};
use crate::world::Message;
use inspection::state;
use starts::Starting;
use truth::Truth;

pub struct Manager {
    pub model: Model,
    pub lives: Lives,
    pub family: Family,
    truth: [Truth; UNITS],
    specs: Vec<Spec>,
    starting: [Option<Starting>; UNITS],
    starts: u64,
    /// The last job that was signalled for each unit.
    reported_jobs: [Option<JobId>; UNITS],
    /// The unit whose start is about to replace other jobs.
    overriding: Option<usize>,
    /// The job that isolates a target, and the last one that did.
    isolating: Option<JobId>,
    isolated: Option<JobId>,
    pub reloading: bool,
    /// Its responses take seconds.
    pub is_slow: bool,
    /// It denies the healer's starts: a permission is missing.
    pub is_forbidding: bool,
    /// How often the machine was booted.
    boots: u64,
    whim: Whim,
    /// When the healer last inspected each unit to decide about a start.
    inspected_at: [Duration; UNITS],
}

impl Manager {
    pub fn new(plan: Plan, chance: &mut Rng) -> Self {
        let family = Family::of(plan);
        let specs = scenario::units(chance, family);
        let whim = Whim { last_job_first: chance.bool(), freed_job_first: chance.bool(), jobs_wait: chance.bool() };
        let lives = Lives::new(plan.chance(2), &specs, family);
        Self {
            model: Model::new(),
            lives,
            family,
            truth: [Truth::default(); UNITS],
            specs,
            starting: [const { None }; UNITS],
            starts: 0,
            reported_jobs: [None; UNITS],
            overriding: None,
            isolating: None,
            isolated: None,
            reloading: false,
            is_slow: false,
            is_forbidding: false,
            boots: 0,
            whim,
            inspected_at: [Duration::ZERO; UNITS],
        }
    }

    /// The machine is booted: what is enabled comes up.
    pub fn boot(&mut self, now: Duration) {
        let before = std::mem::take(&mut self.model);
        self.boots += 1;
        scenario::install(&mut self.model, &self.specs, self.family);
        self.model.set_whim(self.whim);
        self.with(|model, lives| model.advance(now, lives));
        for (index, truth) in self.truth.iter_mut().enumerate() {
            *truth = Truth { directory_gone: truth.directory_gone, ..Truth::default() };
            (self.starting[index], self.reported_jobs[index]) = (None, None);
        }
        (self.isolating, self.isolated) = (None, None);
        for index in 0..UNITS {
            let (unit, was) = (UnitId(index), before.units().get(index));
            if was.is_some_and(Unit::is_masked) {
                self.with(|model, lives| model.mask(unit, lives));
            }
            if was.map_or(self.family.enables(index) || index < scenario::FIRST_OF_FAMILY, Unit::is_enabled) {
                self.with(|model, lives| model.enable(unit, lives));
            }
        }
        // Sockets and targets come before their units.
        for index in (FIRST_HELPER..UNITS).chain(0..FIRST_HELPER) {
            let starts = index < scenario::FIRST_OF_FAMILY || self.family.starts(index);
            if starts && (self.boots == 1 || self.model.unit(UnitId(index)).is_enabled()) {
                let _ = self.with(|model, lives| model.start(UnitId(index), Mode::Replace, lives));
            }
        }
        self.signals(now, [false; UNITS]);
    }

    /// Calls the model with a source of the lives of its processes.
    pub fn with<T>(
        &mut self,
        call: impl FnOnce(&mut Model, &mut dyn FnMut(UnitId, Duration) -> crate::model::Life) -> T,
    ) -> T {
        let Self { model, lives, .. } = self;
        call(model, &mut |unit, now| lives.next(unit, now))
    }

    pub fn next_event(&self) -> Option<Duration> {
        self.model.next_event()
    }

    /// Lets time pass. Returns whether anything was due.
    pub fn advance(&mut self, to: Duration) -> bool {
        let due = self.model.next_event().is_some_and(|at| at <= to);
        self.with(|model, lives| model.advance(to, lives));
        due
    }

    /// Whether the manager has signalled anything since the last call of `signals`.
    pub fn has_signals(&self) -> bool {
        self.model.has_signals()
    }

    /// The manager's signals since the last call, after the truth has been updated with them. `is_watched`: the units
    /// whose signals all reach the healer.
    pub fn signals(&mut self, now: Duration, is_watched: [bool; UNITS]) -> Vec<Signal> {
        let signals: Vec<Signal> = self.model.drain_signals().collect();
        self.isolated = None;
        for signal in &signals {
            if let Signal::JobRemoved { job, .. } = *signal
                && self.isolating == Some(job)
            {
                self.isolated = self.isolating.take();
            }
            match *signal {
                Signal::Changed { unit, active, job, auto_restart } => {
                    self.takes_along(unit, active, now);
                    self.changed(unit, active, job, auto_restart, is_watched[unit.0], now);
                }
                Signal::Reloading(reloading) => self.reloading = reloading,
                Signal::JobRemoved { unit, kind: JobKind::Stop, result: JobResult::Canceled, .. } => {
                    // A person wants it up after all, unless the healer started it.
                    if self.overriding == Some(unit.0) {
                        self.truth[unit.0].obey.get_or_insert(now);
                    } else {
                        (self.truth[unit.0].stopped, self.truth[unit.0].obey) = (false, None);
                    }
                }
                Signal::JobRemoved { unit, result: JobResult::Dependency, .. } => {
                    let is_kept_loaded = self.model.unit(unit).is_enabled();
                    let truth = &mut self.truth[unit.0];
                    truth.kept = true;
                    truth.kept_seen = is_watched[unit.0] && is_kept_loaded && !truth.asked;
                    // A person wanted it up since; for a stopped unit only this shows it.
                    truth.looks_stopped |= truth.stopped && !truth.asked && !truth.kept_seen;
                    truth.stopped &= truth.asked;
                }
                Signal::JobRemoved { .. } | Signal::UnitNew(_) => {}
                Signal::UnitRemoved(unit) if self.model.unit(unit).is_in_memory() => {}
                Signal::UnitRemoved(unit) => {
                    let truth = &mut self.truth[unit.0];
                    truth.down.get_or_insert(now);
                    // It was not enabled, so the healer dismisses it, and everything that could be asked is lost with
                    // it.
                    truth.stop_can_be_known = false;
                }
            }
        }
        signals
    }

    /// The units that it requires to be up.
    fn needs(&self, index: usize) -> impl Iterator<Item = UnitId> {
        self.specs[index].parents.iter().filter(|it| is_need(it.bond)).map(|it| it.parent)
    }

    fn goes_down(&self, unit: UnitId) -> bool {
        let job = self.model.unit(unit).job();
        job.is_some_and(|job| matches!(job.kind, JobKind::Stop | JobKind::Restart)) || self.has_just_gone(unit)
    }

    fn has_just_gone(&self, unit: UnitId) -> bool {
        let (unit, now) = (self.model.unit(unit), self.model.now());
        unit.active() != ActiveState::Active && unit.active_exit().is_some_and(|left| now <= left + SECOND)
    }

    /// A signal as the connection to the manager reports it.
    pub fn message(&mut self, signal: &Signal, names: &[UnitName; UNITS]) -> Option<Message> {
        match *signal {
            Signal::Changed { unit, active, .. } if unit.0 >= FIRST_HELPER => {
                // Among other units only failed sockets are followed.
                let is_socket = self.specs[unit.0].kind == Type::Socket;
                (is_socket && active != ActiveState::Activating).then_some(Message::List { all: false })
            }
            Signal::Changed { unit, active, auto_restart, job } => {
                self.reported_jobs[unit.0] = job.or(self.reported_jobs[unit.0]);
                let name = names[unit.0].clone();
                let (active, has_job) = (state(active), job.is_some());
                let status = UnitStatus { name, load: None, active, has_job, auto_restart };
                Some(Message::Fact(Fact::Changed(status)))
            }
            Signal::JobRemoved { job, unit, result, .. } => {
                let is_reported = self.reported_jobs[unit.0].take_if(|known| *known == job).is_some();
                if self.isolated.take_if(|isolated| *isolated == job).is_some() {
                    return Some(Message::List { all: true });
                }
                if self.truth[unit.0].job == Some(job) {
                    return Some(Message::Ended(unit.0, job.0, result));
                }
                let name = names[unit.0].clone();
                match result {
                    JobResult::Done if is_reported => Some(Message::Fact(Fact::JobDone(name))),
                    JobResult::Canceled if self.overriding == Some(unit.0) => {
                        Some(Message::Fact(Fact::StopOverridden(name)))
                    }
                    JobResult::Canceled => Some(Message::Fact(Fact::JobCancelled(name))),
                    JobResult::Dependency => Some(Message::Fact(Fact::KeptFromStarting(name))),
                    _ => None,
                }
            }
            Signal::Reloading(true) => Some(Message::Fact(Fact::Frozen)),
            Signal::Reloading(false) | Signal::UnitRemoved(_) => Some(Message::List { all: true }),
            Signal::UnitNew(_) => None,
        }
    }

    /// Whether a list would be misleading: everything is being stopped.
    pub fn is_frozen(&self) -> bool {
        self.model.is_shutting_down() || self.isolating.is_some()
    }

    pub fn is_oneshot(&self, index: usize) -> bool {
        self.specs[index].kind == Type::Oneshot
    }

    // Acts of people.

    /// Whether any worker is on its way up or down.
    pub fn is_any_changing(&self) -> bool {
        let changes = |unit: &Unit| matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating);
        self.model.units().iter().take(FIRST_HELPER).any(|unit| changes(unit) && !unit.is_auto_restart())
    }

    /// The units that it is part of, or requires to be up.
    pub fn above(&self, index: usize) -> Vec<usize> {
        let parents = self.specs[index].parents.iter();
        parents.filter(|it| it.bond == Bond::PartOf || is_need(it.bond)).map(|it| it.parent.0).collect()
    }

    /// The units that need this one, and itself.
    pub fn family_of(&self, index: usize) -> Vec<usize> {
        let is_child = |it: &usize| self.needs(*it).any(|parent| parent == UnitId(index));
        std::iter::once(index).chain((0..UNITS).filter(is_child)).collect()
    }

    /// Whether it is enabled, and down.
    pub fn is_wanted(&self, index: usize) -> bool {
        self.model.unit(UnitId(index)).is_enabled() && self.is_down(index)
    }

    pub fn is_target(&self, index: usize) -> bool {
        self.specs[index].kind == Type::Target
    }

    pub fn is_down(&self, index: usize) -> bool {
        self.model.unit(UnitId(index)).active().is_down()
    }

    pub fn describe(&self, index: usize) -> String {
        let unit = self.model.unit(UnitId(index));
        format!(
            "{}: {} load={} job={} restarts={} masked={} enabled={} {:?}\n    {:?}",
            NAMES[index],
            unit.active().as_str(),
            unit.load().as_str(),
            unit.job().is_some(),
            unit.n_restarts(),
            unit.is_masked(),
            unit.is_enabled(),
            self.truth[index],
            unit.spec(),
        )
    }
}

/// `Requires=`, `BindsTo=` and `Requisite=`.
fn is_need(bond: Bond) -> bool {
    matches!(bond, Bond::Requires | Bond::BindsTo | Bond::Requisite)
}
