//! An entry of the journal.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::{FAILURE_RESULT, PROCESS_EXIT, SKIPPED, STOPPED, SUCCESS};
use crate::core::text::{excerpt, log_lines};
use crate::manager::log::{Author, LogLine, Pen};

/// The fields of an [`Entry`].
pub(super) const OUTPUT_FIELDS: &str = "--output-fields=MESSAGE,MESSAGE_ID,PRIORITY,JOB_ID,JOB_TYPE,JOB_RESULT,UNIT_RESULT,COMMAND,\
    USER_UNIT,UNIT,USER_INVOCATION_ID,INVOCATION_ID,_SYSTEMD_USER_UNIT,_SYSTEMD_UNIT,_SYSTEMD_INVOCATION_ID,_PID,\
    _STREAM_ID,_SOURCE_REALTIME_TIMESTAMP,WORKERHEAL_PHASE";

/// An entry, as `journalctl --output=json` prints it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    /// In microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    pub realtime: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    pub message: Option<Text>,
    #[serde(rename = "MESSAGE_ID", default)]
    pub message_id: Option<String>,
    /// When it was sent, in microseconds since 1970; missing for lines that came through a stream.
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP", default)]
    pub source: Option<String>,
    #[serde(rename = "PRIORITY", default)]
    pub priority: Option<String>,
    #[serde(rename = "JOB_ID", default)]
    pub job_id: Option<String>,
    #[serde(rename = "JOB_TYPE", default)]
    pub job_type: Option<String>,
    #[serde(rename = "JOB_RESULT", default)]
    pub job_result: Option<String>,
    #[serde(rename = "UNIT_RESULT", default)]
    pub result: Option<String>,
    /// The setting whose process ended, such as `ExecStart`.
    #[serde(rename = "COMMAND", default)]
    pub command: Option<String>,
    /// The unit that it is about, for a user's manager and for the system's.
    #[serde(rename = "USER_UNIT", default)]
    pub about_user_unit: Option<String>,
    #[serde(rename = "UNIT", default)]
    pub about_unit: Option<String>,
    /// The run that it is about, likewise.
    #[serde(rename = "USER_INVOCATION_ID", default)]
    pub user_invocation: Option<String>,
    #[serde(rename = "INVOCATION_ID", default)]
    pub system_invocation: Option<String>,
    /// The run whose process wrote it.
    #[serde(rename = "_SYSTEMD_INVOCATION_ID", default)]
    pub own_run: Option<String>,
    #[serde(rename = "_SYSTEMD_USER_UNIT", default)]
    pub user_unit: Option<String>,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    pub unit: Option<String>,
    #[serde(rename = "_PID", default)]
    pub pid: Option<String>,
    #[serde(rename = "_STREAM_ID", default)]
    pub stream: Option<String>,
    /// Our own daemon logs about the unit like the manager.
    #[serde(rename = "WORKERHEAL_PHASE", default)]
    pub ours: Option<String>,
}

impl Entry {
    /// Its message, safe to show; `None` if it is empty.
    pub fn line(self) -> Option<String> {
        self.text().filter(|line| !line.is_empty())
    }

    pub fn text(&self) -> Option<String> {
        self.message.as_ref().map(|message| excerpt(&message.as_str()))
    }

    /// When the journal received it, in microseconds since 1970.
    pub fn written(&self) -> u64 {
        self.realtime.as_ref().and_then(|at| at.parse().ok()).unwrap_or(0)
    }

    /// When it was sent, if known: the journal may have received it later.
    pub fn sent(&self) -> u64 {
        self.source.as_ref().and_then(|at| at.parse().ok()).unwrap_or_else(|| self.written())
    }

    /// The run that it is about, if it is about one.
    pub fn invocation(&self) -> Option<&str> {
        self.user_invocation.as_deref().or(self.system_invocation.as_deref())
    }

    pub fn is(&self, id: &str) -> bool {
        self.message_id.as_deref() == Some(id)
    }

    /// Whether it reports how the run or its main process ended. Other processes may fail without that.
    pub fn is_end_of_run(&self) -> bool {
        [FAILURE_RESULT, SUCCESS, STOPPED, SKIPPED].iter().any(|id| self.is(id))
            || (self.is(PROCESS_EXIT) && self.command.as_deref() == Some("ExecStart"))
    }

    pub fn is_about_a_unit(&self) -> bool {
        self.about_user_unit.is_some() || self.about_unit.is_some()
    }

    /// Adds its lines to a log.
    pub async fn write(self, author: Author, pen: &Pen) {
        let time = self.time();
        let Some(message) = self.message else { return };
        for text in log_lines(&message.as_str()) {
            pen.write(LogLine { time, author, text }).await;
        }
    }

    /// When it was written.
    pub fn time(&self) -> Option<SystemTime> {
        let since_1970 = Duration::from_micros(self.realtime.as_ref()?.parse().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since_1970)
    }
}

/// A field's value: text, or bytes where it is not printable text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Plain(String),
    Bytes(Vec<u8>),
}

impl Text {
    pub fn as_str(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes),
        }
    }
}
