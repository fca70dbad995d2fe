//! The handlers of the dashboard: its page, and its calls, each passed on to the daemon.
//!
//! Each call connects to the daemon again, so that restarting the daemon in between makes no difference. Every response that
//! is not a success is `{"error": "…"}`; 503 means that there is no daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::auth::{Auth, HEADERS, Verdict};
use super::feed;
use crate::api::{DaemonStatus, Explained, HealRequest, PauseRequest, Paused, ResumeRequest, StopReport, StopRequest};
use crate::client;
use crate::client::daemon::{DaemonClient, DaemonError, EventFilter};
use crate::core::event::UnhealthyWorker;
use crate::core::report::WorkerReport;
use crate::http::request::{self, Rejection, duration};
use crate::setup::Options;

/// Maximum length of a request's body: some hundred names.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How much of the past the page shows.
const HISTORY: &str = "24h";
/// How many past lines of a log it shows.
const LOG_LINES: usize = 200;

struct DashboardState {
    options: Options,
    auth: Auth,
    /// The ticket was used.
    ticket_used: AtomicBool,
}

type Shared = State<Arc<DashboardState>>;

pub(super) fn router(options: Options, auth: Auth) -> Router {
    let state = Arc::new(DashboardState { options, auth, ticket_used: AtomicBool::new(false) });
    let page = Router::new()
        .route("/", get(async || Html(include_str!("page/index.html"))))
        .route("/welcome.js", get(async || js(include_str!("page/welcome.js"))))
        .route("/style.css", get(async || css(include_str!("page/style.css"))))
        .route("/page.js", get(async || js(include_str!("page/page.js"))))
        .route("/calls.js", get(async || js(include_str!("page/calls.js"))))
        .route("/words.js", get(async || js(include_str!("page/words.js"))))
        .route("/workers.js", get(async || js(include_str!("page/workers.js"))))
        .route("/history.js", get(async || js(include_str!("page/history.js"))))
        .route("/figures.js", get(async || js(include_str!("page/figures.js"))))
        .route("/timeline.js", get(async || js(include_str!("page/timeline.js"))))
        .route("/healing.js", get(async || js(include_str!("page/healing.js"))))
        .route("/dialogs.js", get(async || js(include_str!("page/dialogs.js"))));
    page.route("/api/status", get(status))
        .route("/api/workers", get(workers))
        .route("/api/unhealthy", get(unhealthy))
        .route("/api/workers/{unit}/explain", get(explain))
        .route("/api/workers/{unit}/log", get(log))
        .route("/api/events", get(events))
        .route("/api/heal", post(heal))
        .route("/api/pause", post(pause))
        .route("/api/resume", post(resume))
        .route("/api/stop", post(stop))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "this is asked with another method")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guarded))
        .with_state(state)
}

/// Admits only requests that are authorized.
async fn guarded(State(state): Shared, request: Request, next: Next) -> Response {
    let is_call = request.uri().path().starts_with("/api/");
    let verdict = match state.auth.judge(request.method(), request.uri(), request.headers()) {
        Verdict::Ticket if state.ticket_used.swap(true, Ordering::Relaxed) => Auth::USED,
        verdict => verdict,
    };
    let mut response = match verdict {
        Verdict::Pass => next.run(request).await,
        Verdict::Welcome | Verdict::Ticket => welcome(&state.auth),
        Verdict::Refuse(status, why) if is_call => Rejection::new(status, why).into_response(),
        Verdict::Refuse(status, why) => (status, format!("{why}\n")).into_response(),
    };
    response.headers_mut().extend(HEADERS);
    response
}

/// Hands over the secrets. A script redirects to the page, not an HTTP redirect, so that the cookie counts as same-site
/// even if the address was opened from another site.
fn welcome(auth: &Auth) -> Response {
    let html = include_str!("page/welcome.html").replace("TOKEN", auth.token.as_str());
    ([(header::SET_COOKIE, auth.cookie())], Html(html)).into_response()
}

fn css(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], text).into_response()
}

fn js(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

impl DashboardState {
    async fn daemon(&self) -> Result<DaemonClient, Rejection> {
        Ok(DaemonClient::connect(&self.options).await?)
    }
}

async fn status(State(state): Shared) -> Result<Json<DaemonStatus>, Rejection> {
    Ok(Json(state.daemon().await?.status().await?))
}

async fn workers(State(state): Shared) -> Result<Json<Vec<WorkerReport>>, Rejection> {
    Ok(Json(state.daemon().await?.workers().await?))
}

async fn unhealthy(State(state): Shared) -> Result<Json<Vec<UnhealthyWorker>>, Rejection> {
    Ok(Json(state.daemon().await?.unhealthy().await?))
}

async fn explain(State(state): Shared, Path(unit): Path<String>) -> Result<Json<Explained>, Rejection> {
    let explained = state.daemon().await?.explain(&[unit]).await?.pop();
    explained.map(Json).ok_or_else(|| Rejection::new(StatusCode::NOT_FOUND, "this worker is gone"))
}

async fn log(State(state): Shared, Path(unit): Path<String>) -> Result<Response, Rejection> {
    // Only for covered workers.
    let units = state.daemon().await?.select(std::slice::from_ref(&unit)).await?;
    let [unit] = &units[..] else {
        return Err(Rejection::new(StatusCode::NOT_FOUND, format!("{unit:?} is not one worker")));
    };
    let log = client::log::follow(&state.options, unit, LOG_LINES).await;
    let log = log.map_err(|error| Rejection::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(feed::log(log))
}

#[derive(Deserialize)]
struct EventsQuery {
    after: Option<String>,
}

async fn events(
    State(state): Shared,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Query(query) = query.map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let last = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let after = last.or(query.after);
    let since = after.is_none().then(|| HISTORY.to_owned());
    let filter = EventFilter { after, since, ..EventFilter::default() };
    Ok(feed::events(state.daemon().await?.events(&filter).await?))
}

async fn heal(State(state): Shared, request: Request) -> Result<Response, Rejection> {
    let wish: HealRequest = read(request).await?;
    if wish.dry_run {
        return Ok(Json(state.daemon().await?.plan(&wish.targets).await?).into_response());
    }
    Ok(feed::heal(state.daemon().await?.heal(&wish).await?))
}

async fn pause(State(state): Shared, request: Request) -> Result<Json<Paused>, Rejection> {
    let PauseRequest { targets, time } = read(request).await?;
    let time = time.as_deref().map(duration).transpose()?;
    Ok(Json(state.daemon().await?.pause(&targets, time).await?))
}

async fn resume(State(state): Shared, request: Request) -> Result<Json<Paused>, Rejection> {
    let ResumeRequest { targets } = read(request).await?;
    Ok(Json(state.daemon().await?.resume(&targets).await?))
}

async fn stop(State(state): Shared, request: Request) -> Result<Json<StopReport>, Rejection> {
    let StopRequest { targets } = read(request).await?;
    Ok(Json(state.daemon().await?.stop(&targets).await?))
}

/// The body of a request.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Rejection> {
    request::object(&request::body(request, MAX_BODY_BYTES).await?)
}

impl From<DaemonError> for Rejection {
    fn from(error: DaemonError) -> Self {
        let status = match &error {
            DaemonError::Refused { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            DaemonError::Target(_) => StatusCode::NOT_FOUND,
            DaemonError::Absent { .. } | DaemonError::Broken { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
