//! The rules that are easy to get wrong, one test each.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const CRASH: Life = Life::ends(SECOND, Exit::Code(1));

/// A model with its units enabled, so that they stay in memory, and nothing to tell yet.
fn model<const N: usize>(specs: [Spec; N]) -> (Model, [UnitId; N]) {
    let mut model = Model::new();
    let units = specs.map(|spec| model.add("a.service", spec));
    for unit in units {
        model.enable(unit, &mut nothing);
    }
    model.drain_signals();
    (model, units)
}

/// For what starts nothing.
fn nothing(_: UnitId, _: Duration) -> Life {
    panic!("something is started");
}

fn good(_: UnitId, _: Duration) -> Life {
    Life::GOOD
}

fn crash(_: UnitId, _: Duration) -> Life {
    CRASH
}

fn restarted(delay: Duration) -> Spec {
    Spec { restart: Restart::Always, restart_delay: delay, ..Spec::default() }
}

fn child(bond: Bond, after: bool) -> Spec {
    Spec { parents: vec![Dependency { parent: UnitId(0), bond, after }], ..Spec::default() }
}

fn pass(model: &mut Model, time: Duration, lives: &mut Lives<'_>) {
    model.advance(model.now() + time, lives);
}

fn results(model: &mut Model) -> Vec<(UnitId, JobKind, JobResult)> {
    let ended = |signal| match signal {
        Signal::JobRemoved { unit, kind, result, .. } => Some((unit, kind, result)),
        _ => None,
    };
    model.drain_signals().filter_map(ended).collect()
}

#[test]
fn a_simple_service_is_active_at_once_and_failed_after_a_crash() {
    let (mut model, [unit]) = model([Spec::default()]);
    let job = model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    let changed =
        |active, has_job: bool| Signal::Changed { unit, active, auto_restart: false, job: has_job.then_some(job) };
    let told: Vec<Signal> = model.drain_signals().collect();
    assert_eq!(
        told,
        [
            changed(ActiveState::Inactive, true),
            changed(ActiveState::Active, true),
            Signal::JobRemoved { job, unit, kind: JobKind::Start, result: JobResult::Done },
            changed(ActiveState::Active, false),
            changed(ActiveState::Failed, false),
        ]
    );
    assert_eq!(model.unit(unit).result(), ServiceResult::ExitCode);
    assert_eq!(model.unit(unit).last_run(), Some(SECOND));
    assert!(!model.unit(unit).is_stop_logged(1));
}

#[test]
fn after_the_start_limit_the_result_is_still_that_of_the_last_run() {
    let (mut model, [unit]) = model([Spec { start_limit_interval: SECOND * 3600, ..restarted(SECOND) }]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND * 60, &mut crash);
    let it = model.unit(unit);
    assert_eq!((it.active(), it.result(), it.runs()), (ActiveState::Failed, ServiceResult::ExitCode, 5));
    assert_eq!(it.n_restarts(), 5, "the restart that was refused counts");

    // Only what had no failure before is told to have hit it.
    let (mut model, [unit]) = self::model([Spec::default()]);
    for _ in 0..6 {
        model.start(unit, Mode::Replace, &mut good).unwrap();
        model.stop(unit, Mode::Replace, &mut nothing).unwrap();
        pass(&mut model, Duration::ZERO, &mut nothing);
    }
    assert_eq!(model.unit(unit).result(), ServiceResult::StartLimitHit);
    model.reset_failed(unit, &mut nothing).unwrap();
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn the_window_of_the_start_limit_does_not_slide() {
    let (mut model, [unit]) = model([Spec { start_limit_burst: 2, ..Spec::default() }]);
    let mut restart_at = |seconds| {
        model.advance(SECOND * seconds, &mut nothing);
        model.restart(unit, Mode::Replace, &mut good).unwrap();
        pass(&mut model, Duration::ZERO, &mut good);
        model.unit(unit).active() == ActiveState::Active
    };
    assert!(restart_at(0));
    assert!(restart_at(9));
    assert!(restart_at(11), "a window of 10 s began at 0 s, and another one begins here");
    assert!(restart_at(12));
    assert!(!restart_at(13));
}

#[test]
fn a_restart_keeps_its_number_and_tells_of_the_state_in_between() {
    let (mut model, [unit]) = model([Spec::default()]);
    model.start(unit, Mode::Replace, &mut good).unwrap();
    model.drain_signals();
    let job = model.restart(unit, Mode::Replace, &mut good).unwrap();
    pass(&mut model, Duration::ZERO, &mut good);
    let told: Vec<Signal> = model.drain_signals().collect();
    let down = Signal::Changed { unit, active: ActiveState::Inactive, auto_restart: false, job: Some(job) };
    assert!(told.contains(&down), "{told:?}");
    assert!(
        told.contains(&Signal::JobRemoved { job, unit, kind: JobKind::Start, result: JobResult::Done }),
        "{told:?}"
    );
    assert!(model.unit(unit).is_stop_logged(1) && !model.unit(unit).is_stop_logged(2));
}

#[test]
fn a_start_of_what_waits_for_an_automatic_restart_waits_too_and_counts() {
    let (mut model, [unit]) = model([Spec { start_limit_burst: 2, ..restarted(SECOND * 100) }]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    assert!(model.unit(unit).is_auto_restart() && model.unit(unit).job().is_some());
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
}

#[test]
fn a_stop_of_what_waits_for_an_automatic_restart_leaves_it_inactive_with_its_failure() {
    let (mut model, [unit]) = model([restarted(SECOND * 100)]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    let it = model.unit(unit);
    assert_eq!((it.active(), it.result()), (ActiveState::Inactive, ServiceResult::ExitCode));
    assert!(it.is_stop_logged(1), "as stopped, if not as stopping");
    assert_eq!(model.next_event(), None);
}

#[test]
fn a_stop_can_end_in_failure_and_is_not_followed_by_a_restart() {
    let (mut model, [unit]) = model([restarted(SECOND)]);
    let life = Life { stop_takes: Some(SECOND), stop_exit: Exit::Code(1), ..Life::GOOD };
    model.start(unit, Mode::Replace, &mut |_, _| life).unwrap();
    model.drain_signals();
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(model.unit(unit).active(), ActiveState::Deactivating);
    pass(&mut model, SECOND * 10, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
    assert_eq!(results(&mut model), [(unit, JobKind::Stop, JobResult::Done)]);
    assert!(model.unit(unit).is_stop_logged(1));
}

#[test]
fn a_stop_in_mid_start_is_logged_when_it_is_done() {
    let (mut model, [unit]) = model([Spec { kind: Type::Notify, ..Spec::default() }]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { ready_after: None, ..Life::GOOD }).unwrap();
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Inactive);
    assert!(model.unit(unit).is_stop_logged(1));
    assert_eq!(
        results(&mut model),
        [(unit, JobKind::Start, JobResult::Canceled), (unit, JobKind::Stop, JobResult::Done)]
    );
}

#[test]
fn what_ignores_its_stop_is_killed_and_failed() {
    let (mut model, [unit]) = model([Spec::default()]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { stop_takes: None, ..Life::GOOD }).unwrap();
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(model.next_event(), Some(SECOND * 90));
    pass(&mut model, SECOND * 90, &mut nothing);
    assert_eq!(model.unit(unit).result(), ServiceResult::Timeout);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
}

#[test]
fn mode_fail_does_not_cancel_the_stop_of_a_parent() {
    let (mut model, [parent, unit]) = model([Spec::default(), child(Bond::BindsTo, true)]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { stop_takes: Some(SECOND), ..Life::GOOD }).unwrap();
    model.stop(parent, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Inactive, "it goes first");
    assert_eq!(model.unit(parent).active(), ActiveState::Deactivating);
    assert_eq!(model.start(unit, Mode::Fail, &mut nothing), Err(Refusal::Destructive));
    model.drain_signals();
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(results(&mut model), [(parent, JobKind::Stop, JobResult::Canceled)]);
    pass(&mut model, SECOND, &mut good);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn a_parent_that_dies_takes_only_with_it_what_is_bound() {
    for (bond, after) in [(Bond::Requires, ActiveState::Active), (Bond::BindsTo, ActiveState::Inactive)] {
        let (mut model, [parent, unit]) = model([restarted(SECOND), child(bond, true)]);
        model.start(unit, Mode::Replace, &mut good).unwrap();
        model.kill(parent, ProcessSignal::Kill);
        pass(&mut model, Duration::ZERO, &mut nothing);
        assert_eq!(model.unit(unit).active(), after, "{bond:?}");
        assert_eq!(model.unit(unit).is_stop_logged(1), bond == Bond::BindsTo, "it is the manager's stop");
        pass(&mut model, SECOND, &mut good);
        assert_eq!(model.unit(parent).active(), ActiveState::Active);
        assert_eq!(model.unit(unit).active(), after, "it does not come back with its parent ({bond:?})");
        // A parent's restart by the manager is passed on to what is up.
        assert_eq!(model.unit(unit).runs(), if bond == Bond::Requires { 2 } else { 1 });
    }
}

#[test]
fn a_start_needs_its_parents() {
    let (mut model, [parent, unit]) = model([Spec::default(), child(Bond::Requisite, true)]);
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    let expected = [(parent, JobKind::VerifyActive, JobResult::Skipped), (unit, JobKind::Start, JobResult::Dependency)];
    assert_eq!(results(&mut model), expected);

    let notify = Spec { kind: Type::Notify, timeout_start: Some(SECOND), ..Spec::default() };
    let (mut model, [parent, unit]) = self::model([notify, child(Bond::Requires, true)]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { ready_after: None, ..Life::GOOD }).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    let expected = [(parent, JobKind::Start, JobResult::Failed), (unit, JobKind::Start, JobResult::Dependency)];
    assert_eq!(results(&mut model), expected);
    assert_eq!(model.unit(parent).result(), ServiceResult::Timeout);

    model.mask(parent, &mut nothing);
    assert_eq!(model.start(unit, Mode::Replace, &mut nothing), Err(Refusal::Masked));
}

#[test]
fn the_restarts_are_counted_until_a_manual_start() {
    let (mut model, [unit]) = model([restarted(SECOND)]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND * 2, &mut good);
    assert_eq!((model.unit(unit).active(), model.unit(unit).n_restarts()), (ActiveState::Active, 1));
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!(model.unit(unit).n_restarts(), 1);
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(unit).n_restarts(), 0);
}

#[test]
fn a_masked_unit_runs_on_without_its_settings() {
    let (mut model, [unit]) = model([restarted(SECOND)]);
    model.start(unit, Mode::Replace, &mut good).unwrap();
    let definition = model.unit(unit).definition();
    model.mask(unit, &mut nothing);
    assert_ne!(model.unit(unit).definition(), definition);
    let it = model.unit(unit);
    assert_eq!((it.active(), it.load(), it.spec().restart), (ActiveState::Active, LoadState::Masked, Restart::No));
    assert_eq!(model.try_restart(unit, Mode::Replace, &mut nothing), Err(Refusal::Masked));
    model.kill(unit, ProcessSignal::Kill);
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
    model.unmask(unit, &mut nothing);
    assert_eq!(model.unit(unit).spec().restart, Restart::Always);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed, "nobody restarts it now");
}

#[test]
fn what_nobody_refers_to_is_forgotten_when_it_is_down() {
    let mut model = Model::new();
    let parent = model.add("parent.service", Spec::default());
    let unit = model.add("child.service", child(Bond::Requires, true));
    model.start(unit, Mode::Replace, &mut |unit, _| if unit == parent { Life::GOOD } else { CRASH }).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
    model.stop(parent, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert!(model.unit(parent).is_in_memory(), "what has failed stays, and with it what it needs");
    model.drain_signals();
    model.reset_failed(unit, &mut nothing).unwrap();
    let told: Vec<Signal> = model.drain_signals().collect();
    assert!(told.ends_with(&[Signal::UnitRemoved(unit), Signal::UnitRemoved(parent)]), "{told:?}");
    assert_eq!(model.unit(unit).invocation(), None);
    assert_eq!(model.reset_failed(unit, &mut nothing), Err(Refusal::NotLoaded));
}

#[test]
fn a_oneshot_is_activating_while_it_runs() {
    let spec = Spec { kind: Type::Oneshot, timeout_start: None, ..Spec::default() };
    for (remains, end) in [(false, ActiveState::Inactive), (true, ActiveState::Active)] {
        let (mut model, [unit]) = model([Spec { remain_after_exit: remains, ..spec.clone() }]);
        model.start(unit, Mode::Replace, &mut |_, _| Life::ends(SECOND, Exit::Code(0))).unwrap();
        assert_eq!(model.unit(unit).active(), ActiveState::Activating);
        pass(&mut model, SECOND, &mut nothing);
        assert_eq!(model.unit(unit).active(), end);
        assert_eq!(results(&mut model), [(unit, JobKind::Start, JobResult::Done)]);
    }
    let (model, [unit]) = model([Spec { restart: Restart::Always, ..spec }]);
    assert_eq!(model.unit(unit).load(), LoadState::BadSetting);
}

#[test]
fn the_table_of_restart_policies() {
    use Restart::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess, OnWatchdog};
    let kill = Exit::Signal(ProcessSignal::Kill);
    let term = Exit::Signal(ProcessSignal::Term);
    for (exit, restarting) in [
        (Exit::Code(0), &[OnSuccess, Always][..]),
        (term, &[OnSuccess, Always][..]),
        (Exit::Code(1), &[OnFailure, Always][..]),
        (kill, &[OnFailure, OnAbnormal, OnAbort, Always][..]),
    ] {
        for restart in [No, OnSuccess, OnFailure, OnAbnormal, OnAbort, OnWatchdog, Always] {
            let (mut model, [unit]) = model([Spec { restart, ..Spec::default() }]);
            model.start(unit, Mode::Replace, &mut |_, _| Life::ends(SECOND, exit)).unwrap();
            pass(&mut model, SECOND, &mut nothing);
            assert_eq!(model.unit(unit).is_auto_restart(), restarting.contains(&restart), "{exit:?} {restart:?}");
        }
    }
    let prevented = Spec { restart_prevent: vec![Exit::Code(1)], ..restarted(SECOND) };
    let (mut model, [unit]) = model([prevented]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert!(model.unit(unit).active() == ActiveState::Failed && model.unit(unit).is_restart_prevented());
}

#[test]
fn a_start_that_ignores_requirements_concerns_no_other_unit() {
    let oneshot = Spec { kind: Type::Oneshot, ..Spec::default() };
    let (mut model, [parent, unit]) = model([oneshot.clone(), child(Bond::Requires, true)]);
    let mut ends_soon =
        |unit: UnitId, _: Duration| if unit.0 == 0 { Life::ends(SECOND, Exit::Code(0)) } else { Life::GOOD };
    model.start(unit, Mode::IgnoreRequirements, &mut ends_soon).unwrap();
    assert_eq!((model.unit(parent).runs(), model.unit(unit).active()), (0, ActiveState::Active));
    model.kill(unit, ProcessSignal::Kill);
    pass(&mut model, SECOND, &mut nothing);
    model.start(unit, Mode::Replace, &mut ends_soon).unwrap();
    assert_eq!(model.unit(parent).active(), ActiveState::Activating, "a plain start runs it again");
    pass(&mut model, SECOND, &mut ends_soon);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);

    // What is bound to a unit that is down does not start, and nor does it start that.
    let (mut model, [parent, unit]) = self::model([Spec::default(), child(Bond::BindsTo, true)]);
    model.start(unit, Mode::IgnoreRequirements, &mut nothing).unwrap();
    assert_eq!(results(&mut model), [(unit, JobKind::Start, JobResult::Dependency)]);
    assert_eq!(model.unit(parent).active(), ActiveState::Inactive);

    // A stop that has not ended is cancelled.
    let (mut model, [unit]) = self::model([Spec::default()]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { stop_takes: Some(SECOND), ..Life::GOOD }).unwrap();
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    model.drain_signals();
    model.start(unit, Mode::IgnoreRequirements, &mut nothing).unwrap();
    assert_eq!(results(&mut model), [(unit, JobKind::Stop, JobResult::Canceled)]);
}

#[test]
fn what_is_wanted_is_started_too_and_need_not_succeed() {
    let (mut model, [wanted, unit]) = model([Spec::default(), child(Bond::Wants, true)]);
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(wanted).active(), ActiveState::Active);
    model.stop(wanted, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Active, "a stop is not passed on");
    model.mask(wanted, &mut nothing);
    model.restart(unit, Mode::Replace, &mut good).unwrap();
    pass(&mut model, Duration::ZERO, &mut good);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn a_start_stops_what_conflicts_in_either_direction() {
    let (mut model, [partner, unit]) = model([Spec::default(), child(Bond::Conflicts, false)]);
    for (started, stopped) in [(partner, unit), (unit, partner), (partner, unit)] {
        model.start(started, Mode::Replace, &mut good).unwrap();
        pass(&mut model, Duration::ZERO, &mut nothing);
        assert_eq!(model.unit(started).active(), ActiveState::Active);
        assert_eq!(model.unit(stopped).active(), ActiveState::Inactive);
    }
    assert!(model.unit(partner).is_stop_logged(1), "as one that somebody asked for");
    model.start(unit, Mode::IgnoreRequirements, &mut good).unwrap();
    assert_eq!(model.unit(partner).active(), ActiveState::Active);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn a_group_goes_down_as_a_whole_and_members_that_are_down_hear_nothing_of_it() {
    let group = Spec { kind: Type::Target, ..Spec::default() };
    let (mut model, [group, up, down]) = model([group, child(Bond::PartOf, false), child(Bond::PartOf, false)]);
    for unit in [group, up] {
        model.start(unit, Mode::Replace, &mut good).unwrap();
    }
    model.start(down, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    model.drain_signals();
    model.stop(group, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!((model.unit(group).active(), model.unit(up).active()), (ActiveState::Inactive, ActiveState::Inactive));
    let concerns = |signal: &Signal| matches!(*signal, Signal::Changed { unit, .. } | Signal::JobRemoved { unit, .. } if unit == down);
    assert!(!model.drain_signals().any(|signal| concerns(&signal)));
    assert_eq!(model.unit(down).active(), ActiveState::Failed);
}

#[test]
fn what_nobody_needs_any_more_is_stopped_by_the_manager() {
    let pool = Spec { stop_when_unneeded: true, ..Spec::default() };
    let needs = Spec { restart: Restart::Always, restart_delay: SECOND, ..child(Bond::Requires, true) };
    let mut model = Model::new();
    let (pool, unit) = (model.add("pool.service", pool), model.add("unit.service", needs));
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(pool).active(), ActiveState::Active);
    model.kill(unit, ProcessSignal::Kill);
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!(model.unit(pool).active(), ActiveState::Active, "the unit waits to be restarted");
    model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    assert_eq!(model.unit(pool).active(), ActiveState::Inactive);
    assert!(model.unit(pool).is_stop_logged(1));
}

#[test]
fn a_command_that_fails_before_the_start_fails_it_and_is_restarted() {
    let life = Life { pre: Some((SECOND, Exit::Code(1))), ..Life::GOOD };
    let (mut model, [unit]) = model([restarted(SECOND)]);
    model.start(unit, Mode::Replace, &mut |_, _| life).unwrap();
    assert_eq!(model.unit(unit).sub(), SubState::StartPre);
    assert!(!model.kill(unit, ProcessSignal::Kill), "there is no main process");
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(results(&mut model), [(unit, JobKind::Start, JobResult::Failed)]);
    assert!(model.unit(unit).is_auto_restart());
    pass(&mut model, SECOND, &mut |_, _| Life { pre: Some((SECOND, Exit::Code(0))), ..Life::GOOD });
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(unit).sub(), SubState::Running);
}

#[test]
fn what_takes_longer_than_its_job_goes_on() {
    let spec = Spec { kind: Type::Notify, timeout_start: None, job_timeout: Some(SECOND), ..Spec::default() };
    let (mut model, [unit]) = model([spec]);
    model.start(unit, Mode::Replace, &mut |_, _| Life { ready_after: Some(SECOND * 3), ..Life::GOOD }).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(results(&mut model), [(unit, JobKind::Start, JobResult::Timeout)]);
    assert_eq!(model.unit(unit).active(), ActiveState::Activating);
    pass(&mut model, SECOND * 2, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn a_child_that_outlives_its_parent_and_ignores_signals_holds_up_the_end() {
    for (timeout_stop, end) in [(None, ActiveState::Deactivating), (Some(SECOND), ActiveState::Failed)] {
        let (mut model, [unit]) = model([Spec { timeout_stop, ..Spec::default() }]);
        model.start(unit, Mode::Replace, &mut |_, _| Life { leaves_child: true, ..Life::GOOD }).unwrap();
        model.kill(unit, ProcessSignal::Kill);
        pass(&mut model, SECOND * 1000, &mut nothing);
        assert_eq!(model.unit(unit).active(), end);
        assert!(!model.unit(unit).has_process());
    }
}

#[test]
fn a_reload_can_be_the_end_of_a_worker() {
    let spec = Spec { can_reload: true, ..Spec::default() };
    for (code, end) in [(0, ActiveState::Inactive), (1, ActiveState::Failed)] {
        let life = Life { reload_takes: SECOND, reload_exit: Some((SECOND * 2, Exit::Code(code))), ..Life::GOOD };
        let (mut model, [unit]) = model([spec.clone()]);
        model.start(unit, Mode::Replace, &mut |_, _| life).unwrap();
        model.drain_signals();
        model.reload(unit, Mode::Replace, &mut nothing).unwrap();
        assert_eq!(model.unit(unit).active(), ActiveState::Reloading);
        pass(&mut model, SECOND, &mut nothing);
        assert_eq!(model.unit(unit).active(), ActiveState::Active);
        pass(&mut model, SECOND, &mut nothing);
        assert_eq!(model.unit(unit).active(), end);
        assert_eq!(results(&mut model), [(unit, JobKind::Reload, JobResult::Done)]);
        assert!(!model.unit(unit).is_stop_logged(1));
        model.reload(unit, Mode::Replace, &mut nothing).unwrap();
        assert_eq!(results(&mut model), [(unit, JobKind::Reload, JobResult::Invalid)]);
    }
    let (mut model, [unit]) = model([Spec::default()]);
    assert_eq!(model.reload(unit, Mode::Replace, &mut nothing), Err(Refusal::NotApplicable));
}

#[test]
fn a_job_that_does_nothing_is_not_told_as_the_job_of_its_unit() {
    let (mut model, [unit]) = model([Spec::default()]);
    let job = model.try_restart(unit, Mode::Replace, &mut nothing).unwrap();
    let told: Vec<Signal> = model.drain_signals().collect();
    assert_eq!(told, [Signal::JobRemoved { job, unit, kind: JobKind::Nop, result: JobResult::Done }]);
    let job = model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    let told: Vec<Signal> = model.drain_signals().collect();
    let changed = |job| Signal::Changed { unit, active: ActiveState::Inactive, auto_restart: false, job };
    let removed = Signal::JobRemoved { job, unit, kind: JobKind::Stop, result: JobResult::Done };
    assert_eq!(told, [changed(Some(job)), removed, changed(None)]);
}

#[test]
fn what_may_be_started_by_others_only_refuses_a_person() {
    let (mut model, [parent, unit]) =
        model([Spec { refuse_manual_start: true, ..Spec::default() }, child(Bond::Requires, true)]);
    assert_eq!(model.start(parent, Mode::Replace, &mut nothing), Err(Refusal::OnlyByDependency));
    assert_eq!(model.restart(parent, Mode::Replace, &mut nothing), Err(Refusal::OnlyByDependency));
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(parent).active(), ActiveState::Active);
}

#[test]
fn in_a_shutdown_everything_stops_and_nothing_starts() {
    let slow = |_: UnitId, _: Duration| Life { stop_takes: Some(SECOND), ..Life::GOOD };
    let (mut model, [up, other]) = model([restarted(SECOND), Spec::default()]);
    model.start(up, Mode::Replace, &mut { slow }).unwrap();
    model.shut_down(&mut nothing);
    assert_eq!(model.start(other, Mode::Fail, &mut nothing), Err(Refusal::Destructive));
    assert_eq!(model.start(up, Mode::Replace, &mut nothing), Err(Refusal::Destructive));
    assert_eq!(model.start(up, Mode::IgnoreRequirements, &mut nothing), Err(Refusal::Destructive));
    let _ = model.start(other, Mode::IgnoreRequirements, &mut nothing).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(up).active(), ActiveState::Inactive);
    assert!(model.unit(up).is_stop_logged(1));
    assert_eq!(model.unit(other).active(), ActiveState::Inactive, "its job is accepted, and waits");
}

#[test]
fn an_isolated_unit_remains_alone_with_what_it_needs() {
    let (mut model, [parent, unit, other]) = model([Spec::default(), child(Bond::Requires, true), Spec::default()]);
    model.start(other, Mode::Replace, &mut good).unwrap();
    model.start(unit, Mode::Isolate, &mut good).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    let active = [parent, unit, other].map(|unit| model.unit(unit).active());
    assert_eq!(active, [ActiveState::Active, ActiveState::Active, ActiveState::Inactive]);
    assert!(model.unit(other).is_stop_logged(1));
}

/// A service, and what triggers it.
fn triggered(trigger: Type, elapses: Elapses, service: Spec) -> (Model, [UnitId; 2]) {
    model([service, Spec { kind: trigger, elapses, ..child(Bond::Triggers, false) }])
}

#[test]
fn a_timer_starts_its_service_again_and_again() {
    let oneshot = Spec { kind: Type::Oneshot, ..Spec::default() };
    let (mut model, [service, timer]) = triggered(Type::Timer, Elapses::Every(SECOND * 100), oneshot);
    let mut fails = |_: UnitId, _: Duration| Life::ends(SECOND, Exit::Code(1));
    model.advance(SECOND * 50, &mut nothing);
    model.start(timer, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(model.unit(timer).sub(), SubState::Waiting);
    model.advance(SECOND * 100, &mut fails);
    assert_eq!((model.unit(service).active(), model.unit(timer).sub()), (ActiveState::Activating, SubState::Running));
    model.advance(SECOND * 101, &mut fails);
    assert_eq!((model.unit(service).active(), model.unit(timer).sub()), (ActiveState::Failed, SubState::Waiting));
    model.advance(SECOND * 450, &mut fails);
    assert_eq!(model.unit(service).runs(), 4);
    model.stop(timer, Mode::Replace, &mut nothing).unwrap();
    model.advance(SECOND * 1000, &mut nothing);
}

#[test]
fn a_socket_whose_service_hits_its_start_limit_fails() {
    let (mut model, [service, socket]) = triggered(Type::Socket, Spec::default().elapses, Spec::default());
    assert!(!model.connect(socket, &mut nothing));
    model.start(socket, Mode::Replace, &mut nothing).unwrap();
    assert!(model.connect(socket, &mut good));
    assert_eq!((model.unit(service).active(), model.unit(socket).sub()), (ActiveState::Active, SubState::Running));
    model.kill(service, ProcessSignal::Kill);
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(socket).sub(), SubState::Listening);
    let mut crash = |_: UnitId, _: Duration| Life { accepts: false, ..Life::ends(Duration::ZERO, Exit::Code(1)) };
    model.connect(socket, &mut crash);
    pass(&mut model, SECOND, &mut crash);
    let it = model.unit(socket);
    assert_eq!((it.active(), it.result()), (ActiveState::Failed, ServiceResult::ServiceStartLimitHit));
    assert_eq!(model.unit(service).runs(), 5);

    // It is not started while its service is up.
    model.reset_failed(service, &mut nothing).unwrap();
    model.start(service, Mode::Replace, &mut good).unwrap();
    model.drain_signals();
    model.start(socket, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(results(&mut model), [(socket, JobKind::Start, JobResult::Failed)]);
    assert_eq!(model.unit(socket).active(), ActiveState::Failed);
}

#[test]
fn a_transient_unit_is_lost_when_its_failure_is_cleared() {
    let mut model = Model::new();
    let unit = model.add("run.service", Spec::default());
    model.set_origin(unit, Origin::Transient);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    model.daemon_reload(&mut nothing);
    model.start(unit, Mode::Fail, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
    model.reset_failed(unit, &mut nothing).unwrap();
    assert_eq!(model.start(unit, Mode::Fail, &mut nothing), Err(Refusal::NotFound));
}

#[test]
fn a_generator_writes_the_same_file_with_each_reload() {
    let (mut model, [unit]) = model([Spec::default()]);
    model.set_origin(unit, Origin::Generator);
    let (definition, written) = (model.unit(unit).definition(), model.unit(unit).written());
    model.daemon_reload(&mut nothing);
    assert_eq!(model.unit(unit).definition(), definition);
    assert_ne!(model.unit(unit).written(), written);
}

#[test]
fn several_units_are_stopped_in_one_moment() {
    let (mut model, [parent, unit, other]) = model([Spec::default(), child(Bond::BindsTo, true), Spec::default()]);
    for unit in [unit, other] {
        model.start(unit, Mode::Replace, &mut good).unwrap();
    }
    model.stop_together(&[parent, unit, other], Mode::Replace, &mut nothing).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    for unit in [parent, unit, other] {
        assert_eq!(model.unit(unit).active(), ActiveState::Inactive);
        assert!(model.unit(unit).is_stop_logged(1));
    }
}
