//! Maps launchd's jobs to units.
//!
//! launchd has neither a start limit nor dependencies, and its jobs have no times of going down: those fields are
//! empty. It throttles a job that keeps crashing and never gives up, which is a crash loop. A job that is `not running`
//! is unhealthy if it is [meant](super::starts) to be up: launchd puts off starts that are not demanded, for minutes or
//! forever.

use std::time::Duration;

use super::answers::{End, Job};
use super::plist::{Agent, File};
use super::said::said;
use super::seen::{Seen, meant};
use super::starts::Meant;
use crate::core::units::{
    ActiveState, Detail, Inspection, LoadState, RestartPolicy, Restarts, ServiceResult, StopEvidence, TriggerUnit,
    UnitFile, UnitName, UnitStatus,
};

/// Signals and exit statuses of a job that was asked to end: `launchctl stop` and `launchctl kill` send SIGTERM, a
/// terminal SIGINT; a shell passes that on as a status. A crash is none of these.
const TOLD_TO_END: [End; 4] = [End::Signal(15), End::Signal(2), End::Code(143), End::Code(130)];

/// What is known about a unit from earlier lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// How long it has been seen up.
    pub up_for: Option<Duration>,
    /// How long the last run was seen up.
    pub last_run: Option<Duration>,
    /// Whether we have booted it out, and not loaded it again yet.
    pub taken_out: bool,
}

/// Where a job is in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LifeCycle {
    active: ActiveState,
    has_job: bool,
    auto_restart: bool,
}

impl LifeCycle {
    const fn plain(active: ActiveState) -> Self {
        Self { active, has_job: false, auto_restart: false }
    }

    fn of(job: &Job, agent: Option<&Agent>, directory_gone: bool) -> Self {
        match job.state.as_str() {
            "running" => Self::plain(ActiveState::Active),
            // Between its fork and its program.
            "xpcproxy" => Self::plain(ActiveState::Activating),
            // It was booted out, and has not ended yet.
            "SIGTERMed" | "SIGKILLed" => Self { active: ActiveState::Deactivating, has_job: true, auto_restart: false },
            _ if agent.is_some_and(|agent| agent.by_podman) => Self::plain(ActiveState::Inactive),
            // launchd's further attempts are useless.
            "spawn scheduled" if job.spawn_failed || directory_gone => Self::plain(ActiveState::Failed),
            "spawn scheduled" => Self::respawning(job),
            "waiting" if meant(job, agent) == Meant::Up => Self::respawning(job),
            "not running" | "waiting" => Self::plain(match (meant(job, agent), &job.end) {
                (Meant::Up, _) => ActiveState::Failed,
                // It may have ended because the condition no longer holds.
                (Meant::Condition(_), _) | (_, End::Never | End::Code(0)) => ActiveState::Inactive,
                (_, End::Code(_) | End::Signal(_) | End::Reason(_)) => ActiveState::Failed,
                (_, End::Unknown) => ActiveState::Unknown,
            }),
            _ => Self::plain(ActiveState::Unknown),
        }
    }

    /// It is not loaded. A job that we booted out and could not load again is still unhealthy.
    fn out(watched: Watched, is_new: bool) -> Self {
        let active = if watched.taken_out { ActiveState::Failed } else { ActiveState::Inactive };
        Self { active, has_job: is_new && !watched.taken_out, auto_restart: false }
    }

    fn of_seen(seen: &Seen, watched: Watched) -> Self {
        match &seen.job {
            Some(job) => Self::of(job, seen.file.agent(), seen.directory_gone),
            None => Self::out(watched, seen.is_new),
        }
    }

    /// launchd will start it, for the first time or once more.
    fn respawning(job: &Job) -> Self {
        Self { active: ActiveState::Activating, has_job: false, auto_restart: job.runs > 0 }
    }
}

/// The status of a unit whose job runs.
pub(super) fn running(unit: UnitName) -> UnitStatus {
    status_of(unit, LifeCycle::plain(ActiveState::Active))
}

/// The status of a unit by its job.
pub(super) fn status(unit: UnitName, seen: &Seen, watched: Watched) -> UnitStatus {
    status_of(unit, LifeCycle::of_seen(seen, watched))
}

/// The status of a unit whose job cannot be parsed.
pub(super) fn unknown(unit: UnitName) -> UnitStatus {
    status_of(unit, LifeCycle::plain(ActiveState::Unknown))
}

/// The status of a unit that is being healed.
pub(super) fn starting(unit: UnitName) -> UnitStatus {
    status_of(unit, LifeCycle { active: ActiveState::Activating, has_job: true, auto_restart: false })
}

/// The status of a unit whose job is not loaded. `is_new`: its plist was written just now.
pub(super) fn out(unit: UnitName, watched: Watched, is_new: bool) -> UnitStatus {
    status_of(unit, LifeCycle::out(watched, is_new))
}

fn status_of(name: UnitName, life_cycle: LifeCycle) -> UnitStatus {
    let LifeCycle { active, has_job, auto_restart } = life_cycle;
    UnitStatus { name, load: Some(LoadState::Loaded), active, has_job, auto_restart }
}

/// The inspection of a job.
pub(super) fn inspection(seen: &Seen, watched: Watched, detail: Detail) -> Inspection {
    let life_cycle = LifeCycle::of_seen(seen, watched);
    let job = seen.job.as_ref();
    let agent = seen.file.agent();
    let is_up = life_cycle.active.is_up();
    Inspection {
        load: match &seen.file {
            File::Agent(_) => LoadState::Loaded,
            File::Missing => LoadState::NotFound,
            File::Unreadable => LoadState::Error,
            File::Wrong => LoadState::BadSetting,
            File::None => LoadState::Unknown,
        },
        active: life_cycle.active,
        has_job: life_cycle.has_job,
        // Both may be too short: one began when it was first seen, the other counts whole seconds.
        up_for: watched.up_for.max(seen.age).filter(|_| is_up),
        at: Duration::ZERO,
        deactivation: None,
        down_for: None,
        skipped: None,
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
        // launchd never refuses a restart: this has no meaning.
        restart: RestartPolicy::No,
        restart_prevented: None,
        oneshot: agent.is_some_and(|agent| agent.starts.trigger.is_some() && !agent.starts.is_kept_up()),
        file: agent.filter(|_| detail.file).map(|agent| UnitFile {
            enabled: !seen.disabled,
            on_demand: agent.by_podman || agent.starts.waits(),
            waits_with_targets: false,
            definition: agent.definition,
        }),
        run: (detail.file || detail.stop).then(|| job.and_then(run).unwrap_or_default()),
        restarts: job.filter(|_| detail.restarts || life_cycle.auto_restart).map(|job| Restarts {
            count: job.runs.saturating_sub(1),
            last_run: watched.last_run,
            delay: None,
            status: 0,
        }),
        auto_restart: life_cycle.auto_restart,
        pulls_in: Vec::new(),
        conflicts: Vec::new(),
        displaced_by: None,
        has_conflicts: false,
        stopped_groups: Vec::new(),
        triggers: agent.and_then(|agent| agent.starts.trigger).map(trigger).into_iter().collect(),
        clearable: true,
        since: None,
        working_directory: agent.and_then(|agent| agent.working_directory.clone()),
        directory_gone: seen.directory_gone && !agent.is_some_and(|agent| agent.by_podman),
        container: false,
        parents: Vec::new(),
        stop: detail.stop.then(|| stop_evidence(seen, watched)),
        said: Some(Box::new(said(seen))),
    }
}

/// A trigger is a key of the job itself, and never down.
fn trigger(key: &str) -> TriggerUnit {
    TriggerUnit { name: key.to_owned(), active: ActiveState::Active }
}

/// An id of the last run.
fn run(job: &Job) -> Option<String> {
    (job.runs > 0).then(|| format!("{}.{}", job.coalition.unwrap_or(0), job.runs))
}

/// Whether it was stopped. On launchd, a job is stopped by booting it out, by disabling it, or by removing its plist.
/// SIGTERM is a stop, too, unless launchd keeps the job alive and restarts it.
fn stop_evidence(seen: &Seen, watched: Watched) -> StopEvidence {
    if seen.file == File::Missing || seen.disabled {
        return StopEvidence::Requested;
    }
    let Some(job) = &seen.job else {
        return if watched.taken_out { StopEvidence::NotRequested } else { StopEvidence::Requested };
    };
    let active = LifeCycle::of_seen(seen, watched).active;
    match (meant(job, seen.file.agent()), &job.end) {
        // That end was of an earlier run.
        _ if matches!(active, ActiveState::Active | ActiveState::Activating) => StopEvidence::NotRequested,
        (Meant::Up, _) => StopEvidence::NotRequested,
        (_, end) if TOLD_TO_END.contains(end) => StopEvidence::Requested,
        (Meant::Condition(key), _) => StopEvidence::Unknown(format!("launchd starts it once its {key} holds")),
        // It is left to the trigger in any case.
        (Meant::Trigger(_), _) => StopEvidence::NotRequested,
        (Meant::Down, End::Code(0)) => {
            StopEvidence::Unknown("launchd does not tell whether it was stopped or ended by itself".into())
        }
        (Meant::Down, End::Never) => StopEvidence::Unknown("it has not run since it was loaded".into()),
        (Meant::Down, End::Unknown) => StopEvidence::Unknown("what launchd says of its end cannot be read".into()),
        (Meant::Down, End::Code(_) | End::Signal(_) | End::Reason(_)) => StopEvidence::NotRequested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::launchd::starts::{Ends, Starts};

    fn job(state: &str, end: End) -> Job {
        Job {
            state: state.into(),
            pid: None,
            plist: None,
            runs: 7,
            end,
            keep_alive: false,
            pended: None,
            spawn_failed: false,
            coalition: Some(3),
        }
    }

    fn active(state: &str, end: End) -> (ActiveState, bool) {
        let life_cycle = LifeCycle::of(&job(state, end), None, false);
        (life_cycle.active, life_cycle.auto_restart)
    }

    fn kept() -> Agent {
        Agent::that_starts(Starts { at_load: true, again_after: Ends::ALL, ..Starts::default() })
    }

    fn inspect(job: Option<Job>, file: File) -> Seen {
        Seen { job, file, ..Seen::default() }
    }

    #[test]
    fn each_of_launchds_states_has_its_place() {
        use ActiveState::{Activating, Active, Deactivating, Failed, Inactive, Unknown};
        assert_eq!(active("running", End::Code(1)), (Active, false));
        assert_eq!(active("running", End::Signal(15)), (Active, false), "that signal is history");
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
        let waiting = LifeCycle::of(&job("waiting", End::Code(1)), Some(&kept()), false);
        assert!(waiting.auto_restart, "launchd starts it when it sees fit");
    }

    #[test]
    fn a_keep_alive_job_that_does_not_run_is_unhealthy_however_it_ended() {
        for end in [End::Never, End::Code(0), End::Code(1), End::Code(143), End::Signal(15), End::Signal(9)] {
            let seen = inspect(Some(job("not running", end.clone())), File::Agent(kept()));
            let life_cycle = LifeCycle::of_seen(&seen, Watched::default());
            assert_eq!(life_cycle.active, ActiveState::Failed, "{end:?}");
            assert_eq!(stop_evidence(&seen, Watched::default()), StopEvidence::NotRequested, "{end:?}");
            let disabled = Seen { disabled: true, ..seen };
            assert_eq!(stop_evidence(&disabled, Watched::default()), StopEvidence::Requested);
        }
    }

    #[test]
    fn a_job_that_waits_for_a_condition_is_left_to_launchd() {
        let inspected = |starts, end| {
            let seen = inspect(Some(job("not running", end)), File::Agent(Agent::that_starts(starts)));
            inspection(&seen, Watched::default(), Detail::ALL)
        };
        let path = Starts { condition: Some("PathState"), ..Starts::default() };
        assert_eq!(inspected(path, End::Signal(9)).active, ActiveState::Inactive);
        let interval = Starts { trigger: Some("StartInterval"), ..Starts::default() };
        let failed = inspected(interval, End::Code(1));
        assert_eq!((failed.active, failed.oneshot), (ActiveState::Failed, true));
        assert_eq!(failed.triggers, [trigger("StartInterval")]);
        assert!(failed.file.is_some_and(|file| file.on_demand));
        let podmans = Agent { by_podman: true, ..Agent::that_starts(Starts::default()) };
        let seen = inspect(Some(job("not running", End::Code(125))), File::Agent(podmans));
        let left = inspection(&seen, Watched::default(), Detail::ALL);
        assert_eq!((left.active, left.file.map(|file| file.on_demand)), (ActiveState::Inactive, Some(true)));
        assert!(left.said.and_then(|said| said.left_to).is_some_and(|it| it.contains("podman")));
    }

    #[test]
    fn spawn_failures_and_missing_directories_are_no_crash_loops() {
        let failed = Job { spawn_failed: true, ..job("spawn scheduled", End::Code(78)) };
        assert_eq!(LifeCycle::of(&failed, Some(&kept()), false), LifeCycle::plain(ActiveState::Failed));
        let looping = job("spawn scheduled", End::Code(1));
        assert!(LifeCycle::of(&looping, Some(&kept()), false).auto_restart);
        assert_eq!(LifeCycle::of(&looping, Some(&kept()), true), LifeCycle::plain(ActiveState::Failed));
    }

    #[test]
    fn a_plist_that_was_just_written_is_left_to_lerd() {
        let (own, lerds) = (Watched { taken_out: true, ..Watched::default() }, Watched::default());
        assert!(LifeCycle::out(lerds, true).has_job);
        assert!(!LifeCycle::out(lerds, false).has_job && !LifeCycle::out(own, true).has_job);
    }

    #[test]
    fn a_stop_is_distinguished_from_a_crash() {
        let evidence = |seen: &Seen, taken_out| stop_evidence(seen, Watched { taken_out, ..Watched::default() });
        let crashed = || job("not running", End::Signal(9));
        let of_file = |job| inspect(job, File::None);
        assert_eq!(evidence(&of_file(Some(crashed())), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Code(1)))), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Code(143)))), false), StopEvidence::Requested);
        assert_eq!(evidence(&of_file(Some(job("not running", End::Signal(15)))), false), StopEvidence::Requested);
        assert_eq!(evidence(&inspect(Some(crashed()), File::Missing), false), StopEvidence::Requested);
        assert_eq!(evidence(&Seen { disabled: true, ..of_file(Some(crashed())) }, false), StopEvidence::Requested);
        assert_eq!(evidence(&of_file(Some(job("running", End::Signal(15)))), false), StopEvidence::NotRequested);
        assert_eq!(evidence(&of_file(None), false), StopEvidence::Requested, "it was taken out");
        assert_eq!(evidence(&of_file(None), true), StopEvidence::NotRequested, "by us");
        assert_eq!(evidence(&inspect(None, File::Missing), true), StopEvidence::Requested);
        for end in [End::Code(0), End::Never, End::Unknown] {
            assert!(matches!(evidence(&of_file(Some(job("not running", end))), false), StopEvidence::Unknown(_)));
        }
    }
}
