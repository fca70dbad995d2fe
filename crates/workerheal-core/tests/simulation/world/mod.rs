//! The simulated world: a service manager, people, faults, and the real healer between them.
//!
//! The manager and the healer exchange messages with a latency, like calls and signals on a bus. The world delivers
//! them, performs the healer's actions, and has the [laws](Laws) check every step.

mod daemon;
mod messages;
mod past;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::healer::{Fact, Healer, InspectionId, Outcome, Purpose};
use workerheal_core::policy::Policy;
use workerheal_core::units::UnitName;

use crate::laws::{Breach, KnownIntent, Laws};
use crate::manager::Manager;
use crate::people::People;
use crate::reached::Reached;
use crate::scenario::{self, NAMES, Plan, SECOND, UNITS};
use daemon::{Written, new_healer};
pub use messages::Message;
use messages::{Envelope, LastSignals};
use past::inspection_in_short;

/// How often the daemon asks for a complete list at least.
const COMPLETE_LIST_INTERVAL: Duration = Duration::from_secs(600);
/// How often it compares the manager's numbers.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

pub struct World {
    pub plan: Plan,
    pub now: Duration,
    pub manager: Manager,
    pub people: People,
    pub laws: Laws,
    pub policy: Policy,
    pub names: [UnitName; UNITS],
    pub healer: Healer,
    /// The origin of the healer's clock.
    origin: Duration,
    /// A daemon runs.
    pub alive: bool,
    /// The bus connects it with the manager.
    pub connected: bool,
    /// A list was requested, and another one has to be requested after it.
    listing: bool,
    list_again: bool,
    /// The next list has to be complete, as has the first one from this time on.
    needs_all: bool,
    all_due: Duration,
    /// When the manager's numbers are compared with those at the last complete list.
    check_due: Duration,
    numbers: (usize, u64),
    connection: u32,
    written: Option<Written>,
    /// Since when the saved state is outdated.
    unwritten_since: Option<Duration>,
    mailbox: BinaryHeap<Reverse<Envelope>>,
    sent: u64,
    /// When the last message in order is delivered: messages arrive in the order of sending, unless a fault reorders
    /// them.
    in_order: Duration,
    last_signals: [LastSignals; UNITS],
    refresh: Option<Duration>,
    refreshes: u8,
    chance: Rng,
    /// The total change of the wall clock, in seconds.
    pub turned: i64,
    past: VecDeque<String>,
    last_noted: String,
    pub trace: bool,
    pub starts: u64,
    pub reached: Reached,
    /// The failed sockets that were reported last.
    failed_sockets: Vec<UnitName>,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut chance = plan.chance(1);
        let policy = scenario::policy(&mut chance);
        let names = NAMES.map(|name| UnitName::parse(name).expect("valid unit names"));
        let manager = Manager::new(plan, &mut chance);
        let people = People::new(plan);
        let healer = new_healer(&policy, &people.registry(), chance.fork());
        let mut world = Self {
            plan,
            now: Duration::ZERO,
            manager,
            people,
            laws: Laws { frozen: true, ..Laws::default() },
            policy,
            names,
            healer,
            origin: Duration::ZERO,
            alive: false,
            connected: true,
            listing: false,
            list_again: false,
            needs_all: false,
            all_due: Duration::ZERO,
            check_due: Duration::ZERO,
            numbers: (0, 0),
            connection: 0,
            written: None,
            unwritten_since: None,
            mailbox: BinaryHeap::new(),
            sent: 0,
            in_order: Duration::ZERO,
            last_signals: [LastSignals::default(); UNITS],
            refresh: None,
            refreshes: 0,
            chance,
            turned: 0,
            past: VecDeque::new(),
            last_noted: String::new(),
            trace: false,
            starts: 0,
            reached: Reached::default(),
            failed_sockets: Vec::new(),
        };
        world.manager.boot(Duration::ZERO);
        world
    }

    /// Runs to the end of the plan, or to the first breach of a law.
    pub fn live(&mut self) -> Result<(), Breach> {
        self.start_daemon()?;
        while self.now < self.plan.length {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Breach> {
        let deadline = self.healer.next_deadline().filter(|_| self.alive).map(|at| self.origin + at.since_origin());
        let message = self.mailbox.peek().map(|Reverse(mailbox)| mailbox.at);
        let (model, people, refresh) = (self.manager.next_event(), Some(self.people.next), self.refresh);
        let next = [message, model, deadline, refresh, people].into_iter().flatten().min().expect("people never end");
        let next = next.max(self.now).min(self.plan.length);
        self.now = next;
        if self.manager.advance(next) {
            self.stir();
        }
        self.collect_signals();
        if message.is_some_and(|at| at <= next) {
            let Some(Reverse(mailbox)) = self.mailbox.pop() else { return Ok(()) };
            if mailbox.connection == self.connection {
                self.deliver(*mailbox.message)?;
                self.heal_in_between()?;
            }
        } else if refresh.is_some_and(|at| at <= next) {
            self.refresh_now();
        } else if deadline.is_some_and(|at| at <= next) {
            self.observe(Fact::Deadline)?;
        } else if self.people.next <= next {
            self.act()?;
            self.stir();
        }
        self.collect_signals();
        self.judge()
    }

    /// Checks whether any worker has been forgotten.
    fn judge(&mut self) -> Result<(), Breach> {
        let is_watched = self.alive && self.connected && self.people.is_quiet(self.now);
        self.manager.is_slow = self.people.slow_until >= self.now;
        self.manager.is_forbidding = self.people.forbidden_until > self.now;
        if self.manager.is_slow || self.people.noisy_until >= self.now {
            // If it is reported seconds late or out of order, the end of one job is taken for that of another.
            self.manager.forget_stops();
        }
        for unit in scenario::FIRST_WORKER..scenario::FIRST_HELPER {
            if is_watched
                && self.manager.ignores_stop(unit, self.policy.timeout + self.policy.stable_after + 20 * SECOND)
            {
                let how = "a person stopped it while it was being started, and it is up".to_owned();
                return Err(Breach { law: "a stop is obeyed", how }.of(unit));
            }
            let may_act = is_watched && !self.manager.is_frozen();
            let is_free = || may_act && !self.known_intent(unit).paused && self.known_intent(unit).covered;
            let stuck = self.manager.is_stuck_since(unit, self.policy.timeout).filter(|_| is_free());
            let healable = self.manager.is_healable(unit) && is_free();
            let is_at_rest = || matches!(self.healer.phase_of(&self.names[unit]), None | Some("resting"));
            let is_unfound = healable && !self.laws.frozen && is_at_rest();
            self.laws.found(self.now, unit, is_unfound).map_err(|breach| breach.of(unit))?;
            self.laws.stuck(self.now, unit, stuck).map_err(|breach| breach.of(unit))?;
            self.laws.healable(self.now, unit, healable, &self.policy).map_err(|breach| breach.of(unit))?;
        }
        Ok(())
    }

    /// Checks, after each fact, that the healer leaves no failure that it knows of to the next list.
    fn judge_attention(&self) -> Result<(), Breach> {
        // By then a list has corrected what lost and late signals have left behind.
        let is_known = self.people.is_quiet(self.now) && self.people.noisy_until + 20 * SECOND < self.now;
        let Some(name) = self.healer.overlooked().filter(|_| is_known) else { return Ok(()) };
        let unit = self.names.iter().position(|it| it == name).unwrap_or_default();
        let how = "its failure was signalled, and nothing is under way".to_owned();
        Err(Breach { law: "no failure is left to the next list", how }.of(unit))
    }

    /// What people want for a unit, as far as the healer knows.
    fn known_intent(&self, unit: usize) -> KnownIntent {
        self.people.known_intent(unit, self.now)
    }

    /// Something has happened: the next two refreshes are made, the next one that compares the manager's numbers, and
    /// the next one whose list is complete. Others are skipped until something happens again. A list without changes
    /// leads to no action, which is a law of its own.
    pub fn stir(&mut self) {
        self.refreshes = 3;
        if self.refresh.is_none_or(|at| at > self.now + 3 * SECOND) {
            self.refresh = Some(self.now + Duration::from_millis(self.chance.u64(1..3_000)));
        }
    }

    fn refresh_now(&mut self) {
        self.refreshes = self.refreshes.saturating_sub(1);
        let is_asked = self.alive && self.connected;
        // Only refreshes show that something takes too long.
        let goes_on = self.manager.is_any_changing();
        if goes_on || (is_asked && self.now < self.check_due) {
            self.refreshes = self.refreshes.max(1);
        }
        let wait = match self.refreshes {
            2.. => 3 * SECOND,
            _ if goes_on => 20 * SECOND,
            _ => self.check_due.saturating_sub(self.now).max(3 * SECOND),
        };
        self.refresh = (self.refreshes > 0).then(|| self.now + wait);
        if is_asked {
            self.send(Message::List { all: false });
        }
    }

    /// The manager answers with a list, as the connection to it makes that out.
    fn list(&mut self, all: bool) {
        self.listing = false;
        // Since its request, it has become known that this list does not suffice.
        let suffices = all || !self.needs_all;
        if std::mem::take(&mut self.list_again) {
            self.send(Message::List { all: false });
        }
        let missed_ends = self.manager.missed_ends();
        if all {
            for (unit, outcome) in missed_ends {
                self.send(Message::Finished(unit, outcome));
            }
        } else if !missed_ends.is_empty() {
            // Only a complete list shows how they ended.
            self.send(Message::List { all: true });
        }
        if self.manager.is_frozen() {
            self.needs_all = true;
            self.send(Message::Fact(Fact::Frozen));
            return;
        }
        if self.manager.reloading || !suffices {
            return;
        }
        let list = self.manager.list(&self.names, all);
        if all {
            self.all_due = self.now + COMPLETE_LIST_INTERVAL;
            self.check_due = self.now + CHECK_INTERVAL;
            self.numbers = self.manager.numbers();
            self.send(Message::Fact(Fact::Units(list)));
        } else {
            self.send(Message::Fact(Fact::NotActive(list)));
            if self.now >= self.check_due {
                self.check_numbers();
            }
        }
        let sockets = self.manager.failed_sockets(&self.names);
        if sockets != self.failed_sockets {
            self.failed_sockets.clone_from(&sockets);
            self.send(Message::Fact(Fact::FailedSockets(sockets)));
        }
    }

    /// A different number shows that a unit is new or gone, or that there was a job for one.
    fn check_numbers(&mut self) {
        if self.manager.numbers() != self.numbers {
            return self.send(Message::List { all: true });
        }
        self.check_due = self.now + CHECK_INTERVAL;
        self.refresh = Some(self.refresh.unwrap_or(self.all_due).min(self.all_due));
    }

    fn deliver(&mut self, message: Message) -> Result<(), Breach> {
        match message {
            Message::List { all } => self.list(all),
            Message::Inspect(unit, id, detail) => {
                let seen = self.manager.inspect(unit, detail, self.people.journal_gone_until > self.now);
                match id.purpose {
                    Purpose::Attempt => {
                        self.laws.units[unit].seen = Some(self.manager.seen(unit));
                        self.note(|| format!("inspected {}: {:?}", NAMES[unit], inspection_in_short(&seen)));
                    }
                    Purpose::Proof | Purpose::Uptime => self.laws.units[unit].proof = seen.up_for,
                    _ => {}
                }
                let result = if self.chance.u8(..200) == 0 && self.people.noisy_until > self.now {
                    // It is requested again after the next refresh.
                    self.stir();
                    Err("no answer".to_owned())
                } else {
                    Ok(seen)
                };
                let answer = Message::Fact(Fact::Inspected(self.names[unit].clone(), id, result));
                // One of several calls, or a search in the journal: signals of what happens meanwhile come first.
                match self.chance.u8(..10) {
                    0 => {
                        let at = self.now + Duration::from_millis(self.chance.u64(1..100));
                        self.send_at(at, answer);
                    }
                    _ => self.send(answer),
                }
            }
            Message::Stop(unit) => {
                // If signals are lost or seconds late, the others can look like those of a stop.
                let in_doubt = self.people.noisy_until.max(self.people.slow_until) + 10 * SECOND >= self.now;
                if !self.manager.stop(unit) && !in_doubt {
                    let how = "it was stopped, and no person had stopped it".to_owned();
                    return Err(Breach { law: "only a stop is taken further", how }.of(unit));
                }
                self.collect_signals();
            }
            Message::Start(unit) => {
                let ended = self.manager.start(unit)?;
                self.collect_signals();
                self.manager.start_is_queued();
                if let Some(outcome) = ended {
                    self.send(Message::Finished(unit, outcome));
                }
            }
            Message::Probe(unit) => {
                let result = self.manager.probe(unit, self.people.silent_until > self.now);
                self.send(Message::Fact(Fact::Probed(self.names[unit].clone(), result)));
            }
            Message::Ended(unit, job, result) => {
                if !self.manager.is_awaited(unit, job) {
                    return Ok(());
                }
                match self.manager.next_step(unit, result) {
                    Some(outcome) => self.start_ended(unit, outcome)?,
                    None => self.send(Message::Start(unit)),
                }
            }
            Message::Finished(unit, outcome) => self.start_ended(unit, outcome)?,
            Message::Late(unit, number) => {
                if self.manager.is_late(unit, number) {
                    self.start_ended(unit, Outcome::NotStarted("its start took too long".to_owned()))?;
                }
            }
            Message::Fact(fact) => {
                self.note_what_is_known(&fact);
                self.observe(fact)?;
            }
        }
        Ok(())
    }

    /// Records what the healer knows from now on, and can be judged by.
    fn note_what_is_known(&mut self, fact: &Fact) {
        if let Fact::JobDone(name) = fact
            && !self.laws.frozen
            && let Some(unit) = self.names.iter().position(|it| it == name)
            && !self.laws.units[unit].starting
            && self.known_intent(unit).covered
        {
            self.manager.stop_was_reported(unit);
        }
        if let Fact::Changed(status) = fact
            && self.people.noisy_until + 10 * SECOND > self.now
            && !status.active.is_down()
            && let Some(unit) = self.names.iter().position(|it| *it == status.name)
        {
            // A late signal cannot be distinguished from a new start.
            self.laws.end_give_up(unit);
            self.manager.looks_started(unit);
        }
        if let Fact::Inspected(name, InspectionId { purpose: Purpose::Attempt, .. }, Ok(seen)) = fact
            && seen.displaced_by.is_some()
            && seen.active.is_down()
            // One that was still starting looks as if it was stopped by hand.
            && seen.deactivation.is_some_and(|it| seen.began.is_none_or(|began| began <= it.left))
            && !self.laws.frozen
            && let Some(unit) = self.names.iter().position(|it| it == name)
        {
            self.manager.was_seen_displaced(unit);
        }
        if let Fact::Inspected(name, _, Ok(seen)) = fact
            && seen.file.is_some_and(|file| file.enabled)
            && let Some(unit) = self.names.iter().position(|it| it == name)
        {
            self.manager.file_was_seen(unit, seen.deactivation);
        }
        if let Fact::Probed(name, result) = fact
            && let Some(unit) = self.names.iter().position(|it| it == name)
        {
            use workerheal_core::probe::ProbeVerdict;
            match result.verdict(self.policy.stable_after) {
                ProbeVerdict::Reachable => self.laws.units[unit].refusals = 0,
                ProbeVerdict::Refused(_) => self.laws.units[unit].refusals += 1,
                ProbeVerdict::Nothing(_) => {}
            }
        }
    }

    fn start_ended(&mut self, unit: usize, outcome: Outcome) -> Result<(), Breach> {
        if !self.manager.is_asked(unit) {
            return Ok(());
        }
        self.manager.end_of_start_reported(unit);
        self.laws.start_ended(unit);
        if matches!(outcome, Outcome::Refused(..)) {
            self.laws.no_attempt(unit);
        }
        self.observe(Fact::Finished(self.names[unit].clone(), outcome))
    }
}
