//! A failed run whose cause is looked for.

use super::Entry;
use crate::core::units::ServiceResult;

/// A failed run, as the manager describes it.
#[derive(Debug, Clone)]
pub(in crate::manager) struct FailedRun {
    /// The id of the run that the manager began last.
    pub invocation: String,
    /// How many runs before that one may be meant: the last of them that has failed. None if that one has failed itself.
    pub earlier: u32,
    /// How that one ended; unknown if it is under way.
    pub result: ServiceResult,
    /// The process id of its main process.
    pub main: Option<u32>,
    /// Whether the main process ended without error.
    pub main_was_clean: bool,
    /// Commands that prepare, do or complete the start.
    pub work: Vec<Command>,
    /// Those of them that complete the start, while the main process runs already (`ExecStartPost=`).
    pub completion: Vec<Command>,
    /// Commands of a stop.
    pub stop: Vec<Command>,
    /// Commands of a reload.
    pub reload: Vec<Command>,
}

/// A command of a unit that was run, perhaps in an earlier run.
#[derive(Debug, Clone, Copy)]
pub(in crate::manager) struct Command {
    pub pid: u32,
    /// When the manager noted its start and its end, in microseconds since 1970. Its process can have written from the
    /// first on.
    pub begun: u64,
    pub ended: u64,
}

impl FailedRun {
    /// Its known processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.main.into_iter().chain(self.work.iter().map(|command| command.pid))
    }

    /// Whether one of them wrote the entry.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        let pid = entry.pid.as_ref().and_then(|pid| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| self.pids().any(|its| its == pid))
    }
}
