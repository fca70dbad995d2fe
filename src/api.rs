//! What is said over the daemon's socket: the bodies of requests and answers, as JSON.
//!
//! Workers are [`WorkerReport`]s, events are [`Event`]s; the rest is here. The daemon writes these,
//! [`client::daemon`](crate::client::daemon) reads them, and both stand on this one definition.
//!
//! [`WorkerReport`]: crate::core::report::WorkerReport
//! [`Event`]: crate::core::event::Event

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::core::event::{milliseconds, rfc3339};
use crate::core::explain::Explanation;
use crate::core::explain::times::left;
use crate::core::healer::Timestamp;
use crate::core::pauses::{Pause, Target};
use crate::core::report::Stage;
use crate::manager::Scope;

/// `GET /v1/status`: how the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How long it has been running, in milliseconds.
    #[serde(rename = "uptime_ms", with = "milliseconds")]
    pub uptime: Option<Duration>,
    /// The service manager.
    pub manager: ManagerStatus,
    /// The registry of sites.
    pub registry: RegistryStatus,
    /// What has to survive a restart.
    #[serde(default)]
    pub state: StateStatus,
    /// The configuration's path.
    pub config: String,
    /// Everything was stopped on purpose.
    pub stop_marker: bool,
    /// What is paused, the widest first.
    pub pauses: Vec<PauseReport>,
    /// Covered workers.
    pub workers: usize,
    /// How many of them are at each stage; those with none are left out.
    pub counts: BTreeMap<Stage, usize>,
}

/// The service manager, as the daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerStatus {
    /// Whose units: `user` or `system`.
    pub scope: Scope,
    /// Whether it answers.
    pub reachable: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The file of what has to survive a restart, as the daemon knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStatus {
    /// Its path.
    pub path: String,
    /// Why it cannot be read, so that nothing is healed, or not be written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// The registry, as the daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Its path.
    pub path: String,
    /// How many sites it has.
    pub sites: usize,
    /// When the content in force was read, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub read: Option<SystemTime>,
    /// What is wrong with entries that are skipped, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What is wrong with the file, so that an earlier content is in force.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseReport {
    /// Of what kind that is.
    pub kind: PauseKind,
    /// Which site, or which unit, without `.service`; empty for everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Milliseconds until it ends by itself; left out if it has to be ended by hand.
    #[serde(default, rename = "ends_in_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub ends_in: Option<Duration>,
}

/// What a pause is about.
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
    /// A pause as it is at this moment.
    #[must_use]
    pub fn of(pause: &Pause, now: Timestamp) -> Self {
        let (kind, name) = match &pause.target {
            Target::Everything => (PauseKind::Everything, String::new()),
            Target::Site(site) => (PauseKind::Site, site.clone()),
            Target::Unit(unit) => (PauseKind::Unit, unit.short().to_owned()),
        };
        Self { kind, name, ends_in: pause.until.map(|until| until.from_now(now)) }
    }

    /// How long it holds: `for another 29m`, or `until it is resumed`.
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
    /// Units, `SITE/WORKER`, `SITE/WORKER@WORKTREE` or sites; none is everything that is unhealthy.
    pub targets: Vec<String>,
    /// How long a worker has to stay up to count as healed, such as `1s`; else as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prove: Option<String>,
    /// Only answer the plan.
    pub dry_run: bool,
}

/// `POST /v1/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PauseRequest {
    /// Units, `SITE/WORKER`, `SITE/WORKER@WORKTREE` or sites; none is everything.
    pub targets: Vec<String>,
    /// For how long, such as `30m`; else until it is resumed.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// `POST /v1/resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumeRequest {
    /// What to resume; none is everything.
    pub targets: Vec<String>,
}

/// The answer to both: what is paused now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The widest first.
    pub pauses: Vec<PauseReport>,
    /// Why this is in force but not written down yet, if so: a restart of the daemon would forget it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_saved: Option<String>,
}

impl Paused {
    /// What its user has to know, if anything, as a sentence.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let why = self.not_saved.as_ref()?;
        Some(format!("this would be forgotten by a restart of the daemon, as it cannot be written down: {why}"))
    }
}

/// `GET /v1/workers/UNIT/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The explanation, its parts beside those below.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The last line that the worker has logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
    /// All of it as a text.
    pub text: String,
}

/// Every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, as one sentence.
    pub error: String,
}
