//! What launchd does not report and has to be remembered: since when a job has been up, how long its last run was,
//! which jobs we have booted out, and which were disabled at the last inspection.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use super::job::Watched;
use crate::core::units::UnitName;

/// The history of all units.
#[derive(Debug, Default)]
pub(super) struct JobHistory {
    lives: HashMap<UnitName, Life>,
    taken_out: HashSet<UnitName>,
    disabled: HashSet<UnitName>,
}

#[derive(Debug, Default)]
struct Life {
    /// The running process, and when it was first seen.
    now: Option<(u32, Instant)>,
    /// How long the previous run was seen up, and the number of runs when it had ended.
    before: Option<(std::time::Duration, Option<u32>)>,
}

impl JobHistory {
    /// Records that the unit was seen with this process, or without one after this number of runs.
    pub fn saw(&mut self, unit: &UnitName, pid: Option<u32>, runs: Option<u32>, now: Instant) {
        if pid.is_none() && !self.lives.contains_key(unit) {
            return;
        }
        let life = self.lives.entry(unit.clone()).or_default();
        if let Some((known, since)) = life.now
            && pid != Some(known)
        {
            (life.now, life.before) = (None, Some((now - since, runs)));
        }
        match pid {
            Some(pid) => {
                life.now.get_or_insert((pid, now));
            }
            // A later run was not seen: it was shorter than the time between two inspections.
            None if life.before.is_some_and(|(_, then)| then != runs) => life.before = None,
            None => {}
        }
    }

    /// The unit is not loaded.
    pub fn gone(&mut self, unit: &UnitName) {
        self.lives.remove(unit);
    }

    /// Records whether we have booted the unit out and not loaded it again.
    pub fn set_taken_out(&mut self, unit: &UnitName, taken_out: bool) {
        if taken_out {
            self.taken_out.insert(unit.clone());
        } else {
            self.taken_out.remove(unit);
        }
    }

    /// Records whether the unit is disabled.
    pub fn set_disabled(&mut self, unit: &UnitName, disabled: bool) {
        if disabled {
            self.disabled.insert(unit.clone());
        } else {
            self.disabled.remove(unit);
        }
    }

    /// Whether the unit was disabled at the last inspection: a start in spite of that is intended.
    pub fn was_disabled(&self, unit: &UnitName) -> bool {
        self.disabled.contains(unit)
    }

    /// The history of a unit.
    pub fn of(&self, unit: &UnitName, now: Instant) -> Watched {
        let life = self.lives.get(unit);
        Watched {
            up_for: life.and_then(|life| life.now).map(|(_, since)| now - since),
            last_run: life.and_then(|life| life.before).map(|(length, _)| length),
            taken_out: self.taken_out.contains(unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_is_as_long_as_it_was_seen() {
        let (mut history, unit, start) = (JobHistory::default(), UnitName::parse("a").unwrap(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        history.saw(&unit, Some(7), None, at(0));
        history.saw(&unit, Some(7), None, at(5));
        assert_eq!(history.of(&unit, at(6)).up_for, Some(Duration::from_secs(6)));
        history.saw(&unit, None, Some(1), at(8));
        history.saw(&unit, None, Some(1), at(9));
        let seen = history.of(&unit, at(9));
        assert_eq!((seen.up_for, seen.last_run), (None, Some(Duration::from_secs(8))));
        history.saw(&unit, None, Some(2), at(12));
        assert_eq!(history.of(&unit, at(12)).last_run, None, "an unseen run was short");
        history.saw(&unit, Some(8), None, at(20));
        history.saw(&unit, Some(9), None, at(23));
        let seen = history.of(&unit, at(24));
        assert_eq!((seen.up_for, seen.last_run), (Some(Duration::from_secs(1)), Some(Duration::from_secs(3))));
    }
}
