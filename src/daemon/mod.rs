//! The service: turns the world into facts, and the healer's actions into calls.
//!
//! One loop owns all state. It waits for whatever happens first, makes a [`Fact`] of it, lets
//! [`Healer::observe`] decide, and performs the answer. Nothing in the loop waits for anything
//! else: looks at units run as tasks, starts and lists are the manager's, events are written by
//! [`log`], whoever asks is answered at the [`desk`], what passes is noted in the [`record`]. A panic
//! anywhere ends the process, so that its own service manager starts it anew.

mod api;
mod desk;
mod files;
mod hook;
mod log;
mod memory;
mod metrics;
mod notify;
mod record;
mod uptimes;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::core::coverage::Aliases;
use crate::core::event::Event;
use crate::core::healer::{Action, Counts, Fact, Healer, Look, Mode, Timestamp};
use crate::core::probe::Sighting;
use crate::core::units::{Inspection, UnitName};
use crate::deadline;
use crate::manager::{Change, Changes, ServiceManager};
use crate::probe::probe;
use crate::setup::{Error, Setup};
use crate::store::Store;
use crate::watch::{FileEvent, Watch};
use api::{Api, Claim, Parts, is_taken};
use files::FOLLOWED;
use log::EventLog;
use memory::{Keeper, clocks};
use metrics::Metrics;
use record::Record;
use uptimes::Uptimes;

/// How soon what has changed is written down and counted: a storm of changes is one.
const TAKES_STOCK_WITHIN: Duration = Duration::from_millis(100);
/// How much later for each worker that there is something to write of. All are written each time:
/// without this a storm of 5,000 is mostly writing. A second at the most, so that a daemon that is
/// killed has forgotten no more than that.
const LATER_A_WORKER: Duration = Duration::from_micros(200);
const TAKES_STOCK_AT_LATEST: Duration = Duration::from_secs(1);
/// How long running tasks may hold up the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often it is looked if another daemon has ended, by one that waits for its turn.
const LOOKS_FOR_TURN: Duration = Duration::from_secs(2);

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
///
/// If signals cannot be received, the files cannot be followed, or another daemon runs already.
pub async fn run<M: ServiceManager>(manager: M, mut changes: Changes, setup: Setup) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut reload = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let metrics = Arc::new(Metrics::new());
    let (asks, mut desk) = desk::open();
    let (listen, listens) = watch::channel(setup.metrics);
    let parts = Parts {
        asks,
        manager: manager.clone(),
        metrics: Arc::clone(&metrics),
        paths: setup.paths.clone(),
        scope: setup.scope,
        listen: listens,
    };
    let api = open_to_others(parts)?;
    let publish = api.as_ref().map(|api| api.events.clone());
    let (mut daemon, mut files) = Daemon::start(manager, setup, metrics, publish, listen);
    let mut refresh = ticker(daemon.setup.refresh);
    let mut watchdog = notify::watchdog_interval().map(ticker);

    loop {
        let deadline = daemon.next_deadline();
        let stock_at = daemon.stock_at;
        let fact = tokio::select! {
            // In the order of what changes a decision: what is meant, what is, what is due.
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                daemon.reload();
                continue;
            }
            Some(event) = files.recv() => {
                daemon.file_event(event);
                continue;
            }
            Some(change) = changes.recv() => daemon.changed(change),
            Some(look) = daemon.looks.join_next() => match look {
                Ok((unit, look, result)) => Fact::Inspected(unit, look, result),
                // Only a panic ends a look without an answer, and that has ended the process.
                Err(_) => continue,
            },
            Some(answer) = daemon.probes.join_next() => match answer {
                Ok((unit, sighting)) => Fact::Probed(unit, sighting),
                Err(_) => continue,
            },
            () = deadline::reached(deadline) => Fact::Deadline,
            _ = refresh.tick() => {
                daemon.refresh();
                daemon.watch.poll();
                if refresh.period() != daemon.setup.refresh {
                    refresh = ticker(daemon.setup.refresh);
                }
                continue;
            }
            () = deadline::reached(stock_at) => {
                daemon.take_stock();
                continue;
            }
            () = tick_some(&mut watchdog) => {
                notify::watchdog();
                continue;
            }
            // Last, so that no number of questions holds anything up.
            Some(ask) = desk.recv() => {
                daemon.answer(ask);
                continue;
            }
        };
        daemon.observe(fact);
    }

    notify::stopping();
    tracing::info!("workerheal ends; failed workers stay down until it runs again");
    daemon.looks.abort_all();
    daemon.probes.abort_all();
    daemon.remember();
    daemon.memory.flush(LAST_WORDS).await;
    // A worker that is down because we have taken it out is not left so.
    let _ = tokio::time::timeout(LAST_WORDS, daemon.manager.settled()).await;
    daemon.log.flush(LAST_WORDS).await;
    daemon.listeners.clear();
    drop(desk);
    if let Some(api) = api {
        api.end().await;
    }
    Ok(())
}

/// Waits until no other daemon of the same user runs.
pub async fn wait_for_turn(socket: &Path) {
    if is_taken(socket) {
        tracing::info!("another workerheal daemon runs; this one waits until it ends");
    }
    while is_taken(socket) {
        tokio::time::sleep(LOOKS_FOR_TURN).await;
    }
}

/// Opens the API. Without one it heals all the same, unless another daemon does that already.
fn open_to_others<M: ServiceManager>(parts: Parts<M>) -> Result<Option<Api>, Error> {
    let path = parts.paths.socket.clone();
    let api = Claim::take(&path).and_then(|claim| {
        Api::start(claim, parts).map_err(|error| Error::Socket { path: path.clone(), why: error.to_string() })
    });
    match api {
        Ok(api) => Ok(Some(api)),
        Err(Error::Socket { .. }) => {
            let Err(error) = api else { return Ok(None) };
            tracing::error!("{error}; it heals, but nobody can ask it anything");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

struct Daemon<M> {
    manager: M,
    setup: Setup,
    healer: Healer,
    /// Origin of the healer's clock.
    origin: Instant,
    looks: JoinSet<(UnitName, Look, Result<Inspection, String>)>,
    probes: JoinSet<(UnitName, Sighting)>,
    /// The other names of units that the manager has told last.
    aliases: Aliases,
    log: EventLog,
    memory: Keeper,
    /// When to write down what has changed, and to count anew.
    stock_at: Option<Instant>,
    /// How long that waits for more to change.
    stock_within: Duration,
    /// The numbers of workers may have changed since they were told.
    recount: bool,
    watch: Watch,
    /// The first list has come.
    ready: bool,
    /// Why the manager cannot be reached, if so.
    trouble: Option<String>,
    /// The manager is about to end.
    shutting_down: bool,
    record: Record,
    uptimes: Uptimes,
    /// Where metrics are to be served.
    listen: watch::Sender<Option<std::net::SocketAddr>>,
    /// Those who want to know what becomes of some workers.
    listeners: Vec<desk::Listener>,
    /// When the registry in force was read.
    registry_read: Option<SystemTime>,
    /// What is wrong with the registry's file now.
    registry_flaw: Option<String>,
}

impl<M: ServiceManager> Daemon<M> {
    fn start(
        manager: M,
        setup: Setup,
        metrics: Arc<Metrics>,
        publish: Option<mpsc::UnboundedSender<Event>>,
        listen: watch::Sender<Option<std::net::SocketAddr>>,
    ) -> (Self, mpsc::Receiver<FileEvent>) {
        let paths = &setup.paths;
        let followed = vec![paths.sites.clone(), paths.config.clone(), paths.stop_marker.clone()];
        let (watch, contents, files) = Watch::start(followed);
        let rules = setup.rules.clone();
        let random = fastrand::Rng::new();
        let mut healer = Healer::new(Mode::Automatic, rules.coverage, rules.policy, rules.registry, random);
        let origin = Instant::now();
        let store = Store::new(paths.state.clone());
        let found = store.take_up(clocks(origin));
        if let Some(warning) = found.warning {
            tracing::warn!("{warning}");
        }
        healer.restore(found.memory.clone());
        let mut daemon = Self {
            log: EventLog::start(manager.clone(), setup.scope, setup.on_event.clone(), publish),
            memory: Keeper::start(store, found.memory, origin),
            stock_at: None,
            stock_within: TAKES_STOCK_WITHIN,
            recount: false,
            manager,
            healer,
            origin,
            looks: JoinSet::new(),
            probes: JoinSet::new(),
            aliases: Aliases::new(),
            watch,
            ready: false,
            trouble: None,
            shutting_down: false,
            record: Record::new(metrics),
            uptimes: Uptimes::default(),
            listen,
            listeners: Vec::new(),
            registry_read: Some(SystemTime::now()),
            registry_flaw: None,
            setup,
        };
        daemon.observe(Fact::StopMarker(rules.stop_marker));
        // What has changed since the setup was read.
        for (file, content) in FOLLOWED.into_iter().zip(contents) {
            daemon.file_changed(file, content);
        }
        (daemon, files)
    }

    fn observe(&mut self, fact: Fact) {
        let now = Timestamp::from_origin(self.origin.elapsed());
        let listed = matches!(fact, Fact::Units(_));
        self.record.fact(&fact, &self.healer);
        // Calls first: writing to the log can wait, a worker that is down should not.
        let (events, calls): (Vec<_>, Vec<_>) =
            self.healer.observe(now, fact).into_iter().partition(|action| matches!(action, Action::Emit(_)));
        let news = !events.is_empty();
        calls.into_iter().chain(events).for_each(|action| self.perform(action));
        self.dismiss_the_rested();
        self.recount |= news;
        if self.stock_at.is_none() && (news || self.healer.remembers_otherwise()) {
            self.stock_at = Some(Instant::now() + self.stock_within);
        }
        if listed {
            self.count();
        }
        if listed && !std::mem::replace(&mut self.ready, true) {
            notify::ready();
            tracing::info!("workerheal {} watches over {}", env!("CARGO_PKG_VERSION"), watched(&self.healer.counts()));
        }
    }

    /// Does what takes a walk over all workers: once for all that has changed within a short time.
    fn take_stock(&mut self) {
        self.stock_at = None;
        self.remember();
        if self.recount {
            self.count();
        }
    }

    /// Has written down what has to survive a restart.
    fn remember(&mut self) {
        if let Some(memory) = self.healer.memory_if_changed() {
            let workers = u32::try_from(memory.workers.len()).unwrap_or(u32::MAX);
            let later = LATER_A_WORKER.saturating_mul(workers);
            self.stock_within = (TAKES_STOCK_WITHIN + later).min(TAKES_STOCK_AT_LATEST);
            self.memory.keep(memory);
        }
    }

    /// Tells how things are.
    fn count(&mut self) {
        self.recount = false;
        self.log.status(&status(&self.healer.counts(), self.trouble.as_deref()));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Inspect { unit, look, detail } => {
                let manager = self.manager.clone();
                self.looks.spawn(async move {
                    let seen = manager.inspect(&unit, detail).await.map_err(|error| error.to_string());
                    (unit, look, seen)
                });
            }
            Action::Probe { unit, probe: question, directory } => {
                let manager = self.manager.clone();
                self.probes.spawn(async move {
                    let sighting = probe(&manager, &unit, &question, directory).await;
                    (unit, sighting)
                });
            }
            Action::Start(start) => self.manager.start(&start, self.setup.rules.policy.timeout),
            Action::Stop(unit) => self.manager.stop(&unit),
            Action::Emit(event) => self.tell(event),
        }
    }

    /// Tells the world, and whoever waits for just this.
    fn tell(&mut self, event: Event) {
        self.record.event(&event);
        self.pass_on(&event);
        self.log.write(event);
    }

    fn refresh(&mut self) {
        self.record.list_is_asked_for();
        self.manager.refresh();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.healer.next_deadline().map(|at| self.origin + at.since_origin())
    }

    fn changed(&mut self, change: Change) -> Fact {
        match &change {
            Change::Units(_) => {
                self.shutting_down = false;
                if self.trouble.take().is_some() {
                    self.record.reconnected();
                    tracing::info!("the service manager answers again");
                }
            }
            Change::Unit(status) => self.uptimes.changed(&status.name),
            Change::Aliases(aliases) => {
                let rules = &mut self.setup.rules;
                rules.coverage.set_aliases(aliases);
                self.aliases.clone_from(aliases);
                return Fact::Settings(rules.coverage.clone(), rules.policy.clone());
            }
            Change::Reloading => {
                tracing::debug!("the service manager is busy with everything");
                self.record.listed();
            }
            Change::ShuttingDown => {
                if !std::mem::replace(&mut self.shutting_down, true) {
                    tracing::info!("the service manager is shutting down; nothing is healed until that is over");
                }
                self.record.listed();
            }
            Change::Lost(why) => {
                if self.trouble.is_none() {
                    tracing::warn!("healing pauses until the service manager answers: {why}");
                }
                self.log.status(&status(&self.healer.counts(), Some(why)));
                self.trouble = Some(why.clone());
                self.uptimes.forget();
            }
            Change::Finished(..)
            | Change::JobDone(_)
            | Change::StopOverridden(_)
            | Change::KeptFromStarting(_)
            | Change::FailedSockets(_) => {}
        }
        Fact::from(change)
    }
}

/// The line that `systemctl status` shows.
fn status(counts: &Counts, trouble: Option<&str>) -> String {
    use std::fmt::Write as _;
    if let Some(why) = trouble {
        return format!("Paused: {why}");
    }
    let mut line = format!("Watching over {}", watched(counts));
    for (count, what) in [
        (counts.healing, "being healed"),
        (counts.waiting, "waiting for the next attempt"),
        (counts.held, "held"),
        (counts.gave_up, "given up"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

fn watched(counts: &Counts) -> String {
    format!("{} worker{}", counts.workers, if counts.workers == 1 { "" } else { "s" })
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

async fn tick_some(ticker: &mut Option<tokio::time::Interval>) {
    match ticker {
        Some(ticker) => {
            ticker.tick().await;
        }
        None => std::future::pending().await,
    }
}
