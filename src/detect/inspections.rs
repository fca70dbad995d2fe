//! The inspections that a plan was made from, so that a heal that follows at once does not repeat them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::healer::Fact;
use crate::core::units::{ActiveState, Depth, Detail, Inspection, UnitName, UnitStatus};

/// Maximum age of an inspection that decides about a start.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Recent inspections of units to which nothing is known to have happened since.
#[derive(Debug, Default)]
pub(crate) struct Inspections(HashMap<UnitName, Recent>);

#[derive(Debug)]
struct Recent {
    at: Instant,
    detail: Detail,
    seen: Inspection,
}

impl Recent {
    fn agrees_with(&self, status: &UnitStatus) -> bool {
        status.active == self.seen.active
            && status.has_job == self.seen.has_job
            && status.load.is_none_or(|load| load == self.seen.load)
    }
}

impl Inspections {
    /// Adds the result of an inspection that was requested at this time.
    pub fn add(&mut self, unit: UnitName, at: Instant, detail: Detail, seen: Inspection) {
        self.0.insert(unit, Recent { at, detail, seen });
    }

    /// Drops all that were requested before this time.
    pub fn forget_before(&mut self, time: Instant) {
        self.0.retain(|_, recent| recent.at >= time);
    }

    /// The inspection of a unit, if it is recent enough and has at least these details. It is returned once.
    pub fn take(&mut self, unit: &UnitName, detail: Detail) -> Option<Inspection> {
        let Recent { at, detail: has, seen } = self.0.remove(unit)?;
        let lacks = |wanted: bool, has: bool| wanted && !has;
        let is_short = (has.depth != Depth::Decision && has.depth != detail.depth)
            || lacks(detail.stop, has.stop)
            || lacks(detail.file, has.file)
            || lacks(detail.restarts, has.restarts)
            || lacks(detail.times, has.times);
        (at.elapsed() <= MAX_AGE && !is_short).then_some(seen)
    }

    /// Drops the inspections that the fact may have made outdated. Returns whether it says that something has just
    /// happened to units: an inspection that was requested before, and is not here yet, is outdated by that too.
    pub fn outdate(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::Changed(UnitStatus { name: unit, .. })
            | Fact::Finished(unit, _)
            | Fact::JobDone(unit)
            | Fact::JobCancelled(unit)
            | Fact::StopOverridden(unit)
            | Fact::KeptFromStarting(unit) => {
                self.0.remove(unit);
                true
            }
            Fact::Frozen | Fact::Registry(_) | Fact::Settings(..) => {
                self.0.clear();
                true
            }
            Fact::Units(list) => {
                self.keep_if_listed(list, |_| false);
                false
            }
            // Those that are missing are up.
            Fact::NotActive(list) => {
                self.keep_if_listed(list, |recent| recent.seen.active == ActiveState::Active);
                false
            }
            Fact::Inspected(..)
            | Fact::FailedSockets(_)
            | Fact::StopMarker(_)
            | Fact::Located(_)
            | Fact::Probed(..)
            | Fact::Heal(_)
            | Fact::Pause(..)
            | Fact::Resume(_)
            | Fact::Deadline => false,
        }
    }

    /// Drops the inspections that the list contradicts; `missing` says whether one of a unit that is not listed stays.
    fn keep_if_listed(&mut self, list: &[UnitStatus], missing: impl Fn(&Recent) -> bool) {
        if self.0.is_empty() {
            return;
        }
        let listed: HashMap<&UnitName, &UnitStatus> = list.iter().map(|status| (&status.name, status)).collect();
        self.0.retain(|unit, recent| listed.get(unit).map_or(missing(recent), |status| recent.agrees_with(status)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::units::LoadState;

    const FILE: Detail = Detail { depth: Depth::Decision, file: true, stop: false, restarts: false, times: false };

    fn inspections() -> (UnitName, Inspections) {
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        let mut inspections = Inspections::default();
        inspections.add(unit.clone(), Instant::now(), FILE, Inspection::crashed());
        (unit, inspections)
    }

    fn status(unit: &UnitName, active: ActiveState, has_job: bool) -> UnitStatus {
        UnitStatus { name: unit.clone(), load: Some(LoadState::Loaded), active, has_job, auto_restart: false }
    }

    #[test]
    fn an_inspection_is_used_once_and_only_if_it_says_enough() {
        let (unit, mut inspections) = inspections();
        assert!(inspections.take(&unit, Detail::default()).is_some());
        assert!(inspections.take(&unit, Detail::default()).is_none());
        let (unit, mut inspections) = self::inspections();
        assert!(inspections.take(&unit, Detail { stop: true, ..FILE }).is_none());
    }

    #[test]
    fn an_inspection_of_long_ago_is_made_again() {
        let (unit, mut inspections) = inspections();
        inspections.forget_before(Instant::now() + MAX_AGE);
        assert!(inspections.take(&unit, FILE).is_none());
        let long_ago = Instant::now().checked_sub(MAX_AGE + Duration::from_millis(1)).unwrap();
        inspections.add(unit.clone(), long_ago, FILE, Inspection::crashed());
        assert!(inspections.take(&unit, FILE).is_none());
    }

    #[test]
    fn a_change_of_the_unit_outdates_its_inspection() {
        let still = |fact: &dyn Fn(UnitName) -> Fact| {
            let (unit, mut inspections) = inspections();
            inspections.outdate(&fact(unit.clone()));
            inspections.take(&unit, FILE).is_some()
        };
        let other = UnitName::parse("lerd-vite-myapp").unwrap();
        assert!(still(&|unit| Fact::Units(vec![status(&unit, ActiveState::Failed, false)])));
        assert!(still(&|_| Fact::JobDone(other.clone())));
        assert!(!still(&|unit| Fact::Units(vec![status(&unit, ActiveState::Failed, true)])));
        assert!(!still(&|unit| Fact::Units(vec![status(&unit, ActiveState::Active, false)])));
        assert!(!still(&|_| Fact::Units(Vec::new())));
        assert!(!still(&|unit| Fact::Changed(status(&unit, ActiveState::Failed, false))));
        assert!(!still(&Fact::JobDone));
        assert!(!still(&|_| Fact::Frozen));
    }
}
