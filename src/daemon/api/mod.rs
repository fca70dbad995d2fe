//! The API: what the daemon answers to others, over its socket.
//!
//! It lives in a thread of its own, so that no number of readers takes time from healing, and asks
//! the loop by [`requests`](super::requests). Events come to it by one channel, however many follow them.
//!
//! - [`socket`]: whose socket it is, and who is let in.
//! - [`listener`]: where it is asked; [`connection_limit`](crate::http::connection_limit) keeps connections bounded.
//! - [`handlers`]: one function for each call.
//! - [`heal`]: the call that takes its time.
//! - [`event_buffer`]: the last events, and those who follow them.

mod event_buffer;
mod handlers;
mod heal;
mod listener;
mod socket;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::metrics::Metrics;
use super::requests::RequestSender;
use crate::core::event::Event;
use crate::files::paths::Paths;
use crate::manager::{Scope, ServiceManager};
use event_buffer::EventBuffer;
pub(super) use socket::prepare;
use state::ApiState;

/// A running API. Dropped, it ends.
pub(super) struct Api {
    thread: Option<std::thread::JoinHandle<()>>,
    ending: watch::Sender<bool>,
    recheck: Arc<Notify>,
    /// Events to publish.
    pub events: mpsc::UnboundedSender<Event>,
}

/// What it is made of.
pub(super) struct Parts<M> {
    pub requests: RequestSender,
    pub manager: M,
    pub metrics: Arc<Metrics>,
    pub paths: Paths,
    pub scope: Scope,
    /// Where metrics are served over TCP.
    pub listen: watch::Receiver<Option<SocketAddr>>,
}

impl Api {
    /// Answers at the socket, as soon as that can be made: mostly when this returns.
    pub fn start<M: ServiceManager>(parts: Parts<M>) -> std::io::Result<Self> {
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
        let recheck = Arc::new(Notify::new());
        let check = Arc::clone(&recheck);
        let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut ends = ends;
                tokio::spawn(event_buffer::keep(Arc::clone(&state.buffer), queue));
                tokio::spawn(listener::metrics_over_tcp(Arc::clone(&state), listen));
                tokio::select! {
                    () = listener::serve(&state, &check, &opened) => {}
                    _ = ends.changed() => {}
                }
                // Followers are told that it ends by the end of their streams.
                tokio::time::sleep(CLOSE_DELAY).await;
            });
        })?;
        let _ = open.recv_timeout(OPEN_TIMEOUT);
        Ok(Self { thread: Some(thread), ending, recheck, events })
    }

    /// Has it see whether its socket is still there, and make it anew if not.
    pub fn check(&self) {
        self.recheck.notify_one();
    }

    /// Ends it: no new connection, and those that there are end soon.
    pub async fn end(mut self) {
        self.ending.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// How long the socket may take to be made before healing begins without it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the ends of streams may take to be sent.
const CLOSE_DELAY: Duration = Duration::from_millis(50);
