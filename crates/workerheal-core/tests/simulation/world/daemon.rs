//! The daemon: it hands facts to the healer and performs its actions, saves its state, starts, ends, and loses its
//! connection.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::context::Context;
use workerheal_core::event::Phase;
use workerheal_core::healer::{Action, Fact, Healer, InspectionId, Mode, Outcome, Purpose};
use workerheal_core::pauses::{Pause, Pauses};
use workerheal_core::policy::Policy;
use workerheal_core::registry::Registry;
use workerheal_core::saved_state::{SavedPhase, SavedState};
use workerheal_core::selector::Selector;
use workerheal_core::time::Timestamp;
use workerheal_core::units::UnitName;

use super::World;
use super::messages::Message;
use super::past::in_short;
use crate::laws::Breach;
use crate::people::Intent;
use crate::scenario::{self, NAMES, PROBED};

/// Maximum delay until a changed state is saved.
const MAX_SAVE_DELAY: Duration = Duration::from_millis(250);

/// The saved state, and when it was saved.
pub(super) struct Written {
    pub(super) saved_state: SavedState,
    pub(super) origin: Duration,
    pub(super) at: Duration,
    /// The total change of the wall clock at that time.
    pub(super) turned: i64,
}

impl World {
    /// Hands a fact to the healer and performs its actions.
    pub fn observe(&mut self, fact: Fact) -> Result<(), Breach> {
        if !self.alive {
            return Ok(());
        }
        match &fact {
            Fact::Frozen => self.laws.frozen = true,
            Fact::Units(_) => self.laws.frozen = false,
            _ => {}
        }
        if self.trace
            && !matches!(fact, Fact::Deadline | Fact::Inspected(_, InspectionId { purpose: Purpose::Recheck, .. }, _))
        {
            let line = in_short(&fact);
            // Repeated lines are written once.
            if self.last_noted != line {
                self.note(|| format!("  fact {line}"));
                self.last_noted = line;
            }
        }
        if self.unwritten_since.is_some_and(|since| self.now >= since + MAX_SAVE_DELAY) {
            self.write()?;
        }
        let now = Timestamp::from_origin(self.now - self.origin);
        self.reached.note(&self.healer, &fact);
        let actions = self.healer.observe(now, fact);
        if self.healer.saved_state_changed() {
            self.unwritten_since.get_or_insert(self.now);
        }
        for action in actions {
            self.perform(action)?;
        }
        self.judge_attention()
    }

    fn perform(&mut self, action: Action) -> Result<(), Breach> {
        let unit_of = |world: &Self, unit: &UnitName| world.names.iter().position(|name| name == unit);
        match action {
            Action::Inspect { unit, id, detail } => {
                let Some(unit) = unit_of(self, &unit) else { return Ok(()) };
                if self.connected {
                    self.send(Message::Inspect(unit, id, detail));
                } else {
                    let at = self.now + Duration::from_micros(10);
                    let fact = Fact::Inspected(self.names[unit].clone(), id, Err("not connected".to_owned()));
                    self.send_at(at, Message::Fact(fact));
                }
            }
            Action::Stop(ref name) => {
                let Some(unit) = unit_of(self, name) else { return Ok(()) };
                self.note(|| format!("stop {}", NAMES[unit]));
                self.send(Message::Stop(unit));
            }
            Action::Start(start) => {
                self.note(|| format!("{start:?}"));
                self.starts += 1;
                let restart = start.restart;
                let Some((unit, number)) = self.manager.request_start(start) else { return Ok(()) };
                let known = self.known_intent(unit);
                self.laws.start(self.now, unit, restart, known, &self.policy).map_err(|breach| breach.of(unit))?;
                self.send(Message::Start(unit));
                self.stop_in_between(unit);
                self.send_at(self.now + self.policy.timeout, Message::Late(unit, number));
            }
            Action::Probe { unit, .. } => {
                let Some(unit) = unit_of(self, &unit) else { return Ok(()) };
                debug_assert_eq!(unit, PROBED);
                self.send(Message::Probe(unit));
            }
            Action::ListAll if self.connected => self.send(Message::List { all: true }),
            Action::ListAll => {}
            Action::Emit(event) => {
                self.note(|| format!("    {}: {event}", event.phase.as_str()));
                let Some(unit) = NAMES.iter().position(|name| *name == event.unit_name()) else { return Ok(()) };
                let oneshot = self.manager.is_oneshot(unit);
                let proof = self.laws.units[unit].proof.unwrap_or_default();
                if event.phase == Phase::Recovered
                    && !oneshot
                    && proof < self.policy.stable_after
                    && !self.manager.has_been_up_for(unit, self.policy.stable_after)
                {
                    let how = "it has not been up for stable_after".to_owned();
                    return Err(Breach { law: "recovered means proven", how }.of(unit));
                }
                if self.manager.has_been_up_for(unit, self.policy.reset_after) {
                    self.laws.units[unit].forgiven += 1;
                }
                let along = self.manager.went_with_a_parent(unit);
                self.laws
                    .event(self.now, unit, &event, oneshot, along, &self.policy)
                    .map_err(|breach| breach.of(unit))?;
                match event.phase {
                    Phase::Held => self.reached.note_refusal(&self.healer, &self.names[unit]),
                    Phase::GaveUp => self.reached.note_give_up(&event.reason),
                    _ => {}
                }
                if matches!(event.phase, Phase::Held | Phase::Stopped | Phase::GaveUp | Phase::Scheduled) {
                    self.laws.units[unit].healable_since = None;
                }
            }
        }
        Ok(())
    }

    /// Saves the healer's state.
    fn write(&mut self) -> Result<(), Breach> {
        self.unwritten_since = None;
        if let Some(saved_state) = self.healer.saved_state_if_changed() {
            for unit in scenario::FIRST_WORKER..scenario::FIRST_HELPER {
                let condition = saved_state.workers.get(&self.names[unit]).map(|worker| &worker.phase);
                let is_given_up = matches!(condition, Some(SavedPhase::GivenUp(_)));
                if self.known_intent(unit).covered {
                    let has_usable_file = self.manager.has_usable_file(unit);
                    let stands = self.laws.give_up_stands(unit, is_given_up, has_usable_file);
                    stands.map_err(|breach| breach.of(unit))?;
                }
            }
            self.written = Some(Written { saved_state, origin: self.origin, at: self.now, turned: self.turned });
        }
        Ok(())
    }

    /// How far the wall clock was set since the state was saved, in seconds.
    pub fn turned_since_written(&self) -> i64 {
        self.written.as_ref().map_or(0, |written| self.turned - written.turned)
    }

    /// Starts a daemon: it restores the saved state, reads the files, connects, and requests a list.
    pub fn start_daemon(&mut self) -> Result<(), Breach> {
        self.origin = self.now;
        self.alive = true;
        self.connection += 1;
        (self.listing, self.list_again, self.needs_all) = (false, false, false);
        self.failed_sockets.clear();
        self.laws.frozen = true;
        let chance = self.chance.fork();
        self.healer = new_healer(&self.policy, &self.people.registry(), chance);
        if let Some(written) = &self.written {
            let away = self.now - written.at;
            let turned = self.turned_since_written();
            let by = Duration::from_secs(turned.unsigned_abs());
            let away = if turned < 0 { away.saturating_sub(by) } else { away + by };
            self.healer.restore(aged(&written.saved_state, written.at - written.origin, away));
        }
        self.people.all_files_are_read();
        let marker = self.people.marker;
        self.note(|| "the daemon starts".to_owned());
        self.observe(Fact::StopMarker(marker))?;
        if self.connected {
            self.send(Message::List { all: true });
        }
        Ok(())
    }

    /// Ends the daemon. A killed one has not saved its last changes.
    pub fn end_daemon(&mut self, killed: bool) -> Result<(), Breach> {
        self.note(|| format!("the daemon {}", if killed { "is killed" } else { "ends" }));
        let is_lost = killed && self.unwritten_since.take().is_some_and(|since| self.now < since + MAX_SAVE_DELAY);
        if is_lost {
            for record in &mut self.laws.units {
                record.uncertain = true;
                record.forgiven += 1;
            }
            let saved = self.written.as_ref().map(|written| &written.saved_state.workers);
            let names = &self.names;
            let has_file =
                |unit: usize| saved.and_then(|it| it.get(&names[unit])).is_some_and(|it| it.at_failure.is_some());
            self.manager.state_is_lost(has_file);
        } else {
            self.write()?;
        }
        self.alive = false;
        self.connection += 1;
        self.manager.forget_starts();
        self.manager.listener_is_gone();
        self.laws.daemon_gone();
        Ok(())
    }

    /// Boots the machine: the manager and the daemon start again.
    pub fn boot(&mut self) -> Result<(), Breach> {
        if self.alive {
            self.end_daemon(false)?;
        }
        self.note(|| "the machine is booted".to_owned());
        self.manager.boot(self.now);
        self.laws.booted();
        self.people.is_booted(self.now);
        self.connected = true;
        self.daemon_is_back()
    }

    /// Loses the connection, and the messages that are under way.
    pub fn disconnect(&mut self) -> Result<(), Breach> {
        self.note(|| "the bus is lost".to_owned());
        self.connected = false;
        self.manager.listener_is_gone();
        if !self.alive {
            return Ok(());
        }
        let waiting: Vec<Message> = self
            .mailbox
            .drain()
            .filter(|Reverse(mailbox)| mailbox.connection == self.connection)
            .map(|Reverse(mailbox)| *mailbox.message)
            .collect();
        self.connection += 1;
        (self.listing, self.list_again, self.needs_all) = (false, false, false);
        self.observe(Fact::Frozen)?;
        for unit in self.manager.starts_under_way() {
            self.manager.end_of_start_reported(unit);
            self.laws.start_ended(unit);
            let lost = Outcome::NotStarted("the connection was lost".to_owned());
            self.observe(Fact::Finished(self.names[unit].clone(), lost))?;
        }
        for message in waiting {
            match message {
                Message::Inspect(unit, id, _) => {
                    self.observe(Fact::Inspected(self.names[unit].clone(), id, Err("lost".to_owned())))?;
                }
                Message::Fact(Fact::Inspected(name, id, _)) => {
                    self.observe(Fact::Inspected(name, id, Err("lost".to_owned())))?;
                }
                // Files and people do not depend on the bus.
                Message::Fact(fact @ (Fact::Registry(_) | Fact::StopMarker(_) | Fact::Heal(_) | Fact::Probed(..))) => {
                    let at = self.now + Duration::from_millis(1);
                    self.send_at(at, Message::Fact(fact));
                }
                Message::Probe(unit) => {
                    let at = self.now + Duration::from_millis(1);
                    self.send_at(at, Message::Probe(unit));
                }
                Message::Fact(_)
                | Message::List { .. }
                | Message::Start(_)
                | Message::Stop(_)
                | Message::Ended(..)
                | Message::Finished(..)
                | Message::Late(..) => {}
            }
        }
        Ok(())
    }

    pub fn reconnect(&mut self) {
        self.note(|| "the bus is back".to_owned());
        self.connected = true;
        if self.alive {
            self.send(Message::List { all: true });
        }
    }

    /// The healer learns an intent, from a file or a command.
    pub fn read_file(&mut self, intent: Intent) -> Result<(), Breach> {
        match intent {
            Intent::Registry => {
                let registry = self.people.registry();
                // An edit of its site's entry leads to another attempt for a worker that was given up.
                for unit in self.people.workers_of_edited_sites() {
                    self.laws.units[unit].forgiven += 1;
                }
                self.people.file_is_read(intent);
                self.observe(Fact::Registry(registry))
            }
            Intent::Marker => {
                self.people.file_is_read(intent);
                let marker = self.people.marker;
                self.observe(Fact::StopMarker(marker))
            }
        }
    }
}

pub(super) fn new_healer(policy: &Policy, registry: &Arc<Registry>, chance: Rng) -> Healer {
    let selector = Selector::new("lerd-", [], &["db.service".to_owned()]).expect("the names are valid");
    let context = Context { selector, policy: policy.clone(), registry: Arc::clone(registry), ..Context::default() };
    Healer::new(Mode::Automatic, context, chance)
}

/// The saved state as the next daemon reads it, whose clock has another origin: like the state file.
fn aged(saved_state: &SavedState, then: Duration, away: Duration) -> SavedState {
    let then = Timestamp::from_origin(then);
    let age = |at: Timestamp| {
        let left = at.from_now(then);
        Timestamp::from_origin(left.saturating_sub(away).min(left))
    };
    let mut aged = saved_state.clone();
    for remembered in aged.workers.values_mut() {
        remembered.not_before = age(remembered.not_before);
    }
    let pauses = saved_state.pauses.iter().map(|pause| Pause { until: pause.until.map(age), ..pause });
    aged.pauses = pauses.filter(|pause| pause.until.is_none_or(|at| at > Timestamp::default())).collect::<Pauses>();
    aged
}
