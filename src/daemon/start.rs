//! The start of the daemon: what it knows from the files, and what it restores from the state file, at once or as soon
//! as that can be read.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::files::FOLLOWED;
use super::locate::Locator;
use super::log::EventLog;
use super::metrics::Metrics;
use super::notify::Notify;
use super::state_writer::{self, StateWriter, clocks};
use super::stock::MIN_SAVE_DELAY;
use super::telemetry::Telemetry;
use super::uptimes::Uptimes;
use super::wall_clock::WallClock;
use super::{Daemon, Inputs};
use crate::core::event::Event;
use crate::core::healer::{Healer, Mode};
use crate::core::saved_state::SavedState;
use crate::core::selector::Aliases;
use crate::detect::Inspections;
use crate::files::state_file::{LoadOutcome, StateFile};
use crate::files::watch::Watch;
use crate::manager::ServiceManager;
use crate::setup::{Setup, warnings};

impl<M: ServiceManager> Daemon<M> {
    pub(super) fn start(
        manager: M,
        setup: Setup,
        metrics: Arc<Metrics>,
        publish: Option<mpsc::UnboundedSender<Event>>,
        listen: watch::Sender<Option<std::net::SocketAddr>>,
    ) -> (Self, Inputs) {
        let Setup { scope, paths, refresh, on_event, context, .. } = setup;
        let followed = vec![paths.sites.clone(), paths.config.clone(), paths.stop_marker.clone()];
        let (watch, contents, files) = Watch::start(followed);
        for line in warnings(&paths.sites, &context.registry) {
            tracing::warn!("{line}");
        }
        let mut healer = Healer::new(Mode::Automatic, context, fastrand::Rng::new());
        let origin = Instant::now();
        let file = StateFile::new(paths.state.clone());
        let (rereads, reread) = mpsc::unbounded_channel();
        let (known, unread) = match file.load(clocks(origin)) {
            LoadOutcome::Known(saved_state) => (saved_state, None),
            LoadOutcome::SetAside(warning) => {
                tracing::warn!("{warning}");
                (SavedState::default(), None)
            }
            LoadOutcome::Unread(why) => {
                tracing::error!("{why}; trying again, and until then nothing is healed that may be paused or stopped");
                tokio::spawn(state_writer::reread(file.clone(), origin, rereads.clone()));
                (SavedState::default(), Some(why))
            }
        };
        healer.restore(known.clone());
        let mut daemon = Self {
            log: EventLog::start(manager.clone(), scope, on_event.clone(), publish),
            state_writer: StateWriter::start(file, known, origin),
            stock_at: None,
            stock_within: MIN_SAVE_DELAY,
            recount: false,
            manager,
            scope,
            paths,
            refresh_interval: refresh,
            on_event,
            healer,
            origin,
            wall_clock: WallClock::new(clocks(origin)),
            inspections: JoinSet::new(),
            inspected: Inspections::default(),
            disturbed_at: origin,
            probes: JoinSet::new(),
            aliases: Aliases::new(),
            locator: Locator::new(),
            watch,
            silent: [false; FOLLOWED.len()],
            rereads,
            notify: Notify::open(),
            status_line: String::new(),
            unread,
            ready: false,
            early: Vec::new(),
            listed: false,
            trouble: None,
            shutting_down: false,
            telemetry: Telemetry::new(metrics),
            uptimes: Uptimes::default(),
            listen,
            subscribers: Vec::new(),
            registry_read: Some(SystemTime::now()),
            registry_error: None,
            config_error: None,
        };
        // Changes since the setup was read.
        for (file, content) in FOLLOWED.into_iter().zip(contents) {
            daemon.file_changed(file, content);
        }
        (daemon, Inputs { files, rereads: reread })
    }

    /// Restores the saved state, which could not be read at the start.
    pub(super) fn state_recovered(&mut self, found: LoadOutcome) {
        let known = match found {
            LoadOutcome::Known(saved_state) => saved_state,
            LoadOutcome::SetAside(warning) => {
                tracing::warn!("{warning}");
                SavedState::default()
            }
            LoadOutcome::Unread(_) => return,
        };
        tracing::info!("the state can be read now; healing begins");
        self.unread = None;
        self.healer.restore(known.clone());
        self.state_writer.restart(StateFile::new(self.paths.state.clone()), known, self.origin);
        self.refresh();
    }
}
