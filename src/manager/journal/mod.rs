//! What the journal knows about a unit: its log, the cause of a failure, and whether its last stop was requested.
//!
//! `journalctl` is run with matches on fields instead of `--user`: system users and root have no journals of their own,
//! and their units log to the system journal with the same fields. Without `--user`, every journal that the caller may
//! read is searched.

mod error;

use std::borrow::Cow;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::Scope;
use super::log::{Author, Log, LogLine, Pen, Printed, WantedLines};
use crate::core::event::{excerpt, log_lines};
use crate::core::units::{StopEvidence, UnitName};

pub(super) use error::{Command as RunCommand, FailedRun};

/// Maximum lag of the journal to wait for.
const MAX_LAG: Duration = Duration::from_secs(10);
/// Delays between searches for the end of a run, which usually is in the journal within milliseconds.
const CATCH_UP_DELAYS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(200)];
/// Maximum time of a search.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);
/// `SD_MESSAGE_UNIT_STOPPING`: systemd begins to stop a unit (sd-messages.h).
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
/// `SD_MESSAGE_UNIT_STOPPED`: it has stopped it.
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";
/// A unit that was only being started has just the second.
const STOPS: [&str; 2] = [STOPPING, STOPPED];
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
/// The fields of an [`Entry`].
const OUTPUT_FIELDS: &str = "--output-fields=MESSAGE,MESSAGE_ID,PRIORITY,JOB_ID,JOB_TYPE,JOB_RESULT,UNIT_RESULT,COMMAND,\
    USER_UNIT,UNIT,USER_INVOCATION_ID,INVOCATION_ID,_SYSTEMD_USER_UNIT,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,_PID,\
    _STREAM_ID,_SOURCE_REALTIME_TIMESTAMP,WORKERHEAL_PHASE";

/// The journal, restricted to the units of one manager.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    scope: Scope,
    uid: u32,
}

/// An entry, as `journalctl --output=json` prints it.
#[derive(Debug, Default, Deserialize)]
struct Entry {
    /// In microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    realtime: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: Option<Text>,
    #[serde(rename = "MESSAGE_ID", default)]
    message_id: Option<String>,
    /// When it was sent, in microseconds since 1970; missing for lines that came through a stream.
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    source: Option<String>,
    #[serde(rename = "PRIORITY", default)]
    priority: Option<String>,
    #[serde(rename = "JOB_ID", default)]
    job_id: Option<String>,
    #[serde(rename = "JOB_TYPE", default)]
    job_type: Option<String>,
    #[serde(rename = "JOB_RESULT", default)]
    job_result: Option<String>,
    #[serde(rename = "UNIT_RESULT", default)]
    result: Option<String>,
    /// The setting whose process ended, such as `ExecStart`.
    #[serde(rename = "COMMAND", default)]
    command: Option<String>,
    /// The unit that it is about, for a user's manager and for the system's.
    #[serde(rename = "USER_UNIT", default)]
    about_user_unit: Option<String>,
    #[serde(rename = "UNIT", default)]
    about_unit: Option<String>,
    /// The run that it is about, likewise.
    #[serde(rename = "USER_INVOCATION_ID", default)]
    user_invocation: Option<String>,
    #[serde(rename = "INVOCATION_ID", default)]
    system_invocation: Option<String>,
    /// The run whose process wrote it.
    #[serde(rename = "_SYSTEMD_INVOCATION_ID", default)]
    own_run: Option<String>,
    #[serde(rename = "_SYSTEMD_USER_UNIT", default)]
    user_unit: Option<String>,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    unit: Option<String>,
    #[serde(rename = "_PID", default)]
    pid: Option<String>,
    #[serde(rename = "_STREAM_ID", default)]
    stream: Option<String>,
    /// Our own daemon logs about the unit like the manager.
    #[serde(rename = "WORKERHEAL_PHASE", default)]
    ours: Option<String>,
}

impl Entry {
    /// Its message, safe to show; `None` if it is empty.
    fn line(self) -> Option<String> {
        self.text().filter(|line| !line.is_empty())
    }

    fn text(&self) -> Option<String> {
        self.message.as_ref().map(|message| excerpt(&message.as_str()))
    }

    /// When the journal received it, in microseconds since 1970.
    fn written(&self) -> u64 {
        self.realtime.as_ref().and_then(|at| at.parse().ok()).unwrap_or(0)
    }

    /// When it was sent, if known: the journal may have received it later.
    fn sent(&self) -> u64 {
        self.source.as_ref().and_then(|at| at.parse().ok()).unwrap_or_else(|| self.written())
    }

    /// The run that it is about, if it is about one.
    fn invocation(&self) -> Option<&str> {
        self.user_invocation.as_deref().or(self.system_invocation.as_deref())
    }

    fn is(&self, id: &str) -> bool {
        self.message_id.as_deref() == Some(id)
    }

    /// Whether it reports how the run or its main process ended. Other processes may fail without that.
    fn is_end_of_run(&self) -> bool {
        [FAILURE_RESULT, SUCCESS, STOPPED, SKIPPED].iter().any(|id| self.is(id))
            || (self.is(PROCESS_EXIT) && self.command.as_deref() == Some("ExecStart"))
    }

    fn is_about_a_unit(&self) -> bool {
        self.about_user_unit.is_some() || self.about_unit.is_some()
    }

    /// Adds its lines to a log.
    async fn write(self, author: Author, pen: &Pen) {
        let time = self.time();
        let Some(message) = self.message else { return };
        for text in log_lines(&message.as_str()) {
            pen.write(LogLine { time, author, text }).await;
        }
    }

    /// When it was written.
    fn time(&self) -> Option<SystemTime> {
        let since_1970 = Duration::from_micros(self.realtime.as_ref()?.parse().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since_1970)
    }
}

/// The last run of a unit's main process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
}

/// The end of a run, as the manager reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Whether the unit is down, so that there was an end.
    pub is_over: bool,
    /// Whether it was clean.
    pub was_clean: bool,
    /// Whether the unit went down in an instant: a stop takes longer.
    pub was_sudden: bool,
    /// How long ago it was.
    pub ago: Duration,
}

/// Returns the last run of a unit's main process, if there was one.
pub(super) type LastRun = Box<dyn Fn() -> BoxFuture<'static, Option<Run>> + Send + Sync>;

/// A field's value: text, or bytes where it is not printable text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes(Vec<u8>),
}

impl Text {
    fn as_str(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
        }
    }
}

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
        let matches = self.own(unit).into_iter().chain([or(), format!("_PID={}", run.pid), since(run)]);
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
        self.own(unit).into_iter().chain([or()]).chain(self.told_of(unit)).chain(ours).collect()
    }

    /// Matches lines about the unit by authorized processes.
    fn told_of(&self, unit: &UnitName) -> [String; 2] {
        let (name, uid) = (unit.as_str(), self.uid);
        match self.scope {
            Scope::User => [format!("USER_UNIT={name}"), format!("_UID={uid}")],
            Scope::System => [format!("UNIT={name}"), "_UID=0".to_owned()],
        }
    }

    /// Matches lines of the unit's own processes, through any transport.
    fn written_by(&self, unit: &UnitName) -> Vec<String> {
        let ways = ["stdout", "syslog", "journal"].map(|way| format!("_TRANSPORT={way}"));
        let mut own = Vec::from(self.own(unit));
        own.retain(|field| !ways.contains(field));
        own.into_iter().chain(ways).collect()
    }

    /// Matches lines of the unit's own processes.
    fn own(&self, unit: &UnitName) -> [String; 2] {
        let (name, uid) = (unit.as_str(), self.uid);
        match self.scope {
            Scope::User => [format!("_SYSTEMD_USER_UNIT={name}"), format!("_SYSTEMD_OWNER_UID={uid}")],
            Scope::System => [format!("_SYSTEMD_UNIT={name}"), "_TRANSPORT=stdout".to_owned()],
        }
    }

    /// The unit whose process wrote the entry, if journald knew.
    fn unit_of<'a>(&self, entry: &'a Entry) -> Option<&'a str> {
        match self.scope {
            Scope::User => entry.user_unit.as_deref(),
            Scope::System => entry.unit.as_deref(),
        }
    }

    /// Whether a requested stop ended the run with this invocation id. The opposite is only known once the journal has
    /// the manager's messages from the end of the run: it may lag behind.
    pub async fn stop_evidence(&self, id: &str, end: End) -> StopEvidence {
        for wait in CATCH_UP_DELAYS {
            match self.find_stop(id, end).await {
                StopEvidence::Unknown(_) => sleep(wait).await,
                known => return known,
            }
        }
        self.find_stop(id, end).await
    }

    /// Whether the stop that ended this run was requested before that of another unit, which went down at about the
    /// same time: jobs are numbered in the order in which they are created, and those of dependencies are created after
    /// the requested one. `pending` is the other unit's stop if that has not begun, which is not in the journal yet.
    pub async fn was_stopped_before(&self, run: &str, other: &str, pending: Option<u64>) -> bool {
        const TOLERANCE_MICROS: u64 = 2_000_000;
        let matches = match self.scope {
            Scope::User => [format!("USER_INVOCATION_ID={run}"), format!("_UID={}", self.uid)],
            Scope::System => [format!("INVOCATION_ID={run}"), "_PID=1".to_owned()],
        };
        let of_other = match self.scope {
            Scope::User => [format!("USER_UNIT={other}"), format!("_UID={}", self.uid)],
            Scope::System => [format!("UNIT={other}"), "_PID=1".to_owned()],
        };
        let stop = |entries: Vec<Entry>, near: Option<u64>| {
            let stops = entries.into_iter().filter(|entry| entry.job_type.as_deref() == Some("stop"));
            let mut stops =
                stops.filter(|entry| near.is_none_or(|near| entry.sent().abs_diff(near) <= TOLERANCE_MICROS));
            stops.find_map(|entry| Some((entry.job_id.as_deref()?.parse::<u64>().ok()?, entry.sent())))
        };
        let Some((job, at)) = stop(self.search(&matches, 100).await.unwrap_or_default(), None) else { return false };
        if let Some(pending) = pending {
            return job < pending;
        }
        let others = self.search(&of_other, 100).await.unwrap_or_default();
        stop(others, Some(at)).is_some_and(|(other, _)| job < other)
    }

    async fn find_stop(&self, id: &str, end: End) -> StopEvidence {
        let matches = match self.scope {
            Scope::User => [format!("USER_INVOCATION_ID={id}"), format!("_UID={}", self.uid)],
            Scope::System => [format!("INVOCATION_ID={id}"), "_PID=1".to_owned()],
        };
        let is_stop = |entry: &Entry| {
            let id = entry.message_id.as_deref();
            id.is_some_and(|id| STOPS.contains(&id)) && entry.job_type.as_deref() == Some("stop")
        };
        match self.search(&matches, 100).await {
            Ok(entries) if entries.iter().any(is_stop) => StopEvidence::Requested,
            Ok(entries) if entries.iter().any(Entry::is_end_of_run) => StopEvidence::NotRequested,
            Ok(entries) if entries.is_empty() => {
                StopEvidence::Unknown("the journal has no record of its last run".to_owned())
            }
            // A unit that is not down has no end to wait for.
            Ok(_) if !end.is_over => StopEvidence::NotRequested,
            Ok(_) if end.was_clean && self.has_caught_up(end).await => StopEvidence::NotRequested,
            Ok(_) => StopEvidence::Unknown("the journal has no record of the end of its last run yet".to_owned()),
            Err(why) => unreadable(&why),
        }
    }

    /// Whether the journal has everything that was sent before the end of a run. A user's manager logs nothing about a
    /// clean end.
    async fn has_caught_up(&self, end: End) -> bool {
        if end.was_sudden || end.ago >= MAX_LAG {
            return true;
        }
        let Some(at) = SystemTime::now().checked_sub(end.ago) else { return false };
        let Ok(at) = at.duration_since(SystemTime::UNIX_EPOCH) else { return false };
        // Messages on one connection keep their order.
        let matches = ["_TRANSPORT=journal".to_owned(), format!("--since=@{}", at.as_secs())];
        let entries = self.search(&matches, 20).await.unwrap_or_default();
        entries.iter().any(|entry| entry.source.is_some() && u128::from(entry.sent()) > at.as_micros())
    }

    /// For a unit of which the manager knows no run since it began, in microseconds since 1970: whether its last start
    /// ended because a unit that it needs did not come up, or it was stopped and has been unloaded since. `None` if
    /// neither.
    pub async fn end_of_last_job(&self, unit: &UnitName, began: u64) -> Result<Option<StopEvidence>, StopEvidence> {
        let mut matches = Vec::from(self.told_of(unit));
        if self.scope == Scope::System {
            matches.push("_PID=1".to_owned());
        }
        matches.extend(["start", "stop", "restart"].map(|kind| format!("JOB_TYPE={kind}")));
        matches.push(format!("--since=@{}", began / 1_000_000));
        let entries = self.search(&matches, 20).await.map_err(|why| unreadable(&why))?;
        let last = entries.iter().find(|entry| entry.sent() >= began && entry.job_result.is_some());
        Ok(last.and_then(|last| match (last.job_type.as_deref(), last.job_result.as_deref()) {
            (Some("stop"), Some("done")) => Some(StopEvidence::Requested),
            (Some("start" | "restart"), Some("dependency")) => Some(StopEvidence::KeptFromStarting),
            _ => None,
        }))
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

fn unreadable(why: &str) -> StopEvidence {
    StopEvidence::Unknown(format!("the journal cannot be read: {why}"))
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

/// Matches lines of any of the streams.
fn either(streams: &[String]) -> Vec<String> {
    streams.iter().map(|stream| format!("_STREAM_ID={stream}")).collect()
}

/// Excludes entries before the run: process ids are reused.
fn since(run: Run) -> String {
    format!("--since=@{}", run.started / 1_000_000)
}
