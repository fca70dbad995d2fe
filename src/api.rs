//! The JSON bodies of requests and responses on the daemon's socket.
//!
//! Workers are [`WorkerReport`]s, events are [`Event`]s; the rest is here. The daemon writes these,
//! [`client::daemon`](crate::client::daemon) reads them.
//!
//! [`WorkerReport`]: crate::core::report::WorkerReport
//! [`Event`]: crate::core::event::Event

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::core::explain::Explanation;
use crate::core::explain::times::left;
use crate::core::healer::Timestamp;
use crate::core::last_day::LastDay;
use crate::core::pauses::{Pause, Target};
use crate::core::report::Stage;
use crate::core::selector::{Worker, display_name};
use crate::core::time::{milliseconds, rfc3339};
use crate::core::units::UnitName;
use crate::manager::Scope;

/// Maximum number of units in one `GET /v1/usage`.
pub(crate) const MAX_USAGE_UNITS: usize = 200;

/// `GET /v1/status`: the daemon's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Its uptime, in milliseconds.
    #[serde(rename = "uptime_ms", with = "milliseconds")]
    pub uptime: Option<Duration>,
    /// The service manager.
    pub manager: ManagerStatus,
    /// The registry of sites.
    pub registry: RegistryStatus,
    /// The saved state.
    #[serde(default)]
    pub state: StateStatus,
    /// The path of the configuration.
    pub config: String,
    /// What is wrong with it, so that an earlier one is in force.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config_error: String,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
    /// The pauses in force, the widest first.
    pub pauses: Vec<PauseReport>,
    /// The number of covered workers.
    pub workers: usize,
    /// The number of workers at each stage; stages without workers are left out.
    pub counts: BTreeMap<Stage, usize>,
    /// The last 24 hours in figures.
    #[serde(default)]
    pub last_day: LastDay,
}

/// The status of the service manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// The scope of units: `user` or `system`.
    pub scope: Scope,
    /// Whether it answers.
    pub reachable: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The status of the saved state's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStatus {
    /// Its path.
    pub path: String,
    /// Why it cannot be read, so that nothing is healed, or cannot be written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The status of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Its path.
    pub path: String,
    /// How many sites it has.
    pub sites: usize,
    /// When the content in force was read, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub read: Option<SystemTime>,
    /// Errors of skipped entries, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The error of the file, so that its earlier content stays in force.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseReport {
    /// What is paused.
    pub kind: PauseKind,
    /// The site, or the unit without `.service`; empty for everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Milliseconds until it ends; left out if it lasts until it is resumed.
    #[serde(default, rename = "ends_in_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub ends_in: Option<Duration>,
    /// When it ends, as RFC 3339; the same in every answer unless the wall clock is set.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub ends_at: Option<SystemTime>,
}

/// The kind of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseKind {
    /// All healing.
    Everything,
    /// The workers of a site.
    Site,
    /// One worker.
    Unit,
}

impl PauseReport {
    /// A pause at this moment, `wall` by the wall clock.
    #[must_use]
    pub fn of(pause: &Pause, now: Timestamp, wall: SystemTime) -> Self {
        let (kind, name) = match &pause.target {
            Target::Everything => (PauseKind::Everything, String::new()),
            Target::Site(site) => (PauseKind::Site, site.clone()),
            Target::Unit(unit) => (PauseKind::Unit, unit.short().to_owned()),
        };
        let ends_in = pause.until.map(|until| until.from_now(now));
        Self { kind, name, ends_in, ends_at: ends_in.and_then(|left| wall.checked_add(left)) }
    }

    /// How long it lasts: `for another 29m`, or `until it is resumed`.
    #[must_use]
    pub fn how_long(&self) -> String {
        match self.ends_in {
            Some(time) => format!("for another {}", left(time)),
            None => "until it is resumed".to_owned(),
        }
    }
}

/// `POST /v1/heal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealRequest {
    /// Units, `SITE/WORKER`, `SITE/WORKER@WORKTREE` or sites; empty for everything that is unhealthy.
    pub targets: Vec<String>,
    /// How long a worker has to stay up to count as healed, such as `1s`; default: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prove: Option<String>,
    /// Whether to return only the plan.
    pub dry_run: bool,
}

/// `POST /v1/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// Units, `SITE/WORKER`, `SITE/WORKER@WORKTREE` or sites; empty for everything.
    pub targets: Vec<String>,
    /// How long, such as `30m`; default: until it is resumed.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// `POST /v1/resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumeRequest {
    /// What to resume; empty for everything.
    pub targets: Vec<String>,
}

/// The response to both: the pauses in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The pauses, the widest first.
    pub pauses: Vec<PauseReport>,
    /// Why the pauses are not saved yet, if so: a restart of the daemon would forget them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_saved: Option<String>,
}

impl Paused {
    /// A warning for the user, if any, as a sentence.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let why = self.not_saved.as_ref()?;
        Some(format!("this would be forgotten by a restart of the daemon, as it cannot be written down: {why}"))
    }
}

/// `GET /v1/workers/UNIT/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The explanation; its fields are at the same level as those below.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The last line that the worker has logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
    /// The explanation as text.
    pub text: String,
}

/// Every response that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The error, as one sentence.
    pub error: String,
}

/// `POST /v1/stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopRequest {
    /// Units, `SITE/WORKER`, `SITE/WORKER@WORKTREE` or sites; at least one.
    pub targets: Vec<String>,
}

/// The answer to it. Both lists are always there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// Down, and not healed until they are started.
    pub stopped: Vec<StoppedWorker>,
    /// Still up, each with the reason.
    pub failed: Vec<NotStopped>,
}

/// A worker that was to be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedWorker {
    /// Its site; empty if it has none.
    pub site: String,
    /// What it does there.
    pub worker: String,
    /// The git worktree that it serves, if it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Its unit; in JSON without `.service`.
    pub unit: UnitName,
    /// The unit has no file: it was transient, and is gone now that it is down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Whether its unit is enabled, so that naming its site is enough to have it started again.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// The default of a field that is true if it is left out.
pub(crate) fn yes() -> bool {
    true
}

/// A worker that could not be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStopped {
    /// Which one.
    pub worker: StoppedWorker,
    /// Why, as one line.
    pub error: String,
}

impl StoppedWorker {
    /// The worker of this unit.
    #[must_use]
    pub fn of(unit: &UnitName, worker: &Worker) -> Self {
        Self {
            site: worker.site.clone(),
            worker: worker.name.clone(),
            worktree: worker.worktree.clone(),
            unit: unit.clone(),
            gone: false,
            enabled: true,
        }
    }

    /// `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or the worker alone where there is no site.
    #[must_use]
    pub fn name(&self) -> String {
        display_name(&self.site, &self.worker, self.worktree.as_deref())
    }
}
