//! The state of every worker, as `status` shows it and the API returns it.
//!
//! Reports are made on request, from what the healer decides with.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::diagnosis::State;
use super::event::UnhealthyWorker;
use super::selector::display_name;
use super::time::{milliseconds, rfc3339};
use super::units::UnitName;

/// What is being done about a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It works.
    Up,
    /// It is down as it should be, without having failed.
    Down,
    /// Another client starts or stops it, or the service manager is about to restart it.
    Changing,
    /// An attempt is made as soon as a slot is free.
    Due,
    /// It is being started.
    Starting,
    /// It was started, and has to stay up.
    Proving,
    /// The next attempt is made at a known time.
    Waiting,
    /// It waits for something.
    Held,
    /// You stopped it.
    Stopped,
    /// Too many attempts have failed, or none can succeed.
    GaveUp,
    /// The service manager reported a state that this version does not know.
    Unknown,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 11] = [
        Self::Up,
        Self::Down,
        Self::Changing,
        Self::Due,
        Self::Starting,
        Self::Proving,
        Self::Waiting,
        Self::Held,
        Self::Stopped,
        Self::GaveUp,
        Self::Unknown,
    ];

    /// The word used in JSON and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Changing => "changing",
            Self::Due => "due",
            Self::Starting => "starting",
            Self::Proving => "proving",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Stopped => "stopped",
            Self::GaveUp => "gave-up",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of one worker. Optional parts are left out of the JSON when they do not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its site; empty if it has none.
    pub site: String,
    /// What it does there.
    pub worker: String,
    /// Its git worktree, if it does not run in the site's main checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// Its unit; in JSON without `.service`.
    pub unit: UnitName,
    /// Whether nothing is wrong with it. A worker that was stopped counts as healthy: it is as it should be.
    pub healthy: bool,
    /// A person, the registry or the unit's own files say that it is not to be healed: whatever is wrong with it is no
    /// cause to worry. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_purpose: bool,
    /// What is being done about it.
    pub phase: Stage,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Attempts since the history was last reset.
    #[serde(default)]
    pub attempts: u32,
    /// Milliseconds until the next attempt, or until the pause that holds it ends.
    #[serde(default, rename = "retry_in_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub retry_in: Option<Duration>,
    /// Why it is held, was given up, is down, or would not be healed if it failed now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How the last attempt failed, or what it logged last, as one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// When its last event was published, as RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub since: Option<SystemTime>,
    /// When it came up, as RFC 3339; left out if it is not up, or if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339")]
    pub up_since: Option<SystemTime>,
}

impl WorkerReport {
    /// `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or the worker alone where there is no site.
    #[must_use]
    pub fn name(&self) -> String {
        display_name(&self.site, &self.worker, self.worktree.as_deref())
    }

    /// The worker by its name within its site: `WORKER` or `WORKER@WORKTREE`.
    #[must_use]
    pub fn task(&self) -> String {
        match &self.worktree {
            Some(worktree) => format!("{}@{worktree}", self.worker),
            None => self.worker.clone(),
        }
    }

    /// The worker as `detect` lists it, if it is unhealthy.
    #[must_use]
    pub fn unhealthy(&self) -> Option<UnhealthyWorker> {
        self.problem().filter(|_| !self.on_purpose)
    }

    /// The same of a worker that something is wrong with, even if it is not healed on purpose.
    #[must_use]
    pub fn problem(&self) -> Option<UnhealthyWorker> {
        let state = self.state.filter(|_| !self.healthy)?;
        Some(UnhealthyWorker {
            site: self.site.clone(),
            worker: self.worker.clone(),
            worktree: self.worktree.clone(),
            unit: self.unit.clone(),
            state,
            last_error: self.last_error.clone(),
        })
    }

    /// Whether something is wrong with it, not on purpose, and nothing more is tried.
    #[must_use]
    pub fn needs_you(&self) -> bool {
        self.unhealthy().is_some() && matches!(self.phase, Stage::GaveUp | Stage::Held | Stage::Unknown)
    }
}

#[cfg(any(test, feature = "samples"))]
impl WorkerReport {
    /// A worker of the site myapp with all optional fields empty, for tests to vary.
    ///
    /// # Panics
    ///
    /// If the name cannot be part of a unit name.
    #[must_use]
    pub fn plain(worker: &str, phase: Stage) -> Self {
        Self {
            site: "myapp".into(),
            worker: worker.into(),
            worktree: None,
            unit: UnitName::parse(&format!("lerd-{worker}-myapp")).unwrap_or_else(|error| panic!("{worker}: {error}")),
            healthy: phase == Stage::Up,
            on_purpose: false,
            phase,
            state: None,
            attempts: 0,
            retry_in: None,
            reason: String::new(),
            last_error: String::new(),
            since: None,
            up_since: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_stage_has_one_word() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
            assert_eq!(format!("{stage:>10}"), format!("{:>10}", stage.as_str()), "it can be aligned in a table");
        }
    }

    #[test]
    fn json_has_the_fields_that_apply_and_can_be_read_back() {
        let up = WorkerReport::plain("queue", Stage::Up);
        let text = serde_json::to_value(&up).unwrap();
        assert_eq!(
            text,
            json!({"site": "myapp", "worker": "queue", "unit": "lerd-queue-myapp", "healthy": true, "phase": "up", "attempts": 0})
        );
        assert_eq!(serde_json::from_value::<WorkerReport>(text).unwrap(), up);
        let waiting = WorkerReport {
            healthy: false,
            phase: Stage::Waiting,
            state: Some(State::StartLimitHit),
            retry_in: Some(Duration::from_millis(1950)),
            since: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
            ..up
        };
        let text = serde_json::to_value(&waiting).unwrap();
        assert_eq!(text["state"], "start-limit-hit");
        assert_eq!(text["retry_in_ms"], 1950);
        assert_eq!(text["since"], "1970-01-01T00:00:01.500Z");
        assert_eq!(serde_json::from_value::<WorkerReport>(text).unwrap(), waiting);
    }

    #[test]
    fn a_worker_is_named_with_its_worktree_within_its_site_too() {
        let main = WorkerReport::plain("vite", Stage::Up);
        let of_branch = WorkerReport { worktree: Some("feat-x".into()), ..main.clone() };
        assert_eq!((main.task().as_str(), of_branch.task().as_str()), ("vite", "vite@feat-x"));
        assert_eq!(of_branch.name(), "myapp/vite@feat-x");
    }

    #[test]
    fn a_worker_needs_you_if_nothing_more_is_tried_and_that_is_not_on_purpose() {
        let down =
            |phase| WorkerReport { healthy: false, state: Some(State::Failed), ..WorkerReport::plain("queue", phase) };
        for phase in Stage::ALL {
            let needs_you = matches!(phase, Stage::GaveUp | Stage::Held | Stage::Unknown);
            assert_eq!(down(phase).needs_you(), needs_you, "{phase}");
            assert!(!WorkerReport { on_purpose: true, ..down(phase) }.needs_you(), "{phase}");
        }
        assert!(!WorkerReport::plain("queue", Stage::Held).needs_you(), "it is well");
    }
}
