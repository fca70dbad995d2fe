//! Units around a worker: those that it needs, groups that it is in, and what starts it.

use std::fmt;
use std::time::Duration;

use super::{ActiveState, LoadState};

/// A unit that takes the worker down with it: its `BindsTo=`, `Requires=`, `Requisite=` or `StopPropagatedFrom=`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own of the manager's")]
pub struct Parent {
    /// Full name, of any unit type.
    pub name: String,
    /// Whether its file could be read. While it could not, the manager refuses each start that includes it, although it
    /// may be up.
    pub load: LoadState,
    /// Where it is in its life cycle.
    pub active: ActiveState,
    /// Whether a stop is queued or under way for it.
    pub stopping: bool,
    /// When it last ceased to be up, by the manager's monotonic clock; `None` if it never was.
    pub left: Option<Duration>,
    /// When it last came up, by the same clock; `None` if it is down, or unknown.
    pub since: Option<Duration>,
    /// When it last went down, by the same clock; `None` if it is not down.
    pub down: Option<Duration>,
    /// Whether it is a oneshot that has finished, and is down since by itself. It need not be up, and a start of the worker
    /// would run it again.
    pub finished: bool,
    /// Whether the manager stops it when no unit needs it (`StopWhenUnneeded=`), if it is down or being stopped.
    pub stops_when_unneeded: bool,
    /// Whether the worker can run without it (`StopPropagatedFrom=`).
    pub is_optional: bool,
    /// Whose stop was requested first.
    pub stop_order: StopOrder,
}

impl Parent {
    /// Whether it is up, and no job is about to change that.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.active.is_up() && !self.stopping
    }

    /// Whether the manager cannot start it.
    #[must_use]
    pub fn cannot_be_started(&self) -> bool {
        self.load.is_unusable() || self.load == LoadState::Masked
    }

    /// How it is, as a clause: `has failed`, `is down`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.active {
            _ if self.stopping => "is being stopped",
            ActiveState::Failed | ActiveState::Inactive if self.cannot_be_started() => match self.load {
                LoadState::Masked => "is masked",
                LoadState::NotFound => "has no file",
                _ => "has a file that cannot be used",
            },
            ActiveState::Failed => "has failed",
            ActiveState::Inactive => "is down",
            ActiveState::Activating => "is on its way up",
            ActiveState::Deactivating => "is on its way down",
            ActiveState::Maintenance => "is being maintained",
            ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing | ActiveState::Unknown => {
                "is not up"
            }
        }
    }
}

/// Whose stop was requested first, that of a worker or that of a unit that it needs, as far as the journal was searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StopOrder {
    /// There is no sign of it, or other signs suffice.
    #[default]
    Unknown,
    /// The worker's: it was meant for the worker.
    WorkerFirst,
    /// That of the other unit, just before: it took the worker down.
    ParentFirst,
}

/// A group whose stop is meant for all its members, including those that are down: `PartOf=`, `StopPropagatedFrom=` or
/// `Slice=`. systemd signals that stop for the members that were up, and drops it for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedGroup {
    /// Full name, of any unit type.
    pub name: String,
    /// When it ceased to be up, by the manager's monotonic clock; `None` while it is being stopped.
    pub left: Option<Duration>,
}

/// A timer, path or socket that starts a unit (`TriggeredBy=`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerUnit {
    /// Full name.
    pub name: String,
    /// Where it is in its life cycle. While it is down it starts nothing.
    pub active: ActiveState,
}

impl TriggerUnit {
    /// Whether it is a timer.
    #[must_use]
    pub fn is_timer(&self) -> bool {
        self.name.strip_suffix(".timer").is_some()
    }

    /// How it is, as a clause, if it starts nothing: `has failed`, `is stopped`.
    #[must_use]
    pub fn why_idle(&self) -> Option<&'static str> {
        match self.active {
            ActiveState::Failed => Some("has failed"),
            ActiveState::Inactive => Some("is stopped"),
            _ => None,
        }
    }
}

impl fmt::Display for TriggerUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why_idle() {
            None => write!(f, "{} decides when it runs", self.name),
            Some(why) => write!(f, "{}, which decides when it runs, {why}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_that_is_down_starts_nothing() {
        let why_idle = |active| TriggerUnit { name: "backup.timer".into(), active }.why_idle();
        assert_eq!(why_idle(ActiveState::Failed), Some("has failed"));
        assert_eq!(why_idle(ActiveState::Inactive), Some("is stopped"));
        assert_eq!(why_idle(ActiveState::Active), None);
    }
}
