//! Which lines of the journal a failed run wrote itself, and the last of them.
//!
//! A line is the run's own if one of its main or preparing processes wrote it. Output of commands like `ExecStopPost=`
//! comes after the fact, and so do the last words of children that are told to end once the main process has failed, and
//! those of a main process that is told to end because `ExecStartPost=` has failed.
//! journald asks a living process for its unit, so for one that dies at once it knows at most the process id and the
//! stream, which identify its lines.

use std::collections::HashSet;

use super::failed_run::{Command, FailedRun};
use super::record::Record;
use super::{Entry, PROCESS_EXIT, STOPPING};

/// The last of the lines that were found.
#[derive(Default)]
pub(super) struct Said {
    /// By the run, before its main process had ended.
    pub line: Option<String>,
    /// By other processes, after that.
    pub farewell: Option<String>,
}

impl Said {
    pub fn of(record: &Record, authors: &Authors, mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.written()));
        entries.retain(|entry| authors.wrote(entry));
        if let Some(at) = record.incomplete_at() {
            let culprit = Processes::of(&authors.completion, &entries);
            let mut its_lines = entries.iter().filter(|entry| culprit.wrote(entry)).filter_map(Entry::text);
            if let Some(line) = its_lines.find(|line| !line.is_empty()) {
                return Self { line: Some(line), farewell: None };
            }
            let main = Processes::of(&authors.main, &entries);
            entries.retain(|entry| entry.written() <= at || !main.wrote(entry));
        }
        let speakers = authors.speakers(&entries);
        let spoke = |entry: &Entry| entry.pid.as_ref().is_some_and(|pid| speakers.contains(pid));
        let (timely, late): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| !record.is_after_main(entry) || spoke(entry));
        let last = |entries: Vec<Entry>| entries.into_iter().find_map(Entry::line);
        Self { line: last(timely), farewell: last(late) }
    }
}

/// Which lines count.
pub(super) struct Authors {
    /// Processes of a stop or reload.
    aside: HashSet<String>,
    /// Processes of the run itself.
    work: HashSet<String>,
    /// Its main process.
    main: HashSet<String>,
    /// Processes that complete its start.
    completion: HashSet<String>,
    /// The streams of the run's processes.
    pub own: HashSet<String>,
    /// When the stop began that the first of its commands belongs to: unknown processes after that belong to it.
    stop: Option<u64>,
}

impl Authors {
    pub fn of(run: &FailedRun, record: &Record, entries: &[Entry]) -> Self {
        let in_time = |command: &&Command| command.begun >= record.after;
        let pids = |commands: &[Command]| commands.iter().filter(in_time).map(|it| it.pid.to_string()).collect();
        let mut aside: HashSet<String> = pids(&run.stop);
        aside.extend(pids(&run.reload));
        let main: HashSet<String> = run.main.map(|pid| pid.to_string()).into_iter().collect();
        let mut work: HashSet<String> = pids(&run.work);
        work.extend(main.iter().cloned());
        let first_stop = run.stop.iter().filter(in_time).map(|command| command.begun).min();
        let logged =
            record.entries.iter().filter(|entry| entry.is(PROCESS_EXIT) || entry.is(STOPPING)).map(Entry::sent);
        let ends = run.work.iter().map(|command| command.ended).chain(logged);
        let stop = first_stop.map(|stop| ends.filter(|end| *end <= stop && *end >= record.after).max().unwrap_or(stop));
        let mut authors = Self { aside, work, main, completion: pids(&run.completion), own: HashSet::new(), stop };
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

    /// Whether the run itself wrote it.
    fn wrote(&self, entry: &Entry) -> bool {
        match &entry.stream {
            Some(stream) => self.own.contains(stream),
            None => self.is_work(entry) || (!self.is_aside(entry) && self.is_before_a_stop(entry)),
        }
    }
}

/// Some processes of a run, with their children: those use the same streams.
struct Processes<'a> {
    pids: &'a HashSet<String>,
    streams: HashSet<String>,
}

impl<'a> Processes<'a> {
    fn of(pids: &'a HashSet<String>, entries: &[Entry]) -> Self {
        let own = entries.iter().filter(|entry| entry.pid.as_ref().is_some_and(|pid| pids.contains(pid)));
        Self { pids, streams: own.filter_map(|entry| entry.stream.clone()).collect() }
    }

    fn wrote(&self, entry: &Entry) -> bool {
        let is_of = |set: &HashSet<String>, id: &Option<String>| id.as_ref().is_some_and(|id| set.contains(id));
        is_of(self.pids, &entry.pid) || is_of(&self.streams, &entry.stream)
    }
}
