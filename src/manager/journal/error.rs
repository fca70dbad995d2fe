//! The cause of a failed run: its last own log line, else the manager's line that names the cause.
//!
//! A line is the run's own if one of its main or preparing processes wrote it. Output of commands like `ExecStopPost=`
//! comes after the fact, and so do the last words of children that are told to end once the main process has failed.
//! journald asks a living process for its unit, so for one that dies at once it knows at most the process id and the
//! stream, which identify its lines.

use std::collections::{HashMap, HashSet};
use std::slice;
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
/// How many messages of the manager about a unit are searched for those about the run.
const MESSAGE_LIMIT: u32 = 200;
/// How many lines are read of a run's streams.
const STREAM_LIMIT: u32 = 50;
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
    /// Whether the run before it was found, so that nothing of this one is missing.
    is_complete: bool,
}

/// A failed run whose own lines are wanted.
struct Case<'a> {
    unit: &'a UnitName,
    run: &'a FailedRun,
    record: &'a Record,
}

/// The last of the lines that were found.
#[derive(Default)]
struct Said {
    /// By the run, before its main process had ended.
    line: Option<String>,
    /// By other processes, after that.
    farewell: Option<String>,
}

impl Journal {
    /// The causes of failures of different units, in the same order. They are looked up together, as each search is a
    /// process and opens all files of the journal.
    pub async fn what_went_wrong(&self, runs: &[(UnitName, FailedRun)]) -> Vec<Option<String>> {
        let mut errors = self.find_errors(&runs.iter().collect::<Vec<_>>()).await;
        let is_missing = |at: &usize| errors[*at].is_none() && runs[*at].1.earlier == 0;
        let missing: Vec<usize> = (0..runs.len()).filter(is_missing).collect();
        if !missing.is_empty() {
            // A failing run always leaves an entry: the journal lags behind.
            sleep(RETRY_DELAY).await;
            let found = self.find_errors(&missing.iter().map(|at| &runs[*at]).collect::<Vec<_>>()).await;
            for (at, error) in missing.into_iter().zip(found) {
                errors[at] = error;
            }
        }
        errors
    }

    async fn find_errors(&self, runs: &[&(UnitName, FailedRun)]) -> Vec<Option<String>> {
        let mut errors = vec![None; runs.len()];
        let records = self.records(runs).await;
        let (mut places, mut cases) = (Vec::new(), Vec::new());
        for (at, ((unit, run), record)) in runs.iter().zip(&records).enumerate() {
            let Some(record) = record else { continue };
            if record.was_refused() {
                errors[at] = record.refusal();
            } else if let Some(line) = record.told(run) {
                errors[at] = Some(line);
            } else {
                places.push(at);
                cases.push(Case { unit, run, record });
            }
        }
        let lines = self.last_own_lines(&cases).await;
        for ((at, case), line) in places.into_iter().zip(cases).zip(lines) {
            errors[at] = line.or_else(|| case.record.cause());
        }
        errors
    }

    /// What the manager logged about each run. `None` if none has failed.
    async fn records(&self, runs: &[&(UnitName, FailedRun)]) -> Vec<Option<Record>> {
        let units: Vec<&str> = runs.iter().map(|(unit, _)| unit.as_str()).collect();
        let at_most = together(MESSAGE_LIMIT, runs.len());
        let Ok(found) = self.search(&self.about_by_manager(&units), at_most).await else {
            return runs.iter().map(|_| None).collect();
        };
        let is_all = found.len() < at_most as usize || runs.len() == 1;
        let mut by_unit: HashMap<String, Vec<Entry>> = HashMap::new();
        for entry in found {
            let unit = entry.about_user_unit.as_ref().or(entry.about_unit.as_ref());
            if let Some(unit) = unit.cloned() {
                by_unit.entry(unit).or_default().push(entry);
            }
        }
        let mut records = Vec::new();
        for (unit, run) in runs {
            let entries = by_unit.remove(unit.as_str()).unwrap_or_default();
            let mut record = Record::of(run, entries);
            // The entries of the others may have displaced its own.
            if !is_all && record.as_ref().is_none_or(|record| !record.is_complete) {
                let own = self.search(&self.about_by_manager(&[unit.as_str()]), MESSAGE_LIMIT).await;
                record = own.ok().and_then(|entries| Record::of(run, entries));
            }
            records.push(record);
        }
        records
    }

    /// The last line of each run's processes, except those of a stop or a reload.
    async fn last_own_lines(&self, cases: &[Case<'_>]) -> Vec<Option<String>> {
        let [few, many] = LINE_LIMITS;
        let Some((said, is_all)) = self.said(cases, together(few, cases.len())).await else {
            return vec![None; cases.len()];
        };
        let mut lines = Vec::new();
        for (case, mut said) in cases.iter().zip(said) {
            // Lines of others may have displaced its own.
            let limits = if cases.len() > 1 { &[few, many][..] } else { &[many] };
            let mut is_all = is_all;
            for limit in limits {
                if is_all || said.line.is_some() {
                    break;
                }
                let Some((found, is_all_now)) = self.said(slice::from_ref(case), *limit).await else { break };
                said = found.into_iter().next().unwrap_or_default();
                is_all = is_all_now;
            }
            lines.push(said.line.or(said.farewell));
        }
        lines
    }

    /// The last of the newest lines of each run, and whether there are no older ones.
    async fn said(&self, cases: &[Case<'_>], at_most: u32) -> Option<(Vec<Said>, bool)> {
        if cases.is_empty() {
            return Some((Vec::new(), true));
        }
        let units: Vec<&str> = cases.iter().map(|case| case.unit.as_str()).collect();
        let mut matches = self.written_by(&units);
        for pid in cases.iter().flat_map(|case| case.run.pids()) {
            matches.extend([or(), format!("_PID={pid}")]);
        }
        let seconds = |micros: u64| micros / 1_000_000;
        let since = cases.iter().map(|case| seconds(case.record.after)).min().unwrap_or(0);
        let mut period = vec![format!("--since=@{since}")];
        let until: Option<Vec<u64>> = cases.iter().map(|case| case.record.before.map(seconds)).collect();
        period.extend(until.and_then(|ends| ends.into_iter().max()).map(|end| format!("--until=@{}", end + 1)));
        matches.extend_from_slice(&period);
        let found = self.search(&matches, at_most).await.ok()?;
        let is_all = found.len() < at_most as usize;

        let mut entries: Vec<Vec<Entry>> = cases.iter().map(|_| Vec::new()).collect();
        for entry in found {
            let of_unit = |case: &Case<'_>| self.unit_of(&entry) == Some(case.unit.as_str());
            let by_process = |case: &Case<'_>| case.run.has(&entry) && case.record.may_have(&entry);
            let at = cases.iter().position(of_unit).or_else(|| cases.iter().position(by_process));
            if let Some(at) = at.filter(|at| cases[*at].record.may_have(&entry)) {
                entries[at].push(entry);
            }
        }
        let authors: Vec<Authors> =
            cases.iter().zip(&entries).map(|(case, entries)| Authors::of(case.run, case.record, entries)).collect();
        // Child processes often know best, and they use the same streams as known processes of the run.
        let mut streams: Vec<String> =
            authors.iter().flat_map(|authors| &authors.own).map(|id| format!("_STREAM_ID={id}")).collect();
        streams.sort_unstable();
        if !streams.is_empty() {
            streams.extend(period);
            let streamed = self.search(&streams, together(STREAM_LIMIT, cases.len())).await.unwrap_or_default();
            for entry in streamed {
                let is_its = |authors: &Authors| entry.stream.as_ref().is_some_and(|it| authors.own.contains(it));
                let at = authors.iter().position(is_its);
                if let Some(at) = at.filter(|at| cases[*at].record.may_have(&entry)) {
                    entries[at].push(entry);
                }
            }
        }
        let said = cases.iter().zip(authors).zip(entries);
        Some((said.map(|((case, authors), entries)| Said::of(case.record, &authors, entries)).collect(), is_all))
    }
}

/// How many entries to search for several units together: less for each, as they usually have failed alike.
fn together(limit: u32, units: usize) -> u32 {
    const EACH: u32 = 50;
    limit.max(EACH.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX)))
}

impl FailedRun {
    /// Its known processes.
    fn pids(&self) -> impl Iterator<Item = u32> {
        self.main.into_iter().chain(self.work.iter().map(|command| command.pid))
    }

    fn has(&self, entry: &Entry) -> bool {
        let pid = entry.pid.as_ref().and_then(|pid| pid.parse::<u32>().ok());
        pid.is_some_and(|pid| self.pids().any(|its| its == pid))
    }
}

impl Said {
    fn of(record: &Record, authors: &Authors, mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.written()));
        entries.retain(|entry| authors.wrote(entry));
        let speakers = authors.speakers(&entries);
        let spoke = |entry: &Entry| entry.pid.as_ref().is_some_and(|pid| speakers.contains(pid));
        let (timely, late): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| !record.is_after_main(entry) || spoke(entry));
        let last = |entries: Vec<Entry>| entries.into_iter().find_map(Entry::line);
        Self { line: last(timely), farewell: last(late) }
    }
}

impl Record {
    /// Of what the manager logged about the unit, the newest first. `None` if no run has failed.
    fn of(run: &FailedRun, mut entries: Vec<Entry>) -> Option<Self> {
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
    fn was_refused(&self) -> bool {
        let failed_by_itself = |entry: &Entry| {
            let refusal = entry.is(FAILURE_RESULT) && entry.result.as_deref() == Some("start-limit-hit");
            (entry.is(FAILURE_RESULT) && !refusal) || entry.is(SPAWN_FAILED) || entry.is_end_of_work()
        };
        self.result == ServiceResult::StartLimitHit && !self.entries.iter().any(failed_by_itself)
    }

    /// What the manager logged, if that says more than any line of the run itself.
    fn told(&self, run: &FailedRun) -> Option<String> {
        // How the main process of an earlier run ended is known only if it was an error.
        let was_clean = run.main_was_clean || run.earlier > 0;
        let at_a_stop = was_clean && !self.entries.iter().any(Entry::is_end_of_work);
        self.foregone(run).or_else(|| at_a_stop.then(|| self.failed_stop()).flatten())
    }

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
