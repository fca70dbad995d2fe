//! What the healer reports: events as they happen, and reports when a batch is done.
//!
//! The JSON names are those of the Go package `workerheal` of Lerd 1.22, so that its consumers
//! need no change.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::diagnosis::State;
use super::selector::display_name;
use super::time::{milliseconds, rfc3339};
use super::units::UnitName;

/// An unhealthy worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnhealthyWorker {
    /// Its site; empty if it belongs to none.
    pub site: String,
    /// What it does there, for example `queue`.
    pub worker: String,
    /// Its git worktree, if it does not run in the site's main checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Its unit; in JSON without `.service`.
    pub unit: UnitName,
    /// What is wrong.
    pub state: State,
    /// The last line it logged, cleaned up by [`excerpt`](super::text::excerpt); empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
}

impl UnhealthyWorker {
    /// `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or the worker alone where there is no site.
    #[must_use]
    pub fn name(&self) -> String {
        display_name(&self.site, &self.worker, self.worktree.as_deref())
    }
}

/// An attempt that did not bring the worker back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The worker.
    pub worker: UnhealthyWorker,
    /// The reason, as one line.
    pub error: String,
}

/// The outcome of healing a batch of workers. Displays as the one-line summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Workers that are up again and have stayed up.
    pub healed: Vec<UnhealthyWorker>,
    /// Workers that are not up, each with the reason.
    pub failed: Vec<Failure>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.healed.len(), self.failed.len()) {
            (0, 0) => f.write_str("No unhealthy workers."),
            (healed, 0) => write!(f, "Healed {healed} worker(s)."),
            (healed, failed) => write!(f, "Healed {healed} worker(s), {failed} failed."),
        }
    }
}

/// What happened, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Something is wrong with a worker; `reason` is its [`State`].
    Detected,
    /// The next attempt is due in `retry_in_ms`.
    Scheduled,
    /// The worker waits for something; `reason` says for what.
    Held,
    /// An attempt begins.
    Starting,
    /// The worker is up and has stayed up.
    Healed,
    /// The attempt did not bring the worker back.
    Failed,
    /// No further attempts will be made.
    GaveUp,
    /// The worker came back without an attempt of ours.
    Recovered,
    /// You stopped it: it is not healed.
    Stopped,
    /// The batch is finished.
    Done,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 10] = [
        Self::Detected,
        Self::Scheduled,
        Self::Held,
        Self::Starting,
        Self::Healed,
        Self::Failed,
        Self::GaveUp,
        Self::Recovered,
        Self::Stopped,
        Self::Done,
    ];

    /// The word used in JSON and in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Scheduled => "scheduled",
            Self::Held => "held",
            Self::Starting => "starting",
            Self::Healed => "healed",
            Self::Failed => "failed",
            Self::GaveUp => "gave-up",
            Self::Recovered => "recovered",
            Self::Stopped => "stopped",
            Self::Done => "done",
        }
    }
}

/// One thing that happened. Optional parts are left out of the JSON when they do not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub phase: Phase,
    /// The worker's site.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub site: String,
    /// Its unit, in JSON without `.service`; `None` if it is about several workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// What went wrong, as one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// When, as RFC 3339; set where the event is published.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub time: Option<SystemTime>,
    /// Number of the attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Why, or what the worker waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Milliseconds until the next attempt.
    #[serde(default, rename = "retry_in_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub retry_in: Option<Duration>,
    /// Milliseconds from the failure until it was up again, by the service manager's clock.
    #[serde(default, rename = "downtime_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub downtime: Option<Duration>,
    /// Part of a group of similar events that a summary reports together: no cause for alarm by itself.
    #[serde(skip)]
    pub one_of_many: bool,
}

impl Event {
    /// An event of this phase with all other fields empty.
    #[must_use]
    pub fn new(phase: Phase) -> Self {
        Self {
            phase,
            site: String::new(),
            unit: None,
            error: String::new(),
            time: None,
            attempt: None,
            reason: String::new(),
            retry_in: None,
            downtime: None,
            one_of_many: false,
        }
    }

    /// The name of the unit without `.service`; empty if the event is about several workers.
    #[must_use]
    pub fn unit_name(&self) -> &str {
        self.unit.as_ref().map_or("", UnitName::short)
    }
}

/// The event as a sentence for the log, without its time.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.unit_name())
    }
}

impl Event {
    /// The event as a sentence in which the worker has this name, instead of its unit's.
    #[must_use]
    pub fn sentence(&self, name: &str) -> String {
        let mut sentence = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut sentence, name);
        sentence
    }

    fn write(&self, f: &mut impl fmt::Write, unit: &str) -> fmt::Result {
        let again = match self.attempt {
            None | Some(0 | 1) => String::new(),
            Some(attempt) => format!(" (attempt {attempt})"),
        };
        match self.phase {
            Phase::Detected => match self.reason.parse() {
                Ok(State::Unreachable) => write!(f, "{unit} is up but does not answer")?,
                Ok(State::CrashLooping) => write!(f, "{unit} crashes again and again")?,
                Ok(State::Stuck) => write!(f, "{unit} is stuck")?,
                _ => write!(f, "{unit} is down ({})", self.reason)?,
            },
            Phase::Scheduled => {
                write!(f, "{unit} will be started again")?;
                if let Some(wait) = self.retry_in {
                    write!(f, " in {}", rounded(wait))?;
                }
            }
            Phase::Held if self.unit.is_none() => f.write_str(&self.reason)?,
            Phase::Held => {
                write!(f, "{unit} is not healed: {}", self.reason)?;
                if let Some(wait) = self.retry_in {
                    write!(f, ", for another {}", rounded(wait))?;
                }
            }
            Phase::Starting => write!(f, "{unit} is being started{again}")?,
            Phase::Healed => write!(f, "{unit} is up again and has stayed up{again}{}", was_down(self.downtime))?,
            Phase::Failed => write!(f, "{unit} failed{again}")?,
            Phase::GaveUp => write!(f, "{unit} is given up, {}", self.reason)?,
            Phase::Recovered => write!(f, "{unit} has recovered{}", was_down(self.downtime))?,
            Phase::Stopped if self.reason.is_empty() => write!(f, "{unit} was stopped by hand and stays down")?,
            Phase::Stopped => write!(f, "{unit} stays down: {}", self.reason)?,
            Phase::Done => f.write_str("done")?,
        }
        if !self.error.is_empty() {
            write!(f, ": {}", self.error)?;
        }
        Ok(())
    }
}

/// How long it was down, as the end of a sentence.
fn was_down(downtime: Option<Duration>) -> String {
    downtime.map_or_else(String::new, |time| format!("; it was down for {}", rounded(time)))
}

/// A wait in words: `50ms`, `1.9s`, `32s`, `4m 16s`.
fn rounded(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        return format!("{}ms", wait.as_millis());
    }
    if wait < Duration::from_secs(10) {
        return format!("{:.1}s", wait.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs((wait + Duration::from_millis(500)).as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn worker() -> UnhealthyWorker {
        UnhealthyWorker {
            site: "myapp".into(),
            worker: "queue".into(),
            worktree: None,
            unit: UnitName::parse("lerd-queue-myapp").unwrap(),
            state: State::Failed,
            last_error: "boom".into(),
        }
    }

    #[test]
    fn json_is_that_of_the_go_package() {
        assert_eq!(
            serde_json::to_value(worker()).unwrap(),
            json!({"site": "myapp", "worker": "queue", "unit": "lerd-queue-myapp", "state": "failed", "last_error": "boom"})
        );
        let event = Event {
            site: "myapp".into(),
            unit: UnitName::parse("lerd-queue-myapp").ok(),
            ..Event::new(Phase::Starting)
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"phase":"starting","site":"myapp","unit":"lerd-queue-myapp"}"#
        );
        assert_eq!(serde_json::to_string(&Report::default()).unwrap(), r#"{"healed":[],"failed":[]}"#);
        let report = Report { healed: vec![], failed: vec![Failure { worker: worker(), error: "x".into() }] };
        assert_eq!(serde_json::to_value(report).unwrap()["failed"][0]["error"], "x");
    }

    #[test]
    fn a_detected_worker_is_described_by_its_state() {
        for (reason, sentence) in [
            ("unreachable", "lerd-queue-myapp is up but does not answer"),
            ("crash-looping", "lerd-queue-myapp crashes again and again"),
            ("stuck", "lerd-queue-myapp is stuck"),
            ("failed", "lerd-queue-myapp is down (failed)"),
        ] {
            let unit = UnitName::parse("lerd-queue-myapp").ok();
            let event = Event { unit, reason: reason.into(), ..Event::new(Phase::Detected) };
            assert_eq!(event.to_string(), sentence);
        }
    }

    #[test]
    fn a_stop_by_hand_is_told_from_another_reason_to_stay_down() {
        let unit = UnitName::parse("lerd-queue-myapp").ok();
        let by_hand = Event { unit, ..Event::new(Phase::Stopped) };
        assert_eq!(by_hand.to_string(), "lerd-queue-myapp was stopped by hand and stays down");
        let with_slice = Event { reason: "dev.slice was stopped".into(), ..by_hand };
        assert_eq!(with_slice.to_string(), "lerd-queue-myapp stays down: dev.slice was stopped");
    }

    #[test]
    fn what_holds_everything_back_is_said_without_a_unit() {
        let event = Event { reason: "the bus does not answer".into(), ..Event::new(Phase::Held) };
        assert_eq!(event.to_string(), "the bus does not answer");
        let event = Event { unit: UnitName::parse("lerd-queue-myapp").ok(), ..event };
        assert_eq!(event.to_string(), "lerd-queue-myapp is not healed: the bus does not answer");
    }

    #[test]
    fn the_daemon_adds_when_and_how_often() {
        let event = Event {
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            attempt: Some(3),
            retry_in: Some(Duration::from_millis(1_950)),
            ..Event::new(Phase::Scheduled)
        };
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({"phase": "scheduled", "time": "1970-01-01T00:00:01.500Z", "attempt": 3, "retry_in_ms": 1950})
        );
    }

    #[test]
    fn a_healed_event_reports_the_downtime() {
        let healed = Event {
            unit: UnitName::parse("lerd-queue-shop").ok(),
            attempt: Some(2),
            downtime: Some(Duration::from_millis(14)),
            ..Event::new(Phase::Healed)
        };
        let says = "lerd-queue-shop is up again and has stayed up (attempt 2); it was down for 14ms";
        assert_eq!(healed.to_string(), says);
        assert_eq!(serde_json::to_value(&healed).unwrap()["downtime_ms"], 14);
        let unknown = Event { downtime: None, ..healed };
        assert_eq!(unknown.to_string(), "lerd-queue-shop is up again and has stayed up (attempt 2)");
    }

    #[test]
    fn every_phase_has_one_word() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
    }

    #[test]
    fn the_summary_counts() {
        let failure = Failure { worker: worker(), error: "x".into() };
        let report = |healed: usize, failed: usize| Report {
            healed: vec![worker(); healed],
            failed: vec![failure.clone(); failed],
        };
        assert_eq!(report(0, 0).to_string(), "No unhealthy workers.");
        assert_eq!(report(3, 0).to_string(), "Healed 3 worker(s).");
        assert_eq!(report(2, 1).to_string(), "Healed 2 worker(s), 1 failed.");
    }

    #[test]
    fn a_wait_is_as_precise_as_it_is_short() {
        for (milliseconds, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (9_949, "9.9s"),
            (10_000, "10s"),
            (10_500, "11s"),
            (256_400, "4m 16s"),
        ] {
            assert_eq!(rounded(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_sentence_names_the_worker_as_it_is_told() {
        let event = Event { unit: UnitName::parse("lerd-queue-myapp").ok(), ..Event::new(Phase::Recovered) };
        assert_eq!(event.sentence("myapp/queue"), event.to_string().replace("lerd-queue-myapp", "myapp/queue"));
        assert!(event.sentence("myapp/queue").starts_with("myapp/queue "), "{}", event.sentence("myapp/queue"));
    }
}
