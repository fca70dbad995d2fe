//! Inspects jobs: lists all that are covered, and inspects single ones.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::answers::{self, Job};
use super::label::{is_lerds, label_of, unit_of};
use super::launchctl::{Domain, Failure, Launchctl};
use super::plist::{Agent, File, unit_described_by};
use super::seen::Seen;
use super::tables::{self, Listed};
use crate::blocking::FILES;
use crate::core::units::{Detail, UnitName};
use crate::manager::{ManagerError, directory};

/// Maximum time to access a file or a directory, which may be on a file system that does not answer.
const FILE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of concurrent calls of launchctl.
const MAX_CONCURRENT_CALLS: usize = 8;
/// Lerd writes the plist and the script of a worker and loads it within this time, and so does its watcher. Until then
/// the worker is left to Lerd, so that not both act.
pub(super) const LERD_LOAD_TIME: Duration = Duration::from_secs(3);

/// launchd, and the directories of plists.
#[derive(Debug, Clone)]
pub(super) struct Inspector {
    pub launchctl: Launchctl,
    /// Directories with plists of jobs that are not loaded.
    pub directories: Arc<[PathBuf]>,
}

/// The state of a unit in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListedState {
    /// It runs, as this process.
    Running(u32),
    /// It does not run.
    Down(Box<Seen>),
    /// It is not loaded, but has a plist.
    Out {
        /// Whether the plist was written just now.
        is_new: bool,
    },
    /// launchd did not answer, or its output cannot be parsed.
    Unknown,
}

impl Inspector {
    /// All units that match and are loaded, or have a plist: one call for each domain, and one more for each loaded job
    /// that does not run.
    pub async fn list(&self, covered: &[glob::Pattern]) -> Result<Vec<(UnitName, ListedState)>, ManagerError> {
        let turns = Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS));
        let mut closer = JoinSet::new();
        let mut states = Vec::new();
        let is_covered = |unit: &UnitName| covered.iter().any(|pattern| pattern.matches(unit.as_str()));
        let (listed, mut out) = tokio::join!(self.loaded(), self.described());
        out.retain(|unit, _| is_covered(unit));
        for (label, (domain, pid)) in listed? {
            let Some(unit) = unit_of(&label).filter(&is_covered) else { continue };
            out.remove(&unit);
            if let Some(pid) = pid {
                states.push((unit, ListedState::Running(pid)));
                continue;
            }
            let (inspector, turns) = (self.clone(), Arc::clone(&turns));
            closer.spawn(async move {
                let _turn = turns.acquire().await;
                let state = inspector.state(&unit, domain).await;
                (unit, state)
            });
        }
        while let Some(Ok(found)) = closer.join_next().await {
            states.push(found);
        }
        states.extend(out.into_iter().map(|(unit, is_new)| (unit, ListedState::Out { is_new })));
        Ok(states)
    }

    /// The jobs of all domains, by label. A job that is loaded in two domains runs in one of them, or the first counts.
    async fn loaded(&self) -> Result<HashMap<String, (Domain, Option<u32>)>, ManagerError> {
        const WHAT: &str = "print";
        let tables = join_all(
            self.launchctl.domains().iter().map(|domain| async { (*domain, self.launchctl.table(*domain).await) }),
        );
        let mut loaded: HashMap<String, (Domain, Option<u32>)> = HashMap::new();
        let mut missing = None;
        for (domain, table) in tables.await {
            let text = match table {
                Ok(text) => text,
                Err(failure @ Failure::NoDomain(_)) => {
                    missing = Some(failure);
                    continue;
                }
                Err(failure) => return Err((WHAT, failure).into()),
            };
            let listed = tables::services(&text).ok_or_else(|| ManagerError::Unexpected {
                what: WHAT,
                why: format!("it is no table of the jobs in {domain}"),
            })?;
            for Listed { label, pid } in listed {
                let known = loaded.entry(label).or_insert((domain, pid));
                if known.1.is_none() && pid.is_some() {
                    *known = (domain, pid);
                }
            }
        }
        match missing {
            Some(failure) if loaded.is_empty() => Err((WHAT, failure).into()),
            _ => Ok(loaded),
        }
    }

    /// The state of a job that does not run.
    async fn state(&self, unit: &UnitName, domain: Domain) -> ListedState {
        match self.launchctl.print(domain, &label_of(unit)).await.map(|text| answers::job(&text)) {
            Ok(Some(Job { pid: Some(pid), state, .. })) if state == "running" => ListedState::Running(pid),
            Ok(Some(job)) => {
                let file = self.file(unit, Some(&job)).await;
                let directory_gone = is_gone(file.agent().and_then(|agent| agent.working_directory.clone())).await;
                ListedState::Down(Box::new(Seen {
                    job: Some(job),
                    domain: Some(domain),
                    file,
                    directory_gone,
                    ..Seen::default()
                }))
            }
            // It was booted out just now.
            Err(Failure::NotLoaded) => ListedState::Out { is_new: false },
            Ok(None) | Err(_) => ListedState::Unknown,
        }
    }

    /// The units with a plist, by file name, and whether Lerd wrote that just now. Files that cannot be accessed are
    /// left out.
    async fn described(&self) -> HashMap<UnitName, bool> {
        let directories = Arc::clone(&self.directories);
        let read = spawn_blocking(move || {
            let files = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
            let described = files.filter_map(|file| {
                let file = file.ok()?;
                let unit = unit_described_by(&file.path())?;
                let is_new = is_lerds(&unit) && is_new(file.metadata().ok().and_then(|data| data.modified().ok()));
                Some((unit, is_new))
            });
            described.collect()
        });
        timeout(FILE_TIMEOUT, read).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The unit's job, and its domain; `None` if it is not loaded. A job that is loaded in two domains runs in one of
    /// them, or the first counts.
    pub async fn job(&self, unit: &UnitName) -> Result<Option<(Domain, Job)>, ManagerError> {
        const WHAT: &str = "print";
        let (mut found, mut missing, mut exists) = (None, None, false);
        for domain in self.launchctl.domains() {
            match self.launchctl.print(*domain, &label_of(unit)).await {
                Ok(text) => {
                    let job = answers::job(&text).ok_or_else(|| ManagerError::Unexpected {
                        what: WHAT,
                        why: "it is no job as known so far".to_owned(),
                    })?;
                    if job.is_up() {
                        return Ok(Some((*domain, job)));
                    }
                    found = found.or(Some((*domain, job)));
                }
                Err(Failure::NotLoaded) => exists = true,
                Err(failure @ Failure::NoDomain(_)) => missing = Some(failure),
                Err(failure) => return Err((WHAT, failure).into()),
            }
        }
        match missing {
            Some(failure) if found.is_none() && !exists => Err((WHAT, failure).into()),
            _ => Ok(found),
        }
    }

    /// The file that describes the unit's job.
    pub async fn file(&self, unit: &UnitName, job: Option<&Job>) -> File {
        let (unit, directories) = (unit.clone(), Arc::clone(&self.directories));
        let read: Box<dyn FnOnce() -> File + Send> = match job.map(|job| job.plist.clone()) {
            Some(None) => return File::None,
            Some(Some(path)) => Box::new(move || File::read(&unit, &path)),
            None => Box::new(move || File::find(&unit, &directories)),
        };
        match timeout(FILE_TIMEOUT, spawn_blocking(read)).await {
            Ok(Ok(file)) => file,
            Ok(Err(_)) | Err(_) => File::Unreadable,
        }
    }

    /// Inspects one unit.
    pub async fn inspect(&self, unit: &UnitName, detail: Detail) -> Result<Seen, ManagerError> {
        let (domain, job) = self.job(unit).await?.unzip();
        let file = self.file(unit, job.as_ref()).await;
        let directory = file.agent().and_then(|agent| agent.working_directory.clone());
        let (disabled, directory_gone, age) = tokio::join!(
            async { if detail.stop || detail.file { self.is_disabled(unit, file.agent()).await } else { Ok(false) } },
            is_gone(directory),
            age(job.as_ref().and_then(|job| job.pid)),
        );
        let is_new = job.is_none() && is_lerds(unit) && is_new(file.agent().and_then(|agent| agent.written));
        Ok(Seen { disabled: disabled?, is_new, directory_gone, age, job, domain, file })
    }

    /// Whether the unit's job is disabled: its plist decides unless `launchctl` was used to override it.
    pub async fn is_disabled(&self, unit: &UnitName, agent: Option<&Agent>) -> Result<bool, ManagerError> {
        const WHAT: &str = "print-disabled";
        let text = self.launchctl.print_disabled().await.map_err(|failure| (WHAT, failure))?;
        let labels = tables::disabled(&text)
            .ok_or_else(|| ManagerError::Unexpected { what: WHAT, why: "it is no list of labels".to_owned() })?;
        let by_file = || agent.is_some_and(|agent| agent.disabled);
        Ok(labels.get(&label_of(unit)).copied().unwrap_or_else(by_file))
    }
}

/// Whether this time is very recent. A time in the future does not count.
pub(super) fn is_new(written: Option<SystemTime>) -> bool {
    written.and_then(|written| written.elapsed().ok()).is_some_and(|age| age < LERD_LOAD_TIME)
}

/// Whether a directory is definitely missing. If it cannot be accessed, it may exist.
pub(super) async fn is_gone(directory: Option<PathBuf>) -> bool {
    let Some(path) = directory.filter(|path| path.is_absolute()) else { return false };
    let read = FILES.within(FILE_TIMEOUT, move || directory::is_gone(&path));
    matches!(read.await, Ok(true))
}

/// How long a process has existed, in whole seconds, ps(1).
async fn age(pid: Option<u32>) -> Option<Duration> {
    let mut ps = Command::new(Path::new("ps"));
    ps.args(["-o", "etime=", "-p", &pid?.to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(FILE_TIMEOUT, ps.output()).await.ok()?.ok()?;
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
