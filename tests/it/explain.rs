//! `workerheal explain` with evidence from a real manager, a real journal and real files.

use std::process::Stdio;

use crate::common::{ENDS, FAILS_WHEN_STOPPED, LIVES, QUICK, Ran, SOON, World, service_of};
use serde_json::{Value, json};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";
const BROKEN: &str = "lerd-broken-myapp";

/// The note after an explanation if no daemon runs.
const NO_DAEMON: &str =
    "workerheal: no daemon is running, so nothing is healed automatically; see `workerheal doctor`\n";

/// The lines with this mark.
fn marked<'a>(ran: &'a Ran, sign: &str) -> Vec<&'a str> {
    assert!(ran.status == 0 && ["", NO_DAEMON].contains(&ran.err.as_str()), "{ran:?}");
    ran.out.lines().filter(|line| line.trim_start().starts_with(sign)).collect()
}

#[test]
fn a_stop_is_known_from_the_journal_and_a_pause_from_its_line() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    world.workers([QUEUE, VITE]);
    let ran = world.run(&["explain", "myapp/queue"]);
    assert!(ran.out.starts_with("myapp/queue is up and well.\n"), "{ran:?}");

    world.control(&["stop", QUEUE]);
    let ran = world.run(&["explain", "myapp/queue"]);
    assert!(ran.out.starts_with("myapp/queue is not healed: you stopped it.\n"), "{ran:?}");
    let objections = marked(&ran, "✗");
    assert_eq!(objections.len(), 1, "{ran:?}");
    assert!(objections[0].contains("the stop is in the journal of its last run, "), "{ran:?}");
    assert!(ran.out.contains("\n  - heal it by hand: workerheal heal myapp/queue\n"), "{ran:?}");

    world.crash_for_good([VITE]);
    let ran = world.run(&["explain", VITE]);
    assert!(marked(&ran, "✓")[0].contains("it was not stopped on purpose"), "{ran:?}");
    let objection = marked(&ran, "✗")[0];
    assert!(objection.contains("the site shop is paused"), "{ran:?}");
    assert!(objection.ends_with("~/.local/share/lerd/sites.yaml:3 says paused: true"), "{ran:?}");
    assert!(!ran.out.contains("workerheal heal"), "it would be refused: {ran:?}");
}

#[test]
fn status_and_explain_give_one_reason_for_a_worker_that_is_down() {
    let world = World::new();
    let daemon = world.start_daemon();
    // Enabled or not, started and stopped at once, or never run.
    let workers = ["lerd-a-myapp", "lerd-b-myapp", "lerd-c-myapp", "lerd-d-myapp"];
    for unit in workers {
        world.write_worker(unit, LIVES);
    }
    world.write_worker("lerd-d-myapp", "Type=oneshot\nExecStart=true");
    world.control(&["enable", "--now", "lerd-a-myapp"]);
    world.control(&["start", "lerd-b-myapp", "lerd-c-myapp"]);
    world.control(&["stop", "lerd-a-myapp", "lerd-b-myapp"]);
    world.control(&["enable", "lerd-d-myapp"]);
    world.control(&["start", "lerd-d-myapp"]);
    world.crash("lerd-c-myapp");
    world.control(&["stop", "lerd-c-myapp"]);
    for (unit, reason) in
        workers.into_iter().zip(["you stopped it", "you stopped it", "you stopped it", "it has done its work"])
    {
        let site = |ran: &Ran| ran.out.lines().any(|line| line.contains(&unit[5..6]) && line.ends_with(reason));
        world.wait_until(&format!("status to say that {unit} is down: {reason}"), SOON, || {
            site(&world.run(&["status", unit])).then_some(())
        });
        let summary = world.run(&["explain", unit]).out;
        let says = reason.trim_start_matches("it ");
        assert!(summary.lines().next().is_some_and(|line| line.contains(says)), "{unit}: {summary}");
    }
    drop(daemon);
}

#[test]
fn an_explanation_uses_the_saved_state() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 1s, backoff: {initial: 5m}, give_up_after: 2}\n");
    world.worker(BROKEN, "ExecStart=sh -c 'echo out of luck >&2; sleep 0.2; exit 1'");
    let mut events = world.start_daemon();
    events.wait("scheduled", BROKEN);
    let reported = |what: &str| {
        world.wait_until(what, crate::common::SOON, || {
            let ran = world.run(&["explain", BROKEN]);
            ran.out.lines().next().is_some_and(|line| line.contains(what)).then_some(ran)
        })
    };
    let ran = reported("(attempt 2 of 2)");
    assert!(marked(&ran, "✗")[0].contains("the next attempt is due in "), "{ran:?}");
    assert!(ran.out.ends_with("\n  out of luck\n"), "{ran:?}");

    world.config(&QUICK.replace("heal: {", "heal: {give_up_after: 1, "));
    world.control(&["restart", crate::common::DAEMON]);
    let ran = reported("given up: 1 attempt failed.");
    assert!(ran.out.contains("workerheal heal myapp/broken"), "{ran:?}");
}

#[test]
fn the_deciding_line_is_red_on_a_terminal() {
    let world = World::new();
    world.write_worker(QUEUE, &format!("Restart=no\n{LIVES}"));
    world.control(&["enable", "--now", QUEUE]);
    world.control(&["stop", QUEUE]);
    let mut script = world.command("script");
    let command = format!("{} explain {QUEUE}", crate::common::WORKERHEAL);
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let drawn = Ran::of(script.env("TERM", "xterm").stdin(Stdio::null())).out;
    assert!(drawn.starts_with("\u{1b}[31mmyapp/queue is not healed"), "{drawn:?}");
    assert!(drawn.contains("\u{1b}[31m✗ you stopped it\u{1b}[0m"), "{drawn:?}");
    assert!(drawn.contains("\u{1b}[32m✓\u{1b}[0m "), "{drawn:?}");
}

/// Asserts that an explanation has this first line, and all these words in the others.
#[track_caller]
fn says(world: &World, target: &str, summary: &str, words: &[&str]) {
    let ran = world.run(&["explain", target]);
    assert_eq!((ran.status, ran.err.as_str()), (0, NO_DAEMON), "{ran:?}");
    assert_eq!(ran.out.lines().next(), Some(summary), "{}", ran.out);
    for word in words {
        assert!(ran.out.contains(word), "there is no {word:?} in {}", ran.out);
    }
}

#[test]
fn a_worker_can_be_explained_by_each_of_its_names() {
    let world = World::new();
    world.workers([QUEUE]);
    for target in [QUEUE, "lerd-queue-myapp.service", "myapp/queue", "myapp"] {
        let ran = world.run(&["explain", target]);
        assert!(ran.out.starts_with("myapp/queue is up and well.\n"), "{ran:?}");
        assert!(marked(&ran, "✗").is_empty() && ran.out.contains("ActiveState=active"), "{ran:?}");
    }
}

#[test]
fn an_explanation_has_the_cause_and_the_last_error_and_starts_nothing() {
    let world = World::new();
    world.worker(QUEUE, "ExecStart=sh -c 'echo boom; exec sleep infinity'");
    world.wait_for_journal("its last words", SOON, |entry| entry["MESSAGE"] == "boom");
    world.crash_for_good([QUEUE]);
    let untouched = world.picture(&[QUEUE]);
    let summary = "myapp/queue has failed, and no daemon is running that would start it (attempt 1 of 10).";
    says(&world, QUEUE, summary, &["it was killed", "Result=signal", "it was not stopped on purpose", "\n  boom\n"]);
    assert_eq!(world.picture(&[QUEUE]), untouched);
}

#[test]
fn a_stop_that_ended_in_failure_is_a_stop() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.control(&["stop", QUEUE]);
    let run = world.show(&service_of(QUEUE), "InvocationID");
    let evidence = format!("the stop is in the journal of its last run, {}", &run[..8]);
    says(&world, QUEUE, "myapp/queue is not healed: you stopped it.", &["✗ you stopped it", &evidence]);
}

#[test]
fn each_kind_of_pause_is_explained_with_its_evidence() {
    let world = World::new();
    world.registry(
        "sites:\n- name: shop\n- name: myapp\n  path: /srv/myapp\n  paused: true\n\
         - name: partly\n  paused_workers: [queue]\n",
    );
    world.workers([QUEUE, "lerd-queue-partly"]);
    world.crash_for_good([QUEUE, "lerd-queue-partly"]);
    says(
        &world,
        QUEUE,
        "myapp/queue is not healed: the site myapp is paused.",
        &["~/.local/share/lerd/sites.yaml:5 says paused: true"],
    );
    says(
        &world,
        "partly/queue",
        "partly/queue is not healed: it is paused in Lerd.",
        &["~/.local/share/lerd/sites.yaml:7 lists it in paused_workers"],
    );
    let state = r#"{"format": "workerheal-state", "version": 1, "pauses": [{"target": {"site": "myapp"}}]}"#;
    world.write_file(".local/state/workerheal/state.json", state);
    // A pause by hand has priority; that of the registry is a further reason.
    says(
        &world,
        QUEUE,
        "myapp/queue is not healed: you paused the site myapp.",
        &["until you resume it", "✗ the site myapp is paused"],
    );
}

#[test]
fn a_mask_and_a_requirement_that_is_down_are_given_as_reasons() {
    let world = World::new();
    world.workers(["lerd-php85-fpm"]);
    // In a directory where it can be masked.
    let unit = format!("[Service]\n{LIVES}\n[Install]\nWantedBy=default.target\n");
    world.write_file(".local/share/systemd/user/lerd-vite-shop.service", &unit);
    world.write_unit(&service_of(QUEUE), &format!("[Unit]\nRequires=lerd-php85-fpm.service\n{unit}"));
    world.control(&["enable", "--now", QUEUE, VITE]);
    world.crash_for_good([QUEUE, VITE]);
    world.control(&["mask", VITE]);
    says(&world, VITE, "shop/vite is not healed: the unit is masked.", &["✗ the unit is masked", "LoadState=masked"]);
    world.control(&["stop", "lerd-php85-fpm"]);
    says(
        &world,
        QUEUE,
        "myapp/queue is not healed: it needs lerd-php85-fpm.service, which is down.",
        &["ActiveState=inactive", "systemctl --user start lerd-php85-fpm"],
    );
    world.control(&["start", "lerd-php85-fpm"]);
    let summary = "myapp/queue has failed, and no daemon is running that would start it (attempt 1 of 10).";
    says(&world, QUEUE, summary, &["what it needs is up"]);
}

#[test]
fn a_clean_exit_is_explained_with_the_setting_that_heals_it() {
    let world = World::new();
    world.worker(QUEUE, ENDS);
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    says(
        &world,
        QUEUE,
        "myapp/queue is not healed: the configuration does not heal the state expected-but-stopped.",
        &["UnitFileState=enabled", "heal.states is [failed, start-limit-hit]"],
    );
}

#[test]
fn explain_json_is_an_array() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    world.workers([QUEUE, VITE]);
    world.crash_for_good([VITE]);
    let ran = world.run(&["explain", "--json", "shop", QUEUE]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    let explanations = ran.json();
    let [vite, queue] = explanations.as_array().unwrap().as_slice() else { panic!("{explanations:#}") };
    assert_eq!([&vite["site"], &vite["worker"], &vite["unit"], &vite["state"]], ["shop", "vite", VITE, "failed"]);
    assert_eq!(vite["summary"], "shop/vite is not healed: the site shop is paused.");
    let chain = vite["chain"].as_array().unwrap();
    let decides: Vec<&Value> = chain.iter().filter(|line| line["mark"] == "decides").collect();
    assert_eq!(decides.len(), 1, "{vite:#}");
    assert_eq!(decides[0]["says"], "the site shop is paused");
    assert_eq!(decides[0]["evidence"], "~/.local/share/lerd/sites.yaml:3 says paused: true");
    assert!(vite["change"].as_array().is_some_and(|ways| !ways.is_empty()), "{vite:#}");
    assert_eq!([&queue["unit"], &queue["state"]], [&json!(QUEUE), &Value::Null]);
    assert_eq!(queue["summary"], "myapp/queue is up and well.");
}

#[test]
fn only_workers_can_be_explained() {
    let world = World::new();
    world.workers([QUEUE, "bot"]);
    for targets in [&["bot"][..], &["unknown/queue"], &[QUEUE, "lerd-queue-unknown"], &["--json", "bot"], &[]] {
        let ran = world.run(&[&["explain"], targets].concat());
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{targets:?}: {ran:?}");
    }
    let ran = world.run(&["explain", "myapp/quue"]);
    assert!(ran.status == 2 && ran.err.contains("did you mean \"myapp/queue\"?"), "{ran:?}");
}
