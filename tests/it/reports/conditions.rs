//! Starts and restarts that a condition of the unit skips (systemd.unit(5), "Conditions and Asserts").

use std::fs;

use super::stage::{count, explain, phases, run, world};
use crate::common::{Events, LIVES, World, text};

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
        fails_until_the_condition_is_met(&world, &mut world.start_daemon());
        assert_eq!(count(&phases(&world, "lerd-queue-myapp"), "stopped"), 0, "{of_unit}{of_service}");
    }
}

/// systemd leaves such a worker down for good, as if it had ended without error.
#[test]
fn a_worker_whose_automatic_restart_a_condition_skips_is_healed_once_that_is_met() {
    for (of_unit, of_service) in CONDITIONS {
        let world = world();
        let restarts = format!("{of_service}\n{LIVES}\nRestart=always\nRestartSec=200ms");
        run(&world, "lerd-queue-myapp", of_unit, &restarts);
        fails_until_the_condition_is_met(&world, &mut world.start_daemon());
    }
}

/// An attempt fails because of the condition, and a later one succeeds.
#[track_caller]
fn fails_until_the_condition_is_met(world: &World, events: &mut Events) {
    world.write_file("off", "");
    world.crash("lerd-queue-myapp");
    let failed = events.wait("failed", "lerd-queue-myapp");
    let error = text(&failed, "WORKERHEAL_ERROR");
    assert!(error.contains("of the unit is not met") || error.contains("of the unit does not hold"), "{failed:?}");
    let explained = explain(world, "lerd-queue-myapp");
    assert!(explained.contains("it was not stopped on purpose"), "{explained}");
    fs::remove_file(world.home().join("off")).unwrap();
    events.wait("healed", "lerd-queue-myapp");
}
