//! What survives a restart of the daemon: attempts, give-ups, stops and pauses.
//!
//! The healer can be turned into a [`SavedState`] and restored from one. Writing it to a file is not its concern.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::diagnosis::{GivenUp, State};
use super::pauses::Pauses;
use super::time::Timestamp;
use super::units::{Deactivation, UnitFile, UnitName};

/// Everything that is saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedState {
    /// The workers that have a history.
    pub workers: BTreeMap<UnitName, SavedWorker>,
    /// Pauses that were requested with a command.
    pub pauses: Pauses,
}

/// What is saved of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedWorker {
    /// Attempts since the history was last reset.
    pub attempts: u32,
    /// No attempt is made before this time.
    pub not_before: Timestamp,
    /// What was being done about it.
    pub phase: SavedPhase,
    /// What was wrong with it, where the state of its unit alone does not show it.
    pub suspected: Option<State>,
    /// Why the last attempt failed, if it did.
    pub last_failure: String,
    /// Whether an attempt brought it up for a while since.
    pub came_up: bool,
    /// Its unit files when it failed.
    pub at_failure: Option<UnitFile>,
    /// The deactivation in which a unit that it needs took it down.
    pub taken_along: Option<Deactivation>,
    /// The run after which a person stopped it while it was down.
    pub stopped_after: Option<String>,
}

/// What was being done about a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavedPhase {
    /// Healthy, or waiting for its next attempt.
    #[default]
    Open,
    /// In the middle of an attempt.
    Attempt,
    /// Given up.
    GivenUp(GivenUp),
    /// Stopped by you.
    Stopped {
        /// Its last run at that time, if known.
        run: Option<String>,
        /// Whether the journal has confirmed the stop, or cannot know.
        certain: bool,
    },
}
