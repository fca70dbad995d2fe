//! Inspections of a unit: what its properties, its files, the units around it and the journal show.

use std::path::PathBuf;
use std::time::Duration;

use zbus::OwnedVariant;

use super::connection::{ManagerConnection, monotonic, since_then};
use super::related::{Dependencies, Related};
use super::{FILE_TIMEOUT, Systemd, text, wire};
use crate::blocking::FILES;
use crate::core::units::{
    ActiveState, Deactivation, Depth, Detail, Inspection, RestartPolicy, ServiceResult, StopEvidence, StopOrder,
    UnitName,
};
use crate::manager::ManagerError;
use crate::manager::directory::is_gone;
use crate::manager::journal::End;

impl Systemd {
    /// Reads its state, and the units that it has to give way to if requested.
    async fn inspect_state(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        let connection = self.connection()?;
        let (name, names) = (unit.as_str(), [unit.as_str().to_owned()]);
        let of_others = when(detail.depth == Depth::Proof, async {
            let (partners, began) = tokio::try_join!(
                Dependencies::to_give_way_to(&connection, name),
                connection.moment(name, "InactiveExitTimestampMonotonic"),
            )?;
            Ok((self.related(&connection, &partners, false).await?, began))
        });
        let (listed, since, related) = tokio::try_join!(
            connection.list_names(&names),
            connection.moment(name, "ActiveEnterTimestampMonotonic"),
            of_others,
        )?;
        let seen = listed.into_iter().next().ok_or_else(nothing_listed)?;
        let skipped = when(seen.active.is_down(), async {
            let (skipped, result, down) = tokio::try_join!(
                connection.skipped(name, seen.active),
                connection.property(name, wire::SERVICE, "Result"),
                connection.moment(name, "InactiveEnterTimestampMonotonic"),
            )?;
            Ok((skipped.or(down.filter(|_| is_skip(&result))), ServiceResult::from(text(&result))))
        });
        let (skipped, result) = skipped.await?.unwrap_or_default();
        let (Related { conflicts, stopped_groups, .. }, began) = related.unwrap_or_default();
        Ok(Inspection {
            load: seen.load,
            active: seen.active,
            has_job: seen.job.is_some(),
            auto_restart: seen.auto_restart,
            up_for: since.filter(|_| seen.active.is_up()).and_then(since_then),
            at: monotonic(),
            began,
            skipped,
            result,
            conflicts,
            stopped_groups,
            ..Inspection::default()
        })
    }

    /// Reads single properties, all at once: for a whole interface, systemd would also read files and control groups
    /// that are not needed, which takes longer than a start.
    pub(super) async fn inspect_untimed(&self, unit: &UnitName, detail: Detail) -> Result<Inspection, ManagerError> {
        if detail.depth != Depth::Decision {
            return self.inspect_state(unit, detail).await;
        }
        let connection = self.connection()?;
        let name = unit.as_str();
        let of_service = |key| connection.property(name, wire::SERVICE, key);
        let names = [name.to_owned()];
        let of_unit = |key| connection.property(name, wire::UNIT, key);
        let (listed, left, down, began, dependencies, clearable, source, result, restart, kind, directory) = tokio::try_join!(
            connection.list_names(&names),
            connection.moment(name, "ActiveExitTimestampMonotonic"),
            connection.moment(name, "InactiveEnterTimestampMonotonic"),
            connection.moment(name, "InactiveExitTimestampMonotonic"),
            Dependencies::of(&connection, name),
            connection.can_be_loaded_again(name),
            of_unit("SourcePath"),
            of_service("Result"),
            of_service("Restart"),
            of_service("Type"),
            of_service("WorkingDirectory"),
        )?;
        let seen = listed.into_iter().next().ok_or_else(nothing_listed)?;
        let restart = RestartPolicy::from(text(&restart));
        let is_down = seen.active.is_down();
        let changes = matches!(seen.active, ActiveState::Activating | ActiveState::Deactivating) && !seen.auto_restart;
        let deactivation = left.zip(down).map(|(left, down)| Deactivation { left, down });
        // For a unit that went down by itself it does not matter when its parents were up, unless it had a stop job: if
        // it was killed together with a parent that is up again, the stop was not meant for it.
        let with_history = is_down && (detail.stop || !deactivation.is_some_and(Deactivation::was_sudden));
        let directory = Directory::from(text(&directory));
        let (related, restart_prevented, transition, up_for, file, run, restarts, since, gone, in_container, skipped) =
            tokio::try_join!(
                self.related(&connection, &dependencies, with_history),
                when(seen.active == ActiveState::Failed, connection.restart_prevented(name)),
                when(changes, connection.transition(name, seen.active)),
                when(seen.active.is_up(), connection.uptime(name)),
                when(detail.file, connection.file(name, began.is_none())),
                when(detail.file || detail.stop, connection.invocation(name)),
                when(detail.restarts || seen.auto_restart, connection.restarts(name)),
                when(detail.times, connection.realtime(name, "StateChangeTimestamp")),
                directory.is_gone(&connection, name),
                when(directory.path.is_none(), connection.container_directory(name)),
                when(is_down, connection.skipped(name, seen.active)),
            )?;
        let down_for = down.filter(|_| is_down).and_then(since_then);
        let skipped = skipped.flatten().or(down.filter(|_| is_down && is_skip(&result)));
        let restarts = match restarts {
            None => when(skipped.is_some(), connection.restarts(name)).await?,
            known => known,
        };
        let result = ServiceResult::from(text(&result));
        let end = End {
            is_over: is_down,
            was_clean: seen.active == ActiveState::Inactive && result == ServiceResult::Success,
            was_sudden: deactivation.is_some_and(Deactivation::was_sudden),
            ago: down_for.unwrap_or_default(),
        };
        let stop = when(detail.stop, async { Ok(self.stop_evidence(unit, run.as_deref(), end).await) }).await?;
        let mut related = related;
        let mut displaced_by = None;
        if stop == Some(StopEvidence::Requested) {
            self.order_stops(unit, run.as_deref(), &mut related, deactivation.map(|it| it.of_run(began))).await;
            displaced_by = self.displaced_by(&connection, run.as_deref(), &related).await;
        }
        Ok(Inspection {
            load: seen.load,
            active: seen.active,
            has_job: seen.job.is_some(),
            up_for: up_for.flatten(),
            at: monotonic(),
            deactivation,
            began,
            transition: transition.flatten(),
            down_for,
            skipped,
            result,
            restart,
            restart_prevented: restart_prevented.flatten(),
            oneshot: text(&kind) == "oneshot",
            file: file.flatten(),
            run,
            restarts,
            auto_restart: seen.auto_restart,
            since: since.flatten(),
            working_directory: directory.path.or(in_container.flatten()),
            directory_gone: gone,
            container: is_container(text(&source)),
            parents: related.parents,
            pulls_in: related.pulls_in,
            conflicts: related.conflicts,
            displaced_by,
            has_conflicts: dependencies.has_conflicts(),
            stopped_groups: related.stopped_groups,
            triggers: related.triggers,
            clearable,
            stop,
            said: None,
        })
    }

    /// Finds out which was requested first, the stop of the unit or that of a unit that it needs. `ended` is how its
    /// last run ended.
    async fn order_stops(
        &self,
        unit: &UnitName,
        run: Option<&str>,
        related: &mut Related,
        ended: Option<Deactivation>,
    ) {
        let run = run.filter(|run| !run.is_empty());
        for parent in &mut related.parents {
            let name = parent.name.as_str();
            let has_gone = parent.left.is_some() || parent.stopping;
            // systemd forgets when a unit was up that it has unloaded.
            let was_unloaded = parent.active == ActiveState::Inactive && parent.left.is_none();
            match run {
                Some(run) if has_gone => {
                    // A stop that waits for a unit that is down already did not take it down.
                    let stop_job = related.stop_jobs.get(name).copied().filter(|_| !parent.active.is_down());
                    let times = ended.zip(parent.left);
                    // It is stopped once all units that need it are down, the slowest of them included.
                    let left_last = stop_job.is_some() || times.is_some_and(|(ended, left)| left >= ended.left);
                    let after = times.map(|(ended, left)| [0, micros(left, ended.left), micros(left, ended.down)]);
                    let after = after.unwrap_or_default();
                    parent.stop_order = match self.journal.order_of_stop(run, name, stop_job, &after).await {
                        StopOrder::ParentFirst if !left_last => StopOrder::Unknown,
                        order => order,
                    };
                }
                _ if was_unloaded || (run.is_none() && has_gone) => {
                    parent.stop_order = self.journal.order_of_stops(unit.as_str(), name).await;
                }
                _ => {}
            }
        }
    }

    /// The unit whose start stopped this one, of those that conflict with it and are up.
    async fn displaced_by(
        &self,
        connection: &ManagerConnection,
        run: Option<&str>,
        related: &Related,
    ) -> Option<String> {
        let run = run.filter(|run| !run.is_empty())?;
        for partner in &related.conflicts {
            let start_job = related.start_jobs.get(partner).copied();
            let its_run = connection.invocation(partner).await.ok()?;
            if self.journal.was_stopped_by_start(run, &its_run, start_job).await {
                return Some(partner.clone());
            }
        }
        None
    }

    async fn stop_evidence(&self, unit: &UnitName, run: Option<&str>, end: End) -> StopEvidence {
        match run {
            Some(run) if !run.is_empty() => match self.journal.stop_evidence(run, end).await {
                StopEvidence::NotRequested if !end.was_sudden && self.logs_no_stop(unit).await => {
                    StopEvidence::Unknown("LogLevelMax= of its unit keeps stops out of the journal".to_owned())
                }
                evidence => evidence,
            },
            _ => match self.end_of_last_job(unit).await {
                Ok(Some(evidence)) => evidence,
                Ok(None) => StopEvidence::Unknown(format!("the service manager does not know the last run of {unit}")),
                Err(unknown) => unknown,
            },
        }
    }

    /// Whether systemd drops its messages about stops of the unit (`LogLevelMax=`, systemd.exec(5)): they are of the level
    /// `info`.
    async fn logs_no_stop(&self, unit: &UnitName) -> bool {
        const INFO: i32 = 6;
        let Ok(connection) = self.connection() else { return false };
        let max = connection.property_if_known(unit.as_str(), wire::SERVICE, "LogLevelMax").await;
        let max = max.ok().flatten().and_then(|max| i32::try_from(max).ok());
        max.is_some_and(|max| (0..INFO).contains(&max))
    }

    async fn end_of_last_job(&self, unit: &UnitName) -> Result<Option<StopEvidence>, StopEvidence> {
        let began = async { self.connection()?.began().await };
        match began.await {
            Ok(began) => self.journal.end_of_last_job(unit, began).await,
            Err(error) => Err(StopEvidence::Unknown(error.to_string())),
        }
    }
}

/// Whether the property `Result` says that `ExecCondition=` skipped the start.
fn is_skip(result: &OwnedVariant) -> bool {
    ServiceResult::from(text(result)) == ServiceResult::ExecCondition
}

/// How many microseconds the first is after the second.
fn micros(one: Duration, other: Duration) -> i64 {
    let number = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    number(one).saturating_sub(number(other))
}

fn nothing_listed() -> ManagerError {
    ManagerError::Unexpected { what: "ListUnitsByNames", why: "the list is empty".to_owned() }
}

/// Whether podman's generator creates units from this file, podman-systemd.unit(5).
pub(super) fn is_container(source: &str) -> bool {
    [".container", ".pod", ".kube"].iter().any(|kind| source.ends_with(kind))
}

/// `WorkingDirectory=` as systemd reports it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// The configured directory of the unit, if any.
    pub path: Option<PathBuf>,
    /// Whether the unit starts without it too.
    pub optional: bool,
}

impl From<&str> for Directory {
    /// A `-` in front means that the directory may be missing. A `!` means the same for the home directory that systemd
    /// reports for user units without a setting: it was not configured.
    fn from(text: &str) -> Self {
        let optional = text.starts_with('-');
        let path = Some(text.trim_start_matches('-')).filter(|path| path.starts_with('/')).map(PathBuf::from);
        Self { path, optional }
    }
}

impl Directory {
    /// Whether it is definitely no directory, or missing. If it cannot be accessed, it may exist; a file system that
    /// does not answer is not waited for.
    pub async fn is_gone(&self, connection: &ManagerConnection, unit: &str) -> Result<bool, ManagerError> {
        let Some(path) = self.path.clone().filter(|_| !self.optional) else {
            return Ok(false);
        };
        let check = FILES.within(FILE_TIMEOUT, move || is_gone(&path));
        if !matches!(check.await, Ok(true)) {
            return Ok(false);
        }
        // A directory in another root is not checked.
        let (root, image) = tokio::try_join!(
            connection.property(unit, wire::SERVICE, "RootDirectory"),
            connection.property(unit, wire::SERVICE, "RootImage"),
        )?;
        Ok(matches!(text(&root), "" | "/") && text(&image).is_empty())
    }
}

/// The answer to an optional question.
pub(super) async fn when<T>(
    asked: bool,
    question: impl Future<Output = Result<T, ManagerError>>,
) -> Result<Option<T>, ManagerError> {
    if asked { question.await.map(Some) } else { Ok(None) }
}
