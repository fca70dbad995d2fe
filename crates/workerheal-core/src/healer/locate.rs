//! Where units work: found out once for each, to know whose workers they are, and told again when a
//! directory vanishes or comes back. Nothing signals that, and a worker without its directory may well
//! go on running.

use super::incident::Phase;
use super::{Healer, Timestamp};
use crate::diagnosis::State;
use crate::selector::Resolution;
use crate::units::{LoadState, Location, UnitName};

/// Where a unit works, or why that cannot be told.
pub type Located = (UnitName, Result<Location, String>);

impl Healer {
    /// The units of which it is not known where they work, each answered once; first those whose names do
    /// not tell whose they are. To be asked for after every list, and answered with
    /// [`Fact::Located`](super::Fact::Located).
    #[must_use]
    pub fn take_unlocated(&mut self) -> Vec<UnitName> {
        if self.frozen || !std::mem::take(&mut self.has_newcomers) {
            return Vec::new();
        }
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

    /// Whether it is known of every unit whose worker it is.
    #[must_use]
    pub fn knows_all_workers(&self) -> bool {
        !self.frozen && self.units.values().all(|unit| unit.resolution != Resolution::NeedsDirectory)
    }

    pub(super) fn located(&mut self, now: Timestamp, locations: Vec<Located>) {
        for (name, location) in locations {
            let Some(unit) = self.units.get_mut(&name) else { continue };
            let Ok(location) = location else {
                // With the next list it is asked again.
                (unit.located, self.has_newcomers) = (false, true);
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

    /// A worker that is held for its directory is looked at again.
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
