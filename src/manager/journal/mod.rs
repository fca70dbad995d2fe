//! What the journal knows about a unit: its log, the cause of a failure, and whether its last stop was requested.
//!
//! `journalctl` is run with matches on fields instead of `--user`: system users and root have no journals of their own,
//! and their units log to the system journal with the same fields. Without `--user`, every journal that the caller may
//! read is searched.

mod authors;
mod entry;
mod error;
mod failed_run;
mod history;
mod record;
mod stops;

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::process::Command;
use tokio::time::timeout;

use super::Scope;
use super::log::{Author, Log, Printed, WantedLines};
use crate::core::text::excerpt;
use crate::core::units::UnitName;
use entry::{Entry, OUTPUT_FIELDS};

pub(super) use failed_run::{Command as RunCommand, FailedRun};
pub(super) use stops::End;

/// Maximum time of a search.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);
/// `SD_MESSAGE_UNIT_STOPPING`: systemd begins to stop a unit (sd-messages.h).
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
/// `SD_MESSAGE_UNIT_STOPPED`: it has stopped it.
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";
/// `SD_MESSAGE_UNIT_SKIPPED`: an `ExecCondition=` said no.
const SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
/// `SD_MESSAGE_SPAWN_FAILED`: a unit's program could not be executed; says why.
const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";

/// `SD_MESSAGE_UNIT_PROCESS_EXIT`: a process of a unit ended badly.
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
/// `SD_MESSAGE_UNIT_FAILURE_RESULT`: a run has failed.
const FAILURE_RESULT: &str = "d9b373ed55a64feb8242e02dbe79a49c";
/// `SD_MESSAGE_UNIT_SUCCESS`: a run has ended without error.
const SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";
/// Messages at the end of a run.
const ENDS: [&str; 3] = [PROCESS_EXIT, FAILURE_RESULT, SUCCESS];
/// The journal, restricted to the units of one manager.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    scope: Scope,
    uid: u32,
}

/// The last run of a unit's main process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
}

/// Returns the last run of a unit's main process, if there was one.
pub(super) type LastRun = Box<dyn Fn() -> BoxFuture<'static, Option<Run>> + Send + Sync>;

impl Journal {
    pub fn new(scope: Scope) -> Self {
        Self { scope, uid: rustix::process::getuid().as_raw() }
    }

    /// Lines of the unit's own processes, and lines of systemd and of our daemon about it, the oldest first. `last_run`
    /// returns its last run, if known: for that run, and for each that ends while following, lines are included that
    /// journald could not assign to the unit.
    pub async fn log(&self, unit: &UnitName, last_run: LastRun, wanted: WantedLines) -> Log {
        let mut matches = self.about(unit);
        let mut streams = match last_run().await {
            Some(run) => self.streams(unit, run).await,
            None => Vec::new(),
        };
        matches.extend(either(&streams).into_iter().flat_map(|stream| [or(), stream]));
        let (journal, unit) = (self.clone(), unit.clone());
        let mut journalctl = Command::new("journalctl");
        // Lines longer than 4 KiB would only be marked as such.
        journalctl.args(["--quiet", "--all", "--output=json", OUTPUT_FIELDS]);
        journalctl.arg(format!("--lines={}", wanted.last)).args(wanted.follow.then_some("--follow")).args(matches);
        Log::read_by(move |pen| async move {
            let mut lines = Printed::by(journalctl)?;
            while let Some(line) = lines.next().await? {
                let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
                if wanted.follow && entry.message_id.as_deref().is_some_and(|id| ENDS.contains(&id)) {
                    for orphan in journal.orphans(&unit, &last_run, &mut streams).await {
                        orphan.write(Author::Worker, &pen).await;
                    }
                }
                let author = journal.author(&entry, &unit, &streams);
                entry.write(author, &pen).await;
            }
            Ok(())
        })
    }

    /// Entries of the last run without a unit, unless its streams are known.
    async fn orphans(&self, unit: &UnitName, last_run: &LastRun, known: &mut Vec<String>) -> Vec<Entry> {
        let Some(run) = last_run().await else { return Vec::new() };
        let mut streams = self.streams(unit, run).await;
        streams.retain(|stream| !known.contains(stream));
        if streams.is_empty() {
            return Vec::new();
        }
        let mut entries = self.search(&either(&streams), 500).await.unwrap_or_default();
        entries.retain(|entry| self.unit_of(entry) != Some(unit.as_str()));
        entries.reverse();
        known.extend(streams);
        entries
    }

    fn author(&self, entry: &Entry, unit: &UnitName, streams: &[String]) -> Author {
        let is_own = self.unit_of(entry) == Some(unit.as_str())
            || entry.stream.as_ref().is_some_and(|stream| streams.contains(stream));
        match entry {
            Entry { ours: Some(_), .. } => Author::Workerheal,
            _ if is_own => Author::Worker,
            _ => Author::Manager,
        }
    }

    /// The streams of a run: those of its main process, and those known to be the unit's. Child processes use them too.
    async fn streams(&self, unit: &UnitName, run: Run) -> Vec<String> {
        let matches = self.own(&[unit.as_str()]).into_iter().chain([or(), format!("_PID={}", run.pid), since(run)]);
        let entries = self.search(&matches.collect::<Vec<_>>(), 50).await.unwrap_or_default();
        let mut streams: Vec<String> = entries.into_iter().filter_map(|entry| entry.stream).collect();
        streams.sort();
        streams.dedup();
        streams
    }

    /// Matches lines of the unit's own processes, and lines about it by authorized processes: its manager, and all that
    /// run as the same user, such as our daemon. For units of the system that is another user, and known by its unit.
    fn about(&self, unit: &UnitName) -> Vec<String> {
        let ours = [or(), format!("UNIT={}", unit.as_str()), "_SYSTEMD_UNIT=workerheal.service".to_owned()];
        let ours = ours.into_iter().filter(|_| self.scope == Scope::System);
        let unit = [unit.as_str()];
        self.own(&unit).into_iter().chain([or()]).chain(self.about_by_manager(&unit)).chain(ours).collect()
    }

    /// Matches lines about the units by authorized processes.
    fn about_by_manager(&self, units: &[&str]) -> Vec<String> {
        match self.scope {
            Scope::User => each("USER_UNIT", units).chain([format!("_UID={}", self.uid)]).collect(),
            Scope::System => each("UNIT", units).chain(["_UID=0".to_owned()]).collect(),
        }
    }

    /// Matches lines of the units' own processes, through any transport.
    fn written_by(&self, units: &[&str]) -> Vec<String> {
        let ways = ["stdout", "syslog", "journal"].map(|way| format!("_TRANSPORT={way}"));
        let mut own = self.own(units);
        own.retain(|field| !ways.contains(field));
        own.into_iter().chain(ways).collect()
    }

    /// Matches lines of the units' own processes.
    fn own(&self, units: &[&str]) -> Vec<String> {
        match self.scope {
            Scope::User => {
                each("_SYSTEMD_USER_UNIT", units).chain([format!("_SYSTEMD_OWNER_UID={}", self.uid)]).collect()
            }
            Scope::System => each("_SYSTEMD_UNIT", units).chain(["_TRANSPORT=stdout".to_owned()]).collect(),
        }
    }

    /// The unit whose process wrote the entry, if journald knew.
    fn unit_of<'a>(&self, entry: &'a Entry) -> Option<&'a str> {
        match self.scope {
            Scope::User => entry.user_unit.as_deref(),
            Scope::System => entry.unit.as_deref(),
        }
    }

    /// The newest entries that match the arguments of `journalctl`, newest first.
    async fn search(&self, arguments: &[String], at_most: u32) -> Result<Vec<Entry>, String> {
        let search = Command::new("journalctl")
            // Lines longer than 4 KiB would only be marked as such.
            .args(["--quiet", "--reverse", "--all", "--output=json", OUTPUT_FIELDS])
            .arg(format!("--lines={at_most}"))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match timeout(SEARCH_TIMEOUT, search).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("journalctl: {error}")),
            Err(_) => return Err("journalctl takes too long".to_owned()),
        };
        if !output.status.success() {
            return Err(excerpt(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

/// Fuzz target, see [`fuzz`](crate::fuzz).
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    drop(serde_json::from_slice::<Entry>(data));
}

/// Between alternative matches.
fn or() -> String {
    "+".to_owned()
}

/// Matches any of the values.
fn each(field: &str, values: &[&str]) -> impl Iterator<Item = String> {
    values.iter().map(move |value| format!("{field}={value}"))
}

/// Matches lines of any of the streams.
fn either(streams: &[String]) -> Vec<String> {
    streams.iter().map(|stream| format!("_STREAM_ID={stream}")).collect()
}

/// Excludes entries before the run: process ids are reused.
fn since(run: Run) -> String {
    format!("--since=@{}", run.started / 1_000_000)
}
