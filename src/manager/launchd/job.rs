//! What launchd says of a job, in the words of units.
//!
//! launchd has neither a start limit nor units that a job needs, and its jobs say nothing of when
//! they went down: those fields are empty. It throttles what crashes again and again and never gives
//! up, which is a crash loop; what it calls `not running` it has no plans for.

use std::time::Duration;

use super::answers::{End, Job};
use super::plist::File;
use crate::core::units::{
    ActiveState, Detail, Inspection, LoadState, RestartPolicy, Restarts, ServiceResult, StopEvidence, UnitFile,
    UnitName, UnitStatus,
};

/// Signals and exit statuses of a job that somebody told to end: `launchctl stop` and `launchctl kill` send
/// SIGTERM, a terminal SIGINT; a shell passes that on as a status. A crash is none of these.
const TOLD_TO_END: [End; 4] = [End::Signal(15), End::Signal(2), End::Code(143), End::Code(130)];

/// All that a close look at a job found.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// `None` if it is not loaded.
    pub job: Option<Job>,
    pub file: File,
    /// Somebody has disabled it.
    pub disabled: bool,
    /// Its working directory is definitely gone.
    pub directory_gone: bool,
    /// For how long its process has existed, in whole seconds.
    pub age: Option<Duration>,
}

/// What is known of a unit from having watched it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// For how long it has been seen up.
    pub up_for: Option<Duration>,
    /// How long the last run that ended was seen up.
    pub last_run: Option<Duration>,
    /// We have taken it out, and not brought it back yet.
    pub taken_out: bool,
}

/// Where a job is in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    active: ActiveState,
    has_job: bool,
    auto_restart: bool,
}

impl Standing {
    const fn plain(active: ActiveState) -> Self {
        Self { active, has_job: false, auto_restart: false }
    }

    fn of(job: &Job) -> Self {
        match job.state.as_str() {
            "running" => Self::plain(ActiveState::Active),
            // Between its fork and its program.
            "xpcproxy" => Self::plain(ActiveState::Activating),
            "spawn scheduled" => Self::respawning(job),
            "waiting" if job.keep_alive => Self::respawning(job),
            // Somebody takes it out, and it has not ended yet.
            "SIGTERMed" | "SIGKILLed" => Self { active: ActiveState::Deactivating, has_job: true, auto_restart: false },
            "not running" | "waiting" => Self::plain(match job.end {
                End::Never | End::Code(0) => ActiveState::Inactive,
                End::Code(_) | End::Signal(_) | End::Reason(_) => ActiveState::Failed,
                End::Unknown => ActiveState::Unknown,
            }),
            _ => Self::plain(ActiveState::Unknown),
        }
    }

    /// It is not loaded. What we have taken out and could not bring back is as ill as before.
    fn out(watched: Watched) -> Self {
        Self::plain(if watched.taken_out { ActiveState::Failed } else { ActiveState::Inactive })
    }

    /// launchd will start it, for the first time or once more.
    fn respawning(job: &Job) -> Self {
        Self { active: ActiveState::Activating, has_job: false, auto_restart: job.runs > 0 }
    }
}

/// What one line of the list says of a unit whose job runs.
pub(super) fn running(unit: UnitName) -> UnitStatus {
    status_of(unit, Standing::plain(ActiveState::Active))
}

/// What a job that does not run says of its unit.
pub(super) fn status(unit: UnitName, job: &Job) -> UnitStatus {
    status_of(unit, Standing::of(job))
}

/// A unit of which launchd said something that cannot be read.
pub(super) fn unknown(unit: UnitName) -> UnitStatus {
    status_of(unit, Standing::plain(ActiveState::Unknown))
}

/// A unit that is being healed just now.
pub(super) fn starting(unit: UnitName) -> UnitStatus {
    status_of(unit, Standing { active: ActiveState::Activating, has_job: true, auto_restart: false })
}

/// A unit whose job is not loaded.
pub(super) fn out(unit: UnitName, watched: Watched) -> UnitStatus {
    status_of(unit, Standing::out(watched))
}

fn status_of(name: UnitName, standing: Standing) -> UnitStatus {
    let Standing { active, has_job, auto_restart } = standing;
    UnitStatus { name, load: Some(LoadState::Loaded), active, has_job, auto_restart }
}

impl Job {
    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        Standing::of(self).active == ActiveState::Active
    }

    /// Whether somebody is taking it out.
    pub fn is_going(&self) -> bool {
        Standing::of(self).active == ActiveState::Deactivating
    }
}

/// What a close look comes to.
pub(super) fn inspection(seen: &Seen, watched: Watched, detail: Detail) -> Inspection {
    let standing = match &seen.job {
        Some(job) => Standing::of(job),
        None => Standing::out(watched),
    };
    let job = seen.job.as_ref();
    let agent = seen.file.agent();
    let is_up = standing.active.is_up();
    Inspection {
        load: match &seen.file {
            File::Agent(_) => LoadState::Loaded,
            File::Missing => LoadState::NotFound,
            File::Unreadable => LoadState::Error,
            File::Wrong => LoadState::BadSetting,
            File::None => LoadState::Unknown,
        },
        active: standing.active,
        has_job: standing.has_job,
        // Both are short of the truth: one began when it was first seen, the other counts whole seconds.
        up_for: watched.up_for.max(seen.age).filter(|_| is_up),
        at: Duration::ZERO,
        fall: None,
        down_for: None,
        began: None,
        transition: None,
        result: match job.map(|job| &job.end) {
            None | Some(End::Never | End::Code(0)) => ServiceResult::Success,
            Some(End::Code(_)) => ServiceResult::ExitCode,
            Some(End::Signal(_)) => ServiceResult::Signal,
            Some(End::Reason(reason)) if reason.starts_with("JETSAM") => ServiceResult::OomKill,
            Some(End::Reason(_)) => ServiceResult::Resources,
            Some(End::Unknown) => ServiceResult::Unknown,
        },
        // Whether it starts a job again launchd never refuses: there is nothing to conclude from this.
        restart: RestartPolicy::No,
        restart_prevented: None,
        oneshot: agent.is_some_and(|agent| agent.on_demand),
        file: agent.filter(|_| detail.file).map(|agent| UnitFile {
            // Taken out, a job is left disabled, so that says nothing then.
            enabled: job.is_none() || !seen.disabled,
            on_demand: agent.on_demand,
            definition: agent.definition,
        }),
        run: (detail.file || detail.stop).then(|| job.and_then(run).unwrap_or_default()),
        restarts: job
            .filter(|_| detail.restarts || standing.auto_restart)
            .map(|job| Restarts { count: job.runs.saturating_sub(1), last_run: watched.last_run }),
        auto_restart: standing.auto_restart,
        pulls_in: Vec::new(),
        conflicts: Vec::new(),
        stopped_groups: Vec::new(),
        triggers: Vec::new(),
        failed_sockets: Vec::new(),
        clearable: true,
        since: None,
        working_directory: agent.and_then(|agent| agent.working_directory.clone()),
        directory_gone: seen.directory_gone,
        container: false,
        parents: Vec::new(),
        stop: detail.stop.then(|| stop_evidence(seen, watched)),
    }
}

/// An id of the last run.
fn run(job: &Job) -> Option<String> {
    (job.runs > 0).then(|| format!("{}.{}", job.coalition.unwrap_or(0), job.runs))
}

/// Whether somebody has stopped it. On launchd people do that by taking a job out, by disabling it, or by
/// removing its plist; some send it SIGTERM.
fn stop_evidence(seen: &Seen, watched: Watched) -> StopEvidence {
    let Some(job) = &seen.job else {
        return if watched.taken_out && seen.file != File::Missing {
            StopEvidence::NotRequested
        } else {
            StopEvidence::Requested
        };
    };
    match &job.end {
        _ if seen.file == File::Missing || seen.disabled => StopEvidence::Requested,
        // That end was of a run before.
        _ if matches!(Standing::of(job).active, ActiveState::Active | ActiveState::Activating) => {
            StopEvidence::NotRequested
        }
        end if TOLD_TO_END.contains(end) => StopEvidence::Requested,
        End::Code(0) => StopEvidence::Unknown("launchd does not tell whether it was stopped or ended by itself".into()),
        End::Never => StopEvidence::Unknown("it has not run since it was loaded".into()),
        End::Unknown => StopEvidence::Unknown("what launchd says of its end cannot be read".into()),
        End::Code(_) | End::Signal(_) | End::Reason(_) => StopEvidence::NotRequested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, end: End) -> Job {
        Job { state: state.into(), pid: None, plist: None, runs: 7, end, keep_alive: false, coalition: Some(3) }
    }

    fn active(state: &str, end: End) -> (ActiveState, bool) {
        let standing = Standing::of(&job(state, end));
        (standing.active, standing.auto_restart)
    }

    fn look(job: Option<Job>, file: File) -> Seen {
        Seen { job, file, disabled: false, directory_gone: false, age: None }
    }

    #[test]
    fn each_of_launchds_states_has_its_place() {
        use ActiveState::{Activating, Active, Deactivating, Failed, Inactive, Unknown};
        assert_eq!(active("running", End::Code(1)), (Active, false));
        assert_eq!(active("xpcproxy", End::Never), (Activating, false));
        assert_eq!(active("spawn scheduled", End::Code(1)), (Activating, true));
        assert_eq!(active("SIGTERMed", End::Never), (Deactivating, false));
        assert_eq!(active("not running", End::Never), (Inactive, false));
        assert_eq!(active("not running", End::Code(0)), (Inactive, false));
        assert_eq!(active("not running", End::Code(78)), (Failed, false));
        assert_eq!(active("not running", End::Signal(9)), (Failed, false));
        assert_eq!(active("waiting", End::Code(1)), (Failed, false));
        assert_eq!(active("not running", End::Unknown), (Unknown, false));
        assert_eq!(active("a state of a later macOS", End::Code(1)), (Unknown, false));
        let kept = Job { keep_alive: true, ..job("waiting", End::Code(1)) };
        assert!(Standing::of(&kept).auto_restart, "launchd starts it when it sees fit");
    }

    #[test]
    fn a_stop_is_told_from_a_crash() {
        let evidence = |seen: &Seen, taken_out| stop_evidence(seen, Watched { taken_out, ..Watched::default() });
        let crashed = || job("not running", End::Signal(9));
        let of_file = |job| look(job, File::None);
        assert_eq!(evidence(&of_file(Some(crashed())), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Code(1)))), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Code(143)))), false), StopEvidence::Requested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Signal(15)))), false), StopEvidence::Requested);
        assert_eq!(evidence(&look(Some(crashed()), File::Missing), false), StopEvidence::Requested);
        assert_eq!(evidence(&Seen { disabled: true, ..of_file(Some(crashed())) }, false), StopEvidence::Requested);
        assert_eq!(evidence(&of_file(Some(job("running", End::Signal(15)))), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(None), false), StopEvidence::Requested, "it was taken out");
        assert_eq!(evidence(&of_file(None), true), StopEvidence::NotRequested, "by us");
        assert_eq!(evidence(&look(None, File::Missing), true), StopEvidence::Requested);
        for end in [End::Code(0), End::Never, End::Unknown] {
            assert!(matches!(evidence(&of_file(Some(job("not running", end))), false), StopEvidence::Unknown(_)));
        }
    }
}
