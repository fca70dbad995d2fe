//! Looks at jobs: at all that are covered, and at one closely.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::answers::{self, Job};
use super::job::Seen;
use super::label::{label_of, unit_of};
use super::launchctl::{Failure, Launchctl};
use super::plist::{File, unit_described_by};
use crate::blocking::FILES;
use crate::core::units::{Detail, UnitName};
use crate::manager::{ManagerError, directory};

/// How long a look at a file or a directory may take: one may be on a file system that does not answer.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);
/// So many jobs are printed at once.
const AT_ONCE: usize = 8;

/// launchd, and where its plists are.
#[derive(Debug, Clone)]
pub(super) struct Eyes {
    pub launchctl: Launchctl,
    /// Where the plists of jobs are that are not loaded.
    pub directories: Arc<[PathBuf]>,
}

/// What a list says of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// It runs, as this process.
    Running(u32),
    /// It does not.
    Down(Job),
    /// It is not loaded, and has a plist.
    Out,
    /// launchd said something of it that cannot be read, or did not answer.
    Unknown,
}

impl Eyes {
    /// All units that match and are loaded, or have a plist: one call, and one more for each loaded
    /// one that does not run.
    pub async fn list(&self, covered: &[glob::Pattern]) -> Result<Vec<(UnitName, Sight)>, ManagerError> {
        const WHAT: &str = "list";
        let text = self.launchctl.list().await.map_err(|failure| (WHAT, failure))?;
        let listed = answers::list(&text)
            .ok_or_else(|| ManagerError::Unexpected { what: WHAT, why: "it is no list of jobs".to_owned() })?;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut closer = JoinSet::new();
        let mut sights = Vec::new();
        let is_covered = |unit: &UnitName| covered.iter().any(|pattern| pattern.matches(unit.as_str()));
        let mut out = self.described().await;
        out.retain(is_covered);
        for job in listed {
            let Some(unit) = unit_of(&job.label).filter(&is_covered) else { continue };
            out.remove(&unit);
            if let Some(pid) = job.pid {
                sights.push((unit, Sight::Running(pid)));
                continue;
            }
            let (launchctl, turns) = (self.launchctl.clone(), Arc::clone(&turns));
            closer.spawn(async move {
                let _turn = turns.acquire().await;
                (unit, launchctl.print(&job.label).await)
            });
        }
        while let Some(Ok((unit, answer))) = closer.join_next().await {
            let sight = match answer.map(|text| answers::job(&text)) {
                Ok(Some(Job { pid: Some(pid), state, .. })) if state == "running" => Sight::Running(pid),
                Ok(Some(job)) => Sight::Down(job),
                // It was taken out just now.
                Err(Failure::NotLoaded) => Sight::Out,
                Ok(None) | Err(_) => Sight::Unknown,
            };
            sights.push((unit, sight));
        }
        sights.extend(out.into_iter().map(|unit| (unit, Sight::Out)));
        Ok(sights)
    }

    /// The units that have a plist, by the names of the files. What cannot be seen is left out.
    async fn described(&self) -> HashSet<UnitName> {
        let directories = Arc::clone(&self.directories);
        let look = spawn_blocking(move || {
            let files = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
            files.filter_map(|file| unit_described_by(&file.ok()?.path())).collect()
        });
        timeout(LOOKS_WITHIN, look).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The unit's job; `None` if it is not loaded.
    pub async fn job(&self, unit: &UnitName) -> Result<Option<Job>, ManagerError> {
        const WHAT: &str = "print";
        match self.launchctl.print(&label_of(unit)).await {
            Ok(text) => match answers::job(&text) {
                Some(job) => Ok(Some(job)),
                None => Err(ManagerError::Unexpected { what: WHAT, why: "it is no job as known so far".to_owned() }),
            },
            Err(Failure::NotLoaded) => Ok(None),
            Err(failure) => Err((WHAT, failure).into()),
        }
    }

    /// The file that describes the unit's job.
    pub async fn file(&self, unit: &UnitName, job: Option<&Job>) -> File {
        let (unit, directories) = (unit.clone(), Arc::clone(&self.directories));
        let look: Box<dyn FnOnce() -> File + Send> = match job.map(|job| job.plist.clone()) {
            Some(None) => return File::None,
            Some(Some(path)) => Box::new(move || File::read(&unit, &path)),
            None => Box::new(move || File::find(&unit, &directories)),
        };
        match timeout(LOOKS_WITHIN, spawn_blocking(look)).await {
            Ok(Ok(file)) => file,
            Ok(Err(_)) | Err(_) => File::Unreadable,
        }
    }

    /// A close look at one unit.
    pub async fn look(&self, unit: &UnitName, detail: Detail) -> Result<Seen, ManagerError> {
        let job = self.job(unit).await?;
        let file = self.file(unit, job.as_ref()).await;
        let directory = file.agent().and_then(|agent| agent.working_directory.clone());
        let (disabled, directory_gone, age) = tokio::join!(
            async { if detail.stop || detail.file { self.is_disabled(unit, &file).await } else { Ok(false) } },
            is_gone(directory),
            age(job.as_ref().and_then(|job| job.pid)),
        );
        Ok(Seen { disabled: disabled?, directory_gone, age, job, file })
    }

    /// Whether somebody has disabled the unit's job.
    async fn is_disabled(&self, unit: &UnitName, file: &File) -> Result<bool, ManagerError> {
        const WHAT: &str = "print-disabled";
        let text = self.launchctl.print_disabled().await.map_err(|failure| (WHAT, failure))?;
        let labels = answers::disabled(&text)
            .ok_or_else(|| ManagerError::Unexpected { what: WHAT, why: "it is no list of labels".to_owned() })?;
        let by_file = file.agent().is_some_and(|agent| agent.disabled);
        Ok(labels.get(&label_of(unit)).copied().unwrap_or(by_file))
    }
}

/// Whether a directory is definitely gone. One on a file system that does not answer may be there.
async fn is_gone(directory: Option<PathBuf>) -> bool {
    let Some(path) = directory.filter(|path| path.is_absolute()) else { return false };
    let look = FILES.within(LOOKS_WITHIN, move || directory::is_gone(&path));
    matches!(look.await, Ok(true))
}

/// For how long a process has existed, in whole seconds, ps(1).
async fn age(pid: Option<u32>) -> Option<Duration> {
    let mut ps = Command::new(Path::new("ps"));
    ps.args(["-o", "etime=", "-p", &pid?.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LOOKS_WITHIN, ps.output()).await.ok()?.ok()?;
    elapsed(str::from_utf8(&output.stdout).ok()?)
}

/// Reads `[[days-]hours:]minutes:seconds`.
fn elapsed(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (days, time) = text.split_once('-').unwrap_or(("0", text));
    let mut seconds = 0u64;
    for part in time.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    Some(Duration::from_secs(days.parse::<u64>().ok()?.checked_mul(86400)?.checked_add(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_process_is_read_in_all_its_forms() {
        for (text, seconds) in
            [("   00:07\n", Some(7)), ("01:02:03", Some(3723)), ("2-00:00:01", Some(172_801)), ("", None), ("-", None)]
        {
            assert_eq!(elapsed(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
