//! The sentences of the rules: what one says that objects to a heal, and one that does not.

use super::{OWN_START, Wording, attempts, by_name, found, in_short, last_run, listed, names};
use crate::diagnosis::{Refusal, State, Trigger, Unrecoverable};
use crate::explain::times::{exactly, rounded};
use crate::explain::{Line, Mark, Objection};
use crate::rules::{Rule, Verdict};
use crate::units::{Deactivation, Parent, StopEvidence};

impl Wording<'_> {
    /// Which other unit took it down.
    fn why_taken_along(&self) -> String {
        let seen = self.case.seen;
        let down: Vec<&str> = self.down_parents().map(|parent| parent.name.as_str()).collect();
        match (&seen.displaced_by, down.as_slice()) {
            (Some(other), _) => format!("it gave way to {other}, which was started and conflicts with it"),
            (None, []) if seen.parents.is_empty() && seen.has_conflicts => {
                "it gave way to a unit that conflicts with it".to_owned()
            }
            (None, []) => "what it needs went down, and took it along".to_owned(),
            (None, names) => format!("{} went down, and took it along", names.join(", ")),
        }
    }

    /// What a rule without an objection has to say, if it matters for this worker.
    pub fn passes(&self, rule: Rule, state: State, objections: &[Objection]) -> Option<Line> {
        let (case, history) = (self.case, &self.case.history);
        let says = |says: &str, evidence: String| Some(Line { mark: Mark::Passes, ..found(says, evidence) });
        let objects = |weightier| objections.iter().any(|(rule, _)| *rule == weightier);
        // If the manager takes care of it, or it cannot be started at all, no further rule matters.
        let is_left = objects(Rule::Manager) || objects(Rule::Directory) || objects(Rule::File);
        match rule {
            Rule::Stop if matches!(state, State::Unreachable | State::CrashLooping) => None,
            Rule::Stop if case.seen.active.is_up() => None,
            Rule::Stop if case.was_taken_along() => {
                says("the worker itself was not stopped on purpose", self.why_taken_along())
            }
            Rule::Stop => match (&case.seen.stop, &case.seen.run) {
                (Some(StopEvidence::NotRequested), Some(run)) => {
                    let journal = format!("no stop in the journal of {}", last_run(run));
                    says(
                        "it was not stopped on purpose",
                        self.by_manager(journal, "it is neither disabled nor told to end"),
                    )
                }
                (Some(StopEvidence::KeptFromStarting), _) => says(
                    "it was not stopped on purpose",
                    "its start was given up: a unit that it needs did not come up".to_owned(),
                ),
                // Then the line about the doubt says it.
                (Some(StopEvidence::Unknown(_)), _) => None,
                (Some(StopEvidence::Requested), _) => says("it was stopped, but is wanted now", by_name()),
                _ if case.seen.deactivation.is_some_and(Deactivation::was_sudden) => {
                    says("it was not stopped on purpose", "it was up at one moment and down at the next".to_owned())
                }
                _ => None,
            },
            Rule::Registry if case.worker.site.is_empty() => None,
            Rule::Registry => says("neither it nor its site is paused in Lerd", String::new()),
            Rule::GivenUp if history.given_up.is_some() => {
                says("it was given up, but that is over", "its unit's file or its last run is another now".to_owned())
            }
            Rule::Enabled if is_left => None,
            Rule::Enabled => match (history.at_failure, case.seen.file) {
                (Some(then), Some(now)) if then.enabled || now.enabled => None,
                (Some(_), Some(_)) if history.trigger == Trigger::Request => {
                    says("it is not enabled, but is wanted now", by_name())
                }
                // It has neither failed nor ended.
                _ if !matches!(state, State::Failed | State::StartLimitHit | State::ExpectedButStopped) => None,
                (Some(_), Some(_)) => says(
                    match state {
                        State::ExpectedButStopped => "it is not enabled, nor was it when it went down",
                        _ => "it is not enabled, nor was it when it failed",
                    },
                    self.by_manager("UnitFileState is not enabled".to_owned(), "launchctl print-disabled"),
                ),
                _ => None,
            },
            Rule::Parents => match names(case.seen.parents.iter().filter(|parent| !parent.is_optional)).as_str() {
                "" => None,
                parents => says("what it needs is up", parents.to_owned()),
            },
            Rule::States | Rule::Attempts if is_left => None,
            Rule::States if state == State::Unreachable => {
                says("it is to be restarted if it does not answer", format!("probes in {}", self.references.config))
            }
            Rule::States if case.context.policy.heals(state) => {
                says(&format!("workers in the state {state} are healed"), self.states())
            }
            Rule::States if case.restart_was_skipped() => {
                says("its unit asks for restarts", self.by_manager(format!("Restart={}", case.seen.restart), ""))
            }
            Rule::States if history.trigger == Trigger::Automatic => {
                says("it did not go down by itself", "a unit that it needs went down or did not come up".to_owned())
            }
            Rule::States => says("its state is healed only if a person asks", by_name()),
            Rule::Attempts if objects(Rule::GivenUp) => None,
            Rule::Attempts => {
                let limit = case.context.policy.give_up_after;
                let limit = limit.map_or("it is never given up".to_owned(), |limit| format!("given up after {limit}"));
                match case.attempts() {
                    0 if objections.is_empty() => says("no attempt has been made yet", limit),
                    0 => None,
                    made => says(&format!("{} made so far", attempts(made)), limit),
                }
            }
            Rule::Once if case.seen.oneshot && history.trigger == Trigger::Request => {
                says("it runs once, and a run is wanted now", by_name())
            }
            Rule::Marker
            | Rule::Pause
            | Rule::GivenUp
            | Rule::File
            | Rule::Manager
            | Rule::Stuck
            | Rule::Job
            | Rule::Directory
            | Rule::Conflicts
            | Rule::Once
            | Rule::Prevented
            | Rule::Doubt
            | Rule::Backoff => None,
        }
    }

    /// A rule's objection, and its evidence.
    pub fn objects(&self, mark: Mark, objection: &Verdict) -> Line {
        let case = self.case;
        let says = match objection {
            Verdict::Stopped => match case.stopped_group() {
                Some(group) => format!("{group} was stopped"),
                None => case.why_stopped(),
            },
            Verdict::Held(Refusal::JobPending) if case.history.starting => OWN_START.to_owned(),
            Verdict::Held(refusal) => in_short(refusal),
            Verdict::GivenUp => match self.reason_of_giving_up() {
                "" => "it was given up; nothing changed since".to_owned(),
                reason if self.is_said_by_the_file() => reason.to_owned(),
                reason => format!("{reason}; nothing changed since"),
            },
            Verdict::Unrecoverable(why) => why.to_string(),
            Verdict::Exhausted(count) => format!("{} failed", attempts(*count)),
            Verdict::Wait(wait) => format!("the next attempt is due in {}", rounded(*wait)),
            Verdict::Well | Verdict::Start | Verdict::Restart => String::new(),
        };
        let evidence = match objection {
            Verdict::Stopped => match (&case.seen.stop, &case.seen.run) {
                (Some(StopEvidence::Requested), Some(run)) => {
                    let journal = format!("the stop is in the journal of {}", last_run(run));
                    self.by_manager(journal, "it was taken out, disabled or told to end, or its plist is gone")
                }
                _ if case.stopped_group().is_some() => {
                    "PartOf= or the like; it was stopped after the worker's last start".to_owned()
                }
                _ if case.history.stays_stopped => "workerheal remembers the stop".to_owned(),
                _ => "the stop was seen".to_owned(),
            },
            Verdict::Held(refusal) => self.evidence_of(refusal),
            Verdict::GivenUp if self.is_said_by_the_file() => self.load(),
            Verdict::GivenUp => "its unit's file is the same, and it has not run since".to_owned(),
            Verdict::Unrecoverable(Unrecoverable::RestartPrevented(exit)) => {
                format!("the last exit was {exit}, RestartPreventExitStatus= lists it")
            }
            Verdict::Unrecoverable(Unrecoverable::NotByHand) => "RefuseManualStart=yes".to_owned(),
            Verdict::Unrecoverable(_) => self.load(),
            Verdict::Exhausted(_) => match case.context.policy.give_up_after {
                Some(limit) => format!("heal.give_up_after is {limit}"),
                None => String::new(),
            },
            Verdict::Wait(wait) => match self.references.now.checked_add(*wait) {
                Some(at) => exactly(at, self.references.now),
                None => String::new(),
            },
            Verdict::Well | Verdict::Start | Verdict::Restart => String::new(),
        };
        Line { mark, says, evidence }
    }

    /// What the manager says about the unit's file.
    fn load(&self) -> String {
        self.by_manager(format!("LoadState={}", self.case.seen.load), "")
    }

    pub(super) fn evidence_of(&self, refusal: &Refusal) -> String {
        let seen = self.case.seen;
        match refusal {
            Refusal::StopMarker => self.references.stop_marker.clone(),
            Refusal::Paused(pause) => match pause.until {
                Some(until) => {
                    let left = until.from_now(self.references.clock);
                    let at = self.references.now.checked_add(left).map(|at| exactly(at, self.references.now));
                    listed(vec![
                        format!("for another {}", rounded(left)),
                        at.map(|at| format!("until {at}")).unwrap_or_default(),
                    ])
                }
                None => "until you resume it".to_owned(),
            },
            Refusal::SitePaused(_) => format!("{} says paused: true", self.line("paused")),
            Refusal::WorkerPaused(_) => format!("{} lists it in paused_workers", self.line("paused_workers")),
            Refusal::IdleSuspended(worker) => {
                let key = if worker.worktree.is_some() { "worktree_idle_suspended" } else { "idle_suspended_workers" };
                format!("{} lists it in {key}", self.line(key))
            }
            Refusal::Masked => format!("LoadState={}", seen.load),
            Refusal::Disabled => {
                let of_systemd = "UnitFileState was enabled when it failed".to_owned();
                self.by_manager(of_systemd, "it was enabled when it failed")
            }
            Refusal::JobPending => self.property("its Job is set".to_owned()).unwrap_or_else(|| self.state()),
            Refusal::ParentDown(parent) => {
                let others: Vec<&Parent> = self.down_parents().filter(|other| other.name != parent.name).collect();
                let mut evidence = vec![format!("ActiveState={}", parent.active)];
                if !others.is_empty() {
                    evidence.push(format!("down as well: {}", names(others.into_iter())));
                }
                listed(evidence)
            }
            Refusal::ConflictUp(_) => "Conflicts=, on its side or on the other".to_owned(),
            Refusal::LeftToTrigger(_) => {
                let what = if self.case.seen.oneshot { "Type=oneshot" } else { "Restart=no" };
                self.property(format!("{what}, TriggeredBy=")).unwrap_or_else(|| self.state())
            }
            Refusal::OneshotEnded => "Type=oneshot, Restart=no".to_owned(),
            Refusal::Stuck(active, _) => self.property(format!("ActiveState={active}")).unwrap_or_else(|| self.state()),
            Refusal::CrashLooping(count) => {
                let of_launchd = format!("runs = {}", count.saturating_add(1));
                self.by_manager(format!("NRestarts={count}, Restart={}", seen.restart), &of_launchd)
            }
            Refusal::DirectoryGone(_) => self.by_manager(
                "WorkingDirectory= does not exist".to_owned(),
                "its plist, or the script in that, goes there",
            ),
            Refusal::StateNotHealed(_) => self.states(),
            Refusal::Forbidden(why) => why.clone(),
            Refusal::StopUnknown(_) | Refusal::Declined(_) | Refusal::Unreadable(_) => String::new(),
        }
    }
}
