//! A hanging start or stop is reported as stuck, but not before its time limit.

use crate::common::{LIVES, SOON};
use crate::reports::stage::{
    HANGS, count, enable, explain, pass_time, phases, run, status, wait_for_diagnosis, wait_for_phase, world,
    world_with, write,
};

/// The worker never becomes ready, and its start has no time limit.
#[test]
fn a_hanging_attempt_times_out_and_the_worker_is_reported_as_stuck() {
    let world = world_with(", timeout: 1s");
    enable(&world, "app-n", "", HANGS);
    world.control(&["start", "--no-block", "app-n"]);
    world.wait_for_state("app-n.service", "activating", SOON);
    world.crash_for_good(["app-n"]);
    let mut events = world.start_daemon();
    events.wait("starting", "app-n");
    events.wait("failed", "app-n");
    wait_for_diagnosis(&world, "app-n", "stuck");
    assert!(explain(&world, "app-n").contains("stuck"), "{}", explain(&world, "app-n"));
    // It is left alone.
    let untouched = world.picture(&["app-n"]);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-n"]), untouched);
    assert_eq!(count(&phases(&world, "app-n"), "starting"), 1);
    wait_for_diagnosis(&world, "app-n", "stuck");
}

/// The same for another client's start, which succeeds in the end.
#[test]
fn a_hanging_start_of_another_client_is_reported_as_stuck() {
    let world = world_with(", timeout: 1s");
    let service = "Type=notify\nNotifyAccess=all\nTimeoutStartSec=infinity\n\
        ExecStart=sh -c 'until test -e %h/go; do sleep 0.05; done; systemd-notify --ready; exec sleep infinity'";
    enable(&world, "app-n", "", service);
    let mut events = world.start_daemon();
    world.control(&["start", "--no-block", "app-n"]);
    wait_for_diagnosis(&world, "app-n", "stuck");
    let untouched = world.picture(&["app-n"]);
    pass_time(&world, &mut events, 1);
    assert_eq!(world.picture(&["app-n"]), untouched);
    assert_eq!(count(&phases(&world, "app-n"), "starting"), 0);
    world.write_file("go", "");
    events.wait("recovered", "app-n");
    assert_eq!(world.diagnosis("app-n"), None);
}

/// The main process is killed, but a process that it left behind ignores SIGTERM, and the unit waits for that one
/// forever (video2commons issue 426, podman issue 26640).
#[test]
fn a_worker_whose_stop_never_ends_is_reported_as_stuck() {
    let world = world_with(", timeout: 1s");
    let service = "TimeoutStopSec=infinity\n\
        ExecStart=sh -c '(trap \"\" TERM; touch %h/deaf; exec sleep infinity) & exec sleep infinity'";
    run(&world, "app-z", "", service);
    world.wait_until("its child to be deaf", SOON, || world.home().join("deaf").exists().then_some(()));
    let mut events = world.start_daemon();
    let pid = world.show("app-z.service", "MainPID");
    assert!(world.command("kill").args(["-KILL", &pid]).status().unwrap().success());
    world.wait_for_state("app-z.service", "deactivating", SOON);
    wait_for_diagnosis(&world, "app-z", "stuck");
    assert!(explain(&world, "app-z").contains("stuck"), "{}", explain(&world, "app-z"));
    let untouched = world.picture(&["app-z"]);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.picture(&["app-z"]), untouched);
    assert_eq!(count(&phases(&world, "app-z"), "starting"), 0);
    // Once it is down, it counts as failed like any other.
    world.crash("app-z");
    events.wait("healed", "app-z");
    assert_eq!(world.diagnosis("app-z"), None);
}

/// A start that is slow, but within the unit's limit, is no problem.
#[test]
fn a_slow_start_within_the_units_own_time_limit_is_not_stuck() {
    let world = world_with(", timeout: 500ms");
    enable(&world, "app-n", "", &HANGS.replace("infinity\nExec", "30s\nExec"));
    let mut events = world.start_daemon();
    world.control(&["start", "--no-block", "app-n"]);
    world.wait_for_state("app-n.service", "activating", SOON);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.show("app-n.service", "ActiveState"), "activating");
    assert_eq!(world.diagnosis("app-n"), None);
    assert_eq!(phases(&world, "app-n"), [""; 0]);
}

/// The unit's `JobTimeoutSec=` is shorter than its start (systemd issue 11521).
#[test]
fn a_job_timeout_and_a_late_recovery_are_reported() {
    let world = world();
    run(&world, "app-j", "JobTimeoutSec=300ms", LIVES);
    write(&world, "app-j", "JobTimeoutSec=300ms", "ExecStartPre=sleep 1\nExecStart=sleep infinity");
    world.daemon_reload();
    let mut events = world.start_daemon();
    world.crash("app-j");
    events.wait("starting", "app-j");
    events.wait_any(&["healed", "recovered"], "app-j");
    wait_for_phase(&world, "app-j", "up");
    assert_eq!(world.show("app-j.service", "ActiveState"), "active");
    assert_eq!(world.diagnosis("app-j"), None);
}

/// The same for a start that never ends.
#[test]
fn a_job_timeout_of_an_endless_start_is_reported_as_stuck() {
    let world = world_with(", timeout: 1s");
    run(&world, "app-j", "JobTimeoutSec=300ms", LIVES);
    write(&world, "app-j", "JobTimeoutSec=300ms", &format!("{HANGS}\n"));
    world.daemon_reload();
    let mut events = world.start_daemon();
    world.crash("app-j");
    events.wait("starting", "app-j");
    events.wait("failed", "app-j");
    wait_for_diagnosis(&world, "app-j", "stuck");
    assert_ne!(status(&world, "app-j")["phase"], "waiting");
}

/// The same of one that the manager ends: until then every surface says that it is on its way.
#[test]
fn a_start_that_outlasts_its_job_within_its_own_time_limit_is_not_stuck() {
    let world = world();
    enable(&world, "app-j", "JobTimeoutSec=200ms", &HANGS.replace("infinity\nExec", "30s\nExec"));
    let mut events = world.start_daemon();
    world.control(&["start", "--no-block", "app-j"]);
    world.wait_for_state("app-j.service", "activating", SOON);
    pass_time(&world, &mut events, 2);
    assert_eq!(world.show("app-j.service", "ActiveState"), "activating");
    assert_eq!(status(&world, "app-j")["phase"], "changing");
    let explained = world.run(&["explain", "app-j"]).out;
    assert!(explained.starts_with("app-j is on its way up.\n"), "{explained}");
    let ran = world.run(&["heal", "--dry-run", "app-j"]);
    assert!(!ran.out.contains("stuck"), "{ran:?}");
}
