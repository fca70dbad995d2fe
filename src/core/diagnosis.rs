//! What is wrong with a worker, and whether it may be healed.
//!
//! Both answers are values, computed once, then acted on and shown: the sentence that a person
//! reads is made of the very value that the healer decided by. Intent wins over illness: what
//! somebody stopped, paused or masked is never started, and what cannot be read is unknown, which
//! is never acted on either.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::coverage::Worker;
use super::registry::Registry;
use super::units::{ActiveState, Inspection, LoadState, Parent, RestartPolicy, ServiceResult, StopEvidence};

/// What is wrong with a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Failed, and the manager has no further restart planned.
    Failed,
    /// Failed because the manager refused yet another automatic restart.
    StartLimitHit,
    /// Enabled but inactive, and no timer owns it.
    ExpectedButStopped,
    /// Active, but its health probe is refused.
    Unreachable,
    /// Restarted by the manager again and again, which never gives up.
    CrashLooping,
    /// Its working directory is gone.
    Orphaned,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Failed,
        Self::StartLimitHit,
        Self::ExpectedButStopped,
        Self::Unreachable,
        Self::CrashLooping,
        Self::Orphaned,
    ];

    /// The word used in JSON and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::StartLimitHit => "start-limit-hit",
            Self::ExpectedButStopped => "expected-but-stopped",
            Self::Unreachable => "unreachable",
            Self::CrashLooping => "crash-looping",
            Self::Orphaned => "orphaned",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(word: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownState)
    }
}

/// A word that names no [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such state")]
pub struct UnknownState;

/// Why a worker that is down is not started now. Each reason can go away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Everything was stopped on purpose.
    StopMarker,
    /// The registry pauses the site.
    SitePaused(String),
    /// The registry pauses this worker of the site.
    WorkerPaused(Worker),
    /// The registry has put this worker to sleep until the site is used again.
    IdleSuspended(Worker),
    /// The unit is masked.
    Masked,
    /// The unit was disabled while it was down.
    Disabled,
    /// A job of somebody else is under way for the unit.
    JobPending,
    /// Starting the worker would also start this unit, which is down.
    ParentDown(Parent),
    /// Whether somebody stopped it cannot be told; says why.
    StopUnknown(String),
    /// The configuration does not heal this state by itself.
    StateNotHealed(State),
    /// The manager did not answer a closer look; says why.
    Unreadable(String),
}

impl Refusal {
    /// Whether the registry or the stop marker say so, rather than the unit itself.
    #[must_use]
    pub fn is_intent(&self) -> bool {
        matches!(self, Self::StopMarker | Self::SitePaused(_) | Self::WorkerPaused(_) | Self::IdleSuspended(_))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopMarker => f.write_str("everything was stopped on purpose (the stop marker exists)"),
            Self::SitePaused(site) => write!(f, "the site {site} is paused"),
            Self::WorkerPaused(worker) => write!(f, "the worker {} of {} is paused", worker.name, worker.site),
            Self::IdleSuspended(worker) => {
                write!(f, "the worker {} of {} sleeps until the site is used again", worker.name, worker.site)
            }
            Self::Masked => f.write_str("the unit is masked"),
            Self::Disabled => f.write_str("the unit was disabled while it was down"),
            Self::JobPending => f.write_str("another job is under way for the unit"),
            Self::ParentDown(parent) => {
                write!(f, "it needs {}, which is {}", parent.name, parent.active)
            }
            Self::StopUnknown(why) => write!(f, "it may have been stopped on purpose: {why}"),
            Self::StateNotHealed(state) => write!(f, "the configuration does not heal the state {state}"),
            Self::Unreadable(why) => write!(f, "its state cannot be read: {why}"),
        }
    }
}

/// Why no attempt can succeed before somebody changes the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hopeless {
    /// The unit has no file any more.
    NotFound,
    /// systemd refuses a setting in the unit's file.
    BadSetting,
    /// The unit's file cannot be read.
    Unreadable,
}

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the unit has no file any more",
            Self::BadSetting => "the unit's file has a setting that the service manager refuses",
            Self::Unreadable => "the unit's file cannot be read",
        })
    }
}

/// What a close look at a unit means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// It is not down, or it is down as it should be.
    Well,
    /// It failed while being stopped on request: that is intent, not illness.
    Stopped,
    /// Ill, but something has to happen before it may be started.
    Held(State, Refusal),
    /// Ill, and starting it cannot help.
    Hopeless(State, Hopeless),
    /// Ill, and a start is the cure.
    Curable(State),
}

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The daemon, by itself.
    ByRule,
    /// A person who named the worker: that is newer intent than an earlier stop or disable.
    ByPerson,
}

/// What a close look at a unit means. `was_enabled` tells whether it was enabled when it failed.
#[must_use]
pub fn diagnose(unit: &Inspection, was_enabled: bool, asked: Asked) -> Diagnosis {
    if unit.active != ActiveState::Failed {
        return Diagnosis::Well;
    }
    let by_rule = asked == Asked::ByRule;
    let stopped = unit.stop == Some(StopEvidence::Requested);
    if stopped && by_rule {
        return Diagnosis::Stopped;
    }
    let state = if !stopped && refused_a_restart(unit) { State::StartLimitHit } else { State::Failed };
    match unit.load {
        LoadState::Masked => return Diagnosis::Held(state, Refusal::Masked),
        LoadState::NotFound => return Diagnosis::Hopeless(state, Hopeless::NotFound),
        LoadState::BadSetting => return Diagnosis::Hopeless(state, Hopeless::BadSetting),
        LoadState::Error => return Diagnosis::Hopeless(state, Hopeless::Unreadable),
        // Unknown is never acted on; merged units and stubs are other names, never failed.
        LoadState::Merged | LoadState::Stub | LoadState::Unknown => return Diagnosis::Well,
        LoadState::Loaded => {}
    }
    if by_rule && was_enabled && !unit.enabled {
        return Diagnosis::Held(state, Refusal::Disabled);
    }
    if unit.has_job {
        return Diagnosis::Held(state, Refusal::JobPending);
    }
    if let Some(parent) = unit.parents.iter().find(|parent| !parent.active.is_up()) {
        return Diagnosis::Held(state, Refusal::ParentDown(parent.clone()));
    }
    if by_rule && let Some(StopEvidence::Unknown(why)) = &unit.stop {
        return Diagnosis::Held(state, Refusal::StopUnknown(why.clone()));
    }
    Diagnosis::Curable(state)
}

/// What the registry and the stop marker have against healing the worker, if anything.
#[must_use]
pub fn intent(registry: &Registry, stop_marker: bool, worker: &Worker) -> Option<Refusal> {
    if stop_marker {
        return Some(Refusal::StopMarker);
    }
    let site = registry.site(&worker.site)?;
    if site.paused {
        return Some(Refusal::SitePaused(site.name.clone()));
    }
    if site.is_worker_paused(&worker.name) {
        return Some(Refusal::WorkerPaused(worker.clone()));
    }
    if site.is_idle_suspended(&worker.name, worker.worktree.as_deref()) {
        return Some(Refusal::IdleSuspended(worker.clone()));
    }
    None
}

/// Whether the manager refused the failed unit a restart that its policy asks for.
///
/// `Result` says `start-limit-hit` only where there was no earlier failure; after automatic
/// restarts it keeps the last failure's result. The reliable sign is a failed unit whose
/// `Restart=` covers that result (the table in systemd.service(5)): had the manager not refused,
/// the unit would be activating.
fn refused_a_restart(unit: &Inspection) -> bool {
    use ServiceResult::{CoreDump, ExecCondition, ExitCode, Signal, StartLimitHit, Success, Unknown, Watchdog};
    let covers = match unit.restart {
        RestartPolicy::No | RestartPolicy::Unknown => false,
        RestartPolicy::Always => !matches!(unit.result, ExecCondition | Unknown),
        RestartPolicy::OnSuccess => unit.result == Success,
        RestartPolicy::OnFailure => !matches!(unit.result, Success | ExecCondition | Unknown),
        RestartPolicy::OnAbnormal => !matches!(unit.result, Success | ExitCode | ExecCondition | Unknown),
        RestartPolicy::OnAbort => matches!(unit.result, Signal | CoreDump),
        RestartPolicy::OnWatchdog => unit.result == Watchdog,
    };
    unit.result == StartLimitHit || (covers && !unit.restart_prevented)
}
