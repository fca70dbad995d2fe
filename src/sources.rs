//! Where the things stand that an explanation points to: paths as people write them, and lines in
//! the registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use crate::core::coverage::Worker;
use crate::core::explain::{Commands, Sources};
use crate::core::places::line_of;
use crate::core::registry::Registry;
use crate::core::text;
use crate::core::time::Timestamp;
use crate::manager::Scope;
use crate::paths::{Paths, read_bounded};

/// For an explanation of this worker. `clock` is now, by the clock that pauses are told by.
#[must_use]
pub fn sources(paths: &Paths, scope: Scope, registry: &Registry, worker: &Worker, clock: Timestamp) -> Sources {
    let site = registry.sites().position(|site| site.name == worker.site);
    let lines = match (site, read_bounded(&paths.sites)) {
        (Some(site), Ok(bytes)) => lines_of(&bytes, site),
        _ => BTreeMap::new(),
    };
    Sources { lines, ..sources_unread(paths, scope, clock) }
}

/// The same without a look at the registry.
#[must_use]
pub fn sources_unread(paths: &Paths, scope: Scope, clock: Timestamp) -> Sources {
    Sources {
        sites: shown(&paths.sites),
        lines: BTreeMap::new(),
        config: shown(&paths.config),
        stop_marker: shown(&paths.stop_marker),
        commands: match scope {
            Scope::User => Commands::USER,
            Scope::System => Commands::SYSTEM,
        },
        now: SystemTime::now(),
        clock,
    }
}

/// Where the registry says of a site what an explanation points to.
pub(crate) fn lines_of(registry: &[u8], site: usize) -> BTreeMap<&'static str, usize> {
    let keys = ["name", "paused", "paused_workers", "idle_suspended_workers", "worktree_idle_suspended"];
    keys.into_iter().filter_map(|key| Some((key, line_of(registry, site, key)?))).collect()
}

/// A path as its user writes it.
fn shown(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", text::path(&below)),
        None => text::path(path),
    }
}
