//! Dependencies, commands beside the main process, and units that are no services.

use super::tests::{SECOND, child, crash, good, model, nothing, pass, restarted, results};
use super::*;

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

    // A unit does not start if one that it is bound to is down, and does not start that either.
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
fn wanted_units_are_started_but_need_not_succeed() {
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
    assert!(model.unit(partner).is_stop_logged(1), "like one that was requested");
    model.start(unit, Mode::IgnoreRequirements, &mut good).unwrap();
    assert_eq!(model.unit(partner).active(), ActiveState::Active);
    assert_eq!(model.unit(unit).active(), ActiveState::Active);
}

#[test]
fn stopping_a_group_stops_only_members_that_are_up() {
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
    let concerned = |signal| match signal {
        Signal::Changed { unit, .. } | Signal::JobRemoved { unit, .. } => unit == down,
        _ => false,
    };
    assert!(!model.drain_signals().any(concerned));
    assert_eq!(model.unit(down).active(), ActiveState::Failed);
}

#[test]
fn the_manager_stops_an_unneeded_unit() {
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
fn a_failed_exec_start_pre_fails_the_start_and_is_restarted() {
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
fn a_start_outlives_its_job_timeout() {
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
fn a_child_that_ignores_signals_delays_the_end() {
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
fn a_reload_can_end_a_service() {
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
fn a_job_without_effect_is_not_signalled() {
    let (mut model, [unit]) = model([Spec::default()]);
    let job = model.try_restart(unit, Mode::Replace, &mut nothing).unwrap();
    let signals: Vec<Signal> = model.drain_signals().collect();
    assert_eq!(signals, [Signal::JobRemoved { job, unit, kind: JobKind::Nop, result: JobResult::Done }]);
    let job = model.stop(unit, Mode::Replace, &mut nothing).unwrap();
    let signals: Vec<Signal> = model.drain_signals().collect();
    let changed = |job| Signal::Changed { unit, active: ActiveState::Inactive, auto_restart: false, job };
    let removed = Signal::JobRemoved { job, unit, kind: JobKind::Stop, result: JobResult::Done };
    assert_eq!(signals, [changed(Some(job)), removed, changed(None)]);
}

#[test]
fn refuse_manual_start_permits_starts_by_dependencies() {
    let (mut model, [parent, unit]) =
        model([Spec { refuse_manual_start: true, ..Spec::default() }, child(Bond::Requires, true)]);
    assert_eq!(model.start(parent, Mode::Replace, &mut nothing), Err(Refusal::OnlyByDependency));
    assert_eq!(model.restart(parent, Mode::Replace, &mut nothing), Err(Refusal::OnlyByDependency));
    model.start(unit, Mode::Replace, &mut good).unwrap();
    assert_eq!(model.unit(parent).active(), ActiveState::Active);
}

#[test]
fn a_shutdown_stops_everything_and_refuses_starts() {
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
fn isolate_stops_all_but_the_unit_and_its_dependencies() {
    let (mut model, [parent, unit, other]) = model([Spec::default(), child(Bond::Requires, true), Spec::default()]);
    model.start(other, Mode::Replace, &mut good).unwrap();
    model.start(unit, Mode::Isolate, &mut good).unwrap();
    pass(&mut model, Duration::ZERO, &mut nothing);
    let active = [parent, unit, other].map(|unit| model.unit(unit).active());
    assert_eq!(active, [ActiveState::Active, ActiveState::Active, ActiveState::Inactive]);
    assert!(model.unit(other).is_stop_logged(1));
}

/// A service, and the unit that triggers it.
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
fn several_units_can_be_stopped_at_once() {
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
