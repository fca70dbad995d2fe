//! The few functions that change an incident: its phase, its timer, its inspections, and its events.

use super::incident::Phase;
use super::{Action, Healer, InspectionId, Mode, Purpose, Timestamp};
use crate::diagnosis::Refusal;
use crate::event::{Event, Phase as EventPhase};
use crate::selector::{Resolution, Worker};
use crate::units::{Detail, Inspection, Location, UnitName};

impl Healer {
    pub(super) fn inspect(&mut self, name: &UnitName, purpose: Purpose, detail: Detail) {
        self.ticket = self.ticket.wrapping_add(1);
        let id = InspectionId { purpose, ticket: self.ticket };
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.inspections.open(id);
        }
        self.actions.push(Action::Inspect { unit: name.clone(), id, detail });
    }

    /// Inspects the unit files, unless their state at the failure is known.
    pub(super) fn inspect_baseline(&mut self, name: &UnitName) {
        let known = self
            .incidents
            .get(name)
            .is_none_or(|incident| incident.file.is_some() || incident.inspections.is_open(Purpose::Baseline));
        if !known && self.mode == Mode::Automatic {
            self.inspect(name, Purpose::Baseline, Detail { file: true, ..Detail::default() });
        }
    }

    /// Handles the result of that inspection.
    pub(super) fn baseline_inspected(&mut self, name: &UnitName, result: Result<Inspection, String>) {
        let (Some(incident), Ok(seen)) = (self.incidents.get_mut(name), result) else { return };
        incident.note_file(&seen);
        incident.definition = incident.definition.or(seen.definition());
        self.saved_state_changed = true;
    }

    pub(super) fn enter(&mut self, name: &UnitName, phase: Phase) {
        self.set_timer(name, None);
        self.saved_state_changed = true;
        if !matches!(phase, Phase::Due | Phase::Inspecting)
            && let Some(unit) = self.units.get_mut(name)
        {
            unit.fresh = false;
        }
        if let Some(incident) = self.incidents.get_mut(name) {
            self.in_flight -= usize::from(incident.phase.takes_a_slot());
            self.in_flight += usize::from(phase.takes_a_slot());
            if matches!(phase, Phase::Resting | Phase::Stopped | Phase::Off) {
                (incident.fell, incident.downtime) = (None, None);
            }
            let is_inspected_again = matches!(phase, Phase::Due | Phase::Inspecting);
            match std::mem::replace(&mut incident.phase, phase) {
                Phase::Held(refusal) if is_inspected_again => incident.held_before = Some(refusal),
                _ if is_inspected_again => {}
                _ => incident.held_before = None,
            }
        }
    }

    pub(super) fn make_due(&mut self, name: &UnitName) {
        self.enter(name, Phase::Due);
        self.queue.push_back(name.clone());
    }

    pub(super) fn wait_until(&mut self, name: &UnitName, until: Timestamp) {
        self.enter(name, Phase::Waiting { until });
        self.set_timer(name, Some(until));
    }

    pub(super) fn set_timer(&mut self, name: &UnitName, at: Option<Timestamp>) {
        let Some(incident) = self.incidents.get_mut(name) else { return };
        if let Some(before) = std::mem::replace(&mut incident.timer, at) {
            self.timers.remove(&(before, name.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, name.clone()));
        }
    }

    pub(super) fn emit(&mut self, name: &UnitName, phase: EventPhase, fill: impl FnOnce(&mut Event)) {
        self.report_failure(name);
        let mut event = Event::new(phase);
        if let Some(worker) = self.worker(name) {
            worker.site.clone_into(&mut event.site);
        }
        event.unit = Some(name.clone());
        if matches!(phase, EventPhase::Starting | EventPhase::Healed | EventPhase::Failed | EventPhase::GaveUp) {
            event.attempt = self.incidents.get(name).map(|incident| incident.attempts).filter(|attempts| *attempts > 0);
        }
        if matches!(phase, EventPhase::Healed | EventPhase::Recovered) {
            event.downtime = self.incidents.get(name).and_then(|incident| incident.downtime);
        }
        fill(&mut event);
        self.actions.push(Action::Emit(event));
    }

    pub(super) fn worker(&self, name: &UnitName) -> Option<&Worker> {
        match &self.units.get(name)?.resolution {
            Resolution::Worker(worker) => Some(worker),
            Resolution::NeedsDirectory | Resolution::NotAWorker => None,
        }
    }

    pub(super) fn intent_against(&self, name: &UnitName) -> Option<Refusal> {
        match self.worker(name) {
            Some(worker) => self.context.intent_against(name, worker),
            None => self.context.stop_marker.then_some(Refusal::StopMarker),
        }
    }

    /// Uses the unit's location to resolve what its name alone could not.
    pub(super) fn settle_resolution(&mut self, name: &UnitName, place: &Location) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if place.container {
            unit.resolution = self.context.selector.resolve_container(name);
        } else if unit.resolution == Resolution::NeedsDirectory {
            unit.resolution =
                self.context.selector.resolve_in(&self.context.registry, name, place.directory.as_deref());
        }
    }
}
