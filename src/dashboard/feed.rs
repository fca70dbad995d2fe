//! What goes on, as server-sent events: what the daemon tells, passed on as it comes.
//!
//! A browser that takes nothing holds up no other: no more is read from the daemon than the browser has taken,
//! and either end cuts off who falls behind.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use crate::api::Refused;
use crate::client::daemon::{DaemonError, DaemonHealing, Events, StreamItem};
use crate::core::event::Event as Happening;

/// How often the browser hears something, so that both ends know that the other is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// An event, and the sentence that the daemon's log has for it.
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

/// The daemon's events, each with its id. The end of the daemon is the end of the stream.
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

/// A heal: `plan`, each step, and `result`; `error` where it cannot be told how it goes on.
pub(super) fn heal(healing: DaemonHealing) -> Response {
    let stream = stream::unfold(Step::Plan(healing), async |step| {
        let (event, next) = step.take().await?;
        Some((Ok::<_, Infallible>(event), next))
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
    // What the client has read can be written.
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
