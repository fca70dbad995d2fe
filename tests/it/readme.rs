//! What the README promises and no other test of a feature compares with it: its commands do what is written beside them,
//! its samples are what the program prints, and its figures are those of the code. (See `docs`, `recipes` and
//! `api::readme`, too.)

#![expect(clippy::expect_used, reason = "this is for tests only")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use workerheal::core::policy::Policy;
use workerheal::core::report::Stage;

use crate::common::{LIVES_UNLESS_BROKEN, Ran, SOON, WORKERHEAL, World};

const README: &str = include_str!("../../README.md");

/// The text below this heading, up to the next one of that level.
fn section(heading: &str) -> &'static str {
    let (_, after) = README.split_once(&format!("\n{heading}\n")).expect("there is such a section");
    let level = heading.split(' ').next().unwrap_or_default();
    after.split(&format!("\n{level} ")).next().unwrap_or_default()
}

/// The indented lines of a text, without the comments beside them.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned()).collect()
}

/// Runs a line of the README as its reader would.
#[track_caller]
fn run(world: &World, line: &str) -> Ran {
    let script = format!("workerheal() {{ {WORKERHEAL} \"$@\"; }}; {line}");
    let ran = Ran::of(world.command("bash").args(["-c", &script]).stdin(Stdio::null()));
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{line}: {ran:?}");
    ran
}

#[test]
fn the_quick_start_works_as_it_is_written() {
    let world = World::new();
    for file in [".config/systemd/user/workerheal.service", ".config/workerheal/config.yaml"] {
        fs::remove_file(world.home().join(file)).expect("it is there");
    }
    fs::remove_file(world.home().join(".local/share/lerd/sites.yaml")).expect("it is there");
    world.write_unit("my-bot.service", "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n");
    world.control(&["enable", "--now", "my-bot"]);
    let lines = commands(section("## Quick start"));
    let [init, install, status, crash, events, stop, explain, heal] = &lines[..] else { panic!("{lines:?}") };
    assert!(run(&world, init).out.ends_with("my-bot.service\nNext: workerheal install\n"));
    assert!(run(&world, install).out.contains("is installed and running: watching over 1 worker.\n"));
    let find = "cd ~ && find . -path '*workerheal*' ! -type d -printf '~/%P\\n' | sort";
    let files = Ran::of(world.command("sh").args(["-c", find])).out;
    let created: Vec<&str> = files.lines().filter(|file| !file.contains("/.local/state/")).collect();
    let unit = "~/.config/systemd/user/workerheal.service";
    let link = "~/.config/systemd/user/default.target.wants/workerheal.service";
    assert_eq!(created, [link, unit, "~/.config/workerheal/config.yaml"], "it changes no file of yours");
    assert!(section("### For your own units").contains(&format!("| what is written | `{unit}` |")));
    assert!(run(&world, status).out.contains("\nmy-bot  up "));
    run(&world, crash);
    let healed = || Some(run(&world, events).out).filter(|told| told.contains("healed"));
    let told = world.wait_until("it to be healed", SOON, healed);
    let at = |word: &str| told.find(word).unwrap_or_else(|| panic!("{word}: {told}"));
    assert!(at("detected") < at("starting") && at("starting") < at("healed"), "{told}");
    let figures = run(&world, status).out;
    let (_, median) = figures.split_once(": 1 failure, 1 healed, median downtime ").expect("it is in the figures");
    // It was noticed within milliseconds.
    let median = median.lines().next().and_then(|line| line.strip_suffix("ms"));
    assert!(median.is_some_and(|number| number.parse::<u32>().is_ok()), "{figures}");
    assert!(run(&world, stop).out.contains("it stays stopped until you start it"));
    assert!(run(&world, explain).out.contains("you stopped it"));
    assert_eq!(world.show("my-bot.service", "ActiveState"), "inactive");
    assert!(run(&world, heal).out.ends_with("Healed 1 worker(s).\n"));
}

#[test]
fn the_commands_for_daily_use_work_as_they_are_written() {
    let world = World::new();
    world.workers(["lerd-queue-myapp", "lerd-vite-myapp", "lerd-vite-shop"]);
    drop(world.start_daemon());
    let section = section("## Use");
    let (first, _) = section.split_once("\n### ").expect("more follows");
    let lines = commands(first);
    let goes_on =
        |line: &str| ["top", "dashboard", "-f", "--follow"].iter().any(|word| line.split(' ').any(|it| it == *word));
    let (endless, others): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| goes_on(line));
    assert_eq!((endless.len(), others.len()), (4, 11), "{lines:?}");
    for line in others {
        // Not every one warns of nothing: linger is off in the sandbox.
        if !line.ends_with("doctor") {
            run(&world, line);
        }
    }
    for option in ["status --failed", "status --site shop", "events --since yesterday", "events myapp/queue"] {
        run(&world, &format!("workerheal {option}"));
    }
}

#[test]
fn the_exit_statuses_are_those_that_are_promised() {
    let world = World::new();
    world.workers(["lerd-queue-myapp"]);
    let statuses = |commands: &[&[&str]]| commands.iter().map(|args| world.run(args).status).collect::<Vec<_>>();
    assert_eq!(statuses(&[&["detect", "--exit-code"], &["heal"], &["check"], &["explain", "myapp/queue"]]), [0; 4]);
    assert_eq!(statuses(&[&["status"], &["events"], &["pause"]]), [3; 3], "no daemon runs");
    let elsewhere = |args: &[&str]| Ran::of(world.command_line(args).env("XDG_RUNTIME_DIR", "/nowhere")).status;
    assert_eq!([elsewhere(&["detect"]), elsewhere(&["heal"])], [3; 2], "no service manager answers");
    assert_eq!(
        statuses(&[&["dance"], &["heal", "nonsense"], &["explain", "nonsense"], &["heal", "--prove", "x"]]),
        [2; 4]
    );
    world.write_file("broken", "");
    world.worker("lerd-mail-shop", LIVES_UNLESS_BROKEN);
    world.wait_for_state("lerd-mail-shop.service", "failed", SOON);
    assert_eq!(statuses(&[&["detect"], &["detect", "--exit-code"], &["heal"], &["heal", "shop/mail"]]), [0, 1, 1, 1]);
    world.config("helth: {}\n");
    assert_eq!(statuses(&[&["check"], &["detect"], &["daemon"]]), [2; 3]);
    assert!(README.replace('\n', " ").contains(
        "The exit status is 0 when all is well, 1 when a worker could not be healed, 2 for an error in usage or files, 3 when \
         the service manager, or a required daemon, cannot be reached; with `detect --exit-code` it is also 1 when a worker is \
         unhealthy."
    ));
}

#[test]
fn the_samples_are_what_the_program_prints() {
    let snapshot = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(path).expect("there is such a snapshot");
        text.splitn(3, "---\n").last().unwrap_or_default().to_owned()
    };
    let (_, sample) = README.split_once("$ workerheal explain myapp/queue\n").expect("there is a sample");
    let sample = sample.split("```").next().unwrap_or_default();
    assert_eq!(sample.trim(), snapshot("src/cli/explain/snapshots/waiting.snap").trim());

    let (_, sample) = section("### Watch it live").split_once("\n\n     workerheal ").expect("there is a sample");
    let sample = sample.split("\n\n").next().unwrap_or_default();
    let screen = snapshot("src/top/view/snapshots/trouble_80x24.snap");
    for line in sample.lines().skip(1).filter_map(|line| line.strip_prefix("    ")) {
        assert!(screen.lines().any(|drawn| drawn == line), "not in top: {line}");
    }
}

/// The numbers in the README's sentences.
#[test]
fn the_figures_are_those_of_the_code() {
    let says = |what: &str| assert!(README.replace('\n', " ").contains(what), "the README does not say {what:?}");
    let policy = Policy::default();
    says(&format!("once it has stayed up for {} s", policy.stable_after.as_secs()));
    assert_eq!((policy.reset_after, policy.give_up_after), (Duration::from_secs(600), Some(10)));
    says("After ten minutes of uptime, earlier attempts are forgotten");
    says("| ten attempts have failed");
    let waits: Vec<u64> = [1, 2, 3, 100].map(|failures| policy.backoff.wait(failures, 0.5).as_secs()).into();
    assert_eq!(waits, [1, 2, 4, 300]);
    says("The first attempt is made at once, the next after 1 s, 2 s, 4 s, … up to 5 min");
    assert_eq!(policy.backoff.wait(1, 0.0), Duration::from_millis(900));
    says("give or take a tenth");
    let stages: Vec<String> = Stage::ALL.iter().map(|stage| format!("`{stage}`")).collect();
    says(&format!("being done about it ({})", stages.join(", ")));

    let version = env!("CARGO_PKG_VERSION");
    for package in ["workerheal_", "workerheal-"] {
        let named = README.match_indices(package).map(|(at, _)| &README[at + package.len()..]);
        for rest in named.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            assert!(rest.starts_with(version), "{package}{}", rest.lines().next().unwrap_or_default());
        }
    }
    // Measured by the benchmark, which fails above a limit.
    let measured = include_str!("../../docs/benchmarks.md");
    let row = measured.lines().find(|line| line.starts_with("| 1,000 |") && line.ends_with(" MiB |"));
    let memory = row.and_then(|row| row.split("| ").last()?.split(' ').next()?.parse::<f64>().ok());
    says(&format!("about {:.0} MiB", memory.expect("it is in the table")));

    let tools = include_str!("mcp/snapshots/it__mcp__tools__tools.snap");
    let is_tool = |name: &str| tools.contains(&format!("\"name\": \"{name}\""));
    let rows = section("## For assistants").lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)).collect();
    assert!(named.iter().all(|name| is_tool(name)), "{named:?}");
    assert_eq!(named.len(), tools.matches("\"name\": \"worker").count(), "{named:?}");
}

#[test]
fn what_is_said_of_systemd_is_true_of_the_one_that_runs() {
    let world = World::new();
    let version = world.control(&["--version"]);
    let version: u32 = version.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("it has one");
    let rows = section("## Why not `Restart=always`?").lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.split('|').nth(2).unwrap_or_default());
    let mut settings: Vec<(&str, u32)> = Vec::new();
    for cell in cells {
        let since = cell.split([' ', ',', '+']).find_map(|word| word.parse().ok()).unwrap_or(0);
        let named = cell.split('`').skip(1).step_by(2).filter_map(|setting| setting.strip_suffix('='));
        settings.extend(named.map(|setting| (setting, since)));
    }
    assert!(settings.len() >= 6, "{settings:?}");
    let lines = settings.iter().map(|(setting, _)| format!("{setting}=")).collect::<Vec<_>>().join("\n");
    world.write_unit("all.service", &format!("[Unit]\n{lines}\n[Service]\nExecStart=true\n{lines}\n"));
    world.daemon_reload();
    assert_eq!(world.show("all.service", "LoadState"), "loaded");
    let said = Ran::of(world.command("journalctl").args(["--no-pager", "--output=cat", "_COMM=systemd"])).out;
    for (setting, since) in settings {
        // Each belongs to one of the two sections.
        let complaints = said.lines().filter(|line| line.contains(&format!("'{setting}' in section"))).count();
        assert_eq!(complaints, if version < since { 2 } else { 1 }, "{setting} in systemd {version}: {said}");
    }
    let default = |what: &str| world.control(&["show", "--value", "--property", what]);
    assert_eq!(default("DefaultStartLimitBurst").trim(), "5");
    assert_eq!(default("DefaultStartLimitIntervalUSec").trim(), "10s");
    assert!(README.contains("five times in ten seconds by default"));
}
