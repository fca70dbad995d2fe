//! systemd, of the user or of the system, over D-Bus.
//!
//! [`session`] owns the connection and everything whose order matters; this module has the handle,
//! and the calls that need no order; [`wire`] has the names and the messages.
//!
//! The manager also listens on a private socket, which would save the way through the bus daemon.
//! zbus 6.2 refuses what systemd says there: its signals carry `org.freedesktop.systemd1` as
//! their sender, which is no unique name.

mod session;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use zbus::names::InterfaceName;
use zbus::{Connection, Message, OwnedVariant, Variant};

use super::journal::{Journal, Run};
use super::{Changes, ManagerError, Scope, ServiceManager};
use crate::core::units::{
    ActiveState, Inspection, LoadState, Parent, RestartPolicy, ServiceResult, StopEvidence, UnitName, UnitStatus,
};
use session::{PATIENCE, Request, Session};

/// A handle on systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    journal: Journal,
    requests: mpsc::UnboundedSender<Request>,
    link: watch::Receiver<Option<Link>>,
    patterns: watch::Sender<Vec<String>>,
}

/// A connection to a bus with the manager on it.
#[derive(Debug, Clone)]
struct Link(Connection);

/// A bus that the manager may be on.
#[derive(Debug, Clone)]
enum Address {
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
            Self::Runtime(path) => write!(f, "{}", path.display()),
            Self::Session => f.write_str("$DBUS_SESSION_BUS_ADDRESS"),
            Self::System => f.write_str("the system bus"),
        }
    }
}

impl Address {
    /// Where to look for the manager, best first.
    fn of(scope: Scope) -> Vec<Self> {
        match scope {
            Scope::System => vec![Self::System],
            Scope::User => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
                    || PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())),
                    PathBuf::from,
                );
                let session = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").map(|_| Self::Session);
                [Self::Runtime(runtime.join("bus"))].into_iter().chain(session).collect()
            }
        }
    }

    async fn connect(&self) -> zbus::Result<Link> {
        let builder = match self {
            Self::Runtime(path) => {
                // Connecting to a local socket does not wait: it succeeds or fails at once.
                let stream = std::os::unix::net::UnixStream::connect(path)
                    .map_err(|error| zbus::Error::InputOutput(std::sync::Arc::new(error)))?;
                zbus::connection::Builder::unix_stream(stream)
            }
            Self::Session => zbus::connection::Builder::session(),
            Self::System => zbus::connection::Builder::system(),
        };
        let link = Link(builder.method_timeout(PATIENCE).build().await?);
        // A bus without the manager on it is no way to the manager.
        link.owner().await?;
        Ok(link)
    }
}

impl Link {
    /// The manager's unique name on the bus.
    async fn owner(&self) -> zbus::Result<String> {
        let bus = Some("org.freedesktop.DBus");
        let reply = self.0.call_method(bus, "/org/freedesktop/DBus", bus, "GetNameOwner", &wire::SYSTEMD).await?;
        Ok(reply.body().deserialize::<&str>()?.to_owned())
    }

    async fn call<B>(&self, what: &'static str, body: &B) -> Result<Message, ManagerError>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        self.0
            .call_method(Some(wire::SYSTEMD), wire::MANAGER_PATH, Some(wire::MANAGER), what, body)
            .await
            .map_err(|error| refusal(what, &error))
    }

    /// All properties that a unit has on one interface.
    async fn properties(&self, unit: &UnitName, interface: &'static str) -> Result<Properties, ManagerError> {
        const WHAT: &str = "the properties of a unit";
        let reply = self
            .0
            .call_method(
                Some(wire::SYSTEMD),
                wire::unit_path(unit.as_str()).as_str(),
                Some(wire::PROPERTIES),
                "GetAll",
                &InterfaceName::from_static_str_unchecked(interface),
            )
            .await
            .map_err(|error| refusal(WHAT, &error))?;
        reply.body().deserialize().map(Properties).map_err(|error| unexpected(WHAT, &error))
    }

    async fn list(&self, patterns: &[String]) -> Result<Vec<UnitStatus>, ManagerError> {
        const WHAT: &str = "ListUnitsByPatterns";
        let reply = self.call(WHAT, &(Vec::<&str>::new(), patterns)).await?;
        wire::units(&reply).map(|(units, _)| units).map_err(|error| unexpected(WHAT, &error))
    }

    /// The states of the units that a start of this one would pull in.
    async fn parents(&self, unit: &Properties) -> Result<Vec<Parent>, ManagerError> {
        const WHAT: &str = "ListUnitsByNames";
        let mut names: Vec<String> =
            ["BindsTo", "Requires", "Requisite"].iter().flat_map(|key| unit.strings(key)).collect();
        names.retain(|name| !is_part_of_the_manager(name));
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.call(WHAT, &names).await?;
        let body = reply.body();
        let lines: Vec<wire::ListedUnit<'_>> = body.deserialize().map_err(|error| unexpected(WHAT, &error))?;
        let parent = |line: &wire::ListedUnit<'_>| Parent {
            name: line.0.to_owned(),
            active: ActiveState::from(line.3),
            stopping: line.7 != 0 && line.8 == "stop",
        };
        Ok(lines.iter().map(parent).collect())
    }
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
    /// Connects to the manager of the scope, and follows the units that match the patterns (globs
    /// in systemd's own syntax).
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

    async fn look(&self, unit: &UnitName, trace_stop: bool) -> Result<Inspection, ManagerError> {
        let link = self.link()?;
        let (general, service) =
            tokio::try_join!(link.properties(unit, wire::UNIT), link.properties(unit, wire::SERVICE))?;
        let stop = if trace_stop { Some(self.stop_evidence(unit, &general).await) } else { None };
        let active = ActiveState::from(general.text("ActiveState"));
        let working_directory = service.text("WorkingDirectory").trim_start_matches(['!', '-']);
        Ok(Inspection {
            load: LoadState::from(general.text("LoadState")),
            active,
            has_job: general.0.get("Job").is_some_and(|job| wire::is_a_job(job)),
            up_for: active.is_up().then(|| uptime(&general)).flatten(),
            result: ServiceResult::from(service.text("Result")),
            restart: RestartPolicy::from(service.text("Restart")),
            restart_prevented: service.restart_prevented(),
            oneshot: service.text("Type") == "oneshot",
            enabled: matches!(general.text("UnitFileState"), "enabled" | "enabled-runtime" | "alias"),
            definition: definition(&general),
            working_directory: (!working_directory.is_empty()).then(|| PathBuf::from(working_directory)),
            parents: link.parents(&general).await?,
            stop,
        })
    }

    async fn stop_evidence(&self, unit: &UnitName, properties: &Properties) -> StopEvidence {
        match properties.bytes("InvocationID") {
            Some(id) => self.journal.stop_evidence(&id).await,
            None => StopEvidence::Unknown(format!("the service manager does not know the last run of {unit}")),
        }
    }
}

impl ServiceManager for Systemd {
    async fn list(&self) -> Result<Vec<UnitStatus>, ManagerError> {
        let patterns = self.patterns.borrow().clone();
        self.link()?.list(&patterns).await
    }

    fn refresh(&self) {
        // The task ends only after the last handle.
        let _ = self.requests.send(Request::Refresh);
    }

    fn cover(&self, patterns: Vec<String>) {
        self.patterns.send_replace(patterns.clone());
        let _ = self.requests.send(Request::Cover(patterns));
    }

    async fn inspect(&self, unit: &UnitName, trace_stop: bool) -> Result<Inspection, ManagerError> {
        match timeout(PATIENCE, self.look(unit, trace_stop)).await {
            Ok(result) => result,
            Err(_) => Err(ManagerError::Unreachable("no answer".to_owned())),
        }
    }

    fn start(&self, unit: &UnitName, timeout: Duration) {
        let _ = self.requests.send(Request::Start(unit.clone(), timeout));
    }

    async fn last_error(&self, unit: &UnitName) -> Option<String> {
        let properties = self.link().ok()?.properties(unit, wire::SERVICE).await.ok();
        let run = properties.and_then(|service| {
            let pid = service.number("ExecMainPID").and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)?;
            Some(Run { pid, started: service.number("ExecMainStartTimestamp")? })
        });
        self.journal.last_line(unit, run).await
    }
}

/// The properties of one interface. What is missing or of another type reads as empty, which
/// becomes unknown, which is never acted on.
struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    fn text(&self, key: &str) -> &str {
        match self.0.get(key).map(|value| &**value) {
            Some(Variant::Str(text)) => text.as_str(),
            _ => "",
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.0.get(key).map(|value| &**value) {
            Some(Variant::U64(number)) => Some(*number),
            Some(Variant::U32(number)) => Some(u64::from(*number)),
            _ => None,
        }
    }

    fn strings(&self, key: &str) -> Vec<String> {
        let value = self.0.get(key).and_then(|value| value.try_clone().ok());
        value.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default()
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        let value = self.0.get(key).and_then(|value| value.try_clone().ok())?;
        Vec::<u8>::try_from(value).ok().filter(|bytes| !bytes.is_empty())
    }

    fn integer(&self, key: &str) -> Option<i32> {
        match self.0.get(key).map(|value| &**value) {
            Some(Variant::I32(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether `RestartPreventExitStatus=`, lists of statuses and of signals, has the last end of
    /// the main process.
    fn restart_prevented(&self) -> bool {
        /// `CLD_EXITED` of waitid(2): the code says whether the status is one, or a signal.
        const EXITED: i32 = 1;
        let lists = self.0.get("RestartPreventExitStatus").and_then(|value| value.try_clone().ok());
        let Some((statuses, signals)) = lists.and_then(|value| <(Vec<i32>, Vec<i32>)>::try_from(value).ok()) else {
            return false;
        };
        let (Some(code), Some(status)) = (self.integer("ExecMainCode"), self.integer("ExecMainStatus")) else {
            return false;
        };
        if code == EXITED { statuses.contains(&status) } else { signals.contains(&status) }
    }
}

/// A number that changes when the files that define the unit do: of the paths, the times and the
/// lengths of its file and its drop-ins.
fn definition(unit: &Properties) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut hash = DefaultHasher::new();
    for path in std::iter::once(unit.text("FragmentPath").to_owned()).chain(unit.strings("DropInPaths")) {
        let data = std::fs::metadata(&path).ok();
        let stamp = data.map(|data| (data.ino(), data.mtime(), data.mtime_nsec(), data.len()));
        (path, stamp).hash(&mut hash);
    }
    hash.finish()
}

/// For how long a unit has been up, by systemd's own timestamp.
fn uptime(unit: &Properties) -> Option<Duration> {
    let since = unit.number("ActiveEnterTimestampMonotonic").filter(|since| *since > 0)?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    now.checked_sub(Duration::from_micros(since))
}
