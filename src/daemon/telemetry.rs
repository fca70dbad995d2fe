//! Measurements of the daemon: times for the metrics, and the last event of each worker. Nothing is decided by it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::metrics::Metrics;
use crate::core::event::{Event, Phase};
use crate::core::healer::{Fact, Healer, Outcome};
use crate::core::units::{ActiveState, UnitName};

/// Maximum number of workers whose last event is kept.
const MAX_REMEMBERED: usize = 10_000;

/// The last event of a worker.
#[derive(Debug, Default)]
pub(super) struct LastTold {
    pub at: Option<SystemTime>,
    /// The error of its last attempt, unless it has recovered since.
    pub failure: String,
}

/// The measurements. Owned by the loop.
#[derive(Debug)]
pub(super) struct Telemetry {
    metrics: Arc<Metrics>,
    last_event_of: HashMap<UnitName, LastTold>,
    /// When workers that are down were seen to fail.
    failed_at: HashMap<UnitName, Instant>,
    /// When the pending list of units was requested.
    asked_at: Option<Instant>,
}

impl Telemetry {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, last_event_of: HashMap::new(), failed_at: HashMap::new(), asked_at: None }
    }

    /// A list of units was requested.
    pub fn list_is_asked_for(&mut self) {
        self.asked_at = Some(Instant::now());
    }

    /// The list has arrived.
    pub fn listed(&mut self) {
        if let Some(asked_at) = self.asked_at.take() {
            self.metrics.refreshed(asked_at.elapsed());
        }
    }

    pub fn reconnected(&self) {
        self.metrics.reconnected();
    }

    /// Measures the time from a failure to the end of the start that repairs it, and the time of a list.
    pub fn fact(&mut self, fact: &Fact, healer: &Healer) {
        match fact {
            Fact::Changed(status)
                if status.active == ActiveState::Failed && healer.worker_of(&status.name).is_some() =>
            {
                self.failed_at.entry(status.name.clone()).or_insert_with(Instant::now);
            }
            Fact::Finished(unit, Outcome::Done) => {
                if let Some(failed_at) = self.failed_at.remove(unit) {
                    self.metrics.recovered(failed_at.elapsed());
                }
            }
            Fact::Units(_) | Fact::NotActive(_) => self.listed(),
            _ => {}
        }
    }

    /// Records an event.
    pub fn event(&mut self, event: &Event) {
        self.metrics.event(event);
        if matches!(event.phase, Phase::Recovered | Phase::Stopped | Phase::GaveUp)
            && let Some(unit) = &event.unit
        {
            self.failed_at.remove(unit);
        }
        let Some(unit) = &event.unit else { return };
        if self.last_event_of.len() >= MAX_REMEMBERED && !self.last_event_of.contains_key(unit) {
            self.last_event_of.clear();
        }
        let last = self.last_event_of.entry(unit.clone()).or_default();
        last.at = Some(SystemTime::now());
        match event.phase {
            Phase::Failed => event.error.clone_into(&mut last.failure),
            Phase::Healed | Phase::Recovered | Phase::Stopped => last.failure.clear(),
            _ => {}
        }
    }

    /// The last event of a unit.
    pub fn last_event_of(&self, unit: &UnitName) -> Option<&LastTold> {
        self.last_event_of.get(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_last_events_is_bounded_and_updates_to_known_workers_evict_none() {
        let mut telemetry = Telemetry::new(Arc::new(Metrics::new()));
        let mut observe = |unit: usize| {
            telemetry.event(&Event { unit: UnitName::parse(&unit.to_string()).ok(), ..Event::new(Phase::Detected) });
        };
        (0..MAX_REMEMBERED).for_each(&mut observe);
        observe(0);
        assert_eq!(telemetry.last_event_of.len(), MAX_REMEMBERED);
        telemetry.event(&Event { unit: UnitName::parse("another").ok(), ..Event::new(Phase::Detected) });
        assert_eq!(telemetry.last_event_of.len(), 1);
    }
}
