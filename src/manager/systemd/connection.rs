//! A connection to systemd, and the calls whose order does not matter.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zbus::{Connection, Message, OwnedVariant, Variant, fdo};

use super::wire::{self, Line};
use super::{FILE_TIMEOUT, flag, names, text, when};
use crate::core::selector::Aliases;
use crate::core::text::plain;
use crate::core::units::{ActiveState, Restarts, ServiceResult, Transition, UnitFile, UnitName, UnitStatus};
use crate::manager::journal::{FailedRun, Run, RunCommand};
use crate::manager::{ManagerError, directory, fingerprint};

/// How long connecting, or the answer to one call, may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// A connection to the manager.
#[derive(Debug, Clone)]
pub(super) struct ManagerConnection {
    pub bus: Connection,
    /// Whether it is the manager's private socket, not a bus.
    pub private: bool,
}

impl ManagerConnection {
    /// Checks that messages get through in both directions. If the manager does not answer as expected on its private
    /// socket, the bus is used.
    pub async fn answers(&self) -> zbus::Result<()> {
        let peer = Some("org.freedesktop.DBus.Peer");
        self.bus.call_method(None::<&str>, wire::MANAGER_PATH, peer, "Ping", &()).await.map(drop)
    }

    /// The manager's unique name on the bus.
    pub async fn owner(&self) -> zbus::Result<String> {
        let bus = Some("org.freedesktop.DBus");
        let reply = self.bus.call_method(bus, "/org/freedesktop/DBus", bus, "GetNameOwner", &wire::SYSTEMD).await?;
        Ok(reply.body().deserialize::<&str>()?.to_owned())
    }

    /// Adds a match rule on the bus.
    pub async fn follow(&self, rule: &str) -> zbus::Result<()> {
        let bus = Some("org.freedesktop.DBus");
        self.bus.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await.map(drop)
    }

    pub async fn call<B>(&self, what: &'static str, body: &B) -> Result<Message, ManagerError>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        self.bus
            .call_method(Some(wire::SYSTEMD), wire::MANAGER_PATH, Some(wire::MANAGER), what, body)
            .await
            .map_err(|error| refusal(what, &error))
    }

    /// When the manager began, in microseconds since 1970. Re-executing itself does not count.
    pub async fn began(&self) -> Result<u64, ManagerError> {
        const KEY: &str = "UserspaceTimestamp";
        let reply = self
            .bus
            .call_method(Some(wire::SYSTEMD), wire::MANAGER_PATH, Some(wire::PROPERTIES), "Get", &(wire::MANAGER, KEY))
            .await
            .map_err(|error| refusal(KEY, &error))?;
        let began: OwnedVariant = reply.body().deserialize().map_err(|error| unexpected(KEY, &error))?;
        u64::try_from(began).map_err(|error| unexpected(KEY, &error))
    }

    /// One property of a unit.
    pub async fn property(
        &self,
        unit: &str,
        interface: &'static str,
        key: &'static str,
    ) -> Result<OwnedVariant, ManagerError> {
        let reply = self
            .bus
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

    /// The units that match the patterns, in any state.
    pub async fn list(&self, patterns: &[String]) -> Result<Vec<UnitStatus>, ManagerError> {
        const WHAT: &str = "ListUnitsByPatterns";
        let reply = self.call(WHAT, &(Vec::<&str>::new(), patterns)).await?;
        wire::statuses(&reply).map(|statuses| statuses.units).map_err(|error| unexpected(WHAT, &error))
    }

    /// Services with a failed socket.
    pub async fn failed_sockets(&self) -> Result<Vec<UnitName>, ManagerError> {
        const WHAT: &str = "ListUnitsByPatterns";
        let reply = self.call(WHAT, &(vec!["failed"], vec!["*.socket"])).await?;
        let lines = wire::lines(&reply).map_err(|error| unexpected(WHAT, &error))?;
        let mut services = Vec::new();
        for line in lines {
            let triggers = names(self.property(&line.name, wire::UNIT, "Triggers").await?);
            services.extend(triggers.into_iter().filter_map(|name| UnitName::parse(&name).ok()));
        }
        Ok(services)
    }

    pub async fn list_names(&self, names: &[String]) -> Result<Vec<Line>, ManagerError> {
        const WHAT: &str = "ListUnitsByNames";
        let reply = self.call(WHAT, &names).await?;
        wire::lines(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    /// The names of the unit files that match the patterns.
    pub async fn unit_files(&self, patterns: &[String]) -> Result<Vec<String>, ManagerError> {
        const WHAT: &str = "ListUnitFilesByPatterns";
        let reply = self.call(WHAT, &(Vec::<&str>::new(), patterns)).await?;
        wire::unit_files(&reply).map_err(|error| unexpected(WHAT, &error))
    }

    /// Units with aliases that match the patterns. (Only the files show them: a list of units uses their own names.)
    pub async fn aliases(&self, patterns: &[String]) -> Result<Aliases, ManagerError> {
        let names = wire::possible_aliases(self.unit_files(patterns).await?);
        if names.is_empty() {
            return Ok(Aliases::new());
        }
        Ok(wire::aliases(&names, &self.list_names(&names).await?))
    }

    /// One property of a unit, `None` if this version of systemd does not have it.
    pub async fn property_if_known(
        &self,
        unit: &str,
        interface: &'static str,
        key: &'static str,
    ) -> Result<Option<OwnedVariant>, ManagerError> {
        match self.property(unit, interface, key).await {
            Ok(value) => Ok(Some(value)),
            Err(ManagerError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The last exit of the main process, if `RestartPreventExitStatus=`, lists of statuses and of signals, includes
    /// it.
    pub async fn restart_prevented(&self, unit: &str) -> Result<Option<String>, ManagerError> {
        /// `CLD_EXITED` of waitid(2): whether the status is an exit status or a signal.
        const EXITED: i32 = 1;
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (lists, code, status) = tokio::try_join!(
            of_service("RestartPreventExitStatus"),
            of_service("ExecMainCode"),
            of_service("ExecMainStatus")
        )?;
        let (statuses, signals) = <(Vec<i32>, Vec<i32>)>::try_from(lists).unwrap_or_default();
        let (Ok(code), Ok(status)) = (i32::try_from(code), i32::try_from(status)) else { return Ok(None) };
        Ok(match code {
            EXITED if statuses.contains(&status) => Some(format!("status {status}")),
            code if code > EXITED && signals.contains(&status) => Some(format!("signal {status}")),
            _ => None,
        })
    }

    /// The duration and the limit of the start or stop that is under way. Each of its steps (`ExecStartPre=`, the main
    /// process, `ExecStartPost=`; SIGTERM, SIGKILL, `ExecStopPost=`) may take as long as the unit's setting allows.
    pub async fn transition(&self, unit: &str, active: ActiveState) -> Result<Option<Transition>, ManagerError> {
        const STEPS: u32 = 3;
        let key = if active == ActiveState::Activating { "TimeoutStartUSec" } else { "TimeoutStopUSec" };
        let (since, timeout, job_timeout) = tokio::try_join!(
            self.moment(unit, "StateChangeTimestampMonotonic"),
            self.property(unit, wire::SERVICE, key),
            self.property(unit, wire::UNIT, "JobTimeoutUSec"),
        )?;
        let limit = |value: OwnedVariant| {
            let limit = u64::try_from(value).ok().filter(|limit| *limit > 0 && *limit != u64::MAX);
            limit.map(Duration::from_micros)
        };
        let steps = limit(timeout).map(|timeout| timeout.saturating_mul(STEPS));
        let job = limit(job_timeout).filter(|_| active == ActiveState::Activating);
        let lasts = since.and_then(since_then);
        // Without its job the start goes on, and systemd ends it by the limit of its steps, if there is one.
        Ok(lasts.map(|lasts| Transition { lasts, limit: steps.or(job) }))
    }

    /// Whether the unit can be loaded again after it was unloaded: it is not transient, and its file exists.
    pub async fn can_be_loaded_again(&self, unit: &str) -> Result<bool, ManagerError> {
        let (transient, fragment) = tokio::try_join!(
            self.property(unit, wire::UNIT, "Transient"),
            self.property(unit, wire::UNIT, "FragmentPath"),
        )?;
        let fragment = text(&fragment);
        Ok(!flag(&transient) && !fragment.is_empty() && std::path::Path::new(fragment).exists())
    }

    /// A monotonic timestamp; `None` if there is none.
    pub async fn moment(&self, unit: &str, key: &'static str) -> Result<Option<Duration>, ManagerError> {
        let moment = self.property(unit, wire::UNIT, key).await?;
        Ok(u64::try_from(moment).ok().filter(|moment| *moment > 0).map(Duration::from_micros))
    }

    /// When the last start of a unit that is down was skipped because a condition (`Condition…=`) was not met. The job of
    /// such a start is done. For one that has not failed, an assertion (`Assert…=`) counts too.
    pub async fn skipped(&self, unit: &str, active: ActiveState) -> Result<Option<Duration>, ManagerError> {
        let unmet = async |result, at| {
            let (met, checked) = tokio::try_join!(self.property(unit, wire::UNIT, result), self.moment(unit, at))?;
            Ok(checked.filter(|_| !flag(&met)))
        };
        let (skipped, refused) = tokio::try_join!(
            unmet("ConditionResult", "ConditionTimestampMonotonic"),
            when(active == ActiveState::Inactive, unmet("AssertResult", "AssertTimestampMonotonic")),
        )?;
        Ok(skipped.or(refused.flatten()))
    }

    /// The uptime of a unit, by systemd's own timestamp.
    pub async fn uptime(&self, unit: &str) -> Result<Option<Duration>, ManagerError> {
        let since = self.moment(unit, "ActiveEnterTimestampMonotonic").await?;
        Ok(since.and_then(since_then))
    }

    /// How often systemd has restarted a unit, and how long its last run was up.
    pub async fn restarts(&self, unit: &str) -> Result<Restarts, ManagerError> {
        let (count, status, delay, up, down) = tokio::try_join!(
            self.property(unit, wire::SERVICE, "NRestarts"),
            self.property(unit, wire::SERVICE, "ExecMainStatus"),
            self.property(unit, wire::SERVICE, "RestartUSec"),
            self.moment(unit, "ActiveEnterTimestampMonotonic"),
            self.moment(unit, "ActiveExitTimestampMonotonic"),
        )?;
        let last_run = down.zip(up).and_then(|(down, up)| down.checked_sub(up));
        let (count, status) = (u32::try_from(count).unwrap_or(0), i32::try_from(status).unwrap_or(0));
        let delay = u64::try_from(delay).ok().filter(|delay| *delay < u64::MAX).map(Duration::from_micros);
        Ok(Restarts { count, last_run, delay, status })
    }

    /// A wall clock timestamp; `None` if there is none.
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

    /// The unit files: whether one enables the unit, whether something else decides when it runs, and a hash of its
    /// file, its drop-ins, and the source of a generated file. `None` if the unit is masked, which hides its files.
    /// Only of one that `never_ran` it matters whether what it is enabled for is up.
    pub async fn file(&self, unit: &str, never_ran: bool) -> Result<Option<UnitFile>, ManagerError> {
        let of_unit = |key| self.property(unit, wire::UNIT, key);
        let (state, fragment, drop_ins, source, triggers, condition, checked) = tokio::try_join!(
            of_unit("UnitFileState"),
            of_unit("FragmentPath"),
            of_unit("DropInPaths"),
            of_unit("SourcePath"),
            of_unit("TriggeredBy"),
            of_unit("ConditionResult"),
            self.moment(unit, "ConditionTimestampMonotonic"),
        )?;
        if matches!(text(&state), "masked" | "masked-runtime") {
            return Ok(None);
        }
        let drop_ins = Vec::<String>::try_from(drop_ins).unwrap_or_default();
        let main = [text(&fragment), text(&source)].into_iter().filter(|path| !path.is_empty());
        let files: Vec<PathBuf> = main.chain(drop_ins.iter().map(String::as_str)).map(PathBuf::from).collect();
        let read = spawn_blocking(move || fingerprint::of(files.iter().map(PathBuf::as_path)));
        let definition = match timeout(FILE_TIMEOUT, read).await {
            Ok(Ok(number)) => number,
            // Without a kind, no change is detected.
            _ => 0,
        };
        let enabled = matches!(text(&state), "enabled" | "enabled-runtime" | "alias");
        let triggered = Vec::<String>::try_from(triggers).is_ok_and(|triggers| !triggers.is_empty());
        let unwanted = checked.is_some() && !bool::try_from(condition).unwrap_or(true);
        let waits_with_targets = enabled && never_ran && self.waits_with_targets(unit).await?;
        Ok(Some(UnitFile { enabled, on_demand: triggered || unwanted, waits_with_targets, definition }))
    }

    /// Whether no unit that it is enabled for is up or about to be. systemd may not have loaded them.
    async fn waits_with_targets(&self, unit: &str) -> Result<bool, ManagerError> {
        let (wanted_by, required_by, upheld_by) = tokio::try_join!(
            self.property(unit, wire::UNIT, "WantedBy"),
            self.property(unit, wire::UNIT, "RequiredBy"),
            self.property_if_known(unit, wire::UNIT, "UpheldBy"),
        )?;
        let targets: Vec<String> = [wanted_by, required_by].into_iter().chain(upheld_by).flat_map(names).collect();
        let is_idle = |line: &Line| line.active.is_down() && !line.is_starting();
        Ok(targets.is_empty() || self.list_names(&targets).await?.iter().all(is_idle))
    }

    /// The program and the arguments of each `ExecStart=` of a unit. systemd cannot send a command line with bytes that
    /// are not UTF-8, and refuses the property: then there are none.
    pub async fn commands(&self, unit: &str) -> Result<Vec<(String, Vec<String>)>, ManagerError> {
        /// `ExecStart` as in org.freedesktop.systemd1(5): path, arguments, whether failure is ignored, begin and end by
        /// two clocks, process, code and status.
        type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
        let commands = self.property_if_known(unit, wire::SERVICE, "ExecStart").await?;
        let commands = commands.and_then(|commands| Vec::<Command>::try_from(commands).ok()).unwrap_or_default();
        Ok(commands.into_iter().map(|command| (command.0, command.1)).collect())
    }

    /// The directory in a container of a unit that runs `podman exec`.
    pub async fn container_directory(&self, unit: &str) -> Result<Option<PathBuf>, ManagerError> {
        let commands = self.commands(unit).await?;
        Ok(commands.iter().find_map(|(_, arguments)| directory::of_container_command(arguments)))
    }

    /// The failed run of a unit; `None` if it has ended cleanly, or is up and not because systemd has restarted it.
    pub async fn failed_run(&self, unit: &str) -> Result<Option<FailedRun>, ManagerError> {
        /// `CLD_EXITED` of waitid(2).
        const EXITED: i32 = 1;
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (active, result, restarts, invocation) = tokio::try_join!(
            self.property(unit, wire::UNIT, "ActiveState"),
            of_service("Result"),
            of_service("NRestarts"),
            self.invocation(unit),
        )?;
        let (active, result) = (ActiveState::from(text(&active)), ServiceResult::from(text(&result)));
        let is_over = result != ServiceResult::Success;
        let restarts = u32::try_from(restarts).unwrap_or(0);
        let earlier = match active {
            ActiveState::Failed => 0,
            // Waiting for a restart, or being cleaned up.
            ActiveState::Activating | ActiveState::Deactivating if is_over => 0,
            // Whoever starts it.
            ActiveState::Activating => restarts.max(1),
            ActiveState::Deactivating if restarts > 0 => restarts,
            up if up.is_up() && restarts > 0 => restarts,
            _ => return Ok(None),
        };
        let (main, code, status) =
            tokio::try_join!(of_service("ExecMainPID"), of_service("ExecMainCode"), of_service("ExecMainStatus"),)?;
        let main = u32::try_from(main).ok().filter(|pid| *pid > 0);
        let main_was_clean = i32::try_from(code).is_ok_and(|code| code == EXITED) && i32::try_from(status) == Ok(0);
        let (condition, pre, start, post, reload, stop, stop_post) = tokio::join!(
            of_service("ExecCondition"),
            of_service("ExecStartPre"),
            of_service("ExecStart"),
            of_service("ExecStartPost"),
            of_service("ExecReload"),
            of_service("ExecStop"),
            of_service("ExecStopPost"),
        );
        // Not every release has all of them.
        let completion = post.iter().flat_map(commands).collect();
        let work = [condition, pre, start, post].into_iter().flatten().flat_map(|list| commands(&list)).collect();
        let stop = [stop, stop_post].into_iter().flatten().flat_map(|list| commands(&list)).collect();
        let reload = reload.iter().flat_map(commands).collect();
        Ok(Some(FailedRun { invocation, earlier, result, main, main_was_clean, work, completion, stop, reload }))
    }

    /// The last run of the unit's main process, if there was one.
    pub async fn last_run(&self, unit: &str) -> Result<Option<Run>, ManagerError> {
        let of_service = |key| self.property(unit, wire::SERVICE, key);
        let (pid, started) = tokio::try_join!(of_service("ExecMainPID"), of_service("ExecMainStartTimestamp"))?;
        let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0);
        Ok(pid.zip(u64::try_from(started).ok()).map(|(pid, started)| Run { pid, started }))
    }
}

/// Commands of a list that were run. Each has its path, arguments, whether failure is ignored, begin and end by two
/// clocks each, process id, and how it ended.
fn commands(property: &OwnedVariant) -> Vec<RunCommand> {
    let Variant::Array(list) = &**property else { return Vec::new() };
    let command = |item: &Variant<'_>| {
        let Variant::Structure(fields) = item else { return None };
        match fields.fields() {
            [_, _, _, Variant::U64(begun), _, Variant::U64(ended), _, Variant::U32(pid), ..] if *pid > 0 => {
                Some(RunCommand { pid: *pid, begun: *begun, ended: *ended })
            }
            _ => None,
        }
    };
    list.iter().filter_map(command).collect()
}

/// The time since a monotonic timestamp.
pub(super) fn since_then(moment: Duration) -> Option<Duration> {
    monotonic().checked_sub(moment)
}

/// The current monotonic time, which is the manager's clock too.
pub(super) fn monotonic() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic)).unwrap_or_default()
}

fn refusal(what: &'static str, error: &zbus::Error) -> ManagerError {
    match error {
        zbus::Error::MethodError(_, text, _) => {
            ManagerError::Refused { what, why: text.as_deref().map_or_else(|| "no reason given".to_owned(), plain) }
        }
        // D-Bus's own errors have types; some of systemd's use them too.
        zbus::Error::FDO(error) => match &**error {
            fdo::Error::UnknownProperty(why)
            | fdo::Error::UnknownInterface(why)
            | fdo::Error::UnknownMethod(why)
            | fdo::Error::UnknownObject(why)
            | fdo::Error::InvalidArgs(why)
            | fdo::Error::NotSupported(why)
            | fdo::Error::AccessDenied(why)
            | fdo::Error::FileNotFound(why)
            | fdo::Error::Failed(why) => ManagerError::Refused { what, why: plain(why) },
            error => ManagerError::Unreachable(plain(&error.to_string())),
        },
        error => ManagerError::Unreachable(plain(&error.to_string())),
    }
}

fn unexpected(what: &'static str, error: &zbus::Error) -> ManagerError {
    ManagerError::Unexpected { what, why: plain(&error.to_string()) }
}
