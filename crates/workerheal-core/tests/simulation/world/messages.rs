//! Messages between the manager and the healer, with their latency and their faults.

use std::cmp::Reverse;
use std::time::Duration;

use workerheal_core::healer::{Fact, InspectionId, Outcome};
use workerheal_core::units::Detail;

use super::World;
use crate::model::{ActiveState, JobResult, Signal};
use crate::scenario::{Kind, SECOND};

/// A message under way.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "each is boxed when it is sent")]
pub enum Message {
    /// To the manager: a list of all units, or of those that are not up.
    List {
        all: bool,
    },
    Inspect(usize, InspectionId, Detail),
    /// The next step of a start.
    Start(usize),
    Stop(usize),
    Probe(usize),
    /// To the healer.
    Fact(Fact),
    /// The result of a start job.
    Ended(usize, u64, JobResult),
    /// The end of a start, as the connection to the manager reports it, with the number of the start.
    Finished(usize, Outcome),
    /// A start takes too long.
    Late(usize, u64),
}

/// A message with the time of its delivery; messages for the same time are delivered in the order of sending.
pub(super) struct Envelope {
    pub(super) at: Duration,
    pub(super) number: u64,
    /// Messages of a lost connection, or to a daemon that has ended, are not delivered.
    pub(super) connection: u32,
    /// Boxed, as the heap moves its entries.
    pub(super) message: Box<Message>,
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Envelope {}

impl PartialOrd for Envelope {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Envelope {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// When the last signals of a unit are delivered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastSignals {
    pub(super) any: Duration,
    pub(super) end_of_job: Duration,
}

impl World {
    /// The latency of the next message.
    fn latency(&mut self) -> Duration {
        if self.people.slow_until > self.now {
            return Duration::from_millis(self.chance.u64(100..5_000));
        }
        Duration::from_micros(self.chance.u64(200..2_000))
    }

    pub fn send(&mut self, mut message: Message) {
        if let Message::List { all } = &mut message {
            self.needs_all |= *all;
            if std::mem::replace(&mut self.listing, true) {
                self.list_again = true;
                return;
            }
            *all = std::mem::take(&mut self.needs_all) || self.now >= self.all_due;
        }
        let at = self.in_turn();
        self.send_at(at, message);
    }

    /// When a message that is sent now arrives, without faults.
    fn in_turn(&mut self) -> Duration {
        self.in_order = (self.now + self.latency()).max(self.in_order);
        self.in_order
    }

    pub fn send_at(&mut self, at: Duration, message: Message) {
        let message = Box::new(message);
        self.sent += 1;
        self.mailbox.push(Reverse(Envelope { at, number: self.sent, connection: self.connection, message }));
    }

    /// Sends the signals of the manager as messages; some are lost, late or repeated.
    pub(super) fn collect_signals(&mut self) {
        if !self.manager.has_signals() {
            return;
        }
        // While decisions are suspended, signals are ignored: a list has their content, but not their order.
        let is_quiet = self.people.noisy_until <= self.now && !self.laws.frozen;
        let is_watched = self.alive && self.connected && is_quiet;
        let is_watched = std::array::from_fn(|unit| is_watched && self.people.covers(unit));
        let signals = self.manager.signals(self.now, is_watched);
        self.stir();
        for signal in signals {
            if let Signal::Changed { unit, active: ActiveState::Active | ActiveState::Activating, .. } = signal
                && self.manager.is_started_by_others(unit.0)
            {
                self.laws.end_give_up(unit.0);
            }
            if let Signal::Changed { unit, .. } = signal
                && (self.manager.has_been_up_for(unit.0, self.policy.reset_after)
                    || self.manager.take_longest_uptime(unit.0) + SECOND >= self.policy.reset_after)
            {
                self.laws.units[unit.0].forgiven += 1;
            }
            if let Signal::UnitRemoved(unit) = signal
                && !self.manager.model.unit(unit).is_in_memory()
            {
                // A unit that the manager has unloaded has no history.
                self.laws.units[unit.0].forgiven += 1;
            }
            if !(self.alive && self.connected) {
                continue;
            }
            let Some(message) = self.manager.message(&signal, &self.names) else { continue };
            let may_be_disturbed =
                !matches!(message, Message::Fact(Fact::Frozen)) && self.people.noisy_until > self.now;
            // Only the end of the job reports the stop of a unit that was down already. It can be lost, but its order
            // must be reliable, which D-Bus promises.
            let is_job_done = matches!(message, Message::Fact(Fact::JobDone(_) | Fact::JobCancelled(_)));
            let is_end_of_job = is_job_done || matches!(message, Message::Fact(Fact::KeptFromStarting(_)));
            let may_be_moved = may_be_disturbed && !is_end_of_job;
            if is_job_done
                && self.people.noisy_until > self.now
                && let Signal::JobRemoved { unit, .. } = signal
            {
                self.manager.end_of_job_may_mislead(unit.0);
            }
            let unit = match signal {
                Signal::Changed { unit, .. } | Signal::JobRemoved { unit, .. } => unit.0,
                Signal::UnitNew(_) | Signal::UnitRemoved(_) | Signal::Reloading(_) => {
                    self.send(message);
                    continue;
                }
            };
            match self.chance.u8(..100) {
                0..20 if may_be_disturbed && self.plan.has(Kind::LostSignals) => {
                    self.note(|| format!("lost: {signal:?}"));
                    if is_job_done {
                        self.manager.end_of_job_is_lost(unit);
                    }
                }
                20..30 if may_be_moved && self.plan.has(Kind::LateSignals) => {
                    let at = self.now + Duration::from_millis(self.chance.u64(1..5_000));
                    self.send_signal(unit, at, is_end_of_job, message);
                }
                30..40 if may_be_moved && self.plan.has(Kind::TwiceSignals) => {
                    let at = self.in_turn();
                    self.send_signal(unit, at, is_end_of_job, message.clone());
                    self.send_signal(unit, at, is_end_of_job, message);
                }
                _ => {
                    let at = self.in_turn();
                    self.send_signal(unit, at, is_end_of_job, message);
                }
            }
        }
    }

    /// Sends a signal of a unit. Signals of its state may be reordered, but not the end of a job.
    fn send_signal(&mut self, unit: usize, at: Duration, is_end_of_job: bool, message: Message) {
        let last = &mut self.last_signals[unit];
        let at = at.max(if is_end_of_job { last.any } else { last.end_of_job });
        last.any = last.any.max(at);
        if is_end_of_job {
            last.end_of_job = at;
        }
        self.send_at(at, message);
    }
}
