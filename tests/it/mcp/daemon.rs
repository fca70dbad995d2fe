//! With a daemon, without one, and when one starts or ends during a session.

use serde_json::json;

use crate::common::{DAEMON, World};
use crate::mcp::assistant::Assistant;
use crate::mcp::{QUEUE, VITE};

#[test]
fn pauses_need_the_daemon_and_say_so() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut assistant = Assistant::of(&world);
    for tool in ["workers_list", "workers_events", "workers_pause", "workers_resume"] {
        let answer = assistant.call(tool, json!({}));
        let complaint = answer.complaint();
        assert!(complaint.starts_with("no daemon answers at /run/user/0/workerheal/api.sock"), "{complaint}");
        assert!(complaint.ends_with("start it with `systemctl --user start workerheal`"), "{complaint}");
    }
    assistant.end();
}

#[test]
fn a_paused_worker_stays_down_until_it_is_resumed() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    let mut events = world.start_daemon();
    let mut assistant = Assistant::of(&world);
    let answer = assistant.call("workers_pause", json!({"target": "myapp", "duration": "30m"}));
    let pause = &answer.facts()["pauses"][0];
    assert_eq!((&pause["kind"], &pause["name"]), (&json!("site"), &json!("myapp")));
    assert!(pause["ends_in_ms"].as_u64().is_some_and(|left| (1_790_000..=1_800_000).contains(&left)), "{pause}");
    assert_eq!(answer.text(), "The site myapp is paused, for another 30m.");
    let answer = assistant.call("workers_pause", json!({"target": VITE}));
    let lines: Vec<&str> = answer.text().lines().collect();
    assert_eq!(lines[1], "lerd-vite-shop is paused, until it is resumed.", "all pauses are answered");

    world.crash(QUEUE);
    events.wait("held", QUEUE);
    assert_eq!(assistant.call("workers_health", json!({})).facts()["workers"], json!([]), "it is down on purpose");
    let answer = assistant.call("workers_heal", json!({"unit": QUEUE}));
    assert_eq!(answer.facts()["summary"], "Healed 0 worker(s), 1 failed.");
    assert!(answer.facts()["failed"][0]["error"].as_str().is_some_and(|why| why.contains("paused")), "{answer:?}");
    let answer = assistant.call("worker_explain", json!({"target": QUEUE}));
    assert!(answer.text().contains("paused"), "{}", answer.text());

    let answer = assistant.call("workers_resume", json!({"target": "myapp"}));
    assert_eq!(answer.text(), "lerd-vite-shop is paused, until it is resumed.", "what is still in force is answered");
    events.wait("healed", QUEUE);
    let answer = assistant.call("workers_resume", json!({}));
    assert_eq!((answer.facts(), answer.text()), (&json!({"pauses": []}), "Nothing is paused."));
    let answer = assistant.call("workers_pause", json!({"target": "myapp/quue"}));
    assert!(answer.complaint().ends_with("did you mean \"myapp/queue\"?"), "{}", answer.complaint());

    let answer = assistant.call("worker_logs", json!({"target": "myapp/queue"}));
    assert!(answer.text().contains("workerheal: lerd-queue-myapp is up again and has stayed up"), "{}", answer.text());
    assistant.end();
}

#[test]
fn workers_and_their_events_are_listed_and_workers_can_be_stopped() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    let mut events = world.start_daemon();
    let mut assistant = Assistant::of(&world);
    let answer = assistant.call("workers_list", json!({}));
    assert_eq!(answer.facts()["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer.text(), "myapp/queue: up\nshop/vite: up");
    let answer = assistant.call("workers_events", json!({}));
    assert_eq!((answer.facts(), answer.text()), (&json!({"events": []}), "No events."));

    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let answer = assistant.call("workers_events", json!({"target": "myapp/queue", "since": "1h"}));
    let happened = answer.facts()["events"].as_array().expect("they are a list");
    let phases: Vec<_> = happened.iter().map(|event| &event["phase"]).collect();
    assert_eq!(phases, ["detected", "starting", "healed"]);
    assert!(happened[2]["downtime_ms"].is_u64(), "{happened:?}");
    assert!(answer.text().ends_with("ms") && answer.text().contains("healed: lerd-queue-myapp is up again"));
    let answer = assistant.call("workers_events", json!({"limit": 1}));
    assert_eq!((&answer.facts()["events"][0]["phase"], &answer.facts()["left_out"]), (&json!("healed"), &json!(2)));
    let answer = assistant.call("workers_events", json!({"target": "shop"}));
    assert_eq!(answer.facts()["events"], json!([]));

    let answer = assistant.call("workers_stop", json!({"target": "shop/vite"}));
    assert_eq!(answer.text(), "lerd-vite-shop is stopped, and stays so until it is started.");
    assert_eq!((&answer.facts()["stopped"][0]["unit"], &answer.facts()["failed"]), (&json!(VITE), &json!([])));
    let answer = assistant.call("workers_list", json!({"target": "shop"}));
    assert_eq!(answer.facts()["workers"][0]["phase"], "stopped");
    assert!(answer.text().starts_with("shop/vite: stopped; "), "{}", answer.text());
    let answer = assistant.call("workers_heal", json!({"target": "shop/vite"}));
    assert_eq!(answer.facts()["summary"], "Healed 1 worker(s).");
    assistant.end();
}

#[test]
fn a_session_survives_the_start_and_end_of_a_daemon() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut assistant = Assistant::of(&world);
    for _ in 0..2 {
        world.crash_for_good([QUEUE]);
        let answer = assistant.call("workers_heal", json!({}));
        assert_eq!(answer.facts()["summary"], "Healed 1 worker(s).", "without one");
        world.start_daemon();
        let answer = assistant.call("workers_pause", json!({"duration": "1h"}));
        assert_eq!(answer.text(), "Everything is paused, for another 1h.");
        let answer = assistant.call("workers_resume", json!({}));
        assert_eq!(answer.text(), "Nothing is paused.");
        world.stop_unit(DAEMON);
        assert!(assistant.call("workers_pause", json!({})).complaint().starts_with("no daemon answers at "));
        assert!(assistant.call("worker_explain", json!({"target": QUEUE})).text().contains("myapp/queue"));
    }
    assistant.end();
}
