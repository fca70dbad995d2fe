//! An incident ends with one event, and nothing is reported as healed before it is proven.

use std::fs;
use std::time::Duration;

use crate::common::{BY_SIGNALS, DAEMON, LIVES, LIVES_UNLESS_BROKEN, SOON, World, service_of, text, written};
use crate::reports::stage::{
    SETTINGS, count, enable, is_explained_as_given_up, pass_time, phases, run, status, try_to_start,
    wait_for_diagnosis, wait_until_given_up, world, write,
};

/// Asserts all attempts for a worker that can never come up, from the first to the give-up, and silence after that.
#[track_caller]
fn is_given_up_once(world: &World, unit: &str) {
    let mut events = world.start_daemon();
    try_to_start(world, unit);
    events.wait("gave-up", unit);
    wait_until_given_up(world, unit);
    let untouched = world.picture(&[unit]);
    pass_time(world, &mut events, 4);
    let reported = phases(world, unit);
    assert_eq!(reported.last().map(String::as_str), Some("gave-up"), "{reported:?}");
    assert_eq!((count(&reported, "gave-up"), count(&reported, "detected")), (1, 1), "{reported:?}");
    assert_eq!((count(&reported, "recovered"), count(&reported, "healed")), (0, 0), "{reported:?}");
    assert_eq!(count(&reported, "starting"), 4, "{reported:?}");
    assert_eq!(world.picture(&[unit]), untouched);
    assert!(world.diagnosis(unit).is_some(), "it is not listed");
}

/// A server that exits with an error at once is restarted by systemd up to its start limit, again after each attempt
/// (owntone issue 968, blue-build modules issue 355).
#[test]
fn a_worker_whose_restarts_by_systemd_all_fail_is_given_up_once() {
    let world = world();
    enable(&world, "app-s", "", "ExecStart=sh -c 'exit 3'\nRestart=always");
    is_given_up_once(&world, "app-s");
}

/// The same for a worker that lives for a moment each time, so that it seems to have come back.
#[test]
fn a_worker_that_lives_for_a_moment_after_each_restart_by_systemd_is_given_up_once() {
    let world = world();
    enable(&world, "app-s", "StartLimitBurst=3", "ExecStart=sh -c 'sleep 0.2; exit 3'\nRestart=always");
    is_given_up_once(&world, "app-s");
}

/// Waits until a worker is given up, and asserts that neither a reload without changes nor a restart of the daemon ends
/// that.
#[track_caller]
fn stays_given_up(world: &World, unit: &str) {
    let mut events = world.start_daemon();
    try_to_start(world, unit);
    events.wait("gave-up", unit);
    wait_until_given_up(world, unit);
    let (untouched, reported) = (world.picture(&[unit]), world.reported(unit));
    assert_eq!((count(&reported, "gave-up"), count(&reported, "starting")), (1, 4), "{reported:?}");
    for disturb in [&["daemon-reload"][..], &["restart", DAEMON]] {
        world.control(disturb);
        pass_time(world, &mut events, 2);
        assert_eq!(world.reported(unit), reported, "after {disturb:?}");
        assert_eq!(world.picture(&[unit]), untouched, "after {disturb:?}");
        wait_until_given_up(world, unit);
    }
}

/// A command before the worker's own fails at each start, and systemd restarts it up to its start limit (systemd issue
/// 11868).
#[test]
fn a_worker_whose_preparation_fails_stays_given_up_through_a_reload_and_a_restart_of_the_daemon() {
    let world = world();
    enable(&world, "app-s", "StartLimitBurst=3", "ExecStartPre=false\nExecStart=sleep infinity\nRestart=always");
    stays_given_up(&world, "app-s");
}

/// A worker never reports that it is ready, so systemd ends each start at its timeout and retries (systemd issue
/// 11868).
#[test]
fn a_worker_that_never_becomes_ready_stays_given_up_through_a_reload_and_a_restart_of_the_daemon() {
    let world = world();
    let service = "Type=notify\nTimeoutStartSec=200ms\nExecStart=sleep infinity\nRestart=always";
    enable(&world, "app-s", "StartLimitBurst=2", service);
    stays_given_up(&world, "app-s");
}

/// A generator rewrites the unit's file on each reload with the same text, as for quadlets (podman issue 23411).
#[test]
fn a_generated_unit_stays_given_up_until_its_text_changes() {
    let world = world();
    let text = "[Unit]\nDescription=Generated\n[Service]\nExecStart=";
    world.write_file("generated", &format!("{text}sh -c 'exit 3'\n"));
    let directory = "/run/systemd/user-generators";
    let generator = format!("#!/bin/sh\ncp {} \"$1/app-g.service\"\n", world.path("generated"));
    world.write_file("generator", &generator);
    let install = format!("mkdir -p {directory} && install -m 755 {} {directory}", world.path("generator"));
    assert!(world.command("sh").args(["-c", &install]).status().unwrap().success());
    world.daemon_reload();
    assert_eq!(world.show("app-g.service", "UnitFileState"), "generated");

    let mut events = world.start_daemon();
    try_to_start(&world, "app-g");
    events.wait("gave-up", "app-g");
    let (untouched, reported) = (world.picture(&["app-g"]), world.reported("app-g"));
    for _ in 0..2 {
        world.daemon_reload();
        pass_time(&world, &mut events, 1);
    }
    assert_eq!(world.reported("app-g"), reported);
    assert_eq!(world.picture(&["app-g"]), untouched);
    wait_until_given_up(&world, "app-g");

    world.write_file("generated", &format!("{text}sleep infinity\n"));
    world.daemon_reload();
    events.wait("healed", "app-g");
}

/// The worker ends with a status after which its unit excludes restarts (systemd issue 11597, subiquity issue 2141).
#[test]
fn a_worker_whose_exit_status_forbids_restarts_is_given_up_without_an_attempt() {
    let world = world();
    let service = "ExecStart=sh -c 'exit 78'\nRestart=always\nRestartPreventExitStatus=78";
    enable(&world, "app-s", "", service);
    try_to_start(&world, "app-s");
    world.wait_for_state("app-s.service", "failed", SOON);
    let untouched = world.picture(&["app-s"]);
    // It is listed with and without a daemon.
    assert_eq!(world.diagnosis("app-s").as_deref(), Some("failed"));
    let mut events = world.start_daemon();
    let gave_up = events.wait("gave-up", "app-s");
    assert!(text(&gave_up, "WORKERHEAL_REASON").contains("78"), "{gave_up:#}");
    pass_time(&world, &mut events, 2);
    assert_eq!(phases(&world, "app-s"), ["detected", "gave-up"]);
    assert_eq!(world.picture(&["app-s"]), untouched);
    wait_for_diagnosis(&world, "app-s", "failed");
    wait_until_given_up(&world, "app-s");
}

/// The same with a signal, for a worker that systemd restarts after any other end.
#[test]
fn a_worker_that_ends_by_a_signal_that_forbids_restarts_is_given_up_until_a_person_heals_it() {
    let world = world();
    run(&world, "app-s", "", "ExecStart=sleep infinity\nRestart=on-failure\nRestartPreventExitStatus=SIGKILL");
    let mut events = world.start_daemon();
    world.crash("app-s");
    events.wait("gave-up", "app-s");
    pass_time(&world, &mut events, 2);
    assert_eq!(phases(&world, "app-s"), ["detected", "gave-up"]);
    let ran = world.run(&["heal", "app-s"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(world.show("app-s.service", "ActiveState"), "active");
}

/// A worker fails, and ends after our start with a status that excludes restarts.
#[test]
fn an_attempt_that_ends_with_a_status_that_forbids_restarts_is_the_last() {
    let world = world();
    world.write_file("status", "3");
    let service = "ExecStart=sh -c 'exit $$(cat %h/status)'\nRestart=on-failure\nRestartPreventExitStatus=78";
    enable(&world, "app-s", "StartLimitBurst=1", service);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-s");
    events.wait("scheduled", "app-s");
    world.write_file("status", "78");
    let before = count(&phases(&world, "app-s"), "starting");
    let gave_up = events.wait("gave-up", "app-s");
    assert!(text(&gave_up, "WORKERHEAL_REASON").contains("78"), "{gave_up:#}");
    // An attempt may have been under way.
    let after = count(&phases(&world, "app-s"), "starting");
    assert!((before..=before + 2).contains(&after) && after < 4, "{before} and {after} starts");
}

/// systemd restarts a worker up to its start limit, then refuses.
#[test]
fn a_start_limit_reached_by_systemds_restarts_is_noticed() {
    let world = World::new();
    world.config(&format!("also_watch: [\"app-*.service\"]\n{BY_SIGNALS}"));
    let mut events = world.start_daemon();
    // The best of three: a busy machine may delay one of them.
    let noticed = ["app-a", "app-b", "app-c"].map(|unit| {
        let service = "Restart=always\nRestartSec=10ms\n\
            ExecStart=sh -c 'echo >>%h/%N.runs; test $$(wc -l <%h/%N.runs) -gt 3 || exit 1; exec sleep infinity'";
        run(&world, unit, "StartLimitBurst=3\nStartLimitIntervalSec=1h", service);
        let detected = events.wait("detected", unit);
        assert_eq!(detected["WORKERHEAL_REASON"], "start-limit-hit");
        events.wait("healed", unit);
        written(&detected).saturating_sub(world.since_boot(unit, "InactiveEnterTimestamp"))
    });
    let best = noticed.into_iter().min().unwrap();
    assert!(best < Duration::from_millis(300), "noticed after {best:?} at best");
}

/// A setting of the unit is changed at run time, without a reload, after it was given up (OloEngineBase issue 1116).
#[test]
fn after_a_change_without_a_reload_explain_and_the_healer_agree() {
    let world = world();
    world.write_file("broken", "");
    enable(&world, "app-p", "", LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-p");
    events.wait("gave-up", "app-p");
    let before = count(&phases(&world, "app-p"), "starting");
    world.control(&["set-property", "app-p.service", "MemoryMax=1G"]);
    pass_time(&world, &mut events, 3);
    // New attempts may or may not be made.
    if count(&phases(&world, "app-p"), "starting") == before {
        assert_eq!(status(&world, "app-p")["phase"], "gave-up");
        is_explained_as_given_up(&world, "app-p");
    }
}

/// A worker that lived for 25 ms was reported as recovered (owntone issue 968).
#[test]
fn a_manual_start_is_a_recovery_only_once_the_worker_has_stayed_up() {
    let world = World::with_a_waiting_worker("lerd-queue-myapp", "lerd-other-shop");
    let mut events = world.events();
    world.config(&SETTINGS.replace("initial: 250ms, max: 2s", "initial: 5m"));
    events.wait_for_log(&["new configuration"]);
    // While it is broken it lives for a moment only.
    for _ in 0..3 {
        world.control(&["start", "lerd-queue-myapp"]);
        world.wait_for_state("lerd-queue-myapp.service", "failed", SOON);
    }
    pass_time(&world, &mut events, 1);
    assert_eq!(count(&phases(&world, "lerd-queue-myapp"), "recovered"), 0);
    fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["start", "lerd-queue-myapp"]);
    let recovered = events.wait_any(&["recovered", "healed"], "lerd-queue-myapp");
    let stayed_up = written(&recovered).saturating_sub(world.since_boot("lerd-queue-myapp", "ActiveEnterTimestamp"));
    assert!(stayed_up >= Duration::from_millis(400), "reported after {stayed_up:?}");
}

/// A person who starts a worker that was given up wants it up: it is retried from there on.
#[test]
fn a_start_by_a_person_ends_a_give_up() {
    let world = world();
    world.write_file("broken", "");
    enable(&world, "app-p", "", LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-p");
    events.wait("gave-up", "app-p");
    world.control(&["reset-failed", "app-p"]);
    world.control(&["start", "app-p"]);
    world.wait_for_state("app-p.service", "failed", SOON);
    events.wait("starting", "app-p");
    fs::remove_file(world.home().join("broken")).unwrap();
    events.wait("healed", "app-p");
}

/// Waits until a worker is given up because of the file `broken`.
fn given_up() -> World {
    let world = world();
    world.write_file("broken", "");
    // A person has to be able to start it at any time.
    enable(&world, "app-p", "StartLimitIntervalSec=0", LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-p");
    events.wait("gave-up", "app-p");
    drop(events);
    fs::remove_file(world.home().join("broken")).unwrap();
    world
}

/// A file rewritten with the same text has the same definition.
#[test]
fn a_unit_file_that_is_written_again_with_the_same_text_does_not_end_a_give_up() {
    let world = given_up();
    let mut events = world.events();
    let untouched = world.picture(&["app-p"]);
    write(&world, "app-p", "StartLimitIntervalSec=0", LIVES_UNLESS_BROKEN);
    world.daemon_reload();
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-p"]), untouched);
    wait_until_given_up(&world, "app-p");
}

/// Drop-in files are part of the definition.
#[test]
fn a_drop_in_file_that_is_added_or_removed_ends_a_give_up() {
    let drop_in = ".config/systemd/user/app-p.service.d/breaks.conf";
    let breaks = "[Service]\nExecStart=\nExecStart=sh -c 'exit 3'\n";
    for added in [true, false] {
        let world = world();
        enable(&world, "app-p", "", if added { "ExecStart=sh -c 'exit 3'" } else { LIVES });
        if !added {
            world.write_file(drop_in, breaks);
            world.daemon_reload();
        }
        let mut events = world.start_daemon();
        try_to_start(&world, "app-p");
        events.wait("gave-up", "app-p");
        if added {
            world.write_file(drop_in, &breaks.replace("sh -c 'exit 3'", "sleep infinity"));
        } else {
            fs::remove_file(world.home().join(drop_in)).unwrap();
        }
        world.daemon_reload();
        events.wait("healed", "app-p");
    }
}

/// An assertion of the unit does not hold, so that each start is refused.
#[test]
fn a_worker_whose_assertion_fails_stays_failed_and_is_given_up() {
    let world = world();
    world.write_file("needed", "");
    run(&world, "app-p", "AssertPathExists=%h/needed", LIVES);
    let mut events = world.start_daemon();
    fs::remove_file(world.home().join("needed")).unwrap();
    world.crash("app-p");
    events.wait("gave-up", "app-p");
    wait_until_given_up(&world, "app-p");
    wait_for_diagnosis(&world, "app-p", "failed");
    let reported = phases(&world, "app-p");
    assert_eq!(
        (count(&reported, "gave-up"), count(&reported, "healed"), count(&reported, "recovered")),
        (1, 0, 0),
        "{reported:?}"
    );
}

/// A condition of the unit does not hold: a start has no effect, and is no success.
#[test]
fn a_worker_with_an_unmet_condition_is_never_reported_as_healed() {
    let world = world();
    world.write_file("needed", "");
    run(&world, "app-p", "ConditionPathExists=%h/needed", LIVES);
    let mut events = world.start_daemon();
    fs::remove_file(world.home().join("needed")).unwrap();
    world.crash("app-p");
    events.wait_any(&["gave-up", "held"], "app-p");
    pass_time(&world, &mut events, 1);
    let reported = phases(&world, "app-p");
    assert!(matches!(reported.last().map(String::as_str), Some("gave-up" | "held")), "{reported:?}");
    assert_eq!(
        (count(&reported, "healed"), count(&reported, "recovered"), count(&reported, "stopped")),
        (0, 0, 0),
        "{reported:?}"
    );
    assert_ne!(world.show("app-p.service", "ActiveState"), "active");
}

/// A person's action ends a give-up, and so does a proven uptime.
#[test]
fn a_resume_and_a_proven_uptime_each_end_a_give_up() {
    let world = given_up();
    let mut events = world.events();
    assert_eq!(world.run(&["pause", "app-p"]).status, 0);
    assert_eq!(world.run(&["resume", "app-p"]).status, 0);
    let starting = events.wait("starting", "app-p");
    assert_eq!(starting["WORKERHEAL_ATTEMPT"], "1");
    events.wait("healed", "app-p");

    let world = given_up();
    let mut events = world.events();
    world.control(&["start", "app-p"]);
    events.wait_any(&["recovered", "healed"], "app-p");
    world.crash("app-p");
    let starting = events.wait("starting", "app-p");
    assert_eq!(starting["WORKERHEAL_ATTEMPT"], "1");
}

/// While systemd restarts a worker, nothing else is done, and no recovery is reported before it has stayed up.
#[test]
fn a_worker_that_systemd_restarts_is_left_to_it() {
    let world = world();
    run(&world, "app-s", "", "ExecStart=sleep infinity\nRestart=always\nRestartSec=1");
    let mut events = world.start_daemon();
    world.crash("app-s");
    world.wait_until("systemd to restart it", SOON, || (world.show("app-s.service", "NRestarts") == "1").then_some(()));
    pass_time(&world, &mut events, 2);
    let reported = phases(&world, "app-s");
    assert_eq!((count(&reported, "starting"), count(&reported, "failed")), (0, 0), "{reported:?}");
    assert_eq!(world.show(&service_of("app-s"), "NRestarts"), "1");
    assert_eq!(world.show("app-s.service", "ActiveState"), "active");
    assert_eq!(world.diagnosis("app-s"), None);
}
