//! What every call can use, how it asks the daemon's loop, and what it says when that refuses.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use futures_util::stream::{self as streams, StreamExt};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::event_buffer::EventBuffer;
use crate::core::target::UnknownTarget;
use crate::daemon::metrics::Metrics;
use crate::daemon::requests::{DaemonRequest, PauseError, RequestSender};
use crate::detect::{Detector, PlanError};
use crate::files::paths::Paths;
use crate::http::request::Rejection;
use crate::manager::{ManagerError, Scope, ServiceManager};

/// So many units are asked about at once since when they are up, and for so long.
const MAX_CONCURRENT_UPTIMES: usize = 32;
const UPTIMES_TIMEOUT: Duration = Duration::from_secs(2);

/// What every call can use.
pub(super) struct ApiState<M> {
    pub requests: RequestSender,
    pub manager: M,
    pub metrics: Arc<Metrics>,
    pub paths: Paths,
    pub scope: Scope,
    pub buffer: Arc<EventBuffer>,
    pub ends: watch::Receiver<bool>,
    /// Looks into the journal for everybody's last lines: one at a time.
    pub journal_slots: Semaphore,
}

/// How the handlers get it.
pub(super) type Shared<M> = State<Arc<ApiState<M>>>;

/// The way an answer comes back.
pub(super) type Reply<T> = oneshot::Sender<T>;

impl<M: ServiceManager> ApiState<M> {
    /// Asks the loop.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> DaemonRequest) -> Result<T, Rejection> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let ends = || Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "this daemon is about to end");
        self.requests.send(ask(reply)).await.map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Has the loop know since when workers are up. Where the service manager does not say, it is not told.
    pub async fn learn_uptimes(&self) -> Result<(), Rejection> {
        let question = self.ask(DaemonRequest::WithoutUptime).await?;
        if !question.units.is_empty() {
            let lookups = streams::iter(question.units.clone()).map(|unit| {
                let manager = self.manager.clone();
                async move { manager.up_since(&unit).await }
            });
            let lookups = lookups.buffered(MAX_CONCURRENT_UPTIMES);
            if let Ok(answers) = timeout(UPTIMES_TIMEOUT, lookups.collect()).await {
                // Nobody is there to learn it where the daemon is about to end.
                let _ = self.requests.send(DaemonRequest::Uptimes(question, answers)).await;
            }
        }
        Ok(())
    }

    /// A search by the rules in force.
    pub async fn detector(&self) -> Result<Detector<M>, Rejection> {
        Ok(Detector { manager: self.manager.clone(), context: self.ask(DaemonRequest::Context).await? })
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

/// It is not known what is paused.
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
