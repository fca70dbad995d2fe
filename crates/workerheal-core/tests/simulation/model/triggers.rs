//! Timers and sockets, which start a service on an event (systemd's timer.c and socket.c).

use std::time::Duration;

use super::jobs::{JobKind, Mode};
use super::service::Start;
use super::spec::{Bond, Elapses, Type};
use super::states::{LoadState, ServiceResult, SubState};
use super::unit::UnitId;
use super::{Lives, Model};

impl Model {
    /// The service that a timer or socket starts.
    fn triggered(&self, unit: UnitId) -> Option<UnitId> {
        self[unit].spec.parents.iter().find(|it| it.bond == Bond::Triggers).map(|it| it.parent)
    }

    /// `timer_start` and `socket_start`, below the start limit.
    pub(super) fn start_trigger(&mut self, unit: UnitId) -> Start {
        let Some(service) = self.triggered(unit).filter(|service| self[*service].load == LoadState::Loaded) else {
            return Start::Failed;
        };
        let is_socket = self[unit].spec.kind == Type::Socket;
        let is_free = matches!(self[service].run.sub, SubState::Dead | SubState::Failed | SubState::AutoRestart);
        if is_socket && !is_free {
            return Start::Failed;
        }
        self.begin_run(unit);
        let run = &mut self[unit].run;
        run.result = ServiceResult::Success;
        run.is_pending = false;
        if is_socket {
            self.set_sub(unit, SubState::Listening);
        } else {
            self.wait_for_time(unit, true);
        }
        Start::Begun
    }

    /// `timer_enter_waiting`.
    fn wait_for_time(&mut self, unit: UnitId, is_initial: bool) {
        let (now, elapses) = (self.now, self[unit].spec.elapses);
        let since = if is_initial { now } else { self[unit].run.active_enter.unwrap_or(now) };
        let at = match elapses {
            Elapses::Once(after) => Some(since + after).filter(|at| is_initial || *at > now),
            Elapses::Every(time) => {
                let times = now.as_nanos() / time.as_nanos().max(1) + 1;
                u32::try_from(times).ok().map(|times| time * times)
            }
        };
        self.set_sub(unit, if at.is_some() { SubState::Waiting } else { SubState::Elapsed });
        self[unit].run.timer = at.map(|at| self.due_at(at));
    }

    /// `timer_enter_running`.
    pub(super) fn timer_triggers(&mut self, unit: UnitId) {
        if self.has_stop_job(unit) {
            return;
        }
        let Some(service) = self.triggered(unit) else { return };
        if self.enqueue(service, JobKind::Start, Mode::Replace).is_err() {
            self.fail_trigger(unit, ServiceResult::Resources);
            return;
        }
        self.set_sub(unit, SubState::Running);
    }

    /// A client connects to a socket, and waits. Returns whether the socket is listening.
    pub fn connect(&mut self, socket: UnitId, lives: &mut Lives<'_>) -> bool {
        let is_open = matches!(self[socket].run.sub, SubState::Listening | SubState::Running);
        if is_open {
            self[socket].run.is_pending = true;
            self.take_connection(socket);
            self.signal_changes();
            self.settle(lives);
        }
        is_open
    }

    /// `socket_enter_running`, if a client waits.
    pub(super) fn take_connection(&mut self, socket: UnitId) {
        if self[socket].run.sub != SubState::Listening || !self[socket].run.is_pending || self.has_stop_job(socket) {
            return;
        }
        let Some(service) = self.triggered(socket) else { return };
        let it = &self[service];
        let is_coming = it.run.job.map_or(!it.active().is_down_or_deactivating(), |job| !job.kind.takes_down());
        if !is_coming && self.enqueue(service, JobKind::Start, Mode::Replace).is_err() {
            self.fail_trigger(socket, ServiceResult::Resources);
            return;
        }
        self.set_sub(socket, SubState::Running);
    }

    fn fail_trigger(&mut self, unit: UnitId, result: ServiceResult) {
        // The earlier state was seen.
        self.signal_change(unit);
        self[unit].run.result = result;
        self.set_sub(unit, SubState::Failed);
    }

    /// `unit_trigger_notify`: the state or the job of a service has changed.
    pub(super) fn notify_triggers(&mut self, service: UnitId) {
        for index in 0..self.children[service.0].len() {
            let child = self.children[service.0][index];
            if child.bond == Bond::Triggers && self[service].load == LoadState::Loaded {
                match self[child.unit].spec.kind {
                    Type::Socket => self.notify_socket(child.unit, service),
                    _ => self.notify_timer(child.unit, service),
                }
            }
        }
    }

    fn notify_timer(&mut self, timer: UnitId, service: UnitId) {
        let waits_anew = match self[timer].run.sub {
            SubState::Waiting | SubState::Elapsed => true,
            SubState::Running => self[service].active().is_down(),
            _ => false,
        };
        if waits_anew {
            self.wait_for_time(timer, false);
        }
    }

    fn notify_socket(&mut self, socket: UnitId, service: UnitId) {
        let state = self[socket].run.sub;
        if !matches!(state, SubState::Running | SubState::Listening) {
            return;
        }
        let it = &self[service].run;
        if it.limit_hit {
            self.fail_trigger(socket, ServiceResult::ServiceStartLimitHit);
            return;
        }
        if it.job.is_some() {
            return;
        }
        if matches!(it.sub, SubState::Dead | SubState::Failed | SubState::AutoRestart) {
            if state != SubState::Listening {
                self.set_sub(socket, SubState::Listening);
            }
            // A client that was not accepted is noticed in the next iteration of the event loop.
            if self[socket].run.is_pending {
                self[socket].run.timer = Some(self.due_in(Duration::ZERO));
            }
        } else if it.sub == SubState::Running && state != SubState::Running {
            self.set_sub(socket, SubState::Running);
        }
    }

    /// A process accepts the waiting clients.
    pub(super) fn accept_connections(&mut self, service: UnitId) {
        for index in 0..self.children[service.0].len() {
            let child = self.children[service.0][index];
            if child.bond == Bond::Triggers {
                self[child.unit].run.is_pending = false;
            }
        }
    }
}
