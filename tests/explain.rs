//! `workerheal explain` with evidence from a real manager, a real journal and real files.

mod common;

use std::process::Stdio;

use common::{LIVES, QUICK, Ran, World};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";
const BROKEN: &str = "lerd-broken-myapp";

/// The lines with this sign.
fn marked<'a>(ran: &'a Ran, sign: &str) -> Vec<&'a str> {
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
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
    assert!(ran.out.starts_with("myapp/queue is left alone: its user stopped it.\n"), "{ran:?}");
    let objections = marked(&ran, "✗");
    assert_eq!(objections.len(), 1, "{ran:?}");
    assert!(objections[0].contains("the stop is in the journal of its last run, "), "{ran:?}");
    assert!(ran.out.contains("\n  - heal it by hand: workerheal heal myapp/queue\n"), "{ran:?}");

    world.crash_for_good([VITE]);
    let ran = world.run(&["explain", VITE]);
    assert!(marked(&ran, "✓")[0].contains("nobody stopped it"), "{ran:?}");
    let objection = marked(&ran, "✗")[0];
    assert!(objection.contains("the site shop is paused"), "{ran:?}");
    assert!(objection.ends_with("~/.local/share/lerd/sites.yaml:3 says paused: true"), "{ran:?}");
    assert!(!ran.out.contains("workerheal heal"), "it would be refused: {ran:?}");
}

#[test]
fn what_the_daemon_has_written_down_is_told() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 1s, backoff: {initial: 5m}, give_up_after: 2}\n");
    world.worker(BROKEN, "ExecStart=sh -c 'echo out of luck >&2; sleep 0.2; exit 1'");
    let mut events = world.start_daemon();
    events.wait("scheduled", BROKEN);
    let told = |what: &str| {
        world.wait_until(what, common::SOON, || {
            let ran = world.run(&["explain", BROKEN]);
            ran.out.lines().next().is_some_and(|line| line.contains(what)).then_some(ran)
        })
    };
    let ran = told("(attempt 2 of 2)");
    assert!(marked(&ran, "✗")[0].contains("the next attempt is due in "), "{ran:?}");
    assert!(ran.out.ends_with("\n  out of luck\n"), "{ran:?}");

    world.config(&QUICK.replace("heal: {", "heal: {give_up_after: 1, "));
    world.control(&["restart", common::DAEMON]);
    let ran = told("given up: 1 attempt failed.");
    assert!(ran.out.contains("workerheal heal myapp/broken"), "{ran:?}");
}

#[test]
fn on_a_terminal_what_decides_is_red() {
    let world = World::new();
    world.write_worker(QUEUE, &format!("Restart=no\n{LIVES}"));
    world.control(&["enable", "--now", QUEUE]);
    world.control(&["stop", QUEUE]);
    let mut script = world.command("script");
    let command = format!("{} explain {QUEUE}", common::WORKERHEAL);
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let drawn = Ran::of(script.env("TERM", "xterm").stdin(Stdio::null())).out;
    assert!(drawn.starts_with("\u{1b}[31mmyapp/queue is left alone"), "{drawn:?}");
    assert!(drawn.contains("\u{1b}[31m✗ its user stopped it\u{1b}[0m"), "{drawn:?}");
    assert!(drawn.contains("\u{1b}[32m✓\u{1b}[0m "), "{drawn:?}");
}
