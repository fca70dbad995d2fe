//! Where the things stand that an explanation points to: paths as people write them, and lines in
//! the registry.

use std::path::Path;
use std::time::SystemTime;

use crate::core::coverage::Worker;
use crate::core::explain::{Commands, Sources};
use crate::core::registry::{Lines, Registry};
use crate::core::text;
use crate::core::time::Timestamp;
use crate::manager::Scope;
use crate::paths::Paths;

/// For an explanation of this worker. `clock` is now, by the clock that pauses are told by.
#[must_use]
pub fn sources(paths: &Paths, scope: Scope, registry: &Registry, worker: &Worker, clock: Timestamp) -> Sources {
    Sources {
        sites: shown(&paths.sites),
        lines: registry.lines(&worker.site).map(Lines::by_key).unwrap_or_default(),
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

/// A path as its user writes it.
fn shown(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", text::path(&below)),
        None => text::path(path),
    }
}
