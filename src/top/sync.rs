//! Keeps the screen in sync with the daemon: follows its events, requests its state after events and regularly, and
//! reconnects. The results are sent as [`News`].

use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::model::Snapshot;
use crate::client::daemon::{DaemonClient, DaemonError, EventFilter, Events, StreamItem};
use crate::core::event::Event;
use crate::deadline;
use crate::setup::Options;

/// Delay before the state is requested after an event, and minimum time between two requests.
const POLL_DELAY: Duration = Duration::from_millis(40);
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Interval of requests for changes without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Time after which a daemon that does not answer counts as gone.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Delays before reconnecting: minimum and maximum.
const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(200);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(3);
/// How much of the past is requested: what the screen shows.
const HISTORY_TIME: &str = "1h";

/// News from the daemon.
#[derive(Debug)]
pub(super) enum News {
    /// It answers, and has been running for this long.
    Found(Option<Duration>, SystemTime),
    Event(Box<Event>),
    /// Events are missing before the next one.
    Gap,
    Snapshot(Box<Snapshot>),
    /// It does not answer; says why.
    Gone(String),
}

/// Follows the daemon until the receiver is gone. A message in `pokes` requests its state.
pub(super) async fn follow(options: Options, mut pokes: mpsc::Receiver<()>, news: mpsc::Sender<News>) {
    let mut follower = EventFollower { options, news, last: None };
    let mut wait = MIN_RECONNECT_DELAY;
    while !follower.news.is_closed() {
        let mut answered = false;
        let Err(error) = follower.session(&mut pokes, &mut answered).await;
        if follower.news.send(News::Gone(error.to_string())).await.is_err() {
            return;
        }
        wait = if answered { MIN_RECONNECT_DELAY } else { (wait * 2).min(MAX_RECONNECT_DELAY) };
        tokio::time::sleep(wait).await;
    }
}

struct EventFollower {
    options: Options,
    news: mpsc::Sender<News>,
    /// The id of the last event.
    last: Option<String>,
}

impl EventFollower {
    /// Follows the daemon until the connection ends.
    async fn session(
        &mut self,
        pokes: &mut mpsc::Receiver<()>,
        answered: &mut bool,
    ) -> Result<std::convert::Infallible, DaemonError> {
        let daemon = DaemonClient::connect(&self.options).await?;
        let status = patiently(&daemon, daemon.status()).await?;
        *answered = true;
        self.send(News::Found(status.uptime, SystemTime::now())).await;
        // Past events come first, so that the current state comes after them.
        let mut past = patiently(&daemon, daemon.events(&self.filter(false))).await?;
        while let Some(item) = patiently(&daemon, past.next()).await? {
            self.pass_on(item).await;
        }
        let mut events = patiently(&daemon, daemon.events(&self.filter(true))).await?;
        let mut asked = self.ask(&daemon).await?;
        let mut ask_at = asked + POLL_INTERVAL;
        loop {
            tokio::select! {
                item = next(&daemon, &mut events) => {
                    self.pass_on(item?).await;
                    ask_at = ask_at.min((Instant::now() + POLL_DELAY).max(asked + MIN_POLL_INTERVAL));
                }
                Some(()) = pokes.recv() => ask_at = Instant::now(),
                () = deadline::reached(Some(ask_at)) => {
                    asked = self.ask(&daemon).await?;
                    ask_at = asked + POLL_INTERVAL;
                }
            }
        }
    }

    fn filter(&self, follow: bool) -> EventFilter {
        let since = self.last.is_none().then(|| HISTORY_TIME.to_owned());
        EventFilter { after: self.last.clone(), since, limit: None, follow }
    }

    /// Requests the state, and returns the time of that.
    async fn ask(&self, daemon: &DaemonClient) -> Result<Instant, DaemonError> {
        let both = async { tokio::try_join!(daemon.status(), daemon.workers()) };
        let (status, workers) = patiently(daemon, both).await?;
        self.send(News::Snapshot(Box::new(Snapshot { at: SystemTime::now(), status, workers }))).await;
        Ok(Instant::now())
    }

    async fn pass_on(&mut self, item: StreamItem) {
        match item {
            StreamItem::Event { id, event } => {
                self.last = Some(id);
                self.send(News::Event(event)).await;
            }
            StreamItem::Gap(_) => self.send(News::Gap).await,
        }
    }

    async fn send(&self, news: News) {
        // If the receiver is gone, this task is about to end.
        let _ = self.news.send(news).await;
    }
}

/// The next event of an endless stream.
async fn next(daemon: &DaemonClient, events: &mut Events) -> Result<StreamItem, DaemonError> {
    match events.next().await? {
        Some(item) => Ok(item),
        None => Err(DaemonError::Broken { socket: daemon.socket().to_owned(), why: "it has ended".to_owned() }),
    }
}

async fn patiently<T>(
    daemon: &DaemonClient,
    answer: impl Future<Output = Result<T, DaemonError>>,
) -> Result<T, DaemonError> {
    match timeout(RESPONSE_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(DaemonError::Broken {
            socket: daemon.socket().to_owned(),
            why: format!("it said nothing for {} s", RESPONSE_TIMEOUT.as_secs()),
        }),
    }
}
