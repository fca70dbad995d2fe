//! Installing, upgrading and uninstalling the agent.

use std::fs;

use super::cases::Stage;
use super::stage::OnLaunchd;

const QUEUE: &str = "lerd-queue-myapp";
const LABEL: &str = "dev.workerheal";

#[track_caller]
fn run(stage: &OnLaunchd, command: &str) -> String {
    let output = stage.command(&[command]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_agent_is_installed_once_upgraded_and_taken_away() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    let plist = stage.launchd.agents().join("dev.workerheal.plist");
    let planned = run(&stage, "install-plan");
    assert_eq!(planned.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(), ["write", "start"]);
    assert!(!plist.exists() && stage.launchd.pid(LABEL).is_none());

    assert_eq!(run(&stage, "install").lines().last(), Some("Watching over 1 worker"));
    let pid = stage.launchd.pid(LABEL);
    assert!(pid.is_some());
    let log = || fs::read_to_string(stage.path("Library/Logs/workerheal.log")).unwrap();
    stage.crash(QUEUE);
    stage.wait_until("it to be healed", || log().contains("stayed up").then_some(()));

    assert_eq!(run(&stage, "install"), "Watching over 1 worker\n", "there is nothing to do");
    assert_eq!(stage.launchd.pid(LABEL), pid);
    assert_eq!(run(&stage, "install-plan"), "");

    // An older installation, with another path.
    let older = fs::read_to_string(&plist).unwrap().replace("<string>text</string>", "<string>json</string>");
    fs::write(&plist, older).unwrap();
    let steps = run(&stage, "install");
    assert!(steps.contains("restart"), "{steps}");
    assert_ne!(stage.launchd.pid(LABEL), pid);

    run(&stage, "uninstall");
    assert_eq!((plist.exists(), stage.launchd.runs(LABEL)), (false, None));
    assert!(stage.path(".config/workerheal/config.yaml").exists());
    assert!(stage.is_up(QUEUE));
    assert_eq!(run(&stage, "uninstall"), "");
}

#[test]
fn an_agent_that_does_not_come_up_is_no_success() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.throttle = std::time::Duration::from_secs(60));
    stage.config("helth: {}\n");
    let output = stage.command(&["install"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("helth") && said.contains("tail -f"), "{output:?}");
}

#[test]
fn an_agent_whose_start_launchd_puts_off_is_started_by_its_installation() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| (ways.pends_loads, ways.pends_respawns) = (Some("speculative"), Some("inefficient")));
    run(&stage, "install");
    assert!(stage.launchd.pid(LABEL).is_some());
    // Later launchd does not start it again: installing once more does.
    stage.launchd.control(&["kill", "SIGKILL", &format!("{}/{LABEL}", stage.launchd.domain())]);
    stage.wait_until("it to be down", || stage.launchd.pid(LABEL).is_none().then_some(()));
    let trouble = run(&stage, "trouble");
    assert!(trouble.contains("pended: inefficient") && trouble.contains("launchctl kickstart gui/"), "{trouble}");
    let planned = run(&stage, "install-plan");
    assert!(planned.starts_with("start"), "{planned}");
    run(&stage, "install");
    assert_eq!((stage.launchd.pid(LABEL).is_some(), run(&stage, "trouble")), (true, String::new()));
    // Uninstalling works while it is loaded and does not run.
    stage.launchd.control(&["kill", "SIGKILL", &format!("{}/{LABEL}", stage.launchd.domain())]);
    run(&stage, "uninstall");
    assert_eq!(stage.launchd.runs(LABEL), None);
}

#[test]
fn over_ssh_it_is_installed_in_the_users_domain() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.gui = false);
    run(&stage, "install");
    let user = stage.launchd.domain();
    assert!(user.starts_with("user/") && stage.launchd.pid(LABEL).is_some());
    assert!(stage.launchd.calls().iter().any(|call| call.starts_with(&format!("bootstrap {user}"))));
    // The user logs in graphically, where launchd loads it too: one of the two waits.
    stage.launchd.ways(|ways| ways.gui = true);
    let plist = stage.launchd.agents().join("dev.workerheal.plist").display().to_string();
    stage.launchd.control(&["bootstrap", &stage.launchd.domain(), &plist]);
    let log = || fs::read_to_string(stage.path("Library/Logs/workerheal.log")).unwrap();
    stage.wait_until("it to wait", || log().contains("this one waits until it ends").then_some(()));
    stage.launchd.control(&["bootout", &format!("{user}/{LABEL}")]);
    stage.wait_until("it to take over", || (log().matches("watches over").count() == 2).then_some(()));
    run(&stage, "uninstall");
    assert_eq!(stage.launchd.runs(LABEL), None);
}

#[test]
fn an_agent_that_launchd_cannot_spawn_after_an_upgrade_is_loaded_anew() {
    let stage = OnLaunchd::new();
    run(&stage, "install");
    stage.launchd.outdate(LABEL);
    stage.launchd.control(&["kill", "SIGKILL", &format!("{}/{LABEL}", stage.launchd.domain())]);
    stage.wait_until("it to be seen", || run(&stage, "trouble").contains("78: EX_CONFIG").then_some(()));
    run(&stage, "install");
    assert!(stage.launchd.pid(LABEL).is_some());
}

#[test]
fn installation_enables_a_disabled_agent() {
    let stage = OnLaunchd::new();
    stage.launchd.control(&["disable", &format!("{}/{LABEL}", stage.launchd.domain())]);
    let said = run(&stage, "install");
    assert!(said.contains("enable") && stage.launchd.pid(LABEL).is_some(), "{said}");
}

#[test]
fn a_purge_leaves_nothing() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    run(&stage, "install");
    stage.crash(QUEUE);
    let log = || fs::read_to_string(stage.path("Library/Logs/workerheal.log")).unwrap();
    stage.wait_until("it to be healed", || log().contains("stayed up").then_some(()));
    stage.touch("Library/Logs/workerheal.log.0.bz2");
    stage.touch("Library/Logs/workerheal-of-another.log");
    run(&stage, "uninstall-purge");
    let mut left = Vec::new();
    let mut directories = vec![stage.launchd.home()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            left.extend(name.contains("workerheal").then_some(name));
            directories.extend(path.is_dir().then_some(path));
        }
    }
    assert_eq!(left, ["workerheal-of-another.log"]);
}
