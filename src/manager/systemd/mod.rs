//! systemd, of the user or of the system, over D-Bus.
//!
//! [`session`] owns the connection and everything whose order matters; this module has the handle,
//! and the calls that need no order; [`wire`] has the names and the messages.
//!
//! The way to the manager is its private socket if there is one ([`direct`]), else a bus.

mod direct;
pub(crate) mod own;
mod session;
mod wire;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use zbus::{Connection, Message, OwnedVariant, Variant};

use super::journal::{Journal, Run};
use super::log::{Log, WantedLines};
use super::{Changes, ManagerError, Scope, ServiceManager, fingerprint};
use crate::core::units::{
    ActiveState, Detail, Fall, Inspection, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence, UnitFile,
    UnitName, UnitStatus,
};
use session::{PATIENCE, Request, Session};
use wire::Line;

/// How long the manager may take to join a bus that has just been started.
const JOINS_WITHIN: Duration = Duration::from_secs(2);
/// How long a look at a directory may take.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);

/// A handle on systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    journal: Journal,
    requests: mpsc::UnboundedSender<Request>,
    link: watch::Receiver<Option<Link>>,
    patterns: watch::Sender<Vec<String>>,
}

/// A connection to the manager.
#[derive(Debug, Clone)]
struct Link {
    connection: Connection,
    /// Nobody but the manager is on it, and it is no bus.
    private: bool,
}

/// Where the manager may be found.
#[derive(Debug, Clone)]
enum Address {
    /// The manager's own socket.
    Private(PathBuf),
    /// The bus that belongs to the user's manager.
    Runtime(PathBuf),
    /// The bus that `$DBUS_SESSION_BUS_ADDRESS` names: on some desktops another one.
    Session,
    /// The system bus.
    System,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private(path) | Self::Runtime(path) => write!(f, "{}", path.display()),
            Self::Session => f.write_str("$DBUS_SESSION_BUS_ADDRESS"),
            Self::System => f.write_str("the system bus"),
        }
    }
}

impl Address {
    /// Where to look for the manager, best first.
    fn of(scope: Scope) -> Vec<Self> {
        match scope {
            Scope::System => vec![Self::Private(PathBuf::from("/run/systemd/private")), Self::System],
            Scope::User => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
                    || PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())),
                    PathBuf::from,
                );
                let (private, runtime) = (runtime.join("systemd/private"), runtime.join("bus"));
                let session = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
                let another = session.filter(|address| *address != format!("unix:path={}", runtime.display()));
                [Self::Private(private), Self::Runtime(runtime)]
                    .into_iter()
                    .chain(another.map(|_| Self::Session))
                    .collect()
            }
        }
    }

    async fn connect(&self) -> zbus::Result<Link> {
        let failed = |error| zbus::Error::InputOutput(std::sync::Arc::new(error));
        let builder = match self {
            Self::Private(path) => direct::builder(path).map_err(failed)?,
            Self::Runtime(path) => {
                // Connecting to a local socket does not wait: it succeeds or fails at once.
                let stream = std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
                zbus::connection::Builder::unix_stream(stream)
            }
            Self::Session => zbus::connection::Builder::session(),
            Self::System => zbus::connection::Builder::system(),
        };
        let connection = builder.method_timeout(PATIENCE).build().await?;
        let link = Link { connection, private: matches!(self, Self::Private(_)) };
        if link.private {
            link.answers().await?;
            return Ok(link);
        }
        // Connecting can have started the bus, which the manager then joins a little later.
        let latest = Instant::now() + JOINS_WITHIN;
        loop {
            match link.owner().await {
                Ok(_) => return Ok(link),
                Err(_) if Instant::now() >= latest => {
                    return Err(zbus::Error::Failure("no service manager is on this bus".to_owned()));
                }
                Err(_) => sleep(JOINS_WITHIN / 100).await,
            }
        }
    }
}

impl Link {
    /// Whether messages get through in both directions. A manager that speaks otherwise than is expected on its
    /// own socket is one that is not there: the bus is the way.
    async fn answers(&self) -> zbus::Result<()> {
        let peer = Some("org.freedesktop.DBus.Peer");
        self.connection.call_method(None::<&str>, wire::MANAGER_PATH, peer, "Ping", &()).await.map(drop)
    }

    /// The manager's unique name on the bus.
    async fn owner(&self) -> zbus::Result<String> {
        let bus = Some("org.freedesktop.DBus");
        let reply =
            self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "GetNameOwner", &wire::SYSTEMD).await?;
        Ok(reply.body().deserialize::<&str>()?.to_owned())
    }

    /// Has the bus send the signals that a match rule describes.
    async fn follow(&self, rule: &str) -> zbus::Result<()> {
        let bus = Some("org.freedesktop.DBus");
        self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await.map(drop)
    }

    async fn call<B>(&self, what: &'static str, body: &B) -> Result<Message, ManagerError>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        self.connection
            .call_method(Some(wire::SYSTEMD), wire::MANAGER_PATH, Some(wire::MANAGER), what, body)
            .await
            .map_err(|error| refusal(what, &error))
    }

    /// One property of a unit.
    async fn property(
        &self,
        unit: &str,
        interface: &'static str,
        key: &'static str,
    ) -> Result<OwnedVariant, ManagerError> {
        let reply = self
            .connection
            .call_method(
                Some(wire::SYSTEMD),
                wire::unit_path(unit).as_str(),
                Some(wire::PROPERTIES),
                "Get",
                &(interface, key),
            )
            .await
            .map_err(|error| refusal(key, &error))?;
        reply.body().deserialize().map_err(|error| unexpected(key, &error))
    }

    /// The units that match the patterns and are in one of the states; no states are all.
    async fn list(&self, states: &[&str], patterns: &[String]) -> Result<Vec<UnitStatus>, ManagerError> {
        const WHAT: &str = "ListUnitsByPatterns";
        let reply = self.call(WHAT, &(states, patterns)).await?;
        wire::statuses(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    async fn list_names(&self, names: &[String]) -> Result<Vec<Line>, ManagerError> {
        const WHAT: &str = "ListUnitsByNames";
        let reply = self.call(WHAT, &names).await?;
        wire::lines(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    /// The states of the units that a start of this one would pull in.
    async fn parents(&self, lists: [OwnedVariant; 3]) -> Result<Vec<Parent>, ManagerError> {
        let names = lists.into_iter().flat_map(|list| Vec::<String>::try_from(list).unwrap_or_default());
        let mut names: Vec<String> = names.filter(|name| !is_part_of_the_manager(name)).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let lines = self.list_names(&names).await?.into_iter();
        let mut parents: Vec<Parent> = lines
            .map(|line| Parent { stopping: line.is_stopping(), name: line.name, active: line.active, left: None })
            .collect();
        for parent in parents.iter_mut().filter(|parent| !parent.active.is_up()) {
            parent.left = self.moment(&parent.name, "ActiveExitTimestampMonotonic").await?;
        }
        Ok(parents)
    }

    /// Whether `RestartPreventExitStatus=`, lists of statuses and of signals, has the last end of
    /// the main process.
    async fn restart_prevented(&self, unit: &str) -> Result<bool, ManagerError> {
        /// `CLD_EXITED` of waitid(2): the code says whether the status is one, or a signal.
        const EXITED: i32 = 1;
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (lists, code, status) = tokio::try_join!(
            of_service("RestartPreventExitStatus"),
            of_service("ExecMainCode"),
            of_service("ExecMainStatus")
        )?;
        let (statuses, signals) = <(Vec<i32>, Vec<i32>)>::try_from(lists).unwrap_or_default();
        let (Ok(code), Ok(status)) = (i32::try_from(code), i32::try_from(status)) else { return Ok(false) };
        Ok(if code == EXITED { statuses.contains(&status) } else { signals.contains(&status) })
    }

    /// A moment of the monotonic clock; `None` if it never was.
    async fn moment(&self, unit: &str, key: &'static str) -> Result<Option<Duration>, ManagerError> {
        let moment = self.property(unit, wire::UNIT, key).await?;
        Ok(u64::try_from(moment).ok().filter(|moment| *moment > 0).map(Duration::from_micros))
    }

    /// For how long a unit has been up, by systemd's own timestamp.
    async fn uptime(&self, unit: &str) -> Result<Option<Duration>, ManagerError> {
        let since = self.moment(unit, "ActiveEnterTimestampMonotonic").await?;
        Ok(since.and_then(since_then))
    }

    /// How often systemd has restarted a unit, and how long its last run was up.
    async fn restarts(&self, unit: &str) -> Result<Restarts, ManagerError> {
        let (count, up, down) = tokio::try_join!(
            self.property(unit, wire::SERVICE, "NRestarts"),
            self.moment(unit, "ActiveEnterTimestampMonotonic"),
            self.moment(unit, "ActiveExitTimestampMonotonic"),
        )?;
        let last_run = down.zip(up).and_then(|(down, up)| down.checked_sub(up));
        Ok(Restarts { count: u32::try_from(count).unwrap_or(0), last_run })
    }

    /// A moment of the time of day; `None` if it never was.
    async fn realtime(&self, unit: &str, key: &'static str) -> Result<Option<SystemTime>, ManagerError> {
        let since = self.property(unit, wire::UNIT, key).await?;
        let since = u64::try_from(since).ok().filter(|since| *since > 0);
        Ok(since.map(|since| SystemTime::UNIX_EPOCH + Duration::from_micros(since)))
    }

    /// The id of the unit's last run; empty if it never ran.
    async fn invocation(&self, unit: &str) -> Result<String, ManagerError> {
        let id = self.property(unit, wire::UNIT, "InvocationID").await?;
        let id = Vec::<u8>::try_from(id).unwrap_or_default();
        let mut text = String::with_capacity(2 * id.len());
        for byte in id {
            text.push_str(&format!("{byte:02x}"));
        }
        Ok(text)
    }

    /// What the unit's files are like: whether one enables it, whether something else decides when it
    /// runs, and a number that changes when they do, made of the paths, times and lengths of its file
    /// and its drop-ins. `None` if it is masked: of what is behind the mask nothing can be seen.
    async fn file(&self, unit: &str) -> Result<Option<UnitFile>, ManagerError> {
        let of_unit = |key| self.property(unit, wire::UNIT, key);
        let (state, fragment, drop_ins, triggers, condition, checked) = tokio::try_join!(
            of_unit("UnitFileState"),
            of_unit("FragmentPath"),
            of_unit("DropInPaths"),
            of_unit("TriggeredBy"),
            of_unit("ConditionResult"),
            self.moment(unit, "ConditionTimestampMonotonic"),
        )?;
        if matches!(text(&state), "masked" | "masked-runtime") {
            return Ok(None);
        }
        let drop_ins = Vec::<String>::try_from(drop_ins).unwrap_or_default();
        let files = std::iter::once(text(&fragment)).chain(drop_ins.iter().map(String::as_str));
        let definition = fingerprint::of(files.map(Path::new));
        let enabled = matches!(text(&state), "enabled" | "enabled-runtime" | "alias");
        let triggered = Vec::<String>::try_from(triggers).is_ok_and(|triggers| !triggers.is_empty());
        let unwanted = checked.is_some() && !bool::try_from(condition).unwrap_or(true);
        Ok(Some(UnitFile { enabled, on_demand: triggered || unwanted, definition }))
    }

    /// The last run of the unit's main process, if there was one.
    async fn last_run(&self, unit: &str) -> Result<Option<Run>, ManagerError> {
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (pid, started) = tokio::try_join!(of_service("ExecMainPID"), of_service("ExecMainStartTimestamp"))?;
        let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
        Ok(pid.zip(u64::try_from(started).ok()).map(|(pid, started)| Run { pid, started }))
    }
}

/// How long ago a moment of the monotonic clock was.
fn since_then(moment: Duration) -> Option<Duration> {
    let now = Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)).ok()?;
    now.checked_sub(moment)
}

/// Slices come and go with the units in them, and the basic targets are up whenever the manager
/// is: nobody stops those, and starting them does no harm.
fn is_part_of_the_manager(unit: &str) -> bool {
    let (_, kind) = unit.rsplit_once('.').unwrap_or_default();
    kind == "slice" || unit == "basic.target" || unit == "sysinit.target"
}

fn refusal(what: &'static str, error: &zbus::Error) -> ManagerError {
    match error {
        zbus::Error::MethodError(_, text, _) => {
            ManagerError::Refused { what, why: text.clone().unwrap_or_else(|| "no reason given".to_owned()) }
        }
        error => ManagerError::Unreachable(error.to_string()),
    }
}

fn unexpected(what: &'static str, error: &zbus::Error) -> ManagerError {
    ManagerError::Unexpected { what, why: error.to_string() }
}

impl Systemd {
    /// Connects to the manager of the scope, to look after the units that match the patterns (globs
    /// in systemd's own syntax). Follows them from the first request on.
    ///
    /// # Errors
    ///
    /// If no manager can be reached now. A connection lost later is made anew by itself.
    pub async fn connect(scope: Scope, patterns: Vec<String>) -> Result<(Self, Changes), ManagerError> {
        let addresses = Address::of(scope);
        let link = session::connect(&addresses).await?;
        let (requests, requested) = mpsc::unbounded_channel();
        let (changes, told) = mpsc::unbounded_channel();
        let (link_sender, link_receiver) = watch::channel(Some(link.clone()));
        let session =
            Session { addresses, patterns: patterns.clone(), requests: requested, changes, link: link_sender };
        tokio::spawn(session.run(link));
        let systemd = Self {
            journal: Journal::new(scope),
            requests,
            link: link_receiver,
            patterns: watch::Sender::new(patterns),
        };
        Ok((systemd, told))
    }

    fn link(&self) -> Result<Link, ManagerError> {
        self.link.borrow().clone().ok_or_else(|| ManagerError::Unreachable("not connected".to_owned()))
    }

    /// Asks for single properties, all at once: of a whole interface systemd would also have to read
    /// files and control groups that nobody wants to know about, which takes it longer than a start.
    async fn look(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        let link = self.link()?;
        let name = unit.as_str();
        let of_unit = |key| link.property(name, wire::UNIT, key);
        let of_service = |key| link.property(name, wire::SERVICE, key);
        let names = [name.to_owned()];
        let (listed, left, down, binds_to, requires, requisite, result, restart, kind, directory) = tokio::try_join!(
            link.list_names(&names),
            link.moment(name, "ActiveExitTimestampMonotonic"),
            link.moment(name, "InactiveEnterTimestampMonotonic"),
            of_unit("BindsTo"),
            of_unit("Requires"),
            of_unit("Requisite"),
            of_service("Result"),
            of_service("Restart"),
            of_service("Type"),
            of_service("WorkingDirectory"),
        )?;
        let seen = listed.into_iter().next().ok_or_else(|| ManagerError::Unexpected {
            what: "ListUnitsByNames",
            why: "the list is empty".to_owned(),
        })?;
        let restart = RestartPolicy::from(text(&restart));
        let restarts = seen.active == ActiveState::Failed && restart != RestartPolicy::No;
        let is_down = matches!(seen.active, ActiveState::Failed | ActiveState::Inactive);
        let directory = Directory::from(text(&directory));
        let (parents, restart_prevented, up_for, file, run, restarts, since, gone) = tokio::try_join!(
            link.parents([binds_to, requires, requisite]),
            when(restarts, link.restart_prevented(name)),
            when(seen.active.is_up(), link.uptime(name)),
            when(detail.file, link.file(name)),
            when(detail.file || detail.stop, link.invocation(name)),
            when(detail.restarts || seen.auto_restart, link.restarts(name)),
            when(detail.times, link.realtime(name, "StateChangeTimestamp")),
            when(is_down, directory.is_gone(&link, name)),
        )?;
        let stop = if detail.stop { Some(self.stop_evidence(unit, run.as_deref()).await) } else { None };
        Ok(Inspection {
            load: seen.load,
            active: seen.active,
            has_job: seen.job.is_some(),
            up_for: up_for.flatten(),
            fall: left.zip(down).map(|(left, down)| Fall { left, down }),
            down_for: down.filter(|_| is_down).and_then(since_then),
            result: ServiceResult::from(text(&result)),
            restart,
            restart_prevented: restart_prevented.unwrap_or(false),
            oneshot: text(&kind) == "oneshot",
            file: file.flatten(),
            run,
            restarts,
            auto_restart: seen.auto_restart,
            since: since.flatten(),
            working_directory: directory.path,
            directory_gone: gone.unwrap_or(false),
            parents,
            stop,
        })
    }

    async fn stop_evidence(&self, unit: &UnitName, run: Option<&str>) -> StopEvidence {
        match run {
            Some(run) if !run.is_empty() => self.journal.stop_evidence(run).await,
            _ => StopEvidence::Unknown(format!("the service manager does not know the last run of {unit}")),
        }
    }
}

/// `WorkingDirectory=` as systemd tells it.
struct Directory {
    path: Option<PathBuf>,
    /// The unit starts without it too.
    optional: bool,
}

impl From<&str> for Directory {
    fn from(text: &str) -> Self {
        let path = text.trim_start_matches(['!', '-']);
        Self { path: (!path.is_empty()).then(|| PathBuf::from(path)), optional: path != text }
    }
}

impl Directory {
    /// Whether it is definitely gone. A directory that cannot be looked at may be there, and one on a
    /// file system that does not answer is not waited for.
    async fn is_gone(&self, link: &Link, unit: &str) -> Result<bool, ManagerError> {
        let Some(path) = self.path.clone().filter(|path| path.is_absolute() && !self.optional) else {
            return Ok(false);
        };
        let look = tokio::task::spawn_blocking(move || std::fs::metadata(path).map_err(|error| error.kind()));
        if !matches!(timeout(LOOKS_WITHIN, look).await, Ok(Ok(Err(io::ErrorKind::NotFound)))) {
            return Ok(false);
        }
        // In another root it is not for us to see.
        let (root, image) = tokio::try_join!(
            link.property(unit, wire::SERVICE, "RootDirectory"),
            link.property(unit, wire::SERVICE, "RootImage"),
        )?;
        Ok(matches!(text(&root), "" | "/") && text(&image).is_empty())
    }
}

impl ServiceManager for Systemd {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        let patterns = self.patterns.borrow().clone();
        self.link()?.list(&[], &patterns).await
    }

    async fn list_not_up(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        let patterns = self.patterns.borrow().clone();
        let states = ActiveState::ALL.iter().filter(|state| !state.is_up()).map(|state| state.as_str());
        self.link()?.list(&states.collect::<Vec<_>>(), &patterns).await
    }

    fn refresh(&self) {
        // The task ends only after the last handle.
        let _ = self.requests.send(Request::Refresh);
    }

    fn cover(&self, patterns: Vec<String>) {
        self.patterns.send_replace(patterns.clone());
        let _ = self.requests.send(Request::Cover(patterns));
    }

    async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        match timeout(PATIENCE, Box::pin(self.look(unit, detail))).await {
            Ok(result) => result,
            Err(_) => Err(ManagerError::Unreachable("no answer".to_owned())),
        }
    }

    fn start(&self, unit: &UnitName, timeout: Duration) {
        let _ = self.requests.send(Request::Start(unit.clone(), timeout));
    }

    fn restart(&self, unit: &UnitName, timeout: Duration) {
        let _ = self.requests.send(Request::Restart(unit.clone(), timeout));
    }

    async fn up_since(&self, unit: &UnitName) -> Option<SystemTime> {
        // Also of a unit that is up no longer: whoever asks knows that it is.
        self.link().ok()?.realtime(unit.as_str(), "ActiveEnterTimestamp").await.ok()?
    }

    async fn last_error(&self, unit: &UnitName) -> Option<String> {
        let run = self.link().ok()?.last_run(unit.as_str()).await.ok().flatten();
        self.journal.last_line(unit, run).await
    }

    async fn log(&self, unit: &UnitName, wanted: WantedLines) -> Log {
        let run = match self.link() {
            Ok(link) => link.last_run(unit.as_str()).await.ok().flatten(),
            Err(_) => None,
        };
        self.journal.log(unit, run, wanted).await
    }
}

/// The service units in the answer to one of systemd's list calls: what each refresh reads.
///
/// # Errors
///
/// If it is no such answer.
pub fn listed(reply: &Message) -> zbus::Result<Vec<UnitStatus>> {
    wire::statuses(reply)
}

/// What one of systemd's signals says of a unit's state, if that is what it is about.
#[must_use]
pub fn signalled(signal: &Message) -> Option<UnitStatus> {
    match wire::signal(signal) {
        Some(wire::Signal::Changed(status)) => Some(status),
        _ => None,
    }
}

/// A property that is text. What is of another type reads as empty, which becomes unknown, which is
/// never acted on.
fn text(property: &OwnedVariant) -> &str {
    match &**property {
        Variant::Str(text) => text.as_str(),
        _ => "",
    }
}

/// The answer to a question that is only asked sometimes.
async fn when<T>(
    asked: bool,
    question: impl Future<Output = Result<T, ManagerError>>,
) -> Result<Option<T>, ManagerError> {
    if asked { question.await.map(Some) } else { Ok(None) }
}
