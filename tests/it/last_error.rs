//! The last error of a worker: the cause of the failed run, read from a real journal.
//!
//! This program runs itself inside the sandbox to read it, with the test that is ignored otherwise.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use crate::common::{LIVES, SOON, World, service_of, text};
use workerheal::UnitName;
use workerheal::manager::{Native, Scope, ServiceManager};
use workerheal_sandbox::Entry;

const QUEUE: &str = "lerd-queue-myapp";

/// The last error of a worker with this `[Service]` section, once it has failed.
#[track_caller]
fn after_failing(service: &str) -> String {
    let world = World::new();
    world.write_worker(QUEUE, service);
    fail(&world);
    last_error(&world)
}

/// Starts the worker, which then fails, at once or later.
#[track_caller]
fn fail(world: &World) {
    let _ = world.systemctl(&["start", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
}

/// The last error that the library returns; empty if there is none.
#[track_caller]
fn last_error(world: &World) -> String {
    world.journal(&[]);
    let mut asks = world.command(std::env::current_exe().unwrap());
    asks.args(["--ignored", "--exact", "last_error::prints_the_last_error_for_another_test", "--nocapture"])
        .env("UNIT", QUEUE);
    let output = asks.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().find_map(|line| line.split_once("ERROR ")).unwrap().1.to_owned()
}

#[tokio::test]
#[ignore = "is what the other tests run inside their sandboxes"]
async fn prints_the_last_error_for_another_test() {
    let unit = UnitName::parse(&std::env::var("UNIT").unwrap()).unwrap();
    let (manager, _changes) = Native::connect(Scope::User, Vec::new()).await.unwrap();
    println!("ERROR {}", manager.last_error(&unit).await.unwrap_or_default());
}

#[track_caller]
fn assert_error(service: &str, wanted: &str) {
    let error = after_failing(service);
    assert!(error.contains(wanted), "wanted {wanted:?}, reported {error:?}, of {service:?}");
}

#[test]
fn a_missing_environment_file_is_named() {
    assert_error(
        "EnvironmentFile=/nonexistent/env\nExecStart=sleep infinity",
        "Failed to load environment files: No such file or directory",
    );
}

#[test]
fn a_start_that_took_too_long_says_so() {
    assert_error("Type=notify\nTimeoutStartSec=1s\nExecStart=sleep infinity", "start operation timed out");
}

#[test]
fn a_silent_failure_shows_the_exit_status() {
    assert_error("ExecStart=sh -c 'exit 42'", "Main process exited, code=exited, status=42");
}

#[test]
fn a_silent_failure_shows_the_signal() {
    assert_error("ExecStart=sh -c 'kill -SEGV $$$$'", "status=11/SEGV");
}

#[test]
fn output_of_stop_commands_is_not_the_last_error() {
    for post in ["echo cleaning up", "/bin/echo cleaning up; true", "logger cleaning up; true"] {
        let service = format!("ExecStart=sh -c 'sleep 0.3; echo no database >&2; exit 1'\nExecStopPost=sh -c '{post}'");
        assert_eq!(after_failing(&service), "no database", "{post}");
        let service = format!("ExecStart=sh -c 'exit 42'\nExecStopPost=sh -c '{post}'");
        assert!(after_failing(&service).contains("status=42"), "{post}");
    }
    let world = World::new();
    world.write_worker(
        QUEUE,
        "ExecStart=sh -c 'trap \"echo interrupted; exit 3\" TERM; echo begun; sleep infinity & wait'\n\
         ExecStop=sh -c 'echo asking it to stop; kill $MAINPID'",
    );
    world.control(&["enable", "--now", QUEUE]);
    world.wait_for_journal("its output", SOON, |entry| entry["MESSAGE"] == "begun");
    world.control(&["stop", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    assert_eq!(last_error(&world), "interrupted");
}

#[test]
fn many_lines_of_stop_commands_do_not_hide_the_last_error() {
    let service = "ExecStart=sh -c 'echo no database; sleep 0.3; exit 1'\nExecStopPost=seq 2000";
    assert_eq!(after_failing(service), "no database");
}

#[test]
fn a_failed_stop_command_after_a_clean_end_is_the_error() {
    let service = "ExecStart=sh -c 'echo all done'\nExecStopPost=sh -c 'exit 9'";
    assert_error(service, "Control process exited, code=exited, status=9");
}

#[test]
fn a_long_last_line_is_read_in_full() {
    let service =
        "ExecStart=sh -c 'echo the line before; head -c 5000 /dev/zero | tr \"\\\\0\" x; echo; sleep 0.1; exit 1'";
    let world = World::new();
    world.write_worker(QUEUE, service);
    fail(&world);
    let error = last_error(&world);
    assert!(error.starts_with("xxxx"), "{error} {:#?}", world.journal(&["SYSLOG_IDENTIFIER=sh"]));
}

#[test]
fn a_failed_preparation_shows_its_own_line_or_its_status() {
    let says = "ExecStartPre=sh -c 'echo cannot migrate; sleep 0.1; exit 5'\nExecStart=sleep infinity";
    assert_eq!(after_failing(says), "cannot migrate");
    let silent = "ExecStartPre=sh -c 'exit 5'\nExecStart=sleep infinity";
    assert_error(silent, "Control process exited, code=exited, status=5");
}

/// The main process runs already, and is told to end.
#[test]
fn a_failed_completion_of_the_start_shows_its_own_line_or_the_last_one_before() {
    let main =
        "ExecStart=bash -c 'trap \"echo shutting down; exit\" TERM; echo serving; while :; do sleep 0.01; done'\n";
    // Until the main process has written its line.
    let waits = "until journalctl -o cat _PID=$MAINPID | grep -q serving; do sleep 0.01; done";
    let says = format!("{main}ExecStartPost=sh -c '{waits}; echo cannot register; exit 4'");
    let says_late = format!("{main}ExecStartPost=sh -c 'echo cannot register; {waits}; exit 4'");
    let by_a_child = format!("{main}ExecStartPost=sh -c '{waits}; sh -c \"echo cannot register; sleep 0.1\"; exit 4'");
    for service in [says, says_late, by_a_child] {
        assert_eq!(after_failing(&service), "cannot register", "{service}");
    }
    let silent = format!("{main}ExecStartPost=sh -c '{waits}; exit 4'");
    assert_eq!(after_failing(&silent), "serving");
}

#[test]
fn a_missing_program_is_named() {
    for before in ["", "ExecStartPre=echo prepared\n"] {
        assert_error(&format!("{before}ExecStart=/nonexistent/worker"), "/nonexistent/worker");
    }
}

#[test]
fn a_pid_file_that_never_comes_is_named() {
    assert_error("Type=forking\nPIDFile=%t/never.pid\nExecStart=true", "PID file");
}

#[test]
fn a_watchdog_timeout_is_named() {
    let service = "Type=notify\nNotifyAccess=all\nWatchdogSec=500ms\nWatchdogSignal=KILL\n\
        ExecStart=sh -c 'systemd-notify --ready; sleep infinity'";
    assert_error(service, "Watchdog timeout");
}

#[test]
fn the_start_limit_is_named_only_if_no_run_failed() {
    let limited = |service: &str| {
        let world = World::new();
        let text = format!(
            "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n[Service]\n{service}\n[Install]\nWantedBy=default.target\n"
        );
        world.write_unit(&service_of(QUEUE), &text);
        // Otherwise the manager would forget it, and its number of starts, as soon as it is down.
        world.enable(&service_of(QUEUE));
        world
    };
    let world = limited("Restart=always\nRestartSec=10ms\nExecStart=sh -c 'sleep 0.1; echo no database; exit 1'");
    fail(&world);
    assert_eq!(last_error(&world), "no database");

    let world = limited("Restart=always\nRestartSec=10ms\nExecStart=sh -c 'exit 42'");
    fail(&world);
    let error = last_error(&world);
    assert!(error.contains("status=42"), "{error}");

    let world = limited("Type=oneshot\nExecStart=sh -c 'sleep 0.1; echo done'");
    for _ in 0..3 {
        let _ = world.systemctl(&["start", QUEUE]);
    }
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    let error = last_error(&world);
    assert!(error.contains("Start request repeated too quickly"), "{error}");
}

#[test]
fn a_worker_that_is_up_or_has_ended_cleanly_has_no_error() {
    let world = World::new();
    world.write_worker(QUEUE, "ExecStart=sh -c 'echo Processing job 7; exec sleep infinity'\nExecReload=true");
    world.control(&["enable", "--now", QUEUE]);
    assert_eq!(last_error(&world), "", "it has been started");
    world.control(&["reload", QUEUE]);
    assert_eq!(last_error(&world), "", "it has been reloaded");
    world.control(&["stop", QUEUE]);
    assert_eq!(last_error(&world), "", "it was stopped");

    world.write_worker(QUEUE, "ExecStart=sh -c 'echo Processing job 7; sleep 0.1'");
    world.daemon_reload();
    world.control(&["start", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    assert_eq!(last_error(&world), "", "it has ended");
}

#[test]
fn the_error_is_of_the_latest_run() {
    let world = World::new();
    world.write_worker(QUEUE, "ExecStart=sh -c 'sleep 0.1; echo no database; exit 1'");
    fail(&world);
    assert_eq!(last_error(&world), "no database");

    world.write_worker(QUEUE, "ExecStart=sh -c 'sleep 0.1; exit 42'");
    world.daemon_reload();
    fail(&world);
    let error = last_error(&world);
    assert!(error.contains("status=42"), "{error}");

    world.write_worker(QUEUE, LIVES);
    world.daemon_reload();
    world.control(&["start", QUEUE]);
    assert_eq!(last_error(&world), "");

    world.write_worker(QUEUE, "ExecStartPre=sh -c 'exit 5'\nExecStart=sleep infinity");
    world.daemon_reload();
    let _ = world.systemctl(&["restart", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    let error = last_error(&world);
    assert!(error.contains("Control process exited, code=exited, status=5"), "{error}");
}

#[test]
fn the_failed_run_counts_while_a_restart_is_pending() {
    let world = World::new();
    world.write_worker(QUEUE, "Restart=always\nRestartSec=1h\nExecStart=sh -c 'sleep 0.1; echo no database; exit 1'");
    let _ = world.systemctl(&["start", QUEUE]);
    world.wait_until("the wait for a restart", SOON, || {
        (world.show(&service_of(QUEUE), "SubState") == "auto-restart").then_some(())
    });
    assert_eq!(last_error(&world), "no database");
}

/// Waits until it may fail: journald knows the unit of a process that has written before.
const WRITES_AND_WAITS: &str = "echo begun; until [ -e %h/fail ]; do sleep 0.01; done;";

/// Lets a run fail that has begun.
#[track_caller]
fn let_fail(world: &World) {
    world.wait_for_journal("the run", SOON, |entry| entry["MESSAGE"] == "begun");
    world.write_file("fail", "");
}

#[test]
fn the_failed_run_counts_while_its_restart_by_the_manager_is_up() {
    let world = World::new();
    let first = format!("mkdir %h/first && {{ {WRITES_AND_WAITS} echo no database; exit 1; }}");
    let runs = format!("{first}; mkdir %h/second && exit 0; echo listening; sleep infinity");
    world.write_worker(QUEUE, &format!("Restart=always\nRestartSec=10ms\nExecStart=sh -c '{runs}'"));
    world.control(&["start", QUEUE]);
    let_fail(&world);
    world.wait_for_journal("the third run", SOON, |entry| entry["MESSAGE"] == "listening");
    assert_eq!(last_error(&world), "no database", "the run in between has ended cleanly");

    world.control(&["restart", QUEUE]);
    assert_eq!(last_error(&world), "", "it has been started anew");
}

/// A main process that fails, with a child, which says goodbye when it is told to end.
fn with_a_child(begins: &str) -> String {
    let child = "trap \"echo child is leaving; exit\" TERM; : >%h/ready; while :; do sleep 0.01; done";
    format!(
        "ExecStart=sh -c '{begins} ({child}) & until [ -e %h/ready ]; do sleep 0.01; done; {WRITES_AND_WAITS} \
         echo no memory >&2; exit 1'"
    )
}

#[test]
fn last_words_of_children_that_outlive_the_main_process_are_not_the_error() {
    let world = World::new();
    world.write_worker(QUEUE, &with_a_child(""));
    world.control(&["start", QUEUE]);
    let_fail(&world);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    assert_eq!(last_error(&world), "no memory");

    let world = World::new();
    let service = with_a_child("[ ! -e %h/ready ] || { echo listening; exec sleep infinity; };");
    world.write_worker(QUEUE, &format!("Restart=always\nRestartSec=10ms\n{service}"));
    world.control(&["start", QUEUE]);
    let_fail(&world);
    world.wait_for_journal("the second run", SOON, |entry| entry["MESSAGE"] == "listening");
    assert_eq!(last_error(&world), "no memory", "the next run is up");
}

#[test]
fn the_journal_may_receive_the_last_line_after_the_end_of_the_main_process() {
    let world = World::new();
    world.write_worker(QUEUE, &with_a_child(""));
    world.control(&["start", QUEUE]);
    world.wait_for_journal("the run", SOON, |entry| entry["MESSAGE"] == "begun");
    with_journald_stopped(&world, || {
        world.write_file("fail", "");
        world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    });
    assert_eq!(last_error(&world), "no memory");
}

/// While journald cannot receive anything.
#[track_caller]
fn with_journald_stopped(world: &World, act: impl FnOnce()) {
    let signal = |signal| {
        let sent = world.command("pkill").args([signal, "-x", "systemd-journal"]).status().unwrap();
        assert!(sent.success(), "there is a journald");
    };
    signal("-STOP");
    act();
    signal("-CONT");
}

#[test]
fn lines_that_the_journal_could_not_assign_are_found_by_process() {
    let world = World::new();
    world.write_worker(QUEUE, "ExecStart=sh -c 'echo no database; exit 1'\nExecStopPost=sh -c 'echo cleaning up'");
    for _ in 0..3 {
        with_journald_stopped(&world, || fail(&world));
        assert_eq!(last_error(&world), "no database");
    }
}

/// Workers that all fail at once, each with a line of its own.
fn fleet(world: &World) -> Vec<String> {
    let units: Vec<String> = (1..=50).map(|number| format!("lerd-w{number}-myapp")).collect();
    for unit in &units {
        world.write_worker(unit, &format!("ExecStart=sh -c 'echo {unit} has no database; exit 1'"));
    }
    units
}

#[test]
fn each_of_many_workers_that_fail_at_once_has_its_error() {
    let world = World::new();
    let units = fleet(&world);
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let _ = world.systemctl(&[&["start"], &names[..]].concat());
    for unit in &units {
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    for _ in 0..3 {
        let detected = world.run(&["detect", "--json"]).json();
        let detected = detected.as_array().unwrap();
        assert_eq!(detected.len(), units.len());
        for worker in detected {
            let unit = worker["unit"].as_str().unwrap();
            assert_eq!(worker["last_error"], format!("{unit} has no database"), "{unit}");
        }
    }
}

#[test]
fn each_event_of_many_failures_at_once_has_its_error() {
    let world = World::new();
    world.config("heal: {stable_after: 100ms, give_up_after: 1}\n");
    let units = fleet(&world);
    drop(world.start_daemon());
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    let _ = world.systemctl(&[&["start", "--no-block"], &names[..]].concat());
    for unit in &units {
        let is_failure = |it: &Entry| it["WORKERHEAL_UNIT"] == *unit && it["WORKERHEAL_PHASE"] == "failed";
        let error = text(&world.wait_for_journal("its failure", SOON, is_failure), "WORKERHEAL_ERROR");
        assert!(error.ends_with(&format!("{unit} has no database")), "{error}");
    }
}

#[test]
fn a_noisy_worker_does_not_hide_the_error_of_another() {
    const NOISY: &str = "lerd-noisy-myapp";
    let writes =
        "ExecStart=sh -c 'i=0; while [ $$i -lt 1000 ]; do echo $$i; i=$$((i+1)); done; echo no memory; exit 1'";
    // Until it reaches the start limit.
    let restarts = "Restart=always\nRestartSec=1ms\nExecStart=sh -c 'echo no memory; exit 1'";
    for noise in [writes, restarts] {
        let world = World::new();
        world.write_worker(QUEUE, "ExecStart=sh -c 'echo no database; exit 1'");
        fail(&world);
        world.write_worker(NOISY, noise);
        let _ = world.systemctl(&["start", NOISY]);
        world.wait_for_state(&service_of(NOISY), "failed", SOON);
        let detected = world.run(&["detect", "--json"]).json();
        let errors = detected.as_array().unwrap().iter().map(|it| it["last_error"].as_str().unwrap());
        assert_eq!(errors.collect::<Vec<_>>(), ["no memory", "no database"], "{noise}");
    }
}
