//! The way to the daemon: follows what it tells, asks how things are when something has happened and now
//! and then, and finds it again when it was gone. What comes of it is sent on as [`News`].

use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::model::Snapshot;
use crate::client::daemon::{DaemonClient, DaemonError, EventFilter, Events, StreamItem};
use crate::core::event::Event;
use crate::deadline;
use crate::setup::Options;

/// How long to wait for more to happen before asking how things are, and how long at least between two questions.
const POLL_DELAY: Duration = Duration::from_millis(40);
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// What is told by no event is seen after this time.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// A daemon that takes longer to answer is as good as gone.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before looking for it again, at first and at most.
const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(200);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(3);
/// So much of the past is asked for: what the screen shows of it.
const HISTORY: &str = "1h";

/// What the daemon told.
#[derive(Debug)]
pub(super) enum News {
    /// It answers, and has run for so long.
    Found(Option<Duration>, SystemTime),
    Event(Box<Event>),
    /// Events are missing before the next one.
    Gap,
    Snapshot(Box<Snapshot>),
    /// It does not answer; says why.
    Gone(String),
}

/// Follows the daemon until nobody listens. A message in `pokes` has it asked how things are.
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
    /// Follows it until it is gone.
    async fn session(
        &mut self,
        pokes: &mut mpsc::Receiver<()>,
        answered: &mut bool,
    ) -> Result<std::convert::Infallible, DaemonError> {
        let daemon = DaemonClient::connect(&self.options).await?;
        let status = patiently(&daemon, daemon.status()).await?;
        *answered = true;
        self.send(News::Found(status.uptime, SystemTime::now())).await;
        // All of the past first, so that how things are now comes after it.
        let mut past = patiently(&daemon, daemon.events(&self.filter(false))).await?;
        while let Some(told) = patiently(&daemon, past.next()).await? {
            self.tell(told).await;
        }
        let mut events = patiently(&daemon, daemon.events(&self.filter(true))).await?;
        let mut asked = self.ask(&daemon).await?;
        let mut ask_at = asked + POLL_INTERVAL;
        loop {
            tokio::select! {
                told = next(&daemon, &mut events) => {
                    self.tell(told?).await;
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
        let since = self.last.is_none().then(|| HISTORY.to_owned());
        EventFilter { after: self.last.clone(), since, limit: None, follow }
    }

    /// Asks how things are, and answers when that was.
    async fn ask(&self, daemon: &DaemonClient) -> Result<Instant, DaemonError> {
        let both = async { tokio::try_join!(daemon.status(), daemon.workers()) };
        let (status, workers) = patiently(daemon, both).await?;
        self.send(News::Snapshot(Box::new(Snapshot { at: SystemTime::now(), status, workers }))).await;
        Ok(Instant::now())
    }

    async fn tell(&mut self, told: StreamItem) {
        match told {
            StreamItem::Event { id, event } => {
                self.last = Some(id);
                self.send(News::Event(event)).await;
            }
            StreamItem::Gap(_) => self.send(News::Gap).await,
        }
    }

    async fn send(&self, news: News) {
        // Whoever does not listen any more is about to end this task.
        let _ = self.news.send(news).await;
    }
}

/// The next event of a stream that does not end.
async fn next(daemon: &DaemonClient, events: &mut Events) -> Result<StreamItem, DaemonError> {
    match events.next().await? {
        Some(told) => Ok(told),
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
