//! Workers that went down with a unit that they are bound to were not stopped: they come back with that unit.

use std::fs;

use crate::common::{Events, FAILS_WHEN_STOPPED, LIVES, LIVES_UNLESS_BROKEN, SOON, World, service_of, text};
use crate::reports::stage::{
    assert_none_of, count, enable, is_held_by, is_left_down, pass_time, phases, run, try_to_start, wait_for_diagnosis,
    world, world_with_waits_of, write,
};

const FPM: &str = "lerd-php85-fpm";
/// `[Unit]` of a worker in the container [`FPM`].
const IN_FPM: &str = "BindsTo=lerd-php85-fpm.service\nAfter=lerd-php85-fpm.service";
/// `[Service]` of a worker like Lerd's.
const LERDS: &str = "Restart=always\nRestartSec=5\nSuccessExitStatus=1 130 143\nExecStart=sleep infinity";

/// Waits until a worker is up and reported as healed or recovered, after it was reported as taken down.
#[track_caller]
fn comes_back(world: &World, unit: &str) {
    world.wait_for_state(&service_of(unit), "active", SOON);
    world.wait_until(&format!("{unit} to be reported as up"), SOON, || {
        matches!(phases(world, unit).last()?.as_str(), "healed" | "recovered").then_some(())
    });
    assert_none_of(world, unit, &["stopped", "failed", "gave-up"]);
    assert_eq!(world.diagnosis(unit), None, "{unit}");
    assert_eq!(world.show(&service_of(unit), "ActiveState"), "active");
}

#[track_caller]
fn is_down(world: &World, unit: &str) {
    world.wait_until(&format!("{unit} to be down"), SOON, || {
        matches!(world.show(&service_of(unit), "ActiveState").as_str(), "inactive" | "failed").then_some(())
    });
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

/// The same with a target in between, which systemd unloads as soon as it is down.
#[test]
fn a_worker_whose_target_went_down_with_a_crashed_service_was_not_stopped_by_a_person() {
    let world = world();
    run(&world, FPM, "", "ExecStart=sleep infinity\nRestart=always\nRestartSec=1");
    world.write_unit("stack.target", "[Unit]\nBindsTo=lerd-php85-fpm.service\nAfter=lerd-php85-fpm.service\n");
    let unit = format!(
        "[Unit]\nBindsTo=stack.target\nAfter=stack.target\n[Service]\n{LIVES}\n[Install]\nWantedBy=stack.target\n"
    );
    world.write_unit(&service_of("lerd-queue-myapp"), &unit);
    world.control(&["enable", "lerd-queue-myapp"]);
    world.start_unit("stack.target");
    let mut events = world.start_daemon();
    for _ in 0..2 {
        world.wait_for_state(&service_of("lerd-queue-myapp"), "active", SOON);
        world.crash(FPM);
        let reported = events.wait_any(&["held", "stopped"], "lerd-queue-myapp");
        assert_eq!(reported["WORKERHEAL_PHASE"], "held", "{reported:#}");
        world.wait_for_state(&service_of(FPM), "active", SOON);
        world.start_unit("stack.target");
        events.wait_any(&["recovered", "healed"], "lerd-queue-myapp");
    }
}

/// A container crashes while its workers are still being prepared, started by us, by systemd itself and by a person.
/// systemd cancels those starts with stop jobs that look like a person's.
#[test]
fn workers_that_were_being_started_when_their_container_crashed_come_back_with_it() {
    let world = world();
    run(&world, FPM, "", "ExecStart=sleep infinity\nRestart=always\nRestartSec=500ms");
    let slow = "ExecStartPre=sh -c 'while test -e %h/slow; do sleep 0.1; done'\nExecStart=sleep infinity";
    run(&world, "lerd-ours-myapp", IN_FPM, slow);
    run(&world, "lerd-systemds-myapp", IN_FPM, &format!("{slow}\nRestart=always\nRestartSec=100ms"));
    run(&world, "lerd-persons-myapp", IN_FPM, slow);
    let units = ["lerd-ours-myapp", "lerd-systemds-myapp", "lerd-persons-myapp"];
    let _events = world.start_daemon();
    world.write_file("slow", "");
    world.kill(&service_of("lerd-ours-myapp"), "KILL");
    world.kill(&service_of("lerd-systemds-myapp"), "KILL");
    world.control(&["restart", "--no-block", "lerd-persons-myapp"]);
    for unit in units {
        world.wait_until(&format!("{unit} to be prepared"), SOON, || {
            (world.show(&service_of(unit), "SubState") == "start-pre").then_some(())
        });
    }
    let before: Vec<String> = units.iter().map(|unit| world.show(&service_of(unit), "InvocationID")).collect();
    world.crash(FPM);
    fs::remove_file(world.path("slow")).unwrap();
    for (unit, before) in units.into_iter().zip(before) {
        world.wait_until(&format!("{unit} to be up in another run"), SOON, || {
            let is_up = world.show(&service_of(unit), "ActiveState") == "active";
            (is_up && world.show(&service_of(unit), "InvocationID") != before).then_some(())
        });
        assert_none_of(&world, unit, &["stopped", "gave-up"]);
        world.wait_until(&format!("{unit} to be healthy"), SOON, || world.diagnosis(unit).is_none().then_some(()));
    }
}

/// A target wants the worker, which is not enabled itself; its container does not come up at first.
#[test]
fn a_worker_that_only_a_target_wants_comes_up_once_its_container_does() {
    let world = world();
    world.write_file("broken", "");
    let failing = format!("ExecStartPre=sh -c 'test ! -e %h/broken'\n{LIVES}");
    write(&world, FPM, "", &failing);
    world.write_unit(
        "app-queue@.service",
        &format!("[Unit]\nRequires={FPM}.service\nAfter={FPM}.service\n[Service]\n{LIVES}\n"),
    );
    world.write_unit("stack.target", "[Unit]\nWants=app-queue@1.service\n");
    let mut events = world.start_daemon();
    world.start_unit("stack.target");
    let held = events.wait("held", "app-queue@1");
    assert!(text(&held, "WORKERHEAL_REASON").contains(FPM), "{held:#}");
    fs::remove_file(world.path("broken")).unwrap();
    world.control(&["start", FPM]);
    comes_back(&world, "app-queue@1");
}

/// A database is stopped while the daemon is away. It goes down once its slowest consumer is down, long after the
/// others.
#[test]
fn consumers_come_back_with_their_database_however_long_the_slowest_of_them_took_to_stop() {
    const NEEDS: &str = "Requires=redis.service\nAfter=redis.service";
    let world = world();
    run(&world, "redis", "", LIVES);
    run(&world, "app-fast", NEEDS, LIVES);
    run(&world, "app-slow", NEEDS, "ExecStart=sleep infinity\nExecStop=sleep 2");
    world.control(&["stop", "redis"]);
    let _events = world.start_daemon();
    for unit in ["app-fast", "app-slow"] {
        world.wait_until(&format!("{unit} to be held"), SOON, || {
            phases(&world, unit).contains(&"held".to_owned()).then_some(())
        });
        assert_none_of(&world, unit, &["stopped"]);
    }
    world.control(&["start", "redis"]);
    comes_back(&world, "app-fast");
    comes_back(&world, "app-slow");
}

/// `PartOf=` adds nothing for a worker that needs the unit anyway.
#[test]
fn a_worker_that_is_part_of_a_unit_that_it_needs_comes_back_with_it() {
    let world = world();
    run(&world, "db", "", LIVES);
    run(&world, "app-a", "Requires=db.service\nPartOf=db.service\nAfter=db.service", LIVES);
    let mut events = world.start_daemon();
    world.control(&["stop", "db"]);
    let reported = events.wait_any(&["held", "stopped"], "app-a");
    assert_eq!(reported["WORKERHEAL_PHASE"], "held", "{reported:#}");
    world.control(&["start", "db"]);
    comes_back(&world, "app-a");
}

/// The container and all of its workers are killed at once, and it is started again (systemd issues 7136 and 2824).
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

/// The same for workers whose failure systemd does not restart.
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

/// Stops and starts a container with these calls of systemctl, and asserts that its workers come back: two that are
/// bound to it, and one that requires it.
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
            let reported = phases(&world, unit);
            reported.last().is_none_or(|last| matches!(last.as_str(), "healed" | "recovered")).then_some(())
        });
        assert_none_of(&world, unit, &["stopped", "gave-up"]);
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

/// A restart of a container that is down is a start: systemd does not restart the workers.
#[test]
fn enabled_workers_come_back_with_a_stopped_container_that_is_restarted() {
    come_back_after(&[&["stop", FPM], &["restart", FPM]], |world| Some(world.start_daemon()));
}

/// The same while the daemon was down.
#[test]
fn enabled_workers_come_back_with_a_container_that_was_stopped_and_started_before_the_daemon() {
    come_back_after(&[&["stop", FPM], &["start", FPM]], |_| None);
}

/// The daemon finds them down together; the journal has only systemd's own stop of the worker that crashed with it.
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

/// One worker is bound to another, and a third one to that: healing the first brings the others up too.
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

/// While the container is stopped, its workers are listed, and wait for it.
#[test]
fn a_worker_whose_container_is_stopped_is_held_by_it() {
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
    // A heal by name gets the same answer.
    let ran = world.run(&["heal", "lerd-queue-myapp"]);
    assert!(ran.status == 1 && ran.out.contains(FPM), "{ran:?}");
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-queue-myapp");
}

/// The same for a worker that has failed and waits for its next attempt: the stop of its container is not meant for it.
#[test]
fn a_waiting_worker_whose_container_was_stopped_is_healed_once_that_is_up() {
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
    assert_none_of(&world, "lerd-queue-myapp", &["stopped", "gave-up"]);
}

/// It is started by hand while its container is down; the container is stopped before it is up, which cancels that start
/// and stops the worker as well. Only a stop of the worker itself would be meant for it.
#[test]
fn a_worker_that_waits_to_start_with_its_container_and_is_stopped_with_it_comes_back_with_it() {
    let world = world();
    let slow = "Type=notify\nNotifyAccess=all\nExecStart=sh -c 'while test -e %h/slow; do sleep 0.05; done; systemd-notify --ready; exec sleep infinity'";
    run(&world, FPM, "", slow);
    run(&world, "lerd-queue-myapp", IN_FPM, "ExecStart=sleep infinity");
    let mut events = world.start_daemon();
    world.crash("lerd-queue-myapp");
    events.wait("healed", "lerd-queue-myapp");
    world.write_file("slow", "");
    world.crash(FPM);
    is_held_by(&world, "lerd-queue-myapp", FPM);
    world.control(&["start", "--no-block", "lerd-queue-myapp"]);
    world.wait_for_state(&service_of(FPM), "activating", SOON);
    world.control(&["stop", FPM]);
    pass_time(&world, &mut events, 1);
    assert_none_of(&world, "lerd-queue-myapp", &["stopped"]);
    fs::remove_file(world.home().join("slow")).unwrap();
    world.control(&["start", FPM]);
    world.wait_for_state("lerd-queue-myapp.service", "active", SOON);
    assert_none_of(&world, "lerd-queue-myapp", &["stopped"]);
}

/// A start of either brings both up; a heal by name ends.
#[test]
fn workers_that_need_each_other_come_back_together_and_a_heal_of_them_ends() {
    let world = world();
    write(&world, "lerd-one-myapp", "BindsTo=lerd-two-myapp.service", LIVES);
    run(&world, "lerd-two-myapp", "BindsTo=lerd-one-myapp.service", LIVES);
    let both = ["lerd-one-myapp", "lerd-two-myapp"];
    world.crash("lerd-one-myapp");
    for unit in both {
        is_down(&world, unit);
    }
    assert_eq!(world.run(&["heal", both[0], both[1]]).status, 0);
    let mut events = world.start_daemon();
    world.crash("lerd-one-myapp");
    events.wait("detected", "lerd-one-myapp");
    for unit in both {
        world.wait_for_state(&service_of(unit), "active", SOON);
    }
    pass_time(&world, &mut events, 1);
    for unit in both {
        assert_none_of(&world, unit, &["failed", "gave-up", "stopped"]);
    }
}

/// The worker was stopped by hand, and takes its time; that its container is stopped meanwhile changes nothing.
#[test]
fn a_worker_that_is_still_stopping_when_its_container_is_stopped_stays_down() {
    let world = world();
    run(&world, FPM, "", LIVES);
    let slow = "TimeoutStopSec=1\nExecStart=sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'";
    run(&world, "lerd-queue-myapp", IN_FPM, slow);
    run(&world, "lerd-proof-myapp", IN_FPM, LIVES);
    let mut events = world.start_daemon();
    world.control(&["stop", "--no-block", "lerd-queue-myapp"]);
    world.wait_for_state("lerd-queue-myapp.service", "deactivating", SOON);
    world.control(&["stop", FPM]);
    let untouched = world.picture(&["lerd-queue-myapp"]);
    world.control(&["start", FPM]);
    comes_back(&world, "lerd-proof-myapp");
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["lerd-queue-myapp"]), untouched);
    is_left_down(&world, "lerd-queue-myapp");
}

/// Each time the worker was healed: it is not its fault that its container is restarted often.
#[test]
fn a_worker_is_not_given_up_for_restarts_of_its_container() {
    let world = world();
    run(&world, FPM, "StartLimitIntervalSec=0", LIVES);
    run(&world, "lerd-queue-myapp", IN_FPM, LIVES);
    let mut events = world.start_daemon();
    for _ in 0..6 {
        world.control(&["stop", FPM]);
        is_down(&world, "lerd-queue-myapp");
        world.control(&["start", FPM]);
        events.wait("healed", "lerd-queue-myapp");
    }
    assert_none_of(&world, "lerd-queue-myapp", &["failed", "gave-up", "stopped", "scheduled"]);
}

/// A unit that is down and not enabled is unloaded: only the daemon knows that it was up.
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

/// A stop of the worker itself has priority over what its container does before and after.
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

/// A worker and the pool that it requires, which systemd stops when it is not needed.
fn world_with_a_pool() -> World {
    let world = world();
    world.write_unit("pool.service", &format!("[Unit]\nStopWhenUnneeded=yes\n[Service]\n{LIVES}\n"));
    run(&world, "app-q", "Requires=pool.service\nAfter=pool.service", LIVES);
    assert_eq!(world.show("pool.service", "ActiveState"), "active");
    world
}

/// The worker is killed, so that systemd stops the pool as unneeded (systemd issues 7377 and 1154).
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
    assert_none_of(&world, "app-q", &["stopped", "gave-up"]);
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
