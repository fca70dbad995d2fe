//! Removal of the socket, its directory and the lock.

use crate::api::http::socket;
use crate::common::{Ran, SOON, World};
use crate::faults::{QUEUE, pid, shell};

#[track_caller]
fn comes_back(world: &World, what: &str) {
    world.wait_until(&format!("an answer after {what}"), SOON, || {
        std::os::unix::net::UnixStream::connect(socket(world)).ok()
    });
    let ran = world.run(&["status"]);
    assert_eq!(ran.status, 0, "after {what}: {ran:?}");
}

#[test]
fn a_removed_socket_is_restored_and_no_second_daemon_starts() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    let before = pid(&world);
    let runtime = "/run/user/0/workerheal";
    for removal in [format!("rm {runtime}/api.sock"), format!("rm -r {runtime}")] {
        shell(&world, &removal);
        // Before it is back, and after.
        for _ in 0..2 {
            let second = Ran::of(world.command_line(&["daemon"]).env("NOTIFY_SOCKET", ""));
            assert_eq!(second.status, 2, "{removal}: {second:?}");
            assert!(second.err.contains("another workerheal daemon runs already"), "{removal}: {second:?}");
            comes_back(&world, &removal);
        }
    }
    let mode = shell(&world, &format!("stat -c %a {runtime} {runtime}/api.sock"));
    assert_eq!(mode, "700\n600\n");
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(pid(&world), before);
    world.stop_unit(crate::common::DAEMON);
    shell(&world, &format!("test ! -e {runtime}/api.sock"));
}

#[test]
fn creating_the_socket_is_retried() {
    let world = World::new();
    world.workers([QUEUE]);
    let runtime = "/run/user/0/workerheal";
    shell(&world, &format!("touch {runtime}"));
    let mut events = world.start_daemon();
    events.wait_for_log(&["cannot answer at", runtime]);
    events.prove_alive_with(&world, QUEUE);
    shell(&world, &format!("rm {runtime}"));
    comes_back(&world, "the obstacle was removed");
}
