//! A worker that a person or the manager stops stays down: alone, with others, with its group, during our start, and
//! during a shutdown.

use std::fs::{self, File};
use std::process::Stdio;

use crate::common::{FAILS_WHEN_STOPPED, LIVES, LIVES_UNLESS_BROKEN, Ran, SOON, WORKERHEAL, World, service_of};
use crate::reports::stage::{
    FAILS_ON_REQUEST, SETTINGS, count, enable, is_left_down, pass_time, phases, refreshes, run, try_to_start,
    wait_for_phase, world, world_with_waits_of,
};

/// Ten workers end with an error when their server stops; a person stops it and them in one call, so that their stop
/// jobs end while the failures are being inspected.
#[test]
fn workers_that_fail_while_all_are_being_stopped_stay_down() {
    let world = world();
    // The workers read from the server: all of them notice its end at once.
    let fifo = world.path("fifo");
    assert_eq!(Ran::of(world.command("mkfifo").arg(&fifo)).status, 0);
    world.write_unit("server.service", "[Service]\nExecStart=sh -c 'exec 9<>%h/fifo; exec sleep infinity'\n");
    let workers: Vec<String> = (0..10).map(|n| format!("app-w{n}")).collect();
    let names: Vec<&str> = workers.iter().map(String::as_str).collect();
    for worker in &workers {
        let service = "Type=notify\nNotifyAccess=all\n\
            ExecStart=sh -c 'exec 8<%h/fifo; systemd-notify --ready; read line <&8; exit 1'";
        enable(&world, worker, "StartLimitIntervalSec=0", service);
    }
    let all = [&["server"], &names[..]].concat();
    let mut events = world.start_daemon();
    for round in 0..5 {
        world.control(&[&["start"], &all[..]].concat());
        // This fails if one of the stops is cancelled.
        world.control(&[&["stop"], &all[..]].concat());
        pass_time(&world, &mut events, 1);
        for worker in &workers {
            let state = world.show(&service_of(worker), "ActiveState");
            assert!(matches!(state.as_str(), "inactive" | "failed"), "{worker} is {state} after stop {round}");
        }
    }
    for worker in &workers {
        is_left_down(&world, worker);
    }
}

/// A worker that waits for its next attempt once it was started, one that dies on request, and a unit whose stop is
/// ordered before theirs and ends only when it is stopped.
fn start_a_slow_stage(world: &World) {
    world.write_file("broken", "");
    enable(world, "app-waits", "", LIVES_UNLESS_BROKEN);
    run(world, "app-dies", "", FAILS_ON_REQUEST);
    let slow = format!("{LIVES}\nExecStop=sh -c 'until test -e %h/go; do sleep 0.02; done'");
    run(world, "slow", "After=app-dies.service app-waits.service", &slow);
}

/// Makes the one die while the slow unit is being stopped, and asserts that this causes no event, and neither does the
/// wait of the other. Returns the events of the other so far.
#[track_caller]
fn assert_no_events_while_it_is_slow(world: &World) -> Vec<String> {
    world.wait_for_state("slow.service", "deactivating", SOON);
    let reported = phases(world, "app-waits");
    world.write_file("app-dies.fail", "");
    world.wait_for_state("app-dies.service", "failed", SOON);
    let since = refreshes(world);
    world.wait_until("some refreshes", SOON, || (refreshes(world) > since + 10).then_some(()));
    assert_eq!(phases(world, "app-dies"), [""; 0]);
    assert_eq!(phases(world, "app-waits"), reported);
    reported
}

/// The user's manager shuts down while a worker waits for its next attempt and another one dies; the daemon is not one
/// of its units, so it observes that.
#[test]
fn no_decision_is_made_while_the_manager_shuts_down() {
    let world = world_with_waits_of("1s");
    start_a_slow_stage(&world);
    let log = File::create(world.home().join("log")).unwrap();
    let mut daemon = world.command(WORKERHEAL);
    daemon.arg("daemon").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut daemon = daemon.spawn().unwrap();
    world.wait_until("the daemon", SOON, || (world.run(&["status"]).status == 0).then_some(()));
    try_to_start(&world, "app-waits");
    wait_for_phase(&world, "app-waits", "waiting");
    world.control(&["--no-block", "--job-mode=replace-irreversibly", "start", "exit.target"]);
    let reported = assert_no_events_while_it_is_slow(&world);

    // Nor after the manager has ended.
    world.write_file("go", "");
    world.wait_until("the manager to end", SOON, || {
        world.systemctl(&["show", "--property=Version"]).is_err().then_some(())
    });
    assert_eq!(phases(&world, "app-dies"), [""; 0]);
    assert_eq!(phases(&world, "app-waits"), reported);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// The manager isolates a target that includes the daemon, but no worker.
#[test]
fn no_decision_is_made_while_a_target_is_isolated() {
    let world = world_with_waits_of("1s");
    world.write_unit("only.target", "[Unit]\nAllowIsolate=yes\nWants=workerheal.service dbus.service\n");
    start_a_slow_stage(&world);
    let mut events = world.start_daemon();
    try_to_start(&world, "app-waits");
    events.wait("scheduled", "app-waits");
    world.control(&["--no-block", "isolate", "only.target"]);
    assert_no_events_while_it_is_slow(&world);
    assert_eq!(world.show("app-dies.service", "ActiveState"), "failed");
}

/// A worker waits for its next attempt, and a person stops its group: a unit that is down gets no job, so that only the
/// group shows the stop.
#[track_caller]
fn stays_down_with_its_group(unit: &str, service: &str, group: &str, group_text: &str) {
    let world = world_with_waits_of("1s");
    world.write_file("broken", "");
    world.write_unit(group, group_text);
    enable(&world, "app-w", unit, &format!("{service}\n{LIVES_UNLESS_BROKEN}"));
    world.start_unit(group);
    try_to_start(&world, "app-w");
    let mut events = world.start_daemon();
    events.wait("scheduled", "app-w");
    world.stop_unit(group);
    fs::remove_file(world.home().join("broken")).unwrap();
    let untouched = world.picture(&["app-w", group]);
    let reported = phases(&world, "app-w");
    pass_time(&world, &mut events, 4);
    assert_eq!(world.picture(&["app-w", group]), untouched);
    assert_eq!(world.show(group, "ActiveState"), "inactive");
    assert_eq!(count(&phases(&world, "app-w"), "starting"), count(&reported, "starting"));
    wait_for_phase(&world, "app-w", "stopped");
    assert_eq!(world.diagnosis("app-w"), None);
}

/// A target that a waiting worker is part of is stopped (systemd issues 13841 and 13848).
#[test]
fn a_waiting_worker_stays_down_when_the_target_that_it_is_part_of_is_stopped() {
    let target = "[Unit]\nWants=app-w.service\n";
    stays_down_with_its_group("PartOf=group.target", "", "group.target", target);
}

/// A service that a waiting worker is part of is stopped (systemd issue 13848).
#[test]
fn a_waiting_worker_stays_down_when_the_service_that_it_is_part_of_is_stopped() {
    stays_down_with_its_group("PartOf=group.service", "", "group.service", &format!("[Service]\n{LIVES}\n"));
}

/// A slice that a waiting worker is in is stopped (systemd issue 1312).
#[test]
fn a_waiting_worker_stays_down_when_its_slice_is_stopped() {
    stays_down_with_its_group("", "Slice=group.slice", "group.slice", "[Slice]\n");
}

/// Running workers are stopped with their groups, and end with an error.
#[test]
fn workers_that_are_stopped_with_their_groups_stay_down() {
    let world = world();
    let service = format!("[Service]\n{LIVES}\n");
    let groups = [("group.target", "[Unit]\n"), ("group.service", service.as_str()), ("group.slice", "[Slice]\n")];
    for (group, text) in groups {
        world.write_unit(group, text);
        world.start_unit(group);
    }
    run(&world, "app-a", "PartOf=group.target", FAILS_WHEN_STOPPED);
    run(&world, "app-b", "PartOf=group.service", FAILS_WHEN_STOPPED);
    run(&world, "app-c", "", &format!("Slice=group.slice\n{FAILS_WHEN_STOPPED}"));
    let mut events = world.start_daemon();
    for (group, _) in groups {
        world.stop_unit(group);
    }
    let all = ["app-a", "app-b", "app-c", "group.target", "group.service", "group.slice"];
    for unit in &all[..3] {
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    let untouched = world.picture(&all);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&all), untouched);
    for unit in &all[..3] {
        is_left_down(&world, unit);
    }
}

/// A person stops a worker during our start: it is down in the end, and the stop was not cancelled.
#[test]
fn a_stop_during_our_start_is_obeyed() {
    let world = world();
    world.config(&SETTINGS.replace("refresh: 200ms", "refresh: 1h"));
    let units: Vec<String> = (0..8).map(|n| format!("app-s{n}")).collect();
    for unit in &units {
        run(&world, unit, "", LIVES);
    }
    let mut events = world.start_daemon();
    for (n, unit) in units.iter().enumerate() {
        // A little later each time: before the inspection, during it, during the start, after it.
        let script = format!(
            "systemctl --user kill --signal=KILL {unit}; sleep 0.0{:02}; exec systemctl --user stop {unit}",
            n * 3
        );
        let ran = Ran::of(world.command("sh").args(["-c", &script]));
        assert_eq!(ran.status, 0, "{unit}: {ran:?}");
    }
    pass_time(&world, &mut events, 2);
    for unit in &units {
        is_left_down(&world, unit);
    }
}

/// A person stops a worker that systemd was about to restart.
#[test]
fn a_stop_while_systemd_waits_to_restart_a_worker_is_obeyed() {
    let world = world();
    run(&world, "app-w", "", "ExecStart=sleep infinity\nRestart=always\nRestartSec=1h");
    let mut events = world.start_daemon();
    world.crash("app-w");
    world.wait_for_state("app-w.service", "activating", SOON);
    world.stop_unit("app-w.service");
    let untouched = world.picture(&["app-w"]);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-w"]), untouched);
    is_left_down(&world, "app-w");
}

/// A person stops a worker that waits for its next attempt.
#[test]
fn a_waiting_worker_that_is_stopped_by_itself_stays_down() {
    let world = world_with_waits_of("1s");
    world.write_file("broken", "");
    enable(&world, "app-w", "", LIVES_UNLESS_BROKEN);
    try_to_start(&world, "app-w");
    let mut events = world.start_daemon();
    events.wait("scheduled", "app-w");
    world.stop_unit("app-w.service");
    fs::remove_file(world.home().join("broken")).unwrap();
    events.wait("stopped", "app-w");
    let untouched = world.picture(&["app-w"]);
    pass_time(&world, &mut events, 4);
    assert_eq!(world.picture(&["app-w"]), untouched);
    assert_eq!(world.show("app-w.service", "ActiveState"), "failed");
}

/// A server crashes and is started again by hand; the worker that requires it continues, and is stopped in the same
/// second.
#[test]
fn a_worker_that_is_stopped_right_after_its_server_came_back_stays_down() {
    let world = world();
    world.write_unit("server.service", &format!("[Service]\n{LIVES}\n"));
    enable(&world, "app-w", "Requires=server.service\nAfter=server.service", LIVES);
    world.control(&["start", "app-w"]);
    let _events = world.start_daemon();
    world.control(&["kill", "-s", "KILL", "server"]);
    world.wait_for_state("server.service", "failed", SOON);
    world.control(&["start", "server"]);
    world.control(&["stop", "app-w"]);
    is_left_down(&world, "app-w");
}
