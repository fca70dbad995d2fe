//! The API of the daemon, over its socket.
//!
//! It has a thread of its own, so that no number of clients takes time from healing, and sends
//! [`requests`](super::requests) to the loop. Events come to it by one channel, however many followers there are.
//!
//! - [`socket`]: the sockets and their permissions; [`groups`]: who may use them besides the own user and root.
//! - [`listener`]: accepts connections; [`connection_limit`](crate::http::connection_limit) bounds them.
//! - [`handlers`]: one function for each call; [`state`]: what they share. [`counts`]: the counts in their answers.
//! - [`heal`]: the call that streams a heal. [`stop`]: the call that stops workers.
//! - [`event_buffer`]: past events and their followers.

mod counts;
mod event_buffer;
mod groups;
mod handlers;
mod heal;
mod listener;
mod socket;
mod state;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use super::metrics::Metrics;
use super::requests::RequestSender;
use crate::core::event::Event;
use crate::files::paths::Paths;
use crate::manager::{Scope, ServiceManager};
use event_buffer::EventBuffer;
use socket::Entrance;
pub(super) use socket::prepare;
use state::ApiState;

/// A running API, which ends when it is dropped.
pub(super) struct Api {
    thread: Option<std::thread::JoinHandle<()>>,
    ending: watch::Sender<bool>,
    recheck: watch::Sender<()>,
    /// Events to publish.
    pub events: mpsc::UnboundedSender<Event>,
}

/// What the API needs.
pub(super) struct Parts<M> {
    pub requests: RequestSender,
    pub manager: M,
    pub metrics: Arc<Metrics>,
    pub paths: Paths,
    pub scope: Scope,
    /// The address of the metrics over TCP.
    pub listen: watch::Receiver<Option<SocketAddr>>,
}

impl Api {
    /// Opens the socket and serves it. Usually the socket is open when this returns.
    pub fn start<M: ServiceManager>(parts: Parts<M>) -> std::io::Result<Self> {
        let started = SystemTime::now();
        let (ending, ends) = watch::channel(false);
        let (events, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Parts { requests, manager, metrics, paths, scope, listen } = parts;
        let state = Arc::new(ApiState {
            requests,
            manager,
            metrics,
            paths,
            scope,
            buffer: Arc::new(EventBuffer::new()),
            ends: ends.clone(),
            journal_slots: tokio::sync::Semaphore::new(1),
        });
        let (opened, open) = std::sync::mpsc::sync_channel(1);
        let (recheck, check) = watch::channel(());
        let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut ends = ends;
                let manager = state.manager.clone();
                let history = async move { manager.history(started).await };
                tokio::spawn(event_buffer::keep(Arc::clone(&state.buffer), history, queue));
                tokio::spawn(listener::metrics_over_tcp(Arc::clone(&state), listen));
                let (acting, reading) = Entrance::all(&state.paths, state.scope);
                let reads = async {
                    match &reading {
                        Some(entrance) => listener::serve(&state, entrance, check.clone(), &opened).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = listener::serve(&state, &acting, check.clone(), &opened) => {}
                    () = reads => {}
                    _ = ends.changed() => {}
                }
                // Followers notice the end of their streams.
                tokio::time::sleep(CLOSE_DELAY).await;
            });
        })?;
        let _ = open.recv_timeout(OPEN_TIMEOUT);
        Ok(Self { thread: Some(thread), ending, recheck, events })
    }

    /// Checks whether the socket still exists, and creates it again if not.
    pub fn check(&self) {
        self.recheck.send_replace(());
    }

    /// Stops accepting connections, and ends the open ones.
    pub async fn end(mut self) {
        self.ending.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// How long to wait for the socket before healing begins without it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the ends of streams may take to be sent.
const CLOSE_DELAY: Duration = Duration::from_millis(50);
