//! The incident of one worker: its phase, and what is known about it.

use super::{InspectionId, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::rules::GivenUp;
use crate::units::{Deactivation, Inspection, UnitFile, has_run_since};
use std::time::Duration;

/// The phase of an incident, see the diagram in the parent module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// An attempt is due and waits for a free slot.
    Due,
    /// The inspection before an attempt is under way.
    Inspecting,
    /// The next attempt is made at `until`, if the worker is still down then.
    Waiting { until: Timestamp },
    /// It waits for something.
    Held(Refusal),
    /// The start job is under way.
    Starting,
    /// It is coming up for any reason, and has to stay up for `stable_after`. While the manager restarts it
    /// automatically it stays in this phase.
    Proving,
    /// The inspection at the end of the proving time is under way.
    Verifying,
    /// Another client's job replaced the start; what becomes of the unit shows why.
    Cancelled,
    /// You stopped it. Nothing is done until it comes up.
    Stopped,
    /// It is down without having failed, as it should be.
    Off,
    /// No further attempts.
    GaveUp,
    /// Healthy; the history of attempts is kept until it has been up for `reset_after`.
    Resting,
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Inspecting => "inspecting",
            Self::Waiting { .. } => "waiting",
            Self::Held(_) => "held",
            Self::Starting => "starting",
            Self::Proving => "proving",
            Self::Verifying => "verifying",
            Self::Cancelled => "cancelled",
            Self::Stopped => "stopped",
            Self::Off => "off",
            Self::GaveUp => "gave-up",
            Self::Resting => "resting",
        }
    }

    /// Whether the incident counts as a concurrent start.
    pub fn takes_a_slot(&self) -> bool {
        matches!(self, Self::Inspecting | Self::Starting)
    }

    /// Whether the worker is unhealthy and nothing is under way for it.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Due | Self::Waiting { .. } | Self::Held(_) | Self::GaveUp)
    }
}

/// What is known about a worker that is unhealthy, or was lately.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub(super) struct Incident {
    pub phase: Phase,
    /// What it is inspected for, where its unit's state alone does not show a problem.
    pub suspected: Option<State>,
    /// What is wrong with it by the last inspection before an attempt.
    pub diagnosed: Option<State>,
    /// Why it is down, if nothing is wrong with it or it was stopped; may be empty.
    pub off_because: String,
    /// How long it has to stay up to count as healed, if the request says so.
    pub proving_time: Option<Duration>,
    /// Attempts since the history was last reset.
    pub attempts: u32,
    /// Whether one of them brought it up, although not for long enough to reset the history.
    pub came_up: bool,
    /// No attempt is made before this time.
    pub not_before: Timestamp,
    /// How many starts in a row the manager has refused.
    pub refused: u32,
    /// When the timer of this incident expires, if one is set.
    pub timer: Option<Timestamp>,
    /// The inspections that are under way.
    pub inspections: PendingInspections,
    /// The unit files at the failure, to detect later changes.
    pub file: Option<UnitFile>,
    /// The definition of the unit at the last inspection.
    pub definition: Option<u64>,
    /// Its last run, if known.
    pub run: Option<String>,
    pub last_failure: String,
    /// That it was stopped on request was confirmed by the journal, or is something that the journal cannot know.
    pub stop_is_certain: bool,
    /// Why it was given up, and what would have to change.
    pub given_up: Option<GivenUp>,
    /// The deactivation in which a unit that it needs took it down: that stop was not meant for it.
    pub taken_along: Option<Deactivation>,
    /// When it was seen to go down in that deactivation, if it was.
    pub seen_taken_along: Option<Timestamp>,
    /// The deactivation in which it went down together with a unit that it needs and waits for, whatever ended it. Later
    /// the manager may no longer know what it needs, as when its file has become unreadable.
    pub fell_with_parent: Option<Deactivation>,
    /// The run after which you stopped it while it was down. The journal does not record such a stop.
    pub stopped_after: Option<String>,
    /// When the current inspection was requested.
    pub inspected_at: Timestamp,
    /// When its start job was reported as done.
    pub started_at: Timestamp,
    /// Whether a search in the journal is needed to find out if it was stopped.
    pub needs_stop_evidence: bool,
    /// The address at which it has refused its health probe often enough.
    pub refuses: Option<String>,
    /// Whether it has answered its health probe since it was restarted.
    pub answered: bool,
    /// The unit that it waits for, in whose group it is.
    pub waits_for: Option<String>,
    /// Whether its work is done once it has ended (`Type=oneshot`).
    pub oneshot: bool,
    pub trigger: Trigger,
    /// When a person requested it, if that is the trigger.
    pub requested_at: Timestamp,
    /// A person requested it, and gets the result in any case.
    pub awaited: bool,
    /// It is known from before this daemon started, and its wait continues.
    pub restored: bool,
    /// An earlier daemon was in the middle of an attempt.
    pub attempt_open: bool,
    /// An attempt of ours has begun and not ended.
    pub attempt_under_way: bool,
    /// The end of the last attempt is reported once an inspection shows its cause, or before the next event.
    pub unreported_failure: bool,
    /// A stop was requested while our start was under way.
    pub stop_asked: bool,
    /// That stop has taken it down.
    pub stop_took_effect: bool,
    /// During our start, another client's job was done while decisions were suspended.
    pub job_done_while_frozen: bool,
    /// Another client stopped it during the proof. If it comes up again, that is a restart of theirs.
    pub restarted: bool,
    /// That its failure was cleared has been handled.
    pub cleared_seen: bool,
    /// How often in a row an inspection showed it coming up although it had been reported as failed.
    pub contradictions: u32,
    /// When it failed, by the manager's clock: the first failure since it was last healthy.
    pub fell: Option<Duration>,
    /// How long it was down, once an inspection has shown it up again.
    pub downtime: Option<Duration>,
    /// How often in a row it was unknown whether it was stopped.
    pub doubts: u32,
    /// Whether an event has reported that it is unhealthy.
    pub announced: bool,
    /// The last reported reason for holding.
    pub reported_hold: Option<Refusal>,
    /// What it was held for until the inspection that is due or under way.
    pub held_before: Option<Refusal>,
    /// When that was found, or what it is held for now.
    pub held_at: Timestamp,
    /// The last reported time of the next attempt.
    pub scheduled: Option<Timestamp>,
}

impl Incident {
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Resting,
            suspected: None,
            diagnosed: None,
            off_because: String::new(),
            proving_time: None,
            attempts: 0,
            came_up: false,
            not_before: now,
            refused: 0,
            timer: None,
            inspections: PendingInspections::default(),
            file: None,
            definition: None,
            run: None,
            last_failure: String::new(),
            stop_is_certain: false,
            given_up: None,
            taken_along: None,
            seen_taken_along: None,
            fell_with_parent: None,
            stopped_after: None,
            inspected_at: now,
            started_at: now,
            needs_stop_evidence: false,
            refuses: None,
            answered: false,
            waits_for: None,
            oneshot: false,
            trigger: Trigger::Automatic,
            requested_at: now,
            awaited: false,
            restored: false,
            attempt_open: false,
            attempt_under_way: false,
            unreported_failure: false,
            stop_asked: false,
            job_done_while_frozen: false,
            stop_took_effect: false,
            restarted: false,
            cleared_seen: false,
            contradictions: 0,
            fell: None,
            downtime: None,
            doubts: 0,
            announced: false,
            reported_hold: None,
            held_before: None,
            held_at: now,
            scheduled: None,
        }
    }

    /// Resets what belongs to one incident, and keeps the history of attempts.
    pub fn ends(&mut self) {
        self.begins_anew();
        self.last_failure.clear();
        (self.file, self.run) = (None, None);
        (self.taken_along, self.fell_with_parent) = (None, None);
        self.stopped_after = None;
    }

    /// Resets how the incident was handled so far, and keeps what is known about its cause.
    pub fn begins_anew(&mut self) {
        self.suspected = None;
        self.diagnosed = None;
        self.proving_time = None;
        self.announced = false;
        self.reported_hold = None;
        self.scheduled = None;
        self.definition = None;
        self.needs_stop_evidence = false;
        self.refused = 0;
        self.refuses = None;
        self.answered = false;
        self.given_up = None;
        self.restored = false;
        self.attempt_open = false;
        self.attempt_under_way = false;
        (self.stop_asked, self.stop_took_effect) = (false, false);
        self.doubts = 0;
        (self.trigger, self.awaited) = (Trigger::Automatic, false);
    }

    /// Forgets the attempts so far: the next one is the first.
    pub fn forget_attempts(&mut self) {
        (self.attempts, self.came_up) = (0, false);
    }

    /// What it is held for; while it is inspected for the next time, what it was held for before. A request is not made
    /// to wait for that.
    pub fn held_for(&self) -> Option<&Refusal> {
        match &self.phase {
            Phase::Held(refusal) => Some(refusal),
            Phase::Due | Phase::Inspecting if self.trigger == Trigger::Automatic => self.held_before.as_ref(),
            _ => None,
        }
    }

    /// Whether an event has reported a problem, so that its end has to be reported too.
    pub fn is_public(&self) -> bool {
        self.announced || self.reported_hold.is_some() || self.awaited
    }

    /// Records the unit files, unless their state at the failure is known already, or when the unit was enabled since.
    pub fn note_file(&mut self, seen: &Inspection) {
        let is_enabled = |file: Option<UnitFile>| file.is_some_and(|file| file.enabled);
        if self.file.is_none() || (is_enabled(seen.file) && !is_enabled(self.file)) {
            self.file = seen.file;
        }
    }

    /// Whether it was stopped on request, and has not run since.
    pub fn was_stopped_in(&self, seen: &Inspection) -> bool {
        self.phase == Phase::Stopped && !has_run_since(self.run.as_deref(), seen.run.as_deref())
    }

    /// Whether there is anything that has to survive a restart of the daemon.
    pub fn is_worth_saving(&self) -> bool {
        self.attempts > 0
            || self.file.is_some()
            || self.taken_along.is_some()
            || self.stopped_after.is_some()
            || self.given_up.is_some()
            || matches!(self.phase, Phase::Stopped | Phase::GaveUp)
            || self.attempt_under_way
    }
}

/// The inspections of a worker that are under way, at most one of each kind.
#[derive(Debug, Default)]
pub(super) struct PendingInspections {
    /// The inspection that decides what happens next.
    deciding: Option<InspectionId>,
    /// The inspection that records a baseline for later.
    baseline: Option<InspectionId>,
}

impl PendingInspections {
    fn slot(&mut self, purpose: Purpose) -> &mut Option<InspectionId> {
        match purpose {
            Purpose::Baseline => &mut self.baseline,
            Purpose::Attempt | Purpose::Proof | Purpose::Recheck | Purpose::Uptime => &mut self.deciding,
        }
    }

    /// Registers an inspection, in place of an earlier one of its kind.
    pub fn open(&mut self, id: InspectionId) {
        *self.slot(id.purpose) = Some(id);
    }

    /// Whether this inspection is pending; from now on it is not.
    pub fn close(&mut self, id: InspectionId) -> bool {
        self.slot(id.purpose).take_if(|open| *open == id).is_some()
    }

    /// Whether an inspection for this purpose is pending.
    pub fn is_open(&self, purpose: Purpose) -> bool {
        [self.deciding, self.baseline].into_iter().flatten().any(|id| id.purpose == purpose)
    }

    /// The pending inspection for this purpose.
    #[cfg(test)]
    pub fn under_way(&self, purpose: Purpose) -> Option<InspectionId> {
        [self.deciding, self.baseline].into_iter().flatten().find(|id| id.purpose == purpose)
    }
}

/// How soon to inspect again when the manager's answers contradict each other for a moment.
pub(super) const CONTRADICTION_DELAY: Duration = Duration::from_secs(1);
/// How often to inspect a worker that is left alone, in case a change was missed: the signal of a reload, a short run
/// between two lists.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
