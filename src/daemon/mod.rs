//! The daemon: turns what happens into facts, and the healer's actions into calls.
//!
//! One loop owns all state. It waits for the next input, makes a [`Fact`] of it, lets [`Healer::observe`]
//! decide, and performs the actions. Nothing in the loop blocks: inspections run as tasks, starts and lists belong to
//! the manager, events are written by [`log`], [`requests`] are answered, [`telemetry`] is recorded. A panic anywhere
//! ends the process, so that its own service manager restarts it.

mod api;
mod changes;
mod files;
mod hook;
mod locate;
mod lock;
mod log;
mod metrics;
mod notify;
mod requests;
mod start;
mod state_writer;
mod stock;
mod telemetry;
mod ticker;
mod uptimes;
mod wall_clock;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::actions::{self, InspectionOutcome, Rest};
use crate::checks::Checks;
use crate::core::event::{Event, Phase};
use crate::core::healer::{Action, Fact, Healer, Timestamp};
use crate::core::probe::ProbeResult;
use crate::core::selector::Aliases;
use crate::core::units::UnitName;
use crate::deadline;
use crate::detect::Inspections;
use crate::files::paths::Paths;
use crate::files::watch::{FileEvent, Watch};
use crate::manager::{Changes, Scope, ServiceManager};
use crate::setup::{Setup, SetupError};
use api::{Api, Parts};
use files::{FOLLOWED, Reread};
use locate::Locator;
use log::EventLog;
use metrics::Metrics;
use notify::Notify;
use state_writer::StateWriter;
use stock::{MIN_SAVE_DELAY, watched};
use telemetry::Telemetry;
use ticker::Ticker;
use uptimes::Uptimes;
use wall_clock::WallClock;

/// How long running tasks may delay the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a daemon that waits for its turn checks if the other one has ended.
const TURN_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
///
/// If signals cannot be received, the files cannot be followed, or another daemon runs already.
pub async fn run<M: ServiceManager>(manager: M, mut changes: Changes, setup: Setup) -> Result<(), SetupError> {
    let receive = |kind| signal(kind).map_err(SetupError::Signals);
    let (mut terminate, mut interrupt) = (receive(SignalKind::terminate())?, receive(SignalKind::interrupt())?);
    let mut reload = receive(SignalKind::hangup())?;
    let metrics = Arc::new(Metrics::new());
    let (requests, mut inbox) = requests::open();
    let (listen, listens) = watch::channel(setup.metrics);
    let parts = Parts {
        requests,
        manager: manager.clone(),
        metrics: Arc::clone(&metrics),
        paths: setup.paths.clone(),
        scope: setup.scope,
        listen: listens,
    };
    let (tell_lost, mut lost) = mpsc::channel(1);
    let one_healer = lock::take(&setup.paths, tell_lost)?;
    let api = open_to_others(parts);
    let publish = api.as_ref().map(|api| api.events.clone());
    let (mut daemon, mut inputs) = Daemon::start(manager, setup, metrics, publish, listen);
    let mut checks = Checks::new(daemon.watch.checks().chain([one_healer]));
    let mut end = Ok(());
    let mut refresh = Ticker::new(daemon.refresh_interval);
    let mut watchdog = notify::watchdog_interval().map(Ticker::new);

    loop {
        let deadline = daemon.next_deadline();
        let stock_at = daemon.stock_at;
        let fact = tokio::select! {
            // By priority: what is intended, what is the case, what is due.
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(why) = lost.recv() => break end = Err(why),
            _ = reload.recv() => {
                daemon.reload();
                continue;
            }
            Some(event) = inputs.files.recv() => {
                daemon.file_event(event);
                continue;
            }
            Some(read) = inputs.rereads.recv() => {
                daemon.reread(read);
                continue;
            }
            Some(change) = changes.recv() => match daemon.changed(change) {
                Some(fact) => fact,
                None => continue,
            },
            Some(seen) = daemon.inspections.join_next() => match seen {
                Ok((unit, id, result)) => Fact::Inspected(unit, id, result),
                // Only a panic ends an inspection without a result, and that has ended the process.
                Err(_) => continue,
            },
            Some(locations) = daemon.locator.asked.join_next() => match locations {
                Ok(locations) => {
                    daemon.locator.learn(&locations);
                    Fact::Located(locations)
                }
                Err(_) => continue,
            },
            Some(seen) = daemon.locator.round.join_next() => {
                daemon.round_ended(&seen.unwrap_or_default());
                continue;
            }
            Some(answer) = daemon.probes.join_next() => match answer {
                Ok((unit, result)) => Fact::Probed(unit, result),
                Err(_) => continue,
            },
            () = deadline::reached(deadline) => Fact::Deadline,
            () = refresh.tick() => {
                daemon.refresh();
                checks.run();
                daemon.report_silent_files();
                api.iter().for_each(Api::check);
                if refresh.period() != daemon.refresh_interval {
                    refresh = Ticker::new(daemon.refresh_interval);
                }
                continue;
            }
            () = deadline::reached(stock_at) => {
                daemon.take_stock();
                continue;
            }
            () = tick_some(&mut watchdog) => {
                daemon.notify.watchdog();
                continue;
            }
            // Last, so that no number of requests delays anything.
            Some(request) = inbox.recv() => {
                daemon.answer(request);
                continue;
            }
        };
        daemon.observe(fact);
    }

    daemon.end().await;
    drop(inbox);
    if let Some(api) = api {
        api.end().await;
    }
    end
}

/// Waits until no other daemon of the same user runs.
pub async fn wait_for_turn(socket: &Path) {
    if lock::is_taken(socket) {
        tracing::info!("another workerheal daemon runs; this one waits until it ends");
    }
    while lock::is_taken(socket) {
        tokio::time::sleep(TURN_POLL_INTERVAL).await;
    }
}

/// Opens the API. Healing works without it.
fn open_to_others<M: ServiceManager>(parts: Parts<M>) -> Option<Api> {
    Api::start(parts).inspect_err(|error| tracing::error!("no request can be answered, healing goes on: {error}")).ok()
}

/// Changes of files.
struct Inputs {
    files: mpsc::Receiver<FileEvent>,
    rereads: mpsc::UnboundedReceiver<Reread>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is true, or not, by itself")]
struct Daemon<M> {
    manager: M,
    scope: Scope,
    paths: Paths,
    /// How often the units are listed.
    refresh_interval: Duration,
    /// The command to run after a worker was healed or given up.
    on_event: Vec<String>,
    /// Owns the settings shared by all workers: they change only by facts.
    healer: Healer,
    /// Origin of the healer's clock.
    origin: Instant,
    wall_clock: WallClock,
    inspections: JoinSet<InspectionOutcome>,
    /// What was seen of units when the last heal of named workers was planned.
    inspected: Inspections,
    /// When something last happened to a unit, as far as is known.
    disturbed_at: Instant,
    probes: JoinSet<(UnitName, ProbeResult)>,
    /// The aliases that the manager last reported.
    aliases: Aliases,
    locator: Locator,
    log: EventLog,
    state_writer: StateWriter,
    /// When to save the state and count again.
    stock_at: Option<Instant>,
    /// How long to wait for further changes.
    stock_within: Duration,
    /// The numbers of workers may have changed since they were reported.
    recount: bool,
    watch: Watch,
    /// Requests that came before the daemon was [ready](Self::ready).
    early: Vec<requests::DaemonRequest>,
    /// Which of the followed files did not answer last.
    silent: [bool; FOLLOWED.len()],
    /// Results of reading files again.
    rereads: mpsc::UnboundedSender<Reread>,
    notify: Notify,
    /// The status line that the service manager has.
    status_line: String,
    /// Why it is unknown what was paused and stopped, if so: until it is known, nothing is decided.
    unread: Option<String>,
    /// The first list has arrived.
    listed: bool,
    /// The first list has arrived, and the worker of every unit in it is known.
    ready: bool,
    /// Why the manager cannot be reached, if so.
    trouble: Option<String>,
    /// The manager is shutting down.
    shutting_down: bool,
    telemetry: Telemetry,
    uptimes: Uptimes,
    /// The address for metrics.
    listen: watch::Sender<Option<std::net::SocketAddr>>,
    /// Clients that wait for the result of a heal.
    subscribers: Vec<requests::HealSubscriber>,
    /// When the registry in force was read.
    registry_read: Option<SystemTime>,
    /// The current error of the registry's file.
    registry_error: Option<String>,
    /// What is wrong with the configuration's file now.
    config_error: Option<String>,
}

impl<M: ServiceManager> Daemon<M> {
    fn observe(&mut self, fact: Fact) {
        let now = Timestamp::from_origin(self.origin.elapsed());
        let listed = matches!(fact, Fact::Units(_));
        self.telemetry.fact(&fact, &self.healer);
        if self.inspected.outdate(&fact) {
            self.disturbed_at = Instant::now();
        }
        // Calls first: the log can wait, a worker that is down should not.
        let (events, calls): (Vec<_>, Vec<_>) =
            self.healer.observe(now, fact).into_iter().partition(|action| matches!(action, Action::Emit(_)));
        let news = !events.is_empty();
        let is_urgent = |event: &Event| is_promise(event) || event.phase == Phase::Starting;
        let urgent = events.iter().any(|action| matches!(action, Action::Emit(event) if is_urgent(event)));
        calls.into_iter().chain(events).for_each(|action| self.perform(action));
        self.dismiss_the_rested();
        self.locate_newcomers();
        self.recount |= news;
        if urgent {
            // Soon: the event waits for it, or a daemon that is killed now must not forget this attempt.
            let at = Instant::now() + self.stock_within.saturating_sub(MIN_SAVE_DELAY);
            self.stock_at = Some(self.stock_at.map_or(at, |earlier| earlier.min(at)));
        } else if self.stock_at.is_none() && (news || self.healer.saved_state_changed()) {
            self.stock_at = Some(Instant::now() + self.stock_within);
        }
        if listed {
            self.count();
        }
        self.listed |= listed;
        let all_are_known = || self.locator.asked.is_empty() || self.healer.knows_all_workers();
        if self.listed && !self.ready && all_are_known() {
            self.ready = true;
            for request in std::mem::take(&mut self.early) {
                self.answer(request);
            }
            self.notify.ready();
            tracing::info!("workerheal {} watches over {}", env!("CARGO_PKG_VERSION"), watched(&self.healer.counts()));
        }
    }

    fn perform(&mut self, action: Action) {
        match actions::perform(action, &self.manager, self.healer.context(), &mut self.inspected) {
            Rest::Nothing => {}
            Rest::Inspection(task) => {
                self.inspections.spawn(task);
            }
            Rest::Probe(task) => {
                self.probes.spawn(task);
            }
            Rest::Event(event) => self.publish(event),
        }
    }

    /// Publishes an event, and sends it to clients that wait for it.
    fn publish(&mut self, event: Event) {
        self.telemetry.event(&event);
        self.pass_on(&event);
        let promise = is_promise(&event).then(|| self.state_writer.ticket(self.healer.saved_state_changed()));
        self.log.write(event, promise);
    }

    /// Saves the state and writes the last events.
    async fn end(&mut self) {
        self.notify.stopping();
        tracing::info!("workerheal ends; failed workers stay down until it runs again");
        self.inspections.abort_all();
        self.probes.abort_all();
        self.locator.asked.abort_all();
        self.save_state();
        self.state_writer.flush(SHUTDOWN_TIMEOUT).await;
        // A worker that is down because its start is under way is not left down.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.manager.settled()).await;
        self.log.flush(SHUTDOWN_TIMEOUT).await;
        self.subscribers.clear();
    }

    fn refresh(&mut self) {
        self.locator.check();
        self.telemetry.list_is_asked_for();
        self.manager.refresh();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.healer.next_deadline().map(|at| self.origin + at.since_origin())
    }
}

/// Whether an event reports something that has to survive a restart, as it is reported only once.
fn is_promise(event: &Event) -> bool {
    matches!(event.phase, Phase::GaveUp | Phase::Stopped)
}

async fn tick_some(ticker: &mut Option<Ticker>) {
    match ticker {
        Some(ticker) => ticker.tick().await,
        None => std::future::pending().await,
    }
}
