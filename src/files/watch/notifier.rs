//! The system's notifications: where a change can concern a file, and which events do.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, FileType};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Maximum number of links in a row: more than any system follows.
const MAX_LINKS: usize = 40;

/// The identity of a directory: another one with the same name may replace it, even with its inode.
type Identity = (u64, u64, Option<SystemTime>);

/// Where a change can concern a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Existing directories to be watched; there are no links in their paths.
    directories: BTreeMap<PathBuf, Option<Identity>>,
    /// Paths of which an event is of interest: the file, links on the way to it, what is missing on
    /// the way to it, and the watched directories themselves.
    paths: HashSet<PathBuf>,
}

impl Places {
    /// Adds the places for one file: the directory of each link on the way to it, and the one that
    /// the file itself is in, or the nearest to it that exists.
    pub(super) fn add(&mut self, file: &Path) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
        // What is left of the way, the next part last.
        let mut rest = parts(&file);
        let mut here = PathBuf::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let inside = here.join(part);
            let kind = fs::symlink_metadata(&inside).map(|data| data.file_type());
            if kind.as_ref().is_ok_and(FileType::is_dir) && !rest.is_empty() {
                here = inside;
                continue;
            }
            self.directories.insert(here.clone(), identity(&here));
            self.paths.extend([here.clone(), inside.clone()]);
            links += 1;
            match fs::read_link(&inside) {
                // An absolute target begins with the root, which replaces `here`.
                Ok(target) if links <= MAX_LINKS => rest.extend(parts(&target)),
                _ => return,
            }
        }
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let data = fs::metadata(directory).ok()?;
    Some((data.dev(), data.ino(), data.created().ok()))
}

/// The system's notifications, reduced to "something of interest happened".
pub(super) struct Notifier {
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    pub(super) wake: Arc<Notify>,
    interest: Arc<Mutex<Interest>>,
}

/// What the watcher's thread has to know, and what it found out.
#[derive(Default)]
struct Interest {
    paths: HashSet<PathBuf>,
    /// Directories of these that were removed or renamed are no longer watched.
    gone: HashSet<PathBuf>,
    /// Whether notifications were lost.
    lost: bool,
}

impl Notifier {
    pub(super) fn new() -> notify::Result<Self> {
        let (wake, interest) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Interest::default())));
        let (waker, shared) = (Arc::clone(&wake), Arc::clone(&interest));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let mut interest = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if interest.takes(event) {
                waker.notify_one();
            }
        })?;
        Ok(Self { watcher, watched: BTreeMap::new(), wake, interest })
    }

    /// Watches exactly these places. Returns whether that is a change.
    pub(super) fn watch(&mut self, wanted: Places) -> notify::Result<bool> {
        let gone = {
            let mut interest = self.interest.lock().unwrap_or_else(PoisonError::into_inner);
            interest.paths = wanted.paths;
            let gone = mem::take(&mut interest.gone);
            if mem::take(&mut interest.lost) { self.watched.keys().cloned().collect() } else { gone }
        };
        let stale = |(path, identity): &(&PathBuf, &Option<Identity>)| {
            gone.contains(*path) || wanted.directories.get(*path) != Some(*identity)
        };
        let stale: Vec<PathBuf> = self.watched.iter().filter(stale).map(|(path, _)| path.clone()).collect();
        for path in &stale {
            // It fails if the directory is gone, and its watch with it.
            let _ = self.watcher.unwatch(path);
            self.watched.remove(path);
        }
        let mut changed = !stale.is_empty();
        let mut problem = None;
        for (path, identity) in wanted.directories {
            if self.watched.contains_key(&path) {
                continue;
            }
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, identity);
                    changed = true;
                }
                // It was there a moment ago, so try again.
                Err(_) if !path.exists() => changed = true,
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(changed), Err)
    }
}

impl Interest {
    /// Records an event. Returns whether it may concern a file.
    fn takes(&mut self, event: notify::Result<Event>) -> bool {
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            self.lost = true;
            return true;
        };
        // Reading is no change; we read the files ourselves.
        if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
            return false;
        }
        let mut concerned = false;
        for path in event.paths {
            if self.paths.contains(&path) {
                concerned = true;
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    self.gone.insert(path);
                }
            }
        }
        concerned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_no_event_and_lost_events_are_one() {
        let mut interest = Interest { paths: ["/d/f".into(), "/d".into()].into(), ..Interest::default() };
        let event = |kind, path: &str| Ok(Event::new(kind).add_path(path.into()));
        for access in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read)] {
            assert!(!interest.takes(event(EventKind::Access(access), "/d/f")));
        }
        let modified = EventKind::Modify(ModifyKind::Any);
        assert!(!interest.takes(event(modified, "/d/other")));
        assert!(interest.takes(event(modified, "/d/f")));
        assert!(interest.takes(event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/d/f")));
        assert!(interest.gone.is_empty() && !interest.lost);
        assert!(interest.takes(event(EventKind::Remove(notify::event::RemoveKind::Folder), "/d")));
        assert_eq!(interest.gone, ["/d".into()].into());
        assert!(interest.takes(Ok(Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan))));
        assert!(interest.lost);
    }
}
