//! Where workers work: asked of the service manager once for each, and looked at again now and then, for
//! nothing signals that a directory has vanished.
//!
//! The looks are off the loop, one round at a time: a file system that does not answer holds up the next
//! round, and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::stream::{self as streams, StreamExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Daemon;
use crate::checkout;
use crate::core::healer::Located;
use crate::core::units::{UnitName, UnitStatus, Whereabouts};
use crate::manager::{ServiceManager, directory_is_gone};

/// How often all directories are looked at.
const ROUND: Duration = Duration::from_secs(60);
/// So many units are asked about at once, and so many told of together.
const AT_ONCE: usize = 16;
const TOGETHER: usize = 256;

/// What is known of directories. Owned by the loop.
#[derive(Debug)]
pub(super) struct Places {
    /// The directory that each unit cannot do without.
    known: HashMap<UnitName, Whereabouts>,
    /// Units that the service manager restarts: perhaps because their directory is gone.
    restless: HashSet<UnitName>,
    round_at: Instant,
    /// What is being found out.
    pub asked: JoinSet<Vec<Located>>,
    /// The round that is under way: which directories are gone.
    pub round: JoinSet<BTreeMap<PathBuf, bool>>,
}

impl Places {
    pub fn new() -> Self {
        Self {
            known: HashMap::new(),
            restless: HashSet::new(),
            round_at: Instant::now() + ROUND,
            asked: JoinSet::new(),
            round: JoinSet::new(),
        }
    }

    /// Notes what was found out.
    pub fn learn(&mut self, places: &[Located]) {
        for (unit, place) in places {
            match place {
                Ok(place) if place.required && !place.container => self.known.insert(unit.clone(), place.clone()),
                Ok(_) | Err(_) => self.known.remove(unit),
            };
        }
    }

    /// Notes that a unit changed.
    pub fn changed(&mut self, status: &UnitStatus) {
        if status.auto_restart && self.known.contains_key(&status.name) {
            self.restless.insert(status.name.clone());
        }
    }

    /// Forgets units that are not listed any more.
    pub fn keep(&mut self, listed: &[UnitStatus]) {
        for status in listed {
            self.changed(status);
        }
        if self.known.len() > listed.len() || self.round_at <= Instant::now() {
            let listed: HashSet<&UnitName> = listed.iter().map(|status| &status.name).collect();
            self.known.retain(|unit, _| listed.contains(unit));
        }
    }

    /// Begins a round, if it is time for one, or some unit gives reason to look.
    pub fn look(&mut self) {
        if !self.round.is_empty() {
            return;
        }
        let restless = std::mem::take(&mut self.restless);
        let paths: HashSet<PathBuf> = if self.round_at <= Instant::now() {
            self.round_at = Instant::now() + ROUND;
            self.known.values().filter_map(|place| place.directory.clone()).collect()
        } else {
            restless.iter().filter_map(|unit| self.known.get(unit)?.directory.clone()).collect()
        };
        if !paths.is_empty() {
            self.round
                .spawn_blocking(|| paths.into_iter().map(|path| (path.clone(), directory_is_gone(&path))).collect());
        }
    }

    /// What a round has changed.
    pub fn changes(&mut self, seen: &BTreeMap<PathBuf, bool>) -> Vec<Located> {
        let mut changes = Vec::new();
        for (unit, place) in &mut self.known {
            let Some(gone) = place.directory.as_ref().and_then(|path| seen.get(path)) else { continue };
            if *gone != place.gone {
                place.gone = *gone;
                changes.push((unit.clone(), Ok(place.clone())));
            }
        }
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }
}

impl<M: ServiceManager> Daemon<M> {
    /// Has it found out where units work of which that is not known.
    pub(super) fn locate_newcomers(&mut self) {
        let units = self.healer.take_unlocated();
        for units in units.chunks(TOGETHER) {
            let (manager, rules) = (self.manager.clone(), &self.setup.rules);
            let units: Vec<_> = units
                .iter()
                .map(|unit| (unit.clone(), rules.coverage.rival_checkouts(&rules.registry, unit)))
                .collect();
            self.places.asked.spawn(async move {
                let looks = streams::iter(units).map(|(unit, rivals)| {
                    let manager = manager.clone();
                    async move {
                        let place = match manager.whereabouts(&unit).await {
                            Ok(place) => Ok(checkout::spelt_as_registered(place, rivals).await),
                            Err(error) => Err(error.to_string()),
                        };
                        (unit, place)
                    }
                });
                looks.buffered(AT_ONCE).collect().await
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn directories_are_looked_at_once_a_round_and_at_once_where_a_unit_is_restarted() {
        let home = tempfile::tempdir().unwrap();
        let unit = |name: &str| UnitName::parse(name).unwrap();
        let place = |dir: &str, required| {
            let directory = Some(home.path().join(dir));
            Ok(Whereabouts { directory, required, ..Whereabouts::default() })
        };
        std::fs::create_dir(home.path().join("a")).unwrap();
        let mut places = Places::new();
        places.learn(&[(unit("a"), place("a", true)), (unit("b"), place("b", true)), (unit("c"), place("b", false))]);
        places.look();
        assert!(places.round.is_empty(), "it is not yet time");
        let status = |name: &str, auto_restart| UnitStatus { auto_restart, ..UnitStatus::gone(unit(name)) };
        places.changed(&status("a", false));
        places.changed(&status("b", true));
        places.changed(&status("c", true));
        places.look();
        let seen = places.round.join_next().await.unwrap().unwrap();
        assert_eq!(seen.len(), 1);
        let told = |changes: Vec<Located>| -> Vec<String> {
            changes.iter().map(|(unit, place)| format!("{unit} {}", place.as_ref().unwrap().gone)).collect()
        };
        assert_eq!(told(places.changes(&seen)), ["b true"]);
        places.round_at = Instant::now();
        std::fs::remove_dir(home.path().join("a")).unwrap();
        std::fs::create_dir(home.path().join("b")).unwrap();
        places.look();
        let seen = places.round.join_next().await.unwrap().unwrap();
        assert_eq!(told(places.changes(&seen)), ["a true", "b false"]);
        assert_eq!(told(places.changes(&seen)), [""; 0], "it is told once");
        places.round_at = Instant::now();
        places.keep(&[status("a", false)]);
        places.look();
        assert_eq!(places.round.join_next().await.unwrap().unwrap().len(), 1);
    }
}
