//! One connection to systemd and the task that owns it.
//!
//! The task reads the connection's single stream of messages, including responses to its own calls, so that lists,
//! signals and ends of jobs are seen in exactly the order in which systemd sent them. It connects, subscribes, lists,
//! and then follows; after anything that makes its knowledge uncertain, it lists again; when the connection is lost, it
//! reconnects, for as long as that takes. All state belongs to the task.

mod aliases;
mod isolation;
mod jobs;
mod lists;
mod reconnect;
mod sockets;
mod starts;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::connection::ManagerConnection;
use super::signals::{self, Signal};
use super::wire;
use crate::core::healer::Outcome;
use crate::core::rules::Start;
use crate::core::selector::Aliases;
use crate::core::units::UnitName;
use crate::deadline;
use crate::manager::Change;
use isolation::Isolation;
use lists::{Extent, Lists, Number};
use reconnect::{End, lost};
pub(super) use reconnect::{Session, connect};
use starts::Starting;

/// Maximum duration of a reload, in case the signal of its end is lost.
const MAX_RELOAD: Duration = Duration::from_secs(10);
/// Requests of the handles to the task.
#[derive(Debug)]
pub(super) enum Request {
    Refresh,
    ListAll,
    Cover(Vec<String>),
    Start(Start, Duration),
    Stop(UnitName),
}

/// A pending call.
#[derive(Debug)]
enum Call {
    List(Extent),
    /// A number that is read with a list.
    Number(Number, Extent),
    Subscribe,
    /// The units that a failed socket starts.
    Triggers(String),
    /// Whether the target of this job can be isolated.
    AllowIsolate(String),
    /// The unit files that match the patterns.
    Files,
    /// The units with these names.
    Names(Vec<String>),
    Start(Starting),
}

impl Call {
    fn start(self) -> Option<Starting> {
        match self {
            Self::Start(starting) => Some(starting),
            Self::List(_)
            | Self::Number(..)
            | Self::Subscribe
            | Self::Triggers(_)
            | Self::AllowIsolate(_)
            | Self::Files
            | Self::Names(_) => None,
        }
    }
}

/// The state that lasts as long as one connection.
struct Following {
    connection: Connection,
    /// Whether it is the manager's private socket.
    private: bool,
    /// The manager's unique name on the bus: signals of other senders are ignored.
    owner: Option<String>,
    stream: MessageStream,
    calls: HashMap<NonZeroU32, Call>,
    /// Jobs of ours, by their path.
    jobs: HashMap<String, Starting>,
    /// The last job that was signalled for each unit: a job that was never signalled has no effect.
    reported_jobs: HashMap<UnitName, u32>,
    /// Failed sockets, and the units that they start if known.
    failed_sockets: BTreeMap<String, Option<Vec<UnitName>>>,
    /// The manager is about to end.
    shutting_down: bool,
    isolation: Isolation,
    covered: Vec<glob::Pattern>,
    /// The aliases that were last reported.
    aliases: Aliases,
    lists: Lists,
    reloading_until: Option<Instant>,
}

impl Following {
    async fn begin(session: &Session, connection: &ManagerConnection) -> zbus::Result<Self> {
        // Before the stream: its queue is short, and while it is full because it is not read, no response to these
        // calls would arrive. Handles use the same connection from the first moment on.
        let owner = if connection.private {
            None
        } else {
            // All at once, and in this order: a later change of the name's owner is signalled.
            let [units, removals, ends, jobs, reloads, owners] = signals::MATCHES.map(|rule| connection.follow(rule));
            let (.., owner) = tokio::try_join!(units, removals, ends, jobs, reloads, owners, connection.owner())?;
            Some(owner)
        };
        let mut following = Self {
            connection: connection.bus.clone(),
            private: connection.private,
            owner,
            stream: MessageStream::from(&connection.bus),
            calls: HashMap::new(),
            jobs: HashMap::new(),
            reported_jobs: HashMap::new(),
            failed_sockets: BTreeMap::new(),
            shutting_down: false,
            isolation: Isolation::default(),
            covered: Vec::new(),
            aliases: Aliases::new(),
            lists: Lists::default(),
            reloading_until: None,
        };
        following.cover(&session.patterns);
        following.list(session).await?;
        following.request_aliases(session).await?;
        Ok(following)
    }

    async fn follow(&mut self, session: &mut Session, first: Option<Request>) -> End {
        match first {
            // Following has begun with that.
            None | Some(Request::Refresh | Request::ListAll) => {}
            Some(request) => {
                if let Err(error) = self.perform(session, request).await {
                    return End::Lost(error.to_string());
                }
            }
        }
        let end = loop {
            let deadline = self.next_deadline();
            let step = tokio::select! {
                // Messages first: a request is handled with current knowledge.
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
        // Whether these have become jobs is unknown. The first list of the next connection shows the ends of jobs.
        for starting in self.calls.drain().filter_map(|(_, call)| call.start()) {
            session.finished(starting.unit().clone(), lost());
        }
        end
    }

    async fn perform(&mut self, session: &mut Session, request: Request) -> zbus::Result<()> {
        match request {
            Request::Refresh => self.list(session).await,
            Request::ListAll => self.list_all(session).await,
            Request::Cover(patterns) => {
                self.cover(&patterns);
                session.patterns = patterns;
                self.list_all(session).await?;
                self.request_aliases(session).await
            }
            Request::Start(start, timeout) => self.start(Starting::new(start, Instant::now() + timeout)).await,
            Request::Stop(unit) => {
                let stop = wire::call("StopUnit", &(unit.as_str(), "replace"))?;
                self.connection.send_all(&[stop]).await
            }
        }
    }

    /// Sends the messages of a start's next step together, as the manager handles them in order.
    async fn start(&mut self, starting: Starting) -> zbus::Result<()> {
        let messages = starting.messages()?;
        if let Some(last) = messages.last() {
            self.calls.insert(last.primary_header().serial_num(), Call::Start(starting));
        }
        self.connection.send_all(&messages).await
    }

    async fn receive(&mut self, session: &Session, message: &Message) -> zbus::Result<()> {
        match message.message_type() {
            Type::Signal if self.is_trusted(message) => match signals::parse(message) {
                Some(signal) => self.signalled(session, signal).await,
                None => Ok(()),
            },
            Type::MethodReturn | Type::Error => {
                let call = message.header().reply_serial().and_then(|serial| self.calls.remove(&serial));
                match call {
                    Some(Call::List(extent)) => {
                        // The sender of the response is the manager, in case the name changed its owner unnoticed.
                        self.owner =
                            message.header().sender().map(|sender| sender.as_str().to_owned()).or(self.owner.take());
                        self.listed(session, message, extent).await
                    }
                    Some(Call::Number(number, extent)) => self.counted(session, message, number, extent).await,
                    Some(Call::Subscribe) => self.subscribed(session, message).await,
                    Some(Call::Files) => self.found_files(message).await,
                    Some(Call::Names(names)) => self.found_names(session, message, &names).await,
                    Some(Call::Start(starting)) => {
                        self.queued(session, message, starting);
                        Ok(())
                    }
                    Some(Call::AllowIsolate(path)) => {
                        let ended = !wire::is_true(message) && self.isolation.is_none_of(&path);
                        self.isolation_ended(session, ended).await
                    }
                    Some(Call::Triggers(socket)) => {
                        self.triggers_received(session, message, &socket);
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
            Type::Signal | Type::MethodCall => Ok(()),
        }
    }

    /// Whether the manager, or the bus itself, sent the signal: any client on the bus could.
    fn is_trusted(&self, message: &Message) -> bool {
        let header = message.header();
        let sender = header.sender().map(zbus::names::UniqueName::as_str);
        self.private || sender == Some("org.freedesktop.DBus") || (sender.is_some() && sender == self.owner.as_deref())
    }

    async fn signalled(&mut self, session: &Session, signal: Signal) -> zbus::Result<()> {
        match signal {
            Signal::Changed(status, job) => {
                if job != 0 {
                    self.reported_jobs.insert(status.name.clone(), job);
                }
                self.jobs.values_mut().for_each(|starting| starting.changed(&status));
                let _ = session.changes.send(Change::Unit(status));
                Ok(())
            }
            Signal::Invalidated => self.list_all(session).await,
            Signal::Removed(name) => {
                let is_aliased = || session.aliases.borrow().values().any(|unit| unit.as_str() == name);
                if self.covered.iter().any(|pattern| pattern.matches(&name)) || is_aliased() {
                    self.list_all(session).await?;
                }
                Ok(())
            }
            Signal::JobRemoved { id, path, unit, result } => self.job_ended(session, id, &path, unit, &result).await,
            Signal::Socket(socket, failed) => {
                if failed != self.failed_sockets.contains_key(&socket) {
                    self.list(session).await?;
                }
                Ok(())
            }
            Signal::JobNew { path, unit } => self.job_queued(session, path, &unit).await,
            Signal::ShuttingDown => {
                self.shutting_down = true;
                let _ = session.changes.send(Change::ShuttingDown);
                self.list_all(session).await
            }
            Signal::Reloading(true) => {
                self.reloading_until = Some(Instant::now() + MAX_RELOAD);
                self.lists.doubt();
                let _ = session.changes.send(Change::Reloading);
                Ok(())
            }
            Signal::Reloading(false) => {
                self.reloading_until = None;
                self.list_all(session).await?;
                self.request_aliases(session).await
            }
            Signal::Owner(None) => {
                self.owner = None;
                self.lists.doubt();
                let _ = session.changes.send(Change::Lost("the service manager has left the bus".to_owned()));
                Ok(())
            }
            Signal::Owner(owner @ Some(_)) => {
                self.owner = owner;
                self.list_all(session).await
            }
        }
    }

    fn cover(&mut self, patterns: &[String]) {
        self.covered = patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()).collect();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| match call {
            Call::Start(starting) => Some(starting.deadline),
            Call::List(_)
            | Call::Number(..)
            | Call::Subscribe
            | Call::Triggers(_)
            | Call::AllowIsolate(_)
            | Call::Files
            | Call::Names(_) => None,
        });
        self.jobs
            .values()
            .map(|starting| starting.deadline)
            .chain(calls)
            .chain(self.reloading_until)
            .chain(self.isolation.deadline())
            .min()
    }

    async fn deadline_passed(&mut self, session: &Session) -> zbus::Result<()> {
        let now = Instant::now();
        let late_calls = self.calls.extract_if(|_, call| matches!(call, Call::Start(it) if it.deadline <= now));
        let late_calls = late_calls.filter_map(|(_, call)| call.start());
        let late_jobs = self.jobs.extract_if(|_, starting| starting.deadline <= now).map(|(_, starting)| starting);
        for starting in late_calls.chain(late_jobs) {
            session.finished(starting.unit().clone(), Outcome::NotStarted("its start took too long".to_owned()));
        }
        self.isolation.expire(now);
        if self.reloading_until.is_some_and(|until| until <= now) {
            self.reloading_until = None;
            self.list_all(session).await?;
        }
        Ok(())
    }
}

/// The next message of a stream, `None` at its end.
async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    use futures_core::Stream;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}
