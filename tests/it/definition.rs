//! A worker that was given up is tried again when the content of its unit's files changes, but not when they are only
//! rewritten.

use crate::common::{World, service_of};

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
