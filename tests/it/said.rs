//! What is said of a worker is true, is said once, and is the same wherever it is said.

use std::fs;

use crate::common::{DAEMON, LIVES, SOON, World, service_of};

const QUEUE: &str = "lerd-queue-myapp";

#[test]
fn a_dry_run_does_not_call_a_worker_failed_that_is_being_proven() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 1m}\n");
    world.workers([QUEUE]);
    world.control(&["start", QUEUE]);
    let _events = world.start_daemon();
    world.crash(QUEUE);
    world.wait_until("its proof", SOON, || world.run(&["status", QUEUE]).out.contains("proving").then_some(()));
    let ran = world.run(&["heal", "--dry-run", "myapp/queue"]);
    assert_eq!(ran.out, "– myapp/queue is not healed: it has been started already, and has to stay up\n", "{ran:?}");
    let ran = world.run(&["heal", "--dry-run", "--json", "myapp/queue"]);
    assert_eq!(ran.json(), serde_json::json!([]), "{ran:?}");
}

#[test]
fn a_dry_run_takes_a_stop_that_timed_out_for_no_start_limit() {
    let world = World::new();
    let ignores = "Type=notify\nNotifyAccess=all\nRestart=on-failure\nTimeoutStopSec=500ms\n\
        ExecStart=sh -c 'trap \"\" TERM; systemd-notify --ready; while :; do sleep 0.1; done'";
    world.worker(QUEUE, ignores);
    world.control(&["stop", QUEUE]);
    assert_eq!(world.show(&service_of(QUEUE), "Result"), "timeout");
    let state = || world.run(&["heal", "--dry-run", "--json", QUEUE]).json()[0]["state"].clone();
    assert_eq!(state(), "failed", "without a daemon");
    let _events = world.start_daemon();
    assert_eq!(state(), "failed", "with one");
}

#[test]
fn what_is_down_on_purpose_is_listed_as_failed_by_neither_list() {
    let world = World::new();
    // In a place where it can be masked.
    let unit = format!("[Service]\n{LIVES}\n[Install]\nWantedBy=default.target\n");
    world.write_file(".local/share/systemd/user/lerd-queue-myapp.service", &unit);
    world.daemon_reload();
    world.control(&["start", QUEUE]);
    let mut events = world.start_daemon();
    world.control(&["mask", QUEUE]);
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    assert!(world.run(&["status", "--failed"]).out.ends_with("\nNo unhealthy workers.\n"));
    assert_eq!(world.diagnosis(QUEUE), None);
    assert!(world.run(&["status"]).out.contains("the unit is masked"));
}

#[test]
fn a_refused_start_by_hand_is_reported_once_and_with_a_remedy() {
    let world = World::new();
    world.write_unit(
        &service_of(QUEUE),
        &format!("[Unit]\nRefuseManualStart=yes\n[Service]\n{LIVES}\n[Install]\nWantedBy=all.target\n"),
    );
    world.write_unit("all.target", "[Unit]\nWants=lerd-queue-myapp.service\n");
    world.daemon_reload();
    world.control(&["start", "all.target"]);
    world.wait_for_state(&service_of(QUEUE), "active", SOON);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("gave-up", QUEUE);
    let row = world.run(&["status", QUEUE]).out;
    assert!(row.ends_with("  its unit refuses to be started by hand (RefuseManualStart=)\n"), "{row}");
    let explained = world.run(&["explain", QUEUE]).out;
    assert!(
        explained
            .starts_with("myapp/queue was given up: its unit refuses to be started by hand (RefuseManualStart=).\n")
    );
    assert!(!explained.contains("workerheal heal"), "that is refused too: {explained}");
}

#[test]
fn a_registry_that_is_named_and_missing_is_an_error() {
    let world = World::new();
    for command in ["detect", "check", "heal"] {
        let ran = world.run(&["--sites", "/nowhere/sites.yaml", command]);
        assert_eq!(ran.status, 2, "{command}: {ran:?}");
        assert!(ran.err.contains("cannot read /nowhere/sites.yaml: there is no such file"), "{command}: {ran:?}");
    }
    // The usual one may be missing.
    fs::remove_file(world.home().join(".local/share/lerd/sites.yaml")).unwrap();
    assert_eq!(world.run(&["detect"]).status, 0);
}

#[test]
fn where_a_mistake_keeps_the_daemon_from_starting_the_mistake_is_named() {
    let world = World::new();
    world.config("heal: {stabel_after: 1s}\n");
    let ran = world.run(&["status"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.err.contains("config.yaml:1:8: unknown key `stabel_after`"), "{ran:?}");
    assert!(!ran.err.contains("systemctl"), "it would fail: {ran:?}");
    let doctor = world.run(&["doctor"]).out;
    assert_eq!(doctor.matches("stabel_after").count(), 1, "{doctor}");
    world.config("");
    world.registry("sites: 3\n");
    let ran = world.run(&["status"]);
    assert!(ran.err.contains("sites.yaml:1:8") && !ran.err.contains("systemctl"), "{ran:?}");
    world.registry("sites: []\n");
    assert!(world.run(&["status"]).err.contains(&format!("start {}", DAEMON.trim_end_matches(".service"))));
}

#[test]
fn without_a_daemon_no_attempt_is_promised() {
    let world = World::with_a_waiting_worker(QUEUE, "lerd-vite-shop");
    assert!(world.run(&["explain", QUEUE]).out.contains("is tried again in "));
    world.stop_unit(DAEMON);
    let explained = world.run(&["explain", QUEUE]).out;
    let headline = explained.lines().next().unwrap_or_default();
    assert_eq!(headline, "myapp/queue has failed, and no daemon is running that would try it again (attempt 2 of 10).");
}
