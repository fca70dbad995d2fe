//! Commands that show, stop and follow workers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{DAEMON, LIVES, LIVES_UNLESS_BROKEN, QUICK, Ran, SOON, World};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";
const BROKEN: &str = "lerd-broken-shop";

#[track_caller]
fn printed(world: &World, args: &[&str], out: &str) {
    let ran = world.run(args);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, out, ""), "{args:?}");
}

/// The line of `status` for a worker; `None` if it is not listed.
fn row(world: &World, args: &[&str], worker: &str) -> Option<String> {
    let ran = world.run(&[&["status"], args].concat());
    ran.out.lines().find(|line| line.starts_with(worker)).map(str::to_owned)
}

#[test]
fn a_worker_stopped_by_any_client_stays_stopped_until_it_is_started() {
    let world = World::with_a_waiting_worker(BROKEN, QUEUE);
    world.workers([VITE]);
    world.wait_until("the newcomer", SOON, || row(&world, &[], "shop/vite"));
    // Through the daemon: a worker that is up, and one that has failed.
    printed(
        &world,
        &["stop", "myapp/queue"],
        "Stopped myapp/queue; it stays stopped until you start it: workerheal heal myapp/queue\n",
    );
    printed(
        &world,
        &["stop", "shop", "shop/broken"],
        "Stopped shop/broken\nStopped shop/vite\nThey stay stopped until you start them: workerheal heal shop shop/broken\n",
    );
    assert_eq!(world.show("lerd-vite-shop.service", "ActiveState"), "inactive");
    printed(&world, &["detect"], "No unhealthy workers.\n");
    for worker in ["myapp/queue", "shop/broken", "shop/vite"] {
        let row = row(&world, &[], worker).unwrap();
        assert!(row.contains("stopped") && row.ends_with("you stopped it"), "{row}");
    }
    // A restart of the daemon makes no difference.
    world.control(&["restart", DAEMON]);
    assert!(row(&world, &[], "shop/broken").unwrap().ends_with("you stopped it"));
    let ran = world.run(&["heal", "myapp/queue", "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{ran:?}");

    // Without a daemon: the stop of a failed worker leaves no trace in the journal.
    world.control(&["stop", DAEMON]);
    world.control(&["start", VITE]);
    world.crash_for_good([QUEUE]);
    let ran = world.run(&["stop", "myapp/queue", "shop/vite", "--json"]);
    assert_eq!((ran.status, ran.json()["failed"].as_array().unwrap().len()), (0, 0), "{ran:?}");
    assert_eq!(ran.json()["stopped"][0]["unit"], QUEUE, "{ran:?}");
    printed(&world, &["detect"], "No unhealthy workers.\n");
    world.control(&["start", DAEMON]);
    for worker in ["myapp/queue", "shop/vite"] {
        let row = row(&world, &[], worker).unwrap();
        assert!(row.contains("stopped") && row.ends_with("you stopped it"), "{row}");
    }
    let ran = world.run(&["stop", "dbus"]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
    assert!(ran.err.contains("no worker named \"dbus\""), "{ran:?}");
    assert_eq!(world.run(&["stop"]).status, 2);
}

#[test]
fn logs_are_labelled_by_worker_and_followed() {
    let world = World::new();
    // After it has started, so that systemd's line about that comes before.
    let says_two = "until test -e %h/started; do sleep 0.02; done; echo two";
    world.worker(QUEUE, &format!("ExecStart=sh -c 'echo one; {says_two}; exec sleep infinity'"));
    world.worker(VITE, "ExecStart=sh -c 'echo built; exec sleep infinity'");
    world.write_file("started", "");
    let logged = |args: &[&str]| world.run(&[&["logs"], args].concat());
    world.wait_until("both logs", SOON, || {
        let out = logged(&[]).out;
        (out.contains("two") && out.contains("built")).then_some(())
    });
    let both = logged(&[]);
    assert_eq!((both.status, both.err.as_str()), (0, ""));
    let line = |out: &str, words: &str| out.lines().any(|line| line.ends_with(words));
    assert!(line(&both.out, " myapp/queue  two") && line(&both.out, " shop/vite    built"), "{both:?}");
    let one = logged(&["myapp/queue", "-n", "1"]);
    assert_eq!(one.out.lines().count(), 1, "{one:?}");
    assert!(line(&one.out, " two") && !one.out.contains("myapp/queue"), "{one:?}");
    assert_eq!(logged(&["nothing"]).status, 2);

    let mut command = world.command_line(&["logs", "--follow", "-n", "5"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("built")));
    world.control(&["restart", QUEUE]);
    assert!(lines.any(|line| line.unwrap().ends_with("myapp/queue  two")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn status_and_events_can_be_limited_to_some_workers() {
    let world = World::with_a_waiting_worker(BROKEN, QUEUE);
    world.workers([VITE]);
    world.wait_until("the newcomer, up", SOON, || row(&world, &[], "shop/vite").filter(|row| row.contains("  up ")));
    let shown = |args: &[&str]| {
        let ran = world.run(&[&["status"], args].concat());
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
        let rows = ran.out.lines().skip_while(|line| !line.starts_with("WORKER")).skip(1);
        rows.map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), ["myapp/queue", "shop/broken", "shop/vite"]);
    assert_eq!(shown(&["myapp/queue", "shop/vite"]), ["myapp/queue", "shop/vite"]);
    assert_eq!(shown(&["--failed"]), ["shop/broken"]);
    assert_eq!(shown(&["--site", "shop"]), ["shop/broken", "shop/vite"]);
    assert!(world.run(&["status", "--failed", "myapp"]).out.ends_with("\nNo unhealthy workers.\n"));
    let json = world.run(&["status", "--json", "--failed"]).json();
    assert_eq!((json.as_array().unwrap().len(), &json[0]["unit"]), (1, &BROKEN.into()));
    for (args, says) in [
        (["status", "nothing"], "no worker named \"nothing\""),
        (["status", "--site=nothing"], "no site named \"nothing\""),
        (["events", "nothing"], "no worker named \"nothing\""),
    ] {
        let ran = world.run(&args);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }

    let mut events = world.events();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let reported = |args: &[&str]| world.run(&[&["events"], args].concat());
    world.wait_until("the event", SOON, || reported(&["myapp/queue"]).out.contains("healed").then_some(()));
    // The text shows SITE/WORKER, JSON the unit.
    let queue = reported(&["myapp/queue"]);
    assert!(queue.out.contains("  myapp/queue is up again"), "{queue:?}");
    assert!(!queue.out.contains(QUEUE) && !queue.out.contains("broken"), "{queue:?}");
    assert!(reported(&["--json", "myapp"]).out.contains(QUEUE));
    assert_eq!(reported(&["myapp", "-n", "2"]).out.lines().count(), 2);
    for since in ["1h", "yesterday", "today", "2026-01-01"] {
        assert!(reported(&["--since", since]).out.contains("shop/broken"), "{since}");
    }
    let ran = reported(&["--since", "2099-01-01"]);
    assert!(ran.status == 2 && ran.err.contains("that has not come yet"), "{ran:?}");
    let ran = reported(&["--since", "soon"]);
    assert!(ran.status == 2 && ran.err.contains("write 2h, yesterday, 14:05"), "{ran:?}");
}

#[test]
fn a_heal_reports_the_downtime_by_the_managers_clock() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let at = |timestamp| world.since_boot(QUEUE, timestamp);
    let down = at("ActiveEnterTimestamp").checked_sub(at("InactiveEnterTimestamp")).unwrap();
    let healed = world.wait_until("the event", SOON, || {
        let reported = world.run(&["events", "--json"]).out;
        reported.lines().find(|line| line.contains("\"healed\"")).map(str::to_owned)
    });
    let healed: serde_json::Value = serde_json::from_str(&healed).unwrap();
    let reported = Duration::from_millis(healed["downtime_ms"].as_u64().unwrap_or_else(|| panic!("{healed:#}")));
    // Its uptime is checked a little after its downtime is computed.
    assert!(reported.abs_diff(down) < Duration::from_millis(100), "{reported:?} {down:?}");
    let text = world.run(&["events"]).out;
    assert!(text.contains("myapp/queue is up again and has stayed up; it was down for "), "{text}");
}

#[test]
fn paused_workers_are_counted_and_resume_reports_its_effect() {
    let world = World::with_a_waiting_worker(BROKEN, QUEUE);
    let ran = world.run(&["pause"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "Paused everything until you resume it\n"));
    let held = "Healing is paused (shop/broken: you paused everything): 1 unhealthy worker not healed.\n";
    world.wait_until("the pause to be known", SOON, || (world.run(&["detect"]).out == held).then_some(()));
    printed(&world, &["heal"], &format!("{held}Healed 0 worker(s).\n"));
    printed(&world, &["heal", "--dry-run"], held);
    let json = world.run(&["status", "--json", "shop/broken"]).json();
    assert_eq!((&json[0]["state"], &json[0]["healthy"]), (&"failed".into(), &false.into()), "{json:#}");
    assert_eq!(json[0]["on_purpose"], true, "{json:#}");
    let ran = world.run(&["pause", "shop", "--for", "soon"]);
    assert!(ran.status == 2 && ran.err.contains("write 30m, 2h or 1d"), "{ran:?}");
    let ran = world.run(&["pause", "myapp/queue", "--for", "30m"]);
    assert!(ran.out.contains("\nPaused myapp/queue until "), "{ran:?}");
    printed(&world, &["resume", "myapp/queue"], "Resumed myapp/queue.\nPaused everything until you resume it\n");
    printed(&world, &["resume"], "Resumed everything.\n");
    printed(&world, &["resume"], "Nothing was paused or given up.\n");

    // Without a daemon it is the same.
    world.run(&["pause"]);
    world.control(&["stop", DAEMON]);
    printed(&world, &["detect"], held);
    printed(&world, &["heal"], &format!("{held}Healed 0 worker(s).\n"));
}

#[test]
fn resume_retries_given_up_workers_and_names_them() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {give_up_after: 1, stable_after: 50ms}\n");
    world.worker(BROKEN, LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    world.write_file("broken", "");
    world.crash(BROKEN);
    events.wait("gave-up", BROKEN);
    printed(&world, &["resume"], "Trying 1 worker that was given up again: shop/broken.\n");
}

#[test]
fn a_dry_run_lists_only_what_the_heal_would_start() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, states: [failed]}\n");
    world.workers(["redis"]);
    let bound = "[Unit]\nBindsTo=redis.service\nAfter=redis.service\n";
    let rest = format!("[Service]\n{LIVES}\n[Install]\nWantedBy=default.target\n");
    world.write_unit("lerd-queue-myapp.service", &format!("{bound}{rest}"));
    world.control(&["enable", "--now", QUEUE]);
    world.crash_for_good([QUEUE]);
    world.control(&["stop", "redis"]);
    let refused = "– myapp/queue is not healed: it needs redis.service, which is down\n";
    printed(&world, &["heal", "--dry-run"], refused);
    let heal = || {
        let ran = world.run(&["heal"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.out.contains("it needs redis.service, which is down"), "{ran:?}");
    };
    heal();
    let mut events = world.start_daemon();
    events.wait("held", QUEUE);
    printed(&world, &["heal", "--dry-run"], refused);
    printed(&world, &["heal", "--dry-run", "myapp"], refused);
    heal();
}

#[test]
fn a_heal_of_a_worker_that_is_being_proven_says_so() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 4s}\n");
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("starting", QUEUE);
    world.wait_for_state("lerd-queue-myapp.service", "active", SOON);
    let ran = world.run(&["heal", "myapp/queue"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let says = "– myapp/queue is being proven, attempt 1; waiting for the end of that\n";
    assert!(ran.out.starts_with(says) && ran.out.ends_with("Healed 1 worker(s).\n"), "{ran:?}");
}

#[test]
fn a_rejected_configuration_is_reported_until_it_is_corrected() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    assert!(!world.run(&["status"]).out.contains("configuration"));
    world.config("helth: {}\n");
    events.wait_for_log(&["helth", "stays in force"]);
    let ran = world.run(&["status"]);
    let banner = ran.out.lines().nth(2).unwrap();
    assert!(banner.starts_with("The configuration cannot be used, an earlier one is: "), "{ran:?}");
    assert!(banner.contains("config.yaml:1:1: unknown key `helth`"), "{ran:?}");
    let ran = world.run(&["doctor"]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("warning  in force"), "{ran:?}");
    world.config(QUICK);
    world
        .wait_until("the banner to go", SOON, || (!world.run(&["status"]).out.contains("configuration")).then_some(()));
}

#[test]
fn the_count_of_a_crash_loop_continues() {
    let world = World::new();
    let unit = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=50ms\nExecStart=false\n\
                [Install]\nWantedBy=default.target\n";
    world.write_unit("lerd-broken-shop.service", unit);
    world.control(&["enable", "--now", BROKEN]);
    let _events = world.start_daemon();
    let count = || {
        let row = row(&world, &[], "shop/broken")?;
        let words: Vec<&str> = row.split(' ').collect();
        words[words.iter().position(|word| *word == "times")? - 1].parse::<u64>().ok()
    };
    let first = world.wait_until("a crash loop", SOON, count);
    world.wait_until("a later count", SOON, || count().filter(|count| *count > first));
}

#[test]
fn doctor_lists_problems_with_their_remedies() {
    let world = World::new();
    fs::remove_file(world.home().join(".config/systemd/user/workerheal.service")).unwrap();
    world.daemon_reload();
    world.config("refresh: 100ms\nalso_watch: [\"nothing-*.service\"]\n");
    let ran = world.run(&["doctor"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{ran:?}");
    for line in [
        "ok       registry  2 sites in ~/.local/share/lerd/sites.yaml",
        "ok       manager   the service manager answers",
        "ok       journal   can be read",
        "install it with `workerheal install`",
        "warning  patterns  also_watch: \"nothing-*.service\" matches no unit, and no file of one; correct its name",
    ] {
        assert!(ran.out.contains(line), "{line}: {ran:?}");
    }
    world.config(QUICK);
    assert_eq!(world.run(&["install"]).status, 0);
    let ran = world.run(&["doctor"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.ends_with("All checks passed.\n"), "{ran:?}");
    let json = world.run(&["doctor", "--json"]).json();
    let levels = json.as_array().unwrap().iter().map(|check| check["level"].as_str().unwrap());
    assert!(levels.clone().count() > 5 && levels.clone().all(|level| level == "ok"), "{json:#}");
    world.config("also_watch: bot\n");
    assert_eq!(world.run(&["doctor"]).status, 1);
    let ran = Ran::of(world.command_line(&["doctor"]).env("XDG_RUNTIME_DIR", "/nowhere"));
    assert!(ran.status == 1 && ran.out.contains("problem  manager"), "{ran:?}");
}

#[test]
fn doctor_of_the_system_says_that_the_daemon_may_start_nothing() {
    let world = World::new();
    // In the place of the system's manager is the user's; there is no polkit rule of workerheal's, and perhaps no polkit.
    let stand_in = "ln -s $XDG_RUNTIME_DIR/systemd/private /run/systemd/private";
    assert_eq!(Ran::of(world.command("sh").args(["-c", stand_in])).status, 0);
    world.write_file("system.yaml", "also_watch: [bot]\n");
    let ran = world.run(&["--system", "doctor", "--config", &world.path("system.yaml")]);
    assert_eq!(ran.status, 1, "{ran:?}");
    let line = ran.out.lines().find(|line| line.contains("polkit")).unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.starts_with("problem  polkit ") && line.contains("sudo workerheal --system install"), "{line}");
}

#[test]
fn without_a_daemon_commands_say_how_to_start_one() {
    let world = World::new();
    let ran = world.run(&["status"]);
    assert_eq!((ran.status, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.err.ends_with("start it with `systemctl --user start workerheal`\n"), "{ran:?}");
    fs::remove_file(world.home().join(".config/systemd/user/workerheal.service")).unwrap();
    world.daemon_reload();
    for command in ["status", "events", "pause", "resume"] {
        let ran = world.run(&[command]);
        assert_eq!((ran.status, ran.out.as_str()), (3, ""), "{ran:?}");
        assert!(ran.err.ends_with("install it with `workerheal install`\n"), "{ran:?}");
    }
}

/// Completions of a real bash for a line that ends at the cursor.
fn offered_by_bash(world: &World, line: &str) -> Vec<String> {
    let script = r#"
        PATH=$(dirname "$0"):$PATH
        eval "$(workerheal completions bash)"
        COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
        COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _workerheal workerheal "" "" && printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = world.command("bash");
    let ran = Ran::of(command.args(["--norc", "-c", script, crate::common::WORKERHEAL, line]));
    // Outside of a completion bash warns that it cannot set its options.
    ran.out.lines().map(str::to_owned).collect()
}

/// The same of a real fish.
fn offered_by_fish(world: &World, line: &str) -> Vec<String> {
    let script = "set PATH (dirname $argv[1]) $PATH; workerheal completions fish | source; complete -C $argv[2]";
    let mut command = world.command("fish");
    let ran = Ran::of(command.args(["--no-config", "-c", script, crate::common::WORKERHEAL, line]));
    // What it does, or nothing, is behind a tab.
    ran.out.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// The same of a real zsh, whose completion system needs a terminal.
fn offered_by_zsh(world: &World, line: &str) -> Vec<String> {
    let script = r#"
        PATH=${1:h}:$PATH
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PS1= PATH=$PATH; autoload -U compinit && compinit -D -u"
        # Instead of showing what is offered, it is printed.
        zpty -w shell 'source <(workerheal completions zsh); unset zle_bracketed_paste'
        zpty -w shell '_describe() { print -rl -- BEGIN "${(P@)@[-1]}" END; }'
        zpty -w shell 'bindkey "^I" complete-word; print READY'
        zpty -r -m shell heard '*READY*READY*'
        zpty -w -n shell "$2"$'\t'
        zpty -r -m shell heard '*BEGIN*END*'
        print -r -- "$heard"
    "#;
    let mut command = world.command("timeout");
    let ran = Ran::of(command.args(["10", "zsh", "-f", "-c", script, "zsh", crate::common::WORKERHEAL, line]));
    let lines = ran.out.lines().map(str::trim).skip_while(|line| !line.ends_with("BEGIN")).skip(1);
    let words =
        lines.take_while(|line| *line != "END").map(|line| line.split(':').next().unwrap_or_default().to_owned());
    words.collect()
}

#[test]
fn each_shell_completes_workers() {
    let world = World::new();
    world.workers([QUEUE, VITE]);
    for offered in [offered_by_bash, offered_by_fish, offered_by_zsh] {
        assert_eq!(offered(&world, "workerheal sta"), ["status"]);
        assert_eq!(offered(&world, "workerheal heal s"), ["shop", "shop/vite"]);
    }
}

#[test]
fn a_thousand_workers_are_completed_at_once() {
    let world = World::new();
    let sites: Vec<String> = (0..1000).map(|number| format!("{{name: site{number}}}")).collect();
    world.sites(&sites.iter().map(String::as_str).collect::<Vec<_>>());
    let units: Vec<String> = (0..1000).map(|number| format!("lerd-queue-site{number}.service")).collect();
    for unit in &units {
        world.write_unit(unit, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n");
    }
    world.daemon_reload();
    world.control(&[&["start"], &units.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    for with_daemon in [false, true] {
        if with_daemon {
            drop(world.start_daemon());
        }
        // On a machine that is busy with other tests, not the first answer may be that fast.
        world.wait_until("an answer within 50 ms", SOON, || {
            let mut command = world.command(crate::common::WORKERHEAL);
            command.env("WORKERHEAL_COMPLETE", "fish").args(["--", "workerheal", "heal", "site99"]);
            let begin = Instant::now();
            let offered = Ran::of(&mut command).out.lines().count();
            // The sites 99 and 990 to 999, and the worker of each.
            (offered == 22 && begin.elapsed() < Duration::from_millis(50)).then_some(())
        });
    }
}

#[test]
fn a_shell_completes_commands_sites_and_workers() {
    let world = World::new();
    let checkout = world.home().join("shop-feat-x");
    fs::create_dir_all(&checkout).unwrap();
    world.config("refresh: 100ms\nalso_watch: [\"celery@*.service\"]\n");
    world.write_unit("celery@.service", &format!("[Service]\n{LIVES}\n"));
    world.control(&["start", "celery@mail"]);
    world.workers([QUEUE, VITE]);
    for with_daemon in [false, true] {
        if with_daemon {
            drop(world.start_daemon());
        }
        let offered = |line: &str| offered_by_bash(&world, line);
        assert_eq!(offered("workerheal sta"), ["status"]);
        assert_eq!(offered("workerheal heal s"), ["shop", "shop/vite"]);
        assert_eq!(offered("workerheal explain myapp/"), ["myapp/queue"]);
        assert_eq!(offered("workerheal status --site m"), ["myapp"]);
        // Bash already has the text before the `@`.
        assert_eq!(offered("workerheal stop celery@"), ["mail"]);
    }
}

#[test]
fn the_manual_page_has_examples_exit_statuses_and_files() {
    let world = World::new();
    let ran = world.run(&["man"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    for part in [".SH EXAMPLES", ".SH \"EXIT STATUS\"", ".SH FILES", ".SS doctor", ".SS logs", ".SS stop", ".SS init"] {
        assert!(ran.out.contains(&part.replace('"', "")) || ran.out.contains(part), "{part}");
    }
    assert!(!ran.out.contains("workerheal\\-heal(1)"), "there is no such page");
}
