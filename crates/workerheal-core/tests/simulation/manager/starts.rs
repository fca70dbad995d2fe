//! The healer's starts, step by step, as the connection to the manager performs them.

use std::time::Duration;

use workerheal_core::diagnosis::{Refusal, Unrecoverable};
use workerheal_core::healer::Outcome;
use workerheal_core::rules::Start;

use super::Manager;
use super::truth::Truth;
use crate::laws::Breach;
use crate::model::{ActiveState, JobId, JobKind, JobResult, LoadState, Mode, Refusal as Refused, Unit, UnitId};
use crate::scenario::{self, NAMES, UNITS};

/// How long before a start by the healer a stop may have been requested that the start overtakes.
const MAX_OVERTAKE_TIME: Duration = Duration::from_secs(120);

/// A start by the healer, as the connection to the manager performs it.
#[derive(Debug, Clone)]
pub(super) struct Starting {
    start: Start,
    step: Step,
    /// The unit has been in a state other than down.
    pub(super) began: bool,
    /// The number of the start.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is being stopped, so that a required unit can come up before its start.
    Stop,
    Start,
    /// Its failure was cleared, and it is started again.
    StartCleared,
}

impl Manager {
    /// The healer requests a start. Returns its number.
    pub fn request_start(&mut self, start: Start) -> Option<(usize, u64)> {
        let index = NAMES.iter().position(|name| *name == start.unit.short())?;
        self.starts += 1;
        let step = if start.restart && !start.first.is_empty() { Step::Stop } else { Step::Start };
        self.truth[index].asked = true;
        self.starting[index] = Some(Starting { began: start.restart, start, step, number: self.starts });
        Some((index, self.starts))
    }

    /// Whether the start with this number is under way, and has taken too long.
    pub fn is_late(&self, index: usize, number: u64) -> bool {
        self.starting[index].as_ref().is_some_and(|starting| starting.number == number)
    }

    /// Handles the result of a job of the healer. Returns how the start ended; `None` if another step follows.
    pub fn next_step(&mut self, index: usize, result: JobResult) -> Option<Outcome> {
        let Some(starting) = &mut self.starting[index] else { return Some(outcome(result)) };
        match starting.step {
            Step::Stop if result == JobResult::Done => starting.step = Step::Start,
            Step::Start if result == JobResult::Failed && !starting.began && starting.start.clearable => {
                starting.step = Step::StartCleared;
            }
            Step::Stop | Step::Start | Step::StartCleared => return Some(outcome(result)),
        }
        self.truth[index].job = None;
        None
    }

    /// Whether the healer's restart of the unit begins with a stop that has not ended.
    pub(super) fn is_stopped_for_a_restart(&self, index: usize) -> bool {
        matches!(&self.starting[index], Some(Starting { step: Step::Stop, .. }))
    }

    /// The healer stops a unit whose start overtook a stop. Returns whether a person had stopped it.
    pub fn stop(&mut self, index: usize) -> bool {
        let Truth { last_stop, up, up_since, .. } = self.truth[index];
        // It may still be in the run that the stop was meant for.
        let since = if up { up_since } else { self.model.now() };
        let was_meant = last_stop.is_some_and(|at| since <= at + MAX_OVERTAKE_TIME);
        self.truth[index].stopped |= was_meant;
        // A unit that it conflicts with was started in the same instant, while it was down, which shows as no stop.
        let gives_way = self.partners(index).any(|it| self.is_up_or_coming(it));
        let _ = self.with(|model, lives| model.stop(UnitId(index), Mode::Replace, lives));
        was_meant || gives_way
    }

    /// Whether a person or another unit started it, rather than the manager or the healer.
    pub fn is_started_by_others(&self, index: usize) -> bool {
        !self.truth[index].asked && !self.truth[index].by_manager
    }

    /// The next step of a start by the healer reaches the manager. Returns how it ended if it has no job.
    pub fn start(&mut self, index: usize) -> Result<Option<Outcome>, Breach> {
        let unit = UnitId(index);
        let Some(Starting { start, step, .. }) = self.starting[index].clone() else { return Ok(None) };
        if self.is_forbidding {
            let why = "Access denied".to_owned();
            return Ok(Some(Outcome::Refused(Refusal::Forbidden(why.clone()), why)));
        }
        let named = |name: &String| (0..UNITS).find(|it| scenario::full_name(*it, &self.specs[*it]) == *name);
        let first: Vec<UnitId> = start.first.iter().filter_map(named).map(UnitId).collect();
        let before: Vec<Unit> = self.model.units().to_vec();
        let mode = if start.alone { Mode::IgnoreRequirements } else { Mode::Fail };
        self.overriding = (start.alone && step != Step::Stop).then_some(index);
        let job = if step == Step::Stop {
            self.with(|model, lives| model.stop(unit, Mode::Fail, lives))
        } else {
            if step == Step::StartCleared {
                let _ = self.with(|model, lives| model.reset_failed(unit, lives));
            }
            for it in &first {
                let _ = self.with(|model, lives| model.start(*it, Mode::Fail, lives));
            }
            let restart = start.restart && first.is_empty();
            self.with(
                |model, lives| {
                    if restart { model.restart(unit, mode, lives) } else { model.start(unit, mode, lives) }
                },
            )
        };
        self.is_alone(index, &before, &first)?;
        Ok(match job {
            Ok(job) => {
                self.truth[index].job = Some(job);
                None
            }
            Err(refused) => Some(match refused {
                Refused::Masked | Refused::NotFound | Refused::BadSetting
                    if self.model.unit(unit).load() == LoadState::Loaded =>
                {
                    let why = "a unit that it needs cannot be loaded".to_owned();
                    Outcome::Refused(Refusal::Declined(why.clone()), why)
                }
                Refused::Masked => Outcome::Refused(Refusal::Masked, "masked".to_owned()),
                Refused::NotFound | Refused::NotLoaded => Outcome::Impossible(Unrecoverable::NotFound),
                Refused::BadSetting => Outcome::Impossible(Unrecoverable::BadSetting),
                Refused::NotApplicable => Outcome::NotStarted("the service manager refuses it".to_owned()),
                Refused::OnlyByDependency => Outcome::Impossible(Unrecoverable::NotByHand),
                Refused::Destructive | Refused::Contradiction => {
                    Outcome::Refused(Refusal::JobPending, "a job is in the way".to_owned())
                }
            }),
        })
    }

    /// Checks that a start changes only the unit that is healed, and drops none.
    fn is_alone(&self, index: usize, before: &[Unit], first: &[UnitId]) -> Result<(), Breach> {
        for (other, (was, is)) in before.iter().zip(self.model.units()).enumerate() {
            let name = NAMES[other];
            if other == index {
                if was.load() == LoadState::Loaded && is.load() == LoadState::NotFound {
                    return Err(Breach { law: "no unit is lost", how: format!("{name} has no file any more") });
                }
                continue;
            }
            // Units that waited for this one continue.
            let had_job = was.job().is_some();
            let changed =
                is.runs() != was.runs() || is.job().is_some() || (was.active().is_up() && !is.active().is_up());
            let is_named = first.contains(&UnitId(other));
            // Changes since the inspection cannot be known; and a socket fails with its service.
            let is_news = was.state_change() > self.inspected_at[index];
            // The manager stops an unneeded pool as soon as it checks, for any reason.
            let is_unneeded = was.spec().stop_when_unneeded && is.job().is_some_and(|job| job.kind == JobKind::Stop);
            if changed && !had_job && !is_named && !is_news && !is_unneeded && !self.triggers(other, index) {
                let how = format!("a start of {} changes {name}", NAMES[index]);
                return Err(Breach { law: "no other unit changes", how });
            }
        }
        Ok(())
    }

    /// The queued start has been reported.
    pub fn start_is_queued(&mut self) {
        self.overriding = None;
    }

    pub fn is_asked(&self, index: usize) -> bool {
        self.truth[index].asked
    }

    pub fn is_awaited(&self, index: usize, job: u64) -> bool {
        self.truth[index].asked && self.truth[index].job == Some(JobId(job))
    }

    pub fn end_of_start_reported(&mut self, index: usize) {
        (self.truth[index].asked, self.truth[index].job) = (false, None);
        self.starting[index] = None;
    }

    pub fn starts_under_way(&self) -> Vec<usize> {
        (0..UNITS).filter(|unit| self.truth[*unit].asked).collect()
    }

    pub fn forget_starts(&mut self) {
        (0..UNITS).for_each(|unit| self.end_of_start_reported(unit));
    }

    /// Ends of starts whose signal was lost: their job is no longer listed.
    pub fn missed_ends(&self) -> Vec<(usize, Outcome)> {
        let gone = (0..UNITS).filter_map(|index| {
            let job = self.truth[index].job.filter(|_| self.truth[index].asked)?;
            let unit = self.model.unit(UnitId(index));
            if unit.job().is_some_and(|current| current.id == job) {
                return None;
            }
            let outcome = match unit.active() {
                _ if !unit.is_in_memory() => Outcome::NotStarted("was unloaded while it was being started".to_owned()),
                ActiveState::Failed => Outcome::Failed("could not be started".to_owned()),
                _ => Outcome::Done,
            };
            Some((index, outcome))
        });
        gone.collect()
    }
}

/// The outcome that the real edge derives from the result of a start job.
fn outcome(result: JobResult) -> Outcome {
    match result {
        JobResult::Done | JobResult::Skipped => Outcome::Done,
        JobResult::Failed => Outcome::Failed("could not be started".to_owned()),
        JobResult::Timeout => Outcome::Failed("its start took longer than its unit allows".to_owned()),
        JobResult::Dependency => Outcome::NotStarted("a unit that it depends on could not be started".to_owned()),
        JobResult::Canceled => Outcome::Cancelled,
        JobResult::Invalid => Outcome::Failed("its start ended with the result invalid".to_owned()),
    }
}
