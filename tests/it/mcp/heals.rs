//! Heals by an assistant: step by step, concurrent, and cancelled.

use serde_json::json;

use crate::common::{NEVER_GETS_READY, SOON, World};
use crate::mcp::assistant::{Answer, Assistant, MODES};
use crate::mcp::{QUEUE, VITE};

/// The steps of a heal.
fn steps(answer: &Answer) -> Vec<(f64, f64, &str)> {
    // The downtime differs each time.
    let steps = answer.progress.iter();
    steps.map(|(number, of, message)| (*number, *of, message.split("; it was down").next().unwrap_or(""))).collect()
}

/// Two healthy workers, and optionally a daemon that heals only on request.
fn world(with_daemon: bool) -> World {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    if with_daemon {
        world.config("refresh: 100ms\nheal: {states: [], stable_after: 50ms}\n");
        world.start_daemon();
    }
    world
}

#[test]
fn each_step_is_reported_in_order() {
    for with_daemon in [false, true] {
        let world = world(with_daemon);
        for mode in MODES {
            world.crash_for_good([QUEUE, VITE]);
            let mut assistant = Assistant::begin(&world, mode);
            let answer = assistant.call("workers_heal", json!({"target": "myapp/queue"}));
            assert_eq!(answer.facts()["summary"], "Healed 1 worker(s).", "{answer:?}");
            assert_eq!(answer.facts()["healed"][0]["unit"], QUEUE);
            assert_eq!(answer.facts()["failed"], json!([]));
            assert_eq!(answer.text(), "Healed 1 worker(s).\nlerd-queue-myapp is healed.");
            assert_eq!(
                steps(&answer),
                [
                    (1.0, 2.0, "lerd-queue-myapp is being started"),
                    (2.0, 2.0, "lerd-queue-myapp is up again and has stayed up")
                ]
            );
            assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "active");
            assert_eq!(world.show("lerd-vite-shop.service", "ActiveState"), "failed", "only what was named is healed");
            world.start_unit("lerd-vite-shop.service");
            assistant.end();
        }
    }
}

#[test]
fn a_heal_without_targets_heals_everything() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    world.crash_for_good([QUEUE, VITE]);
    let mut assistant = Assistant::of(&world);
    let answer = assistant.call("workers_heal", json!({}));
    assert_eq!(answer.facts()["summary"], "Healed 2 worker(s).");
    let numbers: Vec<(f64, f64)> = answer.progress.iter().map(|(number, of, _)| (*number, *of)).collect();
    assert_eq!(numbers, [(1.0, 4.0), (2.0, 4.0), (3.0, 4.0), (4.0, 4.0)]);
    let again = assistant.call("workers_heal", json!({}));
    assert_eq!(again.facts(), &json!({"summary": "No unhealthy workers.", "healed": [], "failed": []}));
    assert_eq!(steps(&again), []);
    assistant.end();
}

#[test]
fn a_dry_run_says_what_would_be_healed_and_starts_nothing() {
    for with_daemon in [false, true] {
        let world = world(with_daemon);
        let mut assistant = Assistant::of(&world);
        let answer = assistant.call("workers_heal", json!({"dry_run": true}));
        assert_eq!(answer.text(), "No unhealthy workers.");
        world.crash_for_good([QUEUE]);
        let answer = assistant.call("workers_heal", json!({"target": QUEUE, "dry_run": true}));
        assert_eq!(answer.facts()["summary"], "Would heal 1 worker.", "{answer:?}");
        assert_eq!(answer.facts()["would_heal"][0]["unit"], QUEUE);
        assert_eq!(answer.text(), "Would heal 1 worker.\nlerd-queue-myapp would be healed (failed).");
        assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "failed");
        assistant.end();
    }
}

#[test]
fn concurrent_heals_report_separately() {
    for with_daemon in [false, true] {
        let world = world(with_daemon);
        world.crash_for_good([QUEUE, VITE]);
        let mut assistant = Assistant::of(&world);
        let calls = [QUEUE, VITE].map(|unit| (unit, assistant.begin_call("workers_heal", json!({"target": unit}))));
        let health = assistant.call("workers_health", json!({}));
        assert_eq!(health.result["isError"], false, "others are answered meanwhile");
        for (unit, call) in calls {
            let answer = assistant.wait(call);
            assert_eq!(answer.facts()["healed"][0]["unit"], unit, "{answer:?}");
            assert_eq!(answer.progress.len(), 2, "{answer:?}");
            assert!(answer.progress.iter().all(|(.., message)| message.starts_with(unit)), "{answer:?}");
        }
        assistant.end();
    }
}

#[test]
fn a_cancelled_heal_is_no_longer_reported() {
    for with_daemon in [false, true] {
        let world = World::new();
        world.write_worker(QUEUE, NEVER_GETS_READY);
        let _ = world.systemctl(&["start", "--no-block", QUEUE]);
        world.wait_until("it to have begun", SOON, || world.home().join("stubborn").exists().then_some(()));
        world.crash_for_good([QUEUE]);
        if with_daemon {
            world.config("refresh: 100ms\nheal: {states: [], stable_after: 50ms}\n");
            world.start_daemon();
        }
        let mut assistant = Assistant::of(&world);
        let call = assistant.begin_call("workers_heal", json!({"unit": QUEUE}));
        assistant.wait_for_step(call, "is being started");
        assistant.cancel(call);
        assert!(assistant.wait(call).cancelled);
        // Its worker now dies, which would be a step.
        world.wait_for_state("lerd-queue-myapp.service", "activating", SOON);
        world.crash_for_good([QUEUE]);
        let answer = assistant.call("workers_health", json!({}));
        assert_eq!(answer.facts()["workers"][0]["unit"], QUEUE, "the session goes on");
        assert_eq!(assistant.rest(call), [&json!(null); 0]);
        assistant.end();
    }
}
