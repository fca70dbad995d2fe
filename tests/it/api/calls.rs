//! Every call of the API, and the requests that it refuses.

use serde_json::{Value, json};

use crate::api::QUEUE;
use crate::api::http::{get, messages, post};
use crate::common::{DAEMON, SOON, World, service_of};

const VITE: &str = "lerd-vite-shop";

/// The entry of a unit in a list of workers.
fn worker(list: &Value, unit: &str) -> Value {
    let mut workers = list.as_array().into_iter().flatten();
    workers.find(|worker| worker["unit"] == unit).cloned().unwrap_or_default()
}

#[test]
fn every_worker_is_listed_with_its_reason() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let answer = get(&world, "/v1/workers");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    let list = answer.json();
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list:#}");
    let vite = worker(&list, VITE);
    // As in "Wed 2026-11-25 09:16:54.123456 UTC".
    let since = world.control(&["show", "--timestamp=us+utc", "--value", "-p", "ActiveEnterTimestamp", VITE]);
    let since: Vec<&str> = since.split_whitespace().collect();
    let up_since = format!("{}T{}Z", since[1], &since[2][..12]);
    assert_eq!(
        vite,
        json!({"site": "shop", "worker": "vite", "unit": VITE, "healthy": true, "phase": "up", "attempts": 0, "up_since": up_since})
    );
    let queue = worker(&list, QUEUE);
    assert_eq!(queue["phase"], "waiting", "{queue:#}");
    assert_eq!(queue["state"], "failed", "{queue:#}");
    assert_eq!(queue["healthy"], false, "{queue:#}");
    assert_eq!(queue["attempts"], 1, "{queue:#}");
    assert_eq!(queue["up_since"], Value::Null, "{queue:#}");
    assert!((1..=330_000).contains(&queue["retry_in_ms"].as_u64().unwrap_or(0)), "{queue:#}");
    assert!(queue["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{queue:#}");

    let status = get(&world, "/v1/status").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"), "{status:#}");
    assert_eq!(status["workers"], 2, "{status:#}");
    assert_eq!(status["counts"], json!({"up": 1, "waiting": 1}), "{status:#}");
    assert_eq!(status["manager"], json!({"scope": "user", "reachable": true}), "{status:#}");
    assert_eq!(status["registry"]["sites"], 2, "{status:#}");
    assert_eq!(status["pauses"], json!([]), "{status:#}");
    assert_eq!(status["pid"].to_string(), world.show(DAEMON, "MainPID"));

    // As `detect` reports it, which asks systemd.
    let unhealthy = get(&world, "/v1/unhealthy").json();
    assert_eq!(unhealthy, world.run(&["detect", "--json"]).json());
    assert_eq!(unhealthy.as_array().map(Vec::len), Some(1), "{unhealthy:#}");

    let metrics = get(&world, "/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{metrics:?}");
    for line in [
        "workerheal_workers{phase=\"up\"} 1",
        "workerheal_workers{phase=\"waiting\"} 1",
        "workerheal_attempts_total{site=\"myapp\",unit=\"lerd-queue-myapp\"} 1",
        "workerheal_heals_total{outcome=\"failed\"} 1",
        "workerheal_manager_up 1",
    ] {
        assert!(metrics.body.lines().any(|it| it == line), "{line} is not in {}", metrics.body);
    }
}

#[test]
fn a_worker_is_up_since_its_last_start() {
    let world = World::new();
    world.workers([VITE]);
    let mut events = world.start_daemon();
    let up_since = || {
        let vite = worker(&get(&world, "/v1/workers").json(), VITE);
        vite["up_since"].as_str().map(|time| humantime::parse_rfc3339(time).expect("it is a time"))
    };
    let first = up_since().expect("it is up");
    assert_eq!(up_since(), Some(first));
    world.crash(VITE);
    events.wait("healed", VITE);
    let killed = up_since().expect("it is up again");
    assert!(killed > first, "{killed:?} is no later than {first:?}");
    world.control(&["restart", VITE]);
    world.wait_until("its restart to be reported", SOON, || up_since().filter(|time| *time > killed));
}

#[test]
fn usage_of_covered_workers_is_returned_by_one_call() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let answer = get(&world, &format!("/v1/usage?units={VITE},nginx,{QUEUE}.service,,a%20b,{VITE}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let usages = answer.json();
    let units: Vec<&String> = usages.as_object().into_iter().flatten().map(|(unit, _)| unit).collect();
    assert_eq!(units, [QUEUE, VITE], "{usages:#}");
    assert_eq!(usages[VITE]["pid"].to_string(), world.show("lerd-vite-shop.service", "MainPID"));
    assert_eq!(usages[QUEUE]["pid"], Value::Null, "{usages:#}");
    assert_eq!(get(&world, "/v1/usage?units=").json(), json!({}));
}

#[test]
fn an_explanation_is_the_same_with_and_without_the_daemon() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let answer = get(&world, &format!("/v1/workers/{QUEUE}/explain"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let explained = answer.json();
    assert!(
        explained["summary"]
            .as_str()
            .is_some_and(|summary| summary.starts_with("myapp/queue has failed, and is tried again in ")),
        "{explained:#}"
    );
    assert!(
        explained["text"].as_str().is_some_and(|text| text.contains("the next attempt is due in ")),
        "{explained:#}"
    );
    let by_command = world.run(&["explain", "--json", "myapp/queue"]).json();
    for part in ["site", "worker", "unit", "state", "change"] {
        assert_eq!(by_command[0][part], explained[part], "{part}");
    }
}

#[test]
fn a_heal_is_streamed_step_by_step_and_performed_by_the_daemon() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    std::fs::remove_file(world.home().join("broken")).expect("it is there");
    let plan = post(&world, "/v1/heal", &json!({"dry_run": true})).json();
    assert_eq!(plan["unhealthy"][0]["unit"], QUEUE, "{plan:#}");

    let mut journal = world.events();
    let answer = post(&world, "/v1/heal", &json!({"targets": ["myapp/queue"], "prove": "20ms"}));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("text/event-stream"), "{answer:?}");
    let reported = messages(&answer);
    let names: Vec<&str> = reported.iter().map(|message| message.name.as_str()).collect();
    assert_eq!(names, ["plan", "", "", "", "result"], "{reported:#?}");
    assert_eq!(reported[1].data, json!({"phase": "starting", "site": "myapp", "unit": QUEUE}));
    let down = &reported[2].data["downtime_ms"];
    assert!(down.as_u64().is_some_and(|ms| ms < 60_000), "{reported:#?}");
    assert_eq!(reported[2].data, json!({"phase": "healed", "site": "myapp", "unit": QUEUE, "downtime_ms": down}));
    assert_eq!(reported[3].data, json!({"phase": "done"}));
    assert_eq!(reported[4].data["healed"][0]["unit"], QUEUE, "{reported:#?}");
    assert_eq!(reported[4].data["failed"], json!([]), "{reported:#?}");
    // It was the daemon's attempt.
    journal.wait("starting", QUEUE);
    journal.wait("healed", QUEUE);

    // Nothing is wrong any more.
    let reported = messages(&post(&world, "/v1/heal", &json!({})));
    assert_eq!(reported.len(), 3, "{reported:#?}");
    assert_eq!(reported[2].data, json!({"healed": [], "failed": []}));
}

#[test]
fn a_heal_that_fails_says_why_and_one_of_a_paused_worker_is_refused() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let reported = messages(&post(&world, "/v1/heal", &json!({"targets": [QUEUE]})));
    let phases: Vec<_> = reported.iter().filter_map(|message| message.data["phase"].as_str()).collect();
    assert_eq!(phases, ["starting", "failed", "done"], "{reported:#?}");
    let result = &reported.last().expect("there are some").data;
    assert_eq!(result["failed"][0]["worker"]["unit"], QUEUE, "{result:#}");
    assert!(result["failed"][0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{result:#}");

    assert_eq!(post(&world, "/v1/pause", &json!({"targets": ["myapp"]})).status, 200);
    let reported = messages(&post(&world, "/v1/heal", &json!({"targets": [QUEUE]})));
    let phases: Vec<_> = reported.iter().filter_map(|message| message.data["phase"].as_str()).collect();
    assert_eq!(phases, ["starting", "failed", "done"], "{reported:#?}");
    let result = &reported.last().expect("there are some").data;
    assert_eq!(result["failed"][0]["error"], "you paused the site myapp", "{result:#}");
}

#[test]
fn a_pause_holds_until_it_ends_or_is_resumed_and_survives_a_restart() {
    let world = World::with_a_waiting_worker(QUEUE, VITE);
    let paused = post(&world, "/v1/pause", &json!({"targets": ["shop"], "for": "30m"})).json();
    assert_eq!(paused["pauses"][0]["kind"], "site", "{paused:#}");
    assert_eq!(paused["pauses"][0]["name"], "shop", "{paused:#}");
    assert!((1..=1_800_000).contains(&paused["pauses"][0]["ends_in_ms"].as_u64().unwrap_or(0)), "{paused:#}");
    let vite = worker(&get(&world, "/v1/workers").json(), VITE);
    assert_eq!(vite["phase"], "up", "{vite:#}");
    assert_eq!(vite["reason"], "you paused the site shop", "{vite:#}");

    for how in ["restart", "kill"] {
        let mut events = world.events();
        if how == "restart" {
            world.control(&["restart", DAEMON]);
        } else {
            world.crash(VITE);
            events.wait("held", VITE);
            world.crash(DAEMON);
            world.wait_for_state(DAEMON, "failed", SOON);
            world.start_unit(DAEMON);
        }
        let status = get(&world, "/v1/status").json();
        assert_eq!(status["pauses"][0]["name"], "shop", "after a {how}: {status:#}");
    }
    let vite = world.wait_until("vite to be held", SOON, || {
        Some(worker(&get(&world, "/v1/workers").json(), VITE)).filter(|vite| vite["phase"] == "held")
    });
    assert_eq!((&vite["healthy"], &vite["on_purpose"]), (&json!(false), &json!(true)), "it is meant to be: {vite:#}");
    world.wait_for_state(&service_of(VITE), "failed", SOON);
    let mut events = world.events();
    let resumed = post(&world, "/v1/resume", &json!({"targets": ["shop"]})).json();
    assert_eq!(resumed, json!({"pauses": []}));
    events.wait("healed", VITE);
}

#[test]
fn units_that_are_not_covered_are_refused_by_every_call() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    // Units that are not covered, are down, and could be started.
    for unit in ["nginx", "lerd-nginx", "lerd-fp-myapp"] {
        world.write_worker(unit, "ExecStart=sh -c 'exit 1'");
        let _ = world.systemctl(&["start", &service_of(unit)]);
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    let mut events = world.start_daemon();
    let before = world.picture(&["nginx.service", "lerd-nginx.service", "lerd-fp-myapp.service"]);
    let long = "x".repeat(5000);
    for name in [
        "",
        " ",
        "/",
        ".",
        "..",
        "../lerd-queue-myapp",
        "./lerd-queue-myapp",
        "myapp/",
        "/queue",
        "myapp//queue",
        "myapp/../shop/vite",
        "nginx",
        "nginx.service",
        "lerd-nginx",
        "lerd-fp-myapp",
        "lerd-*",
        "*",
        "lerd-queue-myapp\n",
        "lerd-queue-myapp\u{0}",
        "LERD-QUEUE-MYAPP",
        "lerd-queue-myapp.timer",
        "workerheal",
        "default.target",
        &long,
    ] {
        for call in ["/v1/heal", "/v1/pause", "/v1/resume"] {
            let answer = post(&world, call, &json!({"targets": [name]}));
            assert_eq!(answer.status, 404, "{call} {name:?}: {answer:?}");
            let error = answer.error();
            assert!(error.contains("no worker") && error.len() < 1200, "{error}");
            // Not even together with a covered one.
            let answer = post(&world, call, &json!({"targets": ["myapp/queue", name]}));
            assert_eq!(answer.status, 404, "{call} {name:?}: {answer:?}");
        }
        let escaped = name.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
        let answer = get(&world, &format!("/v1/workers/{escaped}/explain"));
        assert!((400..500).contains(&answer.status), "explain {name:?}: {answer:?}");
        answer.error();
    }
    assert_eq!(get(&world, "/v1/status").json()["pauses"], json!([]), "nothing was paused");
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.picture(&["nginx.service", "lerd-nginx.service", "lerd-fp-myapp.service"]), before);

    // A unit that is no longer covered is refused.
    assert_eq!(post(&world, "/v1/heal", &json!({"targets": ["shop/vite"]})).status, 200);
    world.sites(&["{name: myapp}"]);
    world.wait_until("the site to be gone", SOON, || {
        (get(&world, "/v1/status").json()["registry"]["sites"] == 1).then_some(())
    });
    for call in ["/v1/heal", "/v1/pause"] {
        assert_eq!(post(&world, call, &json!({"targets": ["shop/vite"]})).status, 404);
        assert_eq!(post(&world, call, &json!({"targets": [VITE]})).status, 404);
    }
    assert_eq!(get(&world, &format!("/v1/workers/{VITE}/explain")).status, 404);
}

#[test]
fn invalid_requests_are_refused_with_a_sentence() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    let refused = |method: &str, path: &str, body: &str, status: u16| {
        let answer = crate::api::http::call(&world, method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body:?}: {answer:?}");
        answer.error()
    };
    refused("POST", "/v1/pause", "{", 400);
    refused("POST", "/v1/pause", "[]", 400);
    refused("POST", "/v1/pause", "{\"target\": [\"myapp\"]}", 400);
    refused("POST", "/v1/pause", "{\"targets\": \"myapp\"}", 400);
    let error = refused("POST", "/v1/pause", "{\"for\": \"ages\"}", 400);
    assert_eq!(error, "\"ages\" is not a duration; write 30m, 2h or 1d");
    refused("POST", "/v1/pause", "{\"for\": \"900000000d\"}", 400);
    refused("POST", "/v1/heal", "{\"prove\": \"soon\"}", 400);
    refused("GET", "/v1/events?since=yesterday", "", 400);
    refused("GET", "/v1/events?limit=many", "", 400);
    refused("GET", "/v1/events?sinse=1h", "", 400);
    refused("GET", "/v1/usage", "", 400);
    refused("GET", "/v1/usage?unit=a", "", 400);
    let error = refused("GET", &format!("/v1/usage?units=a{}", ",a".repeat(200)), "", 400);
    assert_eq!(error, "ask about at most 200 units at once");
    refused("POST", "/v1/usage?units=a", "", 405);
    refused("POST", "/v1/stop", "{}", 400);
    refused("POST", "/v1/stop", "{\"targets\": [\"dbus\"]}", 404);
    refused("GET", "/v1/stop", "", 405);
    refused("GET", "/v1/nothing", "", 404);
    refused("GET", "/", "", 404);
    refused("GET", "/v1/heal", "", 405);
    refused("DELETE", "/v1/workers", "", 405);
    assert_eq!(get(&world, "/v1/status").json()["pauses"], json!([]), "nothing was paused");
}
