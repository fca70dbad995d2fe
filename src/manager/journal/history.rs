//! The events of earlier daemons, as they are in the journal.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::Journal;
use super::entry::Text;
use crate::core::event::{Event, Phase};
use crate::core::text::plain;
use crate::core::units::UnitName;
use crate::manager::Scope;
use crate::manager::log::{LogError, Printed};

/// Maximum time to read them: new events are published after them.
const MAX_TIME: Duration = Duration::from_secs(1);
/// Maximum number of events; the latest are read.
const MAX_EVENTS: u32 = 2000;
/// How far back they are looked for.
const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// The fields of a [`Record`].
const FIELDS: &str = "--output-fields=USER_UNIT,UNIT,WORKERHEAL_TIME,WORKERHEAL_PHASE,WORKERHEAL_SITE,WORKERHEAL_UNIT,\
    WORKERHEAL_ATTEMPT,WORKERHEAL_ERROR,WORKERHEAL_REASON,WORKERHEAL_RETRY_IN_MS,WORKERHEAL_DOWNTIME_MS";

/// An event, as `journalctl --output=json` prints it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(rename = "USER_UNIT")]
    user_unit: Option<Text>,
    #[serde(rename = "UNIT")]
    system_unit: Option<Text>,
    #[serde(rename = "WORKERHEAL_TIME")]
    time: Option<Text>,
    #[serde(rename = "WORKERHEAL_PHASE")]
    phase: Option<Text>,
    #[serde(rename = "WORKERHEAL_SITE")]
    site: Option<Text>,
    #[serde(rename = "WORKERHEAL_UNIT")]
    unit: Option<Text>,
    #[serde(rename = "WORKERHEAL_ATTEMPT")]
    attempt: Option<Text>,
    #[serde(rename = "WORKERHEAL_ERROR")]
    error: Option<Text>,
    #[serde(rename = "WORKERHEAL_REASON")]
    reason: Option<Text>,
    #[serde(rename = "WORKERHEAL_RETRY_IN_MS")]
    retry_in_ms: Option<Text>,
    #[serde(rename = "WORKERHEAL_DOWNTIME_MS")]
    downtime_ms: Option<Text>,
}

impl Record {
    /// The event, if it is one of a daemon for this scope.
    fn event(self, scope: Scope) -> Option<Event> {
        // Any program of this user can write such an entry.
        let text = |field: Option<Text>| field.map(|text| plain(&text.as_str())).unwrap_or_default();
        let milliseconds = |field| text(field).parse().ok().map(Duration::from_millis);
        let (phase, unit) = (text(self.phase), text(self.unit));
        let unit = UnitName::parse(&unit).ok();
        let (own, others) = match scope {
            Scope::User => (self.user_unit, self.system_unit),
            Scope::System => (self.system_unit, self.user_unit),
        };
        if unit.is_some() && own.is_none() && others.is_some() {
            return None;
        }
        Some(Event {
            site: text(self.site),
            unit,
            error: text(self.error),
            time: Some(humantime::parse_rfc3339(&text(self.time)).ok()?),
            attempt: text(self.attempt).parse().ok(),
            reason: text(self.reason),
            retry_in: milliseconds(self.retry_in_ms),
            downtime: milliseconds(self.downtime_ms),
            ..Event::new(Phase::ALL.into_iter().find(|known| known.as_str() == phase)?)
        })
    }
}

impl Journal {
    /// The events of the last 24 hours before this time, the oldest first; as many as can be read in time.
    pub async fn history(&self, before: SystemTime) -> Vec<Event> {
        let mut events = Vec::new();
        // What is known by then is better than nothing.
        let _ = timeout(MAX_TIME, self.read_history(before, &mut events)).await;
        events
    }

    async fn read_history(&self, before: SystemTime, events: &mut Vec<Event>) -> Result<(), LogError> {
        let begin = before.checked_sub(PERIOD).unwrap_or(SystemTime::UNIX_EPOCH);
        let seconds = begin.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut journalctl = Command::new("journalctl");
        journalctl.args(["--quiet", "--all", "--output=json", FIELDS]);
        journalctl.arg(format!("--lines={MAX_EVENTS}")).arg(format!("--since=@{seconds}"));
        // Only processes of this user are believed.
        journalctl.args(["SYSLOG_IDENTIFIER=workerheal", &format!("_UID={}", self.uid)]);
        journalctl.args(Phase::ALL.map(|phase| format!("WORKERHEAL_PHASE={}", phase.as_str())));
        let mut lines = Printed::by(journalctl)?;
        while let Some(line) = lines.next().await? {
            let event = serde_json::from_slice::<Record>(&line).ok().and_then(|record| record.event(self.scope));
            events.extend(event.filter(|event| event.time.is_some_and(|time| time < before)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_event_that_was_logged() {
        let record = r#"{"USER_UNIT": "lerd-queue-myapp.service", "WORKERHEAL_TIME": "2026-11-29T12:00:00.250Z",
            "WORKERHEAL_PHASE": "gave-up", "WORKERHEAL_SITE": "myapp", "WORKERHEAL_UNIT": "lerd-queue-myapp",
            "WORKERHEAL_ATTEMPT": "3", "WORKERHEAL_ERROR": [98, 255], "WORKERHEAL_REASON": "3 attempts failed",
            "WORKERHEAL_RETRY_IN_MS": "1500", "WORKERHEAL_DOWNTIME_MS": "14", "PRIORITY": "3"}"#;
        let read = |text: &str, scope| serde_json::from_str::<Record>(text).unwrap().event(scope);
        let event = read(record, Scope::User).unwrap();
        let expected = Event {
            site: "myapp".into(),
            unit: UnitName::parse("lerd-queue-myapp").ok(),
            error: "b\u{fffd}".into(),
            time: humantime::parse_rfc3339("2026-11-29T12:00:00.250Z").ok(),
            attempt: Some(3),
            reason: "3 attempts failed".into(),
            retry_in: Some(Duration::from_millis(1500)),
            downtime: Some(Duration::from_millis(14)),
            ..Event::new(Phase::GaveUp)
        };
        assert_eq!(event, expected);
        assert_eq!(read(record, Scope::System), None, "that was another daemon");
        let forged =
            record.replace("myapp\", \"WORKERHEAL_UNIT", "\\u001b]0;x\\u0007\\u202emyapp\", \"WORKERHEAL_UNIT");
        assert_eq!(read(&forged, Scope::User).unwrap().site, "myapp", "nothing in it reaches the terminal");
        for odd in ["{}", r#"{"WORKERHEAL_PHASE": "danced", "WORKERHEAL_TIME": "2026-11-29T12:00:00Z"}"#] {
            assert_eq!(read(odd, Scope::User), None, "{odd}");
        }
    }
}
