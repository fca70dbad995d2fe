//! The cause of a failed run: its last own log line, else the manager's line that names the cause.
//!
//! A line is the run's own if one of its main or preparing processes wrote it. Output of commands like `ExecStopPost=`
//! comes after the fact, and so do the last words of children that are told to end once the main process has failed.
//! journald asks a living process for its unit, so for one that dies at once it knows at most the process id and the
//! stream, which identify its lines.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::sleep;

use super::{Entry, FAILURE_RESULT, Journal, PROCESS_EXIT, SPAWN_FAILED, STOPPING, or};
use crate::core::units::{ServiceResult, UnitName};

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
/// Delay before a second search, if the first has found nothing.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How many lines are searched for the last own one; and how many if all of those were of other processes.
const LINE_LIMITS: [u32; 2] = [200, 10_000];

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

/// What the manager logged about a run, the newest first, and the run's times.
struct Record {
    entries: Vec<Entry>,
    /// Other runs with entries in the journal.
    others: HashSet<String>,
    /// When the run before it had ended, in microseconds since 1970.
    after: u64,
    /// When the run after it began, if there was one.
    before: Option<u64>,
    /// How it ended.
    result: ServiceResult,
}

impl Journal {
    /// The cause of a run's failure.
    pub async fn what_went_wrong(&self, unit: &UnitName, run: &FailedRun) -> Option<String> {
        let found = self.find_error(unit, run).await;
        if found.is_some() || run.earlier > 0 {
            return found;
        }
        // A failing run always leaves an entry: the journal lags behind.
        sleep(RETRY_DELAY).await;
        self.find_error(unit, run).await
    }

    async fn find_error(&self, unit: &UnitName, run: &FailedRun) -> Option<String> {
        let record = self.record(unit, run).await?;
        let failed_by_itself = |entry: &Entry| {
            let refusal = entry.is(FAILURE_RESULT) && entry.result.as_deref() == Some("start-limit-hit");
            (entry.is(FAILURE_RESULT) && !refusal) || entry.is(SPAWN_FAILED) || entry.is_end_of_work()
        };
        if record.result == ServiceResult::StartLimitHit && !record.entries.iter().any(failed_by_itself) {
            return record.refusal();
        }
        if let Some(line) = record.foregone(run) {
            return Some(line);
        }
        // How the main process of an earlier run ended is known only if it was an error.
        let at_a_stop = (run.main_was_clean || run.earlier > 0) && !record.entries.iter().any(Entry::is_end_of_work);
        if at_a_stop && let Some(line) = record.failed_stop() {
            return Some(line);
        }
        match self.last_own_line(unit, run, &record).await {
            Some(line) => Some(line),
            None => record.cause(),
        }
    }

    /// What the manager logged about the run. `None` if none has failed.
    async fn record(&self, unit: &UnitName, run: &FailedRun) -> Option<Record> {
        let mut entries = self.search(&self.about_by_manager(unit.as_str()), 200).await.ok()?;
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
        let after = after.unwrap_or_else(|| {
            let first = run.work.iter().map(|command| command.begun).min().unwrap_or(0);
            first.saturating_sub(MAX_SPAWN_MICROS)
        });
        entries.retain(|entry| match entry.invocation() {
            Some(its) => its == id,
            None => entry.sent() >= after && before.is_none_or(|before| entry.sent() <= before),
        });
        Some(Record { entries, others, after, before, result })
    }

    /// The last line of the run's processes, except those of a stop or a reload.
    async fn last_own_line(&self, unit: &UnitName, run: &FailedRun, record: &Record) -> Option<String> {
        let mut matches = self.written_by(unit);
        for pid in run.main.into_iter().chain(run.work.iter().map(|command| command.pid)) {
            matches.extend([or(), format!("_PID={pid}")]);
        }
        let since = format!("--since=@{}", record.after / 1_000_000);
        matches.push(since.clone());
        let mut farewell = None;
        for lines in LINE_LIMITS {
            let found = self.search(&matches, lines).await.ok()?;
            let is_all = found.len() < lines as usize;
            let mut entries: Vec<Entry> = found.into_iter().filter(|entry| record.may_have(entry)).collect();
            let authors = Authors::of(run, record, &entries);
            // Child processes often know best, and they use the same streams as known processes of the run.
            let mut streams: Vec<String> = authors.own.iter().map(|id| format!("_STREAM_ID={id}")).collect();
            streams.sort_unstable();
            if !streams.is_empty() {
                streams.push(since.clone());
                let streamed = self.search(&streams, 50).await.unwrap_or_default();
                entries.extend(streamed.into_iter().filter(|entry| record.may_have(entry)));
            }
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.written()));
            entries.retain(|entry| authors.wrote(entry));
            let speakers = authors.speakers(&entries);
            let spoke = |entry: &Entry| entry.pid.as_ref().is_some_and(|pid| speakers.contains(pid));
            let (timely, late): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|entry| !record.is_after_main(entry) || spoke(entry));
            if let Some(line) = timely.into_iter().find_map(Entry::line) {
                return Some(line);
            }
            farewell = farewell.or_else(|| late.into_iter().find_map(Entry::line));
            if is_all {
                break;
            }
        }
        farewell
    }
}

impl Record {
    /// Whether the entry can be of the run's processes, by its time and its run id.
    fn may_have(&self, entry: &Entry) -> bool {
        let is_others = entry.own_run.as_ref().is_some_and(|run| self.others.contains(run));
        let at = entry.written();
        let is_in_time = at >= self.after && self.before.is_none_or(|before| at <= before);
        is_in_time && !is_others && entry.ours.is_none() && !entry.is_about_a_unit()
    }

    /// Whether the journal received it after the news that the main process had ended. Then other processes are told to
    /// end, and may say so.
    fn is_after_main(&self, entry: &Entry) -> bool {
        let is_end = |entry: &&Entry| entry.is(PROCESS_EXIT) && entry.command.as_deref() == Some("ExecStart");
        self.entries.iter().find(is_end).is_some_and(|end| entry.written() > end.written())
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

    fn refusal(&self) -> Option<String> {
        self.first(|entry| entry.says("Start request repeated too quickly"))
    }

    /// The manager's line that names the cause of a failure.
    fn cause(&self) -> Option<String> {
        let typical = match self.result {
            ServiceResult::Timeout => self.first(|entry| entry.is_warning() && entry.says("timed out")),
            ServiceResult::Watchdog => self.first(|entry| entry.is_warning() && entry.says("Watchdog timeout")),
            ServiceResult::OomKill => self.first(|entry| entry.is(OUT_OF_MEMORY)),
            ServiceResult::Protocol => self.first(Entry::is_warning),
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

/// Which lines count.
struct Authors {
    /// Processes of a stop or reload.
    aside: HashSet<String>,
    /// Processes of the run itself.
    work: HashSet<String>,
    /// The streams of those.
    own: HashSet<String>,
    /// When the stop began that the first of its commands belongs to: unknown processes after that belong to it.
    stop: Option<u64>,
}

impl Authors {
    fn of(run: &FailedRun, record: &Record, entries: &[Entry]) -> Self {
        let in_time = |command: &&Command| command.begun >= record.after;
        let pids = |commands: &[Command]| commands.iter().filter(in_time).map(|it| it.pid.to_string()).collect();
        let mut aside: HashSet<String> = pids(&run.stop);
        aside.extend(pids(&run.reload));
        let mut work: HashSet<String> = pids(&run.work);
        work.extend(run.main.map(|pid| pid.to_string()));
        let first_stop = run.stop.iter().filter(in_time).map(|command| command.begun).min();
        let logged =
            record.entries.iter().filter(|entry| entry.is(PROCESS_EXIT) || entry.is(STOPPING)).map(Entry::sent);
        let ends = run.work.iter().map(|command| command.ended).chain(logged);
        let stop = first_stop.map(|stop| ends.filter(|end| *end <= stop && *end >= record.after).max().unwrap_or(stop));
        let mut authors = Self { aside, work, own: HashSet::new(), stop };
        let foreign: HashSet<&String> =
            entries.iter().filter(|it| authors.is_aside(it)).filter_map(|it| it.stream.as_ref()).collect();
        authors.own = entries
            .iter()
            .filter(|entry| authors.is_work(entry) || (!authors.is_aside(entry) && authors.is_before_a_stop(entry)))
            .filter_map(|entry| entry.stream.clone())
            .filter(|stream| !foreign.contains(stream))
            .collect();
        authors
    }

    fn is_aside(&self, entry: &Entry) -> bool {
        entry.pid.as_ref().is_some_and(|pid| self.aside.contains(pid))
    }

    fn is_work(&self, entry: &Entry) -> bool {
        entry.pid.as_ref().is_some_and(|pid| self.work.contains(pid))
    }

    fn is_before_a_stop(&self, entry: &Entry) -> bool {
        self.stop.is_none_or(|stop| entry.written() < stop)
    }

    /// The processes whose lines may arrive in the journal after the news of the main process's end, as streams are read
    /// in no order with other messages: the known ones of the run, else that which wrote first. The entries are sorted,
    /// the newest first.
    fn speakers(&self, entries: &[Entry]) -> HashSet<String> {
        let known: HashSet<String> =
            entries.iter().filter(|entry| self.is_work(entry)).filter_map(|entry| entry.pid.clone()).collect();
        if known.is_empty() {
            entries.iter().rev().find_map(|entry| entry.pid.clone()).into_iter().collect()
        } else {
            known
        }
    }

    /// Whether the entry is about the main process.
    fn wrote(&self, entry: &Entry) -> bool {
        match &entry.stream {
            Some(stream) => self.own.contains(stream),
            None => self.is_work(entry) || (!self.is_aside(entry) && self.is_before_a_stop(entry)),
        }
    }
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
