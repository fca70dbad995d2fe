//! `workerheal explain`: the reason that it names is the one that counts, whether or not a daemon runs.

mod common;

use common::{FAILS_WHEN_STOPPED, LIVES, SOON, World, service_of};
use serde_json::Value;

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";

/// What `explain` says of a worker, in words.
#[track_caller]
fn explained(world: &World, target: &str) -> String {
    let ran = world.run(&["explain", target]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(!ran.out.contains('\u{1b}'), "{ran:?}");
    ran.out
}

/// That the first line is this, that exactly one reason decides, and that the text has these words.
#[track_caller]
fn says(text: &str, summary: &str, words: &[&str]) {
    assert_eq!(text.lines().next(), Some(summary), "{text}");
    for word in words {
        assert!(text.contains(word), "there is no {word:?} in {text}");
    }
}

#[test]
fn a_worker_that_is_up_is_well() {
    let world = World::new();
    world.workers([QUEUE]);
    for target in [QUEUE, "lerd-queue-myapp.service", "myapp/queue", "myapp"] {
        let text = explained(&world, target);
        says(
            &text,
            "myapp/queue is up and well.",
            &["it is up", "ActiveState=active", "~/.local/share/lerd/sites.yaml:2"],
        );
        assert!(!text.contains('✗') && !text.contains("What would change that"), "{text}");
    }
}

#[test]
fn a_worker_that_failed_is_to_be_started_and_has_its_last_words() {
    let world = World::new();
    world.worker(QUEUE, "ExecStart=sh -c 'echo boom; exec sleep infinity'");
    world.wait_for_journal("its last words", SOON, |entry| entry["MESSAGE"] == "boom");
    world.crash_for_good([QUEUE]);
    let untouched = world.picture(&[QUEUE]);
    let text = explained(&world, QUEUE);
    let summary = "myapp/queue is failed, and nothing speaks against starting it (attempt 1 of 10).";
    says(&text, summary, &["Result=signal", "nobody asked for its stop", "Its last log line: boom"]);
    assert!(!text.contains('✗'), "{text}");
    assert_eq!(world.picture(&[QUEUE]), untouched);
}

#[test]
fn a_worker_that_its_user_stopped_is_left_alone_for_that() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.control(&["stop", QUEUE]);
    // The same without error: it is enabled, and would be expected to be up.
    world.workers([VITE]);
    world.control(&["stop", VITE]);
    for (unit, name) in [(QUEUE, "myapp/queue"), (VITE, "shop/vite")] {
        let run = world.show(&service_of(unit), "InvocationID");
        says(
            &explained(&world, unit),
            &format!("{name} is not healed: its user stopped it."),
            &[
                "✗ its user stopped it",
                &format!("JOB_TYPE=stop) in the journal of run {}", &run[..8]),
                &format!("- start it: systemctl --user start {unit}"),
                &format!("- heal it by hand: workerheal heal {name}"),
            ],
        );
    }
}

#[test]
fn a_pause_is_shown_with_the_line_that_says_so() {
    let world = World::new();
    world.registry("sites:\n- name: shop\n- name: myapp\n  path: /srv/myapp\n  paused: true\n- name: partly\n  paused_workers: [queue]\n");
    world.workers([QUEUE, "lerd-queue-partly"]);
    world.crash_for_good([QUEUE, "lerd-queue-partly"]);
    says(
        &explained(&world, QUEUE),
        "myapp/queue is not healed now: the site myapp is paused.",
        &[
            "✗ the site myapp is paused",
            "~/.local/share/lerd/sites.yaml:5 paused: true",
            "- resume the site myapp in Lerd",
        ],
    );
    says(
        &explained(&world, "partly/queue"),
        "partly/queue is not healed now: the worker queue of partly is paused.",
        &["~/.local/share/lerd/sites.yaml:7 paused_workers"],
    );
    world.write_file(
        ".local/state/workerheal/state.json",
        r#"{"format": "workerheal-state", "version": 1, "pauses": [{"target": {"site": "myapp"}}]}"#,
    );
    // The pause by hand weighs more, and that by the registry is a reason too.
    says(
        &explained(&world, QUEUE),
        "myapp/queue is not healed now: healing of the site myapp is paused.",
        &["✗ healing of the site myapp is paused", "✗ the site myapp is paused", "workerheal resume myapp/queue"],
    );
}

#[test]
fn a_worker_that_is_masked_or_needs_a_unit_that_is_down_is_held_for_that() {
    let world = World::new();
    world.workers(["lerd-php85-fpm"]);
    // In a place where it can be masked.
    world.write_file(
        ".local/share/systemd/user/lerd-vite-shop.service",
        &format!("[Service]\n{LIVES}\n[Install]\nWantedBy=default.target\n"),
    );
    world.write_unit(
        &service_of(QUEUE),
        &format!("[Unit]\nRequires=lerd-php85-fpm.service\n[Service]\n{LIVES}\n[Install]\nWantedBy=default.target\n"),
    );
    world.control(&["enable", "--now", QUEUE, VITE]);
    world.crash_for_good([QUEUE, VITE]);
    world.control(&["mask", VITE]);
    says(
        &explained(&world, VITE),
        "shop/vite is not healed now: the unit is masked.",
        &["✗ the unit is masked", "LoadState=masked", "- systemctl --user unmask lerd-vite-shop"],
    );
    world.control(&["stop", "lerd-php85-fpm"]);
    says(
        &explained(&world, QUEUE),
        "myapp/queue is not healed now: it needs lerd-php85-fpm.service, which is inactive.",
        &["ActiveState=inactive", "- start what it needs: systemctl --user start lerd-php85-fpm.service"],
    );
    world.control(&["start", "lerd-php85-fpm"]);
    assert!(explained(&world, QUEUE).contains("nothing speaks against starting it"));
}

#[test]
fn a_worker_that_ended_by_itself_is_shown_what_would_have_it_healed() {
    let world = World::new();
    world.worker(QUEUE, common::ENDS);
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    says(
        &explained(&world, QUEUE),
        "myapp/queue is not healed now: the configuration does not heal the state expected-but-stopped.",
        &[
            "UnitFileState=enabled",
            "heal.states is [failed, start-limit-hit]",
            "add expected-but-stopped to heal.states",
        ],
    );
}

#[test]
fn an_explanation_for_programs_is_an_array() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    world.workers([QUEUE, VITE]);
    world.crash_for_good([VITE]);
    let ran = world.run(&["explain", "--json", "shop", QUEUE]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    let explanations = ran.json();
    let [vite, queue] = explanations.as_array().unwrap().as_slice() else { panic!("{explanations:#}") };
    assert_eq!([&vite["site"], &vite["worker"], &vite["unit"], &vite["state"]], ["shop", "vite", VITE, "failed"]);
    assert_eq!(vite["summary"], "shop/vite is not healed now: the site shop is paused.");
    let marks = |line: &&Value| line["mark"] == "decides";
    let decides: Vec<&Value> = vite["chain"].as_array().unwrap().iter().filter(marks).collect();
    assert_eq!(decides.len(), 1, "{vite:#}");
    assert_eq!(decides[0]["says"], "the site shop is paused");
    assert_eq!(decides[0]["evidence"], "~/.local/share/lerd/sites.yaml:3 paused: true");
    assert_eq!(vite["change"], serde_json::json!(["resume the site shop in Lerd"]));
    assert_eq!(queue["unit"], QUEUE);
    assert_eq!([&queue["state"], &queue["change"]], [&Value::Null, &serde_json::json!([])]);
    assert_eq!(queue["summary"], "myapp/queue is up and well.");
}

#[test]
fn what_is_no_worker_cannot_be_explained() {
    let world = World::new();
    world.workers([QUEUE, "bot"]);
    for targets in [&["bot"][..], &["unknown/queue"], &[QUEUE, "lerd-queue-unknown"], &["--json", "bot"], &[]] {
        let ran = world.run(&[&["explain"], targets].concat());
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{targets:?}: {ran:?}");
    }
    let ran = world.run(&["explain", "myapp/quue"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("did you mean \"myapp/queue\"?"), "{ran:?}");
}
