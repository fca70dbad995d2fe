//! The tools' descriptions, and their results without a daemon. The client checks that results follow the schemas.

use serde_json::json;

use crate::common::{LIVES, LIVES_UNLESS_BROKEN, SOON, World};
use crate::mcp::assistant::{Assistant, MODES};
use crate::mcp::{QUEUE, VITE};

#[test]
fn the_tools_are_described_however_a_session_begins() {
    let world = World::new();
    for (mode, version) in MODES.into_iter().zip(["2025-11-25", "2026-07-28"]) {
        let mut assistant = Assistant::begin(&world, mode);
        assert_eq!(assistant.server["version"], version);
        assert_eq!(assistant.server["server"]["name"], "workerheal");
        assert_eq!(assistant.server["server"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(assistant.server["capabilities"]["tools"].is_object());
        let tools = assistant.list()["tools"].take();
        let instructions = assistant.server["instructions"].as_str().unwrap_or_default();
        insta::assert_snapshot!("tools", format!("{instructions}\n\n{tools:#}"));
        assistant.end();
    }
}

#[test]
fn the_readme_says_how_it_is_started() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```json\n{\"mcpServers\"").expect("the README has the set-up");
    let (setup, _) = rest.split_once("```").expect("it ends");
    let setup: serde_json::Value = serde_json::from_str(&format!("{{\"mcpServers\"{setup}")).expect("it is JSON");
    assert_eq!(setup, json!({"mcpServers": {"workerheal": {"command": "workerheal", "args": ["mcp"]}}}));
    let world = World::new();
    let tools = Assistant::of(&world).list()["tools"].take();
    for tool in tools.as_array().expect("they are a list") {
        let name = tool["name"].as_str().expect("it has a name");
        assert!(readme.contains(&format!("`{name}`")), "the README does not name {name}");
    }
}

#[test]
fn workers_health_matches_detect() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    let mut assistant = Assistant::of(&world);
    let answer = assistant.call("workers_health", json!({}));
    assert_eq!((answer.facts(), answer.text()), (&json!({"workers": []}), "[]"));

    world.crash_for_good([QUEUE]);
    // So that the journal has everything.
    world.journal(&[]);
    let detected = world.run(&["detect", "--json"]);
    let answer = assistant.call("workers_health", json!({}));
    assert_eq!(answer.facts()["workers"], detected.json());
    assert_eq!(answer.facts()["workers"][0]["unit"], QUEUE);
    assert_eq!(answer.text(), detected.out.trim_end(), "as text it is the same to the letter");
    assistant.end();
}

#[test]
fn a_worker_is_explained_and_its_log_is_shown() {
    let world = World::new();
    world.write_worker(QUEUE, "ExecStart=sh -c 'echo no database; exit 3'");
    world.write_worker("lerd-vite-myapp", LIVES);
    world.control(&["enable", "--now", "lerd-vite-myapp"]);
    let _ = world.systemctl(&["start", QUEUE]);
    world.wait_for_state("lerd-queue-myapp.service", "failed", SOON);
    // So that the journal has everything.
    world.journal(&[]);
    let mut assistant = Assistant::of(&world);

    let answer = assistant.call("worker_explain", json!({"target": "myapp/queue"}));
    // The text between depends on the time since then.
    let ends = |text: &str| (text.lines().next().map(str::to_owned), text.trim_end().lines().last().map(str::to_owned));
    assert_eq!(ends(answer.text()), ends(&world.run(&["explain", "myapp/queue"]).out));
    let facts = &answer.facts()["workers"][0];
    assert_eq!(
        (&facts["unit"], &facts["state"], &facts["last_words"]),
        (&json!(QUEUE), &json!("failed"), &json!("no database"))
    );
    let answer = assistant.call("worker_explain", json!({"target": "myapp"}));
    assert_eq!(answer.facts()["workers"].as_array().map(Vec::len), Some(2), "a site explains all of its workers");
    assert!(answer.facts()["workers"][1]["state"].is_null());

    let answer = assistant.call("worker_logs", json!({"target": QUEUE}));
    let lines = answer.facts()["lines"].as_array().expect("they are a list");
    let own: Vec<_> = lines.iter().filter(|line| line["from"] == "worker").map(|line| &line["text"]).collect();
    assert_eq!(own, ["no database"]);
    assert!(lines.iter().any(|line| line["from"] == "service-manager"), "{lines:#?}");
    assert!(lines.iter().all(|line| line["time"].as_str().is_some_and(|time| time.ends_with('Z'))), "{lines:#?}");
    assert!(answer.text().contains("Z worker: no database\n"), "{}", answer.text());
    let answer = assistant.call("worker_logs", json!({"target": QUEUE, "lines": 2}));
    assert_eq!(answer.facts()["lines"].as_array().map(Vec::as_slice), Some(&lines[lines.len() - 2..]));
    assistant.end();
}

#[test]
fn invalid_calls_are_explained() {
    let world = World::new();
    world.workers([QUEUE, "lerd-vite-myapp"]);
    world.write_unit("private.service", "[Service]\nExecStart=sleep infinity\n");
    world.start_unit("private.service");
    let mut assistant = Assistant::of(&world);
    let unknown = |name: &str, hint: &str| format!("no worker named {name:?}; {hint}");
    for tool in ["workers_heal", "worker_explain", "worker_logs", "workers_stop"] {
        let answer = assistant.call(tool, json!({"target": "myap/queue"}));
        assert_eq!(answer.complaint(), unknown("myap/queue", "did you mean \"myapp/queue\"?"), "{tool}");
        let answer = assistant.call(tool, json!({"target": "private"}));
        assert!(answer.complaint().starts_with("no worker named \"private\""), "{tool}");
        let answer = assistant.call(tool, json!({"target": ""}));
        assert!(answer.complaint().starts_with("no worker named \"\""), "{tool}: empty is not everything");
    }
    for (tool, arguments, complaint) in [
        ("workers_stop", json!({}), "`target` is missing: name a unit, SITE/WORKER or a site"),
        ("workers_heal", json!({"dry_run": "no"}), "`dry_run` has to be true or false, not \"no\""),
        ("worker_logs", json!({}), "`target` is missing: name a unit, SITE/WORKER or a site"),
        (
            "worker_logs",
            json!({"target": "myapp"}),
            "\"myapp\" names 2 workers, and this tool reads one: lerd-queue-myapp, lerd-vite-myapp",
        ),
        ("worker_logs", json!({"target": QUEUE, "lines": 0}), "`lines` has to be a whole number from 1 to 500, not 0"),
        ("workers_health", json!({"site": "myapp"}), "this tool has no argument \"site\"; it takes none"),
        (
            "workers_pause",
            json!({"duration": "a while"}),
            "`duration` has to be a duration: a number with its unit, such as \"30m\", \"2h\" or \"1h 30m\", not \"a while\"",
        ),
    ] {
        assert_eq!(assistant.call(tool, arguments.clone()).complaint(), complaint, "{tool} {arguments}");
    }
    let answer = assistant.call("workers_restart", json!({}));
    assert_eq!(answer.error, "there is no tool \"workers_restart\"", "that is no call of a tool");
    world.config("refresh: soon\n");
    let answer = assistant.call("workers_health", json!({}));
    assert!(answer.complaint().contains("config.yaml:1:10: "), "{}", answer.complaint());
    assistant.end();
}

#[test]
fn a_heal_reports_skipped_and_failed_workers() {
    let world = World::new();
    world.write_file("broken", "");
    world.write_worker(QUEUE, LIVES_UNLESS_BROKEN);
    world.write_worker(VITE, &format!("{LIVES}\nWorkingDirectory=%h/gone"));
    world.write_file("gone/here", "");
    let _ = world.systemctl(&["enable", "--now", QUEUE, VITE]);
    std::fs::remove_dir_all(world.home().join("gone")).expect("it is there");
    world.crash_for_good([VITE]);
    let mut assistant = Assistant::of(&world);
    let answer = assistant.call("workers_heal", json!({}));
    let facts = answer.facts();
    assert_eq!(facts["summary"], "Healed 0 worker(s), 1 failed.");
    assert_eq!(facts["healed"], json!([]));
    assert_eq!(
        (&facts["failed"][0]["worker"]["unit"], facts["failed"].as_array().map(Vec::len)),
        (&json!(QUEUE), Some(1))
    );
    assert_eq!(facts["left_alone"][0]["worker"]["unit"], VITE);
    let lines: Vec<&str> = answer.text().lines().collect();
    assert_eq!(lines[0], "Healed 0 worker(s), 1 failed.");
    assert!(lines[1].starts_with("lerd-queue-myapp failed: "), "{lines:?}");
    assert!(lines[2].starts_with("lerd-vite-shop is not healed: its working directory "), "{lines:?}");
    assistant.end();
}
