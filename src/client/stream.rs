//! Streams of the daemon: its events, and a heal under way.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::error::DaemonError;
use super::sse::{Message, Parser};
use crate::api::Refused;
use crate::core::batch::Plan;
use crate::core::event::{Event, Report};

/// Which events to read. The default is all events from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Events after the one with this id.
    pub after: Option<String>,
    /// Events since this time: a duration such as `1h`, or RFC 3339.
    pub since: Option<String>,
    /// Maximum number of past events; the latest are read.
    pub limit: Option<usize>,
    /// Whether to continue with events as they happen.
    pub follow: bool,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { after: None, since: None, limit: None, follow: true }
    }
}

/// An item of the stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// An event, with its id for resuming.
    Event {
        /// Its id.
        id: String,
        /// What happened.
        event: Box<Event>,
    },
    /// Events are missing here; says why.
    Gap(String),
}

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    messages: Messages,
}

impl Events {
    pub(super) fn new(messages: Messages) -> Self {
        Self { messages }
    }

    /// The next item; `None` when the stream has ended. The stream of a follower ends when it cannot keep up or the
    /// daemon ends: it can be resumed after the id of the last event.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub async fn next(&mut self) -> Result<Option<StreamItem>, DaemonError> {
        loop {
            let Some(Message { name, id, data }) = self.messages.next().await? else { return Ok(None) };
            match name.as_str() {
                "" => {
                    let event = read(&self.messages.socket, data.as_bytes())?;
                    return Ok(Some(StreamItem::Event { id, event: Box::new(event) }));
                }
                "gap" => {
                    let gap: Refused = read(&self.messages.socket, data.as_bytes())?;
                    return Ok(Some(StreamItem::Gap(gap.error)));
                }
                // Of a later version of the daemon.
                _ => {}
            }
        }
    }
}

/// A heal by the daemon.
#[derive(Debug)]
pub struct DaemonHealing {
    messages: Messages,
    plan: Plan,
    report: Report,
}

impl DaemonHealing {
    pub(super) fn new(messages: Messages, plan: Plan) -> Self {
        Self { messages, plan, report: Report::default() }
    }

    /// What it does.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The next event; `None` after `done`.
    ///
    /// # Errors
    ///
    /// If the daemon ends before it is done.
    pub async fn next(&mut self) -> Result<Option<Event>, DaemonError> {
        match self.messages.next().await? {
            Some(Message { name, data, .. }) if name == "result" => {
                self.report = read(&self.messages.socket, data.as_bytes())?;
                Ok(None)
            }
            Some(Message { data, .. }) => Ok(Some(read(&self.messages.socket, data.as_bytes())?)),
            None => Err(DaemonError::broken(&self.messages.socket, &"it ended before the heal was done")),
        }
    }

    /// The result, once [`next`](Self::next) has returned `None`.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }
}

/// The messages of a response, as they come.
#[derive(Debug)]
pub(super) struct Messages {
    /// The daemon's socket, for errors.
    socket: PathBuf,
    body: Incoming,
    parser: Parser,
    complete: VecDeque<Message>,
}

impl Messages {
    pub fn new(socket: PathBuf, body: Incoming) -> Self {
        Self { socket, body, parser: Parser::default(), complete: VecDeque::new() }
    }

    /// The next one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Message>, DaemonError> {
        loop {
            if let Some(message) = self.complete.pop_front() {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.parser.feed(&bytes, |message| self.complete.push_back(message));
                }
                Some(Err(error)) => return Err(DaemonError::broken(&self.socket, &error)),
            }
        }
    }
}

/// Parses a response of the daemon at this socket.
pub(super) fn read<T: DeserializeOwned>(socket: &Path, bytes: &[u8]) -> Result<T, DaemonError> {
    let unreadable = |error| DaemonError::broken(socket, &format!("its answer cannot be read: {error}"));
    serde_json::from_slice(bytes).map_err(unreadable)
}
