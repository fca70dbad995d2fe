//! The agent: installed, upgraded and taken away.

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

    // An older one, with another path.
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
