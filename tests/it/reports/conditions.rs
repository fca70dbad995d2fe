//! Starts and restarts that a condition of the unit skips (systemd.unit(5), "Conditions and Asserts").

use std::fs;

use super::stage::{count, explain, phases, run, world};
use crate::common::{Events, LIVES, SOON, World, text};

/// The lines of `[Unit]` and `[Service]` by which a unit starts only while there is no file `off`.
const CONDITIONS: [(&str, &str); 3] = [
    ("ConditionPathExists=!%h/off", ""),
    ("AssertPathExists=!%h/off", ""),
    ("", "ExecCondition=sh -c 'test ! -e %h/off'"),
];

/// systemd reports the job of such a start as done.
#[test]
fn a_start_that_a_condition_skips_is_reported_as_that_and_never_as_a_stop() {
    for (of_unit, of_service) in CONDITIONS {
        let world = world();
        run(&world, "lerd-queue-myapp", of_unit, &format!("{of_service}\n{LIVES}"));
        let mut events = world.start_daemon();
        world.write_file("off", "");
        world.crash("lerd-queue-myapp");
        is_refused_for_the_condition(&world, &mut events, "lerd-queue-myapp");
        fs::remove_file(world.home().join("off")).unwrap();
        events.wait("healed", "lerd-queue-myapp");
        assert_eq!(count(&phases(&world, "lerd-queue-myapp"), "stopped"), 0, "{of_unit}{of_service}");
    }
}

/// What came of an automatic restart whose condition is not met.
enum Restart {
    /// systemd 252 leaves the worker down for good, as if it had ended without error, and attempts of ours fail.
    Skipped,
    /// systemd 247 restarts it again and again after `ExecCondition=`.
    Repeated,
    /// systemd 257 checks only `ExecCondition=` at an automatic restart.
    Made,
}

#[test]
fn a_worker_whose_automatic_restart_a_condition_skips_is_healed_once_that_is_met() {
    for (of_unit, of_service) in CONDITIONS {
        let world = world();
        let restarts = format!("{of_service}\n{LIVES}\nRestart=always\nRestartSec=200ms");
        run(&world, "app-c", &format!("{of_unit}\nStartLimitIntervalSec=0"), &restarts);
        let mut events = world.start_daemon();
        world.write_file("off", "");
        world.crash("app-c");
        let restart = world.wait_until("the end of its restart", SOON, || {
            let restarts: u32 = world.show("app-c.service", "NRestarts").parse().unwrap();
            match world.show("app-c.service", "ActiveState").as_str() {
                "active" => (restarts > 0).then_some(Restart::Made),
                _ if count(&phases(&world, "app-c"), "failed") > 0 => Some(Restart::Skipped),
                _ => (restarts > 1).then_some(Restart::Repeated),
            }
        });
        if matches!(restart, Restart::Skipped) {
            is_refused_for_the_condition(&world, &mut events, "app-c");
        }
        fs::remove_file(world.home().join("off")).unwrap();
        world.wait_for_state("app-c.service", "active", SOON);
        if matches!(restart, Restart::Skipped) {
            events.wait("healed", "app-c");
        } else {
            assert_eq!(count(&phases(&world, "app-c"), "starting"), 0, "{of_unit}{of_service}");
        }
    }
}

/// An attempt fails for the condition.
#[track_caller]
fn is_refused_for_the_condition(world: &World, events: &mut Events, name: &str) {
    let failed = events.wait("failed", name);
    let error = text(&failed, "WORKERHEAL_ERROR");
    assert!(error.contains("of the unit is not met") || error.contains("of the unit does not hold"), "{failed:?}");
    // Not while an attempt is under way.
    world.wait_until("an explanation", SOON, || {
        explain(world, name).contains("it was not stopped on purpose").then_some(())
    });
}
