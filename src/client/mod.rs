//! The one way in which every surface reaches the system: through the daemon where one answers,
//! straight to the service manager for what needs none.
//!
//! - [`Access`] picks the way for what either can do: heal and explain.
//! - [`socket`] is the way to the daemon: all that it can be asked, its events as they happen.
//! - [`direct`] is the way without one.
//! - [`log`] is the log of one worker, with or without it.

mod absent;
pub mod direct;
pub mod log;
mod names;
pub mod socket;
mod sse;
mod stop;
mod stream;

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

use crate::api::{Explained, HealRequest};
use crate::core::batch::Plan;
use crate::core::event::{Event, Report, UnhealthyWorker};
use crate::core::explain::text::text;
use crate::core::style::Style;
use crate::core::target::{self, UnknownTarget};
use crate::core::time::Timestamp;
use crate::core::units::UnitName;
use crate::manager::{ManagerError, Native, ServiceManager};
use crate::search::PlanError;
use crate::setup::{Configured, Error as SetupError, Options, Setup};
use crate::sources::sources;
use direct::{Client, Healing};
use socket::{Daemon, DaemonError, DaemonHealing};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is wrong, or the service manager cannot be reached.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// No covered worker was named.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
    /// The daemon did not answer, or refused.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The log of a worker cannot be read.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// A time is written in a way that cannot be read.
    #[error("`{0}` is not a duration; write 500ms, 3s or 1m")]
    Duration(String),
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Target(error) => Self::Target(error),
            PlanError::Manager(error) => Self::Manager(error),
        }
    }
}

/// The way to the system.
#[derive(Debug)]
pub enum Access {
    /// Through the daemon.
    Daemon(Daemon),
    /// Straight to the service manager.
    Direct(Box<Direct>),
}

/// A client without a daemon, and what it was made of.
#[derive(Debug)]
pub struct Direct {
    setup: Setup,
    client: Client<Native>,
}

impl Direct {
    async fn open(options: &Options) -> Result<Self, SetupError> {
        let configured = Configured::load(options)?;
        let connected = Native::connect(configured.scope(), configured.patterns());
        // The two take about as long, so they are done at once.
        let (setup, connected) = tokio::join!(spawn_blocking(|| configured.load_rest()), connected);
        let setup = setup.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?;
        let (manager, changes) = connected?;
        let mut client = Client::new(manager, changes, setup.rules.clone());
        client.find_aliases().await?;
        Ok(Self { setup, client })
    }
}

/// Reads the files and connects to the service manager, whether or not a daemon runs.
///
/// # Errors
///
/// If a file has a mistake, or the service manager cannot be reached.
pub async fn connect(options: &Options) -> Result<Client<Native>, SetupError> {
    Ok(Direct::open(options).await?.client)
}

impl Access {
    /// Through the daemon if one answers. Whoever names files of their own wants these to decide, and
    /// not those of the daemon.
    ///
    /// # Errors
    ///
    /// If no daemon answers, and a file has a mistake or the service manager cannot be reached.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let names_files = options.config.is_some() || options.sites.is_some();
        if !names_files && let Ok(daemon) = Daemon::connect(options).await {
            return Ok(Self::Daemon(daemon));
        }
        Ok(Self::Direct(Box::new(Direct::open(options).await?)))
    }

    /// What is wrong with the files that were read, but keeps nothing from working: a line each. What the
    /// daemon has read it has told in its log.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Daemon(_) => Vec::new(),
            Self::Direct(direct) => direct.setup.warnings(),
        }
    }

    /// The units of the workers that the targets name.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn select(&self, targets: &[String]) -> Result<Vec<UnitName>, Error> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.select(targets).await?),
            Self::Direct(direct) => {
                let coverage = &direct.client.search().rules.coverage;
                Ok(target::select(&coverage.by_own_names(targets), &direct.client.workers().await?)?)
            }
        }
    }

    /// Every worker that something is wrong with and that is not meant to be down, sorted by site, then
    /// worker: as the daemon sees it, if one answers. With `errors`, also what went wrong.
    ///
    /// # Errors
    ///
    /// If the daemon, or the service manager, does not answer.
    pub async fn detect(&self, errors: bool) -> Result<Vec<UnhealthyWorker>, Error> {
        let mut workers = match self {
            Self::Daemon(daemon) => daemon.unhealthy().await?,
            Self::Direct(direct) => {
                let mut workers = direct.client.detect().await?;
                if errors {
                    direct.client.enrich(&mut workers).await;
                }
                workers
            }
        };
        if !errors {
            for worker in &mut workers {
                worker.last_error.clear();
            }
        }
        Ok(workers)
    }

    /// What a heal would do, with the last log line of each worker.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn plan(&self, targets: &[String]) -> Result<Plan, Error> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.plan(targets).await?),
            Self::Direct(direct) => {
                let search = direct.client.search();
                let mut plan = search.preview(search.plan(targets).await?).await;
                direct.client.enrich(&mut plan.unhealthy).await;
                Ok(plan)
            }
        }
    }

    /// Begins to heal what the targets name, or everything.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn heal(&mut self, request: &HealRequest) -> Result<Heal<'_>, Error> {
        match self {
            Self::Daemon(daemon) => Ok(Heal::Daemon(Box::new(daemon.heal(request).await?))),
            Self::Direct(direct) => {
                if let Some(why) = &direct.setup.state_unread {
                    let path = direct.setup.paths.state.clone();
                    return Err(SetupError::State { path, why: why.clone() }.into());
                }
                if let Some(prove) = &request.prove {
                    let time = humantime::parse_duration(prove).map_err(|_| Error::Duration(prove.clone()))?;
                    direct.client.prove_within(time);
                }
                let plan = direct.client.search().plan(&request.targets).await?;
                let healing = direct.client.heal(&plan).await?;
                Ok(Heal::Direct(Box::new((plan, healing))))
            }
        }
    }

    /// Why the named workers are, or are not, being healed.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn explain(&self, targets: &[String]) -> Result<Vec<Explained>, Error> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.explain(targets).await?),
            Self::Direct(direct) => direct.explain(targets).await,
        }
    }
}

impl Direct {
    async fn explain(&self, targets: &[String]) -> Result<Vec<Explained>, Error> {
        let search = self.client.search();
        let workers = search.workers().await?;
        let mut explanations = Vec::new();
        for unit in target::select(&search.rules.coverage.by_own_names(targets), &workers)? {
            let Some((_, worker)) = workers.iter().find(|(name, _)| *name == unit) else { continue };
            let Setup { paths, scope, rules, .. } = &self.setup;
            // What the daemon has written down was read as of the origin.
            let files = (paths, &*rules.registry);
            let sources = sources(files, (&search.manager, *scope), (&unit, worker), Timestamp::default()).await;
            let Some(explanation) = search.explain(&unit, &sources).await? else { continue };
            let last_words = search.manager.last_error(&unit).await;
            let text = text(&explanation, last_words.as_deref(), Style::default());
            explanations.push(Explained { explanation, last_words, text });
        }
        Ok(explanations)
    }
}

/// A heal under way. Dropped early, it is no longer told of; the daemon heals on, a direct one starts
/// nothing further.
#[derive(Debug)]
pub enum Heal<'a> {
    /// By the daemon.
    Daemon(Box<DaemonHealing>),
    /// By this process.
    Direct(Box<(Plan, Healing<'a, Native>)>),
}

impl Heal<'_> {
    /// What is being done.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Daemon(healing) => healing.plan(),
            Self::Direct(it) => &it.0,
        }
    }

    /// The next event: `starting` for each worker in order, for each of them later `healed` or
    /// `failed`, and at the very end `done`. `None` after that.
    ///
    /// # Errors
    ///
    /// If the daemon is gone before it was done.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        match self {
            Self::Daemon(healing) => Ok(healing.next().await?),
            Self::Direct(it) => Ok(it.1.next().await),
        }
    }

    /// What became of the workers, once [`next`](Self::next) has answered `None`.
    #[must_use]
    pub fn into_report(self) -> Report {
        match self {
            Self::Daemon(healing) => healing.into_report(),
            Self::Direct(it) => it.1.into_report(),
        }
    }
}
