//! The unhealthy states: how each is reported and handled, and similar states that are healthy.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

use crate::common::{
    DAEMON, ENDS, Events, LIVES, LIVES_UNLESS_BROKEN, NEVER_GETS_READY, QUICK, SOON, World, number, service_of, text,
};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";
/// Ends without error from time to time, to show that clean exits are healed.
const PROOF: &str = "lerd-proof-shop";
const PARENT: &str = "lerd-php85-fpm";
const WEB: &str = "lerd-web-myapp";

/// [`QUICK`], with clean exits healed.
const HEALS_WHAT_ENDED: &str = "refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms, factor: 1}, \
    states: [failed, start-limit-hit, expected-but-stopped]}\n";

/// A server that publishes its address, and stops listening once there is a file called `deaf`.
const SERVER: &str = r#"
use IO::Select;
use IO::Socket::INET;
my ($port, $home) = @ARGV;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, ReuseAddr => 1, Listen => 64) or die;
open(my $hot, ">", "$home/myapp/public/hot") or die;
print $hot "http://127.0.0.1:" . $server->sockport . "/\n";
close $hot;
until (-e "$home/deaf") { $server->accept if IO::Select->new($server)->can_read(0.02) }
close $server;
sleep;
"#;

/// Lets a worker end by itself and be healed, twice: by then the daemon has done whatever it was going to do about
/// earlier ends, and it heals clean exits.
#[track_caller]
fn prove_that_it_starts_what_ended(world: &World, events: &mut Events<'_>, unit: &str) {
    for _ in 0..2 {
        world.end(unit);
        events.wait("healed", unit);
    }
}

#[test]
fn a_clean_exit_is_shown_and_healed_only_if_configured() {
    let world = World::new();
    world.workers([OTHER]);
    world.worker(QUEUE, ENDS);
    let mut events = world.start_daemon();
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    let untouched = world.picture(&[QUEUE]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE), [""; 0]);
    assert_eq!(world.diagnosis(QUEUE).as_deref(), Some("expected-but-stopped"));
    let ran = world.run(&["heal"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 0 worker(s).")), "{ran:?}");
    assert!(ran.out.contains("does not heal the state expected-but-stopped"), "{ran:?}");
    assert_eq!(world.picture(&[QUEUE]), untouched);

    world.config(HEALS_WHAT_ENDED);
    assert_eq!(events.wait("detected", QUEUE)["WORKERHEAL_REASON"], "expected-but-stopped");
    events.wait("healed", QUEUE);
    assert_eq!(world.diagnosis(QUEUE), None);
    // Again while the daemon runs, and while it does not.
    world.end(QUEUE);
    events.wait("healed", QUEUE);
    world.stop_unit(DAEMON);
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    world.start_daemon().wait("healed", QUEUE);
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
}

#[test]
fn a_clean_exit_is_healed_by_name_whatever_the_configuration() {
    let world = World::new();
    world.worker(QUEUE, ENDS);
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    let ran = world.run(&["heal", QUEUE, "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
}

#[test]
fn a_clean_stop_is_obeyed_where_clean_exits_are_healed() {
    let world = World::new();
    world.config(HEALS_WHAT_ENDED);
    let (live, later) = ("lerd-live-myapp", "lerd-later-myapp");
    world.workers([live, later]);
    world.worker(PROOF, ENDS);
    let mut events = world.start_daemon();
    world.stop_unit(&service_of(live));
    events.wait("stopped", live);
    let untouched = world.picture(&[live]);
    prove_that_it_starts_what_ended(&world, &mut events, PROOF);
    assert_eq!(world.picture(&[live]), untouched);
    assert_eq!(world.reported(live), ["stopped"]);

    // A worker that was stopped while the daemon was down, with and without saved state.
    world.stop_unit(DAEMON);
    world.stop_unit(&service_of(later));
    let untouched = world.picture(&[live, later]);
    world.start_unit(DAEMON);
    prove_that_it_starts_what_ended(&world, &mut events, PROOF);
    assert_eq!(world.picture(&[live, later]), untouched);
    world.stop_unit(DAEMON);
    fs::remove_dir_all(world.home().join(".local/state/workerheal")).unwrap();
    world.start_unit(DAEMON);
    prove_that_it_starts_what_ended(&world, &mut events, PROOF);
    assert_eq!(world.picture(&[live, later]), untouched);
    for unit in [live, later] {
        assert_eq!(world.diagnosis(unit), None);
    }

    // A person starts it again, and from then on it is healed as before.
    world.write_file(
        format!(".config/systemd/user/{live}.service.d/ends.conf"),
        &format!("[Service]\nExecStart=\n{ENDS}\n"),
    );
    world.daemon_reload();
    world.control(&["start", live]);
    world.end(live);
    events.wait("healed", live);
}

#[test]
fn a_worker_that_need_not_be_up_is_not_expected() {
    let world = World::new();
    world.config(HEALS_WHAT_ENDED);
    let (disabled, timed, once, unwanted, never) =
        ("lerd-disabled-myapp", "lerd-timed-myapp", "lerd-once-myapp", "lerd-unwanted-myapp", "lerd-never-myapp");
    world.write_worker(disabled, ENDS);
    world.write_worker(never, LIVES);
    // Enabled, so that only the timer, the type or the condition decides.
    world.write_worker(timed, ENDS);
    world.write_unit(&format!("{timed}.timer"), "[Timer]\nOnActiveSec=1h\n[Install]\nWantedBy=default.target\n");
    world.write_worker(once, "Type=oneshot\nExecStart=true");
    world.write_unit(
        &service_of(unwanted),
        "[Unit]\nConditionPathExists=/nowhere\n[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n",
    );
    // Referenced by a unit that is up, the disabled ones stay loaded, so that the daemon sees them.
    world.write_worker(PROOF, ENDS);
    world.write_file(
        format!(".config/systemd/user/{PROOF}.service.d/names.conf"),
        &format!("[Unit]\nAfter={disabled}.service {never}.service\n"),
    );
    world.control(&["enable", PROOF, timed, once, unwanted]);
    world.control(&["start", &format!("{timed}.timer"), timed, once, unwanted, disabled, PROOF]);
    for unit in [disabled, timed] {
        world.end(unit);
        world.wait_for_state(&service_of(unit), "inactive", SOON);
    }
    let all = [disabled, timed, once, unwanted, never];
    for unit in all {
        let listed = world.control(&["list-units", "--all", "--plain", "--no-legend", &service_of(unit)]);
        assert!(listed.contains("inactive"), "{unit} is not loaded: {listed}");
    }
    let untouched = world.picture(&all);
    let mut events = world.start_daemon();
    prove_that_it_starts_what_ended(&world, &mut events, PROOF);
    assert_eq!(world.picture(&all), untouched);

    // The same while the daemon runs.
    world.control(&["start", disabled, timed, once]);
    for unit in [disabled, timed] {
        world.end(unit);
        world.wait_for_state(&service_of(unit), "inactive", SOON);
    }
    let untouched = world.picture(&all);
    prove_that_it_starts_what_ended(&world, &mut events, PROOF);
    assert_eq!(world.picture(&all), untouched);
    for unit in all {
        assert_eq!(world.reported(unit), [""; 0], "{unit}");
        assert_eq!(world.diagnosis(unit), None, "{unit}");
    }
}

#[test]
fn a_worker_that_went_down_cleanly_with_its_parent_comes_back_with_it() {
    for (how, state) in [("stop", "inactive"), ("kill", "failed")] {
        let world = World::new();
        world.config(HEALS_WHAT_ENDED);
        world.workers([PARENT]);
        world.worker(PROOF, ENDS);
        world.write_unit(
            &service_of(QUEUE),
            &format!(
                "[Unit]\nBindsTo={PARENT}.service\nAfter={PARENT}.service\n[Service]\n{LIVES}\n\
                 [Install]\nWantedBy=default.target\n"
            ),
        );
        world.control(&["enable", "--now", QUEUE]);
        let mut events = world.start_daemon();
        match how {
            "stop" => world.stop_unit(&service_of(PARENT)),
            _ => world.crash(PARENT),
        }
        world.wait_for_state(&service_of(PARENT), state, SOON);
        world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
        let held = events.wait("held", QUEUE);
        assert!(text(&held, "WORKERHEAL_REASON").contains(&format!("needs {PARENT}.service")), "{held:#}");
        let untouched = world.picture(&[QUEUE, PARENT]);
        prove_that_it_starts_what_ended(&world, &mut events, PROOF);
        assert_eq!(world.picture(&[QUEUE, PARENT]), untouched, "after a {how}");
        world.control(&["start", PARENT]);
        events.wait("healed", QUEUE);
        assert_eq!(world.reported(QUEUE), ["detected", "held", "starting", "healed"], "after a {how}");
    }
}

#[test]
fn a_start_limit_is_reported_as_such_and_healed() {
    let world = World::new();
    world.write_file("broken", "");
    world.write_unit(
        &service_of(QUEUE),
        &format!(
            "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n\
             [Service]\nRestart=on-failure\nRestartSec=10ms\n{LIVES_UNLESS_BROKEN}\n[Install]\nWantedBy=default.target\n"
        ),
    );
    world.control(&["enable", "--now", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    assert_eq!(world.diagnosis(QUEUE).as_deref(), Some("start-limit-hit"));
    fs::remove_file(world.home().join("broken")).unwrap();
    let mut events = world.start_daemon();
    assert_eq!(events.wait("detected", QUEUE)["WORKERHEAL_REASON"], "start-limit-hit");
    events.wait("healed", QUEUE);
    assert_eq!(world.diagnosis(QUEUE), None);

    // Again while the daemon runs: systemd restarts it up to its limit, and nothing else does.
    world.write_file("broken", "");
    world.crash(QUEUE);
    assert_eq!(events.wait("detected", QUEUE)["WORKERHEAL_REASON"], "start-limit-hit");
    events.wait("failed", QUEUE);
    fs::remove_file(world.home().join("broken")).unwrap();
    // By whichever start comes next: ours, or systemd's own after our attempt.
    events.wait_any(&["healed", "recovered"], QUEUE);
}

#[test]
fn a_crash_loop_of_systemd_is_reported_once_and_left_to_it() {
    let world = World::new();
    // On a busy machine, a run of that worker may take a few hundred milliseconds.
    world.config("refresh: 100ms\nheal: {stable_after: 1s, reset_after: 3s, backoff: {initial: 50ms}}\n");
    world.workers([OTHER]);
    let mut events = world.start_daemon();
    world.write_file("broken", "");
    world.write_unit(
        &service_of(QUEUE),
        &format!(
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=50ms\n{LIVES_UNLESS_BROKEN}\n"
        ),
    );
    world.start_unit(&service_of(QUEUE));
    let detected = events.wait("detected", QUEUE);
    assert_eq!(detected["WORKERHEAL_REASON"], "crash-looping");
    let held = events.wait("held", QUEUE);
    let reason = text(&held, "WORKERHEAL_REASON");
    let count = reason.split_whitespace().find_map(|word| word.parse::<u32>().ok());
    assert!(count.is_some_and(|count| count >= 5), "{held:#}");

    // It continues to count: nothing clears its failures or starts it.
    let restarts = || world.show(&service_of(QUEUE), "NRestarts").parse::<u32>().unwrap();
    let (before, mut last) = (restarts(), 0);
    assert!(before >= count.unwrap());
    for (command, status) in [(&["heal"][..], 0), (&["heal", QUEUE], 1)] {
        // In each iteration it is up for an instant, and there is nothing to report.
        world.wait_until("its diagnosis", SOON, || {
            let diagnosis = world.diagnosis(QUEUE)?;
            assert_eq!(diagnosis, "crash-looping");
            let ran = world.run(command);
            if ran.out == "No unhealthy workers.\n" {
                return None;
            }
            assert!(ran.out.contains("the service manager itself restarts it"), "{ran:?}");
            assert_eq!(ran.status, status, "{ran:?}");
            Some(())
        });
    }
    world.wait_until("some more restarts", SOON, || {
        let now = restarts();
        assert!(now >= last, "it fell from {last} to {now}");
        last = now;
        (now > before + 10).then_some(())
    });
    events.prove_alive_with(&world, OTHER);
    assert!(restarts() > last);
    assert_eq!(world.reported(QUEUE), ["detected", "held"]);

    // Once fixed, it is healthy after a long uptime.
    fs::remove_file(world.home().join("broken")).unwrap();
    events.wait("recovered", QUEUE);
    assert_eq!(world.diagnosis(QUEUE), None);
    assert_eq!(world.reported(QUEUE), ["detected", "held", "recovered"]);
}

#[test]
fn a_worker_whose_directory_is_gone_is_held_until_it_is_back() {
    let world = World::new();
    world.workers([OTHER]);
    let directory = world.home().join("checkout");
    let in_it = |unit| {
        world.write_file("checkout/README", "");
        world.worker(unit, &format!("WorkingDirectory=%h/checkout\n{LIVES}"));
    };
    let (live, before) = ("lerd-live-myapp", "lerd-before-myapp");
    in_it(live);
    in_it(before);
    fs::remove_dir_all(&directory).unwrap();
    world.crash_for_good([before]);
    assert_eq!(world.diagnosis(before).as_deref(), Some("orphaned"));
    let mut events = world.start_daemon();
    assert_eq!(events.wait("detected", before)["WORKERHEAL_REASON"], "orphaned");
    world.crash(live);
    // It may have been found before the other one, as it was up without its directory.
    world.wait_until("it to be reported", SOON, || world.reported(live).contains(&"detected".to_owned()).then_some(()));
    assert_eq!(world.diagnosis(live).as_deref(), Some("orphaned"));
    world.wait_for_state(&service_of(live), "failed", SOON);
    let untouched = world.picture(&[before, live]);
    events.prove_alive_with(&world, OTHER);
    let ran = world.run(&["heal"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 0 worker(s).")), "{ran:?}");
    let ran = world.run(&["heal", live]);
    assert!(ran.status == 1 && ran.out.contains(&directory.display().to_string()), "{ran:?}");
    assert_eq!(world.picture(&[before, live]), untouched);
    for unit in [before, live] {
        assert_eq!(world.reported(unit), ["detected", "held"], "{unit}");
        let held = world.journal(&[&format!("WORKERHEAL_UNIT={unit}"), "WORKERHEAL_PHASE=held"]);
        assert!(text(&held[0], "WORKERHEAL_REASON").contains(&directory.display().to_string()), "{held:#?}");
    }

    // It is back: a request has all directories checked, so that both are healed.
    fs::create_dir(&directory).unwrap();
    let ran = world.run(&["heal", live, "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
    events.wait("healed", live);
    world.wait_for_healed(before);
}

#[test]
fn only_a_missing_required_directory_makes_an_orphan() {
    let world = World::new();
    let (below_a_file, not_needed) = ("lerd-below-myapp", "lerd-optional-myapp");
    world.write_file("place/below/README", "");
    world.worker(below_a_file, &format!("WorkingDirectory=%h/place/below\n{LIVES}"));
    world.worker(not_needed, &format!("WorkingDirectory=-%h/gone\n{LIVES}"));
    fs::remove_dir_all(world.home().join("place")).unwrap();
    world.write_file("place", "");
    world.crash_for_good([below_a_file, not_needed]);
    assert_eq!(world.diagnosis(below_a_file).as_deref(), Some("orphaned"));
    assert_eq!(world.diagnosis(not_needed).as_deref(), Some("failed"));
    let mut events = world.start_daemon();
    events.wait("held", below_a_file);
    assert_eq!(world.reported(below_a_file)[..2], ["detected", "held"]);
    world.wait_for_healed(not_needed);
    assert_eq!(world.reported(not_needed), ["detected", "starting", "healed"]);
    assert_eq!(world.diagnosis(below_a_file).as_deref(), Some("orphaned"));
}

/// An unused port.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A world with a worker that listens at a port (0 is any) until it becomes deaf; a restart fixes that.
fn world_with_server(port: u16) -> World {
    let world = World::new();
    world.sites(&[&format!("{{name: myapp, path: {}}}", world.path("myapp")), "{name: shop}"]);
    world.write_file("server.pl", SERVER);
    world.write_file("myapp/public/README", "");
    world.worker(WEB, &format!("ExecStartPre=rm -f %h/deaf\nExecStart=perl %h/server.pl {port} %h"));
    wait_for_its_address(&world);
    world.workers([OTHER]);
    world
}

/// Waits until the server has written its address.
#[track_caller]
fn wait_for_its_address(world: &World) -> String {
    world.wait_until("the server to listen", SOON, || {
        let url = fs::read_to_string(world.home().join("myapp/public/hot")).ok()?;
        url.strip_suffix("/\n")?.strip_prefix("http://").map(str::to_owned)
    })
}

#[test]
fn a_worker_that_is_up_but_refuses_connections_is_restarted() {
    let port = free_port();
    let world = world_with_server(port);
    world.config(&format!("{QUICK}probes: {{web: {{tcp: \"127.0.0.1:{port}\"}}}}\n"));
    let well = world.picture(&[WEB]);
    let mut events = world.start_daemon();
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[WEB]), well);
    assert_eq!(world.diagnosis(WEB), None);
    let run = world.show(&service_of(WEB), "InvocationID");

    world.write_file("deaf", "");
    let detected = events.wait("detected", WEB);
    assert_eq!(detected["WORKERHEAL_REASON"], "unreachable");
    assert!(text(&detected, "WORKERHEAL_ERROR").contains(&format!("127.0.0.1:{port}")), "{detected:#}");
    events.wait("healed", WEB);
    assert_eq!(world.reported(WEB), ["detected", "starting", "healed"]);
    assert_eq!(world.show(&service_of(WEB), "ActiveState"), "active");
    assert_ne!(world.show(&service_of(WEB), "InvocationID"), run);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn a_worker_that_refuses_connections_is_found_and_healed_by_hand() {
    let port = free_port();
    let world = world_with_server(port);
    world.config(&format!("{QUICK}probes: {{web: {{tcp: \"127.0.0.1:{port}\"}}}}\n"));
    assert_eq!(world.diagnosis(WEB), None);
    let run = world.show(&service_of(WEB), "InvocationID");
    world.write_file("deaf", "");
    world.wait_until("its diagnosis", SOON, || world.diagnosis(WEB).filter(|state| state == "unreachable"));
    assert_eq!(world.show(&service_of(WEB), "InvocationID"), run);
    let ran = world.run(&["heal", "--prove", "100ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
    assert_ne!(world.show(&service_of(WEB), "InvocationID"), run);
    assert_eq!(world.diagnosis(WEB), None);
}

#[test]
fn an_address_file_is_used_only_if_written_since_the_start() {
    let world = world_with_server(0);
    let address = wait_for_its_address(&world);
    world.config(&format!("{QUICK}probes: {{web: {{url_file: public/hot}}}}\n"));
    world.sites(&[
        &format!("{{name: myapp, path: {}}}", world.path("myapp")),
        &format!("{{name: stale, path: {}}}", world.path("stale")),
        &format!("{{name: silent, path: {}}}", world.path("silent")),
        "{name: shop}",
    ]);
    // The addresses of these two are unused: one is from an earlier start, the other is missing.
    let (stale, silent) = ("lerd-web-stale", "lerd-web-silent");
    world.write_file("stale/public/hot", &format!("http://127.0.0.1:{}", free_port()));
    let hot = File::options().append(true).open(world.home().join("stale/public/hot")).unwrap();
    hot.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    world.workers([stale, silent]);
    let untouched = world.picture(&[stale, silent]);
    let run = world.show(&service_of(WEB), "InvocationID");

    let mut events = world.start_daemon();
    world.write_file("deaf", "");
    let detected = events.wait("detected", WEB);
    assert_eq!(detected["WORKERHEAL_REASON"], "unreachable");
    assert!(text(&detected, "WORKERHEAL_ERROR").contains(&address), "{detected:#}");
    events.wait("healed", WEB);
    assert_ne!(world.show(&service_of(WEB), "InvocationID"), run);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[stale, silent]), untouched);
    for unit in [stale, silent] {
        assert_eq!(world.reported(unit), [""; 0], "{unit}");
        assert_eq!(world.diagnosis(unit), None, "{unit}");
    }

    // The age of the file was the reason to ignore it.
    hot.set_modified(SystemTime::now()).unwrap();
    assert_eq!(events.wait("detected", stale)["WORKERHEAL_REASON"], "unreachable");
}

#[test]
fn a_start_that_times_out_is_a_failed_attempt_and_no_stop() {
    let world = World::new();
    let (clean, stubborn) = ("lerd-clean-myapp", "lerd-stubborn-myapp");
    world.write_worker(clean, "Type=notify\nTimeoutStartSec=300ms\nExecStart=sleep infinity");
    world.write_worker(stubborn, &format!("{NEVER_GETS_READY}\nTimeoutStartSec=300ms"));
    for unit in [clean, stubborn] {
        world.control(&["enable", unit]);
        world.control(&["start", "--no-block", unit]);
    }
    for unit in [clean, stubborn] {
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    world.start_daemon();
    for unit in [clean, stubborn] {
        // After the second start, everything repeats.
        world.wait_until("the second attempt to have failed", SOON, || {
            let reported = world.reported(unit);
            assert!(!reported.contains(&"stopped".to_owned()), "{unit}: {reported:?}");
            (reported.len() >= 7).then_some(())
        });
        // A wait that is over before its start is known to have failed is not reported.
        let mut reported = world.reported(unit);
        reported.retain(|phase| phase != "scheduled");
        assert_eq!(reported[..5], ["detected", "starting", "failed", "starting", "failed"]);
        let starting = world.journal(&[&format!("WORKERHEAL_UNIT={unit}"), "WORKERHEAL_PHASE=starting"]);
        assert_eq!([0, 1].map(|at| number(&starting[at], "WORKERHEAL_ATTEMPT")), [1, 2]);
    }
}
