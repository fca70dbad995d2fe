//! No worker that should be up is forgotten: not one that went down with another unit, nor one whose failure a person
//! cleared, nor one whose socket no longer listens.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{DAEMON, FAILS_WHEN_STOPPED, LIVES, LIVES_UNLESS_BROKEN, Ran, SOON, World, service_of};
use crate::reports::stage::{
    SETTINGS, assert_none_of, enable, explain, is_held_by, is_left_down, pass_time, phases, run, status, try_to_start,
    wait_for_diagnosis, wait_for_phase, world, world_with_waits_of, write,
};

/// Scripts of packages restart running units (`try-restart`), which does not affect a worker that is down (snapd issue
/// 11680, smfc issue 122).
#[test]
fn a_try_restart_does_not_end_the_healing_of_a_waiting_worker() {
    let world = world_with_waits_of("1s");
    let verbs = ["try-restart", "condrestart", "try-reload-or-restart"];
    let units = ["app-a", "app-b", "app-c"];
    world.write_file("broken", "");
    for unit in units {
        enable(&world, unit, "", LIVES_UNLESS_BROKEN);
        try_to_start(&world, unit);
    }
    let _events = world.start_daemon();
    for (unit, verb) in units.into_iter().zip(verbs) {
        wait_for_phase(&world, unit, "waiting");
        world.control(&[verb, unit]);
    }
    fs::remove_file(world.home().join("broken")).unwrap();
    for unit in units {
        world.wait_for_state(&service_of(unit), "active", SOON);
        world.wait_for_healed(unit);
        assert_none_of(&world, unit, &["stopped"]);
    }
}

/// A worker ends without an error on a reload, and clean exits are configured to be healed (celery issue 4388).
#[test]
fn a_worker_that_a_reload_ends_is_healed_as_after_any_end() {
    let world = world();
    world.config(&SETTINGS.replace("stable_after", "states: [failed, expected-but-stopped], stable_after"));
    let service = "Type=notify\nNotifyAccess=all\nExecReload=kill -HUP $MAINPID\n\
        ExecStart=sh -c 'trap \"exit 0\" HUP; sleep infinity & systemd-notify --ready; wait'";
    run(&world, "app-r", "", service);
    run(&world, "app-h", "", service);
    let mut events = world.start_daemon();
    world.control(&["kill", "--signal=HUP", "app-h"]);
    events.wait("healed", "app-h");
    let _ = world.systemctl(&["reload", "app-r"]);
    let next = events.wait_any(&["detected", "stopped"], "app-r");
    assert_eq!(next["WORKERHEAL_REASON"], "expected-but-stopped", "{next:#}");
    events.wait("healed", "app-r");
    assert_eq!(phases(&world, "app-r"), phases(&world, "app-h"));
}

/// A worker that ends without an error is listed, and left alone by default.
#[test]
fn a_worker_that_a_reload_ends_is_shown_where_ends_are_not_healed() {
    let world = world();
    let service = "Type=notify\nNotifyAccess=all\nExecReload=kill -HUP $MAINPID\n\
        ExecStart=sh -c 'trap \"exit 0\" HUP; sleep infinity & systemd-notify --ready; wait'";
    run(&world, "app-r", "", service);
    let mut events = world.start_daemon();
    let _ = world.systemctl(&["reload", "app-r"]);
    world.wait_for_state("app-r.service", "inactive", SOON);
    let untouched = world.picture(&["app-r"]);
    wait_for_diagnosis(&world, "app-r", "expected-but-stopped");
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-r"]), untouched);
    assert_none_of(&world, "app-r", &["stopped", "starting"]);
}

/// A worker requires a oneshot that has finished and is inactive since (afterburn issue 695, lokomotive issue 1371).
#[test]
fn healing_a_worker_does_not_rerun_a_finished_oneshot() {
    for by_hand in [false, true] {
        let world = world();
        world.write_unit("migrate.service", "[Service]\nType=oneshot\nExecStart=sh -c 'echo >>%h/runs'\n");
        run(&world, "app-m", "Requires=migrate.service\nAfter=migrate.service", LIVES);
        let runs = || fs::read_to_string(world.home().join("runs")).unwrap().lines().count();
        assert_eq!((runs(), world.show("migrate.service", "ActiveState").as_str()), (1, "inactive"));
        if by_hand {
            world.crash_for_good(["app-m"]);
            let ran = world.run(&["heal", "app-m"]);
            assert_eq!(ran.status, 0, "{ran:?}");
        } else {
            let mut events = world.start_daemon();
            world.crash("app-m");
            events.wait("healed", "app-m");
            assert_eq!(phases(&world, "app-m"), ["detected", "starting", "healed"]);
        }
        assert_eq!((runs(), world.show("app-m.service", "ActiveState").as_str()), (1, "active"));
    }
}

/// A oneshot that has failed has not finished: workers that require it wait.
#[test]
fn a_worker_that_requires_a_failed_oneshot_is_held_by_it() {
    let world = world();
    let migrate = "[Service]\nType=oneshot\nExecStart=sh -c 'test ! -e %h/broken'\n";
    world.write_unit("migrate.service", migrate);
    run(&world, "app-m", "Requires=migrate.service\nAfter=migrate.service", LIVES);
    world.write_file("broken", "");
    try_to_start(&world, "migrate");
    world.crash("app-m");
    let mut events = world.start_daemon();
    is_held_by(&world, "app-m", "migrate.service");
    let untouched = world.picture(&["app-m", "migrate"]);
    pass_time(&world, &mut events, 1);
    assert_eq!(world.picture(&["app-m", "migrate"]), untouched);
    fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["start", "migrate"]);
    events.wait("healed", "app-m");
}

/// The usual unit for `docker compose up -d`, tunnels and networks: it stays up until it is stopped.
#[test]
fn workers_of_a_oneshot_that_remains_after_its_exit_stay_down_while_that_is_stopped() {
    let world = world();
    world.write_unit("stack.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=true\n");
    run(&world, "app-r", "Requires=stack.service\nAfter=stack.service", LIVES);
    run(&world, "app-b", "BindsTo=stack.service\nAfter=stack.service", LIVES);
    let mut events = world.start_daemon();
    world.control(&["stop", "stack"]);
    for worker in ["app-r", "app-b"] {
        is_held_by(&world, worker, "stack.service");
    }
    pass_time(&world, &mut events, 2);
    for worker in ["app-r", "app-b"] {
        assert_none_of(&world, worker, &["starting"]);
    }
    assert_eq!(world.show("stack.service", "ActiveState"), "inactive");
    world.control(&["start", "stack"]);
    for worker in ["app-r", "app-b"] {
        world.wait_for_state(&service_of(worker), "active", SOON);
    }
}

/// A worker that fails for each of its clients until systemd gives up its socket; the cause is fixed.
fn world_with_a_failed_socket() -> World {
    let world = world();
    world.write_unit("app-web.socket", "[Socket]\nListenStream=%t/app-web.sock\n[Install]\nWantedBy=default.target\n");
    enable(&world, "app-web", "StartLimitBurst=3", LIVES_UNLESS_BROKEN);
    world.control(&["enable", "--now", "app-web.socket"]);
    world.write_file("broken", "");
    UnixStream::connect(world.runtime_dir().join("app-web.sock")).unwrap();
    world.wait_for_state("app-web.socket", "failed", SOON);
    assert_eq!(world.show("app-web.socket", "Result"), "service-start-limit-hit");
    fs::remove_file(world.home().join("broken")).unwrap();
    world
}

/// Asserts that clients are served.
#[track_caller]
fn is_reached(world: &World) {
    world.wait_for_state("app-web.socket", "active", SOON);
    UnixStream::connect(world.runtime_dir().join("app-web.sock")).unwrap();
    world.wait_for_state("app-web.service", "active", SOON);
    assert_eq!(world.diagnosis("app-web"), None);
}

/// A person has fixed the worker and started it, but not its socket (systemd issue 15633, meta-balena issue 3807).
#[test]
fn a_worker_whose_socket_has_failed_is_unreachable_and_healed_with_its_socket() {
    let world = world_with_a_failed_socket();
    world.control(&["reset-failed", "app-web.service"]);
    world.start_unit("app-web.service");
    assert_eq!(world.show("app-web.socket", "ActiveState"), "failed");
    assert_eq!(world.diagnosis("app-web").as_deref(), Some("unreachable"));
    assert!(explain(&world, "app-web").contains("app-web.socket"), "{}", explain(&world, "app-web"));
    let mut events = world.start_daemon();
    let detected = events.wait("detected", "app-web");
    assert_eq!(detected["WORKERHEAL_REASON"], "unreachable", "{detected:#}");
    events.wait("healed", "app-web");
    is_reached(&world);
}

/// The same for a worker at its start limit: it is stopped for the socket, and must not stay down.
#[test]
fn a_worker_whose_socket_has_failed_is_healed_although_its_start_limit_is_reached() {
    let world = world_with_a_failed_socket();
    world.control(&["reset-failed", "app-web.service"]);
    for verb in ["start", "restart", "restart"] {
        world.control(&[verb, "app-web.service"]);
    }
    let mut events = world.start_daemon();
    events.wait("healed", "app-web");
    assert_none_of(&world, "app-web", &["stopped"]);
    is_reached(&world);
}

/// The same if both have failed.
#[test]
fn a_worker_that_failed_together_with_its_socket_is_healed_together_with_it() {
    let world = world_with_a_failed_socket();
    assert_eq!(world.show("app-web.service", "ActiveState"), "failed");
    let mut events = world.start_daemon();
    events.wait("healed", "app-web");
    is_reached(&world);
}

/// The same for a worker that only its socket starts: it is down until a client connects, which is impossible.
#[test]
fn a_worker_that_only_its_failed_socket_would_start_is_reached_again() {
    let world = world_with_a_failed_socket();
    world.control(&["disable", "app-web.service"]);
    world.control(&["reset-failed", "app-web.service"]);
    assert_eq!(world.show("app-web.socket", "ActiveState"), "failed");
    let _events = world.start_daemon();
    is_reached(&world);
}

/// The same for a heal by hand, without a daemon.
#[test]
fn a_worker_whose_socket_has_failed_is_healed_with_it_by_hand() {
    let world = world_with_a_failed_socket();
    world.control(&["reset-failed", "app-web.service"]);
    world.start_unit("app-web.service");
    let ran = world.run(&["heal", "app-web"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    is_reached(&world);
}

/// A unit propagates its stop to a worker that does not need it otherwise. systemd stops the worker if that unit crashes,
/// too, and does not start it again.
#[test]
fn a_worker_that_a_crashed_unit_has_stopped_comes_back_with_it_and_one_that_was_stopped_with_it_does_not() {
    let world = world();
    world.write_unit("top.service", "[Service]\nExecStart=sleep infinity\nRestart=always\nRestartSec=300ms\n");
    run(&world, "app-a", "StopPropagatedFrom=top.service\nAfter=top.service", LIVES);
    world.control(&["start", "top"]);
    let mut events = world.start_daemon();
    world.kill("top.service", "KILL");
    if world.show("app-a.service", "StopPropagatedFrom").is_empty() {
        // systemd before 249 does not know the setting.
        world.wait_until("top to be restarted", SOON, || (world.show("top.service", "NRestarts") == "1").then_some(()));
        assert_eq!(world.show("app-a.service", "ActiveState"), "active");
        return;
    }
    events.wait("healed", "app-a");
    world.control(&["stop", "top"]);
    world.wait_for_state("app-a.service", "inactive", SOON);
    let status = wait_for_phase(&world, "app-a", "stopped");
    assert_eq!(status["reason"], "top.service was stopped, which it is part of", "{status:#}");
    // With that unit it is not started again, and was not stopped by itself for that.
    world.control(&["start", "top"]);
    assert!(explain(&world, "app-a").contains("top.service was stopped"), "{}", explain(&world, "app-a"));
    world.control(&["stop", "top"]);
    // It does not need that unit, and is healed while that is down.
    world.control(&["start", "app-a"]);
    world.crash("app-a");
    events.wait("healed", "app-a");
    assert_eq!(world.show("top.service", "ActiveState"), "inactive");
}

/// A path triggers a job that fails until systemd gives up both; another path was stopped by a person. Neither job can
/// wait for its path.
#[test]
fn a_job_whose_path_has_failed_or_was_stopped_is_explained_with_that_and_the_command_that_starts_the_path() {
    let world = world();
    let unless_broken = "Type=oneshot\nExecStart=sh -c 'test ! -e %h/broken && rm %h/%N.inbox'";
    for name in ["app-import", "app-tidy"] {
        world.write_unit(
            &format!("{name}.path"),
            &format!("[Path]\nPathExists=%h/{name}.inbox\n[Install]\nWantedBy=default.target\n"),
        );
        write(&world, name, "StartLimitBurst=2", unless_broken);
    }
    world.write_file("broken", "");
    world.write_file("app-import.inbox", "");
    world.control(&["enable", "--now", "app-tidy.path"]);
    world.control(&["start", "app-import.path"]);
    world.wait_for_state("app-import.path", "failed", SOON);
    let _events = world.start_daemon();
    let has_failed = "app-import.path, which decides when it runs, has failed";
    is_held_by(&world, "app-import", has_failed);
    world.control(&["stop", "app-tidy.path"]);
    let is_stopped = "app-tidy.path, which decides when it runs, is stopped";
    for (name, why) in [("app-import", has_failed), ("app-tidy", is_stopped)] {
        let explained = explain(&world, name);
        assert!(explained.contains(why) && !explained.contains("wait for"), "{explained}");
        assert!(explained.contains(&format!("systemctl --user start {name}.path")), "{explained}");
    }
    // What explain says, status says too.
    world.wait_until("the same reason", SOON, || (status(&world, "app-tidy")["reason"] == is_stopped).then_some(()));
    fs::remove_file(world.home().join("broken")).unwrap();
    let ran = world.run(&["heal", "app-import"]);
    assert_eq!((ran.status, world.show("app-import.path", "ActiveState").as_str()), (0, "active"), "{ran:?}");
}

/// A person clears all failures while workers wait for their next attempt (systemd issue 10529).
#[test]
fn waiting_workers_are_healed_after_all_failures_were_cleared() {
    are_healed_on_after(&["reset-failed"]);
}

/// The same for named workers.
#[test]
fn waiting_workers_are_healed_after_their_failures_were_cleared() {
    are_healed_on_after(&["reset-failed", "app-a", "app-b"]);
}

#[track_caller]
fn are_healed_on_after(call: &[&str]) {
    let world = world_with_waits_of("2s");
    world.write_file("broken", "");
    let units = ["app-a", "app-b"];
    for unit in units {
        enable(&world, unit, "", LIVES_UNLESS_BROKEN);
        try_to_start(&world, unit);
    }
    let _events = world.start_daemon();
    for unit in units {
        wait_for_phase(&world, unit, "waiting");
    }
    world.control(call);
    // Not healed yet, and not forgotten.
    for unit in units {
        assert!(world.diagnosis(unit).is_some(), "{unit} is not listed");
    }
    fs::remove_file(world.home().join("broken")).unwrap();
    for unit in units {
        world.wait_for_healed(unit);
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "active");
        assert_none_of(&world, unit, &["stopped"]);
    }
}

/// The same for a worker that is not enabled: nothing says any more that it should be up.
#[test]
fn clearing_the_failure_of_a_disabled_worker_ends_its_healing_with_an_event() {
    let world = world_with_waits_of("1s");
    world.write_file("broken", "");
    write(&world, "app-a", "", LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-a");
    events.wait("scheduled", "app-a");
    world.control(&["reset-failed"]);
    events.wait("stopped", "app-a");
    fs::remove_file(world.home().join("broken")).unwrap();
    let before = phases(&world, "app-a");
    pass_time(&world, &mut events, 3);
    assert_eq!(phases(&world, "app-a"), before);
    assert_eq!(world.diagnosis("app-a"), None);
    assert_eq!(world.show("app-a.service", "ActiveState"), "inactive");
}

/// The configuration names a unit by an alias (celery's units).
#[test]
fn a_worker_that_is_named_by_an_alias_is_covered() {
    let world = world();
    world.config(&SETTINGS.replace("\"app-*.service\"", "\"app-proof-*.service\", celeryd.service"));
    world.write_unit(
        "celery.service",
        "[Service]\nExecStart=sleep infinity\n[Install]\nAlias=celeryd.service\nWantedBy=default.target\n",
    );
    world.control(&["enable", "--now", "celery"]);
    assert_eq!(world.show("celeryd.service", "Id"), "celery.service");
    let ran = world.run(&["check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let mut events = world.start_daemon();
    world.crash("celery");
    let healed = events.wait("healed", "celery");
    assert_eq!(healed["USER_UNIT"], "celery.service");
    assert_eq!(world.show("celery.service", "ActiveState"), "active");
    for name in ["celery", "celeryd"] {
        assert_eq!(world.run(&["explain", name]).status, 0, "{name}");
    }
}

/// Sends a signal to journald.
#[track_caller]
fn signal_journald(world: &World, signal: &str) {
    let pid = Ran::of(world.command("pidof").arg("systemd-journald")).out;
    let ran = Ran::of(world.command("kill").args([signal, pid.trim()]));
    assert_eq!(ran.status, 0, "{ran:?}");
}

/// Gives the daemon a second to search the journal for evidence, or less if it has reported that there is none.
#[track_caller]
fn wait_for_search(world: &World, unit: &str) {
    let begin = Instant::now();
    world.wait_until("a second, or the end of the search", SOON, || {
        (begin.elapsed() > Duration::from_secs(1) || status(world, unit)["phase"] == "held").then_some(())
    });
}

/// A worker starts and fails while journald does not write, so that only the journal could show whether a stop was
/// requested (systemd issue 16315).
#[test]
fn a_worker_that_fails_while_journald_is_stopped_is_healed_once_it_continues() {
    let world = world();
    world.write_file("broken", "");
    enable(&world, "app-f", "", &format!("{LIVES_UNLESS_BROKEN}\nExecStopPost=sleep 0.1"));
    let events = world.start_daemon();
    signal_journald(&world, "-STOP");
    world.control(&["start", "app-f"]);
    world.wait_for_state("app-f.service", "failed", SOON);
    fs::remove_file(world.home().join("broken")).unwrap();
    wait_for_search(&world, "app-f");
    signal_journald(&world, "-CONT");
    drop(events);
    world.wait_for_healed("app-f");
    assert_eq!(world.show("app-f.service", "ActiveState"), "active");
    assert_none_of(&world, "app-f", &["stopped", "gave-up"]);
}

/// A person's stop is not in the journal yet when the daemon starts: a missing record is no evidence (systemd issue
/// 16315).
#[test]
fn a_stop_that_journald_has_not_written_yet_is_obeyed() {
    let world = world();
    run(&world, "app-f", "", FAILS_WHEN_STOPPED);
    world.journal(&[]);
    signal_journald(&world, "-STOP");
    world.stop_unit("app-f.service");
    assert_eq!(world.show("app-f.service", "ActiveState"), "failed");
    let untouched = world.picture(&["app-f"]);
    world.start_unit(DAEMON);
    wait_for_search(&world, "app-f");
    signal_journald(&world, "-CONT");
    wait_for_phase(&world, "app-f", "stopped");
    let mut events = world.events();
    pass_time(&world, &mut events, 1);
    assert_eq!(world.picture(&["app-f"]), untouched);
    is_left_down(&world, "app-f");
}

/// A worker starts and fails during a burst of lines, which journald has to write first (systemd issue 16315).
#[test]
fn a_worker_that_fails_during_a_burst_of_log_lines_is_healed() {
    let world = world();
    let script = "yes 'a line of a burst, which takes journald a while to write' | head -n 30000";
    write(&world, "burst", "", &format!("Type=exec\nExecStart=sh -c \"{script}\""));
    world.write_file("broken", "");
    enable(&world, "app-f", "", &format!("{LIVES_UNLESS_BROKEN}\nExecStopPost=sleep 0.1"));
    let _events = world.start_daemon();
    world.control(&["start", "burst", "app-f"]);
    world.wait_for_state("app-f.service", "failed", SOON);
    fs::remove_file(world.home().join("broken")).unwrap();
    world.wait_for_healed("app-f");
    assert_none_of(&world, "app-f", &["stopped", "gave-up"]);
}
