//! The handlers of the API: read the request, ask the loop, write the response.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream as streams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::event_buffer::{EventFilter, is_event_id};
use super::groups::OPERATORS;
use super::state::{ApiState, Shared};
use super::{counts, heal, stop};
use crate::api::{
    DaemonStatus, Explained, HealRequest, MAX_USAGE_UNITS, PauseRequest, Paused, ResumeRequest, StopReport, StopRequest,
};
use crate::core::event::UnhealthyWorker;
use crate::core::report::WorkerReport;
use crate::core::selector::Worker;
use crate::core::target::UnknownTarget;
use crate::core::time::Timestamp;
use crate::core::units::{Detail, UnitName};
use crate::daemon::metrics::CONTENT_TYPE;
use crate::daemon::requests::{DaemonRequest, PauseReceipt};
use crate::detect::Detector;
use crate::detect::references::references_for;
use crate::http::request::{self, Rejection, duration};
use crate::http::sse::server_sent;
use crate::manager::{ServiceManager, Usage};
use crate::text::explanation::text;
use crate::text::style::Style;

/// Maximum length of a request's body: some thousand names.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a request to pause healing waits until the pause is on disk.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn router<M: ServiceManager>(state: Arc<ApiState<M>>) -> Router {
    Router::new()
        .route("/v1/status", get(status::<M>))
        .route("/v1/workers", get(workers::<M>))
        .route("/v1/workers/{unit}/explain", get(explain::<M>))
        .route("/v1/workers/{unit}/usage", get(usage::<M>))
        .route("/v1/usage", get(usages::<M>))
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
        .with_state(state)
}

/// Only the calls that change nothing.
pub(super) fn reading<M: ServiceManager>(state: Arc<ApiState<M>>) -> Router {
    router(state).layer(axum::middleware::from_fn(refuse_changes))
}

async fn refuse_changes(request: Request, next: axum::middleware::Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let why = format!("you may only read here; root and members of the group {OPERATORS} may do that");
    Rejection::new(StatusCode::FORBIDDEN, why).into_response()
}

pub(super) fn metrics_only<M: ServiceManager>(state: Arc<ApiState<M>>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::<M>))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "only /metrics is served here"))
        .with_state(state)
}

async fn status<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<DaemonStatus>, Rejection> {
    let status = state.ask(DaemonRequest::Status).await?;
    Ok(Json(DaemonStatus { last_day: state.buffer.last_day(), ..status }))
}

async fn workers<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<Vec<WorkerReport>>, Rejection> {
    state.learn_uptimes().await?;
    state.check_directories().await?;
    let mut reports = state.ask(DaemonRequest::Workers).await?;
    counts::of_reports(&state.manager, &mut reports).await;
    Ok(Json(reports))
}

async fn unhealthy<M: ServiceManager>(State(state): Shared<M>) -> Result<Json<Vec<UnhealthyWorker>>, Rejection> {
    state.check_directories().await?;
    let reports = state.ask(DaemonRequest::Workers).await?;
    let mut workers: Vec<_> = reports.iter().filter_map(WorkerReport::unhealthy).collect();
    if !workers.is_empty() {
        let _slot = state.journal_slots.acquire().await;
        state.detector().await?.enrich(&mut workers).await;
    }
    Ok(Json(workers))
}

/// The unit in a path.
type NamedUnit = Result<Path<String>, axum::extract::rejection::PathRejection>;

/// The worker that a path names.
async fn named<M: ServiceManager>(
    state: &ApiState<M>,
    path: NamedUnit,
) -> Result<(Detector<M>, UnitName, Worker), Rejection> {
    let Path(name) = path.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let detector = state.detector().await?;
    if let Some(unit) = detector.context.selector.unit_of(&name) {
        let worker = match state.ask(|reply| DaemonRequest::Covers(unit.clone(), reply)).await? {
            Some(worker) => Some(worker),
            None => detector.unloaded(&name).await?.map(|(_, worker)| worker),
        };
        if let Some(worker) = worker {
            return Ok((detector, unit, worker));
        }
    }
    let covered = state.ask(DaemonRequest::Covered).await?;
    Err(UnknownTarget::new(&name, &covered, &detector.context).into())
}

async fn usage<M: ServiceManager>(State(state): Shared<M>, path: NamedUnit) -> Result<Json<Usage>, Rejection> {
    let (_, unit, _) = named(&state, path).await?;
    Ok(Json(state.manager.usage(&unit).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    units: String,
}

/// Units that are no covered workers are left out, as they may be gone since the client has listed them.
async fn usages<M: ServiceManager>(
    State(state): Shared<M>,
    query: Result<Query<UsageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<BTreeMap<String, Usage>>, Rejection> {
    let Query(query) = query.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let names: Vec<&str> = query.units.split(',').collect();
    if names.len() > MAX_USAGE_UNITS {
        let why = format!("ask about at most {MAX_USAGE_UNITS} units at once");
        return Err(Rejection::new(StatusCode::BAD_REQUEST, why));
    }
    let units: BTreeSet<UnitName> = names.into_iter().filter_map(|name| UnitName::parse(name).ok()).collect();
    Ok(Json(state.usages(units).await?))
}

async fn explain<M: ServiceManager>(State(state): Shared<M>, path: NamedUnit) -> Result<Json<Explained>, Rejection> {
    let (detector, unit, _) = named(&state, path).await?;
    let seen = detector.inspect(&unit, Detail::ALL).await?;
    let references = references_for(&state.paths, (&state.manager, state.scope), &unit, Timestamp::default()).await;
    let findings = Box::new((seen, references.clone()));
    let explanation = match state.ask(|reply| DaemonRequest::Explain(unit.clone(), findings, reply)).await? {
        Some(explanation) => Some(explanation),
        // The loop does not know it, as the manager has unloaded it.
        None => detector.explain(&unit, &references).await?,
    };
    let explanation = explanation.ok_or_else(|| Rejection::not_covered(unit.short()))?;
    let last_words = match explanation.state {
        Some(_) => detector.last_words(&unit).await,
        None => None,
    };
    let text = text(&explanation, last_words.as_deref(), Style::default(), None);
    Ok(Json(Explained { explanation, last_words, text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<String>,
    since: Option<String>,
    limit: Option<usize>,
    #[serde(default = "crate::api::yes")]
    follow: bool,
}

async fn events<M: ServiceManager>(
    State(state): Shared<M>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Query(query) = query.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    if let Some(id) = query.after.as_deref().filter(|id| !is_event_id(id)) {
        let why = format!("{id:?} is not the id of an event");
        return Err(Rejection::new(StatusCode::BAD_REQUEST, why));
    }
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

async fn stop<M: ServiceManager>(State(state): Shared<M>, request: Request) -> Result<Json<StopReport>, Rejection> {
    let request: StopRequest = read(request).await?;
    Ok(Json(stop::stop(state, request).await?))
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

/// Waits until the pauses are saved.
async fn kept(PauseReceipt { pauses, ticket }: PauseReceipt) -> Paused {
    Paused { pauses, not_saved: ticket.written(SAVE_TIMEOUT).await.err() }
}

async fn metrics<M: ServiceManager>(State(state): Shared<M>) -> Result<Response, Rejection> {
    let gauges = state.ask(DaemonRequest::Gauges).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.text(&gauges)).into_response())
}

/// The body of a request as JSON, regardless of its content type; an empty body is the default.
async fn read<T: DeserializeOwned + Default>(request: Request) -> Result<T, Rejection> {
    let body = request::body(request, MAX_BODY_BYTES).await?;
    if body.is_empty() { Ok(T::default()) } else { request::object(&body) }
}

/// Parses a duration before now, or a time.
fn moment(text: &str) -> Result<SystemTime, Rejection> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    Ok(SystemTime::now().checked_sub(duration(text)?).unwrap_or(SystemTime::UNIX_EPOCH))
}
