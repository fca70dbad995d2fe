//! The rules that are easy to get wrong.

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);
const CRASH: Life = Life::ends(SECOND, Exit::Code(1));

/// A model with its units enabled, so that they stay in memory, and without pending signals.
pub(super) fn model<const N: usize>(specs: [Spec; N]) -> (Model, [UnitId; N]) {
    let mut model = Model::new();
    let units = specs.map(|spec| model.add("a.service", spec));
    for unit in units {
        model.enable(unit, &mut nothing);
    }
    model.drain_signals();
    (model, units)
}

/// For an operation that starts nothing.
pub(super) fn nothing(_: UnitId, _: Duration) -> Life {
    panic!("something is started");
}

pub(super) fn good(_: UnitId, _: Duration) -> Life {
    Life::GOOD
}

pub(super) fn crash(_: UnitId, _: Duration) -> Life {
    CRASH
}

pub(super) fn restarted(delay: Duration) -> Spec {
    Spec { restart: Restart::Always, restart_delay: delay, ..Spec::default() }
}

pub(super) fn child(bond: Bond, after: bool) -> Spec {
    Spec { parents: vec![Dependency { parent: UnitId(0), bond, after }], ..Spec::default() }
}

pub(super) fn pass(model: &mut Model, time: Duration, lives: &mut Lives<'_>) {
    model.advance(model.now() + time, lives);
}

pub(super) fn results(model: &mut Model) -> Vec<(UnitId, JobKind, JobResult)> {
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
    let signals: Vec<Signal> = model.drain_signals().collect();
    assert_eq!(
        signals,
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

    // Only a unit without an earlier failure is reported to have hit it.
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
fn a_restart_keeps_its_job_number_and_signals_the_state_in_between() {
    let (mut model, [unit]) = model([Spec::default()]);
    model.start(unit, Mode::Replace, &mut good).unwrap();
    model.drain_signals();
    let job = model.restart(unit, Mode::Replace, &mut good).unwrap();
    pass(&mut model, Duration::ZERO, &mut good);
    let signals: Vec<Signal> = model.drain_signals().collect();
    let down = Signal::Changed { unit, active: ActiveState::Inactive, auto_restart: false, job: Some(job) };
    assert!(signals.contains(&down), "{signals:?}");
    assert!(
        signals.contains(&Signal::JobRemoved { job, unit, kind: JobKind::Start, result: JobResult::Done }),
        "{signals:?}"
    );
    assert!(model.unit(unit).is_stop_logged(1) && !model.unit(unit).is_stop_logged(2));
}

#[test]
fn a_start_during_auto_restart_waits_and_counts() {
    let (mut model, [unit]) = model([Spec { start_limit_burst: 2, ..restarted(SECOND * 100) }]);
    model.start(unit, Mode::Replace, &mut crash).unwrap();
    pass(&mut model, SECOND, &mut nothing);
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    assert!(model.unit(unit).is_auto_restart() && model.unit(unit).job().is_some());
    model.start(unit, Mode::Replace, &mut nothing).unwrap();
    assert_eq!(model.unit(unit).active(), ActiveState::Failed);
}

#[test]
fn a_stop_during_auto_restart_leaves_the_unit_inactive_and_keeps_its_result() {
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
fn a_service_that_ignores_sigterm_is_killed_and_failed() {
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
fn a_dying_parent_stops_only_bound_children() {
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
    assert_eq!(model.unit(unit).active(), ActiveState::Failed, "nothing restarts it now");
}

#[test]
fn an_unreferenced_unit_is_unloaded_when_it_is_down() {
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
    let signals: Vec<Signal> = model.drain_signals().collect();
    assert!(signals.ends_with(&[Signal::UnitRemoved(unit), Signal::UnitRemoved(parent)]), "{signals:?}");
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
