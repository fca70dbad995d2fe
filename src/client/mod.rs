//! How every surface reaches the system: through the daemon if one is running, else directly through the service
//! manager.
//!
//! - [`Access`] chooses between the two.
//! - [`daemon`] is the client of the daemon, for all its calls and its events.
//! - [`standalone`] works without a daemon.
//! - [`log`] is the log of one worker, with or without a daemon.

mod absent;
pub mod daemon;
mod error;
pub mod log;
mod names;
mod sse;
pub mod standalone;
mod stop;
mod stream;
mod usage;

use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

use crate::api::{Explained, HealRequest};
use crate::core::batch::Plan;
use crate::core::event::{Event, Report, UnhealthyWorker};
use crate::core::explain::References;
use crate::core::target::UnknownTarget;
use crate::core::time::Timestamp;
use crate::core::units::UnitName;
use crate::detect::references::references_for;
use crate::detect::{Detector, PlanError};
use crate::files::paths::Paths;
use crate::manager::{ManagerError, Native, Scope, ServiceManager};
use crate::setup::{Configured, Options, Setup, SetupError, warnings};
use crate::text::explanation::text;
use crate::text::style::Style;
use daemon::{DaemonClient, DaemonError, DaemonHealing};
use standalone::{Healing, Standalone};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file has an error, or the service manager cannot be reached.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The service manager did not answer.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// A target names no covered worker.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
    /// The daemon did not answer, or refused.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The log of a worker cannot be read.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// A duration cannot be parsed.
    #[error("`{0}` is not a duration; write 500ms, 3s or 1m")]
    Duration(String),
}

impl From<PlanError> for ClientError {
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
    Daemon(DaemonClient),
    /// Directly through the service manager.
    Standalone(Box<ConfiguredStandalone>),
}

/// A standalone client, and what it was made from.
#[derive(Debug)]
pub struct ConfiguredStandalone {
    scope: Scope,
    paths: Paths,
    /// Why it is unknown what is paused, if so.
    state_unread: Option<String>,
    daemon_runs: bool,
    client: Standalone<Native>,
}

impl ConfiguredStandalone {
    async fn open(options: &Options) -> Result<Self, SetupError> {
        let configured = Configured::load(options)?;
        let connected = Native::connect(configured.scope(), configured.patterns());
        // Both take about as long, so they are done at the same time.
        let (setup, connected) = tokio::join!(spawn_blocking(|| configured.load_rest()), connected);
        let Setup { scope, paths, context, saved_workers, state_unread, .. } =
            setup.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?;
        let (manager, changes) = connected?;
        let mut client = Standalone::new(Detector { manager, context, saved_workers }, changes);
        client.find_aliases().await?;
        Ok(Self { scope, paths, state_unread, daemon_runs: false, client })
    }
}

/// Reads the files and connects to the service manager, whether or not a daemon runs.
///
/// # Errors
///
/// If a file has a mistake, or the service manager cannot be reached.
pub async fn connect(options: &Options) -> Result<Standalone<Native>, SetupError> {
    Ok(ConfiguredStandalone::open(options).await?.client)
}

impl Access {
    /// Through the daemon if one is running. If the options name files, these files decide, so the daemon is not used.
    ///
    /// # Errors
    ///
    /// If no daemon answers, and a file has a mistake or the service manager cannot be reached.
    pub async fn open(options: &Options) -> Result<Self, ClientError> {
        let names_files = options.config.is_some() || options.sites.is_some();
        if !names_files && let Ok(daemon) = DaemonClient::connect(options).await {
            return Ok(Self::Daemon(daemon));
        }
        let mut standalone = ConfiguredStandalone::open(options).await?;
        standalone.daemon_runs = names_files && DaemonClient::connect(options).await.is_ok();
        Ok(Self::Standalone(Box::new(standalone)))
    }

    /// Warnings about the files that were read, a line each. The daemon's warnings are in its log.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Self::Daemon(_) => Vec::new(),
            Self::Standalone(standalone) => {
                warnings(&standalone.paths.sites, &standalone.client.detector().context.registry)
            }
        }
    }

    /// The units of the workers that the targets name.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn select(&self, targets: &[String]) -> Result<Vec<UnitName>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.select(targets).await?),
            Self::Standalone(standalone) => {
                let workers = standalone.client.workers().await?;
                let named = standalone.client.detector().named(targets, &workers).await?;
                Ok(named.into_iter().map(|(unit, _)| unit).collect())
            }
        }
    }

    /// Every unhealthy worker that is not down on purpose, sorted by site, then worker: as the daemon reports it, if
    /// one is running. `errors` includes what went wrong.
    ///
    /// # Errors
    ///
    /// If the daemon, or the service manager, does not answer.
    pub async fn detect(&self, errors: bool) -> Result<Vec<UnhealthyWorker>, ClientError> {
        let mut workers = match self {
            Self::Daemon(daemon) => daemon.unhealthy().await?,
            Self::Standalone(standalone) => {
                let mut workers = standalone.client.detect().await?;
                if errors {
                    standalone.client.enrich(&mut workers).await;
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
    pub async fn plan(&self, targets: &[String]) -> Result<Plan, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.plan(targets).await?),
            Self::Standalone(standalone) => {
                let detector = standalone.client.detector();
                let mut plan = detector.preview(detector.plan(targets).await?).await;
                standalone.client.enrich(&mut plan.unhealthy).await;
                Ok(plan)
            }
        }
    }

    /// Begins to heal what the targets name, or everything.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn heal(&mut self, request: &HealRequest) -> Result<Heal<'_>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(Heal::Daemon(Box::new(daemon.heal(request).await?))),
            Self::Standalone(standalone) => {
                if let Some(why) = &standalone.state_unread {
                    let path = standalone.paths.state.clone();
                    return Err(SetupError::State { path, why: why.clone() }.into());
                }
                if let Some(prove) = &request.prove {
                    let time = humantime::parse_duration(prove).map_err(|_| ClientError::Duration(prove.clone()))?;
                    standalone.client.prove_within(time);
                }
                let (plan, inspections) = standalone.client.detector().plan_to_heal(&request.targets).await?;
                let healing = standalone.client.heal_inspected(&plan, inspections).await?;
                Ok(Heal::Standalone(Box::new((plan, healing))))
            }
        }
    }

    /// Why the named workers are, or are not, being healed.
    ///
    /// # Errors
    ///
    /// If a target names no covered worker, or the service manager cannot be reached.
    pub async fn explain(&self, targets: &[String]) -> Result<Vec<Explained>, ClientError> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.explain(targets).await?),
            Self::Standalone(standalone) => standalone.explain(targets).await,
        }
    }
}

impl ConfiguredStandalone {
    async fn explain(&self, targets: &[String]) -> Result<Vec<Explained>, ClientError> {
        let detector = self.client.detector();
        let named = detector.named(targets, &detector.workers().await?).await?;
        let mut explanations = Vec::new();
        for (unit, _) in named {
            let manager = (&detector.manager, self.scope);
            // The saved state was read with this clock.
            let of_files = references_for(&self.paths, manager, &unit, Timestamp::default()).await;
            let references = References { daemon_runs: self.daemon_runs, ..of_files };
            let Some(explanation) = detector.explain(&unit, &references).await? else { continue };
            let last_words = match explanation.state {
                Some(_) => detector.manager.last_error(&unit).await,
                None => None,
            };
            let text = text(&explanation, last_words.as_deref(), Style::default(), None);
            explanations.push(Explained { explanation, last_words, text });
        }
        Ok(explanations)
    }
}

/// A heal under way. If it is dropped early, the daemon continues; a standalone heal starts nothing further.
#[derive(Debug)]
pub enum Heal<'a> {
    /// By the daemon.
    Daemon(Box<DaemonHealing>),
    /// By this process.
    Standalone(Box<(Plan, Healing<'a, Native>)>),
}

impl Heal<'_> {
    /// What the heal does.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Daemon(healing) => healing.plan(),
            Self::Standalone(it) => &it.0,
        }
    }

    /// The next event: `starting` for each worker in order, for each of them later `healed` or
    /// `failed`, and at the very end `done`. `None` after that.
    ///
    /// # Errors
    ///
    /// If the daemon is gone before it was done.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        match self {
            Self::Daemon(healing) => Ok(healing.next().await?),
            Self::Standalone(it) => Ok(it.1.next().await),
        }
    }

    /// The result for each worker, once [`next`](Self::next) has returned `None`.
    #[must_use]
    pub fn into_report(self) -> Report {
        match self {
            Self::Daemon(healing) => healing.into_report(),
            Self::Standalone(it) => it.1.into_report(),
        }
    }
}
