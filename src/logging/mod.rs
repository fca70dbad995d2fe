//! The destination of log lines: the journal with fields if there is one, else standard error, as text or as JSON.
//! Logging never blocks: see [`writer`].

#[cfg(target_os = "linux")]
mod journal;
mod writer;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::core::event::{Event, Phase};
use crate::log_file::LogFile;
use crate::manager::Scope;
use writer::{Sink, Writer};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// The journal if standard error is connected to it, else text.
    #[default]
    Auto,
    /// Plain text.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Sets up logging. To be called once, before anything is logged.
pub fn init(format: Format, verbose: bool, colored: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    #[cfg(target_os = "linux")]
    if format == Format::Auto
        && stderr_is_the_journal()
        && let Ok(writer) = journal::Socket::open().and_then(Writer::start)
    {
        let _ = WRITER.set(writer.clone());
        Registry::default().with(journal::Journal(writer).with_filter(level)).init();
        return;
    }
    let colored = colored && std::io::stderr().is_terminal();
    let json = format == Format::Json;
    // Without its thread, nothing could be logged at all.
    let Ok(writer) = Writer::start(Stderr { json, file: LogFile::of_stderr() }) else { return };
    let _ = WRITER.set(writer.clone());
    Registry::default().with(Lines { json, colored, writer }.with_filter(level)).init();
}

/// The writer, once it is set up.
static WRITER: OnceLock<Writer> = OnceLock::new();

/// Waits until everything is written, within the time: to be called before the process ends.
pub fn flush(time: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.flush(time);
    }
}

/// The line that stands for dropped lines.
fn missing(lines: u64) -> String {
    format!("{lines} lines of this log are missing here: they were not taken for too long")
}

/// Whether standard error is connected to the journal: systemd sets its device and inode (systemd.exec(5),
/// `$JOURNAL_STREAM`).
#[cfg(target_os = "linux")]
fn stderr_is_the_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The message id of each phase, so that `journalctl MESSAGE_ID=...` finds all events of a kind.
fn message_id(phase: Phase) -> &'static str {
    match phase {
        Phase::Detected => "109af6bc605a49928e34100f5b574337",
        Phase::Scheduled => "3dedc18fb168437d8559df5eb7ae4fd9",
        Phase::Held => "e203bd1ed2eb4e2d847cc62983be2797",
        Phase::Starting => "9590131a1c2c4d5491ee271fdc966cd8",
        Phase::Healed => "ad8f3a45cb9145b593d764bad4b0699c",
        Phase::Failed => "eb837d01e35a4782b50ba23b80b037a5",
        Phase::GaveUp => "e1d8b93c5dc7436796fd019b050034bd",
        Phase::Recovered => "416271da243947b88fa68591baa6902f",
        Phase::Stopped => "99f9e092c1b046ffa1535f2978488eb2",
        Phase::Done => "1da064866c46423497aef0b87f13dfed",
    }
}

/// Logs an event at its level, with its values as fields.
pub fn log_event(event: &Event, scope: Scope) {
    // The journal then shows the crash and its healing in one log of the unit.
    let full = event.unit.as_ref().map_or("", |unit| unit.as_str());
    // For units of the system it is another field, as a plain `UNIT=` counts only from the manager itself
    // (journalctl(1), `-u`).
    let (user_unit, unit) = match scope {
        // The event is about several workers.
        _ if event.unit.is_none() => (None, None),
        Scope::User => (Some(full), None),
        Scope::System => (None, Some(full)),
    };
    let optional = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    // The event's time: a failure is written later, as it waits for its worker's last log line.
    let time = event.time.map(|time| humantime::format_rfc3339_millis(time).to_string());
    let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    macro_rules! log {
        ($level:expr) => {
            tracing::event!(
                target: "workerheal",
                $level,
                message_id = message_id(event.phase),
                workerheal_time = time.as_deref(),
                workerheal_phase = event.phase.as_str(),
                workerheal_site = optional(&event.site),
                workerheal_unit = optional(event.unit_name()),
                workerheal_attempt = event.attempt,
                workerheal_error = optional(&event.error),
                workerheal_reason = optional(&event.reason),
                workerheal_retry_in_ms = event.retry_in.map(milliseconds),
                workerheal_downtime_ms = event.downtime.map(milliseconds),
                user_unit = user_unit,
                unit = unit,
                object_systemd_unit = unit,
                "{event}"
            )
        };
    }
    match event.phase {
        Phase::GaveUp => log!(Level::ERROR),
        // A summary of all of them has the level of a warning.
        Phase::Held if event.one_of_many => log!(Level::INFO),
        Phase::Failed | Phase::Held => log!(Level::WARN),
        Phase::Detected
        | Phase::Scheduled
        | Phase::Starting
        | Phase::Healed
        | Phase::Recovered
        | Phase::Stopped
        | Phase::Done => log!(Level::INFO),
    }
}

/// Writes each log line to standard error.
struct Lines {
    json: bool,
    colored: bool,
    writer: Writer,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let mut line = if self.json { fields.json(level) } else { fields.text(level, self.colored) };
        line.push('\n');
        self.writer.put(line.into_bytes());
    }
}

/// Standard error.
struct Stderr {
    json: bool,
    file: Option<LogFile>,
}

impl Sink for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.follow();
        }
        std::io::stderr().lock().write_all(line)
    }

    fn may_pass(&self, _: &io::Error) -> bool {
        // Nothing can be done if this write fails.
        false
    }

    fn missing(&self, lines: u64) -> Vec<u8> {
        let fields = Fields { message: missing(lines), ..Fields::default() };
        let line = if self.json { fields.json(Level::ERROR) } else { fields.text(Level::ERROR, false) };
        format!("{line}\n").into_bytes()
    }
}

/// The fields of one log line.
#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if let Some(name) = field.name().strip_prefix("workerheal_") {
            self.others.insert(name, value);
        }
    }

    /// The time of the line: now, unless it is an event of the daemon.
    fn time(&self) -> String {
        let published = self.others.get("time").and_then(Value::as_str).map(str::to_owned);
        published.unwrap_or_else(|| humantime::format_rfc3339_millis(SystemTime::now()).to_string())
    }

    fn text(&self, level: Level, colored: bool) -> String {
        let time = self.time();
        let color = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            _ if self.others.get("phase").is_some_and(|phase| phase == "healed") => "32",
            _ => "0",
        };
        let mut line = format!("{time} {level:>5} ");
        let _ = if colored {
            write!(line, "\u{1b}[{color}m{}\u{1b}[0m", self.message)
        } else {
            write!(line, "{}", self.message)
        };
        line
    }

    fn json(mut self, level: Level) -> String {
        self.others.insert("time", self.time().into());
        self.others.insert("level", level.as_str().to_ascii_lowercase().into());
        self.others.insert("message", self.message.into());
        serde_json::to_string(&self.others).unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_explains_every_message_id_and_no_other() {
        let catalogue = include_str!("../../packaging/journald/workerheal.catalog");
        let explained: BTreeSet<&str> = catalogue.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(explained, Phase::ALL.map(message_id).into_iter().collect());
        // The text is made from these fields; others would not be replaced.
        let fields = ["UNIT", "REASON", "ERROR", "ATTEMPT", "RETRY_IN_MS"].map(|field| format!("WORKERHEAL_{field}"));
        let named = catalogue.split('@').skip(1).step_by(2);
        for name in named {
            assert!(fields.iter().any(|field| field == name), "{name}");
        }
    }
}
