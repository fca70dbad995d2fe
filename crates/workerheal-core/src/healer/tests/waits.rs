//! Workers that are left alone for a while: how long, and what ends that.

use super::*;

/// A healer whose `queue` is in a crash loop.
fn with_looping_queue() -> Harness {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let restarts = Some(Restarts { count: 7, last_run: Some(SECOND), delay: None, status: 1 });
    let looping = Inspection { active: ActiveState::Activating, auto_restart: true, restarts, ..crashed() };
    assert!(harness.shows("queue", looping)[1].starts_with("held queue: the service manager itself restarts it"));
    harness.goes("queue", ActiveState::Activating);
    harness
}

#[test]
fn a_run_in_a_crash_loop_is_timed_from_its_beginning() {
    let mut harness = with_looping_queue();
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.due_in(), Some(10 * SECOND));
    harness.after(4 * SECOND);
    harness.list(&[("queue", ActiveState::Active)]);
    assert_eq!(harness.due_in(), Some(6 * SECOND));
    // That the manager may have given up is noticed sooner.
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.due_in(), Some(SECOND));
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
}

#[test]
fn a_restart_in_a_crash_loop_that_hangs_is_inspected() {
    let mut harness = with_looping_queue();
    harness.goes("queue", ActiveState::Active);
    harness.goes("queue", ActiveState::Activating);
    assert_eq!(harness.after(14 * SECOND), [""; 0]);
    assert_eq!(harness.list(&[("queue", ActiveState::Activating)]), [""; 0]);
    harness.after(60 * SECOND);
    let actions = harness.list(&[("queue", ActiveState::Activating)]);
    assert!(actions.first().is_some_and(|action| action.starts_with("inspect queue")), "{actions:?}");
}

#[test]
fn restarts_that_are_no_crash_loop_are_not_inspected_again_soon() {
    let mut harness = Harness::with_healthy_queue();
    let mut inspections = 0;
    for _ in 0..12 {
        let waits = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
        if harness.observe(Fact::Changed(waits)) == ["inspect queue"] {
            inspections += 1;
            let restarts = Some(Restarts { count: 3, last_run: Some(SECOND), delay: None, status: 1 });
            let seen = Inspection { active: ActiveState::Activating, auto_restart: true, restarts, ..crashed() };
            assert_eq!(harness.shows("queue", seen), [""; 0]);
        }
        harness.goes("queue", ActiveState::Active);
    }
    assert_eq!(inspections, 1);
}

#[test]
fn the_next_daemon_keeps_to_the_time_of_the_next_attempt() {
    let mut before = Harness::with_starting_queue();
    before.fails("queue", "boom");
    before.after(SECOND);
    before.shows("queue", crashed());
    assert_eq!(before.fails("queue", "boom")[1], "scheduled queue #3 in 2s");
    let mut harness = Harness::new();
    harness.now = before.now + SECOND / 2;
    harness.healer.restore(before.healer.saved_state());
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(harness.shows("queue", seen).last().map(String::as_str), Some("scheduled queue #3 in 1.5s"));
}

#[test]
fn a_stopped_worker_is_looked_at_from_time_to_time_however_many_lists_come_in_between() {
    let run = || Inspection { run: Some("a".into()), stop: Some(StopEvidence::Requested), ..crashed() };
    for answer in [Ok(run()), Err("no answer".to_owned())] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes("queue", ActiveState::Failed);
        assert_eq!(harness.shows("queue", crashed()), ["stopped queue"]);
        harness.answers_inspection("queue", Purpose::Recheck, answer);
        harness.after(RECHECK_INTERVAL / 2);
        harness.list(&[("queue", ActiveState::Failed)]);
        assert_eq!(harness.due_in(), Some(RECHECK_INTERVAL / 2));
    }
}

#[test]
fn a_worker_that_ended_and_is_not_to_be_healed_of_that_is_inspected_once_it_fails() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Inactive);
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(harness.shows("queue", seen), [""; 0]);
    assert_eq!(harness.healer.held_for(&unit("queue")), Some(&Refusal::StateNotHealed(State::ExpectedButStopped)));
    for _ in 0..2 {
        assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), [""; 0]);
    }
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
    assert_eq!(harness.healer.held_for(&unit("queue")), None);
}

#[test]
fn other_workers_that_wait_for_a_unit_are_inspected_if_that_has_changed_and_one_of_them_may_bring_it_back() {
    for (brings_back, has_changed) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut harness = Harness::new();
        harness.list(&[("a", ActiveState::Active), ("b", ActiveState::Active)]);
        let parent =
            |left| Parent { stops_when_unneeded: brings_back, left: Some(left), ..fpm(ActiveState::Failed, false) };
        for (name, parent) in [("a", parent(60 * SECOND)), ("b", parent(if has_changed { 61 } else { 60 } * SECOND))] {
            harness.goes(name, ActiveState::Failed);
            let actions = harness.shows(name, Inspection { parents: vec![parent], ..crashed() });
            let inspects = actions.iter().any(|action| action.starts_with("inspect a"));
            assert_eq!(inspects, name == "b" && brings_back && has_changed, "{name}: {actions:?}");
        }
    }
}

#[test]
fn a_worker_that_came_up_during_its_inspection_is_healthy() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.shows("queue", up(Duration::ZERO)), [""; 0]);
    assert_eq!(harness.healer.at_rest(&unit("queue")), Some(true));
}

#[test]
fn a_worker_that_ended_after_its_failure_was_inspected_is_inspected_with_its_files() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.goes("queue", ActiveState::Inactive);
    let seen = Inspection { active: ActiveState::Inactive, file: None, ..crashed() };
    let actions = harness.shows("queue", seen);
    assert!(actions.first().is_some_and(|action| action.starts_with("inspect queue")), "{actions:?}");
}

#[test]
fn evidence_is_searched_for_again_only_where_it_is_missing_and_matters() {
    let unknown = Some(StopEvidence::Unknown("the journal is gone".into()));
    for (stop, run, was_up, again) in [
        (unknown.clone(), "a", true, Some(SECOND)),
        (Some(StopEvidence::NotRequested), "a", true, None),
        (unknown, "", false, None),
    ] {
        let mut harness = if was_up { Harness::with_healthy_queue() } else { Harness::new() };
        harness.list(&[("queue", ActiveState::Inactive)]);
        let deactivation = crashed().deactivation.filter(|_| was_up);
        let (active, file) = (ActiveState::Inactive, Some(UnitFile { enabled: false, ..ENABLED }));
        let seen = Inspection { active, file, stop, run: Some(run.into()), deactivation, ..crashed() };
        assert_eq!(harness.shows("queue", seen), [""; 0]);
        assert_eq!(harness.due_in(), again);
    }
}

#[test]
fn a_stopped_worker_whose_start_by_hand_failed_for_its_parent_waits_for_that() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let file = Some(UnitFile { enabled: false, ..ENABLED });
    let seen = Inspection { active: ActiveState::Inactive, file, ..crashed() };
    harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..seen.clone() });
    assert_eq!(harness.healer.reports(harness.now)[0].reason, "you stopped it");
    let actions = harness.observe(Fact::KeptFromStarting(unit("queue")));
    assert!(actions[0].starts_with("inspect queue"), "{actions:?}");
    let actions = harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..seen });
    assert_eq!(
        actions.last().map(String::as_str),
        Some("held queue: it needs lerd-php85-fpm.service, which has failed")
    );
}

/// The manager then says when an earlier run ceased to be up.
#[test]
fn a_stop_while_it_was_starting_is_none_of_the_parent_that_had_taken_the_worker_along_before() {
    for (began, down, expected) in [(80, 90, "stopped queue"), (1, 60, "start queue")] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes("queue", ActiveState::Failed);
        let stop = Some(StopEvidence::Requested);
        let parents = vec![fpm(ActiveState::Failed, false)];
        let seen = Inspection { parents, stop: stop.clone(), ..crashed() };
        harness.shows("queue", seen.clone());
        harness.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Failed)]);
        assert_eq!(harness.goes("lerd-php85-fpm", ActiveState::Active), ["inspect queue"]);
        let parents = vec![Parent { since: Some(70 * SECOND), ..fpm(ActiveState::Active, false) }];
        let deactivation = Some(Deactivation { left: 60 * SECOND, down: down * SECOND });
        let (at, began) = (100 * SECOND, Some(began * SECOND));
        let actions = harness.shows("queue", Inspection { at, deactivation, began, parents, stop, ..crashed() });
        assert_eq!(actions.last().map(String::as_str), Some(expected));
    }
}
