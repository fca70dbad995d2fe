//! Requests to the daemon's loop: each [`DaemonRequest`] carries a channel for its response.
//!
//! Requests wait in a short queue, and are answered from the healer's current state; nothing is prepared in advance.
//! Responses that need the service manager or a file are not made here: the loop never blocks.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Daemon;
use super::state_writer::{self, Ticket};
use super::uptimes::UptimeQuery;
use crate::api::{DaemonStatus, ManagerStatus, PauseReport, RegistryStatus, StateStatus};
use crate::core::batch::Plan;
use crate::core::context::Context;
use crate::core::diagnosis::{Refusal, State};
use crate::core::event::{Event, UnhealthyWorker};
use crate::core::explain::{Explanation, References};
use crate::core::healer::{Fact, Timestamp};
use crate::core::last_day::LastDay;
use crate::core::pauses::{Pause, Target};
use crate::core::report::{Stage, WorkerReport};
use crate::core::selector::Worker;
use crate::core::target::{self, UnknownTarget};
use crate::core::text;
use crate::core::units::{Inspection, UnitName, UnitStatus};
use crate::detect::{Inspections, refused_often};
use crate::manager::ServiceManager;
use crate::setup::warnings;

/// Maximum number of waiting requests; further senders wait.
const MAX_WAITING_REQUESTS: usize = 64;

/// Sends requests to the loop.
pub(super) type RequestSender = mpsc::Sender<DaemonRequest>;

/// Creates the queue of requests.
pub(super) fn open() -> (RequestSender, mpsc::Receiver<DaemonRequest>) {
    mpsc::channel(MAX_WAITING_REQUESTS)
}

/// A request to the loop.
#[derive(Debug)]
pub(super) enum DaemonRequest {
    /// The daemon's status.
    Status(oneshot::Sender<DaemonStatus>),
    /// Every worker.
    Workers(oneshot::Sender<Vec<WorkerReport>>),
    /// Every covered unit and its worker.
    Covered(oneshot::Sender<Vec<(UnitName, Worker)>>),
    /// What a heal of everything would do.
    Plan(oneshot::Sender<Plan>),
    /// Those of these units that are coming up already.
    UnderWay(Vec<UnitName>, oneshot::Sender<Vec<UnhealthyWorker>>),
    /// Workers that are up, but since when is unknown.
    WithoutUptime(oneshot::Sender<UptimeQuery>),
    /// Since when these workers are up.
    Uptimes(UptimeQuery, Vec<Option<SystemTime>>),
    /// Replies once every working directory has been checked, as nothing signals that one has vanished.
    Directories(oneshot::Sender<()>),
    /// The number of workers at each stage, and further gauges.
    Gauges(oneshot::Sender<Gauges>),
    /// The current settings, including the pauses.
    Context(oneshot::Sender<Context>),
    /// Why a worker is, or is not, being healed, given an inspection. `None` if it is not covered.
    Explain(UnitName, Box<(Inspection, References)>, oneshot::Sender<Option<Explanation>>),
    /// The worker of a unit, if it is covered.
    Covers(UnitName, oneshot::Sender<Option<Worker>>),
    /// Why nothing can be healed, paused or resumed, if so: the saved state cannot be read.
    Unread(oneshot::Sender<Option<String>>),
    /// Heals these units.
    Heal(HealCommand),
    /// Pauses healing of what the targets name, for this long or until it is resumed.
    Pause(Vec<String>, Option<Duration>, oneshot::Sender<Result<PauseReceipt, PauseError>>),
    /// Ends pauses.
    Resume(Vec<String>, oneshot::Sender<Result<PauseReceipt, PauseError>>),
}

/// The pauses in force, and the ticket for saving them.
#[derive(Debug)]
pub(super) struct PauseReceipt {
    pub pauses: Vec<PauseReport>,
    pub ticket: Ticket,
}

/// Why nothing was paused or resumed.
#[derive(Debug)]
pub(super) enum PauseError {
    Target(UnknownTarget),
    /// It is unknown what is paused; says why.
    Unread(String),
}

/// Values that change by themselves, for the metrics.
#[derive(Debug)]
pub(super) struct Gauges {
    pub stages: [(Stage, usize); Stage::ALL.len()],
    /// Site and unit of each worker that was given up.
    pub given_up: Vec<(String, String)>,
    pub pauses: usize,
    pub registry_age: Option<Duration>,
    pub reachable: bool,
}

/// A request to heal units.
#[derive(Debug)]
pub(super) struct HealCommand {
    /// The units, in order.
    pub units: Vec<UnitName>,
    /// What was seen of them a moment ago.
    pub inspections: Inspections,
    /// Those of them that are up but refuse their health probe.
    pub silent: Vec<UnitName>,
    /// How long they have to stay up.
    pub prove: Option<Duration>,
    /// Receives the progress.
    pub updates: mpsc::UnboundedSender<HealUpdate>,
    /// Confirms the start; returns the units that are no longer covered, which are not healed.
    pub begun: oneshot::Sender<Vec<UnitName>>,
}

/// The progress of a requested heal.
#[derive(Debug)]
pub(super) enum HealUpdate {
    /// An event; and what the worker is held for, if it is.
    Event(Box<Event>, Option<Refusal>),
    /// Nothing is being done about the unit any more; whether it is up.
    AtRest(UnitName, bool),
}

/// A client that waits for the result of a heal.
#[derive(Debug)]
pub(super) struct HealSubscriber {
    units: HashSet<UnitName>,
    updates: mpsc::UnboundedSender<HealUpdate>,
}

impl<M: ServiceManager> Daemon<M> {
    /// Answers a request. The requester may be gone, which is no error.
    pub(super) fn answer(&mut self, request: DaemonRequest) {
        let now = self.now();
        match request {
            DaemonRequest::Status(reply) => drop(reply.send(self.describe(now))),
            // Before everything is known, the answer would be empty.
            request @ (DaemonRequest::Workers(_) | DaemonRequest::Covered(_) | DaemonRequest::Plan(_))
                if !self.ready =>
            {
                self.early.push(request);
            }
            DaemonRequest::Workers(reply) => drop(reply.send(self.reports(now))),
            DaemonRequest::Covered(reply) => drop(reply.send(self.covered())),
            DaemonRequest::Plan(reply) => drop(reply.send(self.healer.plan(now))),
            DaemonRequest::UnderWay(units, reply) => drop(reply.send(self.healer.under_way(&units))),
            DaemonRequest::WithoutUptime(reply) => {
                drop(reply.send(self.uptimes.unknown(self.healer.up(), Instant::now())));
            }
            DaemonRequest::Uptimes(question, answers) => self.uptimes.learn(&question, answers, Instant::now()),
            DaemonRequest::Directories(reply) => self.locator.check_for(reply),
            DaemonRequest::Gauges(reply) => drop(reply.send(self.gauges())),
            DaemonRequest::Context(reply) => drop(reply.send(self.healer.context().clone())),
            DaemonRequest::Explain(unit, it, reply) => {
                let (seen, references) = *it;
                let references = References { now: self.wall(now), clock: now, ..references };
                drop(reply.send(self.healer.explain(now, &unit, &seen, &references)));
            }
            DaemonRequest::Covers(unit, reply) => drop(reply.send(self.healer.worker_of(&unit).cloned())),
            DaemonRequest::Unread(reply) => drop(reply.send(self.unread.clone())),
            DaemonRequest::Heal(command) => self.heal(command),
            DaemonRequest::Pause(targets, time, reply) => {
                let targets = self.healer.context().selector.by_own_names(&targets);
                let targets = self.known().and_then(|()| Ok(self.pausable(&targets)?));
                drop(reply.send(targets.map(|targets| {
                    tracing::info!("healing is paused on request: {}", list(&targets));
                    self.observe(Fact::Pause(targets, time));
                    self.receipt()
                })));
            }
            DaemonRequest::Resume(targets, reply) => {
                let targets = self.known().and_then(|()| Ok(self.resumable(&targets)?));
                drop(reply.send(targets.map(|targets| {
                    tracing::info!("healing is resumed on request: {}", list(&targets));
                    self.observe(Fact::Resume(targets));
                    self.receipt()
                })));
            }
        }
    }

    /// Sends an event to the clients that wait for it.
    pub(super) fn pass_on(&mut self, event: &Event) {
        if self.subscribers.is_empty() {
            return;
        }
        let Some(unit) = &event.unit else { return };
        let held_for = self.healer.held_for(unit);
        self.subscribers.retain(|subscriber| {
            let updates = || HealUpdate::Event(Box::new(event.clone()), held_for.cloned());
            !subscriber.updates.is_closed()
                && (!subscriber.units.contains(unit) || subscriber.updates.send(updates()).is_ok())
        });
    }

    /// Tells clients that there is nothing more to wait for. Usually events have said that; this is for ends without an
    /// event, as when another client was faster.
    pub(super) fn dismiss_the_rested(&mut self) {
        for subscriber in &mut self.subscribers {
            let HealSubscriber { units, updates } = subscriber;
            units.retain(|unit| {
                let rested = self.healer.at_rest(unit);
                rested.is_none_or(|is_up| updates.send(HealUpdate::AtRest(unit.clone(), is_up)).is_err())
            });
        }
        self.subscribers.retain(|subscriber| !subscriber.units.is_empty());
    }

    fn heal(&mut self, HealCommand { units, inspections, silent, prove, updates, begun }: HealCommand) {
        for unit in &units {
            self.learn(unit);
        }
        // The set of workers may have changed since the request was made.
        let (units, strangers): (Vec<_>, Vec<_>) =
            units.into_iter().partition(|unit| self.healer.worker_of(unit).is_some());
        for unit in silent.iter().filter(|unit| units.contains(unit)) {
            for fact in refused_often(unit, "its address") {
                self.observe(fact);
            }
        }
        self.subscribers.push(HealSubscriber { units: units.iter().cloned().collect(), updates });
        drop(begun.send(strangers));
        self.inspected = inspections;
        self.inspected.forget_before(self.disturbed_at);
        self.observe(Fact::Heal(units.clone()));
        if let Some(time) = prove {
            for unit in &units {
                self.healer.prove_within(unit, time);
            }
        }
    }

    /// Has the healer know a unit that is not loaded. The next list drops it again, unless something is done about it.
    fn learn(&mut self, unit: &UnitName) {
        if self.healer.worker_of(unit).is_none() {
            self.observe(Fact::Changed(UnitStatus::gone(unit.clone())));
        }
    }

    fn known(&self) -> Result<(), PauseError> {
        self.unread.clone().map_or(Ok(()), |why| Err(PauseError::Unread(why)))
    }

    /// Saves the pauses at once: the request waits for that.
    fn receipt(&mut self) -> PauseReceipt {
        self.save_state();
        PauseReceipt { pauses: self.pauses(), ticket: self.state_writer.ticket(false) }
    }

    fn now(&self) -> Timestamp {
        state_writer::clocks(self.origin).now
    }

    /// The time of the wall clock then.
    fn wall(&self, at: Timestamp) -> SystemTime {
        self.wall_clock.at(at, state_writer::clocks(self.origin))
    }

    fn covered(&self) -> Vec<(UnitName, Worker)> {
        self.healer.covered().map(|(unit, worker)| (unit.clone(), worker.clone())).collect()
    }

    fn pausable(&self, targets: &[String]) -> Result<Vec<Target>, UnknownTarget> {
        target::pausable(targets, &self.covered()).map_err(|unknown| unknown.in_context(self.healer.context()))
    }

    /// What to resume, including pauses of workers that are no longer covered.
    fn resumable(&self, targets: &[String]) -> Result<Vec<Target>, UnknownTarget> {
        let mut resumed = Vec::new();
        for name in &self.healer.context().selector.by_own_names(targets) {
            let paused = self.healer.context().pauses.iter().map(|pause| pause.target).find(|target| match target {
                Target::Everything => false,
                Target::Site(site) => site == name,
                Target::Unit(unit) => unit.short() == name || unit.as_str() == name,
            });
            match paused {
                Some(target) => resumed.push(target),
                None => resumed.extend(self.pausable(std::slice::from_ref(name))?),
            }
        }
        Ok(if targets.is_empty() { vec![Target::Everything] } else { resumed })
    }

    fn pauses(&self) -> Vec<PauseReport> {
        let now = self.now();
        let report = |pause: Pause| PauseReport::of(&pause, now, self.wall(now));
        self.healer.context().pauses.iter().map(report).collect()
    }

    fn reports(&self, now: Timestamp) -> Vec<WorkerReport> {
        let mut reports = self.healer.reports(now);
        for report in &mut reports {
            report.up_since = self.uptimes.of(&report.unit);
            let Some(last) = self.telemetry.last_event_of(&report.unit) else { continue };
            report.since = last.at;
            // The healer reported why it gave up, and no longer knows it.
            let is_an_error = !matches!(report.state, Some(State::ExpectedButStopped | State::Orphaned));
            if report.last_error.is_empty() && is_an_error && last.failure != report.reason {
                report.last_error.clone_from(&last.failure);
            }
        }
        reports
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            stages: self.healer.stages(),
            given_up: self.healer.given_up(),
            pauses: self.healer.context().pauses.iter().count(),
            registry_age: self.registry_read.and_then(|read| read.elapsed().ok()),
            reachable: self.trouble.is_none(),
        }
    }

    fn describe(&self, now: Timestamp) -> DaemonStatus {
        let stages = self.healer.stages();
        let (context, paths) = (self.healer.context(), &self.paths);
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: Some(now.since_origin()),
            manager: ManagerStatus {
                scope: self.scope,
                reachable: self.trouble.is_none(),
                error: self.trouble.clone().unwrap_or_default(),
            },
            registry: RegistryStatus {
                path: text::path(&paths.sites),
                sites: context.registry.len(),
                read: self.registry_read,
                warnings: warnings(&paths.sites, &context.registry),
                error: self.registry_error.clone().unwrap_or_default(),
            },
            state: StateStatus {
                path: text::path(&paths.state),
                error: match (&self.unread, self.state_writer.failing()) {
                    (Some(why), _) => format!("{why}; nothing is healed until it can be"),
                    (None, Some(why)) => format!("it cannot be written down: {why}"),
                    (None, None) => String::new(),
                },
            },
            config: text::path(&paths.config),
            config_error: self.config_error.clone().unwrap_or_default(),
            stop_marker: context.stop_marker,
            pauses: self.pauses(),
            workers: stages.iter().map(|(_, count)| count).sum(),
            counts: stages.into_iter().filter(|(_, count)| *count > 0).collect(),
            // The events are counted where they are kept.
            last_day: LastDay::default(),
        }
    }
}

impl From<UnknownTarget> for PauseError {
    fn from(error: UnknownTarget) -> Self {
        Self::Target(error)
    }
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
