//! The vocabulary of a diagnosis: what can be wrong with a worker, and what can prevent a heal.
//!
//! All of them are values, computed once by the [rules](super::rules), then acted on and shown: the sentence that you
//! read is made from the value that the healer decided by.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, iter};

use serde::{Deserialize, Serialize};

use super::pauses::{Pause, Target};
use super::selector::Worker;
use super::text;
use super::units::{ActiveState, Parent, TriggerUnit};

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
    /// Starting or stopping for longer than its own time limits allow.
    Stuck,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::StartLimitHit,
        Self::ExpectedButStopped,
        Self::Unreachable,
        Self::CrashLooping,
        Self::Orphaned,
        Self::Stuck,
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
            Self::Stuck => "stuck",
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

/// The command that permits the daemon of the system to start the units that it covers.
pub(crate) const PERMIT: &str = "sudo workerheal --system install";

/// Why a worker that is down is not started now. Each reason can go away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Everything was stopped on purpose.
    StopMarker,
    /// You paused healing, of this worker or of more.
    Paused(Pause),
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
    /// Another client's job for the unit is pending.
    JobPending,
    /// Starting the worker would also start this unit, which is down.
    ParentDown(Parent),
    /// Starting the worker would stop this unit, which is up.
    ConflictUp(String),
    /// It is a oneshot, and this timer, path or socket decides when it runs; or it has no `Restart=`, and this is a
    /// timer.
    LeftToTrigger(TriggerUnit),
    /// It is a oneshot that nothing triggers and whose unit has no `Restart=`: whether to run it again is your
    /// decision.
    OneshotEnded,
    /// It has been starting or stopping for this long, which is longer than it may take.
    Stuck(ActiveState, Duration),
    /// It is unknown whether it was stopped on purpose; says why.
    StopUnknown(String),
    /// The manager keeps restarting it, this often so far.
    CrashLooping(u32),
    /// Its working directory does not exist.
    DirectoryGone(PathBuf),
    /// The configuration does not heal this state automatically.
    StateNotHealed(State),
    /// The manager refuses to start it now because of another unit; says why.
    Declined(String),
    /// workerheal may not start it: it lacks a permission; the manager's message.
    Forbidden(String),
    /// The manager did not answer an inspection; says why.
    Unreadable(String),
}

impl Refusal {
    /// Whether a change from the other refusal to this one is not worth an event: a count that has grown is no news,
    /// nor is another state of the unit that is waited for.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::CrashLooping(_), Self::CrashLooping(_)) => true,
            (Self::ParentDown(this), Self::ParentDown(that)) => this.name == that.name,
            (Self::Stuck(this, _), Self::Stuck(that, _)) => this == that,
            (Self::LeftToTrigger(this), Self::LeftToTrigger(that)) => {
                (&this.name, this.why_idle()) == (&that.name, that.why_idle())
            }
            // The missing evidence may differ.
            (Self::StopUnknown(_), Self::StopUnknown(_)) | (Self::Forbidden(_), Self::Forbidden(_)) => true,
            (this, that) => this == that,
        }
    }

    /// The same after a time has passed: what has been under way takes longer by then.
    pub(crate) fn after(&self, time: Duration) -> Self {
        match self {
            Self::Stuck(active, lasts) => Self::Stuck(*active, lasts.saturating_add(time)),
            other => other.clone(),
        }
    }

    /// Whether this was decided by a person (a pause, the registry, the stop marker) rather than by the unit's state.
    #[must_use]
    pub fn is_intent(&self) -> bool {
        match self {
            Self::StopMarker
            | Self::Paused(_)
            | Self::SitePaused(_)
            | Self::WorkerPaused(_)
            | Self::IdleSuspended(_) => true,
            Self::Masked
            | Self::Disabled
            | Self::JobPending
            | Self::ParentDown(_)
            | Self::ConflictUp(_)
            | Self::LeftToTrigger(_)
            | Self::OneshotEnded
            | Self::Stuck(..)
            | Self::StopUnknown(_)
            | Self::CrashLooping(_)
            | Self::DirectoryGone(_)
            | Self::StateNotHealed(_)
            | Self::Declined(_)
            | Self::Forbidden(_)
            | Self::Unreadable(_) => false,
        }
    }

    /// Whether the worker is only listed: neither waiting nor a heal would help.
    #[must_use]
    pub fn is_shown_only(&self) -> bool {
        matches!(
            self,
            Self::CrashLooping(_)
                | Self::DirectoryGone(_)
                | Self::StateNotHealed(_)
                | Self::LeftToTrigger(_)
                | Self::OneshotEnded
                | Self::Stuck(..)
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopMarker => f.write_str("everything was stopped on purpose (the stop marker exists)"),
            Self::Paused(pause) => match &pause.target {
                // It is said of that worker.
                Target::Unit(_) => f.write_str("you paused it"),
                target => write!(f, "you paused {target}"),
            },
            Self::SitePaused(site) => write!(f, "the site {site} is paused"),
            Self::WorkerPaused(worker) => write!(f, "the worker {} of {} is paused", worker.task(), worker.site),
            Self::IdleSuspended(worker) => {
                write!(f, "the worker {} of {} sleeps until the site is used again", worker.task(), worker.site)
            }
            Self::Masked => f.write_str("the unit is masked"),
            Self::Disabled => f.write_str("the unit was disabled while it was down"),
            Self::JobPending => f.write_str("another job is under way for the unit"),
            Self::ParentDown(parent) => write!(f, "it needs {}, which {}", parent.name, parent.state()),
            Self::ConflictUp(unit) => write!(f, "starting it would stop {unit}, which is up"),
            Self::LeftToTrigger(trigger) => trigger.fmt(f),
            Self::OneshotEnded => f.write_str("it runs once, and its unit has no Restart="),
            Self::Stuck(active, lasts) => write!(
                f,
                "it has been {} for {}",
                if *active == ActiveState::Deactivating { "stopping" } else { "starting" },
                humantime::format_duration(Duration::from_secs(lasts.as_secs()))
            ),
            Self::StopUnknown(why) => write!(f, "it may have been stopped on purpose: {why}"),
            Self::CrashLooping(count) => {
                write!(f, "the service manager itself restarts it, {count} times so far")
            }
            Self::DirectoryGone(path) => write!(f, "its working directory {} is gone", text::path(path)),
            Self::StateNotHealed(state) => write!(f, "the configuration does not heal the state {state}"),
            Self::Declined(why) => write!(f, "the service manager does not start it now: {why}"),
            Self::Forbidden(why) => {
                write!(f, "workerheal has no permission to start it ({why}); to permit it: {PERMIT}")
            }
            Self::Unreadable(why) => write!(f, "its state cannot be read: {why}"),
        }
    }
}

/// Why no attempt can succeed until the unit is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrecoverable {
    /// The unit has no file any more.
    NotFound,
    /// systemd refuses a setting in the unit's file.
    BadSetting,
    /// The unit's file cannot be read.
    Unreadable,
    /// Its last run ended in a way that its unit excludes from restarts (`RestartPreventExitStatus=`).
    RestartPrevented(String),
    /// The service manager refuses manual starts (`RefuseManualStart=`).
    NotByHand,
}

impl Unrecoverable {
    /// Whether the unit can be started once its file is another.
    pub(crate) fn is_of_its_file(&self) -> bool {
        matches!(self, Self::NotFound | Self::BadSetting | Self::Unreadable)
    }
}

/// Whether `unit` waits for `other`, directly or through other workers that wait. `held_for` returns what a worker is held
/// for.
pub(crate) fn waits_for<'a>(unit: &str, other: &str, held_for: impl Fn(&str) -> Option<&'a Refusal>) -> bool {
    let parent = |unit: &str| match held_for(unit)? {
        Refusal::ParentDown(parent) => Some(parent.name.as_str()),
        _ => None,
    };
    let mut seen = HashSet::new();
    iter::successors(parent(unit), |unit| parent(unit)).take_while(|unit| seen.insert(*unit)).any(|unit| unit == other)
}

impl fmt::Display for Unrecoverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the unit has no file any more"),
            Self::BadSetting => f.write_str("the unit's file has a setting that the service manager refuses"),
            Self::Unreadable => f.write_str("the unit's file cannot be read"),
            Self::RestartPrevented(exit) => {
                write!(f, "its unit forbids a restart after {exit}")
            }
            Self::NotByHand => f.write_str("its unit refuses to be started by hand (RefuseManualStart=)"),
        }
    }
}

/// A give-up: no further attempts are made until something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Why it was given up.
    pub reason: String,
    /// The definition of the unit at that time, if known.
    pub definition: Option<u64>,
    /// The last run at that time, if known.
    pub run: Option<String>,
}

/// What triggered a heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A rule: the daemon heals by itself.
    Automatic,
    /// A request that names the worker: newer intent than an earlier stop or disable.
    Request,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_word() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("sick".parse::<State>(), Err(UnknownState));
    }

    #[test]
    fn a_reason_that_is_reported_again_is_another_only_if_the_user_can_tell() {
        let timer = |name: &str, active| Refusal::LeftToTrigger(TriggerUnit { name: name.into(), active });
        let parent =
            |name: &str, active| Refusal::ParentDown(Parent { name: name.into(), active, ..Parent::default() });
        let stuck = |active, seconds| Refusal::Stuck(active, Duration::from_secs(seconds));
        let (failed, inactive, active) = (ActiveState::Failed, ActiveState::Inactive, ActiveState::Active);
        for (this, that, are_alike) in [
            (Refusal::CrashLooping(6), Refusal::CrashLooping(7), true),
            (parent("a.service", failed), parent("a.service", inactive), true),
            (parent("a.service", failed), parent("b.service", failed), false),
            (stuck(ActiveState::Activating, 1), stuck(ActiveState::Activating, 2), true),
            (stuck(ActiveState::Activating, 1), stuck(ActiveState::Deactivating, 1), false),
            (timer("a.timer", active), timer("a.timer", ActiveState::Reloading), true),
            (timer("a.timer", active), timer("a.timer", failed), false),
            (timer("a.timer", active), timer("b.timer", active), false),
            (Refusal::StopUnknown("one".into()), Refusal::StopUnknown("other".into()), true),
            (Refusal::Disabled, Refusal::Masked, false),
        ] {
            assert_eq!(this.is_alike(&that), are_alike, "{this} / {that}");
            assert!(this.is_alike(&this));
        }
    }

    #[test]
    fn a_give_up_is_of_the_file_if_another_file_ends_it() {
        for why in [Unrecoverable::NotFound, Unrecoverable::BadSetting, Unrecoverable::Unreadable] {
            assert!(why.is_of_its_file(), "{why}");
        }
        for why in [Unrecoverable::NotByHand, Unrecoverable::RestartPrevented("status 78".into())] {
            assert!(!why.is_of_its_file(), "{why}");
        }
    }
}
