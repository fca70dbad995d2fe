//! The saved state: what the daemon remembers across restarts, and the file.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::common::{DAEMON, LIVES, LIVES_UNLESS_BROKEN, SOON, World, number, service_of, text};
use serde_json::Value;

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";
const STATE: &str = ".local/state/workerheal/state.json";

/// The current content of the file.
fn state(world: &World) -> Option<Value> {
    serde_json::from_slice(&fs::read(world.home().join(STATE)).ok()?).ok()
}

/// A worker that cannot be healed because of the file `broken`, and a healthy one.
fn world_with_broken_worker(heal: &str) -> World {
    let world = World::new();
    world.config(&format!("refresh: 100ms\nheal: {{stable_after: 50ms, {heal}}}\n"));
    world.workers([OTHER]);
    world.write_file("broken", "");
    world.worker(QUEUE, LIVES_UNLESS_BROKEN);
    world.wait_for_state(&service_of(QUEUE), "failed", SOON);
    world
}

/// Such a world, in which the daemon has given up the worker; nothing else prevents a start.
fn world_with_given_up_worker() -> World {
    let world = world_with_broken_worker("give_up_after: 6, backoff: {initial: 20ms, factor: 1}");
    world.start_daemon().wait("gave-up", QUEUE);
    fs::remove_file(world.home().join("broken")).unwrap();
    world
}

/// A daemon that is killed right after each of its attempts, as by a shortage of memory, still gives up in the end.
#[test]
fn a_daemon_that_is_killed_after_each_attempt_gives_up() {
    const KILLS: usize = 10;
    let world = World::new();
    world.config("refresh: 100ms\nheal: {give_up_after: 3, backoff: {initial: 200ms, factor: 1, jitter: 0}}\n");
    world.write_worker(QUEUE, "ExecStart=sh -c 'echo >> %h/runs; exit 3'");
    world.enable(&service_of(QUEUE));
    let _ = world.systemctl(&["start", QUEUE]);
    let runs = || fs::read(world.home().join("runs")).map_or(0, |runs| runs.len());
    let is_given_up = || state(&world).is_some_and(|state| state["workers"][QUEUE]["standing"]["given-up"].is_object());
    world.start_unit(DAEMON);
    for _ in 0..KILLS {
        let before = runs();
        let has_run = world.wait_until("another attempt, or the end", SOON, || {
            (runs() > before).then_some(true).or(is_given_up().then_some(false))
        });
        if !has_run {
            return;
        }
        world.crash(DAEMON);
        world.wait_for_state(DAEMON, "failed", SOON);
        world.control(&["reset-failed", DAEMON]);
        world.start_unit(DAEMON);
    }
    panic!("{KILLS} attempts were made, and each was forgotten: {:#?}", state(&world));
}

#[test]
fn attempts_survive_a_restart_and_a_sudden_death_of_the_daemon() {
    for how in ["restart", "kill"] {
        let world = world_with_broken_worker("backoff: {initial: 1s, factor: 1, jitter: 0}");
        let mut events = world.start_daemon();
        for attempt in 1..=2 {
            assert_eq!(number(&events.wait("starting", QUEUE), "WORKERHEAL_ATTEMPT"), attempt);
        }
        assert_eq!(number(&events.wait("scheduled", QUEUE), "WORKERHEAL_ATTEMPT"), 3);
        if how == "kill" {
            world.wait_until("the attempts to be written down", SOON, || {
                let worker = state(&world)?["workers"][QUEUE].clone();
                (worker["attempts"] == 2 && worker["standing"] == "open").then_some(())
            });
            world.crash(DAEMON);
            world.wait_for_state(DAEMON, "failed", SOON);
            world.start_unit(DAEMON);
        } else {
            world.control(&["restart", DAEMON]);
        }
        // The wait continues, too.
        let next = events.wait_any(&["scheduled", "starting"], QUEUE);
        assert_eq!(next["WORKERHEAL_PHASE"], "scheduled", "after a {how}");
        let wait = number(&next, "WORKERHEAL_RETRY_IN_MS");
        assert!((1..=1000).contains(&wait), "{wait} ms after a {how}");
        assert_eq!(number(&events.wait("starting", QUEUE), "WORKERHEAL_ATTEMPT"), 3, "after a {how}");
    }
}

#[test]
fn a_give_up_survives_a_restart() {
    let world = world_with_given_up_worker();
    let (untouched, reported) = (world.picture(&[QUEUE]), world.reported(QUEUE));
    let mut events = world.events();
    for _ in 0..2 {
        world.control(&["restart", DAEMON]);
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE]), untouched);
        assert_eq!(world.reported(QUEUE), reported);
    }
    let explained = world.run(&["explain", QUEUE]);
    assert!(explained.out.contains("was given up: 6 attempts failed"), "{explained:?}");

    // It is healed on request, and then monitored as before.
    let ran = world.run(&["heal", QUEUE, "--prove", "50ms"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(number(&events.wait("starting", QUEUE), "WORKERHEAL_ATTEMPT"), 1);
    events.wait("healed", QUEUE);
    world.crash(QUEUE);
    assert_eq!(number(&events.wait("starting", QUEUE), "WORKERHEAL_ATTEMPT"), 2);
    events.wait("healed", QUEUE);
}

#[test]
fn an_edit_while_the_daemon_was_down_ends_a_give_up() {
    let world = world_with_given_up_worker();
    world.stop_unit(DAEMON);
    world.write_worker(QUEUE, LIVES);
    world.daemon_reload();
    let mut events = world.start_daemon();
    assert_eq!(number(&events.wait("starting", QUEUE), "WORKERHEAL_ATTEMPT"), 1);
    events.wait("healed", QUEUE);
}

#[test]
fn a_stop_before_an_attempt_survives_a_restart() {
    let world = world_with_broken_worker("backoff: {initial: 500ms, factor: 1, jitter: 0}");
    let mut events = world.start_daemon();
    events.wait("scheduled", QUEUE);
    // systemd has nothing to do for it, and the journal has no record of it: only the daemon knows.
    world.stop_unit(&service_of(QUEUE));
    let next = events.wait_any(&["stopped", "starting"], QUEUE);
    assert_eq!(next["WORKERHEAL_PHASE"], "stopped");
    fs::remove_file(world.home().join("broken")).unwrap();
    let (untouched, reported) = (world.picture(&[QUEUE]), world.reported(QUEUE));
    for _ in 0..2 {
        world.control(&["restart", DAEMON]);
        // For longer than it would have waited.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(700) {
            events.prove_alive_with(&world, OTHER);
        }
        assert_eq!(world.picture(&[QUEUE]), untouched);
        assert_eq!(world.reported(QUEUE), reported);
    }
    world.control(&["start", QUEUE]);
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
}

#[test]
fn the_file_is_private_and_written_only_on_changes() {
    // Two workers with saved state: one given up, one that waits.
    let world = world_with_given_up_worker();
    let waiting = "lerd-waiting-shop";
    world.write_file("broken", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut events = world.events();
    world.config(&format!(
        "refresh: 100ms\nheal: {{stable_after: 50ms, backoff: {{initial: 1h, max: 1h}}}}\n\
         probes: {{web: {{tcp: \"{address}\"}}}}\n"
    ));
    events.wait_for_log(&["new configuration"]);
    world.worker(waiting, LIVES_UNLESS_BROKEN);
    events.wait("scheduled", waiting);
    world.workers(["lerd-web-shop"]);
    world.wait_until("both to be written down", SOON, || {
        let workers = state(&world)?["workers"].clone();
        (workers[QUEUE]["standing"].get("given-up").is_some() && workers[waiting]["at_failure"].is_object())
            .then_some(())
    });
    let path = world.home().join(STATE);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.clone()), 0o600);
    assert_eq!(mode(path.parent().unwrap().to_owned()), 0o700);

    let seen = || {
        let data = fs::metadata(&path).unwrap();
        (data.ino(), data.mtime(), data.mtime_nsec())
    };
    // Each refresh inspects the healthy one. A last change is written with a delay, which is longer on a busy machine.
    listener.set_nonblocking(true).unwrap();
    let refreshes =
        |count| (0..count).for_each(|_| drop(world.wait_until("a refresh", SOON, || listener.accept().ok())));
    let mut before = seen();
    world.wait_until("the last change to be written", SOON, || {
        refreshes(15);
        let last = std::mem::replace(&mut before, seen());
        (before == last).then_some(())
    });
    refreshes(15);
    assert_eq!(seen(), before);
    // A change of the state.
    world.crash(OTHER);
    events.wait("healed", OTHER);
    world.wait_until("the file to be written", SOON, || (seen() != before).then_some(()));
    assert_eq!(mode(path.clone()), 0o600);
}

#[test]
fn an_unusable_file_is_set_aside_and_the_daemon_continues() {
    let pauses = r#""pauses": [{"target": "everything"}]"#;
    for (content, why) in [
        ("{\"format\": \"workerheal-st".to_owned(), "no state of workerheal"),
        (format!(r#"{{"format": "something-else", "version": 1, {pauses}}}"#), "no state of workerheal"),
        (format!(r#"{{"format": "workerheal-state", "version": 1, "paused": true, {pauses}}}"#), "paused"),
    ] {
        let world = World::new();
        world.workers([QUEUE]);
        world.crash_for_good([QUEUE]);
        world.write_file(STATE, &content);
        let mut events = world.start_daemon();
        let path = world.path(STATE);
        let warning = events.wait_for_log(&[&path, why, &format!("{path}.bad")]);
        assert_eq!(warning["PRIORITY"], "4", "{warning:#}");
        world.wait_for_healed(QUEUE);
        assert_eq!(fs::read_to_string(format!("{path}.bad")).unwrap(), content);
        // From now on, the new state is written in its place.
        world.wait_until("a new file", SOON, || (state(&world)?["workers"][QUEUE]["attempts"] == 1).then_some(()));
        assert_eq!(fs::read_to_string(format!("{path}.bad")).unwrap(), content);
    }
}

/// Writes a file with this pause.
fn pause(world: &World, target: &str) {
    world.write_file(STATE, &format!(r#"{{"format": "workerheal-state", "version": 1, "pauses": [{target}]}}"#));
}

#[test]
fn a_saved_pause_holds_for_the_daemon_and_for_heals_by_hand() {
    for (target, what) in
        [(r#"{"target": {"site": "myapp"}}"#, "the site myapp"), (r#"{"target": {"unit": "lerd-queue-myapp"}}"#, "it")]
    {
        let world = World::new();
        world.workers([QUEUE, OTHER]);
        pause(&world, target);
        world.crash_for_good([QUEUE]);
        let untouched = world.picture(&[QUEUE]);
        let ran = world.run(&["heal"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.out.starts_with(&format!("Healing is paused (myapp/queue: you paused {what})")), "{ran:?}");
        assert!(ran.out.ends_with("\nHealed 0 worker(s).\n"), "{ran:?}");
        let ran = world.run(&["heal", QUEUE]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.out.contains(&format!("you paused {what}")), "{ran:?}");

        let mut events = world.start_daemon();
        let held = events.wait("held", QUEUE);
        assert!(text(&held, "WORKERHEAL_REASON").contains(&format!("you paused {what}")), "{held:#}");
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE]), untouched);
        // It stays paused when the file has been rewritten, and across a restart.
        world.wait_until("a new file", SOON, || state(&world)?["workers"][OTHER].is_object().then_some(()));
        world.control(&["restart", DAEMON]);
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE]), untouched);
        assert_eq!(world.run(&["heal", QUEUE]).status, 1);
        assert_eq!(world.picture(&[QUEUE]), untouched);
        assert!(!world.reported(QUEUE).contains(&"starting".to_owned()), "{:?}", world.reported(QUEUE));
    }
}

#[test]
fn a_saved_pause_of_everything_ends_in_time() {
    let world = World::new();
    world.workers([QUEUE]);
    world.crash_for_good([QUEUE]);
    let soon = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() + 60_000;
    // It ends by the wall clock, or after the remaining time, whichever is earlier.
    pause(&world, &format!(r#"{{"target": "everything", "until": {soon}, "left": 2000}}"#));
    let mut events = world.start_daemon();
    let held = events.wait_any(&["held", "starting"], QUEUE);
    assert_eq!(held["WORKERHEAL_PHASE"], "held");
    assert!(text(&held, "WORKERHEAL_REASON").contains("you paused everything"), "{held:#}");
    let left = number(&held, "WORKERHEAL_RETRY_IN_MS");
    assert!((1..=2000).contains(&left), "{left} ms");
    events.wait("healed", QUEUE);
    world.wait_until("the pause to be forgotten", SOON, || {
        state(&world)?["pauses"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn events_of_before_a_restart_are_known_after_it() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let known = |args: &[&str]| -> Vec<Value> {
        let ran = world.run(&[&["events", "--json"], args].concat());
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = world.wait_until("the last event", SOON, || Some(known(&[])).filter(|known| known.len() == 3));
    world.control(&["restart", DAEMON]);
    let after = world.wait_until("its history", SOON, || Some(known(&[])).filter(|known| !known.is_empty()));
    assert_eq!(after, before, "the same times, numbers and reasons");
    let figures = |world: &World| {
        let status = world.run(&["status"]).out;
        status.lines().nth(1).map(str::to_owned).unwrap()
    };
    assert!(figures(&world).contains(": 1 failure, 1 healed, median downtime "), "{}", figures(&world));
    // Those of the new daemon come after them.
    let mut events = world.events();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    world.wait_until("all events", SOON, || (known(&[]).len() >= 6).then_some(()));
    assert_eq!(known(&[])[..3], before);
    assert!(figures(&world).contains(": 2 failures, 2 healed"), "{}", figures(&world));
}
