//! What the tests of reports share: the settings, short ways to write units, and assertions about the result.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::common::{Events, LIVES, SOON, World, service_of, text};

/// Covers `app-*.service`. The waits between attempts are 250 ms, 500 ms and 1 s; the fourth attempt is the last.
pub const SETTINGS: &str = "refresh: 200ms\nalso_watch: [\"app-*.service\"]\n\
    heal: {stable_after: 400ms, backoff: {initial: 250ms, max: 2s, jitter: 0}, give_up_after: 4}\n";

/// `[Service]` of a worker that ends with an error once there is a file `<unit>.fail`.
pub const FAILS_ON_REQUEST: &str =
    "ExecStartPre=rm -f %h/%N.fail\nExecStart=sh -c 'until test -e %h/%N.fail; do sleep 0.02; done; exit 1'";

/// `[Service]` of a worker that never becomes ready, without a time limit.
pub const HANGS: &str = "Type=notify\nTimeoutStartSec=infinity\nExecStart=sleep infinity";

/// A world with [`SETTINGS`].
pub fn world() -> World {
    world_with("")
}

/// A world with [`SETTINGS`] and more keys below `heal:`, each with a comma before it.
pub fn world_with(keys: &str) -> World {
    let world = World::new();
    world.config(&SETTINGS.replace("give_up_after: 4", &format!("give_up_after: 4{keys}")));
    world
}

/// A world in which each wait between attempts is this long, so that there is time to act meanwhile.
pub fn world_with_waits_of(wait: &str) -> World {
    let world = World::new();
    let waits = format!("{{initial: {wait}, factor: 1, jitter: 0}}");
    world.config(&SETTINGS.replace("{initial: 250ms, max: 2s, jitter: 0}", &waits));
    world
}

/// Writes a service that can be enabled.
#[track_caller]
pub fn write(world: &World, name: &str, unit: &str, service: &str) {
    let text = format!("[Unit]\n{unit}\n[Service]\n{service}\n[Install]\nWantedBy=default.target\n");
    world.write_unit(&service_of(name), &text);
}

/// Writes and enables a service.
#[track_caller]
pub fn enable(world: &World, name: &str, unit: &str, service: &str) {
    write(world, name, unit, service);
    world.control(&["enable", name]);
}

/// Writes, enables and starts a service.
#[track_caller]
pub fn run(world: &World, name: &str, unit: &str, service: &str) {
    enable(world, name, unit, service);
    world.control(&["start", name]);
}

/// Starts a unit whose start may fail.
pub fn try_to_start(world: &World, name: &str) {
    let _ = world.systemctl(&["start", name]);
}

/// The phases that the running daemon has reported for a worker, in order, by `events --json`.
#[track_caller]
pub fn phases(world: &World, name: &str) -> Vec<String> {
    let ran = world.run(&["events", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let events = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"));
    events.filter(|event| event["unit"] == name).map(|event| text(&event, "phase")).collect()
}

/// The number of these with that phase.
pub fn count(phases: &[String], phase: &str) -> usize {
    phases.iter().filter(|other| *other == phase).count()
}

/// Asserts that the daemon has reported none of these phases for a worker.
#[track_caller]
pub fn assert_none_of(world: &World, name: &str, unwanted: &[&str]) {
    let phases = phases(world, name);
    assert!(!phases.iter().any(|phase| unwanted.contains(&phase.as_str())), "{name}: {phases:?}");
}

/// A worker in `status --json`.
#[track_caller]
pub fn status(world: &World, name: &str) -> Value {
    let ran = world.run(&["status", "--json"]);
    let listed = ran.json().as_array().cloned().unwrap_or_default();
    listed.into_iter().find(|worker| worker["unit"] == name).unwrap_or_default()
}

/// Waits until `status` shows a worker in this phase, and returns it.
#[track_caller]
pub fn wait_for_phase(world: &World, name: &str, phase: &str) -> Value {
    world.wait_until(&format!("{name} to be shown as {phase}"), SOON, || {
        Some(status(world, name)).filter(|status| status["phase"] == phase)
    })
}

/// Waits until a worker is listed as unhealthy with this state, by `detect` and by `status`.
#[track_caller]
pub fn wait_for_diagnosis(world: &World, name: &str, state: &str) {
    world.wait_until(&format!("{name} to be detected as {state}"), SOON, || {
        (world.diagnosis(name)? == state).then_some(())
    });
    let status = status(world, name);
    assert_eq!((&status["state"], &status["healthy"]), (&state.into(), &false.into()), "{status:#}");
}

/// The text of `explain` for a worker.
#[track_caller]
pub fn explain(world: &World, name: &str) -> String {
    let ran = world.run(&["explain", name]);
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.out
}

/// Waits until `status` and `explain` both report a give-up, and systemd does nothing for the worker either.
#[track_caller]
pub fn wait_until_given_up(world: &World, name: &str) {
    wait_for_phase(world, name, "gave-up");
    world.wait_for_state(&service_of(name), "failed", SOON);
    is_explained_as_given_up(world, name);
}

/// Asserts that the first line of `explain` says that the worker was given up.
#[track_caller]
pub fn is_explained_as_given_up(world: &World, name: &str) {
    let explained = explain(world, name);
    assert!(explained.lines().next().is_some_and(|line| line.contains("given up")), "{explained}");
}

/// Asserts that a worker is down and counts as healthy: that is intended.
#[track_caller]
pub fn is_left_down(world: &World, name: &str) {
    let state = world.show(&service_of(name), "ActiveState");
    assert!(matches!(state.as_str(), "inactive" | "failed"), "{name} is {state}: {:?}", phases(world, name));
    let status = status(world, name);
    let phase = status["phase"].as_str().unwrap_or_default();
    assert!(status["healthy"] == true && matches!(phase, "stopped" | "down"), "{status:#}");
    assert_eq!(world.diagnosis(name), None, "{name}");
}

/// Asserts that a worker is held, and that `status` and `explain` name the unit that it waits for.
#[track_caller]
pub fn is_held_by(world: &World, name: &str, other: &str) {
    let status = wait_for_phase(world, name, "held");
    assert!(text(&status, "reason").contains(other), "{status:#}");
    let explained = explain(world, name);
    assert!(explained.contains(other), "{explained}");
}

/// Lets new workers crash and be healed, one after the other, for half a second each: by then the daemon has done
/// whatever else it was going to do.
#[track_caller]
pub fn pass_time(world: &World, events: &mut Events<'_>, workers: usize) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..workers {
        let name = format!("app-proof-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Not enabled, as that would make the manager reload all files.
        write(world, &name, "", LIVES);
        world.control(&["start", &name]);
        world.crash(&name);
        events.wait("healed", &name);
    }
}

/// How often the daemon has listed all units, by its metrics.
#[track_caller]
pub fn refreshes(world: &World) -> u64 {
    let mut stream = UnixStream::connect(world.runtime_dir().join("workerheal/api.sock")).expect("the daemon answers");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is text");
    let line = answer.lines().find_map(|line| line.strip_prefix("workerheal_refresh_duration_seconds_count "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("there is no count in {answer}"))
}
