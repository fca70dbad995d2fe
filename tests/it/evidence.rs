//! Evidence in a real journal of why a worker is down.
//!
//! This program runs itself inside the sandbox to find it, with the test that is ignored otherwise.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use crate::common::{ENDS, LIVES, SOON, World, service_of};
use workerheal::UnitName;
use workerheal::core::units::Detail;
use workerheal::manager::{Native, Scope, ServiceManager};

const QUEUE: &str = "lerd-queue-myapp";

/// The evidence about a stop, as [`workerheal::core::units::StopEvidence`] is debugged.
#[track_caller]
fn evidence(world: &World) -> String {
    let mut asks = world.command(std::env::current_exe().unwrap());
    asks.args(["--ignored", "--exact", "evidence::prints_the_evidence_for_another_test", "--nocapture"])
        .env("UNIT", QUEUE);
    let output = asks.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    out.lines().find_map(|line| line.split_once("FOUND ")).unwrap().1.to_owned()
}

#[tokio::test]
#[ignore = "is what the other tests run inside their sandboxes"]
async fn prints_the_evidence_for_another_test() {
    let unit = UnitName::parse(&std::env::var("UNIT").unwrap()).unwrap();
    let (manager, _changes) = Native::connect(Scope::User, Vec::new()).await.unwrap();
    let seen = manager.inspect(&unit, Detail { stop: true, ..Detail::default() }).await.unwrap();
    println!("FOUND {:?}", seen.stop.unwrap());
}

#[track_caller]
fn signal_journald(world: &World, signal: &str) {
    let sent = world.command("pkill").args([signal, "-x", "systemd-journal"]).status().unwrap();
    assert!(sent.success(), "there is a journald");
}

#[test]
fn a_stop_is_ruled_out_only_once_the_journal_has_the_end_of_the_run() {
    let world = World::new();
    world.worker(QUEUE, LIVES);
    world.journal(&[]);
    signal_journald(&world, "-STOP");
    world.crash_for_good([QUEUE]);
    assert_eq!(evidence(&world), r#"Unknown("the journal has no record of the end of its last run yet")"#);
    signal_journald(&world, "-CONT");
    world.journal(&[]);
    assert_eq!(evidence(&world), "NotRequested");
}

#[test]
fn a_stop_is_distinguished_from_an_exit_and_from_a_reload_that_ends_the_worker() {
    let world = World::new();
    let ends_on_reload =
        "ExecStart=sh -c 'trap \"exit 0\" HUP; touch %h/ready; sleep infinity & wait'\nExecReload=kill -HUP $MAINPID";
    world.worker(QUEUE, ends_on_reload);
    world.wait_until("it to be ready", SOON, || world.home().join("ready").exists().then_some(()));
    let _ = world.systemctl(&["reload", QUEUE]);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    // A child of it had to be ended, which takes as long as a stop. Whatever is logged next says that nothing is
    // missing.
    let logged = world.command("systemd-run").args(["--user", "--wait", "--quiet", "true"]).status().unwrap();
    assert!(logged.success());
    world.journal(&[]);
    assert_eq!(evidence(&world), "NotRequested", "it was reloaded");

    world.worker(QUEUE, ENDS);
    world.daemon_reload();
    world.control(&["restart", QUEUE]);
    world.end(QUEUE);
    world.wait_for_state(&service_of(QUEUE), "inactive", SOON);
    world.journal(&[]);
    assert_eq!(evidence(&world), "NotRequested", "it has ended");

    world.control(&["start", QUEUE]);
    world.stop_unit(&service_of(QUEUE));
    world.journal(&[]);
    assert_eq!(evidence(&world), "Requested");
}

#[test]
fn a_worker_kept_from_starting_by_a_failed_requirement_was_not_stopped() {
    let world = World::new();
    world.write_unit("pool.service", "[Service]\nType=oneshot\nExecStart=test -e %h/well\n");
    let text = "[Unit]\nRequires=pool.service\nAfter=pool.service\n[Service]\nExecStart=sleep infinity\n\
        [Install]\nWantedBy=default.target\n";
    world.write_unit(&service_of(QUEUE), text);
    world.enable(&service_of(QUEUE));
    assert!(evidence(&world).starts_with("Unknown"), "it was never started");
    assert!(world.systemctl(&["start", QUEUE]).is_err());
    world.journal(&[]);
    assert_eq!(evidence(&world), "KeptFromStarting");

    world.write_file("well", "");
    world.start_unit(&service_of(QUEUE));
    world.stop_unit(&service_of(QUEUE));
    world.journal(&[]);
    assert_eq!(evidence(&world), "Requested");
}
