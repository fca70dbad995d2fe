//! Writes the daemon's events to the log, in order, with the last log line of a worker that failed; then runs the
//! user's command.
//!
//! A task of its own, so that a search in the journal never delays healing.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::hook::Hook;
use super::state_writer::Ticket;
use crate::core::event::{Event, Phase};
use crate::logging::log_event;
use crate::manager::{Scope, ServiceManager};

/// Maximum time to find a worker's last log line.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(500);
/// Number of queued events above which last log lines are left out.
const MAX_BACKLOG: usize = 32;

/// How long an event waits until its state is saved.
const SAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The queue of the log.
pub(super) struct EventLog {
    events: Option<mpsc::UnboundedSender<(Event, Option<Ticket>)>>,
    writer: JoinHandle<()>,
    on_event: watch::Sender<Vec<String>>,
}

impl EventLog {
    /// `publish` forwards events to followers.
    pub fn start(
        manager: impl ServiceManager,
        scope: Scope,
        on_event: Vec<String>,
        publish: Option<mpsc::UnboundedSender<Event>>,
    ) -> Self {
        let (on_event, command) = watch::channel(on_event);
        let (events, mut queue) = mpsc::unbounded_channel::<(Event, Option<Ticket>)>();
        let writer = tokio::spawn(async move {
            let hook = Hook::default();
            let mut time_left = SAVE_TIMEOUT;
            while let Some((mut event, ticket)) = queue.recv().await {
                // Errors are reported elsewhere. After one timeout, events no longer wait.
                if let Some(ticket) = ticket {
                    let begin = Instant::now();
                    let written = ticket.written(time_left).await;
                    time_left =
                        if written.is_err() && begin.elapsed() >= time_left { Duration::ZERO } else { SAVE_TIMEOUT };
                }
                if matches!(event.phase, Phase::Failed | Phase::GaveUp)
                    && !event.error.is_empty()
                    && queue.len() < MAX_BACKLOG
                {
                    add_last_words(&manager, &mut event).await;
                }
                log_event(&event, scope);
                hook.run(&command.borrow(), &event);
                if let Some(publish) = &publish {
                    // Followers get what the journal gets.
                    let _ = publish.send(event);
                }
            }
        });
        Self { events: Some(events), writer, on_event }
    }

    /// Replaces the user's command.
    pub fn on_event(&self, command: Vec<String>) {
        self.on_event.send_replace(command);
    }

    /// Queues an event that happens now. One with a ticket is written once the state is saved.
    pub fn write(&self, mut event: Event, promise: Option<Ticket>) {
        event.time = Some(SystemTime::now());
        if let Some(events) = &self.events {
            // The writer ends only after its queue.
            let _ = events.send((event, promise));
        }
    }

    /// Writes the queued events, within the time.
    pub async fn flush(&mut self, time: Duration) {
        self.events = None;
        let _ = timeout(time, &mut self.writer).await;
    }
}

async fn add_last_words(manager: &impl ServiceManager, event: &mut Event) {
    let Some(unit) = &event.unit else { return };
    if let Ok(Some(line)) = timeout(LAST_LINE_TIMEOUT, manager.last_error(unit)).await {
        event.error = format!("{}: {line}", event.error);
    }
}
