//! workerheal's own unit, for installing and uninstalling it.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use zbus::OwnedVariant;

use super::address::Address;
use super::connection::{CALL_TIMEOUT, ManagerConnection};
use super::session;
use super::text;
use super::wire;
use crate::core::units::UnitName;
use crate::manager::journal::Journal;
use crate::manager::{ManagerError, Scope};

/// Maximum time for a question to logind, which is not essential.
const LOGIND_TIMEOUT: Duration = Duration::from_secs(2);

/// A unit of the calling user, and its manager.
#[derive(Debug, Clone)]
pub(crate) struct SelfUnit {
    connection: ManagerConnection,
    name: UnitName,
    scope: Scope,
}

/// The state of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfState {
    /// `active`, `failed`...
    pub active: String,
    /// `running`, `auto-restart`...
    pub sub: String,
    /// `enabled`, `disabled`, `masked`...; empty if there is no file.
    pub file: String,
    /// Its main process.
    pub pid: Option<u32>,
    /// Whether it is about to be started, stopped or restarted.
    pub has_job: bool,
    /// Its status text.
    pub status: String,
}

impl SelfState {
    /// Whether it has failed, and systemd is to start it again after `RestartSec=`.
    pub fn waits_for_restart(&self) -> bool {
        wire::is_auto_restart(&self.sub)
    }
}

impl SelfUnit {
    /// # Errors
    ///
    /// If the manager cannot be reached.
    pub async fn connect(name: UnitName, scope: Scope) -> Result<Self, ManagerError> {
        Ok(Self { connection: session::connect(&Address::of(scope)).await?, name, scope })
    }

    pub async fn state(&self) -> Result<SelfState, ManagerError> {
        let unit = self.name.as_str();
        let (active, sub, file, job, pid, status) = tokio::try_join!(
            self.connection.property(unit, wire::UNIT, "ActiveState"),
            self.connection.property(unit, wire::UNIT, "SubState"),
            self.connection.property(unit, wire::UNIT, "UnitFileState"),
            self.connection.property(unit, wire::UNIT, "Job"),
            self.connection.property(unit, wire::SERVICE, "MainPID"),
            self.connection.property(unit, wire::SERVICE, "StatusText"),
        )?;
        let [active, sub, file, status] = [active, sub, file, status].map(|property| text(&property).to_owned());
        let (has_job, pid) = (wire::number_of_job(&job) != 0, u32::try_from(pid).ok().filter(|pid| *pid > 0));
        Ok(SelfState { active, sub, file, pid, has_job, status })
    }

    /// The program that it runs, if that is gone.
    pub async fn missing_program(&self) -> Result<Option<PathBuf>, ManagerError> {
        let commands = self.connection.commands(self.name.as_str()).await?;
        let programs = commands.into_iter().map(|(program, _)| PathBuf::from(program));
        // Where it cannot be looked at, it may be there. systemd searches for other paths itself.
        Ok(programs.filter(|path| path.is_absolute()).find(|path| matches!(path.try_exists(), Ok(false))))
    }

    pub async fn reload(&self) -> Result<(), ManagerError> {
        self.connection.call("Reload", &()).await.map(drop)
    }

    pub async fn enable(&self) -> Result<(), ManagerError> {
        self.connection.call("EnableUnitFiles", &([self.name.as_str()].as_slice(), false, false)).await.map(drop)
    }

    pub async fn disable(&self) -> Result<(), ManagerError> {
        self.connection.call("DisableUnitFiles", &([self.name.as_str()].as_slice(), false)).await.map(drop)
    }

    /// Starts it, too, if it is down.
    pub async fn restart(&self) -> Result<(), ManagerError> {
        self.job("RestartUnit").await
    }

    pub async fn stop(&self) -> Result<(), ManagerError> {
        self.job("StopUnit").await
    }

    async fn job(&self, call: &'static str) -> Result<(), ManagerError> {
        self.connection.call(call, &(self.name.as_str(), "replace")).await.map(drop)
    }

    /// The cause of its failure; `None` if there is none, or it cannot be found.
    pub async fn last_error(&self) -> Option<String> {
        let search = async {
            let run = self.connection.failed_run(self.name.as_str()).await.ok()??;
            Journal::new(self.scope).what_went_wrong(&[(self.name.clone(), run)]).await.pop()?
        };
        timeout(CALL_TIMEOUT, search).await.ok()?
    }

    /// Whether the user's units continue after logout; `None` if logind does not say.
    pub async fn lingers() -> Option<bool> {
        timeout(LOGIND_TIMEOUT, ask_logind()).await.ok()?.ok()
    }
}

async fn ask_logind() -> zbus::Result<bool> {
    const LOGIND: Option<&str> = Some("org.freedesktop.login1");
    let bus = zbus::connection::Builder::system().build().await?;
    let uid = rustix::process::getuid().as_raw();
    let manager = Some("org.freedesktop.login1.Manager");
    let reply = match bus.call_method(LOGIND, "/org/freedesktop/login1", manager, "GetUser", &uid).await {
        Ok(reply) => reply,
        // logind knows users that linger, logged in or not.
        Err(zbus::Error::MethodError(name, ..)) if name.as_str() == "org.freedesktop.login1.NoSuchUser" => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let user = reply.body();
    let user: zbus::ObjectPath<'_> = user.deserialize()?;
    let key = ("org.freedesktop.login1.User", "Linger");
    let reply = bus.call_method(LOGIND, &user, Some(wire::PROPERTIES), "Get", &key).await?;
    let linger: OwnedVariant = reply.body().deserialize()?;
    bool::try_from(linger)
}

/// The directory of the unit files that an administrator, or the calling user, writes.
pub(crate) fn unit_directory(scope: Scope) -> Option<PathBuf> {
    if scope == Scope::System {
        return Some(PathBuf::from("/etc/systemd/system"));
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("systemd/user"))
}
