//! The state that all handlers share, and how they send requests to the loop.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::stream::{self as streams, StreamExt};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::event_buffer::EventBuffer;
use crate::core::target::UnknownTarget;
use crate::core::units::UnitName;
use crate::daemon::metrics::Metrics;
use crate::daemon::requests::{DaemonRequest, PauseError, RequestSender};
use crate::detect::{Detector, PlanError};
use crate::files::paths::Paths;
use crate::http::request::Rejection;
use crate::manager::{ManagerError, Scope, ServiceManager, Usage};

/// Maximum number of concurrent questions about uptimes, and the time for all of them.
const MAX_CONCURRENT_UPTIMES: usize = 32;
const UPTIMES_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for usage.
const MAX_CONCURRENT_USAGES: usize = 32;
const USAGES_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum time of a check of all directories before workers are listed.
const DIRECTORIES_TIMEOUT: Duration = Duration::from_millis(300);

/// The state that all handlers share.
pub(super) struct ApiState<M> {
    pub requests: RequestSender,
    pub manager: M,
    pub metrics: Arc<Metrics>,
    pub paths: Paths,
    pub scope: Scope,
    pub buffer: Arc<EventBuffer>,
    pub ends: watch::Receiver<bool>,
    /// Limits searches in the journal for last lines: one request at a time.
    pub journal_slots: Semaphore,
}

/// The shared state as an extractor.
pub(super) type Shared<M> = State<Arc<ApiState<M>>>;

/// The way a response comes back.
pub(super) type Reply<T> = oneshot::Sender<T>;

impl<M: ServiceManager> ApiState<M> {
    /// Sends a request to the loop, and waits for the response.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> DaemonRequest) -> Result<T, Rejection> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let ends = || Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "this daemon is about to end");
        self.requests.send(ask(reply)).await.map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Finds out missing uptimes. If the service manager does not answer, they stay unknown.
    pub async fn learn_uptimes(&self) -> Result<(), Rejection> {
        let question = self.ask(DaemonRequest::WithoutUptime).await?;
        if !question.units.is_empty() {
            let lookups = streams::iter(question.units.clone()).map(|unit| {
                let manager = self.manager.clone();
                async move { manager.up_since(&unit).await }
            });
            let lookups = lookups.buffered(MAX_CONCURRENT_UPTIMES);
            if let Ok(answers) = timeout(UPTIMES_TIMEOUT, lookups.collect()).await {
                // If the daemon is about to end, the uptimes are not needed.
                let _ = self.requests.send(DaemonRequest::Uptimes(question, answers)).await;
            }
        }
        Ok(())
    }

    /// The resource usage of the covered ones of these units. Units for which the service manager does not answer in
    /// time are left out.
    pub async fn usages(&self, mut units: BTreeSet<UnitName>) -> Result<BTreeMap<String, Usage>, Rejection> {
        let covered = self.ask(DaemonRequest::Covered).await?;
        let covered: HashSet<UnitName> = covered.into_iter().map(|(unit, _)| unit).collect();
        units.retain(|unit| covered.contains(unit));
        let lookups = streams::iter(units).map(|unit| {
            let manager = self.manager.clone();
            async move { manager.usage(&unit).await.ok().map(|usage| (unit.short().to_owned(), usage)) }
        });
        let answers = lookups.buffer_unordered(MAX_CONCURRENT_USAGES).take_until(sleep(USAGES_TIMEOUT));
        Ok(answers.filter_map(std::future::ready).collect().await)
    }

    /// Makes sure that vanished and returned directories are noticed before workers are listed. A file system that does
    /// not answer is not waited for.
    pub async fn check_directories(&self) -> Result<(), Rejection> {
        match timeout(DIRECTORIES_TIMEOUT, self.ask(DaemonRequest::Directories)).await {
            Ok(answer) => answer,
            Err(_) => Ok(()),
        }
    }

    /// A detector with the current settings.
    pub async fn detector(&self) -> Result<Detector<M>, Rejection> {
        Ok(Detector::new(self.manager.clone(), self.ask(DaemonRequest::Context).await?))
    }
}

impl From<UnknownTarget> for Rejection {
    fn from(error: UnknownTarget) -> Self {
        Self::new(StatusCode::NOT_FOUND, error.to_string())
    }
}

impl From<PauseError> for Rejection {
    fn from(error: PauseError) -> Self {
        match error {
            PauseError::Target(error) => error.into(),
            PauseError::Unread(why) => unread(&why),
        }
    }
}

/// The error while it is unknown what is paused.
pub(super) fn unread(why: &str) -> Rejection {
    Rejection::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; until it can be, nothing is healed or paused"))
}

impl From<ManagerError> for Rejection {
    fn from(error: ManagerError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<PlanError> for Rejection {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Target(error) => error.into(),
            PlanError::Manager(error) => error.into(),
        }
    }
}
