//! A connection to systemd: where it may be found, and the questions to it that need no order.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use zbus::{Connection, Message, OwnedVariant};

use super::session::PATIENCE;
use super::wire::{self, Line};
use super::{direct, text};
use crate::core::text::{path as shown, plain};
use crate::core::units::{Parent, Restarts, UnitFile, UnitStatus};
use crate::manager::journal::Run;
use crate::manager::{ManagerError, Scope, fingerprint};

/// How long the manager may take to join a bus that has just been started.
const JOINS_WITHIN: Duration = Duration::from_secs(2);

/// A connection to the manager.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub connection: Connection,
    /// Nobody but the manager is on it, and it is no bus.
    pub private: bool,
}

/// Where the manager may be found.
#[derive(Debug, Clone)]
pub(super) enum Address {
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
            Self::Private(path) | Self::Runtime(path) => write!(f, "{}", shown(path)),
            Self::Session => f.write_str("$DBUS_SESSION_BUS_ADDRESS"),
            Self::System => f.write_str("the system bus"),
        }
    }
}

impl Address {
    /// Where to look for the manager, best first.
    pub fn of(scope: Scope) -> Vec<Self> {
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

    pub async fn connect(&self) -> zbus::Result<Link> {
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
    pub async fn owner(&self) -> zbus::Result<String> {
        let bus = Some("org.freedesktop.DBus");
        let reply =
            self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "GetNameOwner", &wire::SYSTEMD).await?;
        Ok(reply.body().deserialize::<&str>()?.to_owned())
    }

    /// Has the bus send the signals that a match rule describes.
    pub async fn follow(&self, rule: &str) -> zbus::Result<()> {
        let bus = Some("org.freedesktop.DBus");
        self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await.map(drop)
    }

    pub async fn call<B>(&self, what: &'static str, body: &B) -> Result<Message, ManagerError>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        self.connection
            .call_method(Some(wire::SYSTEMD), wire::MANAGER_PATH, Some(wire::MANAGER), what, body)
            .await
            .map_err(|error| refusal(what, &error))
    }

    /// One property of a unit.
    pub async fn property(
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
    pub async fn list(&self, states: &[&str], patterns: &[String]) -> Result<Vec<UnitStatus>, ManagerError> {
        const WHAT: &str = "ListUnitsByPatterns";
        let reply = self.call(WHAT, &(states, patterns)).await?;
        wire::statuses(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    pub async fn list_names(&self, names: &[String]) -> Result<Vec<Line>, ManagerError> {
        const WHAT: &str = "ListUnitsByNames";
        let reply = self.call(WHAT, &names).await?;
        wire::lines(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    /// The states of the units that a start of this one would pull in.
    pub async fn parents(&self, lists: [OwnedVariant; 3]) -> Result<Vec<Parent>, ManagerError> {
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
    pub async fn restart_prevented(&self, unit: &str) -> Result<bool, ManagerError> {
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
    pub async fn moment(&self, unit: &str, key: &'static str) -> Result<Option<Duration>, ManagerError> {
        let moment = self.property(unit, wire::UNIT, key).await?;
        Ok(u64::try_from(moment).ok().filter(|moment| *moment > 0).map(Duration::from_micros))
    }

    /// For how long a unit has been up, by systemd's own timestamp.
    pub async fn uptime(&self, unit: &str) -> Result<Option<Duration>, ManagerError> {
        let since = self.moment(unit, "ActiveEnterTimestampMonotonic").await?;
        Ok(since.and_then(since_then))
    }

    /// How often systemd has restarted a unit, and how long its last run was up.
    pub async fn restarts(&self, unit: &str) -> Result<Restarts, ManagerError> {
        let (count, up, down) = tokio::try_join!(
            self.property(unit, wire::SERVICE, "NRestarts"),
            self.moment(unit, "ActiveEnterTimestampMonotonic"),
            self.moment(unit, "ActiveExitTimestampMonotonic"),
        )?;
        let last_run = down.zip(up).and_then(|(down, up)| down.checked_sub(up));
        Ok(Restarts { count: u32::try_from(count).unwrap_or(0), last_run })
    }

    /// A moment of the time of day; `None` if it never was.
    pub async fn realtime(&self, unit: &str, key: &'static str) -> Result<Option<SystemTime>, ManagerError> {
        let since = self.property(unit, wire::UNIT, key).await?;
        let since = u64::try_from(since).ok().filter(|since| *since > 0);
        Ok(since.map(|since| SystemTime::UNIX_EPOCH + Duration::from_micros(since)))
    }

    /// The id of the unit's last run; empty if it never ran.
    pub async fn invocation(&self, unit: &str) -> Result<String, ManagerError> {
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
    pub async fn file(&self, unit: &str) -> Result<Option<UnitFile>, ManagerError> {
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
    pub async fn last_run(&self, unit: &str) -> Result<Option<Run>, ManagerError> {
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (pid, started) = tokio::try_join!(of_service("ExecMainPID"), of_service("ExecMainStartTimestamp"))?;
        let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
        Ok(pid.zip(u64::try_from(started).ok()).map(|(pid, started)| Run { pid, started }))
    }
}

/// How long ago a moment of the monotonic clock was.
pub(super) fn since_then(moment: Duration) -> Option<Duration> {
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
            ManagerError::Refused { what, why: text.as_deref().map_or_else(|| "no reason given".to_owned(), plain) }
        }
        error => ManagerError::Unreachable(plain(&error.to_string())),
    }
}

fn unexpected(what: &'static str, error: &zbus::Error) -> ManagerError {
    ManagerError::Unexpected { what, why: plain(&error.to_string()) }
}
