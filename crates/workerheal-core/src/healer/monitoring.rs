//! Monitoring of workers that need no action: health probes of those that are up, and repeated inspections of those
//! that are left alone, in case a change was missed.

use std::time::Duration;

use super::incident::{Incident, Phase, RECHECK_INTERVAL};
use super::{Action, Healer, Mode, Purpose, Timestamp, Unit, UnitCondition};
use crate::diagnosis::{Refusal, State, Trigger};
use crate::event::Phase as EventPhase;
use crate::probe::{ProbeAnswer, ProbeResult, ProbeVerdict, REFUSALS};
use crate::rules::MAX_RESTARTS;
use crate::selector::Resolution;
use crate::units::{Detail, Inspection, LoadState, StopEvidence, UnitName, has_run_since, is_another_definition};

/// Maximum number of given-up workers that are rechecked with each list.
const RECHECKS_PER_LIST: usize = 4;
/// When a start or stop that is under way is first inspected, to find out its limit.
const FIRST_STUCK_CHECK: Duration = Duration::from_secs(15);

impl Healer {
    /// What to inspect a unit for that has not failed, if anything.
    pub(super) fn suspicion(&self, now: Timestamp, unit: &Unit) -> Option<State> {
        if self.mode == Mode::OnRequest {
            return None;
        }
        match unit.condition() {
            UnitCondition::Up | UnitCondition::ComingUp | UnitCondition::Settling | UnitCondition::Down
                if unit.directory_gone =>
            {
                Some(State::Orphaned)
            }
            UnitCondition::Up | UnitCondition::Down if unit.socket_failed && unit.load == LoadState::Loaded => {
                Some(State::Unreachable)
            }
            // An inquiry has a single list: only an inspection shows how often the manager has restarted the worker.
            UnitCondition::ComingUp
                if unit.auto_restart
                    && (self.mode == Mode::Inquiry
                        || u32::try_from(unit.restarts_seen).is_ok_and(|seen| seen > MAX_RESTARTS)) =>
            {
                Some(State::CrashLooping)
            }
            UnitCondition::ComingUp | UnitCondition::Settling => {
                let since = unit.changing_since?;
                let first = if self.mode == Mode::Inquiry {
                    now
                } else {
                    since + self.context.policy.timeout.min(FIRST_STUCK_CHECK)
                };
                (now >= unit.checked_until.unwrap_or(first)).then_some(State::Stuck)
            }
            // With a mistake in its file it is as little up as it should be.
            UnitCondition::Down
                if matches!(unit.load, LoadState::Loaded | LoadState::BadSetting | LoadState::Error) =>
            {
                Some(State::ExpectedButStopped)
            }
            UnitCondition::Up | UnitCondition::Unhealthy | UnitCondition::Down | UnitCondition::Unknown => None,
        }
    }

    /// Probes the workers that are up and have a health probe.
    pub(super) fn probe_healthy(&mut self) {
        if !self.context.policy.probes_any(&self.context.registry) || self.mode == Mode::OnRequest {
            return;
        }
        let mut asked = Vec::new();
        for (name, unit) in &mut self.units {
            if unit.condition() != UnitCondition::Up {
                continue;
            }
            let Resolution::Worker(worker) = &unit.resolution else { continue };
            let probe = Some(worker)
                .filter(|_| !unit.probed)
                .and_then(|it| self.context.policy.probe_of(&self.context.registry, it));
            let Some(probe) = probe else { continue };
            unit.probed = true;
            let site = self.context.registry.site(&worker.site).filter(|_| worker.worktree.is_none());
            let directory = site.map(|site| site.path.clone()).filter(|path| !path.as_os_str().is_empty());
            asked.push((name.clone(), probe, directory));
        }
        // Ordered, so that the same facts lead to the same actions.
        asked.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let asked = asked.into_iter().map(|(unit, probe, directory)| Action::Probe { unit, probe, directory });
        self.actions.extend(asked);
    }

    /// Handles the result of a health probe.
    pub(super) fn probed(&mut self, now: Timestamp, name: &UnitName, result: &ProbeResult) {
        let grace = self.context.policy.stable_after;
        let Some(unit) = self.units.get_mut(name) else { return };
        unit.probed = false;
        let verdict = result.verdict(grace);
        if matches!(verdict, ProbeVerdict::Reachable) {
            unit.refusals = 0;
        }
        if self.frozen || unit.condition() != UnitCondition::Up {
            return;
        }
        if let (ProbeAnswer::Unknown(_), Some(incident)) = (&result.answer, self.incidents.get_mut(name)) {
            // An inconclusive probe does not count against the worker.
            incident.answered = true;
        }
        match verdict {
            ProbeVerdict::Nothing(_) => {}
            ProbeVerdict::Reachable => {
                let Some(incident) = self.incidents.get_mut(name) else { return };
                incident.answered = true;
                incident.refuses = None;
                if incident.suspected == Some(State::Unreachable) && incident.phase.waits() {
                    if result.up_for.is_some_and(|up_for| up_for >= grace) {
                        self.recovered(now, name);
                    } else {
                        self.comes_up(now, name);
                    }
                }
            }
            ProbeVerdict::Refused(place) => {
                unit.refusals = unit.refusals.saturating_add(1);
                if u32::from(unit.refusals) >= REFUSALS {
                    self.does_not_answer(now, name, place);
                }
            }
        }
    }

    fn does_not_answer(&mut self, now: Timestamp, name: &UnitName, place: String) {
        if self.mode == Mode::OnRequest {
            // Recorded until a heal is requested.
            self.incidents.entry(name.clone()).or_insert_with(|| Incident::new(now));
        }
        match self.incidents.get(name).map(|incident| &incident.phase) {
            None | Some(Phase::Resting) => self.became_unhealthy(now, name, Some(State::Unreachable)),
            Some(Phase::Proving | Phase::Verifying)
                if self.incidents.get(name).is_some_and(|incident| !incident.attempt_under_way) =>
            {
                self.suspect(name, State::Unreachable);
            }
            Some(Phase::Proving | Phase::Verifying) => {
                if let Some(incident) = self.incidents.get_mut(name) {
                    // That it is up is no recovery, no matter why it was started.
                    incident.suspected = Some(State::Unreachable);
                }
                self.attempt_failed(now, name, format!("it is up, but refuses connections to {place}"));
            }
            Some(
                Phase::Due
                | Phase::Inspecting
                | Phase::Waiting { .. }
                | Phase::Held(_)
                | Phase::Starting
                | Phase::Cancelled
                | Phase::Stopped
                | Phase::Off
                | Phase::GaveUp,
            ) => {}
        }
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.refuses = Some(place);
        }
    }

    /// Whether a worker that has stayed up still has to answer its probe: not if the probe is inconclusive.
    pub(super) fn still_has_to_answer(&self, name: &UnitName) -> bool {
        let is_asked = self
            .worker(name)
            .is_some_and(|worker| self.context.policy.probe_of(&self.context.registry, worker).is_some());
        let is_silent = |incident: &Incident| incident.suspected == Some(State::Unreachable) && !incident.answered;
        self.mode == Mode::Automatic && is_asked && self.incidents.get(name).is_some_and(is_silent)
    }

    /// Inspects a worker that is left alone, to see if anything has changed.
    pub(super) fn recheck(&mut self, name: &UnitName) {
        let Some(incident) =
            self.incidents.get(name).filter(|incident| !incident.inspections.is_open(Purpose::Recheck))
        else {
            return;
        };
        // What an earlier daemon knew of a stop may be older than the manager.
        let stop = incident.phase == Phase::Stopped && (!incident.stop_is_certain || incident.restored);
        self.inspect(name, Purpose::Recheck, Detail { file: true, stop, ..Detail::default() });
    }

    /// Rechecks a few given-up workers at a time: nothing signals a definition that was changed without a reload
    /// (`systemctl set-property`).
    pub(super) fn recheck_some_given_up(&mut self) {
        if self.mode != Mode::Automatic {
            return;
        }
        let after = self.last_rechecked.take();
        let given_up =
            self.incidents.iter().filter(|(_, incident)| incident.phase == Phase::GaveUp && !incident.restored);
        let (before, later): (Vec<_>, Vec<_>) =
            given_up.map(|(name, _)| name.clone()).partition(|name| after.as_ref().is_some_and(|after| name <= after));
        for name in later.into_iter().chain(before).take(RECHECKS_PER_LIST) {
            self.recheck(&name);
            self.last_rechecked = Some(name);
        }
    }

    /// Rechecks all workers that are left alone.
    pub(super) fn recheck_all(&mut self) {
        let left_alone = |phase: &Phase| matches!(phase, Phase::Stopped | Phase::GaveUp);
        let names =
            self.incidents.iter().filter(|(_, incident)| left_alone(&incident.phase)).map(|(name, _)| name.clone());
        for name in names.collect::<Vec<_>>() {
            self.recheck(&name);
        }
    }

    /// An earlier daemon knew with which group the worker was stopped, and did not save that.
    fn note_stopped_group(&mut self, now: Timestamp, name: &UnitName, seen: &Inspection) {
        let because = self.case(now, name, seen).and_then(|case| case.why_stopped_with_group());
        if let (Some(because), Some(incident)) = (because, self.incidents.get_mut(name))
            && incident.phase == Phase::Stopped
            && incident.off_because.is_empty()
        {
            incident.off_because = because;
        }
    }

    /// Handles the result: another run means that the worker was started, other files that they were changed.
    pub(super) fn rechecked(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        if self.incidents.get(name).is_none_or(|incident| !matches!(incident.phase, Phase::Stopped | Phase::GaveUp)) {
            return;
        }
        self.set_timer(name, Some(now + RECHECK_INTERVAL));
        let Some(incident) = self.incidents.get_mut(name).filter(|_| !self.frozen) else { return };
        let Ok(seen) = result else { return };
        if seen.active.is_up() && incident.suspected != Some(State::Unreachable) {
            // The report that it was down is outdated.
            return self.comes_up(now, name);
        }
        // An apparent stop may have been the first half of a restart whose second half failed. By the second
        // inspection the journal has been written.
        self.note_stopped_group(now, name, &seen);
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let is_of_earlier_manager = seen.never_ran() && incident.run.as_ref().is_some_and(|run| !run.is_empty());
        if incident.phase == Phase::Stopped
            && is_of_earlier_manager
            && seen.stop == Some(StopEvidence::KeptFromStarting)
        {
            // It was stopped before the last login, which has requested its start.
            return self.kept_from_starting(now, name);
        }
        let down_for = seen.down_for.unwrap_or(Duration::MAX);
        let was_signalled =
            self.units.get(name).and_then(|unit| unit.job_done).is_some_and(|at| now.from_now(at) <= down_for);
        let no_stop = incident.phase == Phase::Stopped
            && !was_signalled
            && !incident.stop_is_certain
            && incident.run.is_some()
            && seen.stop == Some(StopEvidence::NotRequested);
        if seen.stop == Some(StopEvidence::Requested) || was_signalled {
            incident.stop_is_certain |= incident.phase == Phase::Stopped;
            self.saved_state_changed = true;
        }
        let Some(incident) = self.incidents.get_mut(name) else { return };
        let another_run = has_run_since(incident.run.as_deref(), seen.run.as_deref());
        self.saved_state_changed |= incident.file.is_none() || incident.run.is_none();
        incident.note_file(&seen);
        let definition = seen.definition();
        if incident.run.is_none() {
            incident.run = seen.run;
        }
        let another_file = match (&incident.given_up, definition) {
            (Some(given_up), Some(now)) => given_up.definition.is_some_and(|then| is_another_definition(then, now)),
            _ => false,
        };
        if let (Some(given_up), Some(_)) = (&mut incident.given_up, definition) {
            // Also replaces the hash of an earlier version, which is of another kind.
            given_up.definition = definition;
            given_up.run.clone_from(&incident.run);
        }
        let condition = self.units.get(name).map(|unit| unit.condition());
        let suspected = match condition {
            Some(UnitCondition::Down) => Some(State::ExpectedButStopped),
            _ => incident.suspected,
        };
        let may_act = match condition {
            // Started since, and gone down with another unit, perhaps; or given up for its file, which is back.
            Some(UnitCondition::Down) => another_run || another_file,
            Some(_) => another_run || another_file || no_stop,
            None => false,
        };
        if may_act {
            if let Some(unit) = self.units.get_mut(name).filter(|_| another_run || no_stop) {
                // That stop ended an earlier run.
                (unit.stop_seen, unit.stop_possible, unit.witnessed) = (false, false, false);
                unit.job_done = unit.job_done.filter(|_| was_signalled);
            }
            self.begin(now, name, suspected, Trigger::Automatic);
        }
    }

    /// Handles the result of checking whether a worker has been up for long.
    pub(super) fn uptime_seen(&mut self, now: Timestamp, name: &UnitName, result: Result<Inspection, String>) {
        let Some(incident) = self.incidents.get(name) else { return };
        let is_looping = matches!(incident.phase, Phase::Held(Refusal::CrashLooping(_)));
        if !is_looping && incident.phase != Phase::Resting {
            return;
        }
        let seen = result.ok().filter(|seen| seen.active.is_up() && !self.frozen);
        let Some((restarts, up_for)) = seen.and_then(|seen| Some((seen.restarts, seen.up_for?))) else {
            return self.set_timer(name, Some(now + RECHECK_INTERVAL));
        };
        let policy = &self.context.policy;
        let enough = if is_looping {
            policy.crash_loop_ends_after(restarts.and_then(|restarts| restarts.last_run))
        } else {
            policy.reset_after
        };
        if up_for < enough {
            return self.set_timer(name, Some(now + enough.saturating_sub(up_for)));
        }
        if is_looping {
            return self.crash_loop_ended(now, name);
        }
        self.set_timer(name, None);
        self.incidents.remove(name);
        self.saved_state_changed = true;
    }

    /// A worker that was in a crash loop has stayed up.
    fn crash_loop_ended(&mut self, now: Timestamp, name: &UnitName) {
        self.restarts_are_explained(name);
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.suspected = None;
        }
        self.recovered(now, name);
    }

    /// Its runs are long: check again only after many more of them.
    fn restarts_are_explained(&mut self, name: &UnitName) {
        if let Some(unit) = self.units.get_mut(name) {
            unit.restarts_seen = -4 * i16::try_from(MAX_RESTARTS).unwrap_or(i16::MAX);
        }
    }

    /// An inspection showed that a worker is not in a crash loop.
    pub(super) fn no_loop(&mut self, now: Timestamp, name: &UnitName) {
        self.restarts_are_explained(name);
        if self.incidents.get(name).is_some_and(|incident| incident.is_public() || incident.given_up.is_some()) {
            return self.comes_up(now, name);
        }
        self.rest(now, name);
    }

    /// Reports a crash loop.
    pub(super) fn announce_loop(&mut self, name: &UnitName, count: u32) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if !std::mem::replace(&mut incident.announced, true) {
            self.emit(name, EventPhase::Detected, |event| {
                State::CrashLooping.as_str().clone_into(&mut event.reason);
                event.error = format!("restarted {count} times by the service manager");
            });
        }
    }
}
