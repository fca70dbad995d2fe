//! The command of `on_event`: its triggers and input, and that healing does not depend on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{DAEMON, LIVES_UNLESS_BROKEN, QUICK, SOON, World, service_of};
use serde_json::{Value, json};

const QUEUE: &str = "lerd-queue-myapp";
const BOT: &str = "bot";
const BROKEN: &str = "lerd-broken-shop";

#[test]
fn the_command_gets_healed_and_given_up_events_as_json() {
    let world = World::new();
    let reported = world.path("reported");
    world.config(&format!(
        "refresh: 100ms\nheal: {{stable_after: 50ms, give_up_after: 2, backoff: {{initial: 20ms}}}}\n\
         also_watch: [bot.service]\non_event: [sh, -c, \"cat >>{reported}\"]\n"
    ));
    world.workers([QUEUE, BOT]);
    world.write_file("broken", "");
    world.worker(BROKEN, LIVES_UNLESS_BROKEN);
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&reported).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };

    // Before this there are one detected, two starting, two failed and one scheduled event.
    let mut events = world.start_daemon();
    events.wait("gave-up", BROKEN);
    let given_up = world.wait_until("the first line", SOON, || lines().pop());
    assert_eq!([&given_up["phase"], &given_up["unit"], &given_up["site"]], ["gave-up", BROKEN, "shop"], "{given_up:#}");
    assert_eq!([&given_up["attempt"], &given_up["reason"]], [&json!(2), &json!("2 attempts failed")]);
    assert!(given_up["error"].as_str().is_some_and(|error| !error.is_empty()), "{given_up:#}");
    assert!(given_up["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{given_up:#}");

    for (unit, site) in [(QUEUE, json!("myapp")), (BOT, Value::Null)] {
        world.crash(unit);
        events.wait("healed", unit);
        let healed = world.wait_until("one more line", SOON, || lines().into_iter().find(|line| line["unit"] == unit));
        assert_eq!([&healed["phase"], &healed["unit"], &healed["site"]], [&json!("healed"), &json!(unit), &site]);
    }
    assert_eq!(lines().len(), 3, "{:#?}", lines());

    // A changed command takes effect as soon as it is saved, and so does its removal.
    let elsewhere = world.path("elsewhere");
    world.config(&format!("{QUICK}also_watch: [bot.service]\non_event: [sh, -c, \"cat >>{elsewhere}\"]\n"));
    events.wait_for_log(&["new configuration"]);
    world.crash(QUEUE);
    world
        .wait_until("the other file", SOON, || fs::read_to_string(&elsewhere).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(lines().len(), 3, "{:#?}", lines());
}

#[test]
fn a_failed_or_missing_command_is_logged_once_per_event() {
    for (command, why) in [
        ("[\"false\"]", "on_event: false for lerd-queue-myapp ended with exit status: 1"),
        ("[/nowhere/alert]", "on_event: /nowhere/alert cannot be run for lerd-queue-myapp: No such file or directory"),
        ("[sh, -c, \"kill -KILL $$\"]", "on_event: sh for lerd-queue-myapp ended with signal: 9"),
    ] {
        let world = World::new();
        world.config(&format!("{QUICK}on_event: {command}\n"));
        world.workers([QUEUE]);
        let mut events = world.start_daemon();
        for _ in 0..2 {
            world.crash(QUEUE);
            events.wait("healed", QUEUE);
            let warning = events.wait_for_log(&["on_event"]);
            assert_eq!(warning["PRIORITY"], "4", "{warning:#}");
            assert!(warning["MESSAGE"].as_str().unwrap().starts_with(why), "{warning:#}");
        }
        let warnings = world.journal(&["SYSLOG_IDENTIFIER=workerheal", "PRIORITY=4"]);
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        assert_eq!(world.reported(QUEUE).iter().filter(|phase| *phase == "healed").count(), 2);
    }
}

#[test]
fn commands_that_never_end_block_neither_healing_nor_shutdown() {
    let world = World::new();
    let (running, reported) = (world.path("running"), world.path("reported"));
    // They do not read their input either.
    world.config(&format!("{QUICK}on_event: [sh, -c, \"echo >>{running}; exec sleep infinity\"]\n"));
    world.workers([QUEUE, "lerd-other-shop"]);
    let mut events = world.start_daemon();
    // More than the limit.
    for _ in 0..4 {
        for unit in [QUEUE, "lerd-other-shop"] {
            world.crash(unit);
            events.wait("healed", unit);
        }
    }
    let runs = || fs::read_to_string(&running).unwrap_or_default().lines().count();
    world.wait_until("as many of them as may", SOON, || (runs() == 4).then_some(()));
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(runs(), 4);

    world.stop_unit(DAEMON);
    assert_eq!(world.show(DAEMON, "Result"), "success");
    // No process is left for the next daemon.
    world.config(&format!("{QUICK}on_event: [sh, -c, \"cat >>{reported}\"]\n"));
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.wait_until("its line", SOON, || fs::read_to_string(&reported).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
}

#[test]
fn the_notification_of_the_readme_says_what_happened_to_which_worker() {
    let world = World::new();
    let readme = include_str!("../../README.md");
    let command = readme.lines().find(|line| line.starts_with("on_event: ")).unwrap();
    world.config(&format!("{QUICK}{command}\n"));
    world.write_file("bin/notify-send", "#!/bin/sh\nprintf '%s\\n' \"$@\" end >>~/notified\n");
    fs::set_permissions(world.home().join("bin/notify-send"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write_unit("workerheal.service.d/path.conf", "[Service]\nEnvironment=PATH=%h/bin:/usr/bin:/bin\n");
    world.workers([QUEUE]);
    world.start_daemon();
    world.crash(QUEUE);
    let shown = || fs::read_to_string(world.home().join("notified")).ok().filter(|text| text.ends_with("end\n"));
    assert_eq!(world.wait_until("it", SOON, shown), format!("--app-name\nworkerheal\nhealed\n{QUEUE}\nend\n"));
}
