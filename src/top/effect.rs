//! What a key or a click can do outside of the model, and to what.

use std::time::Duration;

use crate::core::report::WorkerReport;
use crate::core::units::UnitName;

/// An effect outside of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    /// Suspend, until the process is continued.
    Suspend,
    /// Redraw everything: something else has written to the terminal.
    Repaint,
    Heal(Target),
    Stop(Target),
    Pause(Target, Option<Duration>),
    /// Without a pause, the worker is only tried again.
    Resume(Target),
    /// Follow the log of this unit.
    Follow(UnitName),
    /// An action that is impossible; says why.
    Refuse(String),
}

/// Workers that an effect is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Its display name.
    pub name: String,
    /// The targets for the daemon; empty for everything.
    pub targets: Vec<String>,
}

impl Target {
    pub fn worker(worker: &WorkerReport) -> Self {
        Self { name: worker.name(), targets: vec![worker.unit.to_string()] }
    }

    pub fn site(site: &str) -> Self {
        Self { name: format!("the site {site}"), targets: vec![site.to_owned()] }
    }

    pub fn everything() -> Self {
        Self { name: "everything".to_owned(), targets: Vec::new() }
    }
}
