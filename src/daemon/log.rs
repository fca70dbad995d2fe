//! Writes the daemon's events to the log, in order, with the last log line of a worker that failed; then runs the
//! user's command.
//!
//! A task of its own, so that a search in the journal never delays healing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::hook::Hook;
use super::state_writer::Ticket;
use crate::core::event::{Event, Phase};
use crate::core::units::UnitName;
use crate::detect::last_errors;
use crate::logging::log_event;
use crate::manager::{Scope, ServiceManager};

/// Maximum number of events whose last log lines are looked up together.
const MAX_TOGETHER: usize = 256;
/// Number of further queued events above which last log lines are left out.
const MAX_BACKLOG: usize = 256;

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
            let mut batch = Vec::new();
            while queue.recv_many(&mut batch, MAX_TOGETHER).await > 0 {
                if queue.len() < MAX_BACKLOG {
                    add_last_words(&manager, &mut batch).await;
                }
                for (event, ticket) in batch.drain(..) {
                    // Errors are reported elsewhere. After one timeout, events no longer wait.
                    if let Some(ticket) = ticket {
                        let begin = Instant::now();
                        let written = ticket.written(time_left).await;
                        let is_late = written.is_err() && begin.elapsed() >= time_left;
                        time_left = if is_late { Duration::ZERO } else { SAVE_TIMEOUT };
                    }
                    log_event(&event, scope);
                    hook.run(&command.borrow(), &event);
                    if let Some(publish) = &publish {
                        // Followers get what the journal gets.
                        let _ = publish.send(event);
                    }
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

/// Adds to each failure what the worker has logged last.
async fn add_last_words(manager: &impl ServiceManager, batch: &mut [(Event, Option<Ticket>)]) {
    let failures = batch
        .iter_mut()
        .map(|(event, _)| event)
        .filter(|event| matches!(event.phase, Phase::Failed | Phase::GaveUp) && !event.error.is_empty());
    let mut by_unit: BTreeMap<UnitName, Vec<&mut Event>> = BTreeMap::new();
    for event in failures {
        if let Some(unit) = event.unit.clone() {
            by_unit.entry(unit).or_default().push(event);
        }
    }
    let units: Vec<UnitName> = by_unit.keys().cloned().collect();
    for (events, line) in by_unit.into_values().zip(last_errors(manager, &units).await) {
        let Some(line) = line else { continue };
        for event in events {
            event.error = format!("{}: {line}", event.error);
        }
    }
}
