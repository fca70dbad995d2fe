//! From nothing to a healed worker: choosing units to watch, and installing, with and without units to watch.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::common::{DAEMON, LIVES, Ran, SOON, World};

const CONFIG: &str = ".config/workerheal/config.yaml";
const CELERY: &str = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";

/// A user account without Lerd and before workerheal: two Celery workers, a failed bot, a unit that was never enabled,
/// and a oneshot.
fn fresh_account() -> World {
    let world = World::new();
    for file in [".config/systemd/user/workerheal.service", CONFIG, ".local/share/lerd/sites.yaml"] {
        fs::remove_file(world.home().join(file)).unwrap();
    }
    world.write_unit("celery@.service", CELERY);
    world.control(&["enable", "--now", "celery@mail", "celery@default"]);
    world.worker("bot", LIVES);
    world.crash_for_good(["bot"]);
    world.write_unit("idle.service", &format!("[Service]\n{LIVES}\n"));
    world.control(&["start", "idle"]);
    world.worker("job", "Type=oneshot\nRemainAfterExit=yes\nExecStart=true");
    world.daemon_reload();
    world
}

fn init(world: &World, answer: &str) -> Ran {
    let mut command = world.command_line(&["init"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn config(world: &World) -> String {
    fs::read_to_string(world.home().join(CONFIG)).unwrap()
}

#[test]
fn without_lerd_init_and_install_suffice_to_heal_units() {
    let world = fresh_account();
    let ran = init(&world, "2\n");
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("\n  1  bot.service       failed\n  2  celery@*.service  2 units\n\n"), "{ran:?}");
    assert!(ran.out.ends_with("Wrote ~/.config/workerheal/config.yaml: celery@*.service\nNext: workerheal install\n"));
    let text = config(&world);
    assert!(text.starts_with("# ") && text.ends_with("also_watch:\n  - \"celery@*.service\"\n"), "{text}");

    let ran = world.run(&["install"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("watching over 2 workers"), "{ran:?}");
    assert!(!ran.out.contains("Nothing to watch"), "{ran:?}");

    let mut events = world.events();
    world.crash("celery@mail");
    events.wait("healed", "celery@mail");
    let ran = world.run(&["status"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("2 workers: 2 up"), "{ran:?}");

    // The daemon has read the change when `init` returns.
    let ran = world.run(&["init", "--yes"]);
    assert!(ran.out.ends_with("The running daemon has taken it up; see: workerheal status\n"), "{ran:?}");
    assert!(world.run(&["status"]).out.contains("bot"));
    assert_eq!(config(&world), format!("{text}  - \"bot.service\"\n"));
    let ran = world.run(&["init"]);
    assert!(ran.out.starts_with("No other unit of yours is enabled or has failed.\n"), "{ran:?}");
}

#[test]
fn with_lerd_install_suffices_and_init_says_so() {
    let world = World::new();
    fs::remove_file(world.home().join(".config/systemd/user/workerheal.service")).unwrap();
    fs::remove_file(world.home().join(CONFIG)).unwrap();
    world.workers(["lerd-queue-shop"]);
    let ran = world.run(&["init"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(
        ran.out,
        "The workers of the 2 sites in Lerd's registry are watched without that.\n\
         No other unit of yours is enabled or has failed.\n\
         To watch one all the same, name it: workerheal init NAME\nNext: workerheal install\n"
    );
    let ran = world.run(&["install"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("watching over 1 worker.") && !ran.out.contains("Nothing to watch"), "{ran:?}");
    let mut events = world.events();
    world.crash("lerd-queue-shop");
    events.wait("healed", "lerd-queue-shop");
    assert!(world.run(&["status"]).out.contains("1 worker: 1 up"));
    assert!(!world.run(&["init"]).out.contains("Next"), "that is done");
}

#[test]
fn commands_say_what_to_do_if_nothing_is_watched() {
    let world = World::new();
    fs::remove_file(world.home().join(".local/share/lerd/sites.yaml")).unwrap();
    let ran = world.run(&["init"]);
    assert!(ran.out.starts_with("No unit of yours is enabled or has failed.\n"), "{ran:?}");
    drop(world);
    let world = fresh_account();
    let ran = world.run(&["check"]);
    assert!(ran.status == 0 && ran.err.contains("choose units: workerheal init"), "{ran:?}");
    let ran = world.run(&["doctor"]);
    assert!(ran.out.contains("nothing is watched; choose units: workerheal init"), "{ran:?}");
    assert_eq!(world.run(&["install"]).status, 0);
    let ran = world.run(&["status"]);
    assert!(ran.out.ends_with("No workers found; see `workerheal check`.\n"), "{ran:?}");
    assert_eq!(world.run(&["logs"]).out, "No workers found; see `workerheal check`.\n");
}

#[test]
fn an_installation_without_workers_says_what_to_do() {
    let world = fresh_account();
    let ran = world.run(&["install"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");
    for says in ["Nothing to watch yet.", "~/.config/workerheal/config.yaml", "workerheal init", "also_watch:"] {
        assert!(ran.out.contains(says), "{says}: {ran:?}");
    }
    // The shown text can be used as it is.
    let lines: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let lines = lines[lines.iter().position(|line| line.starts_with("also_watch")).unwrap()..].join("\n");
    world.config(&lines.replace("my-bot", "bot"));
    world.wait_until("the bot to be watched", SOON, || world.run(&["status"]).out.contains("bot").then_some(()));
}

#[test]
fn init_keeps_the_configuration_and_errors_change_nothing() {
    let world = fresh_account();
    let mine = "# mine\nrefresh: 5s # often\n";
    world.config(mine);
    for (args, says) in [
        (&["init", "no-such-unit"][..], "there is no unit no-such-unit.service"),
        (&["init", "*"], "it would cover every unit there is"),
        (&["init", "bot;rm"], "cannot be watched"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
    for answer in ["", "\n"] {
        let ran = init(&world, answer);
        assert!(ran.status == 0 && ran.out.ends_with("Nothing was written.\n"), "{ran:?}");
    }
    let ran = init(&world, "7\n1\n");
    assert_eq!((ran.status, ran.err.as_str()), (0, "workerheal: 7 is not on the list, which ends at 2\n"));
    assert!(config(&world).starts_with(mine) && config(&world).ends_with("also_watch:\n  - \"bot.service\"\n"));
    let before = config(&world);
    let ran = world.run(&["init", "--dry-run", "celery@*"]);
    assert!(ran.status == 0 && ran.out.contains("  - \"celery@*.service\"\n"), "{ran:?}");
    assert_eq!(config(&world), before);
    let ran = world.run(&["init", "bot"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "~/.config/workerheal/config.yaml has all of that already.\n"));

    // A list in another form is not edited.
    world.config("{refresh: 5s}\n");
    let ran = world.run(&["init", "bot"]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
    assert!(ran.err.contains("write there yourself:\nalso_watch:\n  - \"bot.service\""), "{ran:?}");
    assert_eq!(config(&world), "{refresh: 5s}\n");
}
