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

use super::events::{Book, Wanted};
use super::heal::{self, Reply};
use super::{counts, stop};
use crate::answer::{self, Rejection, duration};
use crate::api::{DaemonStatus, Explained, HealRequest, PauseRequest, Paused, ResumeRequest, StopReport, StopRequest};
use crate::core::event::UnhealthyWorker;
use crate::core::explain::text::text;
use crate::core::style::Style;
use crate::core::survey::WorkerReport;
use crate::core::target::UnknownTarget;
use crate::core::time::Timestamp;
use crate::core::units::{Detail, UnitName};
use crate::daemon::desk::{Ask, Asks, Promised, Unpausable};
use crate::daemon::metrics::{CONTENT_TYPE, Metrics};
use crate::manager::{ManagerError, Scope, ServiceManager};
use crate::paths::Paths;
use crate::search::{PlanError, Search};
use crate::sources::sources;

/// The longest body of a request: some thousand names.
const BODY: usize = 64 * 1024;

/// So many units are asked about at once since when they are up, and for so long.
const UPTIMES_AT_ONCE: usize = 32;
const UPTIMES_WITHIN: Duration = Duration::from_secs(2);

/// How long a request to pause healing waits until the pause is on disk.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// What every call can use.
pub(super) struct Office<M> {
    pub asks: Asks,
    pub manager: M,
    pub metrics: Arc<Metrics>,
    pub paths: Paths,
    pub scope: Scope,
    pub book: Arc<Book>,
    pub ends: watch::Receiver<bool>,
    /// Looks into the journal for everybody's last lines: one at a time.
    pub lookers: Semaphore,
}

type Shared<M> = State<Arc<Office<M>>>;

pub(super) fn router<M: ServiceManager>(office: Arc<Office<M>>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<M>))
        .route("/v1/workers", get(workers::<M>))
        .route("/v1/workers/{unit}/explain", get(explain::<M>))
        .route("/v1/unhealthy", get(unhealthy::<M>))
        .route("/v1/events", get(events::<M>))
        .route("/v1/heal", post(heal::<M>))
        .route("/v1/stop", post(stop::<M>))
        .route("/v1/pause", post(pause::<M>))
        .route("/v1/resume", post(resume::<M>))
        .route("/metrics", get(metrics::<M>))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "there is no such call"))
        .method_not_allowed_fallback(async || {
            Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "this call has another method")
        })
        .with_state(office)
}

pub(super) fn metrics_only<M: ServiceManager>(office: Arc<Office<M>>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::<M>))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "only /metrics is served here"))
        .with_state(office)
}

impl<M: ServiceManager> Office<M> {
    /// Asks the loop.
    pub async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Rejection> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let ends = || Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "this daemon is about to end");
        self.asks.send(ask(reply)).await.map_err(|_| ends())?;
        answer.await.map_err(|_| ends())
    }

    /// Has the loop know since when workers are up. Where the service manager does not say, it is not told.
    async fn learn_uptimes(&self) -> Result<(), Rejection> {
        let question = self.ask(Ask::WithoutUptime).await?;
        if !question.units.is_empty() {
            let looks = streams::iter(question.units.clone()).map(|unit| {
                let manager = self.manager.clone();
                async move { manager.up_since(&unit).await }
            });
            let looks = looks.buffered(UPTIMES_AT_ONCE);
            if let Ok(answers) = timeout(UPTIMES_WITHIN, looks.collect()).await {
                // Nobody is there to learn it where the daemon is about to end.
                let _ = self.asks.send(Ask::Uptimes(question, answers)).await;
            }
        }
        Ok(())
    }

    /// A search by the rules in force.
    pub async fn search(&self) -> Result<Search<M>, Rejection> {
        Ok(Search { manager: self.manager.clone(), rules: self.ask(Ask::Rules).await? })
    }
}

async fn status<M: ServiceManager>(State(office): Shared<M>) -> Result<Json<DaemonStatus>, Rejection> {
    Ok(Json(office.ask(Ask::Status).await?))
}

async fn workers<M: ServiceManager>(State(office): Shared<M>) -> Result<Json<Vec<WorkerReport>>, Rejection> {
    office.learn_uptimes().await?;
    let mut reports = office.ask(Ask::Workers).await?;
    counts::of_reports(&office.manager, &mut reports).await;
    Ok(Json(reports))
}

async fn unhealthy<M: ServiceManager>(State(office): Shared<M>) -> Result<Json<Vec<UnhealthyWorker>>, Rejection> {
    let reports = office.ask(Ask::Workers).await?;
    let mut workers: Vec<_> = reports.iter().filter_map(WorkerReport::unhealthy).collect();
    if !workers.is_empty() {
        let _looker = office.lookers.acquire().await;
        office.search().await?.enrich(&mut workers).await;
    }
    Ok(Json(workers))
}

async fn explain<M: ServiceManager>(
    State(office): Shared<M>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<Explained>, Rejection> {
    let Path(name) = path.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let not_covered = || {
        let name: String = name.chars().take(100).collect();
        Rejection::new(StatusCode::NOT_FOUND, format!("no worker named {name:?}"))
    };
    let search = office.search().await?;
    let unit = UnitName::parse(&search.rules.coverage.own_name(&name)).map_err(|_| not_covered())?;
    let worker = office.ask(|reply| Ask::Covers(unit.clone(), reply)).await?.ok_or_else(not_covered)?;
    let seen = search.inspect(&unit, Detail::ALL).await?;
    let files = (&office.paths, &*search.rules.registry);
    let sources = sources(files, (&office.manager, office.scope), (&unit, &worker), Timestamp::default()).await;
    let explanation = office.ask(|reply| Ask::Explain(unit.clone(), Box::new((seen, sources)), reply)).await?;
    let explanation = explanation.ok_or_else(not_covered)?;
    let last_words = search.last_words(&unit).await;
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
    State(office): Shared<M>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Query(query) = query.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let wanted = Wanted {
        after: last.or(query.after),
        since: query.since.as_deref().map(moment).transpose()?,
        limit: query.limit,
        follow: query.follow,
    };
    let follower = office.book.open(&wanted, office.ends.clone());
    let gives_way = follower.gives_way();
    let body = streams::unfold(follower, async |mut follower| {
        let bytes = follower.read().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), follower))
    });
    let mut response = server_sent(Body::from_stream(body));
    response.extensions_mut().insert(gives_way);
    Ok(response)
}

async fn heal<M: ServiceManager>(State(office): Shared<M>, request: Request) -> Result<Response, Rejection> {
    let wish: HealRequest = read(request).await?;
    heal::heal(office, wish).await
}

async fn stop<M: ServiceManager>(State(office): Shared<M>, request: Request) -> Result<Json<StopReport>, Rejection> {
    let wish: StopRequest = read(request).await?;
    Ok(Json(stop::stop(office, wish).await?))
}

async fn pause<M: ServiceManager>(State(office): Shared<M>, request: Request) -> Result<Json<Paused>, Rejection> {
    let PauseRequest { targets, time } = read(request).await?;
    let time = time.as_deref().map(duration).transpose()?;
    let promised = office.ask(|reply| Ask::Pause(targets, time, reply)).await??;
    Ok(Json(kept(promised).await))
}

async fn resume<M: ServiceManager>(State(office): Shared<M>, request: Request) -> Result<Json<Paused>, Rejection> {
    let ResumeRequest { targets } = read(request).await?;
    let promised = office.ask(|reply| Ask::Resume(targets, reply)).await??;
    Ok(Json(kept(promised).await))
}

/// Waits until what is promised is written down.
async fn kept(Promised { pauses, ticket }: Promised) -> Paused {
    Paused { pauses, not_saved: ticket.written(WRITTEN_WITHIN).await.err() }
}

async fn metrics<M: ServiceManager>(State(office): Shared<M>) -> Result<Response, Rejection> {
    let gauges = office.ask(Ask::Gauges).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], office.metrics.text(&gauges)).into_response())
}

/// The body of a request, as JSON whatever its type is said to be; none is the default.
async fn read<T: DeserializeOwned + Default>(request: Request) -> Result<T, Rejection> {
    let body = answer::body(request, BODY).await?;
    if body.is_empty() { Ok(T::default()) } else { answer::object(&body) }
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

impl From<Unpausable> for Rejection {
    fn from(error: Unpausable) -> Self {
        match error {
            Unpausable::Target(error) => error.into(),
            Unpausable::Unread(why) => unread(&why),
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
