//! The daemon as a service: its start, reload, stop and restart.

use std::time::{Duration, Instant};

use crate::common::{DAEMON, NEVER_GETS_READY, QUICK, SOON, WORKERHEAL, World, number, service_of, text};

const QUEUE: &str = "lerd-queue-myapp";

#[test]
fn the_daemon_is_ready_once_it_has_listed_the_workers() {
    let world = World::new();
    world.workers([QUEUE, "lerd-vite-shop"]);
    let mut events = world.start_daemon();
    // The status came before the readiness that ended the start, else systemd would not have it yet.
    assert_eq!(world.show(DAEMON, "StatusText"), "Watching over 2 workers");
    let started = events.wait_for_log(&["watches over 2 workers"]);
    assert_eq!(started["PRIORITY"], "6");

    world.write_worker(QUEUE, "ExecStart=false");
    world.daemon_reload();
    world.crash(QUEUE);
    world.wait_until("the status to mention the wait", SOON, || {
        let status = world.show(DAEMON, "StatusText");
        status.contains("1 waiting for the next attempt").then_some(())
    });
}

#[test]
fn readiness_is_not_reported_before_the_first_list() {
    let world = World::new();
    // The manager is too busy to answer: it is stopped before its new client can have requested a list.
    let manager = text(&world.journal(&["MESSAGE=Queued start job for default target default.target."])[0], "_PID");
    let script = format!(
        "coproc {{ exec {WORKERHEAL} daemon --log text 2>&1; }}; kill -STOP {manager}; \
         read -t 2 -r line <&${{COPROC[0]}} && echo \"early: $line\"; kill -CONT {manager}; \
         read -t 10 -r line <&${{COPROC[0]}} && echo \"later: $line\""
    );
    let said = crate::common::Ran::of(world.command("bash").args(["-c", &script])).out;
    assert!(!said.contains("early"), "{said}");
    assert!(said.contains("later:") && said.contains("watches over 0 workers"), "{said}");
}

#[test]
fn a_hangup_reloads_all_files_and_reports_it() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    let daemon = world.show(DAEMON, "MainPID");
    world.control(&["reload", DAEMON]);
    world.wait_for_state(DAEMON, "active", SOON);
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.show(DAEMON, "MainPID"), daemon);
    assert_eq!(world.show(DAEMON, "SubState"), "running");

    // An invalid file is reported, and the daemon continues with the last valid one.
    world.config("helth: {}\n");
    world.control(&["reload", DAEMON]);
    events.wait_for_log(&["helth"]);
    world.wait_for_state(DAEMON, "active", SOON);
    events.prove_alive_with(&world, QUEUE);
}

#[test]
fn the_daemon_ends_within_two_seconds_during_a_start() {
    let world = World::new();
    world.write_worker(QUEUE, NEVER_GETS_READY);
    world.control(&["enable", QUEUE]);
    world.control(&["start", "--no-block", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "activating", SOON);
    world.crash_for_good([QUEUE]);
    world.control(&["enable", DAEMON]); // else systemd forgets how it ended
    let mut events = world.start_daemon();
    events.wait("starting", QUEUE);
    world.wait_for_state(&service_of(QUEUE), "activating", SOON);

    let begin = Instant::now();
    world.control(&["stop", DAEMON]);
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    assert_eq!(world.show(DAEMON, "Result"), "success");
    assert_eq!(world.show(DAEMON, "ExecMainCode"), "1", "it did not end by itself"); // CLD_EXITED
    assert_eq!(world.show(DAEMON, "ExecMainStatus"), "0");
    // The start that it began continues without it.
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "activating");
}

#[test]
fn the_daemon_ends_within_two_seconds_if_the_manager_hangs() {
    let world = World::new();
    world.workers([QUEUE]);
    let manager = text(&world.journal(&["MESSAGE=Queued start job for default target default.target."])[0], "_PID");
    let script = format!(
        "{WORKERHEAL} daemon --log text & sleep 0.5; kill -STOP {manager}; sleep 0.3; kill -TERM $!; \
         SECONDS=0; wait $!; status=$?; kill -CONT {manager}; echo status $status after $SECONDS"
    );
    let ran = crate::common::Ran::of(world.command("bash").args(["-c", &script]));
    assert!(ran.out.contains("status 0 after 0") || ran.out.contains("status 0 after 1"), "{ran:?}");
}

#[test]
fn its_watchdog_is_fed_while_it_idles_and_while_it_works() {
    let world = World::new();
    let watchdog = "[Service]\nWatchdogSec=500ms\n";
    world.write_file(".config/systemd/user/workerheal.service.d/watchdog.conf", watchdog);
    world.config("refresh: 1h\nheal: {stable_after: 50ms, backoff: {initial: 1ms, max: 1ms}, give_up_after: 0}\n");
    let mut events = world.start_daemon();
    let mut times = Vec::new();
    let mut wait_for_meals = |meals: usize| {
        world.wait_until("its watchdog to be fed", SOON, || {
            let at = world.timestamp_usec(DAEMON, "WatchdogTimestampMonotonic");
            if times.last() != Some(&at) {
                times.push(at);
            }
            (times.len() >= meals).then_some(())
        });
    };
    wait_for_meals(6);
    world.worker(QUEUE, "ExecStart=false");
    events.wait("failed", QUEUE);
    wait_for_meals(12);
    assert_eq!(world.show(DAEMON, "NRestarts"), "0");
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");
}

/// The unit that is packaged, with this binary in the place of the installed one.
fn use_the_packaged_unit(world: &World) {
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/user/workerheal.service");
    let unit = std::fs::read_to_string(packaged).unwrap_or_else(|error| panic!("cannot read {packaged}: {error}"));
    assert!(unit.contains("ExecStart=/usr/bin/workerheal daemon\n"), "{unit}");
    world.write_unit(DAEMON, &unit);
    let here = format!("[Service]\nExecStart=\nExecStart={WORKERHEAL} daemon\n");
    world.write_file(".config/systemd/user/workerheal.service.d/here.conf", &here);
    world.daemon_reload();
}

#[test]
fn the_packaged_unit_works_with_all_its_restrictions() {
    let world = World::new();
    use_the_packaged_unit(&world);
    world.config("refresh: 100ms\nheal: {stable_after: 400ms, backoff: {initial: 50ms}}\n");
    world.workers([QUEUE]);
    world.worker("lerd-stopped-shop", crate::common::FAILS_WHEN_STOPPED);
    world.control(&["stop", "lerd-stopped-shop"]);
    let mut events = world.start_daemon();
    // It can read the journal, the files, and reach the manager; and follow all of them.
    events.wait("stopped", "lerd-stopped-shop");
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.write_worker("lerd-last-words", "ExecStart=sh -c 'echo out of luck >&2; sleep 0.2; exit 1'");
    world.sites(&["{name: myapp}", "{name: words}"]);
    world.start_unit("lerd-last-words.service");
    let failed = events.wait("failed", "lerd-last-words");
    assert!(text(&failed, "WORKERHEAL_ERROR").contains("out of luck"), "{failed:#}");

    world.control(&["reload", DAEMON]);
    world.wait_for_state(DAEMON, "active", SOON);
    events.prove_alive_with(&world, QUEUE);
    // Nothing that systemd ignored or that it died of.
    let complaints = world.journal(&["USER_UNIT=workerheal.service"]);
    for entry in complaints.iter().filter(|entry| entry["SYSLOG_IDENTIFIER"] == "systemd") {
        assert!(number(entry, "PRIORITY") > 4, "{entry:#}");
    }
    world.control(&["enable", DAEMON]);
    world.control(&["stop", DAEMON]);
    assert_eq!(world.show(DAEMON, "Result"), "success");
}

#[test]
fn killed_it_comes_back_and_heals_what_failed_meanwhile() {
    let world = World::new();
    use_the_packaged_unit(&world);
    world.config(QUICK);
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    let daemon = world.show(DAEMON, "MainPID");
    world.kill(DAEMON, "KILL");
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.wait_for_state(DAEMON, "active", SOON);
    assert_ne!(world.show(DAEMON, "MainPID"), daemon);
}

#[test]
fn a_daemon_that_hangs_is_noticed_and_replaced() {
    let world = World::new();
    use_the_packaged_unit(&world);
    world.write_file(".config/systemd/user/workerheal.service.d/watchdog.conf", "[Service]\nWatchdogSec=500ms\n");
    world.daemon_reload();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.kill(DAEMON, "STOP");
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    assert_eq!(world.show(DAEMON, "NRestarts"), "1");
}

#[test]
fn a_second_daemon_does_no_harm() {
    let world = World::new();
    let unit = format!("[Service]\nType=notify\nExecStart={WORKERHEAL} daemon\n");
    world.write_unit("another.service", &unit);
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    let _ = world.systemctl(&["start", "another.service"]);
    for _ in 0..3 {
        world.crash(QUEUE);
        events.wait_any(&["healed", "recovered"], QUEUE);
        world.wait_for_state(&service_of(QUEUE), "active", SOON);
    }
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");
}

#[test]
fn without_a_journal_it_logs_lines_or_json_to_standard_error() {
    let world = World::new();
    world.workers([QUEUE]);
    world.crash_for_good([QUEUE]);
    let run = |args: &str| {
        let script = format!(
            "rm -f ~/log; {WORKERHEAL} daemon {args} 2>~/log & until grep -qs stayed.up ~/log; do sleep 0.02; done; kill $!; wait $!; cat ~/log"
        );
        let ran = crate::common::Ran::of(world.command("timeout").args(["20", "bash", "-c", &script]));
        assert_eq!(ran.status, 0, "{ran:?}");
        world.crash_for_good([QUEUE]);
        ran.out
    };
    let lines = run("");
    assert!(lines.contains(" INFO lerd-queue-myapp is being started"), "{lines}");
    assert!(!lines.contains('\u{1b}'), "{lines:?}");
    let json = run("--log json");
    let lines = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let healed = lines.into_iter().find(|line| line["phase"] == "healed").expect("it was healed");
    assert_eq!(healed["unit"], "lerd-queue-myapp");
    assert_eq!(healed["site"], "myapp");
    assert_eq!(healed["attempt"], 2, "the daemon before it has made the first");
    assert_eq!(healed["level"], "info");
    assert!(healed["time"].as_str().unwrap().ends_with('Z'));
}
