//! The cause of a failed run: its last own log line, else the manager's line that names the cause.

use std::collections::HashMap;
use std::slice;
use std::time::Duration;

use tokio::time::sleep;

use super::authors::{Authors, Said};
use super::failed_run::FailedRun;
use super::record::Record;
use super::{Entry, Journal, or};
use crate::core::units::UnitName;

/// Delay before a second search, if the first has found nothing.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How many messages of the manager about a unit are searched for those about the run.
const MESSAGE_LIMIT: u32 = 200;
/// How many lines are read of a run's streams.
const STREAM_LIMIT: u32 = 50;
/// How many lines are searched for the last own one; and how many if all of those were of other processes.
const LINE_LIMITS: [u32; 2] = [200, 10_000];

/// A failed run whose own lines are wanted.
struct Case<'a> {
    unit: &'a UnitName,
    run: &'a FailedRun,
    record: &'a Record,
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
