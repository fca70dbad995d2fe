//! The course of one worker's illness: where it stands, and what is remembered of it.

use super::{InspectionId, Purpose, Timestamp};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::rules::GivenUp;
use crate::units::{Deactivation, Inspection, UnitFile, has_run_since};
use std::time::Duration;

/// Where a worker stands. Each is drawn in the diagram of the parent module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// An attempt is due and waits for a free slot.
    Due,
    /// The close look before an attempt is under way.
    Inspecting,
    /// The next attempt is made at `until`, if the worker is still down then.
    Waiting { until: Timestamp },
    /// Something has to happen first.
    Held(Refusal),
    /// The start job is under way.
    Starting,
    /// It comes up, by whatever hand, and has to stay up for `stable_after`. While the manager restarts it by
    /// itself it stays here.
    Proving,
    /// The close look that ends the proving time is under way.
    Verifying,
    /// Another client's job took the place of the start; what becomes of the unit tells why.
    Cancelled,
    /// Its user stopped it. Nothing is done until it comes up.
    Stopped,
    /// It is down without having failed, as it should be.
    Off,
    /// No further attempts.
    GaveUp,
    /// Not ill; earlier attempts are remembered until it has been up for `reset_after`.
    Resting,
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Inspecting => "looking",
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

    /// Whether the manager is busy on behalf of the worker.
    pub fn takes_a_slot(&self) -> bool {
        matches!(self, Self::Inspecting | Self::Starting)
    }

    /// Whether the worker is ill and nothing is under way for it.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Due | Self::Waiting { .. } | Self::Held(_) | Self::GaveUp)
    }
}

/// What is remembered of a worker that is ill, or was lately.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is remembered for a rule of its own")]
pub(super) struct Incident {
    pub phase: Phase,
    /// What it is looked at for, where its state alone does not tell.
    pub suspected: Option<State>,
    /// What the last look before an attempt said is wrong with it.
    pub diagnosed: Option<State>,
    /// How long it has to stay up to count as healed, if whoever asked for it says so.
    pub proving_time: Option<Duration>,
    /// Attempts since the history was last forgotten.
    pub attempts: u32,
    /// No attempt is made before this.
    pub not_before: Timestamp,
    /// How often in a row the manager would not have a start at all.
    pub refused: u32,
    /// When the timer of this track runs out, if one is set.
    pub timer: Option<Timestamp>,
    /// The looks whose answers are awaited.
    pub inspections: PendingInspections,
    /// What the unit's files were like when it failed: what is seen later is compared with that.
    pub file: Option<UnitFile>,
    /// What they were like when they were last looked at.
    pub definition: Option<u64>,
    /// Its last run, as far as it is known.
    pub run: Option<String>,
    pub last_failure: String,
    /// That its user stopped it was confirmed by the journal, or is something that the journal cannot know.
    pub stop_is_certain: bool,
    /// Why it was given up, and what would have to change.
    pub given_up: Option<GivenUp>,
    /// The fall in which a unit that it needs took it along: that stop was not meant for it.
    pub taken_along: Option<Deactivation>,
    /// When the look that is under way was asked for.
    pub inspected_at: Timestamp,
    /// When its start was told to be done.
    pub started_at: Timestamp,
    /// It takes a look into the journal to tell whether it was stopped.
    pub needs_stop_evidence: bool,
    /// Where it refused its health probe, often enough.
    pub refuses: Option<String>,
    /// It has answered its health probe since it was restarted.
    pub answered: bool,
    /// The unit that it was held for and is in the group of.
    pub waits_for: Option<String>,
    /// Whether its work is done once it has ended (`Type=oneshot`).
    pub oneshot: bool,
    pub trigger: Trigger,
    /// A person asked for it, and is to hear what became of it, no matter who brought it about.
    pub awaited: bool,
    /// It is known from before this daemon started, and the wait it was in goes on.
    pub restored: bool,
    /// An earlier daemon was in the middle of an attempt.
    pub attempt_open: bool,
    /// An attempt of ours has begun and not ended.
    pub attempt_under_way: bool,
    /// A stop was requested while our start was under way.
    pub stop_asked: bool,
    /// That its failure was cleared has been taken in.
    pub cleared_seen: bool,
    /// How often in a row a look has shown that it is on its way up, though it had been told to have failed.
    pub contradictions: u32,
    /// How often in a row it could not be told whether it was stopped.
    pub doubts: u32,
    /// Whether the world has been told that it is down.
    pub announced: bool,
    /// The reason for holding that the world has been told.
    pub told: Option<Refusal>,
    /// The time of the next attempt that the world has been told.
    pub scheduled: Option<Timestamp>,
}

impl Incident {
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Resting,
            suspected: None,
            diagnosed: None,
            proving_time: None,
            attempts: 0,
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
            inspected_at: now,
            started_at: now,
            needs_stop_evidence: false,
            refuses: None,
            answered: false,
            waits_for: None,
            oneshot: false,
            trigger: Trigger::Automatic,
            awaited: false,
            restored: false,
            attempt_open: false,
            attempt_under_way: false,
            stop_asked: false,
            cleared_seen: false,
            contradictions: 0,
            doubts: 0,
            announced: false,
            told: None,
            scheduled: None,
        }
    }

    /// Forgets what belongs to one illness, and keeps the history of attempts.
    pub fn ends(&mut self) {
        self.begins_anew();
        self.file = None;
        self.taken_along = None;
    }

    /// Forgets how the illness was dealt with so far, and keeps what is known of its cause.
    pub fn begins_anew(&mut self) {
        self.suspected = None;
        self.diagnosed = None;
        self.proving_time = None;
        self.announced = false;
        self.told = None;
        self.scheduled = None;
        self.definition = None;
        self.run = None;
        self.needs_stop_evidence = false;
        self.refused = 0;
        self.refuses = None;
        self.answered = false;
        self.given_up = None;
        self.restored = false;
        self.attempt_open = false;
        self.attempt_under_way = false;
        self.stop_asked = false;
        self.doubts = 0;
        (self.trigger, self.awaited) = (Trigger::Automatic, false);
    }

    /// Whether the world knows that something is wrong, so that it has to be told when it is over.
    pub fn is_public(&self) -> bool {
        self.announced || self.told.is_some() || self.awaited
    }

    /// Takes in what the unit's files are like, unless it is known already what they were like at the failure, or
    /// when it was enabled since.
    pub fn note_file(&mut self, seen: &Inspection) {
        let is_enabled = |file: Option<UnitFile>| file.is_some_and(|file| file.enabled);
        if self.file.is_none() || (is_enabled(seen.file) && !is_enabled(self.file)) {
            self.file = seen.file;
        }
    }

    /// Whether its user stopped it, and the run that this shows is still that one.
    pub fn was_stopped_in(&self, seen: &Inspection) -> bool {
        self.phase == Phase::Stopped && !has_run_since(self.run.as_deref(), seen.run.as_deref())
    }

    /// Whether something is remembered that has to survive a restart of the daemon.
    pub fn is_worth_saving(&self) -> bool {
        self.attempts > 0
            || self.file.is_some()
            || self.taken_along.is_some()
            || self.given_up.is_some()
            || matches!(self.phase, Phase::Stopped | Phase::GaveUp)
            || self.attempt_under_way
    }
}

/// The looks at a worker that are under way, at most one of a kind.
#[derive(Debug, Default)]
pub(super) struct PendingInspections {
    /// The one that decides what happens next.
    deciding: Option<InspectionId>,
    /// The one that is for later.
    baseline: Option<InspectionId>,
}

impl PendingInspections {
    fn slot(&mut self, purpose: Purpose) -> &mut Option<InspectionId> {
        match purpose {
            Purpose::Baseline => &mut self.baseline,
            Purpose::Attempt | Purpose::Proof | Purpose::Recheck | Purpose::Uptime => &mut self.deciding,
        }
    }

    /// Awaits the answer to a look, and no longer that to an earlier one of its kind.
    pub fn open(&mut self, id: InspectionId) {
        *self.slot(id.purpose) = Some(id);
    }

    /// Whether the answer to this look is awaited; from now on it is not.
    pub fn close(&mut self, id: InspectionId) -> bool {
        self.slot(id.purpose).take_if(|open| *open == id).is_some()
    }

    /// Whether a look for this purpose is under way.
    pub fn is_open(&self, purpose: Purpose) -> bool {
        [self.deciding, self.baseline].into_iter().flatten().any(|id| id.purpose == purpose)
    }

    /// The look for this purpose that is under way.
    #[cfg(test)]
    pub fn under_way(&self, purpose: Purpose) -> Option<InspectionId> {
        [self.deciding, self.baseline].into_iter().flatten().find(|id| id.purpose == purpose)
    }
}

/// How soon to look again where the manager's answers contradict each other for a moment.
pub(super) const CONTRADICTION_DELAY: Duration = Duration::from_secs(1);
/// How often to look again at a worker for which nothing is done, should what would change that
/// have been missed: the signal of a reload, a short life between two lists.
pub(super) const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
