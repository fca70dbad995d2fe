//! A heal starts the worker and does nothing else: no other unit changes, no job is cancelled, no unit is lost, and a
//! unit that a person stops meanwhile stays down.

use std::fs::{self};

use crate::common::{LIVES, LIVES_UNLESS_BROKEN, Ran, SOON, World, service_of, text};
use crate::reports::stage::{
    assert_none_of, count, enable, explain, is_held_by, is_left_down, pass_time, phases, run, try_to_start,
    wait_for_diagnosis, wait_until_given_up, world, world_with_waits_of, write,
};

/// A unit that shows by a file `<unit>.up` that it is up.
const MAKES_KNOWN: &str = "ExecStartPre=touch %h/%N.up\nExecStart=sleep infinity\nExecStopPost=rm -f %h/%N.up";

/// A worker `app-b` that wants a store and dies when that stops.
fn world_with_a_store() -> World {
    let world = world();
    world.write_unit("store.service", &format!("[Service]\n{MAKES_KNOWN}\n"));
    let service = "ExecStart=sh -c 'while test -e %h/store.up; do sleep 0.02; done; exit 1'";
    run(&world, "app-b", "Wants=store.service\nAfter=store.service", service);
    assert_eq!(world.show("store.service", "ActiveState"), "active");
    world
}

/// A person stops a unit that a worker wants, and the worker fails because of that (systemd issue 39429).
#[test]
fn healing_a_worker_does_not_start_units_that_it_only_wants() {
    let world = world_with_a_store();
    let mut events = world.start_daemon();
    world.stop_unit("store.service");
    let untouched = world.picture(&["store.service"]);
    for _ in 0..3 {
        events.wait("failed", "app-b");
        assert_eq!(world.picture(&["store.service"]), untouched);
    }
    events.wait("gave-up", "app-b");
    assert_eq!(world.picture(&["store.service"]), untouched);
}

/// The same for a heal by hand, without a daemon.
#[test]
fn healing_a_worker_by_hand_does_not_start_units_that_it_only_wants() {
    let world = world_with_a_store();
    world.stop_unit("store.service");
    world.wait_for_state("app-b.service", "failed", SOON);
    let untouched = world.picture(&["store.service"]);
    let ran = world.run(&["heal", "app-b"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(world.picture(&["store.service"]), untouched);
}

/// The same if the wanted unit has failed: no heal of that was requested.
#[test]
fn healing_a_worker_does_not_start_a_failed_unit_that_it_only_wants() {
    let world = world_with_a_store();
    let mut events = world.start_daemon();
    world.crash_for_good(["store"]);
    let untouched = world.picture(&["store"]);
    for _ in 0..2 {
        events.wait("failed", "app-b");
        assert_eq!(world.picture(&["store"]), untouched);
    }
}

/// A worker is killed; a timer and a socket that it wants, and that a person stopped, stay down.
#[test]
fn a_timer_and_a_socket_that_a_worker_wants_stay_stopped_when_it_is_healed() {
    let world = world();
    world.write_unit("chime.service", "[Service]\nType=oneshot\nExecStart=true\n");
    world.write_unit("chime.timer", "[Timer]\nOnActiveSec=1h\n");
    world.write_unit("gate.service", "[Service]\nExecStart=sleep infinity\n");
    world.write_unit("gate.socket", "[Socket]\nListenStream=%t/gate.sock\n");
    run(&world, "app-b", "Wants=chime.timer gate.socket", LIVES);
    world.control(&["stop", "chime.timer", "gate.socket"]);
    let others = ["chime.timer", "chime.service", "gate.socket", "gate.service"];
    let untouched = world.picture(&others);
    let mut events = world.start_daemon();
    world.crash("app-b");
    events.wait("healed", "app-b");
    assert_eq!(world.picture(&others), untouched);
}

/// A worker that waits for an attempt and conflicts with a maintenance service, whichever of the two declares it.
fn world_with_maintenance(worker: &str, maintenance: &str) -> World {
    let world = world_with_waits_of("1s");
    world.write_file("broken", "");
    enable(&world, "app-c", worker, LIVES_UNLESS_BROKEN);
    world.write_unit("maint.service", &format!("[Unit]\n{maintenance}\n[Service]\n{LIVES}\n"));
    // Loaded, so that both units know of the conflict.
    world.write_unit("keeps.service", &format!("[Unit]\nAfter=maint.service\n[Service]\n{LIVES}\n"));
    world.start_unit("keeps.service");
    try_to_start(&world, "app-c");
    world
}

#[track_caller]
fn maintenance_stays_up(worker: &str, maintenance: &str) {
    let world = world_with_maintenance(worker, maintenance);
    let mut events = world.start_daemon();
    events.wait("scheduled", "app-c");
    world.start_unit("maint.service");
    fs::remove_file(world.home().join("broken")).unwrap();
    is_held_by(&world, "app-c", "maint.service");
    let untouched = world.picture(&["maint.service", "app-c"]);
    assert!(untouched.contains("ActiveState=active"), "{untouched}");
    pass_time(&world, &mut events, 4);
    assert_eq!(world.picture(&["maint.service", "app-c"]), untouched);

    // A heal by hand does not start it either.
    let ran = world.run(&["heal", "app-c"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(world.picture(&["maint.service", "app-c"]), untouched);

    world.stop_unit("maint.service");
    events.wait("healed", "app-c");
    assert_none_of(&world, "app-c", &["stopped", "gave-up"]);
    assert_eq!(world.show("maint.service", "ActiveState"), "inactive");
}

/// A person starts maintenance while a worker that conflicts with it waits for its next attempt (systemdlint issue 6,
/// systemd issue 21195).
#[test]
fn a_worker_is_held_by_a_unit_that_it_conflicts_with() {
    maintenance_stays_up("Conflicts=maint.service", "");
}

/// The same if the other unit declares the conflict.
#[test]
fn a_worker_is_held_by_a_unit_that_conflicts_with_it() {
    maintenance_stays_up("", "Conflicts=app-c.service");
}

/// Maintenance is started as the worker dies: our inspection may come before it, and our start after it.
#[test]
fn a_conflicting_unit_that_starts_as_the_worker_dies_is_not_stopped() {
    let world = world();
    run(&world, "app-c", "Conflicts=maint.service\nStartLimitIntervalSec=0", LIVES);
    world.write_unit("maint.service", &format!("[Service]\n{LIVES}\n"));
    let mut events = world.start_daemon();
    for _ in 0..5 {
        world.control(&["kill", "--signal=KILL", "app-c.service"]);
        world.start_unit("maint.service");
        let untouched = world.picture(&["maint.service"]);
        pass_time(&world, &mut events, 1);
        assert_eq!(world.picture(&["maint.service"]), untouched);
        if world.show("app-c.service", "ActiveState") == "active" {
            world.wait_for_state("app-c.service", "inactive", SOON);
        }
        world.stop_unit("maint.service");
        world.start_unit("app-c.service");
    }
}

/// A person starts maintenance while a worker that conflicts with it is up: systemd stops the worker for that. It waits
/// until maintenance has ended.
#[test]
fn a_worker_that_gave_way_to_a_conflicting_unit_comes_back_after_that() {
    for conflict_is_the_workers in [true, false] {
        let world = world();
        let (worker, maintenance) =
            if conflict_is_the_workers { ("Conflicts=maint.service", "") } else { ("", "Conflicts=app-c.service") };
        world.write_unit("maint.service", &format!("[Unit]\n{maintenance}\n[Service]\n{LIVES}\n"));
        run(&world, "app-c", worker, LIVES);
        let mut events = world.start_daemon();
        world.start_unit("maint.service");
        is_held_by(&world, "app-c", "maint.service");
        let untouched = world.picture(&["maint.service", "app-c"]);
        pass_time(&world, &mut events, 2);
        assert_eq!(world.picture(&["maint.service", "app-c"]), untouched);
        assert_eq!(count(&phases(&world, "app-c"), "starting"), 0);

        world.stop_unit("maint.service");
        events.wait("healed", "app-c");
        assert_none_of(&world, "app-c", &["stopped", "gave-up"]);
    }
}

/// A worker that a person has stopped before maintenance, or that is not enabled and may have been replaced.
#[test]
fn a_worker_that_was_stopped_before_maintenance_or_replaced_stays_down_after_it() {
    let world = world();
    world.write_unit("maint.service", &format!("[Service]\n{LIVES}\n"));
    run(&world, "app-c", "Conflicts=maint.service", LIVES);
    write(&world, "app-d", "Conflicts=maint.service", LIVES);
    world.start_unit("app-d.service");
    let mut events = world.start_daemon();
    world.stop_unit("app-c.service");
    world.start_unit("maint.service");
    world.wait_for_state("app-d.service", "inactive", SOON);
    pass_time(&world, &mut events, 2);
    world.stop_unit("maint.service");
    pass_time(&world, &mut events, 4);
    for name in ["app-c", "app-d"] {
        is_left_down(&world, name);
        assert_eq!(count(&phases(&world, name), "starting"), 0);
    }
}

/// Starts a transient unit.
fn start_a_job(world: &World) {
    let job = ["--user", "--quiet", "--unit=app-job", "sh", "-c"];
    let script = format!("test ! -e {} && exec sleep infinity", world.path("broken"));
    let ran = Ran::of(world.command("systemd-run").args(job).arg(script));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.wait_for_state("app-job.service", "active", SOON);
}

/// A transient unit is killed; it can be started again only as long as it is loaded (cockpit issue 15802, bootupd issue
/// 707).
#[test]
fn a_transient_unit_is_started_again_and_not_lost() {
    let world = world();
    let mut events = world.start_daemon();
    start_a_job(&world);
    world.crash("app-job");
    events.wait("healed", "app-job");
    assert_eq!(phases(&world, "app-job"), ["detected", "starting", "healed"]);
    assert_eq!(world.show("app-job.service", "ActiveState"), "active");
}

/// The same by hand, without a daemon.
#[test]
fn a_transient_unit_is_started_again_by_hand_and_not_lost() {
    let world = world();
    start_a_job(&world);
    world.crash_for_good(["app-job"]);
    assert_eq!(world.diagnosis("app-job").as_deref(), Some("failed"));
    let ran = world.run(&["heal", "app-job"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
    assert_eq!(world.show("app-job.service", "ActiveState"), "active");
}

/// The same for a unit at its start limit: clearing its failure would unload it.
#[test]
fn a_transient_unit_at_its_start_limit_is_not_lost() {
    let world = world();
    let mut events = world.start_daemon();
    let job = ["--user", "--quiet", "--unit=app-job", "-p", "StartLimitBurst=1", "-p", "StartLimitIntervalSec=1h"];
    let ran = Ran::of(world.command("systemd-run").args(job).args(["sleep", "infinity"]));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.crash("app-job");
    events.wait_any(&["gave-up", "healed"], "app-job");
    assert_eq!(world.show("app-job.service", "LoadState"), "loaded");
    let state = world.show("app-job.service", "ActiveState");
    assert!(matches!(state.as_str(), "failed" | "active"), "{state}");
    assert_eq!(world.diagnosis("app-job").is_some(), state == "failed");
}

/// The start limit of a unit with a file does not end its healing: it can be cleared.
#[test]
fn a_worker_with_a_start_limit_of_one_is_healed_again_and_again() {
    let world = world();
    run(&world, "app-l", "StartLimitBurst=1\nStartLimitIntervalSec=1h", LIVES);
    let mut events = world.start_daemon();
    for _ in 0..3 {
        world.crash("app-l");
        events.wait("healed", "app-l");
    }
    assert_eq!(count(&phases(&world, "app-l"), "failed"), 0);
}

/// The file of a running worker is deleted; it can be started again only as long as it is loaded.
#[test]
fn a_worker_whose_file_was_deleted_while_it_ran_is_started_again_and_not_lost() {
    let world = world();
    write(&world, "app-d", "", LIVES);
    world.control(&["start", "app-d"]);
    let mut events = world.start_daemon();
    fs::remove_file(world.home().join(".config/systemd/user/app-d.service")).unwrap();
    world.crash("app-d");
    events.wait("healed", "app-d");
    assert_eq!(world.show("app-d.service", "ActiveState"), "active");
}

/// The same for a unit that can no longer be healed.
#[test]
fn a_transient_unit_that_keeps_failing_is_given_up_and_not_lost() {
    let world = world();
    let mut events = world.start_daemon();
    start_a_job(&world);
    world.write_file("broken", "");
    world.crash("app-job");
    events.wait("gave-up", "app-job");
    assert_eq!(world.show("app-job.service", "LoadState"), "loaded");
    wait_for_diagnosis(&world, "app-job", "failed");
    wait_until_given_up(&world, "app-job");
    // A person can start it with systemctl or workerheal, once the start limit permits it.
    fs::remove_file(world.home().join("broken")).unwrap();
    world.wait_until("a start by hand", SOON, || world.systemctl(&["start", "app-job"]).ok());
    events.wait_any(&["recovered", "healed"], "app-job");
}

/// The unit may only be started by another unit (mgmt issue 369, systemd issue 38987).
#[test]
fn a_worker_whose_start_is_refused_stays_failed_and_is_given_up_with_the_reason() {
    let world = world();
    write(&world, "app-r", "RefuseManualStart=yes", LIVES);
    world.write_unit("group.target", "[Unit]\nWants=app-r.service\n");
    world.start_unit("group.target");
    world.wait_for_state("app-r.service", "active", SOON);
    let mut events = world.start_daemon();
    world.crash("app-r");
    let gave_up = events.wait_any(&["gave-up", "held", "stopped"], "app-r");
    assert_eq!(gave_up["WORKERHEAL_PHASE"], "gave-up", "{gave_up:#}");
    let why = format!("{} {}", text(&gave_up, "WORKERHEAL_REASON"), text(&gave_up, "WORKERHEAL_ERROR"));
    assert!(why.contains("refuse"), "{gave_up:#}");
    pass_time(&world, &mut events, 2);
    assert_eq!(world.show("app-r.service", "ActiveState"), "failed");
    assert_eq!(phases(&world, "app-r").last().unwrap(), "gave-up");
    assert_none_of(&world, "app-r", &["held", "stopped", "recovered", "healed"]);
    wait_for_diagnosis(&world, "app-r", "failed");
    wait_until_given_up(&world, "app-r");
}

/// The same by hand, without a daemon: a unit that cannot be started stays failed.
#[test]
fn a_worker_whose_start_by_hand_is_refused_stays_failed() {
    let world = world();
    write(&world, "app-r", "RefuseManualStart=yes", LIVES);
    world.write_unit("group.target", "[Unit]\nWants=app-r.service\n");
    world.start_unit("group.target");
    world.crash_for_good(["app-r"]);
    let untouched = world.picture(&["app-r"]);
    let ran = world.run(&["heal", "app-r"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("refuse"), "{ran:?}");
    assert_eq!(world.picture(&["app-r"]), untouched);
    assert_eq!(world.diagnosis("app-r").as_deref(), Some("failed"));
}

/// A oneshot that a timer starts at night fails; each run sends a bill (systemd issues 5440 and 28203).
#[test]
fn a_failed_oneshot_with_a_timer_or_path_is_shown_and_left_to_that() {
    let world = world();
    let service = "Type=oneshot\nExecStart=sh -c 'echo >>%h/%N.runs; test ! -e %h/broken'";
    for unit in ["app-bill", "app-import"] {
        write(&world, unit, "", service);
    }
    world.write_unit("app-bill.timer", "[Timer]\nOnCalendar=*-*-* 03:00:00\n");
    world.write_unit("app-import.path", "[Path]\nPathExists=%h/spool\n");
    world.control(&["start", "app-bill.timer", "app-import.path"]);
    world.write_file("broken", "");
    let mut events = world.start_daemon();
    for unit in ["app-bill", "app-import"] {
        try_to_start(&world, unit);
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "failed");
    }
    pass_time(&world, &mut events, 3);
    let runs = |unit: &str| fs::read_to_string(world.home().join(format!("{unit}.runs"))).unwrap().lines().count();
    for unit in ["app-bill", "app-import"] {
        assert_eq!(runs(unit), 1, "{unit}");
        assert_eq!(count(&phases(&world, unit), "starting"), 0, "{unit}");
        wait_for_diagnosis(&world, unit, "failed");
        let explained = explain(&world, unit);
        let trigger = if unit == "app-bill" { "app-bill.timer" } else { "app-import.path" };
        assert!(explained.contains(trigger), "{explained}");
    }
    // A person may run it again.
    fs::remove_file(world.home().join("broken")).unwrap();
    let ran = world.run(&["heal", "app-bill"]);
    assert_eq!((ran.status, runs("app-bill"), runs("app-import")), (0, 2, 1), "{ran:?}");
}

/// The same job, whose author has not called it a oneshot; and a worker beside it that is started by a timer after
/// login, and is to be kept up.
#[test]
fn a_failed_job_of_the_default_type_is_left_to_its_timer_unless_its_unit_has_restarts() {
    let world = world();
    let service = "ExecStart=sh -c 'echo >>%h/%N.runs; test ! -e %h/broken && exec sleep infinity'";
    write(&world, "app-bill", "", service);
    write(&world, "app-late", "StartLimitBurst=1", &format!("{service}\nRestart=on-failure\nRestartSec=10ms"));
    for unit in ["app-bill", "app-late"] {
        world.write_unit(&format!("{unit}.timer"), "[Timer]\nOnCalendar=*-*-* 03:00:00\n");
        world.control(&["start", &format!("{unit}.timer")]);
    }
    world.write_file("broken", "");
    let mut events = world.start_daemon();
    try_to_start(&world, "app-bill");
    let held = events.wait("held", "app-bill");
    assert_eq!(held["WORKERHEAL_REASON"], "app-bill.timer decides when it runs");
    try_to_start(&world, "app-late");
    events.wait("starting", "app-late");
    assert_eq!(fs::read_to_string(world.home().join("app-bill.runs")).unwrap().lines().count(), 1);
    assert_eq!(count(&phases(&world, "app-bill"), "starting"), 0);
}

/// A oneshot that nothing triggers is run again only if its unit has `Restart=`.
#[test]
fn a_failed_oneshot_without_a_trigger_is_run_again_only_if_its_unit_has_restarts() {
    let world = world();
    let service = "Type=oneshot\nExecStart=sh -c 'echo >>%h/%N.runs; test ! -e %h/broken'";
    enable(&world, "app-once", "", service);
    enable(&world, "app-again", "StartLimitBurst=2", &format!("{service}\nRestart=on-failure"));
    world.write_file("broken", "");
    let mut events = world.start_daemon();
    try_to_start(&world, "app-once");
    try_to_start(&world, "app-again");
    events.wait("failed", "app-again");
    fs::remove_file(world.home().join("broken")).unwrap();
    // By the manager's own restart, if that comes first.
    events.wait_any(&["healed", "recovered"], "app-again");
    pass_time(&world, &mut events, 1);
    let runs = || fs::read_to_string(world.home().join("app-once.runs")).unwrap().lines().count();
    assert_eq!((runs(), count(&phases(&world, "app-once"), "starting")), (1, 0));
    wait_for_diagnosis(&world, "app-once", "failed");
    let ran = world.run(&["heal", "app-once"]);
    assert_eq!((ran.status, runs()), (0, 2), "{ran:?}");
}

/// A worker whose start takes a while, and whether it comes up in the end.
#[track_caller]
fn heal_by_hand_during_an_attempt(ends_well: bool) {
    let world = world_with_waits_of("5m");
    let unless = if ends_well { "" } else { "; test ! -e %h/broken" };
    run(&world, "app-x", "", &format!("ExecStartPre=sh -c 'sleep 1{unless}'\nExecStart=sleep infinity"));
    let mut events = world.start_daemon();
    world.write_file("broken", "");
    world.crash("app-x");
    events.wait("starting", "app-x");
    world.wait_for_state("app-x.service", "activating", SOON);
    let ran = world.run(&["heal", "app-x"]);
    let (code, last, state) =
        if ends_well { (0, "Healed 1 worker(s).", "active") } else { (1, "Healed 0 worker(s), 1 failed.", "failed") };
    assert_eq!((ran.status, ran.out.lines().last()), (code, Some(last)), "{ran:?}");
    assert_eq!(world.show("app-x.service", "ActiveState"), state);
    // From the daemon's start, not from another one.
    assert_eq!(count(&phases(&world, "app-x"), "starting"), 1);
}

/// A person heals a worker that the daemon is starting (LinuxGSM issue 2646).
#[test]
fn a_heal_by_hand_during_an_attempt_waits_for_its_end() {
    heal_by_hand_during_an_attempt(true);
}

/// The same if the attempt fails.
#[test]
fn a_heal_by_hand_during_an_attempt_that_fails_says_so() {
    heal_by_hand_during_an_attempt(false);
}

/// The start of a worker waits for a unit that is still on its way up and that it is only ordered after.
#[test]
fn an_own_start_that_waits_for_another_unit_is_not_explained_as_the_job_of_another_client() {
    let world = world();
    world.write_unit("slow.service", "[Service]\nType=oneshot\nExecStart=sleep infinity\n");
    run(&world, "app-a", "After=slow.service", LIVES);
    let mut events = world.start_daemon();
    world.control(&["start", "--no-block", "slow"]);
    world.wait_for_state("slow.service", "activating", SOON);
    world.crash("app-a");
    events.wait("starting", "app-a");
    world.wait_until("the waiting start", SOON, || (!world.show("app-a.service", "Job").is_empty()).then_some(()));
    let explained = explain(&world, "app-a");
    assert!(explained.contains("app-a is being started") && !explained.contains("another job"), "{explained}");
}
