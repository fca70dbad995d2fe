//! What goes into the healer and what comes out of it: facts and actions.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Located;
use crate::diagnosis::{Refusal, Unrecoverable};
use crate::event::Event;
use crate::pauses::Target;
use crate::policy::Policy;
use crate::probe::{Probe, ProbeResult};
use crate::registry::Registry;
use crate::rules::Start;
use crate::selector::Selector;
use crate::units::{Detail, Inspection, UnitName, UnitStatus};

/// An input of the healer.
#[derive(Debug, Clone)]
pub enum Fact {
    /// All loaded units that can be covered. The list is complete: a unit that is missing is gone. Ends the uncertainty
    /// that [`Fact::Frozen`] began.
    Units(Vec<UnitStatus>),
    /// All loaded units that can be covered and are not simply `active`. It does not say which of the others are up,
    /// and which are gone: what it leaves open about a unit that is not known to be up leads to [`Action::ListAll`].
    NotActive(Vec<UnitStatus>),
    /// One unit has just changed.
    Changed(UnitStatus),
    /// The known states of units may be wrong until the next [`Fact::Units`]: the manager reloads its files, or cannot
    /// be reached.
    Frozen,
    /// The result of [`Action::Inspect`]; an error says why there is none.
    Inspected(UnitName, InspectionId, Result<Inspection, String>),
    /// How the start of [`Action::Start`] ended.
    Finished(UnitName, Outcome),
    /// Another client's job succeeded, and was not one without effect (`try-restart` of a unit that is down).
    JobDone(UnitName),
    /// Another client's job was cancelled: a contrary one replaces it.
    JobCancelled(UnitName),
    /// Our start replaced a requested stop.
    StopOverridden(UnitName),
    /// Another client's start ended because a unit that this one needs did not come up.
    KeptFromStarting(UnitName),
    /// All units with a failed socket.
    FailedSockets(Vec<UnitName>),
    /// The registry's new content.
    Registry(Arc<Registry>),
    /// Whether the stop marker exists.
    StopMarker(bool),
    /// New settings.
    Settings(Selector, Policy),
    /// Locations of units: of those that [`Healer::take_unlocated`](super::Healer::take_unlocated) returns, and again of
    /// those whose directories have vanished or come back.
    Located(Vec<Located>),
    /// The result of [`Action::Probe`].
    Probed(UnitName, ProbeResult),
    /// A person requests to heal these units now.
    Heal(Vec<UnitName>),
    /// A person pauses healing, for this long or until it is resumed.
    Pause(Vec<Target>, Option<Duration>),
    /// A person ends pauses. Workers that were given up are tried again.
    Resume(Vec<Target>),
    /// Only time has passed.
    Deadline,
}

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The start job is done. The worker still has to stay up.
    Done,
    /// The start job did not succeed; says why.
    Failed(String),
    /// There was no start, or that is unknown; says why.
    NotStarted(String),
    /// The manager refused the start for now, because of another client; says why.
    Refused(Refusal, String),
    /// Another client's job replaced the start.
    Cancelled,
    /// The manager will refuse every start until the unit is changed.
    Impossible(Unrecoverable),
}

/// An output of the healer, for the caller to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Inspect a unit and answer with [`Fact::Inspected`].
    Inspect {
        /// The unit.
        unit: UnitName,
        /// Identifies the inspection; part of the answer.
        id: InspectionId,
        /// What to find out.
        detail: Detail,
    },
    /// Start or restart a unit; answer with [`Fact::Finished`].
    Start(Start),
    /// Stop a unit that was started although a stop was requested.
    Stop(UnitName),
    /// Probe the health of a worker that is up; answer with [`Fact::Probed`].
    Probe {
        /// The unit.
        unit: UnitName,
        /// The probe.
        probe: Probe,
        /// Its directory; `None` is the unit's `WorkingDirectory=`.
        directory: Option<PathBuf>,
    },
    /// Answer with [`Fact::Units`] soon: a [`Fact::NotActive`] has left something open.
    ListAll,
    /// Publish an event.
    Emit(Event),
}

/// Identifies an inspection. A result is ignored when its inspection is no longer pending: it may be about an earlier
/// run of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InspectionId {
    /// Its purpose.
    pub purpose: Purpose,
    pub(super) ticket: u32,
}

/// The purpose of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Decides about an attempt.
    Attempt,
    /// Proves that the worker has stayed up.
    Proof,
    /// Records the unit files, to detect later changes. Done once the worker has been down for longer: before the first
    /// attempt there is no time.
    Baseline,
    /// Checks whether anything has changed for a worker that is left alone: its files, or its last run.
    Recheck,
    /// Checks whether the worker has been up for long.
    Uptime,
}
