//! The commands that need the daemon, and those that use it when it is there.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::api::QUEUE;
use crate::common::{LIVES_UNLESS_BROKEN, SOON, World};

const VITE: &str = "lerd-vite-shop";

#[test]
fn status_shows_each_worker_and_what_is_paused() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    world.start_daemon();
    let ran = world.run(&["pause", "shop", "--for", "30m"]);
    assert!(ran.status == 0 && ran.out.starts_with("Paused the site shop until "), "{ran:?}");
    let paused = ran.out.trim_end().to_owned();
    let ran = world.run(&["status"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with(concat!("workerheal ", env!("CARGO_PKG_VERSION"), ", up for ")), "{ran:?}");
    assert!(lines[0].ends_with(", 2 workers: 2 up"), "{ran:?}");
    assert!(lines[1].starts_with("Since ") && lines[1].ends_with(": no failures"), "{ran:?}");
    assert_eq!(lines[2], paused);
    assert!(lines[4].starts_with("WORKER       STATUS  TRIES  CHANGED"), "{ran:?}");
    // With the time since then: `now`, or `1s ago`.
    assert!(lines[5].starts_with("myapp/queue  up  "), "{ran:?}");
    assert!(lines[5].ends_with(" ago") || lines[5].ends_with(" now"), "{ran:?}");
    assert!(lines[6].starts_with("shop/vite    up  "), "{ran:?}");
    assert!(lines[6].ends_with("you paused the site shop, 30m left"), "{ran:?}");
    assert!(!ran.out.contains('\u{1b}'), "nothing is painted where no terminal is");
    let json = world.run(&["status", "--json"]).json();
    assert_eq!(json[1]["reason"], "you paused the site shop", "{json:#}");

    let ran = world.run(&["resume", "shop"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "Resumed the site shop.\n"), "{ran:?}");
    let ran = world.run(&["pause", "nonsense"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.starts_with("workerheal: no worker named \"nonsense\""), "{ran:?}");
}

#[test]
fn a_pause_holds_a_worker_until_its_time_is_over() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    assert_eq!(world.run(&["pause", "myapp/queue", "--for", "400ms"]).status, 0);
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    events.wait("starting", QUEUE);
    events.wait("healed", QUEUE);
    assert_eq!(world.run(&["pause", "--json"]).json()["pauses"][0]["kind"], "everything");
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    assert_eq!(world.run(&["resume"]).status, 0);
    events.wait("healed", QUEUE);
}

#[test]
fn events_are_shown_and_followed() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut journal = world.start_daemon();
    assert_eq!(world.run(&["events"]).out, "No events.\n");
    let mut follower = world
        .command_line(&["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut lines = BufReader::new(follower.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    // The first line shows that it follows.
    let mut first = None;
    world.wait_until("the follower to hear something", SOON, || {
        world.crash(QUEUE);
        journal.wait("healed", QUEUE);
        first = lines.next();
        first.is_some().then_some(())
    });
    world.crash(QUEUE);
    let phases: Vec<String> = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line).expect("each line is JSON")["phase"].to_string())
        .take_while(|phase| phase != "\"healed\"")
        .collect();
    assert!(
        phases.ends_with(&["\"detected\"".to_owned(), "\"starting\"".to_owned()]) || phases.len() == 1,
        "{phases:?}"
    );
    let ran = world.run(&["events", "--since", "1h"]);
    assert!(
        ran.out.lines().any(|line| line.contains("healed     myapp/queue is up again and has stayed up")),
        "{ran:?}"
    );
    let ran = world.run(&["events", "--since", "1h", "--json", "-n", "1"]);
    assert_eq!(ran.json()["unit"], QUEUE, "{ran:?}");

    // The end of the daemon ends it, with a message.
    world.stop_unit(crate::common::DAEMON);
    let status = follower.wait().expect("it ends");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_heal_gives_the_same_result_with_and_without_a_daemon() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 5m}}\n");
    world.worker(QUEUE, LIVES_UNLESS_BROKEN);
    let break_it = || {
        world.write_file("broken", "");
        world.crash(QUEUE);
    };
    let mut journal = world.start_daemon();
    break_it();
    journal.wait("scheduled", QUEUE);
    let failed = world.run(&["heal", "myapp/queue", "--prove", "50ms"]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.out.starts_with("✗ myapp/queue  failed: "), "{failed:?}");
    assert!(failed.out.ends_with("Healed 0 worker(s), 1 failed.\n"), "{failed:?}");
    assert_eq!(journal.wait_any(&["starting"], QUEUE)["WORKERHEAL_PHASE"], "starting", "it was the daemon's doing");
    std::fs::remove_file(world.home().join("broken")).expect("it is there");
    let events = world.run(&["heal", "--events", "--prove", "50ms"]);
    let phases: Vec<Value> = events.out.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(
        phases.iter().filter_map(|event| event["phase"].as_str()).collect::<Vec<_>>(),
        ["starting", "healed", "done"]
    );
    journal.wait("healed", QUEUE);
    let nothing = world.run(&["heal"]);
    assert_eq!((nothing.status, nothing.out.as_str()), (0, "No unhealthy workers.\n"), "{nothing:?}");
    let unknown = world.run(&["heal", "nginx"]);
    assert_eq!(unknown.status, 2, "{unknown:?}");
}
