//! A model of how systemd treats units: their states, their jobs, and what they do to each other.
//!
//! Pure and deterministic: no I/O, no clock, no randomness. Time is a `Duration` since an origin and passes only in
//! [`Model::advance`]. The model does not decide what a process does: the caller that advances time or performs an
//! operation provides the [`Life`] of each process that is spawned. The manager's signals are collected in order, see
//! [`Model::drain_signals`].
//!
//! The rules follow systemd 252: its man pages (systemd.service(5), systemd.unit(5)), its sources, whose functions the
//! comments name, and its observed behaviour. `tests/it/agreement/` compares the model with a real manager.
//!
//! The parts: [`transaction`] determines the jobs that a job brings with it, and refusals; [`jobs`] has the jobs and
//! their queue; [`service`] the life cycle of a service; [`effects`] its effects on others; [`triggers`] timers and
//! sockets; [`memory`] loading and unloading; [`unit`] the properties of a unit, and [`states`] their values; [`spec`]
//! unit files and processes. A target or slice is a unit without a process; a unit in a slice requires it, and is
//! ordered after it.
//!
//! # Surprising behaviour of systemd 252 that was observed
//!
//! - After the start limit is hit by automatic restarts, `Result` stays that of the last run; `NRestarts` counts the
//!   refused restart too. `NRestarts` survives a stop and even a restart in mid-`auto-restart`; the next start after
//!   an end that was to be final zeroes it.
//! - The window of the start limit does not slide. A reload forgets the count, as do `reset-failed` and unloading.
//! - A start during `auto-restart` or deactivation counts at once, waits, and counts again whenever its job is retried:
//!   when the unit changes, and when a job of a unit ends that it is ordered with, even a `try-restart` without effect.
//!   If that exceeds the limit, the unit fails immediately; during deactivation this leaves an orphan, see
//!   [`Unit::has_orphan`]. A start without a unit that it is bound to does not count.
//! - A restart becomes a start with the same number when the first half is done. The state in between is signalled. So
//!   is `failed` or `inactive` before `auto-restart`, although it does not last.
//! - The journal records a stop (JOB_TYPE=stop) for a restart, and for a child that went down with a unit that it is
//!   bound to. For a unit that was stopped while activating, in `auto-restart`, or up without a process, there is no
//!   "Stopping", but the "Stopped" at the end of a stop.
//! - Without `After=`, a child starts before it is known whether its parent does. If the parent's job fails later, the
//!   child's job fails too if it has not ended, but its process continues. A child that is up is checked again only
//!   when it, its parent, or a file changes.
//! - A unit that enters `auto-restart` starts parents that are down, unless it is ordered after them.
//! - In mode `replace`, even the check of `Requisite=` cancels a parent's stop.
//! - A unit whose file is masked, missing or invalid continues to run with default settings and without dependencies.
//!   In `auto-restart` the default `RestartSec=` applies, and the unit ends up failed, because it must not be started.
//! - A reload of the files during a start makes the manager run the start again, which counts for the start limit.
//! - A stop of a unit that is down is signalled as its job, a `try-restart` never is.
//! - A start without requirements is accepted during a shutdown, and waits forever; others are refused.
//! - A unit that enters `auto-restart` stops the units that it conflicts with.
//! - Whether a newly loaded unit is signalled to have a job before it starts varies; here it never is.
//!
//! # What is not modelled
//!
//! Services: `ExecStop=`, `ExecStartPost=`, `ExecStopPost=`, `ExecCondition=`, more than one `ExecStartPre=` line, an
//! `ExecReload=` that fails by itself or never ends, children that outlive the main process other than one that ignores
//! SIGTERM, orphans, conditions, `Type=forking`, `exec`, `dbus`, `idle`, watchdogs, core dumps, lack of memory.
//!
//! Timers: all but one `OnActiveSec=` or a calendar with fixed steps. Sockets: `Accept=yes`, commands, `TriggerLimit`,
//! and a socket whose file, or whose service's file, is masked or removed. Paths and other kinds of units.
//!
//! Dependencies: `Upholds=`, `OnFailure=`, `PropagatesReloadTo=`, default dependencies (except that all units conflict
//! with the shutdown), cycles, and more than one line between two units. The limit for starts and stops by the manager
//! itself (`StopWhenUnneeded=`), and that setting in a group, where systemd was observed to differ.
//! `JobRunningTimeoutSec=`, `IgnoreOnIsolate=`, `AllowIsolate=`.
//!
//! The end of the manager after its shutdown, the time that it takes itself, and `daemon-reexec`. A transient unit is
//! one whose file is gone when it is unloaded; its creation is a start. An invalid file is one without other settings.
//!
//! The agreement test does not generate isolation, shutdown, transient and generated units, calendars, a child that
//! outlives its process, stops of several units at once, and slices: these follow systemd's sources. systemd leaves
//! open in which order independent jobs run, and which of two simultaneous events it notices first: see [`Whim`].

mod effects;
mod jobs;
mod memory;
mod service;
mod spec;
mod states;
mod transaction;
mod triggers;
mod unit;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_dependencies;

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::time::Duration;

pub use jobs::{Job, JobId, JobKind, JobResult, Mode, Refusal};
pub use spec::{Bond, Dependency, Elapses, Exit, File, Life, ProcessSignal, Restart, Spec, Type};
pub use states::{ActiveState, LoadState, ServiceResult, SubState};
pub use unit::{Origin, Unit, UnitId};

use transaction::Transaction;
use unit::Due;

/// Provides the life of each process that is spawned, given its unit and the time.
pub type Lives<'a> = dyn FnMut(UnitId, Duration) -> Life + 'a;

/// The manager's signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `ActiveState`, `SubState` being `auto-restart`, or `Job` has changed. A job without effect, such as a
    /// `try-restart` of a unit that is down, is never in `job`, except the stop of a unit that is down.
    Changed { unit: UnitId, active: ActiveState, auto_restart: bool, job: Option<JobId> },
    /// A job has ended.
    JobRemoved { job: JobId, unit: UnitId, kind: JobKind, result: JobResult },
    /// A unit has been loaded.
    UnitNew(UnitId),
    /// A unit has been unloaded; everything known about it is forgotten.
    UnitRemoved(UnitId),
    /// The manager begins (true) or has ended (false) to reload its files.
    Reloading(bool),
}

/// Choices that systemd leaves open, or to chance. Results that depend on them are races. (Its run queue is a heap, in
/// which jobs of the same priority have no order.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Whim {
    /// Of independent jobs, the last one runs first.
    pub last_job_first: bool,
    /// Jobs that may have waited for one that has ended are queued before the others.
    pub freed_job_first: bool,
    /// Simultaneous events are all noticed before a job runs.
    pub jobs_wait: bool,
}

/// What is due for a unit.
#[derive(Debug, Clone, Copy)]
enum Scheduled {
    /// The unit may have changed since the last signal.
    Unknown,
    Nothing,
    Next(Due),
}

/// The other end of a [`Dependency`].
#[derive(Debug, Clone, Copy)]
struct Child {
    unit: UnitId,
    bond: Bond,
    after: bool,
}

/// A service manager with its units.
#[derive(Debug, Clone, Default)]
pub struct Model {
    now: Duration,
    units: Vec<Unit>,
    /// The events that are due for each unit. Scanned for each event, and therefore small.
    schedule: Vec<Scheduled>,
    /// For each unit, the loaded units that refer to it.
    children: Vec<Vec<Child>>,
    signals: Vec<Signal>,
    run_queue: VecDeque<UnitId>,
    changed: Vec<UnitId>,
    maybe_unbound: Vec<UnitId>,
    maybe_unneeded: Vec<UnitId>,
    maybe_garbage: Vec<UnitId>,
    transaction: Transaction,
    whim: Whim,
    is_shutting_down: bool,
    jobs: u64,
    dues: u64,
}

impl Index<UnitId> for Model {
    type Output = Unit;

    fn index(&self, unit: UnitId) -> &Unit {
        &self.units[unit.0]
    }
}

/// Private on purpose: from outside, units change only by operations.
impl IndexMut<UnitId> for Model {
    fn index_mut(&mut self, unit: UnitId) -> &mut Unit {
        self.schedule[unit.0] = Scheduled::Unknown;
        &mut self.units[unit.0]
    }
}

impl Model {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new unit file, which the manager has not read yet. Units that it refers to must exist before it is loaded: if
    /// they refer to each other, [`Model::edit`] their files later.
    pub fn add(&mut self, name: impl Into<String>, spec: Spec) -> UnitId {
        let unit = UnitId(self.units.len());
        assert!(unit.0 < 64, "a bit set has 64 units");
        self.units.push(Unit::new(name.into(), File::Good(spec)));
        self.schedule.push(Scheduled::Unknown);
        self.children.push(Vec::new());
        unit
    }

    /// Sets the origin of a unit's file; the default is a person.
    pub fn set_origin(&mut self, unit: UnitId, origin: Origin) {
        self[unit].origin = origin;
    }

    /// Decides what systemd leaves open.
    pub fn set_whim(&mut self, whim: Whim) {
        self.whim = whim;
    }

    /// Changes how long the living process will take to end after SIGTERM; `None` ignores it.
    pub fn set_stop_takes(&mut self, unit: UnitId, stop_takes: Option<Duration>) {
        if let Some(process) = &mut self[unit].run.process {
            process.life.stop_takes = stop_takes;
        }
    }

    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    #[must_use]
    pub fn unit(&self, unit: UnitId) -> &Unit {
        &self[unit]
    }

    /// All units, in the order of their numbers.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Whether anything was signalled since the last call of [`drain_signals`](Self::drain_signals).
    #[must_use]
    pub fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    /// The signals since the last call, in order.
    pub fn drain_signals(&mut self) -> std::vec::Drain<'_, Signal> {
        self.signals.drain(..)
    }

    /// The time of the next event; never in the past.
    #[must_use]
    pub fn next_event(&self) -> Option<Duration> {
        let due = |(unit, scheduled): (&Unit, &Scheduled)| match scheduled {
            Scheduled::Unknown => unit.due(),
            Scheduled::Nothing => None,
            Scheduled::Next(due) => Some(*due),
        };
        self.units.iter().zip(&self.schedule).filter_map(due).min().map(|due| due.at.max(self.now))
    }

    /// Lets time pass, and processes all events until then, `to` included.
    pub fn advance(&mut self, to: Duration, lives: &mut Lives<'_>) {
        while self.do_next(to) {
            if self.whim.jobs_wait && self.next_event() == Some(self.now) {
                self.stop_unbound();
                self.stop_unneeded();
                self.signal_changes();
            } else {
                self.settle(lives);
            }
        }
        self.now = self.now.max(to);
    }

    /// Processes the next event, if it is due by then, but none of the resulting work.
    fn do_next(&mut self, by: Duration) -> bool {
        let mut next: Option<(Due, usize)> = None;
        for (index, scheduled) in self.schedule.iter_mut().enumerate() {
            if let Scheduled::Unknown = scheduled {
                *scheduled = self.units[index].due().map_or(Scheduled::Nothing, Scheduled::Next);
            }
            if let Scheduled::Next(due) = *scheduled
                && next.is_none_or(|(earliest, _)| due < earliest)
            {
                next = Some((due, index));
            }
        }
        let Some((due, index)) = next.filter(|(due, _)| due.at <= by) else { return false };
        self.now = self.now.max(due.at);
        let (unit, is_due) = (UnitId(index), |it: Option<Due>| it == Some(due));
        let run = &self[unit].run;
        if is_due(run.timer) {
            self.timer_elapsed(unit);
        } else if is_due(run.reloaded) {
            self.reload_ended(unit);
        } else if is_due(run.process.and_then(|process| process.ready)) {
            self.process_ready(unit);
        } else if is_due(run.job.and_then(|job| job.timer)) {
            self.finish_job(unit, JobResult::Timeout, true);
        } else {
            self.process_ended(unit);
        }
        true
    }

    /// `systemctl start`.
    ///
    /// # Errors
    ///
    /// If the manager does not accept the job.
    pub fn start(&mut self, unit: UnitId, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        self.request(unit, JobKind::Start, mode, lives)
    }

    /// `systemctl stop`.
    ///
    /// # Errors
    ///
    /// If the manager does not accept the job.
    pub fn stop(&mut self, unit: UnitId, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        self.load_into_memory(unit);
        if matches!(self[unit].load, LoadState::NotFound | LoadState::BadSetting)
            && self[unit].active() == ActiveState::Inactive
        {
            self.settle(lives);
            return Err(Refusal::NotLoaded);
        }
        self.request(unit, JobKind::Stop, mode, lives)
    }

    /// `systemctl restart`, which starts a unit that is down.
    ///
    /// # Errors
    ///
    /// If the manager does not accept the job.
    pub fn restart(&mut self, unit: UnitId, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        self.request(unit, JobKind::Restart, mode, lives)
    }

    /// `systemctl try-restart`, which ignores a unit that is down.
    ///
    /// # Errors
    ///
    /// If the manager does not accept the job.
    pub fn try_restart(&mut self, unit: UnitId, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        let down = self[unit].active().is_down_or_deactivating();
        self.request(unit, if down { JobKind::Nop } else { JobKind::Restart }, mode, lives)
    }

    /// `systemctl reload`. Its outcome is in the [`Life`] of the process.
    ///
    /// # Errors
    ///
    /// If the manager does not accept the job.
    pub fn reload(&mut self, unit: UnitId, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        self.request(unit, JobKind::Reload, mode, lives)
    }

    /// Several stops at once: `systemctl stop a b c`. Each is a request of its own, and they begin when all are made.
    ///
    /// # Errors
    ///
    /// If the manager does not accept one of the jobs; the others are enqueued.
    pub fn stop_together(&mut self, units: &[UnitId], mode: Mode, lives: &mut Lives<'_>) -> Result<(), Refusal> {
        let mut all = Ok(());
        for unit in units {
            all = all.and(self.enqueue(*unit, JobKind::Stop, mode).map(|_| ()));
        }
        self.signal_changes();
        self.settle(lives);
        all
    }

    /// `systemctl exit`, or the end of the session: everything is stopped, and later requests are refused if they would
    /// start something.
    pub fn shut_down(&mut self, lives: &mut Lives<'_>) {
        self.enqueue_shutdown();
        self.signal_changes();
        self.settle(lives);
    }

    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.is_shutting_down
    }

    fn request(&mut self, unit: UnitId, kind: JobKind, mode: Mode, lives: &mut Lives<'_>) -> Result<JobId, Refusal> {
        self.load_into_memory(unit);
        let starts = matches!(kind, JobKind::Start | JobKind::Restart | JobKind::Nop);
        let refuses = starts && self[unit].spec.refuse_manual_start;
        let enqueued = if refuses { Err(Refusal::OnlyByDependency) } else { self.enqueue(unit, kind, mode) };
        self.signal_changes();
        self.settle(lives);
        enqueued
    }

    /// `systemctl reset-failed`.
    ///
    /// # Errors
    ///
    /// If the unit is not in memory.
    pub fn reset_failed(&mut self, unit: UnitId, lives: &mut Lives<'_>) -> Result<(), Refusal> {
        if !self[unit].in_memory {
            return Err(Refusal::NotLoaded);
        }
        self.reset_failed_unit(unit);
        self.settle(lives);
        Ok(())
    }

    /// Sends a signal to the main process; false if there is none. It may handle SIGTERM, all others end it. Its death
    /// is noticed as the next event.
    pub fn kill(&mut self, unit: UnitId, signal: ProcessSignal) -> bool {
        let has_process = self[unit].has_process();
        if has_process {
            self.signal_process(unit, signal);
        }
        has_process
    }

    /// `systemctl kill --signal=KILL`: ends all processes of the unit.
    pub fn kill_all(&mut self, unit: UnitId) {
        self.signal_process(unit, ProcessSignal::Kill);
    }

    /// Processes all immediate consequences of the last event, and signals them.
    fn settle(&mut self, lives: &mut Lives<'_>) {
        loop {
            self.stop_unbound();
            self.stop_unneeded();
            if self.run_queue.is_empty() {
                break;
            }
            self.signal_changes();
            self.run_jobs(lives);
        }
        self.signal_changes();
        self.collect_garbage();
    }

    /// Records that a unit may have changed.
    fn changed(&mut self, unit: UnitId) {
        if !std::mem::replace(&mut self[unit].changed, true) {
            self.changed.push(unit);
        }
    }

    /// Changes are signalled when there is nothing else to do, when a unit's job ends, or when it goes down: other
    /// short-lived states are not signalled.
    fn signal_changes(&mut self) {
        while let Some(unit) = self.changed.pop() {
            self.signal_change(unit);
            self[unit].changed = false;
            self.maybe_garbage.push(unit);
        }
    }

    fn signal_change(&mut self, unit: UnitId) {
        if self[unit].signalled != self[unit].to_signal() {
            self.signal_state(unit);
        }
    }

    fn signal_state(&mut self, unit: UnitId) {
        let it = &mut self[unit];
        if it.in_memory && !it.is_untold {
            it.signalled = it.to_signal();
            let (active, auto_restart, job) = it.signalled;
            self.signals.push(Signal::Changed { unit, active, auto_restart, job });
        }
    }

    fn due_in(&mut self, wait: Duration) -> Due {
        self.due_at(self.now + wait)
    }

    fn due_at(&mut self, at: Duration) -> Due {
        self.dues += 1;
        Due { at, order: self.dues }
    }
}
