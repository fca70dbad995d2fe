//! A requested heal: which workers, what is reported about them, and the result.
//!
//! The healer reports more than a requester needs, and continues afterwards. A [`Batch`] reduces its events to
//! `starting` for each worker in order, later exactly one `healed` or `failed` for each of them, and one `done` at the
//! end.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::diagnosis::{Refusal, waits_for};
use super::event::{Event, Failure, Phase, Report, UnhealthyWorker};
use super::units::UnitName;

/// What a heal would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The workers to heal.
    pub unhealthy: Vec<UnhealthyWorker>,
    /// Unhealthy workers that are left alone, with the reason: a start would not help, or the configuration excludes
    /// their state.
    pub left_alone: Vec<LeftAlone>,
    /// Workers that would be healed if they were not paused, by you or by the stop marker.
    #[serde(default)]
    pub paused: Vec<LeftAlone>,
    /// Named workers that must not be started; they count as failed.
    pub refused: Vec<Failure>,
}

/// An unhealthy worker that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The worker.
    pub worker: UnhealthyWorker,
    /// Why it is left alone.
    pub reason: String,
}

/// The result of a heal in one line, in the wording that other programs expect. It says that no worker is unhealthy
/// only if that is true.
#[must_use]
pub fn summary(report: &Report, left_alone: &[LeftAlone]) -> String {
    if report.healed.is_empty() && report.failed.is_empty() && !left_alone.is_empty() {
        return "Healed 0 worker(s).".to_owned();
    }
    report.to_string()
}

/// The workers of a plan while they are being healed.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they were to be healed.
    order: Vec<UnitName>,
    pending: HashMap<UnitName, UnhealthyWorker>,
    started: HashSet<UnitName>,
    /// What workers are waiting for.
    held: HashMap<UnitName, Refusal>,
    events: VecDeque<Event>,
    report: Report,
}

impl Batch {
    /// Starts a batch. Refused workers are reported in the same two steps as all others.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut batch = Self::default();
        for failure in &plan.refused {
            batch.events.push_back(event(&failure.worker, Phase::Starting));
            let failed = event(&failure.worker, Phase::Failed);
            batch.events.push_back(Event { error: failure.error.clone(), ..failed });
            batch.report.failed.push(failure.clone());
        }
        for worker in &plan.unhealthy {
            batch.order.push(worker.unit.clone());
            batch.pending.insert(worker.unit.clone(), worker.clone());
        }
        batch
    }

    /// The units to heal, in order.
    #[must_use]
    pub fn units(&self) -> &[UnitName] {
        &self.order
    }

    /// Whether the result for this worker is still pending.
    #[must_use]
    pub fn awaits(&self, unit: &UnitName) -> bool {
        self.pending.contains_key(unit)
    }

    /// Whether no result is pending any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next event to report. The caller adds `done` once the batch [is done](Self::is_done).
    pub fn take(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The result for each worker.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Processes an event of the healer: `held_for` is what a held worker waits for, `last_words` the last log line of
    /// a failed one.
    pub fn observe(&mut self, event: &Event, held_for: Option<&Refusal>, last_words: Option<String>) {
        let Some(unit) = &event.unit else { return };
        let Some(worker) = self.pending.get_mut(unit) else { return };
        if let Some(line) = &last_words {
            worker.last_error.clone_from(line);
        }
        self.held.remove(unit);
        match event.phase {
            Phase::Starting => self.begin(unit),
            Phase::Healed | Phase::Recovered => {
                self.conclude(unit, None);
                if let Some(healed) = self.events.back_mut().filter(|healed| healed.unit == event.unit) {
                    healed.downtime = event.downtime;
                }
            }
            Phase::Failed => {
                let error = match last_words {
                    Some(line) => format!("{}: {line}", event.error),
                    None => event.error.clone(),
                };
                self.conclude(unit, Some(error));
            }
            Phase::Held => {
                if let Some(refusal) = held_for {
                    self.held.insert(unit.clone(), refusal.clone());
                }
                if !self.is_worth_waiting_for(unit) {
                    self.conclude(unit, Some(event.reason.clone()));
                }
            }
            Phase::GaveUp => self.conclude(unit, Some(event.reason.clone())),
            Phase::Stopped if event.reason.is_empty() => self.conclude(unit, Some("you stopped it".to_owned())),
            Phase::Stopped => self.conclude(unit, Some(event.reason.clone())),
            Phase::Detected | Phase::Scheduled | Phase::Done => {}
        }
    }

    /// Concludes a worker that nothing is being done about any more: another client was faster.
    pub fn settle(&mut self, unit: &UnitName, is_up: bool) {
        self.conclude(unit, (!is_up).then(|| "it is down, and nothing is done about it any more".to_owned()));
    }

    /// Concludes all pending workers with the same failure.
    pub fn abandon(&mut self, why: &str) {
        for unit in self.order.clone() {
            self.conclude(&unit, Some(why.to_owned()));
        }
    }

    /// Concludes one worker with a failure.
    pub fn refuse(&mut self, unit: &UnitName, why: String) {
        self.conclude(unit, Some(why));
    }

    /// Whether the hold is temporary: another client's job, or a unit that the worker needs and that is being healed
    /// too.
    fn is_worth_waiting_for(&self, unit: &UnitName) -> bool {
        match self.held.get(unit) {
            Some(Refusal::JobPending) => true,
            Some(Refusal::ParentDown(parent)) => {
                // Neither of two that wait for each other would end.
                let is_circle = waits_for(unit.as_str(), unit.as_str(), |unit| self.held.get(unit));
                self.pending.contains_key(parent.name.as_str()) && !is_circle
            }
            _ => false,
        }
    }

    /// Reports that a worker is being started, after all workers before it that are not on hold.
    fn begin(&mut self, unit: &UnitName) {
        let upto = self.order.iter().position(|it| it == unit).map_or(0, |at| at + 1);
        for unit in &self.order[..upto] {
            let Some(worker) = self.pending.get(unit) else { continue };
            if !self.held.contains_key(unit) && self.started.insert(unit.clone()) {
                self.events.push_back(event(worker, Phase::Starting));
            }
        }
    }

    fn conclude(&mut self, unit: &UnitName, error: Option<String>) {
        self.held.remove(unit);
        // A worker that was refused before its start is reported in the same two steps as all others.
        self.begin(unit);
        let Some(worker) = self.pending.remove(unit) else { return };
        match error {
            None => {
                self.events.push_back(event(&worker, Phase::Healed));
                self.report.healed.push(worker);
                // Workers that waited for it are inspected again.
                self.held.retain(|_, held_for| !needs(held_for, unit));
            }
            Some(error) => {
                self.events.push_back(Event { error: error.clone(), ..event(&worker, Phase::Failed) });
                self.report.failed.push(Failure { worker, error });
                self.conclude_those_left_waiting();
            }
        }
    }

    /// Gives up on workers that need a unit which was to be healed first and was not.
    fn conclude_those_left_waiting(&mut self) {
        let left = self.held.iter().find_map(|(unit, refusal)| match refusal {
            Refusal::ParentDown(_) if self.is_worth_waiting_for(unit) => None,
            Refusal::ParentDown(_) => Some((unit.clone(), refusal.to_string())),
            _ => None,
        });
        if let Some((unit, why)) = left {
            self.conclude(&unit, Some(why));
        }
    }
}

fn needs(refusal: &Refusal, unit: &UnitName) -> bool {
    matches!(refusal, Refusal::ParentDown(parent) if parent.name == unit.as_str())
}

fn event(worker: &UnhealthyWorker, phase: Phase) -> Event {
    Event { site: worker.site.clone(), unit: Some(worker.unit.clone()), ..Event::new(phase) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::State;
    use crate::units::{ActiveState, Parent};

    fn worker(unit: &str) -> UnhealthyWorker {
        UnhealthyWorker {
            site: "myapp".into(),
            worker: unit.trim_start_matches("lerd-").into(),
            worktree: None,
            unit: UnitName::parse(unit).unwrap(),
            state: State::Failed,
            last_error: String::new(),
        }
    }

    fn batch(units: &[&str]) -> Batch {
        Batch::new(&Plan { unhealthy: units.iter().map(|unit| worker(unit)).collect(), ..Plan::default() })
    }

    fn observe(batch: &mut Batch, phase: Phase, unit: &str) {
        batch.observe(
            &Event { unit: UnitName::parse(unit).ok(), error: "boom".into(), ..Event::new(phase) },
            None,
            None,
        );
    }

    fn hold(batch: &mut Batch, unit: &str, parent: &str) {
        let parent = Parent { name: parent.into(), active: ActiveState::Failed, ..Parent::default() };
        let refusal = Refusal::ParentDown(parent);
        let event = Event { unit: UnitName::parse(unit).ok(), reason: refusal.to_string(), ..Event::new(Phase::Held) };
        batch.observe(&event, Some(&refusal), None);
    }

    fn published(batch: &mut Batch) -> String {
        let events = std::iter::from_fn(|| batch.take());
        events.map(|event| format!("{} {}", event.phase.as_str(), event.unit_name())).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn starts_are_reported_in_order_whatever_the_order_of_inspections() {
        let mut batch = batch(&["a", "b", "c"]);
        observe(&mut batch, Phase::Starting, "b");
        assert_eq!(published(&mut batch), "starting a, starting b");
        observe(&mut batch, Phase::Starting, "a");
        observe(&mut batch, Phase::Healed, "b");
        observe(&mut batch, Phase::Failed, "b");
        observe(&mut batch, Phase::Healed, "c");
        assert_eq!(published(&mut batch), "healed b, starting c, healed c", "each has one end");
        assert!(!batch.is_done());
        observe(&mut batch, Phase::Failed, "a");
        assert_eq!(published(&mut batch), "failed a");
        assert!(batch.is_done());
        let report = batch.into_report();
        assert_eq!(report.to_string(), "Healed 2 worker(s), 1 failed.");
        assert_eq!(report.failed[0].error, "boom");
    }

    #[test]
    fn no_unhealthy_workers_is_claimed_only_if_there_are_none() {
        let looping = [LeftAlone { worker: worker("lerd-vite"), reason: "it is restarted by others".into() }];
        let nothing = Report::default();
        assert_eq!(summary(&nothing, &[]), "No unhealthy workers.");
        assert_eq!(summary(&nothing, &looping), "Healed 0 worker(s).");
        let healed = Report { healed: vec![worker("lerd-queue")], failed: Vec::new() };
        assert_eq!(summary(&healed, &looping), "Healed 1 worker(s).");
    }

    #[test]
    fn refused_workers_have_a_start_and_an_end() {
        let refused = Failure { worker: worker("x"), error: "the site myapp is paused".into() };
        let mut batch = Batch::new(&Plan { refused: vec![refused], ..Plan::default() });
        let events: Vec<Event> = std::iter::from_fn(|| batch.take()).collect();
        assert_eq!(events.iter().map(|event| event.phase).collect::<Vec<_>>(), [Phase::Starting, Phase::Failed]);
        assert_eq!((events[1].site.as_str(), events[1].error.as_str()), ("myapp", "the site myapp is paused"));
        assert!(batch.is_done());
    }

    #[test]
    fn a_worker_waits_for_one_that_is_healed_too_and_for_nothing_else() {
        let mut batch = batch(&["child", "parent", "other"]);
        hold(&mut batch, "child", "parent.service");
        hold(&mut batch, "other", "redis.service");
        assert_eq!(published(&mut batch), "starting parent, starting other, failed other");
        observe(&mut batch, Phase::Healed, "parent");
        assert_eq!(published(&mut batch), "healed parent", "a worker that waited for it is inspected again");
        observe(&mut batch, Phase::Starting, "child");
        observe(&mut batch, Phase::Healed, "child");
        assert_eq!(published(&mut batch), "starting child, healed child");
    }

    #[test]
    fn a_worker_whose_parent_was_healed_is_still_healed_when_others_fail() {
        let mut batch = batch(&["child", "parent", "other"]);
        hold(&mut batch, "child", "parent.service");
        observe(&mut batch, Phase::Healed, "parent");
        observe(&mut batch, Phase::Failed, "other");
        assert!(!batch.is_done());
        observe(&mut batch, Phase::Healed, "child");
        assert_eq!(batch.into_report().to_string(), "Healed 2 worker(s), 1 failed.");
    }

    #[test]
    fn a_worker_does_not_wait_for_one_that_could_not_be_healed() {
        let mut batch = batch(&["parent", "child", "grandchild"]);
        hold(&mut batch, "child", "parent.service");
        hold(&mut batch, "grandchild", "child.service");
        observe(&mut batch, Phase::Failed, "parent");
        assert!(batch.is_done());
        assert_eq!(
            published(&mut batch),
            "starting parent, failed parent, starting child, failed child, starting grandchild, failed grandchild"
        );
    }

    #[test]
    fn a_worker_that_another_client_started_is_healed_and_one_that_is_left_down_has_failed() {
        let mut batch = batch(&["a", "b"]);
        batch.settle(&UnitName::parse("a").unwrap(), true);
        batch.settle(&UnitName::parse("b").unwrap(), false);
        assert_eq!(published(&mut batch), "starting a, healed a, starting b, failed b");
        assert!(batch.is_done());
        assert_eq!(batch.into_report().failed[0].error, "it is down, and nothing is done about it any more");
    }

    #[test]
    fn other_workers_are_none_of_its_business() {
        let mut batch = batch(&["a"]);
        for phase in Phase::ALL {
            observe(&mut batch, phase, "z");
        }
        observe(&mut batch, Phase::Detected, "a");
        assert_eq!(published(&mut batch), "");
        batch.abandon("workerheal ends");
        assert_eq!(published(&mut batch), "starting a, failed a");
    }

    #[test]
    fn a_batch_tells_which_results_are_pending() {
        let mut batch = batch(&["a", "b"]);
        let [a, b, other] = ["a", "b", "other"].map(|unit| UnitName::parse(unit).unwrap());
        assert_eq!(batch.units(), [a.clone(), b.clone()]);
        assert_eq!([&a, &b, &other].map(|unit| batch.awaits(unit)), [true, true, false]);
        observe(&mut batch, Phase::Failed, "a");
        assert_eq!([&a, &b].map(|unit| batch.awaits(unit)), [false, true]);
    }

    #[test]
    fn a_downtime_is_that_of_the_worker_that_was_healed() {
        let mut batch = batch(&["a", "b"]);
        for (unit, seconds) in [("a", 3), ("b", 5)] {
            let downtime = Some(std::time::Duration::from_secs(seconds));
            batch.observe(
                &Event { unit: UnitName::parse(unit).ok(), downtime, ..Event::new(Phase::Healed) },
                None,
                None,
            );
        }
        let events = std::iter::from_fn(|| batch.take());
        let healed = events.filter(|event| event.phase == Phase::Healed);
        let told: Vec<_> =
            healed.map(|event| (event.unit_name().to_owned(), event.downtime.map(|it| it.as_secs()))).collect();
        assert_eq!(told, [("a".to_owned(), Some(3)), ("b".to_owned(), Some(5))]);
    }

    #[test]
    fn a_worker_that_was_stopped_meanwhile_has_failed_for_that_reason() {
        for (reason, error) in [("", "you stopped it"), ("dev.slice was stopped", "dev.slice was stopped")] {
            let mut batch = batch(&["a"]);
            let unit = UnitName::parse("a").ok();
            batch.observe(&Event { unit, reason: reason.into(), ..Event::new(Phase::Stopped) }, None, None);
            assert_eq!(batch.into_report().failed[0].error, error);
        }
    }

    #[test]
    fn a_worker_whose_job_is_pending_is_waited_for_and_a_refused_one_is_not() {
        let mut batch = batch(&["a", "b"]);
        let unit = UnitName::parse("a").ok();
        batch.observe(&Event { unit, ..Event::new(Phase::Held) }, Some(&Refusal::JobPending), None);
        assert_eq!(published(&mut batch), "");
        batch.refuse(&UnitName::parse("b").unwrap(), "it is paused".into());
        let events: Vec<Event> = std::iter::from_fn(|| batch.take()).collect();
        let told: Vec<_> = events.iter().map(|event| (event.phase, event.unit_name(), event.error.as_str())).collect();
        assert_eq!(told, [(Phase::Starting, "b", ""), (Phase::Failed, "b", "it is paused")]);
        observe(&mut batch, Phase::Healed, "a");
        assert_eq!(published(&mut batch), "starting a, healed a");
        let report = batch.into_report();
        assert_eq!((report.healed.len(), report.failed[0].error.as_str()), (1, "it is paused"));
    }

    #[test]
    fn a_heal_does_not_speak_for_workers_that_wait_for_another_one() {
        let mut batch = batch(&["child", "parent", "other"]);
        hold(&mut batch, "child", "parent.service");
        observe(&mut batch, Phase::Healed, "other");
        assert!(published(&mut batch).ends_with("healed other"));
        observe(&mut batch, Phase::Failed, "parent");
        assert!(batch.is_done(), "what the child waits for has failed");
        assert_eq!(published(&mut batch), "failed parent, starting child, failed child");
    }
}
