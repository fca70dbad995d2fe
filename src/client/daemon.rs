//! The client of the daemon: HTTP over its unix socket.
//!
//! A [`DaemonClient`] holds only the socket's path: each call has a connection of its own, so that a restart of the
//! daemon in between makes no difference.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use super::error::DaemonError;
use super::sse::Message;
pub use super::stream::{DaemonHealing, EventFilter, Events, StreamItem};
use super::stream::{Messages, read};
use crate::api::{
    DaemonStatus, Explained, HealRequest, PauseRequest, Paused, Refused, ResumeRequest, StopReport, StopRequest,
};
use crate::core::batch::Plan;
use crate::core::event::UnhealthyWorker;
use crate::core::report::WorkerReport;
use crate::core::selector::Worker;
use crate::core::target::{self};
use crate::core::units::UnitName;
use crate::manager::{Scope, Usage};
use crate::setup::Options;

/// How long the daemon may take to begin a response. Its own limits are shorter.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a response: a thousand workers have a few hundred kilobytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// A client of the daemon.
#[derive(Debug, Clone)]
pub struct DaemonClient {
    socket: PathBuf,
    remedy: &'static str,
    scope: Scope,
}

impl DaemonClient {
    /// The daemon for these options.
    ///
    /// # Errors
    ///
    /// If none answers there.
    pub async fn connect(options: &Options) -> Result<Self, DaemonError> {
        let remedy = match options.scope {
            _ if cfg!(target_os = "macos") => "install it with `workerheal install`",
            Scope::User => "start it with `systemctl --user start workerheal`",
            Scope::System => "start it with `systemctl start workerheal`",
        };
        let paths = options.paths().ok();
        let socket = paths.as_ref().map(|paths| paths.socket.clone()).unwrap_or_default();
        let mut daemon = Self { socket, remedy, scope: options.scope };
        match (daemon.stream().await, paths) {
            (Ok(_), _) => {}
            // There is another socket for those who may only read.
            (Err(DaemonError::Broken { .. }), Some(paths)) if options.scope == Scope::System => {
                daemon.socket = paths.reading_socket();
                daemon.stream().await?;
            }
            (Err(error), _) => return Err(error),
        }
        Ok(daemon)
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the daemon's status.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> Result<DaemonStatus, DaemonError> {
        self.get("/v1/status").await
    }

    /// Every worker, sorted by site, then worker.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn workers(&self) -> Result<Vec<WorkerReport>, DaemonError> {
        self.get("/v1/workers").await
    }

    /// Unhealthy workers, with the last log line of each.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn unhealthy(&self) -> Result<Vec<UnhealthyWorker>, DaemonError> {
        self.get("/v1/unhealthy").await
    }

    /// Its metrics, in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn metrics(&self) -> Result<String, DaemonError> {
        let body = self.body(self.call(Method::GET, "/metrics", Bytes::new()).await?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What a heal would do.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names no covered worker.
    pub async fn plan(&self, targets: &[String]) -> Result<Plan, DaemonError> {
        self.post("/v1/heal", &HealRequest { targets: targets.to_vec(), prove: None, dry_run: true }).await
    }

    /// Heals what the targets name, or everything; [`DaemonHealing::next`] returns the progress.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names no covered worker.
    pub async fn heal(&self, request: &HealRequest) -> Result<DaemonHealing, DaemonError> {
        let request = HealRequest { dry_run: false, ..request.clone() };
        let response = self.call(Method::POST, "/v1/heal", json(&request)).await?;
        let mut messages = self.messages(response);
        let plan = match messages.next().await? {
            Some(Message { name, data, .. }) if name == "plan" => self.read(data.as_bytes())?,
            other => return Err(self.broken(&format!("it began a heal with {other:?}"))),
        };
        Ok(DaemonHealing::new(messages, plan))
    }

    /// Pauses healing of what the targets name, or of everything; for this long, or until it is resumed. Returns all
    /// pauses in force.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names no covered worker.
    pub async fn pause(&self, targets: &[String], time: Option<Duration>) -> Result<Paused, DaemonError> {
        let time = time.map(|time| humantime::format_duration(time).to_string());
        self.post("/v1/pause", &PauseRequest { targets: targets.to_vec(), time }).await
    }

    /// Ends pauses. Returns those that are still in force.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names nothing that is covered or paused.
    pub async fn resume(&self, targets: &[String]) -> Result<Paused, DaemonError> {
        self.post("/v1/resume", &ResumeRequest { targets: targets.to_vec() }).await
    }

    /// Has it stop what the targets name, which is then not healed until it is started.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names no covered worker.
    pub async fn stop(&self, targets: &[String]) -> Result<StopReport, DaemonError> {
        self.post("/v1/stop", &StopRequest { targets: targets.to_vec() }).await
    }

    /// Why the named workers are, or are not, being healed.
    ///
    /// # Errors
    ///
    /// If it does not answer, or a target names no covered worker.
    pub async fn explain(&self, targets: &[String]) -> Result<Vec<Explained>, DaemonError> {
        let mut explanations = Vec::new();
        for unit in self.select(targets).await? {
            explanations.push(self.get(&format!("/v1/workers/{}/explain", escaped(unit.as_str()))).await?);
        }
        Ok(explanations)
    }

    /// The current resource usage of a worker.
    ///
    /// # Errors
    ///
    /// If it does not answer, or the unit is no covered worker.
    pub async fn usage(&self, unit: &str) -> Result<Usage, DaemonError> {
        self.get(&format!("/v1/workers/{}/usage", escaped(unit))).await
    }

    /// The units of the workers that the targets name, in their order.
    pub(crate) async fn select(&self, targets: &[String]) -> Result<Vec<UnitName>, DaemonError> {
        let workers = self.named_workers().await?;
        Ok(self.find(targets, &workers).await?.into_iter().map(|(unit, _)| unit).collect())
    }

    /// The workers that the targets name, each once, sorted by site, then worker; all if there is no target.
    pub(super) async fn named(&self, targets: &[String]) -> Result<Vec<(UnitName, Worker)>, DaemonError> {
        let workers = self.named_workers().await?;
        if targets.is_empty() {
            return Ok(workers);
        }
        let mut named = self.find(targets, &workers).await?;
        named.sort_by(|(_, a), (_, b)| a.cmp(b));
        named.dedup();
        Ok(named)
    }

    async fn find(
        &self,
        targets: &[String],
        workers: &[(UnitName, Worker)],
    ) -> Result<Vec<(UnitName, Worker)>, DaemonError> {
        let mut found = Vec::new();
        for target in targets {
            match target::find(target, workers) {
                Ok(named) => found.extend(named.into_iter().cloned()),
                Err(unknown) => found.push(match self.unlisted(target).await {
                    Ok(worker) => worker,
                    // It knows the reason better.
                    Err(refused) if refused.is_not_found() => return Err(refused),
                    Err(_) => return Err(unknown.into()),
                }),
            }
        }
        Ok(found)
    }

    /// The worker that a target names which is not in the list: by an alias, or not loaded. Only the daemon knows.
    async fn unlisted(&self, target: &str) -> Result<(UnitName, Worker), DaemonError> {
        let path = format!("/v1/workers/{}/explain", escaped(target));
        let Explained { explanation, .. } = self.get(&path).await?;
        let worker = Worker { site: explanation.site, name: explanation.worker, worktree: explanation.worktree };
        Ok((explanation.unit, worker))
    }

    /// Every worker with the names that a target can use.
    pub(super) async fn named_workers(&self) -> Result<Vec<(UnitName, Worker)>, DaemonError> {
        let workers = self
            .workers()
            .await?
            .into_iter()
            .map(|it| (it.unit, Worker { site: it.site, name: it.worker, worktree: it.worktree }));
        Ok(workers.collect())
    }

    /// The selected events, as they come.
    ///
    /// # Errors
    ///
    /// If it does not answer, or rejects the filter.
    pub async fn events(&self, filter: &EventFilter) -> Result<Events, DaemonError> {
        let mut query = format!("/v1/events?follow={}", filter.follow);
        for (key, value) in [("after", &filter.after), ("since", &filter.since)] {
            if let Some(value) = value {
                query.push_str(&format!("&{key}={}", escaped(value)));
            }
        }
        if let Some(limit) = filter.limit {
            query.push_str(&format!("&limit={limit}"));
        }
        let response = self.call(Method::GET, &query, Bytes::new()).await?;
        Ok(Events::new(self.messages(response)))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DaemonError> {
        let response = self.call(Method::GET, path, Bytes::new()).await?;
        self.read(&self.body(response).await?)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<T, DaemonError> {
        let response = self.call(Method::POST, path, json(request)).await?;
        self.read(&self.body(response).await?)
    }

    async fn stream(&self) -> Result<UnixStream, DaemonError> {
        UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                let groups = "you may not ask it; it answers root, and members of the groups workerheal, to read, and \
                              workerheal-operators, to act";
                self.broken(match self.scope {
                    Scope::User => &"you may not ask it; it answers its own user and root",
                    Scope::System => &groups,
                })
            }
            _ => DaemonError::Absent { socket: self.socket.clone(), remedy: self.remedy.into() },
        })
    }

    /// Sends a request, and waits for the beginning of a successful response.
    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, DaemonError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(&error))?;
        let stream = self.stream().await?;
        let answer = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // It ends with the response.
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let response = match timeout(RESPONSE_TIMEOUT, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(_) => return Err(self.broken(&format!("it said nothing for {} s", RESPONSE_TIMEOUT.as_secs()))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let error = serde_json::from_slice::<Refused>(&body).map_or_else(|_| status.to_string(), |it| it.error);
        Err(DaemonError::Refused { status: status.as_u16(), error })
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, DaemonError> {
        let body = http_body_util::Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect();
        match timeout(RESPONSE_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.broken(&"its answer did not come to an end")),
        }
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DaemonError> {
        read(&self.socket, bytes)
    }

    fn broken(&self, why: &dyn Display) -> DaemonError {
        DaemonError::broken(&self.socket, why)
    }

    fn messages(&self, response: Response<Incoming>) -> Messages {
        Messages::new(self.socket.clone(), response.into_body())
    }
}

fn json(request: &impl Serialize) -> Bytes {
    // Strings and numbers never fail.
    serde_json::to_vec(request).unwrap_or_default().into()
}

/// Escapes a text for a path or a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
