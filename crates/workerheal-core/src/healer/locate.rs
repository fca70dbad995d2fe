//! Locations of units: found out once for each, to know whose workers they are, and reported again when a directory
//! vanishes or comes back. Nothing signals that, and a worker without its directory may well continue to run.

use super::incident::Phase;
use super::{Healer, Timestamp};
use crate::diagnosis::State;
use crate::selector::Resolution;
use crate::units::{LoadState, Location, UnitName};

/// The location of a unit, or why it is unknown.
pub type Located = (UnitName, Result<Location, String>);

/// Whether there are units without a known location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlocated {
    None,
    /// There may be some.
    Some,
    /// The locations of some could not be found out. They are requested again with the next list.
    Failed,
}

impl Healer {
    /// The units without a known location, each returned once; those whose names are ambiguous come first. To be called
    /// after every list, and answered with [`Fact::Located`](super::Fact::Located).
    #[must_use]
    pub fn take_unlocated(&mut self) -> Vec<UnitName> {
        if self.frozen || self.unlocated != Unlocated::Some {
            return Vec::new();
        }
        self.unlocated = Unlocated::None;
        let mut names = Vec::new();
        for (name, unit) in &mut self.units {
            let is_theirs = unit.resolution == Resolution::NotAWorker || unit.load != LoadState::Loaded;
            if !is_theirs && !std::mem::replace(&mut unit.located, true) {
                names.push((unit.resolution != Resolution::NeedsDirectory, name.clone()));
            }
        }
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Whether it is known for every unit which worker it is.
    #[must_use]
    pub fn knows_all_workers(&self) -> bool {
        !self.frozen && self.units.values().all(|unit| unit.resolution != Resolution::NeedsDirectory)
    }

    pub(super) fn located(&mut self, now: Timestamp, locations: Vec<Located>) {
        for (name, location) in locations {
            let Some(unit) = self.units.get_mut(&name) else { continue };
            let Ok(location) = location else {
                unit.located = false;
                if self.unlocated == Unlocated::None {
                    self.unlocated = Unlocated::Failed;
                }
                continue;
            };
            let was_gone = std::mem::replace(&mut unit.directory_gone, location.gone);
            let resolution = unit.resolution.clone();
            self.settle_resolution(&name, &location);
            let is_another = self.units.get(&name).is_some_and(|unit| unit.resolution != resolution);
            if was_gone && !location.gone {
                self.directory_is_back(&name);
            }
            if is_another || was_gone != location.gone {
                self.consider(now, &name);
            }
        }
    }

    /// Inspects a worker that is held because of its directory.
    fn directory_is_back(&mut self, name: &UnitName) {
        let is_held = self.incidents.get(name).is_some_and(|incident| {
            matches!(incident.phase, Phase::Held(_))
                && (incident.suspected == Some(State::Orphaned) || incident.diagnosed == Some(State::Orphaned))
        });
        if is_held {
            self.make_due(name);
        }
    }
}
