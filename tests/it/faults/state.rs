//! A state file that cannot be written or read.

use crate::common::{DAEMON, QUICK, SOON, World};
use crate::faults::{OTHER, QUEUE, shell};

const STATE: &str = ".local/state/workerheal";

/// A directory for the state with almost no free space.
fn with_a_full_state_directory(world: &World) {
    let directory = world.path(STATE);
    shell(world, &format!("mkdir -p {directory} && mount -t tmpfs -o size=16k,mode=700 none {directory}"));
}

fn fill(world: &World) {
    shell(world, &format!("cat /dev/zero >{}/fill 2>/dev/null || true", world.path(STATE)));
}

#[test]
fn a_pause_that_cannot_be_saved_is_reported_and_saved_later() {
    let world = World::new();
    world.workers([QUEUE, OTHER]);
    with_a_full_state_directory(&world);
    let mut events = world.start_daemon();
    fill(&world);

    let ran = world.run(&["pause", "myapp"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("Paused the site myapp until you resume it"), "{ran:?}");
    assert!(ran.err.contains("No space left on device") && ran.err.contains("restart"), "{ran:?}");
    let answer = crate::api::http::post(&world, "/v1/pause", &serde_json::json!({"targets": ["shop"]}));
    assert!(answer.json()["not_saved"].as_str().is_some_and(|why| why.contains("No space left")), "{answer:?}");

    // Nothing happens from here on that would cause another write.
    shell(&world, &format!("rm {}/fill", world.path(STATE)));
    events.wait_for_log(&["written down again"]);
    let ran = world.run(&["resume", "shop"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    world.control(&["restart", DAEMON]);
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.show(&crate::common::service_of(QUEUE), "ActiveState"), "failed");
}

#[test]
fn confirmed_changes_survive_an_immediate_kill() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, give_up_after: 4, backoff: {initial: 20ms, max: 20ms}}\n");
    world.workers([QUEUE, OTHER]);
    world.write_unit("workerheal.service.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n");
    world.daemon_reload();
    let mut events = world.start_daemon();
    for round in 0..5 {
        assert_eq!(world.run(&["pause", "myapp"]).status, 0);
        world.control(&["kill", "--signal", "KILL", DAEMON]);
        world.wait_for_state(DAEMON, "failed", SOON);
        world.start_unit(DAEMON);
        let paused = crate::api::http::get(&world, "/v1/status").json();
        assert_eq!(paused["pauses"][0]["name"], "myapp", "round {round}: {paused:#}");
        assert_eq!(world.run(&["resume", "myapp"]).status, 0);
    }
    // Given up, and killed as soon as that is reported.
    world.write_worker("lerd-broken-shop", "ExecStart=false");
    world.control(&["enable", "lerd-broken-shop"]);
    let _ = world.systemctl(&["start", "lerd-broken-shop"]);
    events.wait("gave-up", "lerd-broken-shop");
    world.control(&["kill", "--signal", "KILL", DAEMON]);
    world.wait_for_state(DAEMON, "failed", SOON);
    let reported = world.reported("lerd-broken-shop");
    world.start_unit(DAEMON);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.reported("lerd-broken-shop"), reported, "it was tried again");
}

#[test]
fn an_unreadable_state_file_is_kept_and_healing_waits() {
    let world = World::new();
    world.workers([QUEUE, OTHER]);
    let state = r#"{"format": "workerheal-state", "version": 1, "pauses": [{"target": {"site": "myapp"}}]}"#;
    world.write_file(format!("{STATE}/state.json"), state);
    world.crash_for_good([QUEUE, OTHER]);
    let path = world.path(&format!("{STATE}/state.json"));
    // A regular file whose reads are all input/output errors.
    shell(&world, &format!("mount --bind /proc/1/mem {path}"));
    let before = world.picture(&[QUEUE, OTHER]);

    // Without a daemon nothing is healed either: it is unknown what is paused.
    let ran = world.run(&["heal"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains(&path) && ran.err.contains("Input/output error"), "{ran:?}");

    let mut events = world.start_daemon();
    let warning = events.wait_for_log(&[&path, "Input/output error"]);
    assert_eq!(warning["PRIORITY"], "3", "{warning:#}");
    let status = crate::api::http::get(&world, "/v1/status");
    assert_eq!(status.status, 200);
    let answer = crate::api::http::post(&world, "/v1/resume", &serde_json::json!({}));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.error().contains("Input/output error"), "{answer:?}");
    // The commands show the error, and during some refreshes nothing is started.
    let shown = world.run(&["status"]);
    assert!(shown.out.contains("Input/output error"), "{shown:?}");
    let status = world.show(DAEMON, "StatusText");
    assert!(status.contains("Input/output error"), "{status}");
    assert_eq!(world.picture(&[QUEUE, OTHER]), before);

    shell(&world, &format!("umount {path}"));
    events.wait("healed", OTHER);
    assert_eq!(world.show(&crate::common::service_of(QUEUE), "ActiveState"), "failed");
    assert_eq!(crate::api::http::get(&world, "/v1/status").json()["pauses"][0]["name"], "myapp");
    assert!(!std::path::Path::new(&format!("{path}.bad")).exists());
}

#[test]
fn an_alias_reported_while_the_state_file_is_unreadable_takes_effect_once_it_is_readable() {
    let world = World::new();
    world.config(&format!("also_watch: [celeryd.service]\n{QUICK}"));
    world.write_unit(
        "app-celery.service",
        "[Service]\nExecStart=sleep infinity\n[Install]\nAlias=celeryd.service\nWantedBy=default.target\n",
    );
    world.control(&["enable", "--now", "app-celery"]);
    world.write_file(format!("{STATE}/state.json"), r#"{"format": "workerheal-state", "version": 1}"#);
    let path = world.path(&format!("{STATE}/state.json"));
    shell(&world, &format!("mount --bind /proc/1/mem {path}"));
    let mut events = world.start_daemon();
    events.wait_for_log(&[&path, "Input/output error"]);

    shell(&world, &format!("umount {path}"));
    events.wait_for_log(&["the state can be read now"]);
    world.crash("app-celery");
    events.wait("healed", "app-celery");
}
