//! Installing, upgrading and uninstalling the service.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{DAEMON, QUICK, Ran, SOON, WORKERHEAL, World};

const QUEUE: &str = "lerd-queue-myapp";
const UNIT: &str = ".config/systemd/user/workerheal.service";

/// A world in which workerheal was never installed.
fn bare() -> World {
    let world = World::new();
    fs::remove_file(world.home().join(UNIT)).unwrap();
    world.daemon_reload();
    world
}

fn pid(world: &World) -> String {
    world.show(DAEMON, "MainPID")
}

#[test]
fn an_installed_daemon_is_enabled_up_and_heals_and_installing_again_changes_nothing() {
    let world = bare();
    world.workers([QUEUE]);
    let planned = world.run(&["install", "--dry-run"]);
    assert_eq!(planned.status, 0, "{planned:?}");
    assert_eq!(
        planned.out,
        format!(
            "This would be done:\n  write    ~/{UNIT}\n  it runs  {WORKERHEAL}\n  \
             enable   workerheal, at each login\n  reload   the service manager's files\n  start    workerheal\n"
        )
    );
    assert!(!world.home().join(UNIT).exists());

    let ran = world.run(&["install"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    let (steps, end) = ran.out.split_at(ran.out.find("workerheal 0").unwrap());
    assert_eq!(steps.lines().filter(|line| line.starts_with("  ✓ ")).count(), 4, "{ran:?}");
    assert!(end.contains("is installed and running: watching over 1 worker.\n"), "{ran:?}");
    assert!(end.contains("journalctl --user -u workerheal -f"), "{ran:?}");
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");
    assert_eq!(world.show(DAEMON, "UnitFileState"), "enabled");
    let mut events = world.events();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    // It counts its workers a little after it has reported one of them.
    let status = || world.show(DAEMON, "StatusText");
    world.wait_until("all is well", SOON, || status().ends_with("over 1 worker").then_some(()));

    let before = pid(&world);
    let again = world.run(&["install"]);
    assert_eq!(again.status, 0, "{again:?}");
    assert!(again.out.contains("is installed already, and running: watching over 1 worker.\n"), "{again:?}");
    assert!(!again.out.contains('✓'), "{again:?}");
    assert_eq!(pid(&world), before);
    let planned = world.run(&["install", "--dry-run"]);
    assert_eq!(planned.out, "It is installed and running: there is nothing to do.\n");
}

#[test]
fn an_older_installation_is_replaced_and_drop_ins_are_kept() {
    let world = World::new();
    world.write_file(".config/systemd/user/workerheal.service.d/mine.conf", "[Service]\nEnvironment=MINE=1\n");
    world.start_daemon();
    let before = pid(&world);
    let planned = world.run(&["install", "--dry-run"]);
    assert!(planned.out.contains("restart"), "{planned:?}");
    assert_eq!(pid(&world), before);
    let ran = world.run(&["install"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_ne!(pid(&world), before);
    assert_eq!(world.show(DAEMON, "UnitFileState"), "enabled");
    assert!(world.show(DAEMON, "Environment").split(' ').any(|setting| setting == "MINE=1"));
    let text = fs::read_to_string(world.home().join(UNIT)).unwrap();
    assert!(text.contains("WatchdogSec=30s") && text.contains(&format!("ExecStart={WORKERHEAL} daemon\n")), "{text}");
}

#[test]
fn a_program_that_was_replaced_is_restarted_whatever_its_path() {
    let world = bare();
    let program = world.home().join("my tools 50%/workerheal");
    let put = || {
        let new = program.with_extension("new");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(WORKERHEAL, &new).unwrap();
        fs::rename(&new, &program).unwrap();
    };
    put();
    world.sites(&["{name: myapp}"]);
    let registry = world.home().join("sites $X.yaml");
    fs::rename(world.home().join(".local/share/lerd/sites.yaml"), &registry).unwrap();
    // With a path relative to the user's directory.
    let script = "cd ~ && exec \"$0\" install --sites 'sites $X.yaml'";
    let install = || Ran::of(world.command("sh").args(["-c", script]).arg(&program));
    let ran = install();
    assert_eq!(ran.status, 0, "{ran:?}");
    let before = pid(&world);
    assert!(install().out.contains("already"));
    assert_eq!(pid(&world), before);
    put();
    let ran = install();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.out.contains("restart") && !ran.out.contains("write"), "{ran:?}");
    assert_ne!(pid(&world), before);

    let odd = world.home().join("it's/workerheal");
    fs::create_dir_all(odd.parent().unwrap()).unwrap();
    fs::copy(WORKERHEAL, &odd).unwrap();
    let ran = Ran::of(world.command(&odd).args(["install", "--dry-run"]));
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("quotes"), "{ran:?}");
}

#[test]
fn a_program_that_is_gone_is_noticed_and_the_remedy_works() {
    let world = bare();
    let [program, moved] = ["bin/workerheal", "bin/moved"].map(|path| world.home().join(path));
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(WORKERHEAL, &program).unwrap();
    let run = |argument| Ran::of(world.command(&moved).arg(argument));
    assert_eq!(Ran::of(world.command(&program).arg("install")).status, 0);
    fs::rename(&program, &moved).unwrap();
    let doctor = run("doctor");
    let line =
        "problem  service   the program that workerheal.service runs is gone: ~/bin/workerheal; workerheal install\n";
    assert!(doctor.status == 1 && doctor.out.contains(line), "{doctor:?}");

    world.stop_unit(DAEMON);
    let gone = program.display();
    let remedy = format!("; its program {gone} is gone, install it again with `workerheal install`\n");
    let status = run("status");
    assert!(status.status == 3 && status.err.ends_with(&remedy), "{status:?}");
    assert!(run("doctor").out.contains(&remedy));
    let ran = run("install");
    assert_eq!(ran.status, 0, "{ran:?}");
    let doctor = run("doctor");
    assert_eq!(doctor.status, 0, "{doctor:?}");
}

#[test]
fn a_file_that_install_did_not_write_is_kept_beside_the_new_one() {
    let world = bare();
    let kept = |name: &str| fs::read_to_string(world.home().join(UNIT).with_file_name(name));
    let by_hand = "[Service]\nExecStart=/usr/bin/env workerheal daemon\n# mine\n";
    world.write_file(UNIT, by_hand);
    let step = format!("keep     ~/{UNIT} as workerheal.service.bak, as it is not of workerheal's making\n");
    let planned = world.run(&["install", "--dry-run"]);
    assert!(planned.out.contains(&step), "{planned:?}");
    assert!(kept("workerheal.service.bak").is_err());
    let ran = world.run(&["install"]);
    assert!(ran.status == 0 && ran.out.contains(&step), "{ran:?}");
    assert_eq!(kept("workerheal.service.bak").unwrap(), by_hand);

    // What a version of ours has written is not kept.
    let older = kept("workerheal.service").unwrap().replace("WatchdogSec=30s\n", "");
    world.write_file(UNIT, &older);
    let ran = world.run(&["install"]);
    assert!(ran.status == 0 && ran.out.contains("write") && !ran.out.contains("keep "), "{ran:?}");
    // Nor is an earlier copy overwritten.
    world.write_file(UNIT, "[Service]\n");
    assert_eq!(world.run(&["install"]).status, 0);
    assert_eq!(kept("workerheal.service.bak").unwrap(), by_hand);
    assert_eq!(kept("workerheal.service.bak2").unwrap(), "[Service]\n");
}

#[test]
fn uninstall_keeps_a_copy_of_a_file_that_install_did_not_write() {
    let world = bare();
    let by_hand = "[Service]\nExecStart=/usr/bin/env workerheal daemon\n";
    world.write_file(UNIT, by_hand);
    let ran = world.run(&["uninstall"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let unit = world.home().join(UNIT);
    assert!(!unit.exists(), "{ran:?}");
    assert_eq!(fs::read_to_string(unit.with_file_name("workerheal.service.bak")).unwrap(), by_hand);
    // What install has written is not kept.
    assert_eq!((world.run(&["install"]).status, world.run(&["uninstall"]).status), (0, 0));
    assert!(!unit.with_file_name("workerheal.service.bak2").exists());
}

#[test]
fn uninstall_removes_the_service_and_its_files_only_on_request() {
    let world = bare();
    world.workers([QUEUE]);
    assert_eq!(world.run(&["install"]).status, 0);
    let mut events = world.events();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let state = world.home().join(".local/state/workerheal/state.json");
    world.wait_until("what it remembers", SOON, || state.exists().then_some(()));

    let planned = world.run(&["uninstall", "--dry-run", "--purge"]);
    let expected = "This would be done:\n  stop     workerheal\n  disable  workerheal\n  remove   ~/.config/systemd/user/workerheal.service\n  \
                    reload   the service manager's files\n  remove   ~/.config/workerheal\n  remove   ~/.local/state/workerheal\n";
    assert_eq!(planned.out, expected);
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");

    let ran = world.run(&["uninstall"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("--purge"), "{ran:?}");
    assert_eq!(world.show(DAEMON, "LoadState"), "not-found");
    assert!(!world.home().join(UNIT).exists());
    let link = world.home().join(".config/systemd/user/default.target.wants/workerheal.service");
    assert!(fs::symlink_metadata(link).is_err(), "it is still enabled");
    assert!(state.exists() && world.home().join(".config/workerheal/config.yaml").exists());
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "active");

    let again = world.run(&["uninstall"]);
    assert_eq!(again.status, 0);
    assert!(again.out.starts_with("workerheal is not installed.\n"), "{again:?}");
    assert_eq!(world.run(&["uninstall", "--purge"]).status, 0);
    assert!(!state.parent().unwrap().exists() && !world.home().join(".config/workerheal").exists());
    assert!(world.home().join(".local/share/lerd/sites.yaml").exists(), "that is Lerd's");
    let again = world.run(&["uninstall", "--purge"]);
    assert_eq!(again.out, "workerheal is not installed.\n");
}

/// Asserts that an obstacle is reported in a sentence before anything is changed.
#[track_caller]
fn refused(world: &World, arguments: &[&str], status: i32, words: &[&str]) {
    let ran = world.run(arguments);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.lines().count()), (status, "", 1), "{ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{word}: {ran:?}");
    }
}

#[test]
fn obstacles_are_reported_before_anything_is_changed() {
    let world = bare();
    let unit = world.home().join(UNIT);
    world.config("helth: {}\n");
    refused(&world, &["install"], 2, &["config.yaml:1:1", "helth"]);
    world.config(QUICK);
    world.registry("sites: {}\n");
    refused(&world, &["install"], 2, &["sites.yaml:1:8", "list"]);
    world.sites(&["{name: myapp}"]);
    assert!(!unit.exists());

    world.write_file("elsewhere", "[Service]\nExecStart=true\n");
    symlink(world.home().join("elsewhere"), &unit).unwrap();
    refused(&world, &["install"], 2, &["is a link"]);
    fs::remove_file(&unit).unwrap();
    symlink("/dev/null", &unit).unwrap();
    world.daemon_reload();
    refused(&world, &["install"], 2, &["masked", "systemctl --user unmask workerheal"]);
    fs::remove_file(&unit).unwrap();

    let ran = Ran::of(world.command_line(&["install"]).env("XDG_RUNTIME_DIR", "/nowhere"));
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(!unit.exists());
}

#[test]
fn an_installation_that_does_not_come_up_is_an_error() {
    let world = bare();
    let refuses = "[Service]\nRestartSec=1h\nExecStart=\nExecStart=sh -c 'echo not today >&2; exit 1'\n";
    world.write_file(".config/systemd/user/workerheal.service.d/refuses.conf", refuses);
    let ran = world.run(&["install"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains("did not come up") && ran.err.contains("not today"), "{ran:?}");
    assert!(ran.err.contains("journalctl --user -u workerheal"), "{ran:?}");

    // Once that is corrected it is started, although systemd would start it again by itself, later.
    assert_eq!(world.show(DAEMON, "SubState"), "auto-restart");
    world.write_file(".config/systemd/user/workerheal.service.d/refuses.conf", "[Service]\nRestartSec=1h\n");
    world.daemon_reload();
    let ran = world.run(&["install"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(world.show(DAEMON, "ActiveState"), "active");
}
