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
use super::units::{ActiveState, Inspection, LoadState, Parent, RestartPolicy, ServiceResult, StopEvidence, UnitFile};

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
                let state = if parent.stopping { "being stopped" } else { parent.active.as_str() };
                write!(f, "it needs {}, which is {state}", parent.name)
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

/// A unit that this one needs, and that is down or about to be. If a requested stop ended this one,
/// the request was for that one, and it was taken along.
#[must_use]
pub fn down_parent(unit: &Inspection) -> Option<&Parent> {
    unit.parents.iter().find(|parent| !parent.is_up())
}

/// What a close look at a unit means. `at_failure` is what its files were like when it failed, as far
/// as that is known.
#[must_use]
pub fn diagnose(unit: &Inspection, at_failure: Option<UnitFile>, asked: Asked) -> Diagnosis {
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
    if by_rule && was_disabled(at_failure, unit.file) {
        return Diagnosis::Held(state, Refusal::Disabled);
    }
    if unit.has_job {
        return Diagnosis::Held(state, Refusal::JobPending);
    }
    if let Some(parent) = down_parent(unit) {
        return Diagnosis::Held(state, Refusal::ParentDown(parent.clone()));
    }
    if by_rule && let Some(StopEvidence::Unknown(why)) = &unit.stop {
        return Diagnosis::Held(state, Refusal::StopUnknown(why.clone()));
    }
    Diagnosis::Curable(state)
}

fn was_disabled(at_failure: Option<UnitFile>, now: Option<UnitFile>) -> bool {
    at_failure.is_some_and(|file| file.enabled) && now.is_some_and(|file| !file.enabled)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn crashed() -> Inspection {
        Inspection::crashed()
    }

    const ENABLED: UnitFile = UnitFile { enabled: true, definition: 1 };
    const DISABLED: UnitFile = UnitFile { enabled: false, definition: 1 };

    fn by_rule(unit: &Inspection) -> Diagnosis {
        diagnose(unit, Some(ENABLED), Asked::ByRule)
    }

    #[test]
    fn a_refused_restart_is_known_by_the_policy_that_would_have_made_it() {
        use RestartPolicy::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
        use ServiceResult::{ExitCode, Protocol, Signal, Success, Timeout, Watchdog};
        for (restart, result, refused) in [
            (No, ExitCode, false),
            (Always, ExitCode, true),
            (Always, Success, true),
            (OnFailure, ExitCode, true),
            (OnFailure, Protocol, true),
            (OnAbnormal, ExitCode, false),
            (OnAbnormal, Timeout, true),
            (OnAbort, Signal, true),
            (OnAbort, ExitCode, false),
            (OnWatchdog, Watchdog, true),
            (OnWatchdog, Signal, false),
            (OnSuccess, ExitCode, false),
            (RestartPolicy::Unknown, ExitCode, false),
            (Always, ServiceResult::Unknown, false),
            (No, ServiceResult::StartLimitHit, true),
        ] {
            let state = if refused { State::StartLimitHit } else { State::Failed };
            let unit = Inspection { result, restart, ..crashed() };
            assert_eq!(by_rule(&unit), Diagnosis::Curable(state), "{restart:?} {result:?}");
        }
        let prevented = Inspection { restart: Always, restart_prevented: true, ..crashed() };
        assert_eq!(by_rule(&prevented), Diagnosis::Curable(State::Failed));
    }

    #[test]
    fn the_weightiest_reason_is_told() {
        let parent = Parent { name: "db.service".into(), active: ActiveState::Activating, stopping: false };
        let mut unit = Inspection {
            stop: Some(StopEvidence::Requested),
            load: LoadState::Masked,
            file: Some(DISABLED),
            has_job: true,
            parents: vec![parent.clone()],
            ..crashed()
        };
        assert_eq!(by_rule(&unit), Diagnosis::Stopped);
        unit.stop = Some(StopEvidence::Unknown("no journal".into()));
        assert_eq!(by_rule(&unit), Diagnosis::Held(State::Failed, Refusal::Masked));
        unit.load = LoadState::Loaded;
        assert_eq!(by_rule(&unit), Diagnosis::Held(State::Failed, Refusal::Disabled));
        unit.file = Some(ENABLED);
        assert_eq!(by_rule(&unit), Diagnosis::Held(State::Failed, Refusal::JobPending));
        unit.has_job = false;
        assert_eq!(by_rule(&unit), Diagnosis::Held(State::Failed, Refusal::ParentDown(parent)));
        unit.parents.clear();
        assert_eq!(by_rule(&unit), Diagnosis::Held(State::Failed, Refusal::StopUnknown("no journal".into())));
        unit.stop = None;
        assert_eq!(by_rule(&unit), Diagnosis::Curable(State::Failed));
    }

    #[test]
    fn every_state_has_one_word() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("sick".parse::<State>(), Err(UnknownState));
    }

    fn any_inspection() -> impl Strategy<Value = Inspection> {
        let words = (
            prop::sample::select(LoadState::ALL),
            prop::sample::select(ActiveState::ALL),
            prop::sample::select(ServiceResult::ALL),
            prop::sample::select(RestartPolicy::ALL),
        );
        let parents = prop::collection::vec(prop::sample::select(ActiveState::ALL), 0..3);
        (words, any::<[bool; 4]>(), parents, 0u8..4).prop_map(
            |((load, active, result, restart), flags, parents, stop)| {
                let [has_job, enabled, oneshot, restart_prevented] = flags;
                Inspection {
                    load,
                    active,
                    has_job,
                    up_for: active.is_up().then_some(Duration::from_secs(1)),
                    result,
                    restart,
                    restart_prevented,
                    oneshot,
                    file: Some(if enabled { ENABLED } else { DISABLED }),
                    working_directory: None,
                    parents: parents
                        .into_iter()
                        .map(|active| Parent { name: "p.service".into(), active, stopping: false })
                        .collect(),
                    stop: match stop {
                        0 => None,
                        1 => Some(StopEvidence::Requested),
                        2 => Some(StopEvidence::NotRequested),
                        _ => Some(StopEvidence::Unknown("?".into())),
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn only_what_failed_may_run_and_was_not_stopped_is_cured(unit in any_inspection(), was_enabled: bool) {
            let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
            if let Diagnosis::Curable(_) = diagnose(&unit, at_failure, Asked::ByRule) {
                prop_assert_eq!(unit.active, ActiveState::Failed);
                prop_assert_eq!(unit.load, LoadState::Loaded);
                prop_assert!(!unit.has_job);
                prop_assert!(unit.parents.iter().all(|parent| parent.active.is_up()));
                prop_assert!(matches!(unit.stop, None | Some(StopEvidence::NotRequested)));
                prop_assert!(unit.file != Some(DISABLED) || !was_enabled);
            }
        }

        #[test]
        fn a_person_is_never_refused_what_the_rule_allows(unit in any_inspection(), was_enabled: bool) {
            let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
            let rule = diagnose(&unit, at_failure, Asked::ByRule);
            let person = diagnose(&unit, at_failure, Asked::ByPerson);
            if let Diagnosis::Curable(_) = rule {
                prop_assert_eq!(person, rule);
            }
        }
    }
}
