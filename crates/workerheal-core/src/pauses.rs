//! Pauses that were requested with a command, and their ends. (Pauses in the registry belong to the registry.)

use std::collections::BTreeMap;
use std::fmt;

use super::selector::Worker;
use super::time::Timestamp;
use super::units::UnitName;

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// All healing.
    Everything,
    /// The workers of a site.
    Site(String),
    /// One worker.
    Unit(UnitName),
}

impl Target {
    /// Whether this includes the worker.
    #[must_use]
    pub fn includes(&self, unit: &UnitName, worker: &Worker) -> bool {
        match self {
            Self::Everything => true,
            Self::Site(site) => *site == worker.site,
            Self::Unit(name) => name == unit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Site(site) => write!(f, "the site {site}"),
            Self::Unit(unit) => write!(f, "{unit}"),
        }
    }
}

/// A pause in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub target: Target,
    /// When it ends; `None` until it is resumed.
    pub until: Option<Timestamp>,
}

/// All pauses in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<Target, Option<Timestamp>>);

impl Pauses {
    /// Adds a pause, replacing an earlier pause of the same target.
    pub fn pause(&mut self, target: Target, until: Option<Timestamp>) {
        self.0.insert(target, until);
    }

    /// Ends a pause. Resuming everything ends all pauses.
    pub fn resume(&mut self, target: &Target) {
        match target {
            Target::Everything => self.0.clear(),
            Target::Site(_) | Target::Unit(_) => {
                self.0.remove(target);
            }
        }
    }

    /// The pause that applies to this worker, the widest if there are several.
    #[must_use]
    pub fn over(&self, unit: &UnitName, worker: &Worker) -> Option<Pause> {
        let mut pauses = self.0.iter();
        let (target, until) = pauses.find(|(target, _)| target.includes(unit, worker))?;
        Some(Pause { target: target.clone(), until: *until })
    }

    /// When the next pause ends by itself.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.0.values().flatten().min().copied()
    }

    /// Removes pauses that have ended. Returns whether there were any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.0.len();
        self.0.retain(|_, until| until.is_none_or(|until| until > now));
        self.0.len() != before
    }

    /// All pauses, the widest first.
    pub fn iter(&self) -> impl Iterator<Item = Pause> + '_ {
        self.0.iter().map(|(target, until)| Pause { target: target.clone(), until: *until })
    }
}

impl FromIterator<Pause> for Pauses {
    fn from_iter<I: IntoIterator<Item = Pause>>(pauses: I) -> Self {
        Self(pauses.into_iter().map(|pause| (pause.target, pause.until)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn the_widest_pause_is_the_one_that_counts() {
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        let worker = Worker { site: "myapp".into(), name: "queue".into(), worktree: None };
        let mut pauses = Pauses::default();
        assert_eq!(pauses.over(&unit, &worker), None);
        pauses.pause(Target::Unit(unit.clone()), None);
        pauses.pause(Target::Site("shop".into()), None);
        assert_eq!(pauses.over(&unit, &worker).map(|pause| pause.target), Some(Target::Unit(unit.clone())));
        pauses.pause(Target::Site("myapp".into()), Some(at(5)));
        assert_eq!(pauses.over(&unit, &worker).map(|pause| pause.target), Some(Target::Site("myapp".into())));
        assert_eq!(pauses.next_end(), Some(at(5)));
        assert!(!pauses.expire(at(4)));
        assert!(pauses.expire(at(5)));
        assert_eq!(pauses.over(&unit, &worker).map(|pause| pause.target), Some(Target::Unit(unit.clone())));
        pauses.resume(&Target::Everything);
        assert_eq!(pauses.over(&unit, &worker), None);
    }
}
