//! The life cycle of a service (systemd's unit.c and service.c).

use std::time::Duration;

use super::jobs::{JobKind, Mode};
use super::spec::{Bond, Dependency, Exit, ProcessSignal, Restart, Type};
use super::unit::{ActiveState, LoadState, Process, ServiceResult, SubState, UnitId};
use super::{Lives, Model};

/// What became of a unit's start.
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
        if self[unit].active() == ActiveState::Active {
            return Start::Already;
        }
        if self[unit].load != LoadState::Loaded {
            return Start::Failed;
        }
        let spec = &self[unit].spec;
        let is_bound = |it: &&Dependency| it.bond == Bond::BindsTo && it.after;
        if spec.parents.iter().filter(is_bound).any(|it| self[it.parent].active() != ActiveState::Active) {
            return Start::Dependency;
        }
        if !self.is_below_start_limit(unit) {
            self.enter_dead(unit, ServiceResult::StartLimitHit, false);
            return Start::Failed;
        }
        match self[unit].run.sub {
            SubState::StopSigterm | SubState::StopSigkill | SubState::AutoRestart => Start::Later,
            SubState::Start | SubState::Running | SubState::Exited => Start::Begun,
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

    /// `service_start` of what is down.
    fn spawn(&mut self, unit: UnitId, lives: &mut Lives<'_>) {
        let now = self.now;
        if std::mem::take(&mut self[unit].is_untold) {
            self.signal_change(unit);
        }
        let life = lives(unit, now);
        let tells_ready = self[unit].spec.kind == Type::Notify;
        let ready = life.ready_after.filter(|_| tells_ready).map(|after| self.due_in(after));
        let ends = life.lives_for.map(|after| self.due_in(after));
        let timeout = self[unit].spec.timeout_start;
        let timeout = timeout.map(|timeout| self.due_in(timeout));
        let it = &mut self[unit];
        it.runs += 1;
        it.stops <<= 1;
        let run = &mut it.run;
        run.invocation = Some(it.runs);
        run.result = ServiceResult::Success;
        run.forbid_restart = false;
        run.last_exit = None;
        if std::mem::take(&mut run.flush_n_restarts) {
            run.n_restarts = 0;
        }
        run.run_began = Some(now);
        run.run_ended = None;
        run.process = Some(Process { life, ready, ends, exit: life.exit });
        if it.spec.kind == Type::Simple {
            self.set_sub(unit, SubState::Running);
        } else {
            it.run.timer = timeout;
            self.set_sub(unit, SubState::Start);
        }
    }

    /// `service_stop`; returns whether the journal is told, which a stop in mid-start is not.
    pub(super) fn stop_unit(&mut self, unit: UnitId) -> bool {
        self[unit].run.forbid_restart = true;
        match self[unit].run.sub {
            SubState::Dead | SubState::Failed | SubState::StopSigterm | SubState::StopSigkill => false,
            SubState::AutoRestart => {
                self.set_sub(unit, SubState::Dead);
                false
            }
            SubState::Start => {
                self.enter_stop(unit, ServiceResult::Success);
                false
            }
            SubState::Running | SubState::Exited => {
                self.enter_stop(unit, ServiceResult::Success);
                true
            }
        }
    }

    /// `service_enter_signal` with SIGTERM, and all that follows at once if there is no process.
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

    /// SIGTERM for the process, which may be about to end anyway.
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
        let stop_pending = self[unit].run.job.is_some_and(|job| job.kind == JobKind::Stop);
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

    /// The process says that it is ready.
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
        it.run.run_ended = Some(now);
        it.run.last_exit = Some(process.exit);
        let result = match process.exit {
            exit if it.spec.is_success(exit) => ServiceResult::Success,
            Exit::Code(_) => ServiceResult::ExitCode,
            Exit::Signal(_) => ServiceResult::Signal,
        };
        let (sub, kind, remains) = (it.run.sub, it.spec.kind, it.spec.remain_after_exit);
        self.note_result(unit, result);
        let succeeded = result == ServiceResult::Success;
        match sub {
            SubState::Start if kind == Type::Notify && succeeded => self.enter_stop(unit, ServiceResult::Protocol),
            SubState::Start | SubState::Running if succeeded && remains => self.set_sub(unit, SubState::Exited),
            SubState::Start | SubState::Running => self.enter_stop(unit, result),
            SubState::StopSigterm | SubState::StopSigkill => self.enter_dead(unit, ServiceResult::Success, true),
            SubState::Dead | SubState::Failed | SubState::Exited | SubState::AutoRestart => {}
        }
    }

    /// `service_dispatch_timer`.
    pub(super) fn timer_elapsed(&mut self, unit: UnitId) {
        self[unit].run.timer = None;
        match self[unit].run.sub {
            SubState::Start => self.enter_stop(unit, ServiceResult::Timeout),
            SubState::StopSigterm => {
                self.note_result(unit, ServiceResult::Timeout);
                self.signal_process(unit, ProcessSignal::Kill);
                self.set_sub(unit, SubState::StopSigkill);
            }
            SubState::AutoRestart => self.restart_automatically(unit),
            SubState::Dead | SubState::Failed | SubState::Running | SubState::Exited | SubState::StopSigkill => {}
        }
    }

    /// `service_enter_restart`: a restart job, so that it is passed on to children. It stays in `auto-restart` until
    /// that runs.
    fn restart_automatically(&mut self, unit: UnitId) {
        if self[unit].run.job.is_some_and(|job| job.kind == JobKind::Stop) {
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
        if matches!(sub, SubState::Dead | SubState::Failed | SubState::Running | SubState::Exited) {
            run.timer = None;
        }
        if is.is_down() && run.process.take().is_some() {
            run.has_orphan = true;
        }
        if was != is {
            run.state_change = now;
            if is.is_down() {
                run.inactive_enter = Some(now);
            }
            if is == ActiveState::Active {
                run.active_enter = Some(now);
            } else if was == ActiveState::Active {
                run.active_exit = Some(now);
            }
        }
        self.changed(unit);
        if self.process_job(unit) {
            let (was_down, is_up) = (was.is_down(), matches!(is, ActiveState::Active | ActiveState::Activating));
            if was_down && is_up {
                self.start_parents(unit);
            } else if !was.is_down_or_deactivating() && is.is_down_or_deactivating() {
                self.stop_bound_children(unit);
            }
        }
        if is == ActiveState::Active {
            self.maybe_unbound.push(unit);
        } else if is.is_down() {
            self.maybe_unbound.extend_from_slice(&self.children[unit.0]);
            self.signal_change(unit);
        }
    }

    /// `retroactively_start_dependencies`: without `After=`, parents may come up later than what needs them.
    fn start_parents(&mut self, unit: UnitId) {
        for index in 0..self[unit].spec.parents.len() {
            let it = self[unit].spec.parents[index];
            let parent = self[it.parent].active();
            if it.bond != Bond::Requisite && !it.after && parent.is_down_or_deactivating() {
                // Refused if the parent is masked or the like; nobody minds.
                let _ = self.enqueue(it.parent, JobKind::Start, Mode::Replace);
            }
        }
    }

    /// `retroactively_stop_dependencies`: what is bound to a unit that went down by itself goes down with it.
    fn stop_bound_children(&mut self, unit: UnitId) {
        for index in 0..self.children[unit.0].len() {
            let child = self.children[unit.0][index];
            let bound = self[child].spec.parents.iter().any(|it| it.parent == unit && it.bond == Bond::BindsTo);
            if bound && !self[child].active().is_down_or_deactivating() {
                let _ = self.enqueue(child, JobKind::Stop, Mode::Replace);
                self.signal_change(child);
            }
        }
    }

    /// `manager_dispatch_stop_when_bound_queue`: what is up, bound to something that is down, goes down as well, unless
    /// a job may still help that. Looked at once, when one of them has changed.
    pub(super) fn stop_unbound(&mut self) {
        while let Some(unit) = self.maybe_unbound.pop() {
            let down = |parent: UnitId| self[parent].active().is_down() && self[parent].run.job.is_none();
            let it = &self[unit];
            if it.active() == ActiveState::Active
                && it.run.job.is_none()
                && it.spec.parents.iter().any(|it| it.bond == Bond::BindsTo && down(it.parent))
            {
                let _ = self.enqueue(unit, JobKind::Stop, Mode::Replace);
            }
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
    }

    /// Timers after a reload: they count from the last change of state, by the settings now in force.
    pub(super) fn rearm(&mut self, unit: UnitId) {
        let it = &self[unit];
        let (changed, down) = (it.run.state_change, it.run.inactive_enter.unwrap_or(it.run.state_change));
        let at = match it.run.sub {
            SubState::Start => it.spec.timeout_start.map(|timeout| changed + timeout),
            SubState::StopSigterm | SubState::StopSigkill => it.spec.timeout_stop.map(|timeout| changed + timeout),
            SubState::AutoRestart => Some(down + it.spec.restart_delay),
            SubState::Dead | SubState::Failed | SubState::Running | SubState::Exited => None,
        };
        self[unit].run.timer = at.map(|at| self.due_at(at));
    }
}
