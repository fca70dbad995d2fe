//! No worker that is meant to be up is forgotten: not one that went down with another unit, nor one whose failure
//! somebody cleared, nor one whose socket no longer listens.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{DAEMON, Events, FAILS_WHEN_STOPPED, LIVES, LIVES_UNLESS_BROKEN, Ran, SOON, World, service_of};
use crate::stage::{
    SETTINGS, count, enable, explain, is_held_by, is_left_down, pass_time, phases, run, status, told_none_of,
    try_to_start, wait_for_diagnosis, wait_for_phase, world, world_with_waits_of, write,
};

const FPM: &str = "lerd-php85-fpm";
/// `[Unit]` of a worker in the container [`FPM`].
const IN_FPM: &str = "BindsTo=lerd-php85-fpm.service\nAfter=lerd-php85-fpm.service";
/// `[Service]` of a worker of Lerd's.
const LERDS: &str = "Restart=always\nRestartSec=5\nSuccessExitStatus=1 130 143\nExecStart=sleep infinity";

/// Waits until a worker is up and is told as healed or recovered, after it was told as taken along.
#[track_caller]
fn comes_back(world: &World, unit: &str) {
    world.wait_for_state(&service_of(unit), "active", SOON);
    world.wait_until(&format!("{unit} to be told as up"), SOON, || {
        matches!(phases(world, unit).last()?.as_str(), "healed" | "recovered").then_some(())
    });
    told_none_of(world, unit, &["stopped", "failed", "gave-up"]);
    assert_eq!(world.diagnosis(unit), None, "{unit}");
    assert_eq!(world.show(&service_of(unit), "ActiveState"), "active");
}

/// A container is killed and restarted by systemd; the worker that is bound to it is stopped by systemd itself, with a
/// stop job that looks like a person's (Lerd's own units).
#[test]
fn a_worker_comes_back_with_its_container_that_crashed_and_was_restarted_by_systemd() {
    let world = world();
    run(&world, FPM, "", "ExecStart=sleep infinity\nRestart=always\nRestartSec=1");
    run(&world, "lerd-queue-myapp", IN_FPM, LERDS);
    let mut events = world.start_daemon();
    world.crash(FPM);
    let detected = events.wait_any(&["detected", "stopped"], "lerd-queue-myapp");
    assert_eq!(detected["WORKERHEAL_REASON"], "expected-but-stopped", "{detected:#}");
    comes_back(&world, "lerd-queue-myapp");
}

/// The container and all of its workers are killed in one moment, and it is started again (systemd issues 7136 and
/// 2824).
#[test]
fn six_workers_that_were_killed_together_with_their_container_all_come_back_with_it() {
    let world = world();
    run(&world, FPM, "", LIVES);
    let units: Vec<String> = (0..6).map(|n| format!("lerd-w{n}-myapp")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &units {
        enable(&world, unit, IN_FPM, LERDS);
    }
    world.control(&[&["start"], &names[..]].concat());
    let mut events = world.start_daemon();
    for _ in 0..2 {
        world.control(&[&["kill", "--signal=KILL", FPM], &names[..]].concat());
        world.wait_for_state(&service_of(FPM), "failed", SOON);
        for unit in &units {
            world.wait_until(&format!("{unit} to be down"), SOON, || {
                (world.show(&service_of(unit), "ActiveState") != "active").then_some(())
            });
        }
        pass_time(&world, &mut events, 1);
        world.control(&["start", FPM]);
        for unit in &units {
            comes_back(&world, unit);
        }
    }
}

/// The same of workers whose failure systemd does not restart.
#[test]
fn six_workers_that_systemd_does_not_restart_all_come_back_with_their_container() {
    let world = world();
    run(&world, FPM, "", LIVES);
    let units: Vec<String> = (0..6).map(|n| format!("lerd-w{n}-myapp")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &units {
        enable(&world, unit, IN_FPM, LIVES);
    }
    world.control(&[&["start"], &names[..]].concat());
    let mut events = world.start_daemon();
    world.control(&[&["kill", "--signal=KILL", FPM], &names[..]].concat());
    world.wait_for_state(&service_of(FPM), "failed", SOON);
    pass_time(&world, &mut events, 1);
    world.control(&["start", FPM]);
    for unit in &units {
        comes_back(&world, unit);
    }
}

/// Lets a container go down and come up by these calls of systemctl, and sees its workers come back: two that are bound
/// to it, and one that requires it.
#[track_caller]
fn come_back_after(calls: &[&[&str]], events: impl for<'a> Fn(&'a World) -> Option<Events<'a>>) {
    let world = world();
    run(&world, FPM, "", LIVES);
    let requires = IN_FPM.replace("BindsTo", "Requires");
    let workers = [("lerd-queue-myapp", IN_FPM, LERDS), ("lerd-mail-myapp", IN_FPM, FAILS_WHEN_STOPPED)];
    for (unit, needs, service) in workers.into_iter().chain([("lerd-vite-shop", requires.as_str(), LIVES)]) {
        run(&world, unit, needs, service);
    }
    let followed = events(&world);
    for call in calls {
        world.control(call);
    }
    if followed.is_none() {
        world.start_daemon();
    }
    for unit in ["lerd-queue-myapp", "lerd-mail-myapp", "lerd-vite-shop"] {
        world.wait_for_state(&service_of(unit), "active", SOON);
        world.wait_until(&format!("{unit} to be proven"), SOON, || {
            let told = phases(&world, unit);
            told.last().is_none_or(|last| matches!(last.as_str(), "healed" | "recovered")).then_some(())
        });
        told_none_of(&world, unit, &["stopped", "gave-up"]);
    }
}

/// A person stops a container and starts it again (podman issue 18926).
#[test]
fn enabled_workers_come_back_with_a_container_that_is_stopped_and_started() {
    come_back_after(&[&["stop", FPM], &["start", FPM]], |world| Some(world.start_daemon()));
}

/// A person restarts a container (podman issue 18926).
#[test]
fn enabled_workers_come_back_with_a_container_that_is_restarted() {
    come_back_after(&[&["restart", FPM]], |world| Some(world.start_daemon()));
}

/// A restart of one that is down is a start: systemd has nothing to restart the workers for.
#[test]
fn enabled_workers_come_back_with_a_stopped_container_that_is_restarted() {
    come_back_after(&[&["stop", FPM], &["restart", FPM]], |world| Some(world.start_daemon()));
}

/// The same while the daemon was down.
#[test]
fn enabled_workers_come_back_with_a_container_that_was_stopped_and_started_before_the_daemon() {
    come_back_after(&[&["stop", FPM], &["start", FPM]], |_| None);
}

/// The daemon finds them down together, and nothing in the journal of one that crashed with it but systemd's own stop.
#[test]
fn workers_that_went_down_with_their_container_before_the_daemon_come_back_with_it() {
    let world = world();
    run(&world, FPM, "", LIVES);
    run(&world, "lerd-queue-myapp", IN_FPM, LERDS);
    run(&world, "lerd-mail-myapp", IN_FPM, LIVES);
    world.control(&["kill", "--signal=KILL", FPM, "lerd-mail-myapp"]);
    for (unit, states) in [(FPM, "failed"), ("lerd-queue-myapp", "inactive"), ("lerd-mail-myapp", "inactive failed")] {
        world.wait_until(&format!("{unit} to be down"), SOON, || {
            states.contains(&world.show(&service_of(unit), "ActiveState")).then_some(())
        });
    }
    let mut events = world.start_daemon();
    for unit in ["lerd-queue-myapp", "lerd-mail-myapp"] {
        is_held_by(&world, unit, FPM);
    }
    pass_time(&world, &mut events, 1);
    world.control(&["start", FPM]);
    for unit in ["lerd-queue-myapp", "lerd-mail-myapp"] {
        comes_back(&world, unit);
    }
}

/// One worker is bound to another, and a third one to that: what is healed takes the others up with it.
#[test]
fn workers_that_are_bound_to_a_worker_come_back_after_that_is_healed() {
    let world = world();
    run(&world, "app-a", "", LIVES);
    run(&world, "app-b", "BindsTo=app-a.service\nAfter=app-a.service", LIVES);
    run(&world, "app-c", "BindsTo=app-b.service\nAfter=app-b.service", LIVES);
    let _events = world.start_daemon();
    world.crash("app-a");
    world.wait_for_healed("app-a");
    for unit in ["app-b", "app-c"] {
        comes_back(&world, unit);
    }
}

/// While the container is stopped, its workers are shown as what they are, and wait for it.
#[test]
fn a_worker_whose_container_is_stopped_is_shown_as_expected_and_held_by_it() {
    let world = world();
    run(&world, FPM, "", LIVES);
    run(&world, "lerd-queue-myapp", IN_FPM, LIVES);
    let mut events = world.start_daemon();
    world.control(&["stop", FPM]);
    is_held_by(&world, "lerd-queue-myapp", "lerd-php85-fpm.service");
    wait_for_diagnosis(&world, "lerd-queue-myapp", "expected-but-stopped");
    let untouched = world.picture(&[FPM, "lerd-queue-myapp"]);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&[FPM, "lerd-queue-myapp"]), untouched);
    // The next to name it by hand is told the same.
    let ran = world.run(&["heal", "lerd-queue-myapp"]);
    assert!(ran.status == 1 && ran.out.contains(FPM), "{ran:?}");
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-queue-myapp");
}

/// The same of a worker that has failed and waits for its next attempt: the stop of its container is not meant for it.
#[test]
fn a_waiting_worker_whose_container_is_stopped_goes_on_being_healed_once_that_is_up() {
    let world = world_with_waits_of("1s");
    run(&world, FPM, "", LIVES);
    world.write_file("broken", "");
    enable(&world, "lerd-queue-myapp", IN_FPM, LIVES_UNLESS_BROKEN);
    try_to_start(&world, "lerd-queue-myapp");
    let mut events = world.start_daemon();
    events.wait("scheduled", "lerd-queue-myapp");
    world.control(&["stop", FPM]);
    fs::remove_file(world.home().join("broken")).unwrap();
    is_held_by(&world, "lerd-queue-myapp", FPM);
    pass_time(&world, &mut events, 1);
    assert_eq!(world.show(&service_of(FPM), "ActiveState"), "inactive");
    world.control(&["start", FPM]);
    events.wait("healed", "lerd-queue-myapp");
    told_none_of(&world, "lerd-queue-myapp", &["stopped", "gave-up"]);
}

/// Nothing keeps a unit loaded that is not enabled and down: only the daemon knows that it was up.
#[test]
fn a_worker_that_was_up_without_being_enabled_comes_back_with_its_container() {
    let world = world();
    run(&world, FPM, "", LIVES);
    write(&world, "lerd-queue-myapp", IN_FPM, LIVES);
    world.control(&["start", "lerd-queue-myapp"]);
    let mut events = world.start_daemon();
    world.crash(FPM);
    world.wait_for_state(&service_of(FPM), "failed", SOON);
    pass_time(&world, &mut events, 1);
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-queue-myapp");
}

/// A stop that is meant for the worker itself wins over what its container does before and after.
#[test]
fn a_worker_that_was_stopped_by_itself_does_not_come_back_with_its_container() {
    let world = world();
    run(&world, FPM, "", LIVES);
    run(&world, "lerd-before-myapp", IN_FPM, LIVES);
    run(&world, "lerd-after-myapp", IN_FPM, LIVES);
    run(&world, "lerd-proof-myapp", IN_FPM, LIVES);
    let mut events = world.start_daemon();
    world.control(&["stop", "lerd-before-myapp"]);
    world.control(&["stop", FPM]);
    is_held_by(&world, "lerd-after-myapp", FPM);
    world.control(&["stop", "lerd-after-myapp"]);
    let both = ["lerd-before-myapp", "lerd-after-myapp"];
    let untouched = world.picture(&both);
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-proof-myapp");
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&both), untouched);
    for unit in both {
        is_left_down(&world, unit);
    }
}

/// At boot the container's first start fails, so that the worker's job ends with `dependency` (podman issue 23077).
#[test]
fn a_worker_whose_container_failed_at_boot_comes_up_once_that_does() {
    let world = world();
    let service = "ExecStartPre=sh -c 'test ! -e %h/broken'\nExecStart=sleep infinity";
    enable(&world, FPM, "", service);
    enable(&world, "lerd-queue-myapp", IN_FPM, LIVES);
    world.write_file("broken", "");
    let refused = world.systemctl(&["start", FPM, "lerd-queue-myapp"]).unwrap_err().to_string();
    assert!(refused.contains("dependency"), "{refused}");
    let mut events = world.start_daemon();
    is_held_by(&world, "lerd-queue-myapp", FPM);
    wait_for_diagnosis(&world, "lerd-queue-myapp", "expected-but-stopped");
    pass_time(&world, &mut events, 1);
    fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-queue-myapp");
}

/// The same while the daemon watches.
#[test]
fn a_worker_whose_container_fails_to_start_comes_up_once_that_does() {
    let world = world();
    let service = "ExecStartPre=sh -c 'test ! -e %h/broken'\nExecStart=sleep infinity";
    let mut events = world.start_daemon();
    enable(&world, FPM, "", service);
    enable(&world, "lerd-queue-myapp", IN_FPM, LIVES);
    world.write_file("broken", "");
    assert!(world.systemctl(&["start", FPM, "lerd-queue-myapp"]).is_err());
    pass_time(&world, &mut events, 1);
    fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-queue-myapp");
}

/// Scripts of packages restart what runs: a worker that is down is none of their business (snapd issue 11680, smfc issue
/// 122).
#[test]
fn a_restart_of_what_runs_does_not_end_the_healing_of_a_worker_that_waits() {
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
        told_none_of(&world, unit, &["stopped"]);
    }
}

/// A worker ends without an error when it is told to reload, and what ends so is to be started again (celery issue
/// 4388).
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

/// A worker that ends without an error is shown, and left alone by default.
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
    told_none_of(&world, "app-r", &["stopped", "starting"]);
}

/// A worker requires a oneshot that has done its work and is inactive since (afterburn issue 695, lokomotive issue
/// 1371).
#[test]
fn a_worker_that_requires_a_finished_oneshot_is_healed_and_that_is_not_run_again() {
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

/// A oneshot that has failed is no finished one: what requires it waits.
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

/// A worker that fails for each of its clients until systemd gives up its socket; the cause is mended.
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

/// That clients are served.
#[track_caller]
fn is_reached(world: &World) {
    world.wait_for_state("app-web.socket", "active", SOON);
    UnixStream::connect(world.runtime_dir().join("app-web.sock")).unwrap();
    world.wait_for_state("app-web.service", "active", SOON);
    assert_eq!(world.diagnosis("app-web"), None);
}

/// A person has mended the worker and started it, but not its socket (systemd issue 15633, meta-balena issue 3807).
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

/// The same where both have failed.
#[test]
fn a_worker_that_failed_together_with_its_socket_is_healed_together_with_it() {
    let world = world_with_a_failed_socket();
    assert_eq!(world.show("app-web.service", "ActiveState"), "failed");
    let mut events = world.start_daemon();
    events.wait("healed", "app-web");
    is_reached(&world);
}

/// The same of a worker that only its socket starts: it is down until a client comes, which none can.
#[test]
fn a_worker_that_only_its_failed_socket_would_start_is_reached_again() {
    let world = world_with_a_failed_socket();
    world.control(&["disable", "app-web.service"]);
    world.control(&["reset-failed", "app-web.service"]);
    assert_eq!(world.show("app-web.socket", "ActiveState"), "failed");
    let _events = world.start_daemon();
    is_reached(&world);
}

/// The same by hand, without a daemon.
#[test]
fn a_worker_whose_socket_has_failed_is_healed_with_it_by_hand() {
    let world = world_with_a_failed_socket();
    world.control(&["reset-failed", "app-web.service"]);
    world.start_unit("app-web.service");
    let ran = world.run(&["heal", "app-web"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    is_reached(&world);
}

/// A person clears all failures while workers wait for their next attempt (systemd issue 10529).
#[test]
fn workers_that_wait_are_healed_on_after_all_failures_were_cleared() {
    are_healed_on_after(&["reset-failed"]);
}

/// The same of those that are named.
#[test]
fn workers_that_wait_are_healed_on_after_their_own_failures_were_cleared() {
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
        told_none_of(&world, unit, &["stopped"]);
    }
}

/// The same of a worker that is not enabled: nothing says any more that it is meant to be up.
#[test]
fn a_worker_that_is_not_enabled_is_dismissed_with_an_event_when_its_failure_is_cleared() {
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

/// The configuration names a unit by another of its names (celery's units).
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

/// Gives the daemon a second to look for evidence in the journal, or less if it has said that there is none.
#[track_caller]
fn wait_until_looked_for(world: &World, unit: &str) {
    let begin = Instant::now();
    world.wait_until("a second, or the end of the search", SOON, || {
        (begin.elapsed() > Duration::from_secs(1) || status(world, unit)["phase"] == "held").then_some(())
    });
}

/// A worker starts and fails while journald does not get to write, in a way of which only the journal knows whether
/// somebody asked for it (systemd issue 16315).
#[test]
fn a_worker_that_fails_while_journald_is_stopped_is_healed_once_it_goes_on() {
    let world = world();
    world.write_file("broken", "");
    enable(&world, "app-f", "", &format!("{LIVES_UNLESS_BROKEN}\nExecStopPost=sleep 0.1"));
    let events = world.start_daemon();
    signal_journald(&world, "-STOP");
    world.control(&["start", "app-f"]);
    world.wait_for_state("app-f.service", "failed", SOON);
    fs::remove_file(world.home().join("broken")).unwrap();
    wait_until_looked_for(&world, "app-f");
    signal_journald(&world, "-CONT");
    drop(events);
    world.wait_for_healed("app-f");
    assert_eq!(world.show("app-f.service", "ActiveState"), "active");
    told_none_of(&world, "app-f", &["stopped", "gave-up"]);
}

/// A person's stop is not in the journal yet when the daemon starts: what is not there yet is no evidence either way
/// (systemd issue 16315).
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
    wait_until_looked_for(&world, "app-f");
    signal_journald(&world, "-CONT");
    wait_for_phase(&world, "app-f", "stopped");
    let mut events = world.events();
    pass_time(&world, &mut events, 1);
    assert_eq!(world.picture(&["app-f"]), untouched);
    is_left_down(&world, "app-f");
}

/// A worker starts and fails in the middle of a burst of lines, which journald has to write first (systemd issue 16315).
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
    told_none_of(&world, "app-f", &["stopped", "gave-up"]);
}

/// A worker and the pool that it requires, which systemd stops when nobody needs it.
fn world_with_a_pool() -> World {
    let world = world();
    world.write_unit("pool.service", &format!("[Unit]\nStopWhenUnneeded=yes\n[Service]\n{LIVES}\n"));
    run(&world, "app-q", "Requires=pool.service\nAfter=pool.service", LIVES);
    assert_eq!(world.show("pool.service", "ActiveState"), "active");
    world
}

/// The worker is killed, so that systemd stops the pool that nothing else needs (systemd issues 7377 and 1154).
#[test]
fn a_pool_that_systemd_stopped_as_unneeded_comes_back_with_the_worker_that_needs_it() {
    let world = world_with_a_pool();
    let mut events = world.start_daemon();
    for _ in 0..2 {
        world.crash("app-q");
        events.wait("healed", "app-q");
        for unit in ["app-q.service", "pool.service"] {
            assert_eq!(world.show(unit, "ActiveState"), "active", "{unit}");
        }
    }
    told_none_of(&world, "app-q", &["stopped", "gave-up"]);
}

/// The same while the daemon was down.
#[test]
fn a_pool_that_systemd_stopped_as_unneeded_before_the_daemon_comes_back_with_its_worker() {
    let world = world_with_a_pool();
    world.crash_for_good(["app-q"]);
    world.wait_for_state("pool.service", "inactive", SOON);
    let _events = world.start_daemon();
    world.wait_for_healed("app-q");
    assert_eq!(world.show("pool.service", "ActiveState"), "active");
}

/// A person stops the pool: both stay down.
#[test]
fn a_pool_that_a_person_stopped_stays_down_and_holds_its_worker() {
    let world = world_with_a_pool();
    let mut events = world.start_daemon();
    world.control(&["stop", "pool"]);
    world.wait_for_state("app-q.service", "inactive", SOON);
    is_held_by(&world, "app-q", "pool.service");
    let untouched = world.picture(&["app-q", "pool"]);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-q", "pool"]), untouched);
    assert_eq!(count(&phases(&world, "app-q"), "starting"), 0);
}
