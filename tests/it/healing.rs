//! Failures are healed: signalled or not, once or repeatedly, whatever happens meanwhile.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::time::Duration;

use crate::common::{BY_SIGNALS, DAEMON, LIVES_UNLESS_BROKEN, Ran, SOON, World, number, service_of, text, written};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";

#[test]
fn a_killed_worker_is_healed_and_each_step_is_reported() {
    let world = World::new();
    let proof = Duration::from_millis(400);
    world.config("refresh: 1h\nheal: {stable_after: 400ms}\n");
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);

    let detected = events.wait("detected", QUEUE);
    assert_eq!(detected["WORKERHEAL_REASON"], "failed");
    let starting = events.wait("starting", QUEUE);
    assert_eq!(starting["WORKERHEAL_ATTEMPT"], "1");
    let healed = events.wait("healed", QUEUE);
    assert_eq!(healed["WORKERHEAL_ATTEMPT"], "1");
    for entry in [&detected, &starting, &healed] {
        assert_eq!(entry["WORKERHEAL_SITE"], "myapp");
        assert_eq!(entry["_SYSTEMD_USER_UNIT"], DAEMON);
        assert!(text(entry, "MESSAGE").contains(QUEUE), "{entry:#}");
    }
    assert_eq!(world.reported(QUEUE), ["detected", "starting", "healed"]);

    // Healed means proven.
    let stayed_up = written(&healed).saturating_sub(world.since_boot(QUEUE, "ActiveEnterTimestamp"));
    assert!(stayed_up >= proof, "reported as healed {stayed_up:?} after it came up");
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "active");

    // One log shows the crash and its healing.
    let log = world.journal(&["USER_UNIT=lerd-queue-myapp.service"]);
    let place = |what: &dyn Fn(&serde_json::Value) -> bool| log.iter().position(what).unwrap();
    assert!(place(&|entry| entry["UNIT_RESULT"] == "signal") < place(&|entry| entry["WORKERHEAL_PHASE"] == "healed"));
}

#[test]
fn failures_without_a_daemon_are_healed_when_it_starts() {
    let world = World::new();
    world.config(BY_SIGNALS);
    world.workers([QUEUE]);
    world.crash_for_good([QUEUE]);
    // The manager restarts this one up to its start limit.
    world.write_unit(
        "lerd-vite-shop.service",
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1h\n[Service]\nRestart=always\nRestartSec=10ms\n\
         ExecStart=sh -c 'test ! -e %h/broken && exec sleep infinity'\n",
    );
    world.write_file("broken", "");
    world.start_unit("lerd-vite-shop.service");
    world.wait_for_state("lerd-vite-shop.service", "failed", SOON);
    std::fs::remove_file(world.home().join("broken")).unwrap();

    let mut events = world.start_daemon();
    assert_eq!(events.wait("detected", VITE)["WORKERHEAL_REASON"], "start-limit-hit");
    events.wait("healed", VITE);
    world.wait_for_journal("the other one too", SOON, |entry| {
        entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == QUEUE
    });
    for unit in [QUEUE, VITE] {
        assert_eq!(world.reported(unit), ["detected", "starting", "healed"]);
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "active");
    }
}

#[test]
fn healing_needs_no_bus() {
    let world = World::new();
    world.config(BY_SIGNALS);
    world.workers([QUEUE, VITE]);
    let mut events = world.start_daemon();
    world.control(&["stop", "dbus.socket", "dbus.service"]);
    for unit in [VITE, QUEUE] {
        world.crash(unit);
        events.wait("healed", unit);
    }
}

#[test]
fn failures_without_a_bus_are_healed_when_it_is_back() {
    let world = World::new();
    world.config(BY_SIGNALS);
    world.workers([QUEUE, VITE]);
    world.hide_private_socket();
    let mut events = world.start_daemon();
    let daemon = world.show(DAEMON, "MainPID");

    // Gone for a while, and it cannot be restarted.
    world.control(&["stop", "dbus.socket", "dbus.service"]);
    events.wait_for_log(&["healing pauses"]);
    world.crash_for_good([QUEUE]);
    world.start_unit("dbus.socket");
    events.wait("healed", QUEUE);

    // Gone, and back on request.
    for unit in [VITE, QUEUE] {
        world.control(&["stop", "dbus.service"]);
        world.crash(unit);
        events.wait("healed", unit);
    }
    assert_eq!(world.show(DAEMON, "MainPID"), daemon);
}

#[test]
fn a_failure_whose_signal_is_lost_is_healed_within_the_refresh() {
    let world = World::new();
    world.config("refresh: 500ms\nheal: {stable_after: 50ms}\n");
    world.workers([QUEUE]);
    on_the_bus(&world, r#"<deny receive_type="signal" receive_member="PropertiesChanged"/>"#);
    world.hide_private_socket();
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    let starting = written(&events.wait("starting", QUEUE));
    let waited = starting.saturating_sub(world.since_boot(QUEUE, "InactiveEnterTimestamp"));
    // One refresh, and half a second for a busy machine.
    assert!(waited < Duration::from_secs(1), "it took {waited:?}");
    events.wait("healed", QUEUE);
    assert_eq!(world.reported(QUEUE), ["detected", "starting", "healed"]);
}

#[test]
fn healing_works_without_signals_but_more_slowly() {
    let world = World::new();
    world.workers([QUEUE]);
    on_the_bus(&world, r#"<deny receive_type="signal" receive_sender="org.freedesktop.systemd1"/>"#);
    world.hide_private_socket();
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
}

#[test]
fn a_missing_permission_is_reported_once_and_the_worker_is_healed_once_granted() {
    let world = World::new();
    world.workers([QUEUE]);
    world.hide_private_socket();
    let mut events = world.start_daemon();
    on_the_bus(&world, r#"<deny send_interface="org.freedesktop.systemd1.Manager" send_member="StartUnit"/>"#);
    world.crash(QUEUE);
    let held = events.wait("held", QUEUE);
    assert!(text(&held, "WORKERHEAL_REASON").contains("no permission"), "{held:#}");
    on_the_bus(&world, "");
    let healed = events.wait("healed", QUEUE);
    assert_eq!(text(&healed, "WORKERHEAL_ATTEMPT"), "1", "refusals are no attempts: {healed:#}");
    assert_eq!(world.reported(QUEUE).iter().filter(|phase| *phase == "held").count(), 1);
}

/// Installs a rule of policy on the session bus, in place of the previous one: it drops signals, like an overflowing
/// queue or a dropped subscription, or calls.
fn on_the_bus(world: &World, rule: &str) {
    world.write_file("rule.conf", &format!(r#"<busconfig><policy context="mandatory">{rule}</policy></busconfig>"#));
    let dir = "/etc/dbus-1/session.d";
    let script = format!("mkdir -p {dir} && mount -t tmpfs tmpfs {dir} && cp ~/rule.conf {dir}");
    assert!(world.command("sh").args(["-c", &script]).status().unwrap().success());
    let bus = "org.freedesktop.DBus";
    let reload = ["--user", "call", bus, "/org/freedesktop/DBus", bus, "ReloadConfig"];
    assert!(world.command("busctl").args(reload).status().unwrap().success());
}

#[test]
fn failures_around_a_reexecution_of_the_manager_are_healed() {
    let world = World::new();
    world.config(BY_SIGNALS);
    world.workers([QUEUE, VITE]);
    let mut events = world.start_daemon();
    for _ in 0..3 {
        world.crash(QUEUE);
        world.daemon_reexec();
        world.crash(VITE);
        events.wait("detected", VITE);
        for unit in [QUEUE, VITE] {
            world.wait_for_state(&service_of(unit), "active", SOON);
            world.wait_for_uptime(unit, Duration::from_millis(100));
        }
    }
    assert_eq!(world.show(DAEMON, "NRestarts"), "0");
    for unit in [QUEUE, VITE] {
        let reported = world.reported(unit);
        assert!(reported.iter().all(|phase| phase != "gave-up" && phase != "stopped"), "{unit}: {reported:?}");
    }
}

#[test]
fn repeated_reloads_neither_hide_nor_double_a_failure() {
    let world = World::new();
    let units = ["lerd-a-shop", "lerd-b-shop", "lerd-c-shop", "lerd-d-shop", "lerd-e-shop"];
    world.workers(units);
    let mut events = world.start_daemon();
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            for _ in 0..25 {
                world.daemon_reload();
            }
        });
        for unit in units {
            world.crash(unit);
        }
        for unit in units {
            world.wait_for_journal(&format!("{unit} healed"), SOON, |entry| {
                entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == unit
            });
        }
        storm.join().unwrap();
    });
    for unit in units {
        assert_eq!(world.reported(unit), ["detected", "starting", "healed"], "{unit}");
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "active");
    }
    world.workers([QUEUE]);
    events.prove_alive_with(&world, QUEUE);
}

#[test]
fn a_crash_loop_is_retried_with_backoff_and_given_up_with_one_error() {
    let world = World::new();
    world.config(
        "refresh: 100ms\nheal: {stable_after: 300ms, give_up_after: 6, \
         backoff: {initial: 200ms, factor: 2, max: 1s, jitter: 0.1}}\n",
    );
    world.workers([VITE]);
    let mut events = world.start_daemon();
    world.write_file("broken", "");
    world.worker(QUEUE, LIVES_UNLESS_BROKEN);

    events.wait("detected", QUEUE);
    assert_eq!(events.wait_any(&["scheduled", "starting"], QUEUE)["WORKERHEAL_PHASE"], "starting", "not at once");
    for (attempt, expected) in [(2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000)] {
        let failed = events.wait("failed", QUEUE);
        assert_eq!(number(&failed, "WORKERHEAL_ATTEMPT"), attempt - 1);
        assert!(!text(&failed, "WORKERHEAL_ERROR").is_empty());
        let scheduled = events.wait("scheduled", QUEUE);
        assert_eq!(number(&scheduled, "WORKERHEAL_ATTEMPT"), attempt);
        let wait = number(&scheduled, "WORKERHEAL_RETRY_IN_MS");
        // The wait counts from the failure, and is reported once an inspection has shown that systemd does not restart
        // it.
        assert!((expected / 4..=expected * 11 / 10 + 1).contains(&wait), "attempt {attempt} in {wait} ms");
        let starting = events.wait("starting", QUEUE);
        assert_eq!(number(&starting, "WORKERHEAL_ATTEMPT"), attempt);
        let waited = written(&starting).saturating_sub(written(&scheduled));
        // The journal learns of a wait some time after it has begun, as its cause is looked up first.
        let at_least = Duration::from_millis(wait) / 2;
        assert!(waited >= at_least, "attempt {attempt} after {waited:?} of {wait} ms");
    }
    events.wait("failed", QUEUE);
    let gave_up = events.wait("gave-up", QUEUE);
    assert_eq!(number(&gave_up, "WORKERHEAL_ATTEMPT"), 6);
    assert!(text(&gave_up, "MESSAGE").contains("6 attempts"), "{gave_up:#}");
    // Messages of the daemon about the worker are not the worker's last line.
    assert!(!text(&gave_up, "WORKERHEAL_ERROR").contains("attempt"), "{gave_up:#}");

    // One error message, and silence from then on.
    let picture = world.picture(&["lerd-queue-myapp.service"]);
    events.prove_alive_with(&world, VITE);
    assert_eq!(world.picture(&["lerd-queue-myapp.service"]), picture);
    assert_eq!(world.reported(QUEUE).last().unwrap(), "gave-up");
    assert_eq!(world.journal(&["SYSLOG_IDENTIFIER=workerheal", "PRIORITY=3"]).len(), 1);
}

/// A world in which the daemon has given up the only worker, because of the file `broken`.
fn given_up() -> World {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, give_up_after: 2, backoff: {initial: 20ms}}\n");
    world.write_file("broken", "");
    world.worker(QUEUE, LIVES_UNLESS_BROKEN);
    world.start_daemon().wait("gave-up", QUEUE);
    std::fs::remove_file(world.home().join("broken")).unwrap();
    world
}

#[test]
fn a_changed_unit_file_ends_a_give_up() {
    let world = given_up();
    let mut events = world.events();
    world.write_worker(QUEUE, "ExecStart=sleep infinity");
    world.daemon_reload();
    events.wait("healed", QUEUE);
}

#[test]
fn attempts_are_remembered_until_the_worker_is_proven() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, reset_after: 1s, backoff: {initial: 300ms, jitter: 0}}\n");
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.crash(QUEUE);
    assert_eq!(events.wait_any(&["scheduled", "starting"], QUEUE)["WORKERHEAL_PHASE"], "scheduled");
    let starting = events.wait("starting", QUEUE);
    assert_eq!(number(&starting, "WORKERHEAL_ATTEMPT"), 2);
    events.wait("healed", QUEUE);

    world.wait_for_uptime(QUEUE, Duration::from_millis(1500));
    world.crash(QUEUE);
    let starting = events.wait_any(&["scheduled", "starting"], QUEUE);
    assert_eq!(starting["WORKERHEAL_PHASE"], "starting");
    assert_eq!(number(&starting, "WORKERHEAL_ATTEMPT"), 1);
}

#[test]
fn many_failures_at_once_are_healed_a_few_at_a_time() {
    let world = World::new();
    world.config("refresh: 1h\nheal: {stable_after: 50ms, max_concurrent: 2}\n");
    // Starts take a while, so that they would overlap.
    let units: Vec<String> = (0..6).map(|n| format!("lerd-w{n}-shop")).collect();
    for unit in &units {
        world.write_worker(unit, "ExecStartPre=sleep 0.2\nExecStart=sleep infinity");
    }
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    world.control(&[&["enable", "--now"], &names[..]].concat());
    let mut events = world.start_daemon();
    for unit in &units {
        world.crash(unit);
    }
    let mut most = 0;
    world.wait_until("all of them to be up", SOON, || {
        let states = world.control(&[&["show", "--property=ActiveState", "--value", "--"], &names[..]].concat());
        most = most.max(states.lines().filter(|state| *state == "activating").count());
        (states.lines().filter(|state| *state == "active").count() == units.len()).then_some(())
    });
    assert!(most <= 2, "{most} starts at once");
    for unit in &units {
        world.wait_for_journal("healed", SOON, |entry| {
            entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == unit.as_str()
        });
    }
    world.crash("lerd-w0-shop");
    events.wait("healed", "lerd-w0-shop");
}

#[test]
fn a_start_is_followed_to_its_end_whatever_happens_to_the_connection_meanwhile() {
    let world = World::new();
    world.config(BY_SIGNALS);
    world.worker(QUEUE, "ExecStartPre=sleep 1\nExecStart=sleep infinity");
    let mut events = world.start_daemon();
    let disturbances: [(&str, &dyn Fn()); 3] = [
        ("a reload", &|| world.daemon_reload()),
        ("a reexecution", &|| world.daemon_reexec()),
        ("the loss of the bus", &|| drop(world.control(&["stop", "dbus.service"]))),
    ];
    for (what, disturb) in disturbances {
        world.crash(QUEUE);
        events.wait("starting", QUEUE);
        disturb();
        println!("after {what}:");
        events.wait("healed", QUEUE);
        assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "active", "after {what}");
        assert!(!world.reported(QUEUE).iter().any(|phase| phase == "failed"), "after {what}");
    }
}

#[test]
fn a_oneshot_that_failed_is_healed_when_it_has_done_its_work() {
    let world = World::new();
    world.write_file("broken", "");
    world.write_worker(
        QUEUE,
        "Type=oneshot\nRestart=on-failure\nStartLimitBurst=1\nExecStart=sh -c '! test -e %h/broken'",
    );
    world.control(&["enable", QUEUE]);
    assert!(world.systemctl(&["start", QUEUE]).is_err());
    std::fs::remove_file(world.home().join("broken")).unwrap();
    let mut events = world.start_daemon();
    events.wait("healed", QUEUE);
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "inactive");
    assert_eq!(world.reported(QUEUE), ["detected", "starting", "healed"]);
}

#[test]
fn an_unstartable_worker_is_given_up_at_once() {
    for (how, why) in [("gone", "file"), ("[Service]\nExecStart=\n", "setting")] {
        let world = World::new();
        world.workers([QUEUE, VITE]);
        world.crash_for_good([QUEUE]);
        let unit = world.home().join(".config/systemd/user/lerd-queue-myapp.service");
        let changed = if how == "gone" { std::fs::remove_file(&unit) } else { std::fs::write(&unit, how) };
        changed.unwrap();
        world.daemon_reload();
        let mut events = world.start_daemon();
        let gave_up = events.wait("gave-up", QUEUE);
        assert!(text(&gave_up, "WORKERHEAL_REASON").contains(why), "{gave_up:#}");
        events.prove_alive_with(&world, VITE);
        assert_eq!(world.reported(QUEUE), ["detected", "gave-up"]);

        // Once corrected, it is healed.
        world.write_worker(QUEUE, "ExecStart=sleep infinity");
        world.daemon_reload();
        events.wait("healed", QUEUE);
    }
}

#[test]
fn a_clean_exit_is_not_restarted() {
    let world = World::new();
    world.workers([VITE]);
    world.write_file("broken", "");
    world.worker(QUEUE, "ExecStart=sh -c '! test -e %h/broken'");
    world.wait_for_state("lerd-queue-myapp.service", "failed", SOON);
    std::fs::remove_file(world.home().join("broken")).unwrap();
    let mut events = world.start_daemon();
    events.wait("stopped", QUEUE);
    events.prove_alive_with(&world, VITE);
    assert_eq!(world.reported(QUEUE), ["detected", "starting", "stopped"]);
    let stopped = world.journal(&["WORKERHEAL_UNIT=lerd-queue-myapp", "WORKERHEAL_PHASE=stopped"]);
    assert!(!text(&stopped[0], "MESSAGE").contains("by its user"), "no person did: {:#}", stopped[0]);
}

/// A world whose daemon gets no signals: it has five lists a second, and every twentieth is complete.
fn without_signals() -> World {
    let world = World::new();
    world.config("refresh: 200ms\nheal: {stable_after: 50ms}\n");
    on_the_bus(&world, r#"<deny receive_type="signal" receive_sender="org.freedesktop.systemd1"/>"#);
    world.hide_private_socket();
    world
}

/// Runs `workerheal` with access to that daemon.
fn ask(world: &World, args: &[&str]) -> Ran {
    Ran::of(world.command_line(args).env("XDG_RUNTIME_DIR", "/run/user/0/elsewhere"))
}

/// The units that the daemon knows of.
fn known(world: &World) -> Vec<String> {
    let workers = ask(world, &["status", "--json"]).json();
    workers.as_array().unwrap().iter().map(|worker| worker["unit"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_worker_that_was_stopped_and_unloaded_unnoticed_is_known_to_be_down() {
    let world = without_signals();
    world.workers([QUEUE, VITE]);
    world.control(&["disable", "--quiet", VITE]);
    let mut events = world.start_daemon();
    assert_eq!(known(&world).len(), 2);
    world.stop_unit(&service_of(VITE));
    world.wait_until("it to be known as down", SOON, || {
        let listed = ask(&world, &["status"]).out;
        listed.lines().any(|line| line.starts_with("shop/vite") && line.contains(" down ")).then_some(())
    });
    assert_eq!(known(&world).len(), 2);
    // The other one is still monitored.
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
}

#[test]
fn a_worker_that_was_renamed_unnoticed_is_known_by_its_new_name_only_and_healed() {
    let world = without_signals();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    let units = world.path(".config/systemd/user");
    let (old, new) = (service_of(QUEUE), service_of("lerd-mail-myapp"));
    let script = format!(
        "systemctl --user disable --now --quiet {old} && mv {units}/{old} {units}/{new} && \
         systemctl --user daemon-reload && systemctl --user enable --now --quiet {new}"
    );
    assert!(world.command("sh").args(["-c", &script]).status().unwrap().success());
    world.wait_until("only the new name to be known", SOON, || (known(&world) == ["lerd-mail-myapp"]).then_some(()));
    world.crash("lerd-mail-myapp");
    events.wait("healed", "lerd-mail-myapp");
}

#[test]
fn a_failure_that_was_cleared_and_unloaded_unnoticed_is_healed_no_longer() {
    let world = without_signals();
    world.workers([QUEUE]);
    world.control(&["disable", "--quiet", QUEUE]);
    let mut events = world.start_daemon();
    ask(&world, &["pause"]);
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    world.control(&["reset-failed", QUEUE]);
    ask(&world, &["resume"]);
    world.wait_until("it to be left down", SOON, || {
        let workers = ask(&world, &["status", "--json"]).json();
        (workers[0]["healthy"] == true && workers[0]["phase"] == "down").then_some(())
    });
    assert!(!world.reported(QUEUE).contains(&"starting".to_owned()));
}

/// systemd decodes the escape, and then cannot send the command line to any client.
#[test]
fn a_worker_whose_command_line_is_not_utf8_is_healed() {
    let world = World::new();
    world.worker(QUEUE, r#"ExecStart=sh -c "echo caf\xe9; exec sleep infinity""#);
    assert!(world.systemctl(&["show", "--property=ExecStart", QUEUE]).is_err(), "it can be read");
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    assert_eq!(world.run(&["explain", QUEUE]).status, 0);
}
