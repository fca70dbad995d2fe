//! What the journal knows of a unit: its last line, and whether its last stop was requested.
//!
//! `journalctl` is asked, with matches on fields instead of `--user`: journald keeps no journal of
//! their own for system users and for root, whose units log to the system journal under the same
//! fields; and without `--user` every journal that the caller may read is searched.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::Scope;
use crate::core::event::excerpt;
use crate::core::units::{StopEvidence, UnitName};

/// How long a search may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// `SD_MESSAGE_UNIT_STOPPING` and `SD_MESSAGE_UNIT_STOPPED`: systemd begins to stop a unit, and has
/// stopped it (sd-messages.h). Of one that was only being started there is just the second.
const STOPS: [&str; 2] = ["de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"];
/// `SD_MESSAGE_SPAWN_FAILED`: a unit's program could not be executed; says why.
const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";

/// The journal, as far as it is about the units of one manager.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    scope: Scope,
    uid: u32,
}

/// One entry, as `journalctl --output=json` prints it.
#[derive(Debug, Default, Deserialize)]
struct Entry {
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
}

/// The last run of a unit's main process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
}

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
        let (name, uid) = (unit.as_str(), self.uid);
        let (own, managers) = match self.scope {
            Scope::User => (
                [format!("_SYSTEMD_USER_UNIT={name}"), format!("_SYSTEMD_OWNER_UID={uid}")],
                [format!("USER_UNIT={name}"), format!("_UID={uid}")],
            ),
            Scope::System => (
                [format!("_SYSTEMD_UNIT={name}"), "_TRANSPORT=stdout".to_owned()],
                [format!("UNIT={name}"), "_PID=1".to_owned()],
            ),
        };
        let or = || "+".to_owned();
        let mut arguments: Vec<String> = own.into_iter().chain([or()]).chain(managers).collect();
        let pid = run.map(|run| run.pid.to_string());
        if let (Some(run), Some(pid)) = (run, &pid) {
            // journald asks the living process for its unit: of one that dies at once it only
            // knows the process id.
            arguments.extend([or(), format!("_PID={pid}"), format!("--since=@{}", run.started / 1_000_000)]);
        }
        let mut entries = self.search(&arguments, 50).await.ok()?;
        // What we have told of it repeats what it said before.
        entries.retain(|entry| entry.ours.is_none());
        let is_own = |entry: &Entry| {
            let by = match self.scope {
                Scope::User => &entry.user_unit,
                Scope::System => &entry.unit,
            };
            by.as_deref() == Some(name) || (pid.is_some() && entry.pid == pid)
        };
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
            .args(["--quiet", "--reverse", "--output=json"])
            .arg("--output-fields=MESSAGE,MESSAGE_ID,JOB_TYPE,_SYSTEMD_USER_UNIT,_SYSTEMD_UNIT,_PID,_STREAM_ID,WORKERHEAL_PHASE")
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
