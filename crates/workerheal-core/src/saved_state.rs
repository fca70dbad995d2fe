//! What has to survive a restart of the daemon: attempts, give-ups, stops and pauses.
//!
//! The healer makes a [`SavedState`] of itself and can be made from one again; how it is written down
//! is not its business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::diagnosis::State;
use super::pauses::Pauses;
use super::rules::GivenUp;
use super::time::Timestamp;
use super::units::{Deactivation, UnitFile, UnitName};

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedState {
    /// The workers of which anything is.
    pub workers: BTreeMap<UnitName, SavedWorker>,
    /// What people have paused.
    pub pauses: Pauses,
}

/// What is remembered of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedWorker {
    /// Attempts since the history was last forgotten.
    pub attempts: u32,
    /// No attempt is made before this.
    pub not_before: Timestamp,
    /// Where it stood.
    pub phase: SavedPhase,
    /// What was wrong with it, where its state alone does not tell.
    pub suspected: Option<State>,
    /// How the last attempt ended, if it failed.
    pub last_failure: String,
    /// What its files were like when it failed.
    pub at_failure: Option<UnitFile>,
    /// The fall in which a unit that it needs took it along.
    pub taken_along: Option<Deactivation>,
}

/// Where a worker stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavedPhase {
    /// Well, or ill and waiting for its next attempt.
    Open,
    /// In the middle of an attempt.
    Attempt,
    /// Given up.
    GivenUp(GivenUp),
    /// Stopped by its user.
    Stopped {
        /// Its last run then, as far as that is known.
        run: Option<String>,
        /// The journal has confirmed it, or cannot know.
        certain: bool,
    },
}
