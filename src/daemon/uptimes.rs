//! Uptimes of workers: requested from the service manager when a client asks, and kept until the unit changes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::core::units::UnitName;

/// Maximum age of an answer, as a change may be missed if the service manager does not signal it.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Known uptimes. Owned by the loop.
#[derive(Debug, Default)]
pub(super) struct Uptimes {
    known: HashMap<UnitName, Known>,
    /// The number of queries, to distinguish answers to earlier ones.
    asked: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of the last query about it.
    asked: u64,
    /// The last answer, and when it came.
    since: Option<(SystemTime, Instant)>,
}

/// Units to ask the service manager about.
#[derive(Debug)]
pub(super) struct UptimeQuery {
    number: u64,
    pub units: Vec<UnitName>,
}

impl Uptimes {
    /// Forgets a unit that changed, and pending answers about it.
    pub fn changed(&mut self, unit: &UnitName) {
        self.known.remove(unit);
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Those of the units whose uptime is unknown.
    pub fn unknown<'a>(&mut self, up: impl Iterator<Item = &'a UnitName>, now: Instant) -> UptimeQuery {
        self.asked += 1;
        let mut units = Vec::new();
        for unit in up {
            let known = self.known.entry(unit.clone()).or_default();
            if known.since.is_none_or(|(_, learned)| now >= learned + MAX_AGE) {
                known.asked = self.asked;
                units.push(unit.clone());
            }
        }
        UptimeQuery { number: self.asked, units }
    }

    /// Records answers, in the order of the query, except for units that have changed since.
    pub fn learn(&mut self, question: &UptimeQuery, answers: Vec<Option<SystemTime>>, now: Instant) {
        for (unit, since) in question.units.iter().zip(answers) {
            if let Some(known) = self.known.get_mut(unit).filter(|known| known.asked == question.number) {
                known.since = since.map(|since| (since, now));
            }
        }
    }

    /// When the unit came up.
    pub fn of(&self, unit: &UnitName) -> Option<SystemTime> {
        self.known.get(unit)?.since.map(|(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_until_the_unit_changes_or_a_minute_has_passed() {
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        let (since, now) = (SystemTime::UNIX_EPOCH, Instant::now());
        let mut uptimes = Uptimes::default();
        let question = uptimes.unknown([&unit].into_iter(), now);
        assert_eq!((question.units.len(), uptimes.of(&unit)), (1, None));
        uptimes.learn(&question, vec![Some(since)], now);
        assert_eq!(uptimes.of(&unit), Some(since));
        assert!(uptimes.unknown([&unit].into_iter(), now).units.is_empty());
        assert_eq!(uptimes.unknown([&unit].into_iter(), now + MAX_AGE).units.len(), 1);

        uptimes.changed(&unit);
        let earlier = uptimes.unknown([&unit].into_iter(), now);
        uptimes.changed(&unit);
        uptimes.learn(&earlier, vec![Some(since)], now);
        assert_eq!(uptimes.of(&unit), None, "it has changed since");
        let later = uptimes.unknown([&unit].into_iter(), now);
        uptimes.learn(&earlier, vec![Some(since)], now);
        assert_eq!(uptimes.of(&unit), None, "that was asked before it changed");
        uptimes.learn(&later, vec![Some(since)], now);
        assert_eq!(uptimes.of(&unit), Some(since));
    }
}
