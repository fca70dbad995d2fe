//! The files of a worker's unit: a worker that was given up is tried again when their content changes, but not when they
//! are only rewritten; and what a reload changes counts from then on.

use crate::common::{LIVES, SOON, World, service_of};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";
const FAILS: &str = "ExecStart=sh -c 'exit 3'";

#[test]
fn only_changed_content_of_a_file_leads_to_a_new_attempt() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms, factor: 1}, give_up_after: 9}\n");
    world.workers([OTHER]);
    world.write_worker(QUEUE, FAILS);
    world.enable(&service_of(QUEUE));
    let _ = world.systemctl(&["start", QUEUE]);
    let mut events = world.start_daemon();
    events.wait("gave-up", QUEUE);
    let reported = world.reported(QUEUE);
    for _ in 0..2 {
        // As a generator does on each reload: another inode, another time.
        let path = format!(".config/systemd/user/{}", service_of(QUEUE));
        let content = std::fs::read(world.home().join(&path)).unwrap_or_default();
        world.replace(&path, &content);
        world.daemon_reload();
        events.prove_alive_with(&world, OTHER);
    }
    assert_eq!(world.reported(QUEUE), reported);

    world.write_worker(QUEUE, &format!("{FAILS}\n# another"));
    world.daemon_reload();
    events.wait("starting", QUEUE);
}

/// What a unit needs can change between two heals of it.
#[test]
fn a_dependency_that_a_reload_adds_holds_the_next_heal() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms, factor: 1}}\n");
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);

    world.write_unit("pool.service", &format!("[Service]\n{LIVES}\n"));
    world.write_unit(
        &service_of(QUEUE),
        &format!("[Unit]\nRequires=pool.service\nAfter=pool.service\n[Service]\n{LIVES}\n"),
    );
    world.daemon_reload();
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    world.start_unit("pool.service");
    events.wait("healed", QUEUE);
}

/// Without a reload too: systemd unloads a unit that is down and not enabled, and reads its files anew when it is started.
#[test]
fn a_setting_of_a_unit_that_was_loaded_anew_counts() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms, factor: 1}}\n");
    world.write_worker(QUEUE, LIVES);
    world.start_unit(QUEUE);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);

    world.stop_unit(QUEUE);
    let unit = service_of(QUEUE);
    world.wait_until("the unit is unloaded", SOON, || {
        world.control(&["list-units", "--all", "--plain", "--no-legend", &unit]).is_empty().then_some(())
    });
    world.write_worker(QUEUE, &format!("{LIVES}\nRestartPreventExitStatus=SIGKILL"));
    world.start_unit(QUEUE);
    world.crash(QUEUE);
    events.wait("gave-up", QUEUE);
}
