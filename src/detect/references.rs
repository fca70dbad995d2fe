//! What an explanation refers to: paths and commands, as the user writes them.

use std::path::Path;
use std::time::SystemTime;

use crate::core::explain::{Commands, Manager, References};
use crate::core::text;
use crate::core::time::Timestamp;
use crate::core::units::UnitName;
use crate::files::paths::Paths;
use crate::manager::{Scope, ServiceManager};

/// The references for an explanation of this worker. `clock` is the current time by the clock of pauses.
pub async fn references_for<M: ServiceManager>(
    paths: &Paths,
    (manager, scope): (&M, Scope),
    unit: &UnitName,
    clock: Timestamp,
) -> References {
    let mut commands = match scope {
        Scope::User => Commands::USER,
        Scope::System => Commands::SYSTEM,
    };
    if let Some(mut own) = manager.commands(unit).await {
        if let Manager::Launchd(job) = &mut own {
            job.plist = shown(Path::new(&job.plist));
            job.log = job.log.as_ref().map(|log| shown(Path::new(log)));
        }
        commands.manager = own;
    }
    References {
        sites: shown(&paths.sites),
        config: shown(&paths.config),
        stop_marker: shown(&paths.stop_marker),
        commands,
        daemon_runs: true,
        now: SystemTime::now(),
        clock,
    }
}

/// A path with `~` for the home directory.
fn shown(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", text::path(&below)),
        None => text::path(path),
    }
}
