//! Compares directories by identity: a site may be registered under one path, and its worker may use another path to
//! the same directory.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::core::units::{Inspection, Location};

/// Maximum time to examine a few directories; after that, their paths are compared as text.
const CANONICALIZE_TIMEOUT: Duration = Duration::from_secs(1);

/// The location, with its directory spelled like the one of the `rivals` that is the same directory.
pub(crate) async fn spelt_as_registered(place: Location, rivals: BTreeSet<PathBuf>) -> Location {
    let directory = spelling(place.directory, rivals).await;
    Location { directory, ..place }
}

/// Like [`spelt_as_registered`], for an inspection.
pub(crate) async fn inspection_spelt_as_registered(seen: Inspection, rivals: BTreeSet<PathBuf>) -> Inspection {
    Inspection { working_directory: spelling(seen.working_directory, rivals).await, ..seen }
}

async fn spelling(directory: Option<PathBuf>, rivals: BTreeSet<PathBuf>) -> Option<PathBuf> {
    let Some(path) = directory.clone().filter(|path| !rivals.is_empty() && !rivals.contains(path)) else {
        return directory;
    };
    let check = spawn_blocking(move || {
        let place = identity(&path)?;
        rivals.into_iter().find(|rival| identity(rival) == Some(place))
    });
    timeout(CANONICALIZE_TIMEOUT, check).await.ok().and_then(Result::ok).flatten().or(directory)
}

/// Device and inode of the path's target.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_known_again_by_whatever_path() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir(path("real")).unwrap();
        std::fs::create_dir(path("other")).unwrap();
        std::os::unix::fs::symlink(path("real"), path("link")).unwrap();
        let rivals = |names: &[&str]| names.iter().map(|name| path(name)).collect::<BTreeSet<_>>();
        for (directory, rivals, expected) in [
            ("link", rivals(&["real"]), "real"),
            ("real", rivals(&["link", "missing"]), "link"),
            ("real", rivals(&["link", "real"]), "real"),
            ("other", rivals(&["real"]), "other"),
            ("gone", rivals(&["real"]), "gone"),
            ("link", rivals(&[]), "link"),
        ] {
            assert_eq!(spelling(Some(path(directory)), rivals).await, Some(path(expected)), "{directory}");
        }
        assert_eq!(spelling(None, rivals(&["real"])).await, None);
    }
}
