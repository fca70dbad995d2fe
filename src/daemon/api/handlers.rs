//! The calls of the API: read the request, ask the loop, write the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::{self as streams, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::event_buffer::{EventBuffer, EventFilter};
use super::heal::{self, Reply};
use crate::api::{DaemonStatus, Explained, HealRequest, PauseRequest, Paused, ResumeRequest};
use crate::core::event::UnhealthyWorker;
use crate::core::explain::text::text;
use crate::core::report::WorkerReport;
use crate::core::style::Style;
use crate::core::target::UnknownTarget;
use crate::core::time::Timestamp;
use crate::core::units::{Detail, UnitName};
use crate::daemon::metrics::{CONTENT_TYPE, Metrics};
use crate::daemon::requests::{DaemonRequest, PauseError, PauseReceipt, RequestSender};
use crate::detect::references::references_for;
use crate::detect::{Detector, PlanError};
use crate::files::paths::Paths;
use crate::http::request::{self, Rejection, duration};
use crate::manager::{ManagerError, Scope, ServiceManager};

/// The longest body of a request: some thousand names.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// So many units are asked about at once since when they are up, and for so long.
const MAX_CONCURRENT_UPTIMES: usize = 32;
const UPTIMES_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request to pause healing waits until the pause is on disk.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

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

type Shared<M> = State<Arc<ApiState<M>>>;

pub(super) fn router<M: ServiceManager>(state: Arc<ApiState<M>>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<M>))
        .route("/v1/workers", get(workers::<M>))
        .route("/v1/workers/{unit}/explain", get(explain::<M>))
        .route("/v1/unhealthy", get(unhealthy::<M>))
        .route("/v1/events", get(events::<M>))
        .route("/v1/heal", post(heal::<M>))
        .route("/v1/pause", post(pause::<M>))
        .route("/v1/resume", post(resume::<M>))
        .route("/metrics", get(metrics::<M>))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "there is no such call"))
        .method_not_allowed_fallback(async || {
            Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "this call has another method")
        })
        .with_state(state)
}

pub(super) fn metrics_only<M: ServiceManager>(state: Arc<ApiState<M>>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::<M>))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "only /metrics is served here"))
        .with_state(state)
}

impl<M: ServiceManager> ApiState<M> {
    /// Asks the loop.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> DaemonRequest) -> Result<T, Rejection> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let ends = || Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "this daemon is about to end");
        self.requests.send(ask(reply)).await.map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Has the loop know since when workers are up. Where the service manager does not say, it is not told.
    async fn learn_uptimes(&self) -> Result<(), Rejection> {
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

async fn status<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<DaemonStatus>, Rejection> {
    Ok(Json(state.ask(DaemonRequest::Status).await?))
}

async fn workers<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<Vec<WorkerReport>>, Rejection> {
    state.learn_uptimes().await?;
    Ok(Json(state.ask(DaemonRequest::Workers).await?))
}

async fn unhealthy<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<Vec<UnhealthyWorker>>, Rejection> {
    let reports = state.ask(DaemonRequest::Workers).await?;
    let mut workers: Vec<_> = reports.iter().filter_map(WorkerReport::unhealthy).collect();
    if !workers.is_empty() {
        let _slot = state.journal_slots.acquire().await;
        state.detector().await?.enrich(&mut workers).await;
    }
    Ok(Json(workers))
}

async fn explain<M: ServiceManager>(
    State(state): Shared<M>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<Explained>, Rejection> {
    let Path(name) = path.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let not_covered = || {
        let name: String = name.chars().take(100).collect();
        Rejection::new(StatusCode::NOT_FOUND, format!("{name:?} is no worker that the configuration covers"))
    };
    let detector = state.detector().await?;
    let unit = UnitName::parse(&detector.context.selector.own_name(&name)).map_err(|_| not_covered())?;
    let worker = state.ask(|reply| DaemonRequest::Covers(unit.clone(), reply)).await?.ok_or_else(not_covered)?;
    let seen = detector.inspect(&unit, Detail::ALL).await?;
    let files = (&state.paths, &*detector.context.registry);
    let references = references_for(files, (&state.manager, state.scope), (&unit, &worker), Timestamp::default()).await;
    let explanation =
        state.ask(|reply| DaemonRequest::Explain(unit.clone(), Box::new((seen, references)), reply)).await?;
    let explanation = explanation.ok_or_else(not_covered)?;
    let last_words = detector.last_words(&unit).await;
    let text = text(&explanation, last_words.as_deref(), Style::default());
    Ok(Json(Explained { explanation, last_words, text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<String>,
    since: Option<String>,
    limit: Option<usize>,
    #[serde(default = "yes")]
    follow: bool,
}

fn yes() -> bool {
    true
}

async fn events<M: ServiceManager>(
    State(state): Shared<M>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Query(query) = query.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let filter = EventFilter {
        after: last.or(query.after),
        since: query.since.as_deref().map(moment).transpose()?,
        limit: query.limit,
        follow: query.follow,
    };
    let follower = state.buffer.open(&filter, state.ends.clone());
    let gives_way = follower.gives_way();
    let body = streams::unfold(follower, async |mut follower| {
        let bytes = follower.read().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), follower))
    });
    let mut response = server_sent(Body::from_stream(body));
    response.extensions_mut().insert(gives_way);
    Ok(response)
}

async fn heal<M: ServiceManager>(State(state): Shared<M>, request: Request) -> Result<Response, Rejection> {
    let request: HealRequest = read(request).await?;
    heal::heal(state, request).await
}

async fn pause<M: ServiceManager>(State(state): Shared<M>, request: Request) -> Result<Json<Paused>, Rejection> {
    let PauseRequest { targets, time } = read(request).await?;
    let time = time.as_deref().map(duration).transpose()?;
    let receipt = state.ask(|reply| DaemonRequest::Pause(targets, time, reply)).await??;
    Ok(Json(kept(receipt).await))
}

async fn resume<M: ServiceManager>(State(state): Shared<M>, request: Request) -> Result<Json<Paused>, Rejection> {
    let ResumeRequest { targets } = read(request).await?;
    let receipt = state.ask(|reply| DaemonRequest::Resume(targets, reply)).await??;
    Ok(Json(kept(receipt).await))
}

/// Waits until what is promised is written down.
async fn kept(PauseReceipt { pauses, ticket }: PauseReceipt) -> Paused {
    Paused { pauses, not_saved: ticket.written(SAVE_TIMEOUT).await.err() }
}

async fn metrics<M: ServiceManager>(State(state): Shared<M>) -> Result<Response, Rejection> {
    let gauges = state.ask(DaemonRequest::Gauges).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.text(&gauges)).into_response())
}

/// The body of a request, as JSON whatever its type is said to be; none is the default.
async fn read<T: DeserializeOwned + Default>(request: Request) -> Result<T, Rejection> {
    let body = request::body(request, MAX_BODY_BYTES).await?;
    if body.is_empty() { Ok(T::default()) } else { request::object(&body) }
}

/// A time ago, or a time.
fn moment(text: &str) -> Result<SystemTime, Rejection> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    Ok(SystemTime::now().checked_sub(duration(text)?).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// An answer that goes on for as long as there is something to tell.
pub(super) fn stream(frames: mpsc::Receiver<Bytes>) -> Response {
    let body = streams::unfold(frames, async |mut frames| {
        let bytes = frames.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), frames))
    });
    server_sent(Body::from_stream(body))
}

fn server_sent(body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
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
