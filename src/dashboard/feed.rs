//! Streams of the dashboard: the daemon's events, and the log of a worker.
//!
//! A slow browser delays no other: only as much is read as the browser has taken, and both ends disconnect a follower
//! that falls behind.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use crate::api::Refused;
use crate::client::daemon::{DaemonError, DaemonHealing, Events, StreamItem};
use crate::client::log::{Author, Log};
use crate::core::event::Event as Happening;
use crate::core::time::rfc3339;

/// How often an idle stream sends a comment, so that both ends notice a lost connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// An event with its sentence in the daemon's log.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    event: &'a Happening,
    text: String,
}

impl<'a> Shown<'a> {
    fn of(event: &'a Happening) -> Self {
        Self { event, text: event.to_string() }
    }
}

/// The daemon's events with their ids. The stream ends with the daemon.
pub(super) fn events(events: Events) -> Response {
    let stream = stream::unfold(events, async |mut events| {
        let event = match events.next().await.ok()?? {
            StreamItem::Event { id, event } => message("", &Shown::of(&event)).id(id.replace(['\0', '\r', '\n'], "")),
            StreamItem::Gap(why) => message("gap", &Refused { error: why }),
        };
        Some((Ok::<_, Infallible>(event), events))
    });
    server_sent(stream)
}

/// A heal: `plan`, each event, and `result`; `error` if the progress is unknown.
pub(super) fn heal(healing: DaemonHealing) -> Response {
    let stream = stream::unfold(Step::Plan(healing), async |step| {
        let (event, next) = step.take().await?;
        Some((Ok::<_, Infallible>(event), next))
    });
    server_sent(stream)
}

/// A line of a log, as the page gets it.
#[derive(Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339")]
    time: Option<SystemTime>,
    /// `worker`, `manager` or `workerheal`.
    by: &'static str,
    text: String,
}

/// The lines of a log as they come; `error` if it cannot be read any further. Reading ends with the stream.
pub(super) fn log(log: Log) -> Response {
    let stream = stream::unfold(Some(log), async |log| {
        let mut log = log?;
        match log.next().await {
            Ok(line) => {
                let line = line?;
                let by = match line.author {
                    Author::Worker => "worker",
                    Author::Manager => "manager",
                    Author::Workerheal => "workerheal",
                };
                let line = message("", &Line { time: line.time, by, text: line.text });
                Some((Ok::<_, Infallible>(line), Some(log)))
            }
            Err(error) => Some((Ok(message("error", &Refused { error: error.to_string() })), None)),
        }
    });
    server_sent(stream)
}

enum Step {
    Plan(DaemonHealing),
    Next(DaemonHealing),
    End,
}

impl Step {
    async fn take(self) -> Option<(Event, Self)> {
        match self {
            Self::Plan(healing) => Some((message("plan", healing.plan()), Self::Next(healing))),
            Self::Next(mut healing) => Some(match healing.next().await {
                Ok(Some(event)) => (message("", &event), Self::Next(healing)),
                Ok(None) => (message("result", &healing.into_report()), Self::End),
                Err(error) => (failure(&error), Self::End),
            }),
            Self::End => None,
        }
    }
}

fn failure(error: &DaemonError) -> Event {
    message("error", &Refused { error: error.to_string() })
}

fn message(name: &str, data: &impl Serialize) -> Event {
    // What was parsed can be written.
    let data = serde_json::to_string(data).unwrap_or_default();
    let event = if name.is_empty() { Event::default() } else { Event::default().event(name) };
    event.data(data)
}

fn server_sent<S>(stream: S) -> Response
where
    S: stream::Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)).into_response()
}
