//! The rules, one at a time and against each other.

mod stops;

use super::*;
use crate::pauses::{Pauses, Target};
use crate::policy::Policy;
use crate::registry::{Registry, Site};
use crate::units::{ActiveState, Parent, Restarts, ServiceResult, StoppedGroup, TriggerUnit};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

fn crashed() -> Inspection {
    Inspection::crashed()
}

const ENABLED: UnitFile = UnitFile { enabled: true, on_demand: false, waits_with_targets: false, definition: 1 };
const DISABLED: UnitFile = UnitFile { enabled: false, ..ENABLED };

/// A worker without a history, except that it was enabled when it failed.
fn unknown() -> History<'static> {
    History { at_failure: Some(ENABLED), ..History::default() }
}

fn judged(seen: &Inspection, history: History<'_>) -> Judgement {
    judged_under(seen, history, &Policy::default(), &Pauses::default())
}

fn judged_under(seen: &Inspection, history: History<'_>, policy: &Policy, pauses: &Pauses) -> Judgement {
    let context = Context {
        policy: policy.clone(),
        registry: Arc::new(Registry::from_iter([Site::new("myapp", "/srv/myapp")])),
        pauses: pauses.clone(),
        ..Context::default()
    };
    let unit = UnitName::parse("lerd-queue-myapp").unwrap();
    let worker = Worker { site: "myapp".into(), name: "queue".into(), worktree: None };
    Case { context: &context, unit: &unit, worker: &worker, seen, history }.judge()
}

fn by_rule(seen: &Inspection) -> Judgement {
    judged(seen, unknown())
}

fn is(state: State, verdict: Verdict) -> Judgement {
    Judgement { state: Some(state), verdict }
}

const WELL: Judgement = Judgement { state: None, verdict: Verdict::Well };

#[test]
fn a_refused_restart_is_known_by_the_policy_that_would_have_made_it() {
    use RestartPolicy::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
    use ServiceResult::{ExitCode, Protocol, Signal, Success, Timeout, Watchdog};
    for (restart, result, refused) in [
        (No, ExitCode, false),
        (Always, ExitCode, true),
        (Always, Success, true),
        (OnFailure, ExitCode, true),
        (OnFailure, Protocol, true),
        (OnAbnormal, ExitCode, false),
        (OnAbnormal, Timeout, true),
        (OnAbort, Signal, true),
        (OnAbort, ExitCode, false),
        (OnWatchdog, Watchdog, true),
        (OnWatchdog, Signal, false),
        (OnSuccess, ExitCode, false),
        (RestartPolicy::Unknown, ExitCode, false),
        (Always, ServiceResult::Unknown, false),
        (No, ServiceResult::StartLimitHit, true),
    ] {
        let state = if refused { State::StartLimitHit } else { State::Failed };
        let unit = Inspection { result, restart, ..crashed() };
        assert_eq!(by_rule(&unit), is(state, Verdict::Start), "{restart:?} {result:?}");
    }
    let prevented = Inspection { restart: Always, restart_prevented: Some("status 78".into()), ..crashed() };
    let why = Unrecoverable::RestartPrevented("status 78".into());
    assert_eq!(by_rule(&prevented), is(State::Failed, Verdict::Unrecoverable(why)));
}

#[test]
fn the_most_important_reason_is_given() {
    let parent = Parent { name: "db.service".into(), active: ActiveState::Activating, ..Parent::default() };
    let mut unit = Inspection {
        stop: Some(StopEvidence::Requested),
        load: LoadState::Masked,
        file: Some(DISABLED),
        has_job: true,
        ..crashed()
    };
    let failed = |verdict| is(State::Failed, verdict);
    assert_eq!(by_rule(&unit), failed(Verdict::Stopped));
    unit.parents = vec![parent.clone()];
    unit.stop = Some(StopEvidence::Unknown("no journal".into()));
    assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::Masked)));
    unit.load = LoadState::Loaded;
    assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::Disabled)));
    unit.file = Some(ENABLED);
    assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::JobPending)));
    unit.has_job = false;
    assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::ParentDown(parent))));
    unit.parents.clear();
    assert_eq!(by_rule(&unit), failed(Verdict::Held(Refusal::StopUnknown("no journal".into()))));
    unit.stop = None;
    let tried = |attempts, wait| judged(&unit, History { attempts, wait, ..unknown() });
    assert_eq!(tried(10, Duration::from_secs(1)), failed(Verdict::Exhausted(10)));
    assert_eq!(tried(9, Duration::from_secs(1)), failed(Verdict::Wait(Duration::from_secs(1))));
    assert_eq!(tried(9, Duration::ZERO), failed(Verdict::Start));
    let mut pauses = Pauses::default();
    pauses.pause(Target::Site("myapp".into()), None);
    let held = judged_under(&unit, unknown(), &Policy::default(), &pauses);
    assert!(matches!(held.verdict, Verdict::Held(Refusal::Paused(_))), "{held:?}");
    let unwanted = Policy { states: vec![], ..Policy::default() };
    let shown = judged_under(&unit, unknown(), &unwanted, &Pauses::default());
    assert_eq!(shown.verdict, Verdict::Held(Refusal::StateNotHealed(State::Failed)));
}

/// The default type is `simple`, and a job that a timer starts is often left at that.
#[test]
fn a_failed_job_without_restarts_is_left_to_its_timer_and_a_worker_with_a_socket_is_not() {
    for (restart, trigger, is_left) in [
        (RestartPolicy::No, "app-bill.timer", true),
        (RestartPolicy::OnFailure, "app-bill.timer", false),
        (RestartPolicy::No, "app-bill.socket", false),
    ] {
        let triggers = vec![TriggerUnit { name: trigger.into(), active: ActiveState::Active }];
        let failed = Inspection { restart, triggers, ..crashed() };
        let judgement = by_rule(&failed);
        assert_eq!(matches!(judgement.verdict, Verdict::Held(Refusal::LeftToTrigger(_))), is_left, "{judgement:?}");
    }
}

/// Such as `queue:work --max-jobs=100`.
#[test]
fn a_worker_that_ends_without_error_and_is_started_again_is_in_no_crash_loop() {
    use ServiceResult::{ExitCode, Signal, Success};
    let loops = Some(State::CrashLooping);
    for (result, status, state) in [
        (Success, 0, None),
        // By `SuccessExitStatus=1`: what its author calls a success is an end all the same.
        (Success, 1, loops),
        (ExitCode, 1, loops),
        (Signal, 9, loops),
    ] {
        let restarts = Some(Restarts { count: 60, last_run: Some(Duration::from_secs(1)), delay: None, status });
        let waits = Inspection { active: ActiveState::Activating, auto_restart: true, restarts, result, ..crashed() };
        assert_eq!(by_rule(&waits).state, state, "{result}, status {status}");
        // The manager forgets it with the next start.
        for (active, up_for) in [(ActiveState::Activating, None), (ActiveState::Active, Some(Duration::ZERO))] {
            let runs = Inspection { active, up_for, auto_restart: false, result: Success, ..waits.clone() };
            let history = History { ends_cleanly: state.is_none(), ..unknown() };
            assert_eq!(judged(&runs, history).state, state, "{active} after {result}, status {status}");
        }
    }
}

#[test]
fn a_worker_is_expected_to_be_up_if_it_is_enabled_and_nothing_else_decides() {
    let policy = Policy { states: vec![State::ExpectedButStopped], ..Policy::default() };
    let judged = |seen: &Inspection| judged_under(seen, unknown(), &policy, &Pauses::default());
    let ended = Inspection {
        active: ActiveState::Inactive,
        file: Some(ENABLED),
        stop: Some(StopEvidence::NotRequested),
        ..crashed()
    };
    assert_eq!(judged(&ended), is(State::ExpectedButStopped, Verdict::Start));
    assert_eq!(
        by_rule(&ended),
        is(State::ExpectedButStopped, Verdict::Held(Refusal::StateNotHealed(State::ExpectedButStopped)))
    );
    let requested = Inspection { stop: Some(StopEvidence::Requested), ..ended.clone() };
    assert_eq!(judged(&requested).verdict, Verdict::Stopped);
    // What was seen counts, whether or not the journal is there to confirm it.
    let silent = Inspection { stop: Some(StopEvidence::Unknown("?".into())), ..ended.clone() };
    let seen = History { stop_seen: true, ..unknown() };
    assert_eq!(judged_under(&silent, seen, &policy, &Pauses::default()).verdict, Verdict::Stopped);
    for well in [
        Inspection { file: Some(DISABLED), ..ended.clone() },
        Inspection { file: Some(UnitFile { on_demand: true, ..ENABLED }), ..ended.clone() },
        Inspection { file: None, ..ended.clone() },
        Inspection { oneshot: true, ..ended.clone() },
        Inspection { stop: Some(StopEvidence::Unknown("?".into())), ..ended.clone() },
    ] {
        assert_eq!(judged(&well), WELL, "{well:?}");
    }
}

#[test]
fn a_worker_that_is_enabled_for_a_target_which_was_not_started_waits_with_it() {
    let waits = Inspection {
        active: ActiveState::Inactive,
        result: ServiceResult::Success,
        file: Some(UnitFile { waits_with_targets: true, ..ENABLED }),
        run: Some(String::new()),
        deactivation: None,
        stop: Some(StopEvidence::NotRequested),
        ..crashed()
    };
    assert_eq!(by_rule(&waits), WELL);
    let request = History { trigger: Trigger::Request, ..unknown() };
    assert_eq!(judged(&waits, request), is(State::ExpectedButStopped, Verdict::Start));
    // Its start was requested, and failed with a unit that it needs.
    let kept = Inspection { stop: Some(StopEvidence::KeptFromStarting), ..waits.clone() };
    assert_eq!(by_rule(&kept), is(State::ExpectedButStopped, Verdict::Start));
    // It ran, which the manager has forgotten.
    let was_up = History { was_up: true, ..unknown() };
    assert_ne!(judged(&waits, was_up), WELL);
}

#[test]
fn a_failed_oneshot_is_started_by_name_and_otherwise_left_to_its_trigger() {
    let request = || History { trigger: Trigger::Request, ..unknown() };
    let timer = TriggerUnit { name: "app.timer".into(), active: ActiveState::Active };
    let triggered = Inspection { oneshot: true, triggers: vec![timer.clone()], ..crashed() };
    let held = Verdict::Held(Refusal::LeftToTrigger(timer));
    assert_eq!(by_rule(&triggered), is(State::Failed, held));
    assert_eq!(judged(&triggered, request()), is(State::Failed, Verdict::Start));
    let alone = Inspection { oneshot: true, ..crashed() };
    assert_eq!(by_rule(&alone), is(State::Failed, Verdict::Held(Refusal::OneshotEnded)));
    assert_eq!(judged(&alone, request()), is(State::Failed, Verdict::Start));
}

#[test]
fn an_instance_that_serves_one_connection_is_left_to_its_socket() {
    let context = Context::default();
    let worker = Worker { site: String::new(), name: "app".into(), worktree: None };
    for (unit, socket, expected) in [
        ("app@1", "app.socket", Verdict::Held(Refusal::LeftToTrigger(waiting("app.socket")))),
        ("app@1", "other.socket", Verdict::Start),
        ("app", "app.socket", Verdict::Start),
    ] {
        let unit = UnitName::parse(unit).unwrap();
        let seen = Inspection { triggers: vec![waiting(socket)], ..crashed() };
        let case = Case { context: &context, unit: &unit, worker: &worker, seen: &seen, history: unknown() };
        assert_eq!(case.judge(), is(State::Failed, expected), "{unit} and {socket}");
    }
}

#[test]
fn a_start_is_overdue_once_it_exceeds_its_limit() {
    use crate::units::Transition;
    let limit = Duration::from_secs(90);
    let takes = |lasts| {
        let transition = Some(Transition { lasts, limit: Some(limit) });
        by_rule(&Inspection { active: ActiveState::Activating, transition, ..crashed() }).state
    };
    assert_eq!(takes(limit), None);
    assert_eq!(takes(limit + Duration::from_millis(1)), Some(State::Stuck));
}

#[test]
fn without_its_directory_a_worker_is_an_orphan() {
    let gone = Inspection { directory_gone: true, working_directory: Some("/srv/gone".into()), ..crashed() };
    let held = Verdict::Held(Refusal::DirectoryGone("/srv/gone".into()));
    assert_eq!(by_rule(&gone), is(State::Orphaned, held.clone()));
    // Its unit file went with the directory, and it still runs: neither is worth an attempt, nor a give-up.
    let removed = Inspection { load: LoadState::NotFound, active: ActiveState::Active, ..gone };
    assert_eq!(by_rule(&removed), is(State::Orphaned, held));
}

#[test]
fn a_unit_in_a_crash_loop_is_left_to_the_manager() {
    let minute = Duration::from_secs(60);
    let looping = |count, last_run| Inspection {
        active: ActiveState::Activating,
        auto_restart: true,
        has_job: true,
        restarts: Some(Restarts { count, last_run, delay: None, status: 1 }),
        ..crashed()
    };
    let held = is(State::CrashLooping, Verdict::Held(Refusal::CrashLooping(7)));
    assert_eq!(by_rule(&looping(7, Some(minute))), held);
    assert_eq!(by_rule(&looping(7, None)), held);
    assert_eq!(by_rule(&looping(4, Some(minute))), WELL);
    assert_eq!(by_rule(&looping(7, Some(10 * minute))), WELL, "its last run was a long one");
}

#[test]
fn a_worker_that_does_not_answer_is_restarted() {
    let up = Inspection { active: ActiveState::Active, up_for: Some(Duration::from_secs(60)), ..crashed() };
    assert_eq!(by_rule(&up), WELL);
    let silent = History { refuses: Some("127.0.0.1:6001"), ..unknown() };
    assert_eq!(judged(&up, silent), is(State::Unreachable, Verdict::Restart));
}

#[test]
fn a_give_up_lasts_until_the_unit_or_its_run_changes() {
    let given_up = GivenUp { reason: "x".into(), definition: Some(1), run: Some("a".into()) };
    let history = History { given_up: Some(&given_up), attempts: 10, ..unknown() };
    let seen = |definition, run: &str| Inspection {
        file: Some(UnitFile { definition, ..ENABLED }),
        run: Some(run.into()),
        ..crashed()
    };
    assert_eq!(judged(&seen(1, "a"), history).verdict, Verdict::GivenUp);
    assert_eq!(judged(&seen(2, "a"), history).verdict, Verdict::Start);
    assert_eq!(judged(&seen(1, "b"), history).verdict, Verdict::Start);
}

fn waiting(trigger: &str) -> TriggerUnit {
    TriggerUnit { name: trigger.to_owned(), active: ActiveState::Active }
}

fn any_inspection() -> impl Strategy<Value = Inspection> {
    let words = (
        prop::sample::select(LoadState::ALL),
        prop::sample::select(ActiveState::ALL),
        prop::sample::select(ServiceResult::ALL),
        prop::sample::select(RestartPolicy::ALL),
    );
    let parents = prop::collection::vec(prop::sample::select(ActiveState::ALL), 0..3);
    (words, any::<[bool; 9]>(), parents, 0u8..4).prop_map(|((load, active, result, restart), flags, parents, stop)| {
        let [has_job, enabled, oneshot, restart_prevented, auto_restart, directory_gone, conflict, triggered, grouped] =
            flags;
        Inspection {
            load,
            active,
            has_job,
            up_for: active.is_up().then_some(Duration::from_secs(1)),
            deactivation: None,
            down_for: None,
            result,
            restart,
            restart_prevented: restart_prevented.then(|| "status 78".into()),
            oneshot,
            file: Some(if enabled { ENABLED } else { DISABLED }),
            run: None,
            restarts: auto_restart.then_some(Restarts { count: 9, last_run: None, delay: None, status: 1 }),
            auto_restart,
            since: None,
            working_directory: directory_gone.then(|| PathBuf::from("/gone")),
            directory_gone,
            container: false,
            parents: parents
                .into_iter()
                .map(|active| Parent { name: "p.service".into(), active, ..Parent::default() })
                .collect(),
            said: None,
            stop: match stop {
                0 => None,
                1 => Some(StopEvidence::Requested),
                2 => Some(StopEvidence::NotRequested),
                _ => Some(StopEvidence::Unknown("?".into())),
            },
            conflicts: conflict.then(|| "maint.service".to_owned()).into_iter().collect(),
            triggers: triggered.then(|| waiting("job.timer")).into_iter().collect(),
            stopped_groups: grouped
                .then(|| StoppedGroup { name: "app.target".into(), left: None })
                .into_iter()
                .collect(),
            ..Inspection::crashed()
        }
    })
}

proptest! {
    #[test]
    fn only_failed_workers_that_may_run_and_were_not_stopped_are_started(unit in any_inspection(), was_enabled: bool) {
        let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
        let judgement = judged(&unit, History { at_failure, ..History::default() });
        prop_assert_ne!(&judgement.verdict, &Verdict::Restart);
        if judgement.verdict == Verdict::Start {
            prop_assert_eq!(unit.active, ActiveState::Failed);
            prop_assert_eq!(unit.load, LoadState::Loaded);
            prop_assert!(!unit.has_job && !unit.directory_gone);
            prop_assert!(unit.parents.iter().all(|parent| parent.active.is_up()));
            // A start that the limit refused was requested after the stop.
            let was_refused = unit.result == ServiceResult::StartLimitHit && unit.triggers.is_empty();
            prop_assert!(was_refused || matches!(unit.stop, None | Some(StopEvidence::NotRequested)));
            prop_assert!(unit.file != Some(DISABLED) || !was_enabled);
            prop_assert!(unit.conflicts.is_empty() && unit.stopped_groups.is_empty());
            prop_assert!(!unit.oneshot || (unit.triggers.is_empty() && unit.restart != RestartPolicy::No));
            prop_assert!(unit.restart_prevented.is_none());
        }
    }

    #[test]
    fn a_request_is_never_refused_where_the_healer_would_start(unit in any_inspection(), was_enabled: bool) {
        let at_failure = Some(UnitFile { enabled: was_enabled, ..ENABLED });
        let rule = judged(&unit, History { at_failure, ..History::default() });
        let person = judged(&unit, History { at_failure, trigger: Trigger::Request, ..History::default() });
        if rule.verdict == Verdict::Start {
            prop_assert_eq!(person, rule);
        }
    }
}

#[test]
fn how_an_earlier_run_ended_does_not_matter_for_a_worker_that_is_up() {
    let up = Inspection {
        active: ActiveState::Active,
        up_for: Some(Duration::from_secs(60)),
        restart_prevented: Some("status 78".into()),
        triggers: vec![waiting("app.timer")],
        ..crashed()
    };
    let refuses = History { refuses: Some("localhost:5173"), ..unknown() };
    let policy = Policy { states: vec![State::Unreachable].into_iter().collect(), ..Policy::default() };
    let judged = judged_under(&up, refuses, &policy, &Pauses::default());
    assert_eq!(judged, is(State::Unreachable, Verdict::Restart));
}

#[test]
fn a_stop_that_ended_in_a_timeout_is_no_refused_restart() {
    let timed_out = Inspection { result: ServiceResult::Timeout, restart: RestartPolicy::OnFailure, ..crashed() };
    assert_eq!(by_rule(&timed_out).state, Some(State::StartLimitHit));
    let stopped = judged(&timed_out, History { stop_seen: true, ..unknown() });
    assert_eq!(stopped, is(State::Failed, Verdict::Stopped));
}
