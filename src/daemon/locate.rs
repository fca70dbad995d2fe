//! Locations of workers: requested from the service manager once for each, and checked again regularly, as nothing
//! signals that a directory has vanished.
//!
//! The checks run outside of the loop, one round at a time: a file system that does not answer delays only the next
//! round.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::stream::{self as streams, StreamExt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Daemon;
use crate::checkout;
use crate::core::healer::{Fact, Located};
use crate::core::units::{Location, UnitName, UnitStatus};
use crate::manager::{ServiceManager, directory_is_gone};

/// How often all directories are checked.
const ROUND_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of concurrent lookups, and of locations reported together. Batches follow each other: the manager
/// answers one call after the other in any case, and thousands that wait for it take memory which stays fragmented.
const MAX_CONCURRENT_LOOKUPS: usize = 16;
const BATCH_SIZE: usize = 256;

/// Known locations. Owned by the loop.
#[derive(Debug)]
pub(super) struct Locator {
    /// The location of each unit that requires a directory.
    known: HashMap<UnitName, Location>,
    /// Units that the service manager restarts, perhaps because their directory is gone.
    restless: HashSet<UnitName>,
    round_at: Instant,
    /// The batch of lookups that is under way.
    pub asked: JoinSet<Vec<Located>>,
    /// Units to look up after it.
    newcomers: VecDeque<UnitName>,
    /// Requests that wait for a round.
    waiting: Vec<oneshot::Sender<()>>,
    /// The round that is under way: whether each directory is gone.
    pub round: JoinSet<BTreeMap<PathBuf, bool>>,
}

impl Locator {
    pub fn new() -> Self {
        Self {
            known: HashMap::new(),
            restless: HashSet::new(),
            round_at: Instant::now() + ROUND_INTERVAL,
            asked: JoinSet::new(),
            newcomers: VecDeque::new(),
            waiting: Vec::new(),
            round: JoinSet::new(),
        }
    }

    /// Records locations.
    pub fn learn(&mut self, locations: &[Located]) {
        for (unit, location) in locations {
            match location {
                Ok(location) if location.required && !location.container => {
                    self.known.insert(unit.clone(), location.clone())
                }
                Ok(_) | Err(_) => self.known.remove(unit),
            };
        }
    }

    /// Records a change of a unit.
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

    /// Begins a round, if one is due, or for units that are being restarted.
    pub fn check(&mut self) {
        if !self.round.is_empty() {
            return;
        }
        let restless = std::mem::take(&mut self.restless);
        let paths: HashSet<PathBuf> = if self.round_at <= Instant::now() {
            self.round_at = Instant::now() + ROUND_INTERVAL;
            self.known.values().filter_map(|location| location.directory.clone()).collect()
        } else {
            restless.iter().filter_map(|unit| self.known.get(unit)?.directory.clone()).collect()
        };
        if !paths.is_empty() || !self.waiting.is_empty() {
            self.round
                .spawn_blocking(|| paths.into_iter().map(|path| (path.clone(), directory_is_gone(&path))).collect());
        }
    }

    /// Has all directories checked now, and replies once that is done.
    pub fn check_for(&mut self, reply: oneshot::Sender<()>) {
        self.waiting.push(reply);
        self.round_at = Instant::now();
        self.check();
    }

    /// A round has ended, and what it found has been passed on: replies, or begins the round that is waited for.
    pub fn round_ended(&mut self) {
        if !self.waiting.is_empty() && self.round_at <= Instant::now() {
            self.check();
        }
        if self.round.is_empty() {
            for reply in self.waiting.drain(..) {
                // The requester may be gone, which is no error.
                let _ = reply.send(());
            }
        }
    }

    /// The locations that a round has changed.
    pub fn changes(&mut self, seen: &BTreeMap<PathBuf, bool>) -> Vec<Located> {
        let mut changes = Vec::new();
        for (unit, location) in &mut self.known {
            let Some(gone) = location.directory.as_ref().and_then(|path| seen.get(path)) else { continue };
            if *gone != location.gone {
                location.gone = *gone;
                changes.push((unit.clone(), Ok(location.clone())));
            }
        }
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }
}

impl<M: ServiceManager> Daemon<M> {
    /// Passes on what a round has found.
    pub(super) fn round_ended(&mut self, seen: &BTreeMap<PathBuf, bool>) {
        let changes = self.locator.changes(seen);
        if !changes.is_empty() {
            self.observe(Fact::Located(changes));
        }
        self.locator.round_ended();
    }

    /// Looks up the locations of new units, one batch after the other. To be called whenever a batch has ended, too.
    pub(super) fn locate_newcomers(&mut self) {
        self.locator.newcomers.extend(self.healer.take_unlocated());
        if self.locator.newcomers.is_empty() || !self.locator.asked.is_empty() {
            return;
        }
        let batch = self.locator.newcomers.len().min(BATCH_SIZE);
        let (manager, context) = (self.manager.clone(), self.healer.context());
        let units = self.locator.newcomers.drain(..batch).map(|unit| {
            let rivals = context.selector.rival_checkouts(&context.registry, &unit);
            (unit, rivals)
        });
        let units: Vec<_> = units.collect();
        if self.locator.newcomers.is_empty() {
            // Hardly any come later.
            self.locator.newcomers = VecDeque::new();
        }
        self.locator.asked.spawn(async move {
            let lookups = streams::iter(units).map(|(unit, rivals)| {
                let manager = manager.clone();
                async move {
                    let location = match manager.location(&unit).await {
                        Ok(location) => Ok(checkout::spelt_as_registered(location, rivals).await),
                        Err(error) => Err(error.to_string()),
                    };
                    (unit, location)
                }
            });
            lookups.buffered(MAX_CONCURRENT_LOOKUPS).collect().await
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn directories_are_checked_once_a_round_and_when_a_unit_is_restarted() {
        let home = tempfile::tempdir().unwrap();
        let unit = |name: &str| UnitName::parse(name).unwrap();
        let location = |dir: &str, required| {
            let directory = Some(home.path().join(dir));
            Ok(Location { directory, required, ..Location::default() })
        };
        std::fs::create_dir(home.path().join("a")).unwrap();
        let mut locator = Locator::new();
        locator.learn(&[
            (unit("a"), location("a", true)),
            (unit("b"), location("b", true)),
            (unit("c"), location("b", false)),
        ]);
        locator.check();
        assert!(locator.round.is_empty(), "it is not yet time");
        let status = |name: &str, auto_restart| UnitStatus { auto_restart, ..UnitStatus::gone(unit(name)) };
        locator.changed(&status("a", false));
        locator.changed(&status("b", true));
        locator.changed(&status("c", true));
        locator.check();
        let seen = locator.round.join_next().await.unwrap().unwrap();
        assert_eq!(seen.len(), 1);
        let units = |changes: Vec<Located>| -> Vec<String> {
            changes.iter().map(|(unit, location)| format!("{unit} {}", location.as_ref().unwrap().gone)).collect()
        };
        assert_eq!(units(locator.changes(&seen)), ["b true"]);
        locator.round_at = Instant::now();
        std::fs::remove_dir(home.path().join("a")).unwrap();
        std::fs::create_dir(home.path().join("b")).unwrap();
        locator.check();
        let seen = locator.round.join_next().await.unwrap().unwrap();
        assert_eq!(units(locator.changes(&seen)), ["a true", "b false"]);
        assert_eq!(units(locator.changes(&seen)), [""; 0], "it is reported once");
        locator.round_at = Instant::now();
        locator.keep(&[status("a", false)]);
        locator.check();
        assert_eq!(locator.round.join_next().await.unwrap().unwrap().len(), 1);
    }
}
