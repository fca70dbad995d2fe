//! The course of one worker's illness: where it stands, and what is remembered of it.

use std::time::Duration;

use super::{Timestamp, Unit};
use crate::core::diagnosis::{Asked, Refusal};
use crate::core::units::{ActiveState, UnitFile};

/// Where a worker stands. Each is drawn in the diagram of the parent module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// An attempt is due and waits for a free slot.
    Due,
    /// The close look before an attempt is under way.
    Looking,
    /// The next attempt is made at `until`, if the worker is still down then.
    Waiting { until: Timestamp },
    /// Something has to happen first.
    Held(Refusal),
    /// The start job is under way.
    Starting,
    /// Started; has to stay up for `stable_after`.
    Proving,
    /// The close look that ends the proving time is under way.
    Verifying,
    /// Somebody else's job took the place of the start; what becomes of the unit tells why.
    Cancelled,
    /// Somebody cleared its failure, perhaps to start it. If not, it is to stay down.
    Cleared,
    /// Its user stopped it. Nothing is done until it comes up.
    Stopped,
    /// No further attempts.
    GaveUp,
    /// Not ill; earlier attempts are remembered until it has been up for `reset_after`.
    Resting,
}

impl Phase {
    /// Whether the manager is busy on behalf of the worker.
    pub fn takes_a_slot(&self) -> bool {
        matches!(self, Self::Looking | Self::Starting)
    }
}

/// What is remembered of a worker that is ill, or was lately.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub(super) struct Track {
    pub phase: Phase,
    /// Attempts since the history was last forgotten.
    pub attempts: u32,
    /// No attempt is made before this.
    pub not_before: Timestamp,
    /// When the timer of this track runs out, if one is set.
    pub timer: Option<Timestamp>,
    /// What the unit's files were like when it failed: what is seen later is compared with that.
    pub file: Option<UnitFile>,
    pub last_failure: String,
    /// It was given up, and is only looked at because its unit may have changed.
    pub given_up: bool,
    /// A unit that it needs went down and took it along: the stop was not meant for it.
    pub taken_along: bool,
    /// Its user stopped it while it was looked at.
    pub told_to_stop: bool,
    /// Whether its work is done once it has ended (`Type=oneshot`).
    pub oneshot: bool,
    pub asked: Asked,
    /// Whether the world has been told that it is down.
    pub announced: bool,
    /// The reason for holding that the world has been told.
    pub told: Option<Refusal>,
}

impl Track {
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Resting,
            attempts: 0,
            not_before: now,
            timer: None,
            file: None,
            last_failure: String::new(),
            given_up: false,
            taken_along: false,
            told_to_stop: false,
            oneshot: false,
            asked: Asked::ByRule,
            announced: false,
            told: None,
        }
    }

    /// Forgets what belongs to one illness, and keeps the history of attempts.
    pub fn ends(&mut self) {
        self.announced = false;
        self.told = None;
        self.file = None;
        self.taken_along = false;
        self.told_to_stop = false;
        self.given_up = false;
        self.asked = Asked::ByRule;
    }

    /// Whether the world knows that something is wrong, so that it has to be told when it is over.
    pub fn is_public(&self) -> bool {
        self.announced || self.told.is_some() || self.asked == Asked::ByPerson
    }

    /// How long from now until an attempt may be made.
    pub fn wait(&self, now: Timestamp) -> Duration {
        self.not_before.since_origin().saturating_sub(now.since_origin())
    }
}

/// How soon to look again where the manager's answers contradict each other for a moment.
pub(super) const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What the state of a unit means for healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It works.
    Up,
    /// It failed, and nothing is under way.
    Failed,
    /// It is on its way up, or waits for an automatic restart.
    Rising,
    /// Something is under way whose end will say more.
    Settling,
    /// It is down, and not by failing.
    Down,
    /// The manager said something that this version does not know.
    Unknown,
}

impl Unit {
    pub(super) fn standing(&self) -> Standing {
        match (self.active, self.has_job) {
            (ActiveState::Active | ActiveState::Reloading | ActiveState::Refreshing, _) => Standing::Up,
            (ActiveState::Activating, _) => Standing::Rising,
            (ActiveState::Deactivating, _)
            | (ActiveState::Failed | ActiveState::Inactive | ActiveState::Maintenance, true) => Standing::Settling,
            (ActiveState::Failed, false) => Standing::Failed,
            (ActiveState::Inactive | ActiveState::Maintenance, false) => Standing::Down,
            (ActiveState::Unknown, _) => Standing::Unknown,
        }
    }
}
