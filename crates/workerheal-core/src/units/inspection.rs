//! What a close look at a unit shows, and what a manager knows of how its last run ended.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{ActiveState, LoadState, RestartPolicy, ServiceResult};

/// What can be known of why a unit is down, from evidence that outlives the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopEvidence {
    /// The stop that ended this run was requested.
    Requested,
    /// It was not: the run ended by itself.
    NotRequested,
    /// There was no run: the start that was asked for last ended because a unit that this one needs did not
    /// come up (job result `dependency`).
    KeptFromStarting,
    /// It cannot be told; says why.
    Unknown(String),
}

/// How a unit went down, by the manager's monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deactivation {
    /// When it ceased to be up.
    pub left: Duration,
    /// When it was down.
    pub down: Duration,
}

impl Deactivation {
    /// Whether it was up at one moment and down at the next. A requested stop takes its time: the unit
    /// is `deactivating` in between.
    #[must_use]
    pub fn was_sudden(self) -> bool {
        self.left == self.down
    }
}

/// A unit that has to be up while the worker is: its `BindsTo=`, `Requires=` or `Requisite=`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is true, or not, by itself")]
pub struct Parent {
    /// Full name, of whatever unit type.
    pub name: String,
    /// Where it is in its life cycle.
    pub active: ActiveState,
    /// Whether a stop is queued or under way for it.
    pub stopping: bool,
    /// When it last ceased to be up, by the manager's monotonic clock; `None` if it never was.
    pub left: Option<Duration>,
    /// Whether it is a oneshot service that has done its work and is down for that reason. It need not be up,
    /// and a start of the worker would run it again.
    pub finished: bool,
    /// Whether the manager stops it as soon as no unit needs it (`StopWhenUnneeded=`).
    pub stops_when_unneeded: bool,
    /// Whether its stop was asked for only after that of the worker: that one was meant for the worker.
    pub stopped_later: bool,
}

/// A unit whose stop is meant for everything in it, the units that are down included: `PartOf=` or `Slice=`.
/// systemd tells of that stop for the units that were up, and drops it for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedGroup {
    /// Full name, of whatever unit type.
    pub name: String,
    /// When it ceased to be up, by the manager's monotonic clock; `None` while it is being stopped.
    pub left: Option<Duration>,
}

/// How long a start or a stop has been under way, and how long its unit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Since the unit began to start or to stop.
    pub lasts: Duration,
    /// The longest that the unit's own settings allow (`TimeoutStartSec=`, `TimeoutStopSec=`,
    /// `JobTimeoutSec=`); `None` is for ever.
    pub limit: Option<Duration>,
}

impl Parent {
    /// Whether it is up, and no job is about to change that.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.active.is_up() && !self.stopping
    }

    /// Its state in words.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.stopping { "being stopped" } else { self.active.as_str() }
    }
}

/// What the files of a unit are like. systemd has to search directories to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// `UnitFileState` is one that an enabled unit has.
    pub enabled: bool,
    /// Something else decides when it runs: a timer, path or socket starts it (`TriggeredBy=`), or
    /// a `Condition...=` of its own does not hold.
    pub on_demand: bool,
    /// Changes when what is in the files that define the unit does: see [`is_another_definition`].
    pub definition: u64,
}

/// Whether two numbers stand for different definitions of a unit. Their upper 16 bits say how they were made: numbers
/// of two kinds (an earlier version made them of the files' times) tell nothing about each other, so that an upgrade
/// changes no definition.
#[must_use]
pub fn is_another_definition(then: u64, now: u64) -> bool {
    then != now && then >> 48 == now >> 48
}

/// How the manager has fared with restarting a unit by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// Automatic restarts since it was last started by a client (`NRestarts`).
    pub count: u32,
    /// How long its last run was up; `None` if it never came up.
    pub last_run: Option<Duration>,
}

/// Whether a unit has run again since its last run was `then`, as far as both are known. (Of a unit that
/// was unloaded the manager has forgotten the run.)
#[must_use]
pub fn has_run_since(then: Option<&str>, now: Option<&str>) -> bool {
    then.zip(now).is_some_and(|(then, now)| !now.is_empty() && then != now)
}

/// What a close look is to find out beyond the state of the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Detail {
    /// Whether the last run was ended on request, which costs a search in the journal.
    pub stop: bool,
    /// What the unit's files are like, which costs the manager a search in directories; and which
    /// run was the last.
    pub file: bool,
    /// How often the manager has restarted it; always told of a unit that waits for a restart.
    pub restarts: bool,
    /// Since when it is in its state, for people to read.
    pub times: bool,
}

impl Detail {
    /// Everything there is to find out.
    pub const ALL: Self = Self { stop: true, file: true, restarts: true, times: true };
}

/// Where a unit works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// The directory that was chosen for it: its `WorkingDirectory=`, or that of the command in a container.
    /// Spelt as in the registry, where it is the directory of a site.
    pub directory: Option<PathBuf>,
    /// Whether it cannot be started without that directory.
    pub required: bool,
    /// Whether that directory is definitely gone (`ENOENT`, `ENOTDIR`), and required.
    pub gone: bool,
    /// Whether the unit is a container of its own (a quadlet), and thus no worker.
    pub container: bool,
}

/// A close look at one unit, taken right before deciding about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own of the manager's")]
pub struct Inspection {
    /// Whether the unit's file could be read.
    pub load: LoadState,
    /// Where it is in its life cycle.
    pub active: ActiveState,
    /// Whether a job is queued or running for it.
    pub has_job: bool,
    /// For how long it has been up, by the manager's own clock; `None` when it is not.
    pub up_for: Option<Duration>,
    /// When the look was taken, by the manager's monotonic clock.
    pub at: Duration,
    /// When it last ceased to be up (`ActiveExitTimestampMonotonic`), and since when it is down
    /// (`InactiveEnterTimestampMonotonic`), by the manager's monotonic clock; `None` if it never was.
    pub deactivation: Option<Deactivation>,
    /// For how long it has been down; `None` when it is not.
    pub down_for: Option<Duration>,
    /// When it last began to start (`InactiveExitTimestampMonotonic`), by the manager's monotonic clock.
    pub began: Option<Duration>,
    /// The start or stop that is under way.
    pub transition: Option<Transition>,
    /// How its last run ended.
    pub result: ServiceResult,
    /// `Restart=`.
    pub restart: RestartPolicy,
    /// The last exit status or signal, if it is one that `RestartPreventExitStatus=` lists: `status 78`.
    pub restart_prevented: Option<String>,
    /// Whether it is of `Type=oneshot`, whose work is done once it has ended.
    pub oneshot: bool,
    /// What its files are like; `None` when it was not asked for, or a mask hides them.
    pub file: Option<UnitFile>,
    /// The manager's id of its last run (`InvocationID`), empty if it knows of none; `None` when it was not asked for.
    pub run: Option<String>,
    /// How often the manager has restarted it, if it waits for another restart or somebody asked.
    pub restarts: Option<Restarts>,
    /// Whether it died and waits for the manager to restart it by itself.
    pub auto_restart: bool,
    /// Since when it is in its state; `None` when it was not asked for.
    pub since: Option<SystemTime>,
    /// The directory that was chosen for it: its `WorkingDirectory=`, or that of the command in a container.
    pub working_directory: Option<PathBuf>,
    /// Whether that directory is definitely gone (`ENOENT`, `ENOTDIR`), and it cannot be started without.
    pub directory_gone: bool,
    /// Whether the unit is a container of its own (a quadlet), and thus no worker.
    pub container: bool,
    /// Units that it needs, and that a start would pull in with it.
    pub parents: Vec<Parent>,
    /// Further units that a start would pull in, as they are down (`Wants=`, `Upholds=`).
    pub pulls_in: Vec<String>,
    /// Units that are up, and that a start would stop (`Conflicts=`, on either side).
    pub conflicts: Vec<String>,
    /// Whether a start could stop another unit, even if none is up now: it conflicts with some unit.
    pub has_conflicts: bool,
    /// Groups that it is in, and that were stopped or are being stopped.
    pub stopped_groups: Vec<StoppedGroup>,
    /// Timers, paths and sockets that start it (`TriggeredBy=`).
    pub triggers: Vec<String>,
    /// Those of them that are sockets and have failed: its clients reach nothing.
    pub failed_sockets: Vec<String>,
    /// Whether its failure can be cleared without losing the unit: a transient unit, or one whose file is gone,
    /// is unloaded by that, and cannot be loaded again.
    pub clearable: bool,
    /// Whether its last run was ended on request; `None` when it was not asked for.
    pub stop: Option<StopEvidence>,
    /// What a manager says that has words of its own (launchd), for people to read.
    pub said: Option<Box<Said>>,
}

/// What the manager said of a unit in words of its own, for explanations. No decision rests on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its words, shown where systemd's properties would be.
    pub evidence: String,
    /// What is wrong with the unit, if that is none of what systemd knows.
    pub finding: Option<String>,
    /// Who or what starts the unit, where that is not workerheal's to do.
    pub left_to: Option<String>,
}

impl Inspection {
    /// What it shows of where the unit works.
    #[must_use]
    pub fn location(&self) -> Location {
        Location {
            directory: self.working_directory.clone(),
            required: self.working_directory.is_some(),
            gone: self.directory_gone,
            container: self.container,
        }
    }

    /// The group that was stopped since the unit last began to start, if there is one.
    #[must_use]
    pub fn stopped_group(&self) -> Option<&str> {
        let since = |group: &&StoppedGroup| match (group.left, self.began) {
            (None, _) => true,
            (Some(left), Some(began)) => left >= began,
            (Some(_), None) => false,
        };
        self.stopped_groups.iter().find(since).map(|group| group.name.as_str())
    }

    /// Whether the manager knows of no run of it: it has not been started since the manager began.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        self.deactivation.is_none() && self.run.as_deref().is_some_and(str::is_empty)
    }
}

#[cfg(any(test, feature = "samples"))]
impl Inspection {
    /// What a look at a crashed worker shows, for tests to vary.
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
            has_conflicts: false,
            stopped_groups: Vec::new(),
            triggers: Vec::new(),
            failed_sockets: Vec::new(),
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
