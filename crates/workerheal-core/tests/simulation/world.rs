//! The simulated world: a service manager, people, faults, and the real healer in the middle.
//!
//! What goes between the manager and the healer are letters that take their time, as calls and signals
//! do on a bus. The world hands them over, asks the healer what to do, does it, and has the [laws](Laws)
//! look at every step.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::event::Phase;
use workerheal_core::healer::{Action, Fact, Healer, InspectionId, Mode, Outcome, Purpose};
use workerheal_core::pauses::{Pause, Pauses};
use workerheal_core::policy::Policy;
use workerheal_core::registry::Registry;
use workerheal_core::saved_state::{SavedPhase, SavedState};
use workerheal_core::selector::Selector;
use workerheal_core::time::Timestamp;
use workerheal_core::units::{Detail, UnitName};

use crate::laws::{Breach, Laws, Told};
use crate::manager::Manager;
use crate::model::{ActiveState, JobResult, Signal};
use crate::people::{Intent, People};
use crate::reached::Reached;
use crate::scenario::{self, Kind, NAMES, PROBED, Plan, SECOND, UNITS};

/// How many lines of the past a breach is told with.
const PAST: usize = 500_000;

/// Something on its way.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "each is boxed by the post")]
pub enum Message {
    /// To the manager.
    List,
    Inspect(usize, InspectionId, Detail),
    /// The next step of a start.
    Start(usize),
    Stop(usize),
    Probe(usize),
    /// To the healer.
    Tell(Fact),
    /// The result of a start job.
    Ended(usize, u64, JobResult),
    /// The end of a start, as the connection to the manager makes it out, and which start that was.
    Finished(usize, Outcome),
    /// A start takes too long.
    Late(usize, u64),
}

/// A letter with the time of its delivery; of those for the same time the first one written comes first.
struct Envelope {
    at: Duration,
    number: u64,
    /// Letters of a lost connection, or to a daemon that is gone, are not delivered.
    connection: u32,
    /// Boxed, as the heap moves its entries about.
    message: Box<Message>,
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
struct LastSignals {
    any: Duration,
    job_done: Duration,
}

/// So soon a daemon has written down what has changed.
const WRITTEN_WITHIN: Duration = Duration::from_millis(250);

/// What a daemon has written down, and when.
struct Written {
    saved_state: SavedState,
    origin: Duration,
    at: Duration,
    /// As the clock was turned then.
    turned: i64,
}

pub struct World {
    pub plan: Plan,
    pub now: Duration,
    pub manager: Manager,
    pub people: People,
    pub laws: Laws,
    pub policy: Policy,
    pub names: [UnitName; UNITS],
    pub healer: Healer,
    /// Where the healer's clock begins.
    origin: Duration,
    /// A daemon runs.
    pub alive: bool,
    /// The bus connects it with the manager.
    pub connected: bool,
    /// A list is asked for, and has to be asked for again after that.
    listing: bool,
    list_again: bool,
    connection: u32,
    written: Option<Written>,
    /// Since when the healer knows other things than are written down.
    unwritten_since: Option<Duration>,
    mailbox: BinaryHeap<Reverse<Envelope>>,
    letters: u64,
    /// Letters are delivered in the order in which they were written, unless they are lost on the way.
    in_order: Duration,
    last_signals: [LastSignals; UNITS],
    refresh: Option<Duration>,
    refreshes: u8,
    chance: Rng,
    /// By how much the wall clock was turned in all, in seconds.
    pub turned: i64,
    past: VecDeque<String>,
    last_told: String,
    pub trace: bool,
    pub starts: u64,
    pub reached: Reached,
    /// What was told of failed sockets last.
    failed_sockets: Vec<UnitName>,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut chance = plan.chance(1);
        let policy = scenario::policy(&mut chance);
        let names = NAMES.map(|name| UnitName::parse(name).expect("it is one"));
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
            connection: 0,
            written: None,
            unwritten_since: None,
            mailbox: BinaryHeap::new(),
            letters: 0,
            in_order: Duration::ZERO,
            last_signals: [LastSignals::default(); UNITS],
            refresh: None,
            refreshes: 0,
            chance,
            turned: 0,
            past: VecDeque::new(),
            last_told: String::new(),
            trace: false,
            starts: 0,
            reached: Reached::default(),
            failed_sockets: Vec::new(),
        };
        world.manager.boot(Duration::ZERO);
        world
    }

    /// Lives to the end of the plan, or to the first breach of a law.
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

    /// Whether any worker has been forgotten.
    fn judge(&mut self) -> Result<(), Breach> {
        let is_watched = self.alive && self.connected && self.people.is_quiet(self.now);
        if self.people.slow_until >= self.now || self.people.noisy_until >= self.now {
            // Told seconds late or out of order, the end of one job is taken for that of another.
            self.manager.nothing_need_be_obeyed();
        }
        for unit in scenario::FIRST_WORKER..scenario::FIRST_HELPER {
            if is_watched && self.manager.disobeys(unit, self.policy.timeout + self.policy.stable_after + 20 * SECOND) {
                let how = "its user stopped it while it was being started, and it is up".to_owned();
                return Err(Breach { law: "a stop is obeyed", how }.of(unit));
            }
            let may_act = is_watched && !self.manager.is_frozen();
            let is_free = || may_act && !self.told(unit).paused && self.told(unit).covered;
            let stuck = self.manager.is_stuck_since(unit, self.policy.timeout).filter(|_| is_free());
            let healable = self.manager.is_healable(unit) && is_free();
            self.laws.stuck(self.now, unit, stuck).map_err(|breach| breach.of(unit))?;
            self.laws.healable(self.now, unit, healable, &self.policy).map_err(|breach| breach.of(unit))?;
        }
        Ok(())
    }

    /// What people want of a unit, as far as the healer has been told.
    fn told(&self, unit: usize) -> Told {
        self.people.told(unit, self.now)
    }

    /// Something has happened: the next two refreshes are made, and those after them skipped until
    /// something happens again. A list that tells nothing new leads to nothing, which is a law by itself.
    pub fn stir(&mut self) {
        self.refreshes = 3;
        if self.refresh.is_none() {
            self.refresh = Some(self.now + Duration::from_millis(self.chance.u64(1..3_000)));
        }
    }

    fn refresh_now(&mut self) {
        self.refreshes = self.refreshes.saturating_sub(1);
        let goes_on = self.manager.is_any_changing();
        if goes_on {
            // That it takes too long is seen by these alone.
            self.refreshes = self.refreshes.max(1);
        }
        let wait = if self.refreshes > 1 { 3 * SECOND } else { 20 * SECOND };
        self.refresh = (self.refreshes > 0).then(|| self.now + wait);
        if self.alive && self.connected {
            self.send(Message::List);
        }
    }

    /// How long a letter takes.
    fn latency(&mut self) -> Duration {
        if self.people.slow_until > self.now {
            return Duration::from_millis(self.chance.u64(100..5_000));
        }
        Duration::from_micros(self.chance.u64(200..2_000))
    }

    pub fn send(&mut self, message: Message) {
        if matches!(message, Message::List) && std::mem::replace(&mut self.listing, true) {
            self.list_again = true;
            return;
        }
        let at = self.in_turn();
        self.send_at(at, message);
    }

    /// When a letter arrives that is sent now and not disturbed.
    fn in_turn(&mut self) -> Duration {
        self.in_order = (self.now + self.latency()).max(self.in_order);
        self.in_order
    }

    pub fn send_at(&mut self, at: Duration, message: Message) {
        let message = Box::new(message);
        self.letters += 1;
        self.mailbox.push(Reverse(Envelope { at, number: self.letters, connection: self.connection, message }));
    }

    /// Signals of the manager become letters; some are lost, late or come twice.
    fn collect_signals(&mut self) {
        if !self.manager.has_signals() {
            return;
        }
        // In doubt signals are not listened to: a list says what they said, but not in which order.
        let is_quiet = self.people.noisy_until <= self.now && !self.laws.frozen;
        let is_watched = self.alive && self.connected && is_quiet;
        let is_watched = std::array::from_fn(|unit| is_watched && self.people.covers(unit));
        let signals = self.manager.signals(self.now, is_watched);
        self.stir();
        for signal in signals {
            if let Signal::Changed { unit, active: ActiveState::Active | ActiveState::Activating, .. } = signal
                && self.manager.is_started_by_others(unit.0)
            {
                self.laws.somebody_cared(unit.0);
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
                // What the manager has forgotten begins anew.
                self.laws.units[unit.0].forgiven += 1;
            }
            if !(self.alive && self.connected) {
                continue;
            }
            let Some(message) = self.manager.message(&signal, &self.names) else { continue };
            let may_be_disturbed =
                !matches!(message, Message::Tell(Fact::Frozen)) && self.people.noisy_until > self.now;
            // The stop of a unit that was down already is told by the end of the job and by nothing
            // else. It can be lost; that it comes in its order has to be relied on, and D-Bus promises it.
            let is_job_done = matches!(message, Message::Tell(Fact::JobDone(_)));
            let may_be_moved = may_be_disturbed && !is_job_done;
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
                    self.send_signal(unit, at, is_job_done, message);
                }
                30..40 if may_be_moved && self.plan.has(Kind::TwiceSignals) => {
                    let at = self.in_turn();
                    self.send_signal(unit, at, is_job_done, message.clone());
                    self.send_signal(unit, at, is_job_done, message);
                }
                _ => {
                    let at = self.in_turn();
                    self.send_signal(unit, at, is_job_done, message);
                }
            }
        }
    }

    /// Sends a signal of a unit. Those of its state may overtake each other, but not the end of a job, which stays
    /// where it was between them.
    fn send_signal(&mut self, unit: usize, at: Duration, is_job_done: bool, message: Message) {
        let last = &mut self.last_signals[unit];
        let at = at.max(if is_job_done { last.any } else { last.job_done });
        last.any = last.any.max(at);
        if is_job_done {
            last.job_done = at;
        }
        self.send_at(at, message);
    }

    fn deliver(&mut self, message: Message) -> Result<(), Breach> {
        match message {
            Message::List => {
                self.listing = false;
                if std::mem::take(&mut self.list_again) {
                    self.send(Message::List);
                }
                for (unit, outcome) in self.manager.missed_ends() {
                    self.send(Message::Finished(unit, outcome));
                }
                if self.manager.is_frozen() {
                    self.send(Message::Tell(Fact::Frozen));
                    return Ok(());
                }
                if self.manager.reloading {
                    return Ok(());
                }
                let list = self.manager.list(&self.names);
                self.send(Message::Tell(Fact::Units(list)));
                let sockets = self.manager.failed_sockets(&self.names);
                if sockets != self.failed_sockets {
                    self.failed_sockets.clone_from(&sockets);
                    self.send(Message::Tell(Fact::FailedSockets(sockets)));
                }
            }
            Message::Inspect(unit, id, detail) => {
                let seen = self.manager.inspect(unit, detail, self.people.journal_gone_until > self.now);
                match id.purpose {
                    Purpose::Attempt => {
                        self.laws.units[unit].seen = Some(self.manager.seen(unit));
                        self.note(|| format!("looked at {}: {:?}", NAMES[unit], self_seen(&seen)));
                    }
                    Purpose::Proof | Purpose::Uptime => self.laws.units[unit].proof = seen.up_for,
                    _ => {}
                }
                let result = if self.chance.u8(..200) == 0 && self.people.noisy_until > self.now {
                    // It is asked again after the next refresh.
                    self.stir();
                    Err("no answer".to_owned())
                } else {
                    Ok(seen)
                };
                self.send(Message::Tell(Fact::Inspected(self.names[unit].clone(), id, result)));
            }
            Message::Stop(unit) => {
                // Of signals that are lost or seconds late, the rest can look like those of a stop.
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
                self.send(Message::Tell(Fact::Probed(self.names[unit].clone(), result)));
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
            Message::Tell(fact) => {
                self.note_what_is_told(&fact);
                self.observe(fact)?;
            }
        }
        Ok(())
    }

    /// What the healer knows from now on, and can be judged by.
    fn note_what_is_told(&mut self, fact: &Fact) {
        if let Fact::JobDone(name) = fact
            && !self.laws.frozen
            && let Some(unit) = self.names.iter().position(|it| it == name)
            && !self.laws.units[unit].starting
            && self.told(unit).covered
        {
            self.manager.stop_was_told(unit);
        }
        if let Fact::Changed(status) = fact
            && self.people.noisy_until + 10 * SECOND > self.now
            && !status.active.is_down()
            && let Some(unit) = self.names.iter().position(|it| *it == status.name)
        {
            // One that is late cannot be told from a new start.
            self.laws.somebody_cared(unit);
            self.manager.looks_started(unit);
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
        self.manager.end_of_start_told(unit);
        self.laws.start_ended(unit);
        if matches!(outcome, Outcome::Refused(..)) {
            self.laws.no_attempt(unit);
        }
        self.observe(Fact::Finished(self.names[unit].clone(), outcome))
    }

    /// Tells the healer a fact and does what it answers.
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
            // What is told again and again is told once.
            if self.last_told != line {
                self.note(|| format!("  fact {line}"));
                self.last_told = line;
            }
        }
        if self.unwritten_since.is_some_and(|since| self.now >= since + WRITTEN_WITHIN) {
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
        Ok(())
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
                    self.send_at(at, Message::Tell(fact));
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
                let Some((unit, number)) = self.manager.start_is_asked_for(start) else { return Ok(()) };
                let told = self.told(unit);
                self.laws.start(self.now, unit, restart, told, &self.policy).map_err(|breach| breach.of(unit))?;
                self.send(Message::Start(unit));
                self.stop_in_between(unit);
                self.send_at(self.now + self.policy.timeout, Message::Late(unit, number));
            }
            Action::Probe { unit, .. } => {
                let Some(unit) = unit_of(self, &unit) else { return Ok(()) };
                debug_assert_eq!(unit, PROBED);
                self.send(Message::Probe(unit));
            }
            Action::Emit(event) => {
                self.note(|| format!("    {}: {event}", event.phase.as_str()));
                let Some(unit) = NAMES.iter().position(|name| *name == event.unit) else { return Ok(()) };
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
                self.laws.event(self.now, unit, &event, oneshot, &self.policy).map_err(|breach| breach.of(unit))?;
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

    /// What the healer knows is on disk.
    fn write(&mut self) -> Result<(), Breach> {
        self.unwritten_since = None;
        if let Some(saved_state) = self.healer.saved_state_if_changed() {
            for unit in scenario::FIRST_WORKER..scenario::FIRST_HELPER {
                let condition = saved_state.workers.get(&self.names[unit]).map(|worker| &worker.phase);
                let is_given_up = matches!(condition, Some(SavedPhase::GivenUp(_)));
                if self.told(unit).covered {
                    self.laws.give_up_stands(unit, is_given_up).map_err(|breach| breach.of(unit))?;
                }
            }
            self.written = Some(Written { saved_state, origin: self.origin, at: self.now, turned: self.turned });
        }
        Ok(())
    }

    /// By how much the wall clock was turned since the memory was written, in seconds.
    pub fn turned_since_written(&self) -> i64 {
        self.written.as_ref().map_or(0, |written| self.turned - written.turned)
    }

    /// A daemon begins: it reads its memory and the files, connects, and lists.
    pub fn start_daemon(&mut self) -> Result<(), Breach> {
        self.origin = self.now;
        self.alive = true;
        self.connection += 1;
        (self.listing, self.list_again) = (false, false);
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
        self.people.everything_is_told();
        let marker = self.people.marker;
        self.note(|| "the daemon starts".to_owned());
        self.observe(Fact::StopMarker(marker))?;
        if self.connected {
            self.send(Message::List);
        }
        Ok(())
    }

    /// The daemon ends. One that is killed has not written down the last that it knew.
    pub fn end_daemon(&mut self, killed: bool) -> Result<(), Breach> {
        self.note(|| format!("the daemon {}", if killed { "is killed" } else { "ends" }));
        let is_lost = killed && self.unwritten_since.take().is_some_and(|since| self.now < since + WRITTEN_WITHIN);
        if is_lost {
            for record in &mut self.laws.units {
                record.uncertain = true;
                record.forgiven += 1;
            }
            self.manager.memory_is_lost();
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

    /// The machine is booted: the manager begins anew, and so does the daemon.
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

    /// The connection is lost: what was on its way is lost with it.
    pub fn lose_bus(&mut self) -> Result<(), Breach> {
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
        (self.listing, self.list_again) = (false, false);
        self.observe(Fact::Frozen)?;
        for unit in self.manager.starts_under_way() {
            self.manager.end_of_start_told(unit);
            self.laws.start_ended(unit);
            let lost = Outcome::NotStarted("the connection was lost".to_owned());
            self.observe(Fact::Finished(self.names[unit].clone(), lost))?;
        }
        for message in waiting {
            match message {
                Message::Inspect(unit, id, _) => {
                    self.observe(Fact::Inspected(self.names[unit].clone(), id, Err("lost".to_owned())))?;
                }
                Message::Tell(Fact::Inspected(name, id, _)) => {
                    self.observe(Fact::Inspected(name, id, Err("lost".to_owned())))?;
                }
                // Files and people need no bus.
                Message::Tell(fact @ (Fact::Registry(_) | Fact::StopMarker(_) | Fact::Heal(_) | Fact::Probed(..))) => {
                    let at = self.now + Duration::from_millis(1);
                    self.send_at(at, Message::Tell(fact));
                }
                Message::Probe(unit) => {
                    let at = self.now + Duration::from_millis(1);
                    self.send_at(at, Message::Probe(unit));
                }
                Message::Tell(_)
                | Message::List
                | Message::Start(_)
                | Message::Stop(_)
                | Message::Ended(..)
                | Message::Finished(..)
                | Message::Late(..) => {}
            }
        }
        Ok(())
    }

    pub fn find_bus(&mut self) {
        self.note(|| "the bus is back".to_owned());
        self.connected = true;
        if self.alive {
            self.send(Message::List);
        }
    }

    /// What a person wants becomes known to the healer, by way of a file or a command.
    pub fn tell(&mut self, intent: Intent) -> Result<(), Breach> {
        match intent {
            Intent::Registry => {
                let registry = self.people.registry();
                // An edit of its site's entry lets a worker that was given up be tried anew.
                for unit in self.people.workers_of_edited_sites() {
                    self.laws.units[unit].forgiven += 1;
                }
                self.people.is_told(intent);
                self.observe(Fact::Registry(registry))
            }
            Intent::Marker => {
                self.people.is_told(intent);
                let marker = self.people.marker;
                self.observe(Fact::StopMarker(marker))
            }
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace {
            let mut text = String::new();
            let _ = write!(text, "{:>14.4}s  {}", self.now.as_secs_f64(), line());
            if self.past.len() == PAST {
                self.past.pop_front();
            }
            self.past.push_back(text);
        }
    }

    pub fn past(&self) -> String {
        let lines: Vec<&str> = self.past.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

fn self_seen(seen: &workerheal_core::units::Inspection) -> String {
    format!(
        "{} {} job={} fall={:?} stop={:?} run={:?} enabled={:?} began={:?} parents={:?} groups={:?} conflicts={:?}",
        seen.active,
        seen.result,
        seen.has_job,
        seen.deactivation,
        seen.stop,
        seen.run,
        seen.file.map(|file| file.enabled),
        seen.began,
        seen.parents,
        seen.stopped_groups,
        seen.conflicts
    )
}

fn in_short(fact: &Fact) -> String {
    match fact {
        Fact::Units(list) => {
            let units: Vec<String> = list
                .iter()
                .map(|status| format!("{}={}{}", status.name, status.active, if status.has_job { "+job" } else { "" }))
                .collect();
            format!("units {}", units.join(" "))
        }
        Fact::Probed(unit, result) if result.answer == workerheal_core::probe::ProbeAnswer::Accepted => {
            format!("{unit} answers")
        }
        Fact::Changed(status) => {
            format!("{} is {}{}", status.name, status.active, if status.has_job { "+job" } else { "" })
        }
        Fact::Inspected(unit, id, result) => format!("answer to {:?} of {unit}: {}", id.purpose, result.is_ok()),
        Fact::Registry(_) => "registry".to_owned(),
        fact => format!("{fact:?}"),
    }
}

fn new_healer(policy: &Policy, registry: &Arc<Registry>, chance: Rng) -> Healer {
    let selector = Selector::new("lerd-", [], &["db.service".to_owned()]).expect("it is good");
    Healer::new(Mode::Automatic, selector, policy.clone(), Arc::clone(registry), chance)
}

/// A memory as a later daemon reads it, whose clock begins anew: as the store does it.
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
