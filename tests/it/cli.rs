//! The command line: output, exit statuses, and no side effects.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{FAILS_WHEN_STOPPED, NEVER_GETS_READY, Ran, SOON, World, now, service_of};
use serde_json::{Value, json};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";
const BROKEN: &str = "lerd-broken-shop";
const RED: &str = "\u{1b}[31m";

/// A queue of myapp that was killed after it printed `boom`, and a worker of shop that cannot be healed.
fn world_with_two_failed_workers() -> World {
    let world = World::new();
    world.worker(QUEUE, "ExecStart=sh -c 'echo fine; printf \"\\033[31mboom\\033[0m\\n\" >&2; exec sleep infinity'");
    world.wait_for_journal("its last words", SOON, |entry| {
        entry["MESSAGE"].as_str().is_some_and(|m| m.contains("boom"))
    });
    world.write_worker(BROKEN, "ExecStart=sh -c 'echo out of luck >&2; sleep 0.2; exit 1'");
    world.control(&["enable", "--now", BROKEN]);
    world.crash_for_good([QUEUE]);
    world.wait_for_state(&service_of(BROKEN), "failed", SOON);
    world
}

fn queue() -> Value {
    json!({"site": "myapp", "worker": "queue", "unit": QUEUE, "state": "failed", "last_error": "boom"})
}

#[test]
fn detect_lists_unhealthy_workers_with_their_last_errors() {
    let world = world_with_two_failed_workers();
    let untouched = world.picture(&[QUEUE, BROKEN]);
    let broken =
        json!({"site": "shop", "worker": "broken", "unit": BROKEN, "state": "failed", "last_error": "out of luck"});

    let ran = world.run(&["detect"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(
        ran.out,
        "WORKER       STATE   LAST LOG LINE\nmyapp/queue  failed  boom\nshop/broken  failed  out of luck\n"
    );

    let ran = world.run(&["detect", "--json"]);
    assert_eq!(ran.status, 0);
    assert_eq!(ran.json(), json!([queue(), broken]));
    let ran = world.run(&["detect", "--json", "--no-errors", "--exit-code"]);
    assert_eq!(ran.status, 1);
    assert_eq!(ran.json()[0], json!({"site": "myapp", "worker": "queue", "unit": QUEUE, "state": "failed"}));
    assert_eq!(world.picture(&[QUEUE, BROKEN]), untouched);
}

#[test]
fn a_bus_that_starts_on_demand_is_waited_for() {
    let world = World::new();
    world.workers([QUEUE]);
    let elsewhere = world.hide_private_socket();
    for _ in 0..3 {
        // Its socket stays, and the first connection starts it. The manager joins it a little later.
        world.control(&["stop", "dbus.service"]);
        let ran = Ran::of(world.command_line(&["detect"]).env("XDG_RUNTIME_DIR", elsewhere));
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

#[test]
fn many_failed_workers_are_found() {
    let world = World::new();
    // More responses than a connection buffers for a slow reader.
    let units: Vec<String> = (0..20).map(|n| format!("lerd-w{n}-myapp")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &units {
        world.write_worker(unit, "ExecStart=false");
    }
    world.control(&[&["start"], &names[..]].concat());
    for unit in &units {
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    let begin = Instant::now();
    let ran = world.run(&["detect", "--json", "--no-errors"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.json().as_array().unwrap().len(), 20);
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?}", begin.elapsed());
}

#[test]
fn detect_reports_that_no_worker_is_unhealthy() {
    let world = World::new();
    world.workers([QUEUE, "lerd-nginx"]);
    // A worker that is down on purpose counts as healthy; other units do not count.
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    world.workers([VITE]);
    world.crash_for_good([VITE, "lerd-nginx"]);
    world.worker("lerd-stopped-myapp", FAILS_WHEN_STOPPED);
    world.control(&["stop", "lerd-stopped-myapp"]);

    let ran = world.run(&["detect", "--exit-code"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "No unhealthy workers.\n", ""));
    let ran = world.run(&["detect", "--json", "--exit-code"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "[]\n", ""));
    for args in [&["heal"][..], &["heal", "--dry-run"]] {
        let ran = world.run(args);
        assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "No unhealthy workers.\n", ""), "{args:?}");
    }
    let ran = world.run(&["heal", "--json"]);
    assert_eq!((ran.status, ran.json()), (0, json!({"healed": [], "failed": []})));
    let ran = world.run(&["heal", "--events"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "{\"phase\":\"done\"}\n"));
}

#[test]
fn the_last_error_is_one_short_clean_line() {
    let world = World::new();
    let long = "é".repeat(300);
    world.write_file("words", &format!("first\n\u{1b}[1;31m{long}\u{7}\n \n"));
    // The shell itself prints it: journald may be too late to ask a child that ends at once for its unit.
    world
        .worker(QUEUE, "ExecStart=sh -c 'while read -r line; do echo \"$$line\"; done <%h/words; exec sleep infinity'");
    world.wait_for_journal("its words", SOON, |entry| entry["MESSAGE"].as_str().is_some_and(|m| m.contains("éé")));
    world.crash_for_good([QUEUE]);
    let ran = world.run(&["detect", "--json"]);
    assert_eq!(ran.json()[0]["last_error"], format!("{}…", "é".repeat(220)));
}

#[test]
fn heal_reports_the_outcome_for_each_worker() {
    let world = world_with_two_failed_workers();
    let ran = world.run(&["heal", "--prove", "500ms"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{ran:?}");
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines.iter().any(|line| line.contains("myapp/queue") && line.contains("healed")), "{ran:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("shop/broken") && line.contains("failed: ") && line.contains("out of luck"))
    );
    assert_eq!(lines[2], "Healed 1 worker(s), 1 failed.");
    assert!(!ran.out.contains('\u{1b}'), "{ran:?}");
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");

    world.crash_for_good([QUEUE]);
    let ran = world.run(&["heal", "myapp/queue", "--prove", "100ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
}

#[test]
fn heal_proves_that_a_worker_stays_up() {
    let world = world_with_two_failed_workers();
    let begin = Instant::now();
    let ran = world.run(&["heal", "myapp"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(begin.elapsed() >= Duration::from_secs(1), "proven after {:?}", begin.elapsed());
    // With a shorter proving time, a worker that dies later counts as healed.
    let ran = world.run(&["heal", "shop", "--prove", "50ms"]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

#[test]
fn heal_json_is_the_report() {
    let world = world_with_two_failed_workers();
    let ran = world.run(&["heal", "--json", "--prove", "500ms"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let report = ran.json();
    assert_eq!(report["healed"].as_array().unwrap().len(), 1);
    assert_eq!(report["healed"][0]["unit"], QUEUE);
    assert_eq!(report["failed"][0]["worker"]["unit"], BROKEN);
    assert!(report["failed"][0]["error"].as_str().unwrap().contains("out of luck"), "{report:#}");
}

#[test]
fn heal_events_prints_each_step_as_a_line() {
    let world = world_with_two_failed_workers();
    let ran = world.run(&["heal", "--events", "--prove", "500ms"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starting = |site, unit| json!({"phase": "starting", "site": site, "unit": unit});
    assert_eq!(events[..2], [starting("myapp", QUEUE), starting("shop", BROKEN)], "{events:#?}");
    assert_eq!(events.len(), 5, "{events:#?}");
    let healed = events.iter().find(|event| event["phase"] == "healed").unwrap();
    let down = &healed["downtime_ms"];
    assert_eq!(*healed, json!({"phase": "healed", "site": "myapp", "unit": QUEUE, "downtime_ms": down}));
    assert!(down.as_u64().is_some_and(|ms| ms < 60_000), "{healed:#}");
    assert!(events.iter().any(|event| event["phase"] == "failed" && event["unit"] == BROKEN && event["error"] != ""));
    assert_eq!(events[4], json!({"phase": "done"}));
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = world_with_two_failed_workers();
    let untouched = world.picture(&[QUEUE, BROKEN]);
    let ran = world.run(&["heal", "--dry-run"]);
    assert_eq!(ran.status, 0);
    assert!(ran.out.contains("myapp/queue") && ran.out.contains("shop/broken"), "{ran:?}");
    let ran = world.run(&["heal", "--dry-run", "--json", "myapp"]);
    assert_eq!(ran.status, 0);
    let listed = ran.json();
    assert!(listed.to_string().contains(QUEUE) && !listed.to_string().contains(BROKEN), "{listed:#}");
    assert_eq!(world.picture(&[QUEUE, BROKEN]), untouched);
}

#[test]
fn a_target_is_a_unit_a_site_and_worker_or_a_site() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    for target in [QUEUE, "lerd-queue-myapp.service", "myapp/queue", "myapp"] {
        world.crash_for_good([QUEUE, VITE]);
        let ran = world.run(&["heal", target, "--prove", "50ms"]);
        assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{target}: {ran:?}");
        assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
        assert_eq!(world.show(&service_of(VITE), "ActiveState"), "failed");
        world.control(&["start", VITE]);
    }
    world.crash_for_good([QUEUE, VITE]);
    // A worker that is named twice is healed once.
    let ran = world.run(&["heal", "shop/vite", "myapp", QUEUE, "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 2 worker(s).")), "{ran:?}");
    // Naming a healthy worker is no error.
    let ran = world.run(&["heal", "shop/vite"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "No unhealthy workers.\n"));
}

#[test]
fn units_that_are_not_covered_are_refused() {
    let world = World::new();
    let foreign = ["bot", "lerd-nginx", "lerd-fp-myapp", "lerd-queue-unknown"];
    world.workers(foreign);
    world.workers([QUEUE]);
    world.crash_for_good(foreign);
    world.crash_for_good([QUEUE]);
    let untouched = world.picture(&[&foreign[..], &[QUEUE]].concat());
    for target in
        ["bot", "bot.service", "lerd-nginx", "lerd-fp-myapp", "unknown/queue", "dbus.service", "../x", "", "myapp/"]
    {
        // Together with a covered one too: all or nothing.
        let ran = world.run(&["heal", QUEUE, target]);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{target:?}: {ran:?}");
        assert!(ran.err.contains(&format!("no worker named {target:?}")), "{ran:?}");
    }
    let ran = world.run(&["heal", "myap"]);
    assert!(ran.err.contains("did you mean \"myapp\""), "{ran:?}");
    assert_eq!(world.picture(&[&foreign[..], &[QUEUE]].concat()), untouched);
}

#[test]
fn a_template_is_refused_as_it_needs_an_instance() {
    let world = World::new();
    world.config("also_watch: [\"app-*.service\"]\n");
    world.write_unit("app-t@.service", "[Service]\nExecStart=sleep infinity\n");
    for daemon in [false, true] {
        let _events = daemon.then(|| world.start_daemon());
        for command in ["heal", "explain", "stop", "logs"] {
            let ran = world.run(&[command, "app-t@"]);
            assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{command}: {ran:?}");
            let says =
                "no worker named \"app-t@\"; that is a template, so name an instance of it, such as \"app-t@1\"\n";
            assert!(ran.err.ends_with(says), "{command}: {ran:?}");
        }
    }
}

#[test]
fn a_stopped_worker_is_healed_by_name_but_a_paused_one_is_not() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.control(&["stop", QUEUE]);
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    world.workers([VITE]);
    world.crash_for_good([VITE]);
    assert_eq!(world.run(&["heal"]).out, "No unhealthy workers.\n");

    let ran = world.run(&["heal", QUEUE, "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");
    let ran = world.run(&["heal", VITE]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("the site shop is paused"), "{ran:?}");
    assert_eq!(ran.out.lines().last(), Some("Healed 0 worker(s), 1 failed."));
    let ran = world.run(&["heal", VITE, "--json"]);
    assert_eq!(ran.json()["failed"][0]["error"], "the site shop is paused");
    // For each worker, a batch reports its start, then its result.
    let ran = world.run(&["heal", VITE, "--events"]);
    let phases = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["phase"].clone());
    assert_eq!(phases.collect::<Vec<_>>(), ["starting", "failed", "done"]);
    assert_eq!(world.show(&service_of(VITE), "ActiveState"), "failed");
}

#[test]
fn a_start_that_takes_too_long_is_a_failure() {
    let world = World::new();
    world.config("heal: {timeout: 300ms}\n");
    world.write_worker(QUEUE, NEVER_GETS_READY);
    world.control(&["enable", QUEUE]);
    world.control(&["start", "--no-block", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "activating", SOON);
    world.crash_for_good([QUEUE]);
    let ran = world.run(&["heal"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("too long"), "{ran:?}");
    assert_eq!(ran.out.lines().last(), Some("Healed 0 worker(s), 1 failed."));
}

#[test]
fn concurrent_heals_and_a_daemon_do_not_interfere() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    let heal_twice = || {
        let spawn = || {
            let mut command = world.command_line(&["heal", "--prove", "300ms"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        [spawn(), spawn()].map(|child| Ran::from(child.wait_with_output().unwrap()))
    };
    for _ in 0..3 {
        world.crash_for_good([QUEUE, VITE]);
        for ran in heal_twice() {
            assert_eq!(ran.status, 0, "{ran:?}");
        }
        assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
    }

    let mut events = world.start_daemon();
    for _ in 0..3 {
        world.crash(QUEUE);
        for ran in heal_twice() {
            assert_eq!(ran.status, 0, "{ran:?}");
        }
        events.wait_any(&["healed", "recovered"], QUEUE);
        assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
    }
}

#[test]
fn connection_and_usage_errors_have_their_own_status() {
    let world = World::new();
    for command in ["detect", "heal", "daemon"] {
        let ran = Ran::of(world.command_line(&[command]).env("XDG_RUNTIME_DIR", "/nowhere"));
        assert_eq!((ran.status, ran.out.as_str()), (3, ""), "{ran:?}");
        assert!(ran.err.contains("cannot reach the service manager"), "{ran:?}");
    }
    // Checking files needs no manager.
    let ran = Ran::of(world.command_line(&["check"]).env("XDG_RUNTIME_DIR", "/nowhere"));
    assert_eq!(ran.status, 0, "{ran:?}");
    for args in [
        &["hael"][..],
        &["heal", "--json", "--events"],
        &["heal", "--prove", "soon"],
        &["--user", "--system", "detect"],
    ] {
        let ran = world.run(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.err.contains("error:"), "{ran:?}");
    }
    assert_eq!(world.run(&[]).status, 2);
    for args in [&["--help"][..], &["heal", "--help"], &["--version"]] {
        let ran = world.run(args);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    }
}

#[test]
fn check_reports_the_errors_of_both_files() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    let ran = world.run(&["check"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(
        ran.out,
        "ok ~/.config/workerheal/config.yaml\n\
         ok ~/.local/share/lerd/sites.yaml (2 sites, 1 of them paused or ignored)\n"
    );

    let (config, sites) = (world.path(".config/workerheal/config.yaml"), world.path(".local/share/lerd/sites.yaml"));
    world.config("helth: {}\n");
    world.registry("sites: {a: b}\n");
    let ran = world.run(&["check"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.err.contains(&format!("{config}:1:1")) && ran.err.contains(&format!("{sites}:1:8")), "{ran:?}");
    let ran = world.run(&["--config", "/nowhere", "check"]);
    assert_eq!(ran.status, 2);
}

#[test]
fn colours_and_progress_require_a_terminal() {
    let world = world_with_two_failed_workers();
    let on_terminal = |command: &str, variables: &[(&str, &str)]| {
        let mut script = world.command("script");
        script.args([
            "--quiet",
            "--return",
            "--command",
            &format!("{} {command}", crate::common::WORKERHEAL),
            "/dev/null",
        ]);
        script.env("TERM", "xterm").envs(variables.iter().copied()).stdin(Stdio::null());
        Ran::of(&mut script).out
    };
    assert!(on_terminal("detect", &[]).contains(RED));
    assert!(!on_terminal("detect", &[("NO_COLOR", "1")]).contains('\u{1b}'));
    assert!(!on_terminal("detect --color never", &[]).contains('\u{1b}'));
    assert!(!world.run(&["detect"]).out.contains('\u{1b}'));
    assert!(world.run(&["detect", "--color", "always"]).out.contains(RED));

    let drawn = on_terminal("heal myapp --prove 500ms", &[]);
    assert!(drawn.contains('⠋') && drawn.contains("\u{1b}[J"), "{drawn:?}");
    world.crash_for_good([QUEUE]);
    let drawn = on_terminal("heal myapp --prove 500ms", &[("TERM", "dumb"), ("NO_COLOR", "1")]);
    assert!(!drawn.contains('⠋') && !drawn.contains('\u{1b}'), "{drawn:?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let world = world_with_two_failed_workers();
    for args in [&["detect"][..], &["detect", "--json"], &["heal", "--prove", "50ms"], &["check"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.command_line(args);
        let ran = Ran::from(command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap());
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{args:?}: {ran:?}");
    }
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
}

#[test]
fn many_workers_that_wait_for_one_unit_are_judged_quickly() {
    let world = World::new();
    world.workers(["redis"]);
    let units: Vec<String> = (0..20).map(|number| format!("lerd-w{number}-myapp")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &units {
        let text = "[Unit]\nBindsTo=redis.service\nAfter=redis.service\n[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";
        world.write_unit(&format!("{unit}.service"), text);
    }
    world.control(&[&["enable", "--now"], &names[..]].concat());
    for unit in &names {
        world.crash(unit);
    }
    for unit in &names {
        world.wait_for_state(&format!("{unit}.service"), "failed", SOON);
    }
    world.control(&["stop", "redis"]);
    let latest = now() + SOON;
    let found = world.run(&["detect", "--json", "--no-errors"]);
    assert_eq!(found.json().as_array().map(Vec::len), Some(20), "{found:?}");
    assert!(now() < latest, "it took more than {SOON:?}");
}

#[test]
fn completions_and_the_manual_page_know_every_command() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = world.run(&["completions", shell]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains("WORKERHEAL_COMPLETE"), "{shell}");
    }
    let ran = world.run(&["man"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    for command in ["detect", "heal", "status", "events", "pause"] {
        assert!(ran.out.contains(&format!(".SS {command}\n")), "{command}");
    }
}
