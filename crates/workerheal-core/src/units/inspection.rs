//! The result of inspecting a unit.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{ActiveState, LoadState, Parent, RestartPolicy, ServiceResult, StoppedGroup, TriggerUnit};

/// Evidence of why a unit is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopEvidence {
    /// The stop that ended this run was requested.
    Requested,
    /// The run ended by itself.
    NotRequested,
    /// There was no run: the last requested start ended because a unit that this one needs did not come up (job result
    /// `dependency`).
    KeptFromStarting,
    /// Unknown; says why.
    Unknown(String),
}

/// When a unit went down, by the manager's monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivation {
    /// When it ceased to be up (`ActiveExitTimestampMonotonic`).
    pub left: Duration,
    /// When it was down (`InactiveEnterTimestampMonotonic`).
    pub down: Duration,
}

impl Deactivation {
    /// The end of the run that began then: of a run that ended while it was starting, the manager says when an earlier
    /// one ceased to be up.
    #[must_use]
    pub fn of_run(self, began: Option<Duration>) -> Self {
        if began.is_some_and(|began| began > self.left) { Self { left: self.down, ..self } } else { self }
    }

    /// Whether it went down in an instant. A requested stop takes time: the unit is `deactivating` in between.
    #[must_use]
    pub fn was_sudden(self) -> bool {
        self.left == self.down
    }
}

/// How long a start or a stop has been under way, and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The time since the unit began to start or to stop.
    pub lasts: Duration,
    /// The maximum that the unit's settings allow (`TimeoutStartSec=`, `TimeoutStopSec=`, or else `JobTimeoutSec=`);
    /// `None` is unlimited.
    pub limit: Option<Duration>,
}

/// The unit files of a unit. systemd searches directories for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// Whether `UnitFileState` is one of an enabled unit.
    pub enabled: bool,
    /// Whether something else decides when it runs: a timer, path or socket (`TriggeredBy=`), or a `Condition...=` that
    /// does not hold.
    pub on_demand: bool,
    /// Whether it never ran, and no unit that it is enabled for is up (`WantedBy=`, `RequiredBy=`, `UpheldBy=`): it waits
    /// with the target of a project, for example.
    #[serde(default)]
    pub waits_with_targets: bool,
    /// A hash of the files that define the unit: see [`is_another_definition`].
    pub definition: u64,
}

/// Whether two hashes stand for different definitions of a unit. Their upper 16 bits identify the kind of hash. Hashes
/// of different kinds (an earlier version used file times) cannot be compared, so that an upgrade does not count as a
/// change.
#[must_use]
pub fn is_another_definition(then: u64, now: u64) -> bool {
    then != now && then >> 48 == now >> 48
}

/// Automatic restarts by the manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// Automatic restarts since a client last started it (`NRestarts`).
    pub count: u32,
    /// The uptime of its last run; `None` if it never came up.
    pub last_run: Option<Duration>,
    /// How long it waits before it is restarted (`RestartSec=`).
    pub delay: Option<Duration>,
    /// How the last run ended, while it waits for the next: the exit status, or the number of the signal
    /// (`ExecMainStatus`); 0 is no error.
    pub status: i32,
}

/// Whether a unit has run again since its last run was `then`, as far as both are known. (The manager forgets the run
/// of a unit that it unloads.)
#[must_use]
pub fn has_run_since(then: Option<&str>, now: Option<&str>) -> bool {
    then.zip(now).is_some_and(|(then, now)| !now.is_empty() && then != now)
}

/// How much of a unit's state an inspection shows. Nothing may be concluded from the rest of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// All that a decision about a start depends on.
    #[default]
    Decision,
    /// Whether it is up, for how long, when it began, and whether it has to give way: a job, conflicts, stopped groups.
    Proof,
    /// Whether it is up, and for how long.
    Uptime,
}

/// What an inspection should find out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Detail {
    /// How much of the unit's state. A manager may always show all of it.
    pub depth: Depth,
    /// Whether a request ended the last run, which costs a search in the journal.
    pub stop: bool,
    /// The unit files, which cost the manager a search in directories; and the last run.
    pub file: bool,
    /// The automatic restarts; always included for a unit that waits for a restart.
    pub restarts: bool,
    /// Since when the unit has been in its state, for display.
    pub times: bool,
}

impl Detail {
    /// All details.
    pub const ALL: Self = Self { depth: Depth::Decision, stop: true, file: true, restarts: true, times: true };

    /// Nothing but the unit's state, so much of it.
    #[must_use]
    pub fn of(depth: Depth) -> Self {
        Self { depth, ..Self::default() }
    }
}

/// Where a unit works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Its directory: `WorkingDirectory=`, or that of the command in a container. If it is the directory of a site, it
    /// is spelled as in the registry.
    pub directory: Option<PathBuf>,
    /// Whether the unit cannot start without that directory.
    pub required: bool,
    /// Whether that directory is required and definitely missing (`ENOENT`, `ENOTDIR`).
    pub gone: bool,
    /// Whether the unit is a container of its own (a quadlet), and therefore no worker.
    pub container: bool,
}

/// The result of inspecting one unit, right before a decision about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own of the manager's")]
pub struct Inspection {
    /// Whether the unit file could be read.
    pub load: LoadState,
    /// Where it is in its life cycle.
    pub active: ActiveState,
    /// Whether a job is queued or running for it.
    pub has_job: bool,
    /// Its uptime by the manager's clock; `None` if it is not up.
    pub up_for: Option<Duration>,
    /// The time of the inspection, by the manager's monotonic clock.
    pub at: Duration,
    /// When it last went down; `None` if it never was up.
    pub deactivation: Option<Deactivation>,
    /// How long it has been down; `None` if it is not.
    pub down_for: Option<Duration>,
    /// When its last start was skipped, by the manager's monotonic clock, as a condition of the unit was not met
    /// (`Condition…=`, `ExecCondition=`, and of a worker that has not failed `Assert…=`). `None` if it was not skipped, or
    /// if the worker is not down.
    pub skipped: Option<Duration>,
    /// When it last began to start (`InactiveExitTimestampMonotonic`), by the manager's monotonic clock.
    pub began: Option<Duration>,
    /// The start or stop that is under way.
    pub transition: Option<Transition>,
    /// How its last run ended.
    pub result: ServiceResult,
    /// `Restart=`.
    pub restart: RestartPolicy,
    /// The last exit status or signal, if `RestartPreventExitStatus=` lists it: `status 78`.
    pub restart_prevented: Option<String>,
    /// Whether it is a oneshot (`Type=oneshot`), whose work is done once it has ended.
    pub oneshot: bool,
    /// Its unit files; `None` if not requested, or if a mask hides them.
    pub file: Option<UnitFile>,
    /// The manager's id of its last run (`InvocationID`), empty if there is none; `None` if not requested.
    pub run: Option<String>,
    /// Its automatic restarts, if it waits for one, if its last start was skipped, or if they were requested.
    pub restarts: Option<Restarts>,
    /// Whether it died and waits for an automatic restart.
    pub auto_restart: bool,
    /// Since when it has been in its state; `None` if not requested.
    pub since: Option<SystemTime>,
    /// Its directory: `WorkingDirectory=`, or that of the command in a container.
    pub working_directory: Option<PathBuf>,
    /// Whether that directory is required and definitely missing (`ENOENT`, `ENOTDIR`).
    pub directory_gone: bool,
    /// Whether the unit is a container of its own (a quadlet), and therefore no worker.
    pub container: bool,
    /// Units that it needs, and that a start would also start.
    pub parents: Vec<Parent>,
    /// Further units that are down and that a start would also start (`Wants=`, `Upholds=`).
    pub pulls_in: Vec<String>,
    /// Units that are up and that a start would stop (`Conflicts=`, in either direction).
    pub conflicts: Vec<String>,
    /// The unit whose start stopped it, as the two conflict, if that is known and that unit is still up.
    pub displaced_by: Option<String>,
    /// Whether it conflicts with some unit, so that a start could stop another unit.
    pub has_conflicts: bool,
    /// Groups that it is in, and that were stopped or are being stopped.
    pub stopped_groups: Vec<StoppedGroup>,
    /// Timers, paths and sockets that start it (`TriggeredBy=`).
    pub triggers: Vec<TriggerUnit>,
    /// Whether its failure can be cleared without losing the unit: a transient unit, or one whose file is gone, would
    /// be unloaded and could not be loaded again.
    pub clearable: bool,
    /// Whether a request ended its last run; `None` if not requested.
    pub stop: Option<StopEvidence>,
    /// Messages of a manager that has its own terms (launchd), for display.
    pub said: Option<Box<Said>>,
}

/// What the manager says about a unit in its own terms, for explanations. No decision depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its words, shown in place of systemd's properties.
    pub evidence: String,
    /// What is wrong with the unit, if systemd has no equivalent.
    pub finding: Option<String>,
    /// What starts the unit, if that is not workerheal.
    pub left_to: Option<String>,
}

impl Inspection {
    /// What it shows of the unit's location.
    #[must_use]
    pub fn location(&self) -> Location {
        Location {
            directory: self.working_directory.clone(),
            required: self.working_directory.is_some(),
            gone: self.directory_gone,
            container: self.container,
        }
    }

    /// The group that was stopped since the unit last began to start, if any.
    #[must_use]
    pub fn stopped_group(&self) -> Option<&str> {
        let since = |group: &&StoppedGroup| match (group.left, self.began) {
            (None, _) => true,
            (Some(left), Some(began)) => left >= began,
            // It has not run since the manager began, and waits with its group.
            (Some(_), None) => true,
        };
        self.stopped_groups.iter().find(since).map(|group| group.name.as_str())
    }

    /// Its triggers that have failed, by name.
    pub fn failed_triggers(&self) -> impl Iterator<Item = &str> {
        self.triggers.iter().filter(|it| it.active == ActiveState::Failed).map(|trigger| trigger.name.as_str())
    }

    /// Those of them that are sockets: its clients cannot reach it.
    pub fn failed_sockets(&self) -> impl Iterator<Item = &str> {
        self.failed_triggers().filter(|name| name.ends_with(".socket"))
    }

    /// The trigger that decides when the unit runs, if there is one: one that is not down, before others.
    #[must_use]
    pub fn trigger(&self) -> Option<&TriggerUnit> {
        self.triggers.iter().find(|trigger| trigger.why_idle().is_none()).or(self.triggers.first())
    }

    /// A hash of what defines the unit: see [`UnitFile::definition`]. A file that the manager could not load is another
    /// definition once it can, as an edit takes effect with the next reload only.
    #[must_use]
    pub fn definition(&self) -> Option<u64> {
        self.file.map(|file| file.definition ^ u64::from(self.load.is_unusable()))
    }

    /// Whether the last run ended without an error, if it waits for an automatic restart: only then is that known. A
    /// status that the unit lists as a success (`SuccessExitStatus=`) is no such end.
    #[must_use]
    pub fn ended_cleanly(&self) -> Option<bool> {
        let status = self.restarts.filter(|_| self.auto_restart)?.status;
        Some(self.result == ServiceResult::Success && status == 0)
    }

    /// How long it still waits for an automatic restart that is not about to happen.
    #[must_use]
    pub fn restarts_in(&self) -> Option<Duration> {
        /// A restart that is closer is about to happen.
        const SOON: Duration = Duration::from_secs(10);
        let delay = self.restarts.filter(|_| self.auto_restart)?.delay?;
        let rest = delay.checked_sub(self.at.checked_sub(self.began?)?)?;
        (rest >= SOON).then_some(rest)
    }

    /// Whether the manager knows of no run of the unit since it began.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        self.deactivation.is_none() && self.run.as_deref().is_some_and(str::is_empty)
    }
}

#[cfg(any(test, feature = "samples"))]
impl Inspection {
    /// The inspection of a crashed worker, for tests to vary.
    #[must_use]
    pub fn crashed() -> Self {
        Self {
            load: LoadState::Loaded,
            active: ActiveState::Failed,
            has_job: false,
            up_for: None,
            at: Duration::from_secs(61),
            deactivation: Some(Deactivation { left: Duration::from_secs(60), down: Duration::from_secs(60) }),
            down_for: Some(Duration::from_secs(1)),
            skipped: None,
            began: Some(Duration::from_secs(1)),
            transition: None,
            result: ServiceResult::ExitCode,
            restart: RestartPolicy::No,
            restart_prevented: None,
            oneshot: false,
            file: None,
            run: None,
            restarts: None,
            auto_restart: false,
            since: None,
            working_directory: None,
            directory_gone: false,
            container: false,
            parents: Vec::new(),
            pulls_in: Vec::new(),
            conflicts: Vec::new(),
            displaced_by: None,
            has_conflicts: false,
            stopped_groups: Vec::new(),
            triggers: Vec::new(),
            clearable: true,
            stop: None,
            said: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_two_kinds_are_no_change() {
        let (kind, other) = (7 << 48, 8 << 48);
        assert!(is_another_definition(kind | 1, kind | 2));
        assert!(!is_another_definition(kind | 1, kind | 1));
        assert!(!is_another_definition(kind | 1, other | 2));
    }
}
