//! What the journal knows of a unit: its log, its last line, and whether its last stop was requested.
//!
//! `journalctl` is asked, with matches on fields instead of `--user`: journald keeps no journal of
//! their own for system users and for root, whose units log to the system journal under the same
//! fields; and without `--user` every journal that the caller may read is searched.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::Scope;
use super::log::{Author, Log, LogLine, Pen, Printed, WantedLines};
use crate::core::event::{excerpt, log_lines};
use crate::core::units::{StopEvidence, UnitName};

/// How long a search may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// `SD_MESSAGE_UNIT_STOPPING` and `SD_MESSAGE_UNIT_STOPPED`: systemd begins to stop a unit, and has
/// stopped it (sd-messages.h). Of one that was only being started there is just the second.
const STOPS: [&str; 2] = ["de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"];
/// `SD_MESSAGE_SPAWN_FAILED`: a unit's program could not be executed; says why.
const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";

/// `SD_MESSAGE_UNIT_PROCESS_EXIT`, `SD_MESSAGE_UNIT_FAILURE_RESULT` and `SD_MESSAGE_UNIT_SUCCESS`: what is
/// told at the end of a run.
const ENDS: [&str; 3] =
    ["98e322203f7a4ed290d09fe03c09fe15", "d9b373ed55a64feb8242e02dbe79a49c", "7ad2d189f7e94e70a38c781354912448"];
/// The fields that an [`Entry`] is read from.
const OUTPUT_FIELDS: &str =
    "--output-fields=MESSAGE,MESSAGE_ID,JOB_TYPE,_SYSTEMD_USER_UNIT,_SYSTEMD_UNIT,_PID,_STREAM_ID,WORKERHEAL_PHASE";

/// The journal, as far as it is about the units of one manager.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    scope: Scope,
    uid: u32,
}

/// One entry, as `journalctl --output=json` prints it.
#[derive(Debug, Default, Deserialize)]
struct Entry {
    /// In microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    realtime: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: Option<Text>,
    #[serde(rename = "MESSAGE_ID", default)]
    message_id: Option<String>,
    #[serde(rename = "JOB_TYPE", default)]
    job_type: Option<String>,
    #[serde(rename = "_SYSTEMD_USER_UNIT", default)]
    user_unit: Option<String>,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    unit: Option<String>,
    #[serde(rename = "_PID", default)]
    pid: Option<String>,
    #[serde(rename = "_STREAM_ID", default)]
    stream: Option<String>,
    /// Our own daemon tells of the unit as the manager does.
    #[serde(rename = "WORKERHEAL_PHASE", default)]
    ours: Option<String>,
}

impl Entry {
    /// What it says, fit to show; `None` if that is nothing.
    fn line(self) -> Option<String> {
        self.message.map(|message| excerpt(&message.into_string())).filter(|line| !line.is_empty())
    }

    /// Puts its lines in a log.
    async fn write(self, author: Author, pen: &Pen) {
        let time = self.time();
        let Some(message) = self.message else { return };
        for text in log_lines(&message.into_string()) {
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

/// Answers the last run of a unit's main process, if there was one.
pub(super) type LastRun = Box<dyn Fn() -> BoxFuture<'static, Option<Run>> + Send + Sync>;

/// A field's value: text, or bytes where it is not printable text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Bytes(Vec<u8>),
}

impl Text {
    fn into_string(self) -> String {
        match self {
            Self::Plain(text) => text,
            Self::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

impl Journal {
    pub fn new(scope: Scope) -> Self {
        Self { scope, uid: rustix::process::getuid().as_raw() }
    }

    /// The last line that the unit's own processes wrote, else why it could not be executed, else
    /// the last that systemd wrote of it; since the start of its last run, if that is known.
    pub async fn last_line(&self, unit: &UnitName, run: Option<Run>) -> Option<String> {
        let name = unit.as_str();
        let mut arguments = self.about(unit);
        let pid = run.map(|run| run.pid.to_string());
        if let (Some(run), Some(pid)) = (run, &pid) {
            // journald asks the living process for its unit: of one that dies at once it only
            // knows the process id.
            arguments.extend([or(), format!("_PID={pid}"), since(run)]);
        }
        let mut entries = self.search(&arguments, 50).await.ok()?;
        // What we have told of it repeats what it said before.
        entries.retain(|entry| entry.ours.is_none());
        let is_own = |entry: &Entry| self.unit_of(entry) == Some(name) || (pid.is_some() && entry.pid == pid);
        let is_spawn_failure = |entry: &Entry| entry.message_id.as_deref() == Some(SPAWN_FAILED);
        let (spawn_failures, rest): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_spawn_failure);
        let (own, others): (Vec<Entry>, Vec<Entry>) = rest.into_iter().partition(is_own);
        // The same goes for its children, and they often know best. What they wrote came the same
        // way as what is known to be its own.
        let stream = own.iter().find_map(|entry| entry.stream.as_ref()).map(|id| format!("_STREAM_ID={id}"));
        let streamed = match stream {
            Some(stream) => self.search(&[stream], 5).await.unwrap_or_default(),
            None => Vec::new(),
        };
        [streamed, own, spawn_failures, others].into_iter().flatten().find_map(Entry::line)
    }

    /// What the unit's own processes wrote, and what systemd and our own daemon wrote of it, the oldest
    /// first. `last_run` answers its last run, if that is known: of that, and of each that ends while
    /// one follows, also what journald did not know to be the unit's.
    pub async fn log(&self, unit: &UnitName, last_run: LastRun, wanted: WantedLines) -> Log {
        let mut matches = self.about(unit);
        let mut streams = match last_run().await {
            Some(run) => self.streams(unit, run).await,
            None => Vec::new(),
        };
        matches.extend(either(&streams).into_iter().flat_map(|stream| [or(), stream]));
        let (journal, unit) = (self.clone(), unit.clone());
        let mut journalctl = Command::new("journalctl");
        // Of lines longer than 4 KiB it would only say that they are.
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

    /// The entries of the last run that do not say whose they are, unless its streams are known.
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

    /// The ways to the journal of a run: those of its main process, and of what is known to be the unit's.
    /// Children came by them too.
    async fn streams(&self, unit: &UnitName, run: Run) -> Vec<String> {
        let matches = self.own(unit).into_iter().chain([or(), format!("_PID={}", run.pid), since(run)]);
        let entries = self.search(&matches.collect::<Vec<_>>(), 50).await.unwrap_or_default();
        let mut streams: Vec<String> = entries.into_iter().filter_map(|entry| entry.stream).collect();
        streams.sort();
        streams.dedup();
        streams
    }

    /// Matches what the unit's own processes wrote, and what others wrote of it who may: its manager, and
    /// whoever runs as the same user, our own daemon among them.
    fn about(&self, unit: &UnitName) -> Vec<String> {
        let (name, uid) = (unit.as_str(), self.uid);
        let others = match self.scope {
            Scope::User => [format!("USER_UNIT={name}"), format!("_UID={uid}")],
            Scope::System => [format!("UNIT={name}"), "_UID=0".to_owned()],
        };
        self.own(unit).into_iter().chain([or()]).chain(others).collect()
    }

    /// Matches what the unit's own processes wrote.
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

    /// Whether the run with this invocation id was ended by a stop that somebody requested.
    pub async fn stop_evidence(&self, id: &str) -> StopEvidence {
        let matches = match self.scope {
            Scope::User => [format!("USER_INVOCATION_ID={id}"), format!("_UID={}", self.uid)],
            Scope::System => [format!("INVOCATION_ID={id}"), "_PID=1".to_owned()],
        };
        match self.search(&matches, 100).await {
            Ok(entries) if entries.is_empty() => {
                StopEvidence::Unknown("the journal has no record of its last run".to_owned())
            }
            Ok(entries) => {
                let requested = entries.iter().any(|entry| {
                    let id = entry.message_id.as_deref();
                    id.is_some_and(|id| STOPS.contains(&id)) && entry.job_type.as_deref() == Some("stop")
                });
                if requested { StopEvidence::Requested } else { StopEvidence::NotRequested }
            }
            Err(why) => StopEvidence::Unknown(format!("the journal cannot be read: {why}")),
        }
    }

    /// The newest entries that match the arguments of `journalctl`, newest first.
    async fn search(&self, arguments: &[String], at_most: u32) -> Result<Vec<Entry>, String> {
        let search = Command::new("journalctl")
            .args(["--quiet", "--reverse", "--output=json", OUTPUT_FIELDS])
            .arg(format!("--lines={at_most}"))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match timeout(PATIENCE, search).await {
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

/// Any bytes as an entry: see [`fuzz`](crate::fuzz).
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    drop(serde_json::from_slice::<Entry>(data));
}

/// Between matches of which one is enough.
fn or() -> String {
    "+".to_owned()
}

/// Matches what came through any of the streams.
fn either(streams: &[String]) -> Vec<String> {
    streams.iter().map(|stream| format!("_STREAM_ID={stream}")).collect()
}

/// No entries before the run: process ids are used again.
fn since(run: Run) -> String {
    format!("--since=@{}", run.started / 1_000_000)
}
