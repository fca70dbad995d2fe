//! Files that are invalid, hostile, missing, or change while the daemon runs.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;

use crate::common::{DAEMON, QUICK, Ran, SOON, WORKERHEAL, World, text};

const SITES: &str = ".local/share/lerd/sites.yaml";
const CONFIG: &str = ".config/workerheal/config.yaml";
const QUEUE: &str = "lerd-queue-myapp";
/// Maximum memory of the daemon, in bytes.
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Invalid registries: the content, the place that the error has to name (empty for the whole file), and a word of the
/// explanation.
fn wrong_registries() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (text(""), "", "empty"),
        (text("# nothing yet\n"), "", "empty"),
        (text("sites:\n- name: myapp\n  path: \"/srv\n"), "4:1", "ends"),
        (text("sites:\n- {name: myapp\n"), "3:1", "close it"),
        (text("site:\n- {name: myapp}\n"), "", "sites"),
        (text("sites:\n  myapp: {}\n"), "2:3", "list"),
        (text(&format!("sites: {}", "[".repeat(5000))), "", ""),
        (text(&format!("sites:\n- name: a\n  x: {}{}\n", "{a: ".repeat(5000), "}".repeat(5000))), "", ""),
        (format!("sites:\n{}", "- {name: a, x: y}\n".repeat(600_000)).into_bytes(), "", "MiB"),
        (text("%YAML 9.9\n---\nsites: !!binary 4294967295\n"), "", ""),
    ]
}

/// Invalid entries of a registry that also has the sites `myapp` and `shop`.
fn wrong_entries() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let with = |entry: &[u8]| [b"sites:\n- {name: myapp}\n", entry, b"\n- {name: shop}\n"].concat();
    let text = |text: &str| with(text.as_bytes());
    let bomb = {
        let mut levels = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = format!("*a{}, ", level - 1).repeat(9);
            levels += &format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", "));
        }
        levels + "sites: [{name: myapp}, {name: x, paused_workers: *a9}, {name: shop}]\n"
    };
    vec![
        (text("- name: b\n  path: \"/srv"), "3:", "ends"),
        (text("- {name: b"), "3:", ""),
        (with(b"- {name: \"\xff\xfe\"}"), "3:", "UTF-8"),
        (text("- {name: myapp}"), "3:", "myapp"),
        (text("- {name: my/app}"), "3:10", "'/'"),
        (text("- {name: caf\u{e9}}"), "3:10", "'\u{e9}'"),
        (text("- {name: c++}"), "3:10", "'+'"),
        (text("- name: a&b"), "3:9", "'&'"),
        (text("- name: my app"), "3:9", "' '"),
        (text("- {name: \"my\\napp\"}"), "3:10", r"'\n'"),
        (text("- {name: ../../etc}"), "3:10", "'/'"),
        (text("- {path: /srv}"), "3:", "name"),
        (text("- {name: b, paused: yes}"), "3:21", "yes"),
        (text("- {name: b, paused_workers: {queue: true}}"), "3:", "list"),
        (text("- {name: b, name: shop}"), "3:13", "twice"),
        (text(&format!("- name: {}", "x".repeat(1_000_000))), "3:", ""),
        (text("- {<<: {name: b}}"), "3:", "merge"),
        (bomb.into_bytes(), "", "skipped"),
    ]
}

/// Invalid configurations, likewise.
const WRONG_CONFIGS: [(&str, &str, &str); 12] = [
    ("helth: {}\n", "1:1", "helth"),
    ("heal:\n  giv_up_after: 3\n", "2:3", "did you mean `give_up_after`"),
    ("refesh: 3s\n", "1:1", "did you mean `refresh`"),
    ("refresh: 3\n", "1:10", "3s"),
    ("refresh: -1s\n", "1:10", ""),
    ("refresh: 1ns\n", "1:10", "too short"),
    ("heal: {backoff: {factor: 0.5}}\n", "1:26", "from 1 to 100"),
    ("heal: {states: [faild]}\n", "1:17", "did you mean `failed`"),
    ("heal: [1, 2]\n", "1:7", ""),
    ("also_watch: [\"*.service\"]\n", "1:14", "every unit"),
    ("also_watch: [backup.timer]\n", "1:14", ".service"),
    ("unit_prefix: \"\"\n", "1:14", ""),
];

/// What is missing if the text does not report an error in one line: the file, its place, the problem.
fn missing(said: &str, path: &str, place: &str, word: &str) -> Option<String> {
    let Some(line) = said.lines().find(|line| line.contains(path)) else {
        return Some(format!("nothing about {path}: {said:?}"));
    };
    let after = &line[line.find(path).unwrap() + path.len()..];
    let fit = line.chars().count() < 600 && !line.contains('\u{1b}') && !said.contains("panicked");
    let complete = after.starts_with(&format!(":{place}")) && after.to_lowercase().contains(&word.to_lowercase());
    (!fit || !complete).then(|| format!("not with {place:?} and {word:?}, or unfit to show: {line}"))
}

#[test]
fn an_invalid_file_ends_the_start_with_an_error_at_its_place() {
    let world = World::new();
    let check = |path: &str, content: &[u8], place: &str, word: &str| -> Vec<String> {
        let of_one = |command: &&str| {
            // Too little memory for more than the limit.
            let limit = format!("--data={MAX_MEMORY_BYTES}");
            let ran = Ran::of(world.command("prlimit").args([&limit, WORKERHEAL, *command]));
            let content = String::from_utf8_lossy(&content[..content.len().min(80)]);
            let problem = match ran.status {
                2 => missing(&ran.err, path, place, word)?,
                status => format!("status {status}: {}{}", ran.out, ran.err),
            };
            Some(format!("{command} with {content:?}: {problem}"))
        };
        ["daemon", "check", "detect", "heal"].iter().filter_map(of_one).collect()
    };
    let mut problems = Vec::new();
    for (content, place, word) in wrong_registries() {
        world.registry(&content);
        problems.extend(check(&world.path(SITES), &content, place, word));
    }
    world.sites(&["{name: myapp}"]);
    for (content, place, word) in WRONG_CONFIGS {
        world.config(content);
        problems.extend(check(&world.path(CONFIG), content.as_bytes(), place, word));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn an_invalid_entry_is_reported_and_other_sites_are_healed() {
    let world = World::new();
    let sites = world.path(SITES);
    world.workers([QUEUE, "lerd-queue-shop"]);
    let mut problems = Vec::new();
    for (content, place, word) in wrong_entries() {
        world.registry(&content);
        for command in ["check", "detect"] {
            let ran = world.run(&[command]);
            let problem = if ran.status == 0 { missing(&ran.err, &sites, place, word) } else { Some(ran.err) };
            problems.extend(problem.map(|problem| format!("{command}: {problem}")));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");

    world.registry("sites:\n- name: my app\n- {name: myapp}\n- {name: shop}\n");
    let mut events = world.start_daemon();
    let reported = |place: &str| {
        let warnings = world.journal(&["SYSLOG_IDENTIFIER=workerheal", "PRIORITY=4"]);
        warnings.iter().filter(|entry| missing(&text(entry, "MESSAGE"), &sites, place, "skipped").is_none()).count()
    };
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(reported("2:9"), 1);
    let ran = world.run(&["status"]);
    assert_eq!(missing(&ran.out, &sites, "2:9", "skipped"), None);
    // An entry that becomes invalid while it runs is skipped, and reported once.
    world.registry("sites:\n- {name: myapp}\n- {name: shop, paused: yes}\n");
    events.wait_for_log(&[&sites, "3:24", "skipped"]);
    world.crash_for_good(["lerd-queue-shop"]);
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.show("lerd-queue-shop.service", "ActiveState"), "failed");
    world.sites(&["{name: myapp}", "{name: shop}"]);
    events.wait("healed", "lerd-queue-shop");
}

#[test]
fn a_worker_of_a_skipped_entry_is_refused_with_the_place_of_the_mistake() {
    let world = World::new();
    world.registry("sites:\n- {name: myapp}\n- {name: nulls, paused: maybe}\n");
    world.workers([QUEUE, "lerd-vite-nulls"]);
    let skipped = format!("the entry of the site nulls is skipped for the mistake at {}:3:25", world.path(SITES));
    let refused = |commands: &[&str], daemon: bool| {
        for (command, target) in
            commands.iter().flat_map(|it| [(it, "nulls"), (it, "nulls/vite"), (it, "lerd-vite-nulls")])
        {
            let ran = world.run(&[command, target]);
            assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{command} {target}, with a daemon: {daemon}: {ran:?}");
            assert!(ran.err.ends_with(&format!("no worker named {target:?}; {skipped}\n")), "{command}: {ran:?}");
        }
    };
    refused(&["heal", "explain", "logs", "stop"], false);
    let _events = world.start_daemon();
    refused(&["heal", "explain", "logs", "stop", "status", "events", "pause", "resume"], true);

    let ran = world.run(&["check"]);
    assert_eq!(ran.status, 0, "the other sites are healed: {ran:?}");
    assert!(ran.out.ends_with("\nwarning ~/.local/share/lerd/sites.yaml (1 site, 1 entry is skipped)\n"), "{ran:?}");
    world.registry("sites:\n- {name: myapp, paused: true}\n- {name: [}\n- {name: a b}\n- {name: shop}\n");
    let ran = world.run(&["check"]);
    let (file, count) =
        ("~/.local/share/lerd/sites.yaml", "2 sites, 1 of them paused or ignored, 2 entries are skipped");
    assert!(ran.out.ends_with(&format!("\nwarning {file} ({count})\n")), "{ran:?}");
}

#[test]
fn a_missing_registry_is_empty_and_is_read_once_it_appears() {
    let world = World::new();
    fs::remove_dir_all(world.home().join(".local/share/lerd")).unwrap();
    let ran = world.run(&["detect", "--json"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "[]\n", ""), "{ran:?}");
    let ran = world.run(&["check"]);
    assert!(ran.status == 0 && ran.out.contains("no sites yet"), "{ran:?}");
    let ran = world.run(&["heal"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "No unhealthy workers.\n"), "{ran:?}");
    world.workers([QUEUE]);
    world.crash_for_good([QUEUE]);

    let mut events = world.start_daemon();
    // No warning says that it is missing.
    world.control(&["reload", DAEMON]);
    let ran = world.run(&["status"]);
    assert!(ran.status == 0 && !ran.out.contains("registry"), "{ran:?}");
    assert!(world.journal(&["_SYSTEMD_USER_UNIT=workerheal.service", "PRIORITY=3"]).is_empty());
    // A registry that appears later, including its directory, is read.
    world.sites(&["{name: myapp}"]);
    events.wait("healed", QUEUE);
    // A registry that is removed later is reported.
    fs::remove_file(world.home().join(SITES)).unwrap();
    world.control(&["reload", DAEMON]);
    let ran = world.run(&["status"]);
    assert!(ran.out.contains("The registry cannot be used, an earlier one is: cannot read"), "{ran:?}");

    // A configuration that an option names has to exist.
    let ran = world.run(&["--config", "/nowhere/config.yaml", "check"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("/nowhere/config.yaml"), "{ran:?}");
}

#[test]
fn an_invalid_file_ends_the_service_with_status_2_and_one_line_in_the_journal() {
    let world = World::new();
    world.registry("sites:\n  myapp: {}\n");
    assert!(world.systemctl(&["start", DAEMON]).is_err());
    assert_eq!(world.show(DAEMON, "ExecMainStatus"), "2");
    let lines = world.journal(&["SYSLOG_IDENTIFIER=workerheal"]);
    let messages: Vec<_> = lines.iter().map(|entry| text(entry, "MESSAGE")).collect();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert_eq!(missing(&messages[0], &world.path(SITES), "2:3", "list"), None);
    assert_eq!(lines[0]["PRIORITY"], "3");
}

/// The peak memory, as the kernel counts it.
fn peak(world: &World) -> u64 {
    let status = format!("/proc/{}/status", world.show(DAEMON, "MainPID"));
    let status = Ran::of(world.command("cat").arg(status)).out;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_else(|| panic!("no VmHWM: {status}"));
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn errors(world: &World) -> Vec<String> {
    let entries = world.journal(&["SYSLOG_IDENTIFIER=workerheal", "PRIORITY=3"]);
    entries.iter().map(|entry| text(entry, "MESSAGE")).collect()
}

#[test]
fn a_file_that_becomes_invalid_is_reported_once_and_the_last_valid_one_is_kept() {
    let world = World::new();
    // Each crash counts as the first, so that there is no backoff.
    world.config("refresh: 100ms\nheal: {stable_after: 10ms, reset_after: 1ms, backoff: {initial: 1ms}}\n");
    world.workers([QUEUE, "lerd-queue-later"]);
    world.crash_for_good(["lerd-queue-later"]);
    let mut events = world.start_daemon();
    let daemon = world.show(DAEMON, "MainPID");

    for (content, place, word) in wrong_registries() {
        let before = errors(&world).len();
        world.registry(&content);
        let said = events.wait_for_log(&[&world.path(SITES), "last good"]);
        assert_eq!(missing(&text(&said, "MESSAGE"), &world.path(SITES), place, word), None);
        assert_eq!(said["PRIORITY"], "3");
        assert_eq!(errors(&world).len(), before + 1, "{:#?}", errors(&world));
    }
    let before = errors(&world).len();
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(errors(&world).len(), before, "{:#?}", errors(&world));
    fs::remove_file(world.home().join(SITES)).unwrap();
    events.wait_for_log(&[&world.path(SITES), "last good"]);
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.show("lerd-queue-later.service", "ActiveState"), "failed");
    // Once corrected, it takes effect.
    world.sites(&["{name: myapp}", "{name: later}"]);
    events.wait("healed", "lerd-queue-later");

    for (content, place, word) in WRONG_CONFIGS {
        let before = errors(&world).len();
        world.config(content);
        let said = events.wait_for_log(&[&world.path(CONFIG), "last good"]);
        assert_eq!(missing(&text(&said, "MESSAGE"), &world.path(CONFIG), place, word), None);
        assert_eq!(errors(&world).len(), before + 1, "{:#?}", errors(&world));
    }
    events.prove_alive_with(&world, QUEUE);
    world.config(&format!("{QUICK}ignore_workers: [queue]\n"));
    events.wait_for_log(&["new configuration"]);
    world.workers(["lerd-vite-myapp"]);
    world.crash_for_good([QUEUE]);
    events.prove_alive_with(&world, "lerd-vite-myapp");
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "failed");

    assert_eq!(world.show(DAEMON, "MainPID"), daemon);
    let peak = peak(&world);
    assert!(peak < MAX_MEMORY_BYTES, "it took {} MiB", peak / 1024 / 1024);
}

#[test]
fn the_largest_accepted_registry_fits_into_the_memory_limit() {
    let world = World::new();
    let sites: Vec<String> = (0..10_000)
        .map(|n| {
            format!(
                "- name: site-{n}\n  path: /home/dev/code/site-{n}\n  domains: [site-{n}.test, www.site-{n}.test]\n  \
                 php_version: '8.5'\n  node_version: '22'\n  secured: true\n  paused_workers: [queue, vite]\n  \
                 worktree_idle_suspended: {{feature: [queue, horizon]}}\n"
            )
        })
        .collect();
    let sites = sites.concat();
    world.registry(format!("sites:\n- {{name: myapp}}\n{sites}"));
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    events.prove_alive_with(&world, QUEUE);
    world.registry(format!("sites:\n- {{name: myapp}}\n- {{name: shop}}\n{sites}"));
    events.wait_for_log(&["10002"]);
    let peak = peak(&world);
    assert!(peak < MAX_MEMORY_BYTES, "it took {} MiB", peak / 1024 / 1024);
}

#[test]
fn a_replaced_file_takes_effect_however_it_is_replaced() {
    let world = World::new();
    // By notifications only: there is no refresh.
    world.config("refresh: 1h\nheal: {stable_after: 50ms}\n");
    let workers = ["lerd-a-one", "lerd-a-two", "lerd-a-three", "lerd-a-four", "lerd-a-five"];
    world.workers(workers);
    world.crash_for_good(workers);
    let sites = world.home().join(SITES);
    let registry = |names: &str| {
        let lines: Vec<String> = names.split(' ').map(|name| format!("- {{name: {name}}}\n")).collect();
        format!("sites:\n{}", lines.concat())
    };
    let mut events = world.start_daemon();

    // Rewritten in place.
    fs::write(&sites, registry("one")).unwrap();
    events.wait("healed", "lerd-a-one");

    // A link takes its place, and is later pointed to another file in another directory.
    for (dir, names) in [("first", "one two"), ("second", "one two three")] {
        world.write_file(format!("{dir}/real.yaml"), &registry(names));
        let link = sites.with_extension("link");
        std::os::unix::fs::symlink(world.home().join(dir).join("real.yaml"), &link).unwrap();
        fs::rename(&link, &sites).unwrap();
        events.wait("healed", &format!("lerd-a-{}", names.rsplit(' ').next().unwrap()));
    }
    // The target of the link is replaced.
    world.replace("second/real.yaml", registry("one two three four").as_bytes());
    events.wait("healed", "lerd-a-four");

    // Its directory is replaced.
    let dir = sites.parent().unwrap();
    fs::rename(dir, dir.with_extension("old")).unwrap();
    events.wait_for_log(&["last good"]);
    fs::create_dir(dir).unwrap();
    fs::write(&sites, registry("one two three four five")).unwrap();
    events.wait("healed", "lerd-a-five");
}

#[test]
fn a_file_rewritten_without_a_change_has_no_effect() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    for _ in 0..20 {
        world.sites(&["{name: myapp}", "{name: shop}"]);
        world.config(QUICK);
    }
    events.prove_alive_with(&world, QUEUE);
    let own = world.journal(&["SYSLOG_IDENTIFIER=workerheal"]);
    let news = own.iter().filter(|entry| entry.get("WORKERHEAL_PHASE").is_none());
    let news: Vec<_> = news.map(|entry| text(entry, "MESSAGE")).filter(|line| !line.contains("watches over")).collect();
    assert_eq!(news, [""; 0]);
}

#[test]
fn a_new_configuration_takes_effect_and_stays_in_force_while_its_file_is_gone() {
    let world = World::new();
    fs::remove_dir_all(world.home().join(".config/workerheal")).unwrap();
    world.workers(["bot"]);
    world.crash_for_good(["bot"]);
    let mut events = world.start_daemon();
    world.control(&["reload", DAEMON]);
    assert!(!world.run(&["status"]).out.contains("configuration"), "none is needed");
    world.config("refresh: 100ms\nheal: {stable_after: 50ms}\nalso_watch: [bot.service]\n");
    events.wait("healed", "bot");

    fs::remove_file(world.home().join(CONFIG)).unwrap();
    events.wait_for_log(&[CONFIG, "no such file", "last good"]);
    events.prove_alive_with(&world, "bot");
    let banner = "The configuration cannot be used, an earlier one is: cannot read";
    let ran = world.run(&["status"]);
    assert!(ran.out.contains(banner), "{ran:?}");
    let ran = world.run(&["doctor"]);
    assert!(ran.status == 1 && ran.out.contains("problem  in force"), "{ran:?}");
    assert!(ran.out.contains("put it back, or restart workerheal"), "{ran:?}");

    // It is back: nothing is new.
    world.config("refresh: 100ms\nheal: {stable_after: 50ms}\nalso_watch: [bot.service]\n");
    let is_over = || (!world.run(&["status"]).out.contains("configuration")).then_some(());
    world.wait_until("the banner to go", SOON, is_over);
    // Without a file, a new daemon has the defaults.
    fs::remove_file(world.home().join(CONFIG)).unwrap();
    world.control(&["restart", DAEMON]);
    let ran = world.run(&["status"]);
    assert!(ran.status == 0 && !ran.out.contains("bot") && !ran.out.contains("configuration"), "{ran:?}");
}
