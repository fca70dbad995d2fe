//! Upgrades: the saved state and the configuration of another version, and the scripts of packages.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::time::{Duration, SystemTime};

use crate::common::{DAEMON, FAILS_WHEN_STOPPED, LIVES_UNLESS_BROKEN, SOON, World, service_of};
use serde_json::{Value, json};

const STATE: &str = ".local/state/workerheal/state.json";

/// The state that a daemon of version 0.1.0 left: see [`as_if_just_written`] for what differs from the recording.
const STATE_OF_0_1: &str = include_str!("upgrade/0.1/state.json");
/// Its configuration, with every key of that version.
const CONFIG_OF_0_1: &str = include_str!("upgrade/0.1/config.yaml");

/// Paused with its site.
const QUEUE: &str = "lerd-queue-myapp";
/// Paused by name, for two hours.
const MAIL: &str = "celery@mail";
/// Given up after three attempts.
const GIVEN_UP: &str = "lerd-horizon-shop";
/// Tried once, and waiting for the second attempt.
const WAITING: &str = "lerd-schedule-shop";
/// Stopped by a person, which ended in a failure.
const STOPPED: &str = "lerd-stripe-shop";
/// A worker without saved state.
const OTHER: &str = "lerd-queue-shop";

/// The recorded state, as if it had been written now, and as if the last runs that it names had been in this sandbox.
fn as_if_just_written(world: &World) -> Value {
    let mut state: Value = serde_json::from_str(STATE_OF_0_1).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let end = |left: &Value| u64::try_from(now.as_millis()).unwrap() + left.as_u64().unwrap();
    for pause in state["pauses"].as_array_mut().unwrap() {
        if let Some(left) = pause.get("left").cloned() {
            pause["until"] = json!(end(&left));
        }
    }
    for worker in state["workers"].as_object_mut().unwrap().values_mut() {
        if let Some(left) = worker.get("not_before").map(|times| times[1].clone()) {
            worker["not_before"][0] = json!(end(&left));
        }
    }
    for (unit, phase) in [(STOPPED, "stopped"), (GIVEN_UP, "given-up")] {
        state["workers"][unit]["standing"][phase]["run"] = json!(world.show(&service_of(unit), "InvocationID"));
    }
    state
}

#[test]
fn the_state_and_configuration_of_0_1_take_effect() {
    let world = World::new();
    world.config(CONFIG_OF_0_1);
    world.workers([QUEUE, MAIL, OTHER]);
    for unit in [GIVEN_UP, WAITING, STOPPED] {
        world.worker(unit, LIVES_UNLESS_BROKEN);
    }
    world.write_file("broken", "");
    world.crash_for_good([QUEUE, MAIL, GIVEN_UP, WAITING, STOPPED]);
    world.write_file(STATE, &as_if_just_written(&world).to_string());
    let quiet = [QUEUE, MAIL, GIVEN_UP, WAITING, STOPPED];
    let before = world.picture(&quiet);

    let checked = world.run(&["check"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    let mut events = world.start_daemon();
    // Only once: a second attempt would wait for minutes here.
    world.crash(OTHER);
    events.wait("healed", OTHER);
    assert_eq!(world.picture(&quiet), before);
    world.wait_until("the command of on_event to have run", SOON, || world.home().join("heard").exists().then_some(()));

    let workers = world.run(&["status", "--json"]).json();
    let worker = |unit: &str| workers.as_array().unwrap().iter().find(|it| it["unit"] == unit).unwrap().clone();
    assert_eq!(worker(GIVEN_UP)["phase"], "gave-up", "{workers:#}");
    assert_eq!(worker(GIVEN_UP)["attempts"], 3, "{workers:#}");
    assert_eq!(worker(WAITING)["attempts"], 1, "{workers:#}");
    let wait = Duration::from_millis(worker(WAITING)["retry_in_ms"].as_u64().unwrap());
    assert!(wait > Duration::from_secs(200) && wait <= Duration::from_secs(300), "{workers:#}");
    assert_eq!(worker(STOPPED)["phase"], "stopped", "{workers:#}");
    let pauses = crate::common::Ran::of(&mut world.command_line(&["status"])).out;
    assert!(pauses.contains("myapp") && pauses.contains("mail"), "{pauses}");

    // A paused worker is healed once the pause is ended.
    for (target, unit) in [("myapp", QUEUE), (MAIL, MAIL)] {
        assert_eq!(world.run(&["resume", target]).status, 0);
        events.wait("healed", unit);
    }
}

#[test]
fn the_state_of_a_newer_version_is_kept_and_healing_waits() {
    let world = World::new();
    world.workers([QUEUE, OTHER]);
    let newer = r#"{"format": "workerheal-state", "version": 2, "holds": [{"site": "myapp"}]}"#;
    world.write_file(STATE, newer);
    world.crash_for_good([QUEUE, OTHER]);
    let before = world.picture(&[QUEUE, OTHER]);
    let says = ["state.json", "a newer version of workerheal wrote it", "format 2", "move the file away"];

    // Nor without a daemon.
    let healed = world.run(&["heal"]);
    assert_eq!(healed.status, 2, "{healed:?}");
    assert!(says.iter().all(|word| healed.err.contains(word)), "{healed:?}");

    let mut events = world.start_daemon();
    let reported = events.wait_for_log(&says);
    assert_eq!(reported["PRIORITY"], "3", "{reported:#}");
    let paused = world.run(&["pause", "shop"]);
    assert_ne!(paused.status, 0, "{paused:?}");
    assert!(world.run(&["status"]).out.contains("a newer version of workerheal wrote it"));
    assert!(world.show(DAEMON, "StatusText").contains("a newer version of workerheal wrote it"));
    world.control(&["restart", DAEMON]);
    events.wait_for_log(&says);
    world.control(&["stop", DAEMON]);
    assert_eq!(world.picture(&[QUEUE, OTHER]), before);
    assert_eq!(std::fs::read_to_string(world.path(STATE)).unwrap(), newer);

    // As the message says: without the file, healing begins.
    let mut events = world.start_daemon();
    std::fs::rename(world.path(STATE), world.path("away.json")).unwrap();
    events.wait_for_log(&["healing begins"]);
    events.wait("healed", QUEUE);
}

/// As needrestart does after an upgrade of libraries, including the daemon. Workers that end with an error when they
/// are stopped pass through `failed`.
#[test]
fn a_restart_of_all_services_is_no_crash() {
    let world = World::new();
    let workers = ["lerd-a-shop", "lerd-b-shop", "lerd-c-shop", "lerd-d-shop"];
    for unit in workers {
        world.worker(unit, FAILS_WHEN_STOPPED);
    }
    world.workers([OTHER]);
    let mut events = world.start_daemon();
    for verb in ["try-restart", "restart", "reload-or-restart", "try-reload-or-restart"] {
        world.control(&[&[verb], &workers[..]].concat());
        world.control(&[&[verb, DAEMON], &workers[..]].concat());
        events.prove_alive_with(&world, OTHER);
    }
    for unit in workers {
        assert_eq!(world.reported(unit), [""; 0], "{unit}");
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "active", "{unit}");
    }
}

/// As the scripts of a package do: the service is stopped, its files are replaced, the manager reloads or re-executes,
/// and the service is started.
#[test]
fn a_worker_stopped_for_an_upgrade_is_started_only_by_the_upgrade() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.workers([OTHER]);
    let mut events = world.start_daemon();
    let during = [&[][..], &["daemon-reload"], &["daemon-reexec"], &["restart", DAEMON]];
    for (version, with) in during.into_iter().enumerate() {
        world.stop_unit(&service_of(QUEUE));
        let before = world.picture(&[QUEUE]);
        world.write_worker(QUEUE, &format!("{FAILS_WHEN_STOPPED}\nEnvironment=VERSION={version}"));
        if !with.is_empty() {
            world.control(with);
        }
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE]), before, "{with:?}");
        world.daemon_reload();
        world.start_unit(&service_of(QUEUE));
        // From now on its end is a crash again.
        world.crash(QUEUE);
        events.wait("healed", QUEUE);
    }
    assert!(!world.reported(QUEUE).contains(&"gave-up".to_owned()));
}
