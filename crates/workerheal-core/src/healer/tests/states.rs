//! What is wrong with a worker, other than that it failed.

use super::*;
use crate::report::Stage;

#[test]
fn a_crash_loop_is_reported_once_whenever_it_is_inspected() {
    let mut harness = Harness::with_healthy_queue();
    // For an instant of each turn systemd calls the unit failed, and has scheduled its restart by the time of the inspection.
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    let looping = Inspection {
        active: ActiveState::Activating,
        auto_restart: true,
        restarts: Some(Restarts { count: 7, last_run: Some(SECOND), delay: None, status: 1 }),
        ..crashed()
    };
    assert_eq!(
        harness.shows("queue", looping),
        [
            "detected queue: crash-looping: restarted 7 times by the service manager",
            "held queue: the service manager itself restarts it, 7 times so far"
        ]
    );
    for _ in 0..3 {
        for active in [ActiveState::Activating, ActiveState::Active, ActiveState::Failed] {
            assert_eq!(harness.goes("queue", active), [""; 0]);
        }
    }
}

/// The inspection sees it wait for its last restart, which the start limit then refuses; both signals of that come first.
#[test]
fn a_start_limit_that_is_reached_during_the_search_for_a_crash_loop_is_noticed() {
    for count in [3, 7] {
        let mut harness = Harness::with_healthy_queue();
        let waits = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
        let mut actions = Vec::new();
        while actions != ["inspect queue"] {
            harness.goes("queue", ActiveState::Active);
            actions = harness.observe(Fact::Changed(waits.clone()));
        }
        assert_eq!(harness.goes("queue", ActiveState::Failed), [""; 0]);
        let seen = Inspection {
            active: ActiveState::Activating,
            auto_restart: true,
            has_job: true,
            restarts: Some(Restarts { count, last_run: Some(SECOND), delay: None, status: 1 }),
            ..crashed()
        };
        let events = harness.shows("queue", seen);
        assert_eq!(events.is_empty(), count == 3, "{events:?}");
        let due = harness.due_in().unwrap();
        assert!(due <= SECOND, "{due:?}");
        assert_eq!(harness.after(due), ["inspect queue"]);
        let actions = harness.shows("queue", Inspection { restart: RestartPolicy::Always, ..crashed() });
        assert_eq!(actions.last().map(String::as_str), Some("start queue"), "{actions:?}");
    }
}

#[test]
fn a_paused_worker_in_a_crash_loop_is_not_unhealthy_until_it_is_resumed() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let looping = Inspection {
        active: ActiveState::Activating,
        auto_restart: true,
        restarts: Some(Restarts { count: 7, last_run: Some(SECOND), delay: None, status: 1 }),
        ..crashed()
    };
    harness.shows("queue", looping.clone());
    assert_eq!(unhealthy(&harness), ["myapp/queue crash-looping"]);
    let everything = vec![Target::Everything];
    assert_eq!(harness.observe(Fact::Pause(everything.clone(), None)), ["held queue: you paused everything"]);
    for active in [ActiveState::Activating, ActiveState::Active, ActiveState::Failed] {
        assert_eq!(harness.goes("queue", active), [""; 0]);
        assert_eq!(unhealthy(&harness), [""; 0]);
    }
    assert_eq!(harness.observe(Fact::Resume(everything)), ["inspect queue"]);
    harness.shows("queue", looping);
    assert_eq!(unhealthy(&harness), ["myapp/queue crash-looping"]);
}

#[test]
fn a_crash_loop_ends_with_a_run_that_lasts() {
    for (last_run, until) in [(SECOND, without_jitter().stable_after), (25 * SECOND, 50 * SECOND)] {
        let mut harness = Harness::with_healthy_queue();
        let restarts = Some(Restarts { count: 7, last_run: Some(last_run), delay: None, status: 1 });
        harness.goes("queue", ActiveState::Failed);
        harness
            .shows("queue", Inspection { active: ActiveState::Activating, auto_restart: true, restarts, ..crashed() });
        harness.goes("queue", ActiveState::Active);
        let mut waited = Duration::ZERO;
        while waited < until {
            let due = harness.due_in().unwrap();
            waited += due;
            assert_eq!(harness.after(due), ["see how long queue is up"]);
            let seen = Inspection { restarts, ..up(waited) };
            let actions = harness.answers_inspection("queue", Purpose::Uptime, Ok(seen));
            let expected: &[&str] = if waited < until { &[] } else { &["recovered queue"] };
            assert_eq!(actions, expected, "after {waited:?}");
        }
        assert_eq!(waited, until);
    }
}

#[test]
fn a_worker_that_came_up_again_is_not_restarted_for_earlier_refusals() {
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut harness = Harness::with(Policy { probes, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    let answer = ProbeAnswer::Refused("x:1".into());
    let result = ProbeResult { answer, up_for: Some(60 * SECOND), file_age: None };
    for _ in 0..3 {
        harness.observe(Fact::Probed(unit("queue"), result.clone()));
    }
    assert_eq!(harness.shows("queue", up(60 * SECOND)).last().map(String::as_str), Some("restart queue"));
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    let actions = harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.is_seen_failed("queue", actions)[0], "failed queue #1: exited right after starting");
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_start_limit_is_recognized_by_the_missing_restart() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let actions = harness.shows("queue", Inspection { restart: RestartPolicy::OnFailure, ..crashed() });
    assert_eq!(actions[0], "detected queue: start-limit-hit");
}

#[test]
fn states_that_are_not_configured_are_shown_and_left_alone() {
    let mut harness = Harness::with(Policy { states: vec![State::StartLimitHit], ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(
        harness.shows("queue", crashed()),
        ["detected queue: failed", "held queue: the configuration does not heal the state failed"]
    );
}

#[test]
fn a_oneshot_that_has_done_its_work_is_healed() {
    let oneshot = Inspection { oneshot: true, restart: RestartPolicy::OnFailure, ..crashed() };
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", oneshot);
    harness.goes("queue", ActiveState::Inactive);
    assert_eq!(harness.ends("queue", Outcome::Done), ["healed queue #1"]);
}

#[test]
fn an_idle_oneshot_is_ignored() {
    let mut harness = Harness::new();
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    let idle = Inspection { active: ActiveState::Inactive, oneshot: true, ..crashed() };
    assert!(harness.shows("queue", idle).is_empty());
    assert!(harness.goes("queue", ActiveState::Inactive).is_empty());
    assert!(harness.list(&[("queue", ActiveState::Inactive)]).is_empty(), "it is inspected once");
    assert_eq!(reported(&harness), [(Stage::Down, "it has done its work".to_owned())]);
    // Its start is a job that leaves it down, as a stop would.
    harness.now = harness.now + SECOND;
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue and its stop"]);
    let idle = Inspection { active: ActiveState::Inactive, oneshot: true, down_for: Some(SECOND), ..crashed() };
    harness.shows("queue", idle);
    assert_eq!(reported(&harness), [(Stage::Down, "it has done its work".to_owned())]);
}

fn reported(harness: &Harness) -> Vec<(Stage, String)> {
    harness.healer.reports(harness.now).into_iter().map(|report| (report.phase, report.reason)).collect()
}

#[test]
fn a_list_says_why_a_worker_is_down_as_an_explanation_does() {
    let file = UnitFile { enabled: false, ..ENABLED };
    let down = Inspection { active: ActiveState::Inactive, ..crashed() };
    let unsure = Some(StopEvidence::Unknown("no journal".into()));
    for (seen, reason) in [
        (Inspection { file: Some(file), ..down.clone() }, "nothing says that it should be up"),
        (
            Inspection { file: Some(UnitFile { on_demand: true, ..ENABLED }), ..down.clone() },
            "it is down until it is wanted",
        ),
        (Inspection { stop: unsure, ..down.clone() }, "it may have been stopped on purpose"),
        (Inspection { file: Some(file), stop: Some(StopEvidence::Requested), ..down }, "you stopped it"),
    ] {
        let mut harness = Harness::new();
        harness.list(&[("queue", ActiveState::Inactive)]);
        harness.shows("queue", seen);
        assert_eq!(reported(&harness), [(Stage::Down, reason.to_owned())]);
        harness.sites([paused_site("myapp")]);
        assert_eq!(reported(&harness), [(Stage::Down, "the site myapp is paused".to_owned())]);
    }
}

#[test]
fn a_list_shows_whether_a_worker_is_starting_or_stopping() {
    for (active, auto_restart, reason) in [
        (ActiveState::Activating, false, "it is on its way up"),
        (ActiveState::Activating, true, "the service manager is about to restart it"),
        (ActiveState::Deactivating, false, "it is being stopped"),
    ] {
        let mut harness = Harness::new();
        harness.observe(Fact::Units(vec![UnitStatus { auto_restart, ..status("queue", active) }]));
        assert_eq!(reported(&harness), [(Stage::Changing, reason.to_owned())]);
    }
}

/// A daemon that was started while a worker hung does not wait for as long again.
#[test]
fn a_worker_that_was_starting_when_it_was_found_is_inspected_soon() {
    let mut harness = Harness::with(Policy { timeout: 60 * SECOND, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Activating)]);
    harness.after(2 * SECOND);
    assert_eq!(harness.list(&[("queue", ActiveState::Activating)]), ["inspect queue and its stop"]);
    let transition = Some(Transition { lasts: 61 * SECOND, limit: None });
    let stuck = Inspection { active: ActiveState::Activating, transition, ..crashed() };
    let actions = harness.shows("queue", stuck);
    assert!(actions[0].starts_with("detected queue: stuck"), "{actions:?}");
}

#[test]
fn a_worker_that_a_person_started_and_stopped_during_an_inspection_is_inspected_again() {
    let mut harness = Harness::new();
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    // The inspection sees the start, but both jobs have ended when its result arrives.
    let starting = Inspection { active: ActiveState::Inactive, has_job: true, ..crashed() };
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.goes("queue", ActiveState::Active);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    assert_eq!(harness.shows("queue", starting), [""; 0]);
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
    harness.shows("queue", Inspection { active: ActiveState::Inactive, has_job: false, ..crashed() });
    assert_eq!(reported(&harness), [(Stage::Stopped, "you stopped it".to_owned())]);
}

#[test]
fn a_worktree_is_recognized_by_its_directory() {
    let asleep = [("feature".to_owned(), ["queue".to_owned()].into())].into();
    let mut harness = Harness::new();
    harness.sites([Site { worktree_idle_suspended: asleep, ..site("app") }]);
    assert_eq!(
        harness.list(&[("lerd-queue-app-feature", ActiveState::Failed)]),
        ["inspect lerd-queue-app-feature and its stop"]
    );
    let seen = Inspection { working_directory: Some(PathBuf::from("/srv/trees/feature")), ..crashed() };
    assert_eq!(
        harness.shows("lerd-queue-app-feature", seen),
        ["held lerd-queue-app-feature: the worker queue@feature of app sleeps until the site is used again"]
    );
}

#[test]
fn an_answer_that_comes_while_the_manager_reloads_counts() {
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut harness = Harness::with(Policy { probes, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    let says = |answer| ProbeResult { answer, up_for: Some(60 * SECOND), file_age: None };
    let refuses =
        |harness: &mut Harness| harness.observe(Fact::Probed(unit("queue"), says(ProbeAnswer::Refused("x:1".into()))));
    refuses(&mut harness);
    refuses(&mut harness);
    harness.observe(Fact::Frozen);
    harness.observe(Fact::Probed(unit("queue"), says(ProbeAnswer::Accepted)));
    harness.list(&[("queue", ActiveState::Active)]);
    assert!(refuses(&mut harness).is_empty(), "three in a row");
}

/// Where a unit works, and whether that is gone.
fn works_in(name: &str, directory: &str, gone: bool) -> Located {
    let directory = Some(PathBuf::from(directory));
    (unit(name), Ok(Location { directory, required: true, gone, container: false }))
}

fn unhealthy(harness: &Harness) -> Vec<String> {
    let reports = harness.healer.reports(harness.now);
    let unhealthy = reports.iter().filter_map(WorkerReport::unhealthy);
    unhealthy.map(|worker| format!("{} {}", worker.name(), worker.state)).collect()
}

#[test]
fn a_worker_without_its_directory_is_orphaned_whatever_its_state() {
    for active in [ActiveState::Active, ActiveState::Activating, ActiveState::Inactive, ActiveState::Failed] {
        let mut harness = Harness::new();
        harness.list(&[("queue", active)]);
        let mut did = harness.observe(Fact::Located(vec![works_in("queue", "/srv/myapp", true)]));
        let seen = Inspection {
            active,
            directory_gone: true,
            working_directory: Some("/srv/myapp".into()),
            stop: Some(StopEvidence::NotRequested),
            ..crashed()
        };
        did.extend(harness.shows("queue", seen.clone()));
        let held = "held queue: its working directory /srv/myapp is gone".to_owned();
        assert!(did.contains(&held) && did.contains(&"detected queue: orphaned".to_owned()), "{active}: {did:?}");
        assert_eq!(unhealthy(&harness), ["myapp/queue orphaned"], "{active}");
        // That stays so with each list, and while the manager starts it again and again.
        for next in [active, ActiveState::Activating, ActiveState::Active, ActiveState::Activating, active] {
            assert!(harness.goes("queue", next).iter().all(|did| !did.starts_with("recovered")), "{active} {next}");
            assert_eq!(unhealthy(&harness), ["myapp/queue orphaned"], "{active} {next}");
        }
        assert!(harness.list(&[("queue", active)]).is_empty(), "{active}");
        let still_gone = vec![works_in("queue", "/srv/myapp", true)];
        assert_eq!(harness.observe(Fact::Located(still_gone)), [""; 0], "{active}");
        // Its directory is back.
        let did = harness.observe(Fact::Located(vec![works_in("queue", "/srv/myapp", false)]));
        assert!(did.iter().any(|did| did.starts_with("inspect queue")), "{active}: {did:?}");
        let file = Some(UnitFile { enabled: active != ActiveState::Inactive, ..ENABLED });
        let did = harness.shows("queue", Inspection { directory_gone: false, file, ..seen });
        let expected = match active {
            ActiveState::Failed => "start queue",
            ActiveState::Inactive => "stopped queue: its directory is back, and it is down",
            _ => "",
        };
        assert!(expected.is_empty() || did.contains(&expected.to_owned()), "{active}: {did:?}");
    }
}

#[test]
fn a_missing_directory_does_not_override_a_stop_or_pause() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..crashed() });
    assert!(harness.observe(Fact::Located(vec![works_in("queue", "/srv/myapp", true)])).is_empty());
    assert_eq!(unhealthy(&harness), ["myapp/queue orphaned"]);
    harness.sites([paused_site("myapp")]);
    assert_eq!(unhealthy(&harness), [""; 0]);
    harness.sites(both_sites());
    assert!(harness.observe(Fact::Located(vec![works_in("queue", "/srv/myapp", false)])).is_empty());
    assert_eq!(unhealthy(&harness), [""; 0]);
}

#[test]
fn the_worker_of_a_unit_is_known_before_it_fails() {
    let mut harness = Harness::new();
    harness.list(&[
        ("lerd-vite-myapp-feat-x", ActiveState::Active),
        ("queue", ActiveState::Active),
        ("lerd-x", ActiveState::Active),
    ]);
    assert!(!harness.healer.knows_all_workers());
    // Those whose names do not identify a worker come first; what is no worker is not asked about.
    assert_eq!(harness.healer.take_unlocated(), [unit("lerd-vite-myapp-feat-x"), unit("queue")]);
    assert!(harness.healer.take_unlocated().is_empty());
    harness.observe(Fact::Located(vec![(unit("lerd-vite-myapp-feat-x"), Err("no answer".to_owned()))]));
    assert!(harness.healer.take_unlocated().is_empty(), "not at once: it may never be answered");
    harness.list(&[("queue", ActiveState::Active), ("lerd-vite-myapp-feat-x", ActiveState::Active)]);
    assert_eq!(harness.healer.take_unlocated(), [unit("lerd-vite-myapp-feat-x")], "it is asked again");
    harness.observe(Fact::Located(vec![works_in("lerd-vite-myapp-feat-x", "/wt/feat.x", false)]));
    let names =
        |harness: &Harness| harness.healer.reports(harness.now).iter().map(WorkerReport::name).collect::<Vec<_>>();
    assert_eq!(names(&harness), ["myapp/queue", "myapp/vite@feat-x"]);
    assert!(harness.healer.knows_all_workers());
    // Another registry may make another's of it.
    harness.sites([Site::new("myapp-feat", "/srv/x"), Site::new("feat-x", "/wt/feat.x"), site("myapp")]);
    assert_eq!(harness.healer.take_unlocated().len(), 2);
    harness.observe(Fact::Located(vec![works_in("lerd-vite-myapp-feat-x", "/wt/feat.x", false)]));
    assert_eq!(names(&harness), ["feat-x/vite-myapp", "myapp/queue"]);
    // And a container is no worker.
    let container = Location { container: true, ..Location::default() };
    harness.observe(Fact::Located(vec![(unit("queue"), Ok(container))]));
    assert_eq!(names(&harness), ["feat-x/vite-myapp"]);
}

#[test]
fn an_inquiry_inspects_units_that_the_manager_is_about_to_restart() {
    let random = fastrand::Rng::with_seed(7);
    let healer = Healer::new(Mode::Inquiry, context(without_jitter()), random);
    let mut harness = Harness { healer, now: Timestamp::default() };
    let waits = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
    assert_eq!(harness.observe(Fact::Units(vec![waits])), ["inspect queue and its stop"]);
    let looping = Inspection {
        active: ActiveState::Activating,
        auto_restart: true,
        restarts: Some(Restarts { count: 40, last_run: Some(SECOND), delay: None, status: 1 }),
        stop: Some(StopEvidence::NotRequested),
        ..crashed()
    };
    harness.shows("queue", looping);
    assert_eq!(unhealthy(&harness), ["myapp/queue crash-looping"]);
}

#[test]
fn how_long_a_worker_is_stuck_is_said_as_of_now() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Activating);
    harness.after(300 * SECOND);
    assert_eq!(harness.list(&[("queue", ActiveState::Activating)]), ["inspect queue"]);
    let transition = Some(Transition { lasts: 300 * SECOND, limit: Some(250 * SECOND) });
    harness.shows("queue", Inspection { active: ActiveState::Activating, transition, ..crashed() });
    assert_eq!(reported(&harness), [(Stage::Held, "it has been starting for 5m".to_owned())]);
    harness.after(7 * SECOND);
    assert_eq!(reported(&harness), [(Stage::Held, "it has been starting for 5m 7s".to_owned())]);
}

#[test]
fn a_held_worker_is_shown_as_held_while_it_is_inspected_again() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let parents = vec![Parent { name: "dep.service".into(), active: ActiveState::Inactive, ..Parent::default() }];
    let seen = Inspection { parents, ..crashed() };
    harness.shows("queue", seen.clone());
    let held = [(Stage::Held, "it needs dep.service, which is down".to_owned())];
    assert_eq!(reported(&harness), held);
    // Only an inspection shows whether that unit is up.
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue"]);
    assert_eq!(reported(&harness), held);
    assert!(harness.healer.plan(harness.now).unhealthy.len() == 1);
    harness.shows("queue", seen);
    assert_eq!(reported(&harness), held);
    // A request is newer.
    harness.observe(Fact::Heal(vec![unit("queue")]));
    assert_eq!(reported(&harness), [(Stage::Due, String::new())]);
}

#[test]
fn a_hold_that_is_over_is_not_shown_while_the_worker_is_inspected() {
    let mut harness = Harness::with_healthy_queue();
    harness.sites([paused_site("myapp")]);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(reported(&harness), [(Stage::Held, "the site myapp is paused".to_owned())]);
    harness.sites(both_sites());
    assert_eq!(reported(&harness), [(Stage::Due, String::new())]);
}

#[test]
fn a_worker_whose_file_has_a_mistake_is_reported_wherever_it_is_enabled() {
    for (enabled, stage, reason) in [
        (true, Stage::GaveUp, "the unit's file has a setting that the service manager refuses"),
        (false, Stage::Down, "nothing says that it should be up"),
    ] {
        let mut harness = Harness::new();
        let bad = UnitStatus { load: Some(LoadState::BadSetting), ..status("queue", ActiveState::Inactive) };
        assert_eq!(harness.observe(Fact::Units(vec![bad])), ["inspect queue and its stop"]);
        let file = Some(UnitFile { enabled, ..ENABLED });
        let (active, load, run) = (ActiveState::Inactive, LoadState::BadSetting, Some(String::new()));
        harness.shows("queue", Inspection { load, active, file, run, ..crashed() });
        assert_eq!(reported(&harness), [(stage, reason.to_owned())]);
        let listed: &[&str] = if enabled { &["myapp/queue expected-but-stopped"] } else { &[] };
        assert_eq!(unhealthy(&harness), listed);
    }
}

#[test]
fn a_restart_of_the_daemon_leaves_the_group_that_a_worker_was_stopped_with() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    harness.goes("queue", ActiveState::Failed);
    harness.fails("queue", "boom");
    let stopped_groups = vec![StoppedGroup { name: "app.target".into(), left: Some(70 * SECOND) }];
    let seen = Inspection { began: Some(50 * SECOND), at: 100 * SECOND, stopped_groups, ..crashed() };
    harness.after(SECOND);
    harness.shows("queue", seen.clone());
    let stopped = [(Stage::Stopped, "app.target was stopped, which it is part of".to_owned())];
    assert_eq!(reported(&harness), stopped);

    let saved = harness.healer.saved_state();
    let mut harness = Harness::new();
    harness.healer.restore(saved);
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.rechecked("queue", seen);
    assert_eq!(reported(&harness), stopped);
}

#[test]
fn a_worker_that_is_down_is_not_unhealthy_before_an_inspection_has_shown_that() {
    let mut harness = Harness::with(Policy { states: vec![State::ExpectedButStopped], ..without_jitter() });
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    assert_eq!(harness.healer.reports(harness.now)[0].state, None);
    let seen = Inspection {
        active: ActiveState::Inactive,
        stop: Some(StopEvidence::NotRequested),
        file: Some(ENABLED),
        ..crashed()
    };
    harness.shows("queue", seen);
    assert_eq!(harness.healer.reports(harness.now)[0].state, Some(State::ExpectedButStopped));
}

#[test]
fn whether_runs_end_cleanly_is_remembered_while_the_next_is_up() {
    for (status, is_told) in [(0, false), (1, true)] {
        let mut harness = Harness::with_healthy_queue();
        let waits = UnitStatus { auto_restart: true, ..super::status("queue", ActiveState::Activating) };
        let restarts = Some(Restarts { count: 30, last_run: Some(SECOND), delay: None, status });
        let waiting = Inspection {
            active: ActiveState::Activating,
            auto_restart: true,
            result: ServiceResult::Success,
            restarts,
            ..crashed()
        };
        // Every other inspection comes late.
        let mut inspections = [waiting, Inspection { restarts, ..up(Duration::ZERO) }].into_iter().cycle();
        let mut told = Vec::new();
        for _ in 0..120 {
            if harness.observe(Fact::Changed(waits.clone())) == ["inspect queue"] {
                told.extend(harness.shows("queue", inspections.next().unwrap()));
            }
            harness.goes("queue", ActiveState::Active);
        }
        assert_eq!(told.iter().any(|event| event.starts_with("detected")), is_told, "{told:?}");
        assert_eq!(unhealthy(&harness).is_empty(), !is_told);
    }
}
