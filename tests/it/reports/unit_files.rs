//! Unit files that vanish and come back: those of workers, and those of units that they need.

use std::fs;

use super::stage::{explain, is_held_by, run, world};
use crate::common::{LIVES, SOON, World};

/// Takes a unit's file away; [`bring_back`] undoes that.
fn take_away(world: &World, unit: &str) {
    fs::rename(world.home().join(".config/systemd/user").join(unit), world.home().join(unit)).unwrap();
    world.control(&["daemon-reload"]);
}

fn bring_back(world: &World, unit: &str) {
    fs::rename(world.home().join(unit), world.home().join(".config/systemd/user").join(unit)).unwrap();
    world.control(&["daemon-reload"]);
}

/// A worker that is bound to a container, which is up.
fn with_a_container() -> World {
    let world = world();
    run(&world, "fpm", "", LIVES);
    run(&world, "app-b", "BindsTo=fpm.service\nAfter=fpm.service", LIVES);
    world
}

/// A checkout of another branch, or a generator that fails once.
#[test]
fn a_worker_that_waits_for_its_container_outlives_that_its_file_is_gone_for_a_while() {
    let world = with_a_container();
    let mut events = world.start_daemon();
    world.control(&["stop", "fpm"]);
    is_held_by(&world, "app-b", "fpm.service");
    take_away(&world, "app-b.service");
    let given_up = events.wait("gave-up", "app-b");
    assert_eq!(given_up["WORKERHEAL_REASON"], "the unit has no file any more");
    let explained = explain(&world, "app-b");
    assert!(!explained.contains("conflicts"), "{explained}");
    bring_back(&world, "app-b.service");
    is_held_by(&world, "app-b", "fpm.service");
    world.control(&["start", "fpm"]);
    events.wait("healed", "app-b");
}

/// systemd refuses each start that includes such a unit: "Unit fpm.service not found."
#[test]
fn a_worker_whose_container_is_up_without_a_file_is_healed() {
    let world = with_a_container();
    let mut events = world.start_daemon();
    take_away(&world, "fpm.service");
    world.crash("app-b");
    events.wait("healed", "app-b");
    assert_eq!(world.show("fpm.service", "ActiveState"), "active");
}

#[test]
fn the_remedy_for_a_container_that_has_no_file_is_to_write_it() {
    let world = with_a_container();
    let mut events = world.start_daemon();
    take_away(&world, "fpm.service");
    world.control(&["stop", "fpm"]);
    world.wait_until("the reason", SOON, || {
        let explained = explain(&world, "app-b");
        explained.contains("it needs fpm.service, which has no file").then_some(())
    });
    let explained = explain(&world, "app-b");
    assert!(
        explained.contains("- write the file of fpm.service again, then: systemctl --user daemon-reload"),
        "{explained}"
    );
    bring_back(&world, "fpm.service");
    world.control(&["start", "fpm"]);
    events.wait("healed", "app-b");
}
