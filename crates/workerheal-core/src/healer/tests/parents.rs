//! Workers that need another unit.

use super::*;
use crate::units::StopOrder;

#[test]
fn a_worker_waits_for_the_unit_it_is_bound_to_and_starts_with_it() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let parent = fpm(ActiveState::Inactive, false);
    assert_eq!(
        harness.shows("queue", Inspection { parents: vec![parent], ..crashed() }),
        ["detected queue: failed", "held queue: it needs lerd-php85-fpm.service, which is down"]
    );
    let units = [("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Inactive)];
    assert!(harness.list(&units).is_empty());
    assert!(harness.goes("lerd-php85-fpm", ActiveState::Activating).is_empty());
    assert_eq!(harness.goes("lerd-php85-fpm", ActiveState::Active), ["inspect queue"]);
}

#[test]
fn a_worker_that_its_parent_took_along_comes_back_with_it() {
    // systemd stops the worker first; the parent's own stop is only queued then.
    for parent in [fpm(ActiveState::Active, true), fpm(ActiveState::Failed, false)] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
        let seen = Inspection { parents: vec![parent], ..crashed() };
        assert_eq!(
            harness.shows("queue", seen.clone()),
            ["inspect queue and its stop"],
            "for whom was that stop meant?"
        );
        let actions = harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..seen });
        assert!(actions[1].starts_with("held queue: it needs lerd-php85-fpm.service"), "{actions:?}");
        let units = [("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Inactive)];
        assert!(harness.list(&units).is_empty());
        assert_eq!(harness.goes("lerd-php85-fpm", ActiveState::Active), ["inspect queue"]);
        let seen = Inspection { parents: vec![fpm(ActiveState::Active, false)], ..crashed() };
        assert_eq!(harness.shows("queue", seen), ["starting queue #1", "start queue"]);
    }
}

/// It was being started, by us, a person or the manager, when its parent went down: systemd cancels that start.
#[test]
fn a_worker_that_its_parent_took_along_while_it_was_starting_comes_back_with_it() {
    for (ours, end) in [(true, ActiveState::Failed), (false, ActiveState::Failed), (false, ActiveState::Inactive)] {
        let mut harness = if ours { Harness::with_starting_queue() } else { Harness::with_healthy_queue() };
        harness.goes_with_job("queue", ActiveState::Activating);
        if ours {
            harness.ends("queue", Outcome::Cancelled);
        } else {
            harness.observe(Fact::JobCancelled(unit("queue")));
        }
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes_with_job("queue", end);
        harness.after(Duration::from_millis(1));
        harness.observe(Fact::JobDone(unit("queue")));
        assert_eq!(harness.goes("queue", end), ["inspect queue and its stop"]);
        harness.after(Duration::from_millis(20));
        let at = Duration::from_millis;
        let seen = Inspection {
            active: end,
            began: Some(at(60_000)),
            deactivation: Some(Deactivation { left: SECOND, down: at(60_979) }),
            down_for: Some(at(21)),
            stop: Some(StopEvidence::Requested),
            parents: vec![Parent { left: Some(at(60_978)), ..fpm(ActiveState::Failed, false) }],
            file: Some(ENABLED),
            ..crashed()
        };
        let actions = harness.shows("queue", seen.clone());
        assert!(actions.iter().any(|it| it.starts_with("held queue: it needs lerd-php85-fpm")), "{ours} {actions:?}");
        harness.list(&[("queue", end), ("lerd-php85-fpm", ActiveState::Failed)]);
        let actions = harness.goes("lerd-php85-fpm", ActiveState::Active);
        assert!(actions[0].starts_with("inspect queue"), "{ours} {actions:?}");
        let back = Parent { since: Some(at(62_000)), left: Some(at(60_978)), ..fpm(ActiveState::Active, false) };
        let actions = harness.shows("queue", Inspection { parents: vec![back], ..seen });
        let expected = if ours { "scheduled queue" } else { "start queue" };
        assert!(actions.last().is_some_and(|it| it.starts_with(expected)), "{ours} {actions:?}");
    }
}

#[test]
fn a_worker_that_went_down_with_its_parent_is_not_stopped_if_its_file_cannot_be_read_later() {
    // It died a moment before its parent, so no stop of it was seen, and waited for its automatic restart.
    let mut harness = Harness::with_healthy_queue();
    let down = Deactivation { left: SECOND, down: 3 * SECOND };
    harness.goes("queue", ActiveState::Inactive);
    let parent = Parent { left: Some(3 * SECOND), ..fpm(ActiveState::Deactivating, true) };
    let seen = Inspection {
        active: ActiveState::Inactive,
        deactivation: Some(down),
        stop: None,
        file: Some(ENABLED),
        ..crashed()
    };
    let actions = harness.shows("queue", Inspection { parents: vec![parent], ..seen.clone() });
    assert!(actions.iter().any(|action| action.starts_with("held queue: it needs lerd-php85-fpm")), "{actions:?}");
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Inactive)]);
    // What it needs is not known without its file.
    let actions = harness.shows(
        "queue",
        Inspection { load: LoadState::BadSetting, stop: Some(StopEvidence::Requested), parents: Vec::new(), ..seen },
    );
    assert!(!actions.iter().any(|action| action.starts_with("stopped")), "{actions:?}");
}

#[test]
fn a_worker_that_was_taken_along_disabled_and_unloaded_stays_down_when_its_parent_is_back() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let deactivation = Deactivation { left: SECOND, down: SECOND };
    let parent = Parent { left: Some(SECOND), ..fpm(ActiveState::Inactive, false) };
    let seen = Inspection {
        active: ActiveState::Inactive,
        deactivation: Some(deactivation),
        stop: Some(StopEvidence::Requested),
        parents: vec![parent.clone()],
        ..crashed()
    };
    let actions = harness.shows("queue", seen.clone());
    assert!(actions.iter().any(|action| action.starts_with("held queue: it needs lerd-php85-fpm")), "{actions:?}");
    // The manager answers slowly, and knows nothing of its last run.
    harness.observe(Fact::Frozen);
    harness.list(&[]);
    let unloaded = Inspection {
        file: Some(UnitFile { enabled: false, ..ENABLED }),
        run: Some(String::new()),
        deactivation: None,
        began: None,
        at: 90 * SECOND,
        ..seen
    };
    let actions = harness.shows("queue", unloaded.clone());
    assert_eq!(actions, ["held queue: the unit was disabled while it was down"]);
    let back = Parent { active: ActiveState::Active, since: Some(100 * SECOND), ..parent };
    harness.observe(Fact::Frozen);
    harness.list(&[]);
    let actions = harness.shows("queue", Inspection { parents: vec![back], ..unloaded });
    assert_eq!(actions, [""; 0]);
}

#[test]
fn clearing_the_failure_of_a_worker_that_was_stopped_with_its_parent_as_it_started_is_no_stop() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    // It had died before, and was being started again.
    let parent =
        Parent { left: Some(9 * SECOND), stop_order: StopOrder::ParentFirst, ..fpm(ActiveState::Inactive, false) };
    let seen = Inspection {
        deactivation: Some(Deactivation { left: SECOND, down: 9 * SECOND }),
        began: Some(8 * SECOND),
        stop: Some(StopEvidence::Requested),
        file: Some(ENABLED),
        parents: vec![parent.clone()],
        ..crashed()
    };
    let actions = harness.shows("queue", seen.clone());
    assert!(actions.iter().any(|action| action.starts_with("held queue: it needs lerd-php85-fpm")), "{actions:?}");
    harness.goes("queue", ActiveState::Inactive);
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Inactive)]);
    // For the manager it is down since then, which is long after its parent.
    let cleared = Inspection {
        active: ActiveState::Inactive,
        deactivation: Some(Deactivation { left: SECOND, down: 90 * SECOND }),
        parents: vec![Parent { stop_order: StopOrder::Unknown, ..parent.clone() }],
        ..seen
    };
    let actions = harness.shows("queue", cleared.clone());
    assert!(!actions.iter().any(|action| action.starts_with("stopped")), "{actions:?}");
    harness.goes("lerd-php85-fpm", ActiveState::Active);
    let back = Parent { active: ActiveState::Active, since: Some(100 * SECOND), ..parent };
    let actions = harness.shows("queue", Inspection { parents: vec![back], ..cleared });
    assert!(actions.iter().any(|action| action == "start queue"), "{actions:?}");
}

#[test]
fn a_held_parent_is_reported_once_whatever_its_state() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let actions = harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Active, true)], ..crashed() });
    assert!(actions[1].starts_with("held queue: it needs lerd-php85-fpm.service"), "{actions:?}");
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue"]);
    let down = Inspection { parents: vec![fpm(ActiveState::Inactive, false)], ..crashed() };
    assert_eq!(harness.shows("queue", down), [""; 0]);
}

#[test]
fn a_stop_is_the_parents_if_the_journal_says_so_of_a_parent_that_was_unloaded() {
    let detected = "detected queue: expected-but-stopped";
    let slow = Deactivation { left: SECOND, down: SECOND + Duration::from_millis(1) };
    for (deactivation, stop_order, first) in [
        (None, StopOrder::ParentFirst, detected),
        (Some(slow), StopOrder::ParentFirst, detected),
        (None, StopOrder::WorkerFirst, ""),
    ] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes("queue", ActiveState::Inactive);
        // The parent is unloaded already, and maybe the worker.
        let parent = Parent { name: "stack.target".into(), active: ActiveState::Inactive, ..Parent::default() };
        let seen = Inspection {
            active: ActiveState::Inactive,
            deactivation,
            began: None,
            run: Some(String::new()),
            stop: None,
            parents: vec![parent.clone()],
            ..crashed()
        };
        assert_eq!(harness.shows("queue", seen.clone()), ["inspect queue and its stop"]);
        let parents = vec![Parent { stop_order, ..parent }];
        let seen = Inspection { stop: Some(StopEvidence::Requested), parents, ..seen };
        assert_eq!(harness.shows("queue", seen).first().map_or("", |action| action), first);
    }
}

#[test]
fn a_worker_that_came_back_with_its_parent_and_is_stopped_and_unloaded_stays_down() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let parent = Parent { left: Some(SECOND), ..fpm(ActiveState::Inactive, false) };
    let seen = Inspection {
        active: ActiveState::Inactive,
        deactivation: Some(Deactivation { left: SECOND, down: SECOND }),
        stop: Some(StopEvidence::Requested),
        parents: vec![parent.clone()],
        ..crashed()
    };
    harness.shows("queue", seen.clone());
    harness.goes("lerd-php85-fpm", ActiveState::Active);
    let back = Parent { active: ActiveState::Active, since: Some(9 * SECOND), ..parent };
    let seen = Inspection { parents: vec![back], ..seen };
    assert_eq!(harness.shows("queue", seen.clone()), ["starting queue #1", "start queue"]);
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    harness.after(SECOND);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let unloaded = Inspection { deactivation: None, began: None, run: Some(String::new()), stop: None, ..seen };
    let actions = harness.shows("queue", unloaded);
    assert!(actions.iter().any(|action| action.starts_with("stopped queue")), "{actions:?}");
    assert!(!actions.iter().any(|action| action == "start queue"), "{actions:?}");
}

#[test]
fn a_worker_whose_wait_for_a_restart_was_ended_with_its_parent_comes_back() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Inactive);
    let parent = Parent { left: Some(SECOND), ..fpm(ActiveState::Deactivating, true) };
    let seen = Inspection {
        active: ActiveState::Inactive,
        deactivation: Some(Deactivation { left: SECOND, down: SECOND }),
        stop: None,
        parents: vec![parent.clone()],
        ..crashed()
    };
    let actions = harness.shows("queue", seen.clone());
    assert!(actions.iter().any(|action| action.starts_with("held queue: it needs")), "{actions:?}");
    harness.goes("lerd-php85-fpm", ActiveState::Active);
    // Not asked yet when that was down: it died in an instant.
    let back = Parent { active: ActiveState::Active, stopping: false, left: None, ..parent.clone() };
    let seen = Inspection { parents: vec![back.clone()], ..seen };
    assert_eq!(harness.shows("queue", seen.clone()), ["inspect queue and its stop"]);
    let asked = Parent { left: Some(SECOND), since: Some(9 * SECOND), ..back };
    let seen = Inspection { parents: vec![asked], stop: Some(StopEvidence::Requested), ..seen };
    assert_eq!(harness.shows("queue", seen), ["starting queue #1", "start queue"]);
}

#[test]
fn the_end_of_a_stop_that_a_new_daemon_finds_under_way_is_no_second_stop() {
    let mut harness = Harness::new();
    let stopping = UnitStatus { has_job: true, ..status("queue", ActiveState::Deactivating) };
    assert_eq!(harness.observe(Fact::Units(vec![stopping])), [""; 0]);
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.observe(Fact::JobDone(unit("queue")));
    harness.goes("queue", ActiveState::Inactive);
    let seen = Inspection {
        active: ActiveState::Inactive,
        stop: Some(StopEvidence::Requested),
        displaced_by: Some("maintenance.service".into()),
        conflicts: vec!["maintenance.service".into()],
        ..crashed()
    };
    let actions = harness.shows("queue", seen);
    assert!(actions.iter().any(|action| action.starts_with("held queue: starting it would stop maint")), "{actions:?}");
}

#[test]
fn a_worker_that_gave_way_comes_back_if_it_is_enabled() {
    for enabled in [true, false] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes("queue", ActiveState::Inactive);
        let seen = Inspection {
            active: ActiveState::Inactive,
            file: Some(UnitFile { enabled, ..ENABLED }),
            stop: None,
            conflicts: vec!["maintenance.service".into()],
            ..crashed()
        };
        let actions = harness.shows("queue", seen.clone());
        if !enabled {
            // It may have been replaced for good.
            assert_eq!(actions, [""; 0]);
            continue;
        }
        assert_eq!(actions, ["inspect queue and its stop"], "for whom was it stopped?");
        waits_for_the_maintenance_and_comes_back(&mut harness, seen);
    }
}

/// `seen` is the first inspection, which has not searched for the stop.
#[track_caller]
fn waits_for_the_maintenance_and_comes_back(harness: &mut Harness, seen: Inspection) {
    let displaced =
        Inspection { stop: Some(StopEvidence::Requested), displaced_by: Some("maintenance.service".into()), ..seen };
    let actions = harness.shows("queue", displaced.clone());
    let is_held = actions.iter().any(|action| action.starts_with("held queue: starting it would stop maint"));
    assert!(is_held, "{actions:?}");
    harness.list(&[("queue", ActiveState::Inactive)]);
    let ended = Inspection { conflicts: Vec::new(), displaced_by: None, ..displaced };
    assert_eq!(harness.shows("queue", ended), ["starting queue #1", "start queue"]);
}

#[test]
fn the_end_of_the_stop_by_which_its_parent_took_it_along_is_no_stop_of_its_own() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Failed);
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), [""; 0]);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    let down_since = |age| Inspection {
        parents: vec![fpm(ActiveState::Failed, false)],
        deactivation: Some(Deactivation { left: SECOND, down: SECOND }),
        down_for: Some(age),
        ..crashed()
    };
    let parent = Parent { left: Some(SECOND), ..fpm(ActiveState::Failed, false) };
    let seen = Inspection { parents: vec![parent], ..down_since(SECOND) };
    assert_eq!(harness.shows("queue", seen.clone()), ["inspect queue and its stop"]);
    let actions = harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..seen.clone() });
    assert!(actions.iter().any(|what| what.starts_with("held queue: it needs lerd-php85-fpm.service")), "{actions:?}");
    // The end of another job is.
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue"]);
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn a_stop_of_a_worker_that_waits_for_its_parent_is_a_stop() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue"]);
    let seen = Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
    assert!(harness.goes("lerd-php85-fpm", ActiveState::Active).is_empty());
}

#[test]
fn a_stop_that_cancels_a_waiting_start_is_the_parents_if_that_goes_down() {
    for (is_stopped, replaces_start, expected) in
        [(true, true, None), (true, false, Some("stopped queue")), (false, true, Some("stopped queue"))]
    {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
        if replaces_start {
            // It was started by hand, and waits for its parent.
            harness.goes_with_job("queue", ActiveState::Failed);
            harness.observe(Fact::JobCancelled(unit("queue")));
        }
        harness.observe(Fact::JobDone(unit("queue")));
        let active = if is_stopped { ActiveState::Deactivating } else { ActiveState::Activating };
        let seen = Inspection { parents: vec![fpm(active, is_stopped)], down_for: Some(9 * SECOND), ..crashed() };
        harness.goes("queue", ActiveState::Failed);
        let actions = harness.shows("queue", seen);
        let stopped = actions.iter().map(String::as_str).find(|action| action.starts_with("stopped"));
        assert_eq!(stopped, expected, "stop of the parent: {is_stopped}, start cancelled: {replaces_start}");
        if stopped.is_none() {
            harness.goes("lerd-php85-fpm", ActiveState::Inactive);
            assert_eq!(harness.goes("lerd-php85-fpm", ActiveState::Active), ["inspect queue"]);
            let seen = Inspection { parents: vec![fpm(ActiveState::Active, false)], ..crashed() };
            assert_eq!(harness.shows("queue", seen), ["starting queue #1", "start queue"]);
        }
    }
}

#[test]
fn of_workers_that_need_each_other_one_is_started_unless_the_other_may_not_be() {
    let other = |active| Parent { name: "lerd-mail-myapp.service".to_owned(), ..fpm(active, false) };
    let queue = |active| Parent { name: "lerd-queue-myapp.service".to_owned(), ..fpm(active, false) };
    let both = [("queue", ActiveState::Active), ("mail", ActiveState::Active)];
    let mut harness = Harness::with_healthy_queue();
    harness.list(&both);
    harness.goes("queue", ActiveState::Failed);
    harness.goes("mail", ActiveState::Failed);
    let actions = harness.shows("queue", Inspection { parents: vec![other(ActiveState::Failed)], ..crashed() });
    assert!(actions[1].starts_with("held queue: it needs lerd-mail-myapp.service"), "{actions:?}");
    let actions = harness.shows("mail", Inspection { parents: vec![queue(ActiveState::Failed)], ..crashed() });
    assert_eq!(actions, ["detected mail: failed", "starting mail #1", "start mail"]);

    // One that was stopped waits for nothing, so the other one is held by it.
    let mut harness = Harness::with_healthy_queue();
    harness.list(&both);
    harness.goes_with_job("mail", ActiveState::Deactivating);
    harness.goes("mail", ActiveState::Inactive);
    harness.shows("mail", Inspection { active: ActiveState::Inactive, ..crashed() });
    harness.goes("queue", ActiveState::Failed);
    let actions = harness.shows("queue", Inspection { parents: vec![other(ActiveState::Inactive)], ..crashed() });
    assert!(actions[1].starts_with("held queue: it needs lerd-mail-myapp.service"), "{actions:?}");
}

#[test]
fn an_inspection_does_not_speak_for_workers_with_other_parents() {
    let pool = |active| Parent {
        name: "pool.service".into(),
        active,
        stopping: active == ActiveState::Deactivating,
        stops_when_unneeded: active == ActiveState::Inactive,
        left: Some(60 * SECOND),
        ..Parent::default()
    };
    let deactivation = Some(Deactivation { left: 50 * SECOND, down: 50 * SECOND });
    // The first was stopped with the pool, the second had failed before: only that one may bring it back.
    let along = |active| Inspection {
        active: ActiveState::Inactive,
        stop: Some(StopEvidence::Requested),
        deactivation: Some(Deactivation { left: 60 * SECOND, down: 60 * SECOND }),
        parents: vec![pool(active)],
        ..crashed()
    };
    let dead = |active| Inspection {
        stop: Some(StopEvidence::NotRequested),
        deactivation,
        parents: vec![pool(active)],
        ..crashed()
    };
    let mut harness = Harness::new();
    harness.list(&[("lerd-a-myapp", ActiveState::Inactive), ("lerd-b-myapp", ActiveState::Failed)]);
    harness.shows("lerd-a-myapp", along(ActiveState::Deactivating));
    harness.shows("lerd-b-myapp", dead(ActiveState::Deactivating));
    harness.list(&[("lerd-a-myapp", ActiveState::Inactive), ("lerd-b-myapp", ActiveState::Failed)]);
    let did = harness.shows("lerd-a-myapp", along(ActiveState::Inactive));
    assert!(did.iter().any(|did| did.starts_with("inspect b")), "{did:?}");
    let did = harness.shows("lerd-b-myapp", dead(ActiveState::Inactive));
    assert!(did.contains(&"start b".to_owned()), "{did:?}");
}

/// All processes of a container are killed: the worker dies some milliseconds before the container does, waits for its
/// automatic restart, and is then stopped with the container.
#[test]
fn a_worker_that_dies_just_before_its_parent_is_stopped_comes_back() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    let restarting = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
    harness.observe(Fact::Changed(restarting.clone()));
    harness.observe(Fact::Changed(UnitStatus { has_job: true, ..restarting }));
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.observe(Fact::JobDone(unit("queue")));
    harness.goes("queue", ActiveState::Inactive);
    let died = Duration::from_millis(59_993);
    let stopped = Inspection {
        active: ActiveState::Inactive,
        began: Some(SECOND),
        deactivation: Some(Deactivation { left: died, down: 60 * SECOND + Duration::from_millis(1) }),
        down_for: Some(Duration::from_millis(300)),
        run: Some("a".into()),
        parents: vec![fpm(ActiveState::Failed, false)],
        stop: Some(StopEvidence::Requested),
        ..crashed()
    };
    let actions = harness.shows("queue", stopped);
    assert!(actions.last().is_some_and(|it| it.starts_with("held queue: it needs lerd-php85-fpm")), "{actions:?}");
}

#[test]
fn a_worker_that_gave_way_while_it_waited_for_an_automatic_restart_comes_back_too() {
    let mut harness = Harness::with_healthy_queue();
    let restarting = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
    harness.observe(Fact::Changed(restarting));
    harness.goes_with_job("queue", ActiveState::Activating);
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.observe(Fact::JobDone(unit("queue")));
    assert_eq!(harness.goes("queue", ActiveState::Inactive), ["inspect queue"]);
    let seen = Inspection {
        active: ActiveState::Inactive,
        file: Some(ENABLED),
        conflicts: vec!["maintenance.service".into()],
        deactivation: Some(Deactivation { left: SECOND, down: 2 * SECOND }),
        began: Some(SECOND + SECOND / 100),
        at: 3 * SECOND,
        ..crashed()
    };
    assert_eq!(harness.shows("queue", seen.clone()), ["inspect queue and its stop"], "for whom was it stopped?");
    waits_for_the_maintenance_and_comes_back(&mut harness, seen);
}

#[test]
fn a_stop_before_the_last_login_does_not_outlast_a_start_that_the_login_requested() {
    let mut before = Harness::with_healthy_queue();
    before.goes_with_job("queue", ActiveState::Deactivating);
    before.goes("queue", ActiveState::Inactive);
    let run = |run: &str| Some(run.to_owned());
    let stopped = Inspection {
        active: ActiveState::Inactive,
        stop: Some(StopEvidence::Requested),
        run: run("before"),
        file: Some(ENABLED),
        ..crashed()
    };
    before.shows("queue", stopped.clone());
    // The login's manager knows of no run.
    let kept = Inspection {
        stop: Some(StopEvidence::KeptFromStarting),
        deactivation: None,
        began: None,
        run: run(""),
        parents: vec![fpm(ActiveState::Failed, false)],
        ..stopped
    };
    for (seen, is_superseded) in [
        (kept.clone(), true),
        (Inspection { run: run("before"), ..kept.clone() }, false),
        (Inspection { stop: Some(StopEvidence::NotRequested), ..kept.clone() }, false),
    ] {
        let mut harness = Harness::new();
        harness.healer.restore(before.healer.saved_state());
        assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), [""; 0]);
        let expected: &[&str] = if is_superseded { &["inspect queue and its stop"] } else { &[] };
        assert_eq!(harness.rechecked("queue", seen), expected);
        if is_superseded {
            let actions = harness.shows("queue", kept.clone());
            assert!(actions.iter().any(|it| it.starts_with("held queue: it needs lerd-php85-fpm")), "{actions:?}");
        }
    }
}
