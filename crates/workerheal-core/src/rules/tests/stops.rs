//! Why a worker is down: stopped on purpose, or because of another unit, or of a condition.

use super::*;
use crate::units::{Deactivation, StopOrder};

#[test]
fn a_stop_that_took_a_parent_down_was_not_meant_for_the_worker() {
    let parent = |left| Parent {
        name: "db.service".into(),
        active: ActiveState::Inactive,
        stopping: false,
        left: Some(Duration::from_secs(left)),
        ..Parent::default()
    };
    let deactivation = Some(Deactivation { left: Duration::from_secs(50), down: Duration::from_secs(60) });
    // It may also wait for another unit that it takes along.
    for left in [49, 55, 61] {
        let down =
            Inspection { stop: Some(StopEvidence::Requested), deactivation, parents: vec![parent(left)], ..crashed() };
        assert_eq!(by_rule(&down), is(State::Failed, Verdict::Held(Refusal::ParentDown(parent(left)))));
        let back = Inspection { parents: vec![], ..down };
        assert_eq!(judged(&back, History { taken_along: true, ..unknown() }), is(State::Failed, Verdict::Start));
        assert_eq!(by_rule(&back).verdict, Verdict::Stopped);
    }
    for left in [40, 70] {
        let down =
            Inspection { stop: Some(StopEvidence::Requested), deactivation, parents: vec![parent(left)], ..crashed() };
        assert_eq!(by_rule(&down).verdict, Verdict::Stopped, "each was stopped by itself");
    }
}

#[test]
fn a_worker_that_went_down_with_a_unit_that_it_can_do_without_waits_for_it_and_does_not_if_it_crashed() {
    let top = Parent {
        name: "top.service".into(),
        active: ActiveState::Failed,
        left: Some(Duration::from_secs(60)),
        is_optional: true,
        ..Parent::default()
    };
    let taken_along = Inspection {
        active: ActiveState::Inactive,
        file: Some(ENABLED),
        stop: Some(StopEvidence::Requested),
        parents: vec![top.clone()],
        ..crashed()
    };
    let waits = Verdict::Held(Refusal::ParentDown(top.clone()));
    assert_eq!(by_rule(&taken_along), is(State::ExpectedButStopped, waits));
    let back = Parent { active: ActiveState::Active, ..top.clone() };
    let may_start = Inspection { parents: vec![back], ..taken_along.clone() };
    assert_eq!(by_rule(&may_start), is(State::ExpectedButStopped, Verdict::Start));
    let group = StoppedGroup { name: "top.service".into(), left: top.left };
    let stopped = Inspection { stopped_groups: vec![group], ..taken_along };
    assert_eq!(by_rule(&stopped).verdict, Verdict::Stopped);
    let without_it = Inspection { stop: Some(StopEvidence::NotRequested), parents: vec![top], ..crashed() };
    assert_eq!(by_rule(&without_it), is(State::Failed, Verdict::Start));
}

#[test]
fn a_unit_that_was_back_before_the_stop_did_not_take_the_worker_along() {
    let at = Duration::from_millis;
    let parent = |since| Parent {
        name: "db.service".into(),
        active: ActiveState::Active,
        left: Some(at(50_000)),
        since: Some(at(since)),
        ..Parent::default()
    };
    let deactivation = Some(Deactivation { left: at(50_800), down: at(51_000) });
    for (since, verdict) in [(50_100, Verdict::Stopped), (50_800, Verdict::Start), (50_900, Verdict::Start)] {
        let stop = Some(StopEvidence::Requested);
        for stop_order in [StopOrder::Unknown, StopOrder::ParentFirst] {
            let parents = vec![Parent { stop_order, ..parent(since) }];
            let down = Inspection { stop: stop.clone(), deactivation, parents, ..crashed() };
            assert_eq!(by_rule(&down).verdict, verdict, "up again after {since} ms, {stop_order:?}");
        }
    }
}

/// A target wants it, or a person started it: that the start ended with `dependency` makes it no less wanted.
#[test]
fn a_worker_whose_start_waited_for_a_parent_in_vain_is_held_by_it_whether_or_not_it_is_enabled() {
    for evidence in [StopEvidence::KeptFromStarting, StopEvidence::NotRequested] {
        let parents = vec![Parent { name: "fpm.service".into(), active: ActiveState::Failed, ..Parent::default() }];
        let (active, stop) = (ActiveState::Inactive, Some(evidence.clone()));
        let down = Inspection { active, file: Some(DISABLED), stop, parents, ..crashed() };
        let judgement = judged(&down, History::default());
        let is_held = matches!(judgement.verdict, Verdict::Held(Refusal::ParentDown(_)));
        assert_eq!(is_held, evidence == StopEvidence::KeptFromStarting, "{judgement:?}");
    }
}

/// The journal has the stop of that unit just before that of the worker, which was started in between.
#[test]
fn a_unit_that_was_down_before_the_run_began_did_not_take_the_worker_along() {
    let at = Duration::from_millis;
    for (began, verdict) in [(50_500, Verdict::Stopped), (40_000, Verdict::Start)] {
        let parent = Parent {
            name: "migrate.service".into(),
            active: ActiveState::Inactive,
            down: Some(at(50_400)),
            finished: true,
            stop_order: StopOrder::ParentFirst,
            ..Parent::default()
        };
        let deactivation = Some(Deactivation { left: at(50_600), down: at(50_900) });
        let (stop, began) = (Some(StopEvidence::Requested), Some(at(began)));
        let down = Inspection { stop, began, deactivation, parents: vec![parent], ..crashed() };
        assert_eq!(by_rule(&down).verdict, verdict, "{down:?}");
    }
}

/// A unit that is not enabled is unloaded once it is down: only the journal shows when it was stopped.
#[test]
fn a_unit_that_was_unloaded_took_the_worker_along_if_its_stop_came_first() {
    for stop_order in [StopOrder::ParentFirst, StopOrder::Unknown] {
        let parent = Parent { name: "stack.target".into(), stop_order, ..Parent::default() };
        let file = Some(UnitFile { enabled: true, on_demand: false, waits_with_targets: false, definition: 1 });
        let (stop, parents) = (Some(StopEvidence::Requested), vec![parent]);
        let down = Inspection { active: ActiveState::Inactive, file, stop, parents, ..crashed() };
        let judgement = by_rule(&down);
        let was_taken_along = matches!(judgement.verdict, Verdict::Held(Refusal::ParentDown(_)));
        assert_eq!(was_taken_along, stop_order == StopOrder::ParentFirst, "{judgement:?}");
    }
}

#[test]
fn of_a_run_that_ended_while_it_was_starting_only_its_end_counts() {
    let at = Duration::from_secs;
    let parent =
        Parent { name: "db.service".into(), active: ActiveState::Active, left: Some(at(50)), ..Parent::default() };
    // The run before it was taken along at 50 s; this one was stopped.
    let deactivation = Some(Deactivation { left: at(50), down: at(102) });
    let stopped = Inspection {
        stop: Some(StopEvidence::Requested),
        began: Some(at(100)),
        deactivation,
        parents: vec![parent],
        ..crashed()
    };
    assert_eq!(by_rule(&stopped).verdict, Verdict::Stopped);
}

#[test]
fn a_start_that_the_start_limit_refused_is_newer_than_the_stop_before_it() {
    let stopped = Inspection { stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(by_rule(&stopped).verdict, Verdict::Stopped);
    let refused = Inspection { result: ServiceResult::StartLimitHit, ..stopped };
    assert_eq!(by_rule(&refused).verdict, Verdict::Start);
}

/// Found by the simulation: a worker went down with its container, was disabled, and was thereby unloaded. The journal
/// still has its stop, but neither when it went down nor for whose sake.
#[test]
fn a_stop_of_a_forgotten_run_is_not_that_of_a_parent_which_is_up_now() {
    let parent = |active| Parent {
        name: "lerd-php85-fpm.service".into(),
        active,
        left: Some(Duration::from_secs(60)),
        ..Parent::default()
    };
    for active in [ActiveState::Failed, ActiveState::Active] {
        let unloaded = Inspection {
            active: ActiveState::Inactive,
            deactivation: None,
            began: None,
            run: Some(String::new()),
            file: Some(DISABLED),
            stop: Some(StopEvidence::Requested),
            parents: vec![parent(active)],
            ..crashed()
        };
        let history = History { was_up: true, ..unknown() };
        assert_eq!(judged(&unloaded, history), WELL, "{active:?}");
    }
}

#[test]
fn a_request_overrules_an_earlier_stop_of_the_group_but_not_one_that_is_under_way() {
    let by_hand = |left| {
        let group = StoppedGroup { name: "app.target".into(), left };
        let unit = Inspection { stopped_groups: vec![group], ..crashed() };
        judged(&unit, History { trigger: Trigger::Request, ..History::default() }).verdict
    };
    assert_eq!(by_hand(Some(Duration::from_secs(30))), Verdict::Start);
    assert_eq!(by_hand(None), Verdict::Stopped);
}

#[test]
fn a_worker_whose_automatic_restart_a_condition_skipped_should_be_back() {
    let seen = Inspection {
        active: ActiveState::Inactive,
        result: ServiceResult::Signal,
        restart: RestartPolicy::Always,
        restarts: Some(Restarts { count: 1, last_run: None, delay: None, status: 1 }),
        skipped: Some(Duration::from_secs(61)),
        // The condition that does not hold.
        file: Some(UnitFile { on_demand: true, ..DISABLED }),
        stop: Some(StopEvidence::NotRequested),
        ..crashed()
    };
    let never_enabled = History { at_failure: Some(DISABLED), ..History::default() };
    let judge = |seen: &Inspection| judged(seen, never_enabled);
    assert_eq!(judge(&seen), is(State::ExpectedButStopped, Verdict::Start));
    let stopped = Inspection { stop: Some(StopEvidence::Requested), ..seen.clone() };
    assert_eq!(judge(&stopped), is(State::ExpectedButStopped, Verdict::Stopped));
    // A first start that is skipped is none of the healer's business, nor what a trigger starts.
    assert_eq!(
        judge(&Inspection {
            restarts: Some(Restarts { count: 0, last_run: None, delay: None, status: 1 }),
            ..seen.clone()
        }),
        WELL
    );
    assert_eq!(judge(&Inspection { triggers: vec![waiting("queue.path")], ..seen }), WELL);
}
