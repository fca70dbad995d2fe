//! A start of a unit, as a sequence of messages.
//!
//! A start is requested first, and a failure is cleared only if that start is refused: systemd starts a failed unit as
//! it is, unless it exceeded its start limit. Then the job fails and the unit never begins to start, which
//! distinguishes it from a start that failed.
//!
//! A plain start uses job mode `fail`, which gives way to any queued job. If it would start, run again or stop another
//! unit, the mode is `ignore-requirements` (org.freedesktop.systemd1(5)).

use tokio::time::Instant;
use zbus::Message;

use super::super::wire;
use crate::core::rules::Start;
use crate::core::units::{ActiveState, UnitName, UnitStatus};

/// A start under way: its call, or its job.
#[derive(Debug)]
pub(super) struct Starting {
    start: Start,
    pub deadline: Instant,
    /// Whether the unit has been seen in another state than down.
    began: bool,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The unit is stopped, so that other units can be started before it.
    Stop,
    Start,
    /// Its failure was cleared, and it is started once more.
    StartCleared,
}

impl Starting {
    pub fn new(start: Start, deadline: Instant) -> Self {
        // A socket is not started while its service is up (systemd.socket(5)).
        let step = if start.restart && !start.first.is_empty() { Step::Stop } else { Step::Start };
        Self { began: start.restart, start, deadline, step }
    }

    pub fn unit(&self) -> &UnitName {
        &self.start.unit
    }

    /// Whether it would replace another client's job.
    pub fn overrides_jobs(&self) -> bool {
        self.start.alone && self.step != Step::Stop
    }

    /// The messages to send, in order. The response to the last one shows the result.
    pub fn messages(&self) -> zbus::Result<Vec<Message>> {
        let unit = self.start.unit.as_str();
        if self.step == Step::Stop {
            return Ok(vec![wire::call("StopUnit", &(unit, "fail"))?]);
        }
        let mut messages = Vec::new();
        if self.step == Step::StartCleared {
            messages.push(wire::call("ResetFailedUnit", &unit)?);
        }
        for first in &self.start.first {
            messages.push(wire::call("StartUnit", &(first.as_str(), "fail"))?);
        }
        let restart = self.start.restart && self.start.first.is_empty();
        let mode = if self.start.alone { "ignore-requirements" } else { "fail" };
        messages.push(wire::call(if restart { "RestartUnit" } else { "StartUnit" }, &(unit, mode))?);
        Ok(messages)
    }

    /// Handles a signal of its unit.
    pub fn changed(&mut self, status: &UnitStatus) {
        self.began |=
            status.name == self.start.unit && !matches!(status.active, ActiveState::Failed | ActiveState::Inactive);
    }

    /// The next step after its job has ended with this result, if there is one.
    pub fn next(mut self, result: &str) -> Result<Self, Self> {
        match self.step {
            // It is down now: a start that the start limit refuses would leave it so.
            Step::Stop if result == "done" => (self.step, self.began) = (Step::Start, false),
            Step::Start if result == "failed" && !self.began && self.start.clearable => self.step = Step::StartCleared,
            Step::Stop | Step::Start | Step::StartCleared => return Err(self),
        }
        Ok(self)
    }
}
