//! What the manager logged about one failed run, and what that says about the cause.

use std::collections::HashSet;

use super::failed_run::FailedRun;
use super::{Entry, FAILURE_RESULT, PROCESS_EXIT, SPAWN_FAILED};
use crate::core::units::ServiceResult;

/// `SD_MESSAGE_UNIT_OUT_OF_MEMORY`: the kernel has killed a process of the unit (sd-messages.h).
const OUT_OF_MEMORY: &str = "fe6faa94e7774663a0da52717891d8ef";
/// The lowest priority of the manager's messages about errors: `LOG_WARNING`.
const WARNING: u8 = 4;
/// Warnings of the manager that are not the cause of a failure.
const BESIDES: [&str; 6] = [
    "Found left-over process",
    "This usually indicates unclean termination",
    "Killing process",
    "Referenced but unset environment variable",
    "Supervising process",
    "Start request repeated too quickly",
];
/// How long, in microseconds, a process may be running before the manager notes its start.
const MAX_SPAWN_MICROS: u64 = 5_000_000;

/// What the manager logged about a run, the newest first, and the run's times.
pub(super) struct Record {
    pub entries: Vec<Entry>,
    /// Other runs with entries in the journal.
    others: HashSet<String>,
    /// When the run before it had ended, in microseconds since 1970.
    pub after: u64,
    /// When the run after it began, if there was one.
    pub before: Option<u64>,
    /// How it ended.
    result: ServiceResult,
    /// Whether the run before it was found, so that nothing of this one is missing.
    pub is_complete: bool,
}

impl Record {
    /// Of what the manager logged about the unit, the newest first. `None` if no run has failed.
    pub fn of(run: &FailedRun, mut entries: Vec<Entry>) -> Option<Self> {
        // Our own messages about it repeat earlier ones.
        entries.retain(|entry| entry.ours.is_none());
        let (id, result) =
            if run.earlier > 0 { failed_before(run, &entries)? } else { (run.invocation.clone(), run.result) };
        let is_its = |entry: &&Entry| entry.invocation() == Some(&id);
        let begin = entries.iter().filter(is_its).map(Entry::sent).min();
        let is_anothers = |entry: &&Entry| entry.invocation().is_some_and(|other| other != id);
        let others = entries.iter().filter(is_anothers);
        let after = others.clone().map(Entry::sent).filter(|at| begin.is_none_or(|begin| *at < begin)).max();
        let before = others.clone().map(Entry::sent).filter(|at| run.earlier > 0 && Some(*at) > begin).min();
        let others = others.filter_map(|entry| entry.invocation().map(str::to_owned)).collect();
        let is_complete = after.is_some();
        let after = after.unwrap_or_else(|| {
            let first = run.work.iter().map(|command| command.begun).min().unwrap_or(0);
            first.saturating_sub(MAX_SPAWN_MICROS)
        });
        entries.retain(|entry| match entry.invocation() {
            Some(its) => its == id,
            None => entry.sent() >= after && before.is_none_or(|before| entry.sent() <= before),
        });
        Some(Record { entries, others, after, before, result, is_complete })
    }

    /// Whether a start was refused, and no run failed by itself.
    pub fn was_refused(&self) -> bool {
        let failed_by_itself = |entry: &Entry| {
            let refusal = entry.is(FAILURE_RESULT) && entry.result.as_deref() == Some("start-limit-hit");
            (entry.is(FAILURE_RESULT) && !refusal) || entry.is(SPAWN_FAILED) || entry.is_end_of_work()
        };
        self.result == ServiceResult::StartLimitHit && !self.entries.iter().any(failed_by_itself)
    }

    /// What the manager logged, if that says more than any line of the run itself.
    pub fn told(&self, run: &FailedRun) -> Option<String> {
        // How the main process of an earlier run ended is known only if it was an error.
        let was_clean = run.main_was_clean || run.earlier > 0;
        let at_a_stop = was_clean && !self.entries.iter().any(Entry::is_end_of_work);
        self.foregone(run).or_else(|| at_a_stop.then(|| self.failed_stop()).flatten())
    }

    /// Whether the entry can be of the run's processes, by its time and its run id.
    pub fn may_have(&self, entry: &Entry) -> bool {
        let is_others = entry.own_run.as_ref().is_some_and(|run| self.others.contains(run));
        let at = entry.written();
        let is_in_time = at >= self.after && self.before.is_none_or(|before| at <= before);
        is_in_time && !is_others && entry.ours.is_none() && !entry.is_about_a_unit()
    }

    /// Whether the journal received it after the news that the main process had ended. Then other processes are told to
    /// end, and may say so.
    pub fn is_after_main(&self, entry: &Entry) -> bool {
        let is_end = |entry: &&Entry| entry.is(PROCESS_EXIT) && entry.command.as_deref() == Some("ExecStart");
        self.entries.iter().find(is_end).is_some_and(|end| entry.written() > end.written())
    }

    /// When the manager noted that the start could not be completed (`ExecStartPost=`), in microseconds since 1970, if that
    /// ended the run: then the main process is told to end.
    pub fn incomplete_at(&self) -> Option<u64> {
        let first = self.entries.iter().rev().find(|entry| entry.is_end_of_work())?;
        (first.command.as_deref() == Some("ExecStartPost")).then(|| first.sent())
    }

    /// The first message for which this holds.
    fn first(&self, holds: impl Fn(&Entry) -> bool) -> Option<String> {
        self.entries.iter().rev().filter(|entry| holds(entry)).find_map(Entry::text)
    }

    /// Why the main process never ran, although preparing ones may have: its program could not be executed, or the
    /// manager could not provide what it needs.
    fn foregone(&self, run: &FailedRun) -> Option<String> {
        let main = run.main.map(|pid| pid.to_string());
        let is_main = |entry: &Entry| main.is_some() && entry.pid == main;
        match self.result {
            ServiceResult::Resources => self.first(Entry::is_warning),
            _ => self.first(|entry| entry.is(SPAWN_FAILED) && is_main(entry)),
        }
    }

    fn failed_stop(&self) -> Option<String> {
        self.first(|entry| entry.is(PROCESS_EXIT))
    }

    pub fn refusal(&self) -> Option<String> {
        self.first(|entry| entry.says("Start request repeated too quickly"))
    }

    /// The manager's line that names the cause of a failure.
    pub fn cause(&self) -> Option<String> {
        let typical = match self.result {
            ServiceResult::Timeout => self.first(|entry| entry.is_warning() && entry.says("timed out")),
            ServiceResult::Watchdog => self.first(|entry| entry.is_warning() && entry.says("Watchdog timeout")),
            ServiceResult::OomKill => self.first(|entry| entry.is(OUT_OF_MEMORY)),
            ServiceResult::Protocol => {
                self.first(Entry::is_warning).or_else(|| self.first(|entry| entry.says("PID file")))
            }
            _ => None,
        };
        typical
            .or_else(|| self.first(|entry| entry.is(SPAWN_FAILED)))
            .or_else(|| self.first(|entry| entry.is_end_of_work() && entry.says("Main process")))
            .or_else(|| self.first(Entry::is_end_of_work))
            .or_else(|| self.first(Entry::is_warning))
            .or_else(|| self.failed_stop())
            .or_else(|| self.refusal())
    }
}

/// The last run before the latest one that has failed, and how, if it is one of those that may be meant.
fn failed_before(run: &FailedRun, entries: &[Entry]) -> Option<(String, ServiceResult)> {
    let mut ids: Vec<&str> = entries.iter().filter_map(Entry::invocation).filter(|id| *id != run.invocation).collect();
    ids.dedup();
    let failure = |id| entries.iter().find(|entry| entry.is(FAILURE_RESULT) && entry.invocation() == Some(id));
    let failures = ids.into_iter().take(run.earlier as usize).find_map(|id| Some((id, failure(id)?)));
    failures.map(|(id, entry)| (id.to_owned(), ServiceResult::from(entry.result.as_deref().unwrap_or_default())))
}

impl Entry {
    /// A process failed that was neither for a stop nor for a reload.
    fn is_end_of_work(&self) -> bool {
        self.is(PROCESS_EXIT) && !matches!(self.command.as_deref(), Some("ExecStop" | "ExecStopPost" | "ExecReload"))
    }

    /// An error without a message id.
    fn is_warning(&self) -> bool {
        let is_urgent = self.priority.as_ref().and_then(|it| it.parse::<u8>().ok()).is_some_and(|it| it <= WARNING);
        is_urgent && self.message_id.is_none() && !BESIDES.iter().any(|text| self.says(text))
    }

    fn says(&self, words: &str) -> bool {
        self.text().is_some_and(|text| text.contains(words))
    }
}
