//! The life cycle of a service (systemd's unit.c and service.c).

use std::time::Duration;

use super::jobs::{JobKind, Mode};
use super::spec::{Bond, Dependency, Exit, Life, ProcessSignal, Restart, Type};
use super::states::{ActiveState, LoadState, ServiceResult, SubState};
use super::unit::{Process, Role, UnitId};
use super::{Lives, Model};

/// The outcome of a unit's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Begun,
    /// Not now: the job waits for the unit's next change.
    Later,
    Already,
    Failed,
    Dependency,
}

impl Model {
    /// `unit_start`.
    pub(super) fn start_unit(&mut self, unit: UnitId, lives: &mut Lives<'_>) -> Start {
        if self[unit].active().is_up() {
            return Start::Already;
        }
        if self[unit].load != LoadState::Loaded {
            return Start::Failed;
        }
        let spec = &self[unit].spec;
        let is_bound = |it: &&Dependency| it.bond == Bond::BindsTo && it.after;
        if spec.parents.iter().filter(is_bound).any(|it| !self[it.parent].active().is_up()) {
            return Start::Dependency;
        }
        if spec.kind == Type::Target {
            self.announce_loaded(unit);
            self.begin_run(unit);
            self.set_sub(unit, SubState::Active);
            return Start::Begun;
        }
        let is_refused = !self.is_below_start_limit(unit);
        self[unit].run.limit_hit = is_refused;
        if is_refused {
            self.enter_dead(unit, ServiceResult::StartLimitHit, false);
            return Start::Failed;
        }
        if matches!(self[unit].spec.kind, Type::Timer | Type::Socket) {
            self.announce_loaded(unit);
            return self.start_trigger(unit);
        }
        match self[unit].run.sub {
            SubState::StopSigterm | SubState::StopSigkill | SubState::AutoRestart => Start::Later,
            SubState::StartPre
            | SubState::Start
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::Active
            | SubState::Waiting
            | SubState::Elapsed
            | SubState::Listening => Start::Begun,
            SubState::Dead | SubState::Failed => {
                self.spawn(unit, lives);
                Start::Begun
            }
        }
    }

    /// Counts a start: `ratelimit_below`. The window begins with the first start in it and does not move.
    fn is_below_start_limit(&mut self, unit: UnitId) -> bool {
        let now = self.now;
        let unit = &mut self[unit];
        let (interval, burst) = (unit.spec.start_limit_interval, unit.spec.start_limit_burst);
        if interval.is_zero() || burst == 0 {
            return true;
        }
        let window = unit.run.limit.filter(|(begin, _)| now.saturating_sub(*begin) <= interval);
        let (begin, starts) = window.map_or((now, 1), |(begin, starts)| (begin, starts + 1));
        unit.run.limit = Some((begin, starts));
        starts <= burst
    }

    /// A newly loaded unit is signalled from its start on.
    fn announce_loaded(&mut self, unit: UnitId) {
        if std::mem::take(&mut self[unit].is_untold) {
            self.signal_change(unit);
        }
    }

    /// `unit_acquire_invocation_id`.
    pub(super) fn begin_run(&mut self, unit: UnitId) {
        let it = &mut self[unit];
        it.runs += 1;
        it.stops <<= 1;
        it.run.invocation = Some(it.runs);
    }

    /// `service_start` of a unit that is down.
    fn spawn(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        let now = self.now;
        self.announce_loaded(unit);
        let life = lives(unit, now);
        self.begin_run(unit);
        let run = &mut self[unit].run;
        run.result = ServiceResult::Success;
        run.forbid_restart = false;
        run.last_exit = None;
        if std::mem::take(&mut run.flush_n_restarts) {
            run.n_restarts = 0;
        }
        run.run_began = Some(now);
        run.run_ended = None;
        if let Some((takes, exit)) = life.pre {
            let ends = Some(self.due_in(takes));
            self[unit].run.process = Some(Process { role: Role::Pre, life, ready: None, ends, exit });
            self.arm_start(unit);
            self.set_sub(unit, SubState::StartPre);
        } else {
            self.spawn_main(unit, life);
        }
    }

    /// `service_enter_start`.
    fn spawn_main(&mut self, unit: UnitId, life: Life) {
        let kind = self[unit].spec.kind;
        let ready = life.ready_after.filter(|_| kind == Type::Notify).map(|after| self.due_in(after));
        let ends = life.lives_for.map(|after| self.due_in(after));
        if life.accepts {
            self.accept_connections(unit);
        }
        self[unit].run.process = Some(Process { role: Role::Main, life, ready, ends, exit: life.exit });
        if kind == Type::Simple {
            self.set_sub(unit, SubState::Running);
        } else {
            self.arm_start(unit);
            self.set_sub(unit, SubState::Start);
        }
    }

    fn arm_start(&mut self, unit: UnitId) {
        let timeout = self[unit].spec.timeout_start;
        self[unit].run.timer = timeout.map(|timeout| self.due_in(timeout));
    }

    /// `service_reload`.
    pub(super) fn reload_unit(&mut self, unit: UnitId) {
        let process = self[unit].run.process;
        let life = process.map_or(Life::GOOD, |process| process.life);
        if let (Some(process), Some((after, exit))) = (process, life.reload_exit) {
            let ends = Some(self.due_in(after));
            self[unit].run.process = Some(Process { ends, exit, ..process });
        }
        self.arm_start(unit);
        let reloaded = Some(self.due_in(life.reload_takes));
        let run = &mut self[unit].run;
        run.reloaded = reloaded;
        // There is nothing that could be signalled.
        run.reload_fails = process.is_none();
        self.set_sub(unit, SubState::Reload);
    }

    /// `ExecReload=` is done: `service_enter_running`.
    pub(super) fn reload_ended(&mut self, unit: UnitId) {
        self[unit].run.reloaded = None;
        if self[unit].has_process() {
            self.set_sub(unit, SubState::Running);
        } else if self[unit].spec.remain_after_exit && self[unit].run.result == ServiceResult::Success {
            self.set_sub(unit, SubState::Exited);
        } else {
            self.enter_stop(unit, ServiceResult::Success);
        }
    }

    /// `service_stop`; returns whether the journal gets a "Stopping", which a stop in mid-start does not.
    pub(super) fn stop_unit(&mut self, unit: UnitId) -> bool {
        self[unit].run.forbid_restart = true;
        if !self[unit].spec.kind.is_service() {
            self.set_sub(unit, SubState::Dead);
            return true;
        }
        match self[unit].run.sub {
            SubState::Dead | SubState::Failed | SubState::StopSigterm | SubState::StopSigkill => false,
            SubState::AutoRestart => {
                self.set_sub(unit, SubState::Dead);
                false
            }
            SubState::StartPre | SubState::Start => {
                self.enter_stop(unit, ServiceResult::Success);
                false
            }
            SubState::Running | SubState::Exited | SubState::Reload => {
                self.enter_stop(unit, ServiceResult::Success);
                true
            }
            SubState::Active | SubState::Waiting | SubState::Elapsed | SubState::Listening => false,
        }
    }

    /// `service_enter_signal` with SIGTERM, and its immediate consequences if there is no process.
    fn enter_stop(&mut self, unit: UnitId, result: ServiceResult) {
        self.note_result(unit, result);
        let Some(process) = self[unit].run.process else {
            self.enter_dead(unit, ServiceResult::Success, true);
            return;
        };
        let timeout = self[unit].spec.timeout_stop;
        self[unit].run.timer = timeout.map(|timeout| self.due_in(timeout));
        self.terminate(unit, process);
        self.set_sub(unit, SubState::StopSigterm);
    }

    /// SIGTERM for the process, which may be about to end already.
    fn terminate(&mut self, unit: UnitId, process: Process) {
        let age = self.now.saturating_sub(self[unit].run.run_began.unwrap_or_default());
        self[unit].youngest_termination = self[unit].youngest_termination.min(age);
        if let Some(takes) = process.life.stop_takes {
            let stopped = self.due_in(takes);
            if process.ends.is_none_or(|ends| stopped < ends) {
                let exit = process.life.stop_exit;
                self[unit].run.process = Some(Process { ends: Some(stopped), exit, ..process });
            }
        }
    }

    pub(super) fn signal_process(&mut self, unit: UnitId, signal: ProcessSignal) {
        let Some(process) = self[unit].run.process else { return };
        if signal == ProcessSignal::Term {
            self.terminate(unit, process);
        } else {
            let ends = Some(self.due_in(Duration::ZERO));
            self[unit].run.process = Some(Process { ends, exit: Exit::Signal(signal), ..process });
        }
    }

    fn note_result(&mut self, unit: UnitId, result: ServiceResult) {
        let run = &mut self[unit].run;
        if run.result == ServiceResult::Success {
            run.result = result;
        }
    }

    /// `service_enter_dead`.
    fn enter_dead(&mut self, unit: UnitId, result: ServiceResult, allow_restart: bool) {
        self.note_result(unit, result);
        let stop_pending = self.has_stop_job(unit);
        let restarts = allow_restart && !stop_pending && self.shall_restart(unit);
        let failed = self[unit].run.result != ServiceResult::Success;
        self.set_sub(unit, if failed { SubState::Failed } else { SubState::Dead });
        if restarts {
            let delay = self[unit].spec.restart_delay;
            self[unit].run.timer = Some(self.due_in(delay));
            self.set_sub(unit, SubState::AutoRestart);
        } else {
            self[unit].run.flush_n_restarts = true;
        }
        self[unit].run.forbid_restart = false;
    }

    pub(super) fn has_stop_job(&self, unit: UnitId) -> bool {
        self[unit].run.job.is_some_and(|job| job.kind == JobKind::Stop)
    }

    /// `service_shall_restart`: the table of `Restart=` in systemd.service(5).
    fn shall_restart(&self, unit: UnitId) -> bool {
        use ServiceResult::{ExitCode, Signal, Success};
        let unit = &self[unit];
        let result = unit.run.result;
        !unit.run.forbid_restart
            && !unit.is_restart_prevented()
            && match unit.spec.restart {
                Restart::No | Restart::OnWatchdog => false,
                Restart::OnSuccess => result == Success,
                Restart::OnFailure => result != Success,
                Restart::OnAbnormal => !matches!(result, Success | ExitCode),
                Restart::OnAbort => result == Signal,
                Restart::Always => true,
            }
    }

    /// The process reports that it is ready.
    pub(super) fn process_ready(&mut self, unit: UnitId) {
        if let Some(process) = &mut self[unit].run.process {
            process.ready = None;
        }
        let unit_ref = &self[unit];
        if unit_ref.run.sub == SubState::Start && unit_ref.spec.kind == Type::Notify {
            self.set_sub(unit, SubState::Running);
        }
    }

    /// `service_sigchld_event` for the main process.
    pub(super) fn process_ended(&mut self, unit: UnitId) {
        let now = self.now;
        let it = &mut self[unit];
        let Some(process) = it.run.process.take() else { return };
        let result = match process.exit {
            exit if it.spec.is_success(exit) => ServiceResult::Success,
            Exit::Code(_) => ServiceResult::ExitCode,
            Exit::Signal(_) => ServiceResult::Signal,
        };
        it.run.run_ended = Some(now);
        if process.role == Role::Main {
            it.run.last_exit = Some(process.exit);
            if process.life.leaves_child {
                let life = Life { stop_takes: None, ..process.life };
                it.run.process = Some(Process { role: Role::LeftBehind, life, ready: None, ends: None, ..process });
            }
        }
        if process.role != Role::LeftBehind {
            self.note_result(unit, result);
        }
        self.react_to_end(unit, process, result);
    }

    fn react_to_end(&mut self, unit: UnitId, ended: Process, result: ServiceResult) {
        let (sub, kind, remains) = (self[unit].run.sub, self[unit].spec.kind, self[unit].spec.remain_after_exit);
        let succeeded = result == ServiceResult::Success;
        match sub {
            SubState::StartPre if succeeded => self.spawn_main(unit, ended.life),
            SubState::StartPre => self.enter_stop(unit, result),
            SubState::Start if kind == Type::Notify && succeeded => self.enter_stop(unit, ServiceResult::Protocol),
            SubState::Start | SubState::Running if succeeded && remains => {
                self.set_sub(unit, SubState::Exited);
            }
            SubState::Start | SubState::Running => self.enter_stop(unit, result),
            // It ends with the end of the reload.
            SubState::Reload => {}
            SubState::StopSigterm | SubState::StopSigkill if self[unit].run.process.is_some() => {}
            SubState::StopSigterm | SubState::StopSigkill => self.enter_dead(unit, ServiceResult::Success, true),
            SubState::Dead
            | SubState::Failed
            | SubState::Exited
            | SubState::AutoRestart
            | SubState::Active
            | SubState::Waiting
            | SubState::Elapsed
            | SubState::Listening => {}
        }
    }

    /// `service_dispatch_timer`.
    pub(super) fn timer_elapsed(&mut self, unit: UnitId) {
        self[unit].run.timer = None;
        match self[unit].run.sub {
            SubState::StartPre | SubState::Start => self.enter_stop(unit, ServiceResult::Timeout),
            SubState::StopSigterm => {
                self.note_result(unit, ServiceResult::Timeout);
                self.signal_process(unit, ProcessSignal::Kill);
                self.set_sub(unit, SubState::StopSigkill);
            }
            SubState::AutoRestart => self.restart_automatically(unit),
            SubState::Waiting => self.timer_triggers(unit),
            SubState::Listening => self.take_connection(unit),
            SubState::Dead
            | SubState::Failed
            | SubState::Running
            | SubState::Exited
            | SubState::Reload
            | SubState::Active
            | SubState::Elapsed
            | SubState::StopSigkill => {}
        }
    }

    /// `service_enter_restart`: a restart job, so that it is passed on to children. The unit stays in `auto-restart`
    /// until that runs.
    fn restart_automatically(&mut self, unit: UnitId) {
        if self.has_stop_job(unit) {
            return;
        }
        if self.enqueue(unit, JobKind::Restart, Mode::Replace).is_err() {
            self.enter_dead(unit, ServiceResult::Resources, false);
            return;
        }
        self[unit].run.n_restarts += 1;
        self[unit].run.flush_n_restarts = false;
    }

    /// `service_set_state` and `unit_notify`.
    pub(super) fn set_sub(&mut self, unit: UnitId, sub: SubState) {
        let now = self.now;
        let run = &mut self[unit].run;
        let was = run.sub.active();
        let is = sub.active();
        run.sub = sub;
        if matches!(sub, SubState::Dead | SubState::Failed | SubState::Running | SubState::Exited | SubState::Active) {
            run.timer = None;
        }
        if sub != SubState::Reload {
            run.reloaded = None;
        }
        if is.is_down() && run.process.take().is_some() {
            run.has_orphan = true;
        }
        if was != is {
            run.state_change = now;
            if is.is_down() {
                run.inactive_enter = Some(now);
            } else if was.is_down() {
                run.inactive_exit = Some(now);
            }
            if is.is_up() && !was.is_up() {
                run.active_enter = Some(now);
            } else if was.is_up() && !is.is_up() {
                run.active_exit = Some(now);
            }
        }
        self.changed(unit);
        if self.process_job(unit) {
            let (was_down, is_up) = (was.is_down(), is.is_up() || is == ActiveState::Activating);
            if was_down && is_up {
                self.start_parents(unit);
                self.stop_partners(unit);
            } else if !was.is_down_or_deactivating() && is.is_down_or_deactivating() {
                self.stop_bound_children(unit);
            }
        }
        self.notify_triggers(unit);
        if is.is_up() {
            self.maybe_unbound.push(unit);
            self.maybe_unneeded.push(unit);
        } else if is.is_down() {
            let children = self.children[unit.0].iter();
            self.maybe_unbound.extend(children.filter(|child| child.bond == Bond::BindsTo).map(|child| child.unit));
            let parents = self.units[unit.0].spec.parents.iter();
            self.maybe_unneeded.extend(parents.filter(|it| it.bond.needs()).map(|it| it.parent));
            self.signal_change(unit);
        }
    }

    /// `unit_reset_failed` and `service_reset_failed`.
    pub(super) fn reset_failed_unit(&mut self, unit: UnitId) {
        if self[unit].run.sub == SubState::Failed {
            self.set_sub(unit, SubState::Dead);
        }
        let run = &mut self[unit].run;
        run.result = ServiceResult::Success;
        run.n_restarts = 0;
        run.flush_n_restarts = false;
        run.limit = None;
        run.limit_hit = false;
    }

    /// Timers after a reload: they count from the last change of state, by the new settings.
    pub(super) fn rearm(&mut self, unit: UnitId) {
        let it = &self[unit];
        let (changed, down) = (it.run.state_change, it.run.inactive_enter.unwrap_or(it.run.state_change));
        let at = match it.run.sub {
            SubState::StartPre | SubState::Start | SubState::Reload => {
                it.spec.timeout_start.map(|timeout| changed + timeout)
            }
            SubState::StopSigterm | SubState::StopSigkill => it.spec.timeout_stop.map(|timeout| changed + timeout),
            SubState::AutoRestart => Some(down + it.spec.restart_delay),
            SubState::Waiting | SubState::Listening => return,
            SubState::Dead
            | SubState::Failed
            | SubState::Running
            | SubState::Exited
            | SubState::Active
            | SubState::Elapsed => None,
        };
        self[unit].run.timer = at.map(|at| self.due_at(at));
    }
}
