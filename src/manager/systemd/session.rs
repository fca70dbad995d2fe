//! One connection to systemd and the task that owns it.
//!
//! The task drains the connection's single stream of messages, answers to its own calls included,
//! so that lists, signals and ends of jobs are seen in exactly the order in which systemd sent
//! them. It connects, subscribes, lists, and then follows; after anything that casts doubt on what
//! it was told, it lists again; when the connection is lost, it begins anew, for as long as it
//! takes. All state is the task's own.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::link::{Address, Link};
use super::wire::{self, Line, Signal};
use crate::core::healer::Outcome;
use crate::core::text::plain;
use crate::core::units::{ActiveState, UnitName};
use crate::deadline;
use crate::manager::{Change, ManagerError};

/// The closing signal of a reload can be lost; then this ends the freeze.
const LONGEST_RELOAD: Duration = Duration::from_secs(10);
/// Waits between attempts to connect: short at first, for a manager that executes itself anew.
const RECONNECT: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// The longest that connecting, or the answer to one call, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);

/// What the handles ask of the task.
#[derive(Debug)]
pub(super) enum Request {
    Refresh,
    Cover(Vec<String>),
    Start(UnitName, Duration),
    Restart(UnitName, Duration),
}

/// A call whose answer is awaited.
#[derive(Debug)]
enum Call {
    List,
    Start(UnitName, Instant),
}

/// A start or restart job under way, by the path of its job.
#[derive(Debug)]
struct Job {
    unit: UnitName,
    deadline: Instant,
}

pub(super) struct Session {
    pub addresses: Vec<Address>,
    pub patterns: Vec<String>,
    pub requests: mpsc::UnboundedReceiver<Request>,
    pub changes: mpsc::UnboundedSender<Change>,
    pub link: watch::Sender<Option<Link>>,
}

/// Why the task stopped following a connection.
enum End {
    /// Nobody holds a handle any more.
    Abandoned,
    /// The connection is gone; says why.
    Lost(String),
}

impl Session {
    /// Follows a connection that exists, from the first request on, then reconnects for as long as
    /// anybody holds a handle.
    pub async fn run(mut self, mut link: Link) {
        let mut first = self.requests.recv().await;
        if first.is_none() {
            return;
        }
        loop {
            self.link.send_replace(Some(link.clone()));
            let end = match Following::begin(&self, &link).await {
                Ok(mut following) => following.follow(&mut self, first.take()).await,
                Err(error) => End::Lost(error.to_string()),
            };
            self.link.send_replace(None);
            let End::Lost(why) = end else { return };
            let _ = self.changes.send(Change::Lost(why));
            match self.reconnect().await {
                Some(new) => link = new,
                None => return,
            }
        }
    }

    async fn reconnect(&mut self) -> Option<Link> {
        let mut waits = RECONNECT.into_iter();
        let mut wait = RECONNECT[0];
        loop {
            let at = Instant::now() + wait;
            loop {
                tokio::select! {
                    request = self.requests.recv() => match request? {
                        Request::Cover(patterns) => self.patterns = patterns,
                        Request::Start(unit, _) | Request::Restart(unit, _) => self.finished(unit, lost()),
                        Request::Refresh => {}
                    },
                    () = sleep_until(at) => break,
                }
            }
            if let Ok(link) = connect(&self.addresses).await {
                return Some(link);
            }
            wait = waits.next().unwrap_or(RECONNECT[RECONNECT.len() - 1]);
        }
    }

    fn finished(&self, unit: UnitName, outcome: Outcome) {
        let _ = self.changes.send(Change::Finished(unit, outcome));
    }
}

/// Connects to the first address that answers.
pub(super) async fn connect(addresses: &[Address]) -> Result<Link, ManagerError> {
    let mut problems = Vec::new();
    for address in addresses {
        match timeout(PATIENCE, address.connect()).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => problems.push(format!("{address}: {error}")),
            Err(_) => problems.push(format!("{address}: no answer")),
        }
    }
    Err(ManagerError::Unreachable(plain(&problems.join("; "))))
}

fn lost() -> Outcome {
    Outcome::NotStarted("the connection to the service manager was lost".to_owned())
}

/// The state that lasts as long as one connection.
struct Following {
    connection: Connection,
    /// Nobody but the manager is on it.
    private: bool,
    /// The manager's unique name on the bus: signals of anybody else are none of its.
    owner: Option<String>,
    stream: MessageStream,
    calls: HashMap<NonZeroU32, Call>,
    jobs: HashMap<String, Job>,
    covered: Vec<glob::Pattern>,
    listing: bool,
    list_again: bool,
    reloading_until: Option<Instant>,
}

impl Following {
    async fn begin(session: &Session, link: &Link) -> zbus::Result<Self> {
        // Before the stream: its queue is short, and while it is full because nobody reads on, no answer
        // to these calls would arrive. Handles call on the same connection from the first moment on.
        let owner = if link.private {
            None
        } else {
            // All at once, and in this order: who owns the name later is signalled.
            let [units, removals, jobs, reloads, owners] = wire::MATCHES.map(|rule| link.follow(rule));
            let (.., owner) = tokio::try_join!(units, removals, jobs, reloads, owners, link.owner())?;
            Some(owner)
        };
        let mut following = Self {
            connection: link.connection.clone(),
            private: link.private,
            owner,
            stream: MessageStream::from(&link.connection),
            calls: HashMap::new(),
            jobs: HashMap::new(),
            covered: Vec::new(),
            listing: false,
            list_again: false,
            reloading_until: None,
        };
        following.cover(&session.patterns);
        following.list(&session.patterns).await?;
        Ok(following)
    }

    async fn follow(&mut self, session: &mut Session, first: Option<Request>) -> End {
        match first {
            // It has begun with that.
            None | Some(Request::Refresh) => {}
            Some(request) => {
                if let Err(error) = self.perform(session, request).await {
                    return End::Lost(error.to_string());
                }
            }
        }
        let end = loop {
            let deadline = self.next_deadline();
            let step = tokio::select! {
                // Messages first: a request is decided on what is known.
                biased;
                message = next(&mut self.stream) => match message {
                    Some(Ok(message)) => self.receive(session, &message).await,
                    Some(Err(error)) => break End::Lost(error.to_string()),
                    None => break End::Lost("the connection was closed".to_owned()),
                },
                request = session.requests.recv() => match request {
                    Some(request) => self.perform(session, request).await,
                    None => break End::Abandoned,
                },
                () = deadline::reached(deadline) => self.deadline_passed(session).await,
            };
            if let Err(error) = step {
                break End::Lost(error.to_string());
            }
        };
        let starts = self.calls.drain().filter_map(|(_, call)| match call {
            Call::Start(unit, _) => Some(unit),
            Call::List => None,
        });
        for unit in starts.chain(self.jobs.drain().map(|(_, job)| job.unit)) {
            session.finished(unit, lost());
        }
        end
    }

    async fn perform(&mut self, session: &mut Session, request: Request) -> zbus::Result<()> {
        match request {
            Request::Refresh => self.list(&session.patterns).await,
            Request::Cover(patterns) => {
                self.cover(&patterns);
                session.patterns = patterns;
                self.list(&session.patterns).await
            }
            Request::Start(unit, timeout) => {
                // Sent back to back: the manager handles them in order, and nothing is to be
                // learnt from the first answer that the second does not say too.
                let reset = wire::call("ResetFailedUnit", &unit.as_str())?;
                let start = wire::call("StartUnit", &(unit.as_str(), "fail"))?;
                let serial = start.primary_header().serial_num();
                self.calls.insert(serial, Call::Start(unit, Instant::now() + timeout));
                self.connection.send_all(&[reset, start]).await
            }
            Request::Restart(unit, timeout) => {
                let restart = wire::call("RestartUnit", &(unit.as_str(), "fail"))?;
                let serial = restart.primary_header().serial_num();
                self.calls.insert(serial, Call::Start(unit, Instant::now() + timeout));
                self.connection.send_all(&[restart]).await
            }
        }
    }

    async fn receive(&mut self, session: &Session, message: &Message) -> zbus::Result<()> {
        match message.message_type() {
            Type::Signal if self.is_trusted(message) => match wire::signal(message) {
                Some(signal) => self.signalled(session, signal).await,
                None => Ok(()),
            },
            Type::MethodReturn | Type::Error => {
                let call = message.header().reply_serial().and_then(|serial| self.calls.remove(&serial));
                match call {
                    Some(Call::List) => {
                        // Whoever answers is the manager: should its name have changed hands unnoticed.
                        self.owner =
                            message.header().sender().map(|sender| sender.as_str().to_owned()).or(self.owner.take());
                        self.listed(session, message).await
                    }
                    Some(Call::Start(unit, deadline)) => {
                        self.queued(session, message, unit, deadline);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
            Type::Signal | Type::MethodCall => Ok(()),
        }
    }

    /// Whether the manager, or the bus itself, sent the signal: anybody on the bus could.
    fn is_trusted(&self, message: &Message) -> bool {
        let header = message.header();
        let sender = header.sender().map(zbus::names::UniqueName::as_str);
        self.private || sender == Some("org.freedesktop.DBus") || (sender.is_some() && sender == self.owner.as_deref())
    }

    async fn signalled(&mut self, session: &Session, signal: Signal) -> zbus::Result<()> {
        match signal {
            Signal::Changed(status) => {
                let _ = session.changes.send(Change::Unit(status));
                Ok(())
            }
            Signal::Look => self.list(&session.patterns).await,
            Signal::Removed(name) => {
                if self.covered.iter().any(|pattern| pattern.matches(&name)) {
                    self.list(&session.patterns).await?;
                }
                Ok(())
            }
            Signal::JobRemoved { path, unit, result } => {
                match (self.jobs.remove(&path), unit) {
                    (Some(job), _) => session.finished(job.unit, wire::job_result(&result)),
                    (None, Some(unit)) if result == "done" => {
                        let _ = session.changes.send(Change::JobDone(unit));
                    }
                    (None, _) => {}
                }
                Ok(())
            }
            Signal::Reloading(true) => {
                self.reloading_until = Some(Instant::now() + LONGEST_RELOAD);
                let _ = session.changes.send(Change::Reloading);
                Ok(())
            }
            Signal::Reloading(false) => {
                self.reloading_until = None;
                self.list(&session.patterns).await
            }
            Signal::Owner(None) => {
                self.owner = None;
                let _ = session.changes.send(Change::Lost("the service manager has left the bus".to_owned()));
                Ok(())
            }
            Signal::Owner(owner @ Some(_)) => {
                self.owner = owner;
                self.list(&session.patterns).await
            }
        }
    }

    /// Asks for a list, unless one is on its way: then for another after it.
    async fn list(&mut self, patterns: &[String]) -> zbus::Result<()> {
        if std::mem::replace(&mut self.listing, true) {
            self.list_again = true;
            return Ok(());
        }
        self.list_again = false;
        // A subscription can be dropped without a word (systemd issue 27697): renew it each time.
        let subscribe = wire::subscribe()?;
        let list = wire::call("ListUnitsByPatterns", &(Vec::<&str>::new(), patterns))?;
        self.calls.insert(list.primary_header().serial_num(), Call::List);
        self.connection.send_all(&[subscribe, list]).await
    }

    async fn listed(&mut self, session: &Session, message: &Message) -> zbus::Result<()> {
        self.listing = false;
        if message.message_type() == Type::Error {
            return Err(zbus::Error::from(message.clone()));
        }
        if self.reloading_until.is_none() {
            if !self.jobs.is_empty() {
                self.missed_ends(session, &wire::lines(message)?);
            }
            let _ = session.changes.send(Change::Units(wire::statuses(message)?));
        }
        if self.list_again { self.list(&session.patterns).await } else { Ok(()) }
    }

    /// The ends of starts whose signal was lost: their job is listed no longer.
    fn missed_ends(&mut self, session: &Session, lines: &[Line]) {
        let listed: HashSet<&str> =
            lines.iter().filter_map(|line| line.job.as_ref()).map(|job| job.path.as_str()).collect();
        for (_, job) in self.jobs.extract_if(|path, _| !listed.contains(path.as_str())) {
            let active = lines.iter().find(|line| line.name == job.unit.as_str()).map(|line| line.active);
            let outcome = match active {
                Some(ActiveState::Failed) => wire::job_result("failed"),
                Some(_) => Outcome::Done,
                None => Outcome::NotStarted("was unloaded while it was being started".to_owned()),
            };
            session.finished(job.unit, outcome);
        }
    }

    /// The answer to `StartUnit` or `RestartUnit`: the job's path, or why there is none.
    fn queued(&mut self, session: &Session, message: &Message, unit: UnitName, deadline: Instant) {
        if message.message_type() == Type::Error {
            let header = message.header();
            let name = header.error_name().map(zbus::names::ErrorName::as_str).unwrap_or_default();
            let text = message.body().deserialize::<&str>().unwrap_or("no reason given").to_owned();
            session.finished(unit, wire::refused(name, text));
            return;
        }
        match message.body().deserialize::<zbus::ObjectPath<'_>>() {
            Ok(path) => {
                self.jobs.insert(path.to_string(), Job { unit, deadline });
            }
            Err(error) => session.finished(unit, Outcome::NotStarted(error.to_string())),
        }
    }

    fn cover(&mut self, patterns: &[String]) {
        self.covered = patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()).collect();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| match call {
            Call::Start(_, deadline) => Some(*deadline),
            Call::List => None,
        });
        self.jobs.values().map(|job| job.deadline).chain(calls).chain(self.reloading_until).min()
    }

    async fn deadline_passed(&mut self, session: &Session) -> zbus::Result<()> {
        let now = Instant::now();
        let late_calls = self.calls.extract_if(|_, call| matches!(call, Call::Start(_, at) if *at <= now));
        let late_calls = late_calls.filter_map(|(_, call)| match call {
            Call::Start(unit, _) => Some(unit),
            Call::List => None,
        });
        let late_jobs = self.jobs.extract_if(|_, job| job.deadline <= now).map(|(_, job)| job.unit);
        for unit in late_calls.chain(late_jobs) {
            session.finished(unit, Outcome::NotStarted("its start took too long".to_owned()));
        }
        if self.reloading_until.is_some_and(|until| until <= now) {
            self.reloading_until = None;
            self.list(&session.patterns).await?;
        }
        Ok(())
    }
}

/// The next message of a stream, `None` at its end.
async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    use futures_core::Stream;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}
