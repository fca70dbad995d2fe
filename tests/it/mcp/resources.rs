//! Attachments of a conversation: explanations and logs of workers, and a prompt.

use serde_json::json;

use crate::common::World;
use crate::mcp::assistant::{Assistant, MODES};
use crate::mcp::{QUEUE, VITE};

#[test]
fn each_worker_is_a_resource_with_and_without_a_daemon() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {backoff: {initial: 5m}}\nalso_watch: [\"celery@*.service\"]\n");
    world.worker(QUEUE, "ExecStart=sh -c 'echo out of memory; exit 3'");
    world.write_unit("celery@.service", "[Service]\nExecStart=sleep infinity\n");
    world.control(&["start", "celery@mail"]);
    world.wait_for_state("lerd-queue-myapp.service", "failed", crate::common::SOON);
    for mode in MODES {
        let mut assistant = Assistant::begin(&world, mode);
        assert!(assistant.server["capabilities"]["resources"].is_object(), "{}", assistant.server);
        let listed = assistant.ask(json!({ "do": "resources" })).result;
        let uris: Vec<_> = listed["resources"].as_array().expect("a list").iter().map(|it| it["uri"].clone()).collect();
        let of_queue = ["explanation", "log"].map(|part| format!("workerheal://worker/{QUEUE}/{part}"));
        for uri in of_queue.iter().map(String::as_str).chain(["workerheal://worker/celery%40mail/log"]) {
            assert!(uris.contains(&json!(uri)), "{uri}: {uris:?}");
        }
        assert_eq!(uris.len(), 4, "{uris:?}");
        assert_eq!(listed["resources"][2]["title"], "Why myapp/queue is as it is", "{listed:#}");
        assert_eq!(listed["resourceTemplates"][1]["uriTemplate"], "workerheal://worker/{unit}/log");
        for (uri, says) in of_queue.iter().zip(["myapp/queue has failed", "worker: out of memory"]) {
            let read = assistant.ask(json!({ "do": "read", "uri": uri })).result;
            let content = &read["contents"][0];
            assert_eq!((&content["uri"], &content["mimeType"]), (&json!(uri), &json!("text/plain")));
            assert!(content["text"].as_str().is_some_and(|text| text.contains(says)), "{uri}: {read:#}");
        }
        for (uri, why) in [
            ("workerheal://worker/lerd-quue-myapp/log", "no worker named"),
            ("workerheal://worker/dbus/log", "no worker named"),
            ("file:///etc/passwd", "there is no resource"),
        ] {
            let refused = assistant.ask(json!({ "do": "read", "uri": uri })).error;
            assert!(refused.as_str().is_some_and(|error| error.contains(why)), "{uri}: {refused}");
        }
        assistant.end();
        if mode == MODES[0] {
            // The other session uses the daemon.
            world.start_daemon().wait("scheduled", QUEUE);
        }
    }
}

#[test]
fn a_prompt_asks_for_unhealthy_workers() {
    let world = World::new();
    world.workers([VITE]);
    let mut assistant = Assistant::of(&world);
    let listed = assistant.ask(json!({ "do": "prompts" })).result;
    let prompt = &listed["prompts"][0];
    assert_eq!(prompt["title"], "What is wrong with my workers?");
    let of = |arguments| json!({ "do": "prompt", "name": prompt["name"], "arguments": arguments });
    for (arguments, begins) in [
        (json!({}), "What is wrong with my workers? "),
        (json!({ "target": "shop" }), "What is wrong with my workers of shop? "),
    ] {
        let asked = assistant.ask(of(arguments)).result;
        let message = &asked["messages"][0];
        assert_eq!(message["role"], "user");
        let text = message["content"]["text"].as_str().expect("it is a text");
        assert!(text.starts_with(begins), "{text}");
        // The named tools exist.
        let tools = assistant.list()["tools"].take();
        let tools = tools.as_array().expect("a list");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.contains('_')) {
            assert!(tools.iter().any(|tool| tool["name"] == word), "{word} is no tool");
        }
    }
    let refused = assistant.ask(json!({ "do": "prompt", "name": "heal_all", "arguments": {} })).error;
    assert!(refused.as_str().is_some_and(|error| error.contains("there is no prompt")), "{refused}");
    assistant.end();
}
