//! Workers that are enabled for the target of a project: they run while that is up.

use crate::common::{LIVES, SOON, World, service_of};

const QUEUE: &str = "lerd-queue-myapp";
/// Enabled for the default target, and never started. That it is started shows that the daemon starts such workers.
const PROOF: &str = "lerd-proof-shop";

/// A world that heals workers which are down without an error, with a target and a worker that is enabled for it.
fn world_with_target(settings: &str) -> World {
    let world = World::new();
    let states = "states: [failed, start-limit-hit, expected-but-stopped]";
    world.config(&format!("refresh: 100ms\nheal: {{stable_after: 50ms, {states}}}\n"));
    world.write_unit("workers.target", "[Unit]\nDescription=All workers\n");
    let member = format!("[Unit]\n{settings}\n[Service]\n{LIVES}\n[Install]\nWantedBy=workers.target\n");
    world.write_unit(&service_of(QUEUE), &member);
    world.daemon_reload();
    world.control(&["enable", QUEUE]);
    world
}

#[test]
fn a_worker_whose_target_was_not_started_is_down_as_it_should_be() {
    let world = world_with_target("");
    world.write_worker(PROOF, LIVES);
    world.daemon_reload();
    world.control(&["enable", PROOF]);
    let mut events = world.start_daemon();
    events.wait("healed", PROOF);
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "inactive");
    assert_eq!(world.diagnosis(QUEUE), None);
    let explained = world.run(&["explain", QUEUE]);
    assert!(explained.out.contains("no unit that it is enabled for is up"), "{explained:?}");
    assert_eq!(world.reported(QUEUE), [""; 0]);

    world.control(&["start", "workers.target"]);
    world.kill(QUEUE, "KILL");
    events.wait("healed", QUEUE);
}

/// A target that nothing wants is unloaded once it is stopped, together with its members.
#[test]
fn a_stop_of_a_target_counts_for_its_unloaded_members() {
    let world = world_with_target("PartOf=workers.target");
    world.control(&["start", "workers.target"]);
    let _events = world.start_daemon();
    for _ in 0..5 {
        world.control(&["stop", "workers.target"]);
        // Inspecting it changes nothing.
        let explained = world.run(&["explain", QUEUE]);
        assert_eq!(explained.status, 0, "{explained:?}");
        world.wait_until("the stop is known", SOON, || {
            let listed = world.run(&["status"]).out;
            let row = listed.lines().find(|line| line.starts_with("myapp/queue")).unwrap_or_default().to_owned();
            assert!(!["starting", "proving", "up"].iter().any(|phase| row.contains(phase)), "{row}");
            row.contains("stopped").then_some(())
        });
        let explained = world.run(&["explain", QUEUE]);
        assert!(explained.out.starts_with("myapp/queue is not healed: "), "{explained:?}");
        world.control(&["start", "workers.target"]);
        world.wait_until("it is up", SOON, || world.run(&["status"]).out.contains("myapp/queue  up").then_some(()));
    }
    let reported = world.reported(QUEUE);
    assert!(!reported.contains(&"starting".to_owned()), "{reported:?}");
}
