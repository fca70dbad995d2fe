//! More followers, and more requests, than there are slots.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::api::http::{connect, get};
use crate::common::{Ran, SOON, World};
use crate::faults::{QUEUE, shell};

/// Maximum number of connections of the daemon.
const MAX_CONNECTIONS: usize = 512;

#[test]
fn followers_that_never_read_are_disconnected_in_favour_of_others() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    // Each is accepted before the next one connects: it has read the first byte of its response, and no more.
    let followers: Vec<UnixStream> = (0..MAX_CONNECTIONS)
        .map(|_| {
            let mut stream = connect(&world);
            stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("it is taken");
            stream.read_exact(&mut [0]).expect("it is answered");
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(get(&world, "/v1/status").status, 200);
        let ran = world.run(&["status"]);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    events.prove_alive_with(&world, QUEUE);
    drop(followers);
}

#[test]
fn requests_beyond_the_limit_are_refused_as_busy() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    // They have sent their requests and get responses: their slots cannot be freed.
    let asker = || {
        let mut stream = connect(&world);
        let _ = stream.write_all(b"POST /v1/pause HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{");
        stream
    };
    let mut askers: Vec<UnixStream> = (0..MAX_CONNECTIONS).map(|_| asker()).collect();
    // A connection that had not sent its request may have been closed for the next.
    let refused = world.wait_until("a refusal", SOON, || {
        askers.push(asker());
        let answer = get(&world, "/v1/status");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.error().contains("busy"), "{refused:?}");
    let ran = world.run(&["status"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.err.contains("busy"), "{ran:?}");
    drop(askers);
    world.wait_until("a place", SOON, || (get(&world, "/v1/status").status == 200).then_some(()));
}

#[test]
fn a_following_command_ends_when_its_pipe_is_closed() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let script = format!("timeout 20 {} events --follow | head -n 1", crate::common::WORKERHEAL);
    let ran = Ran::of(world.command("bash").args(["-c", &format!("set -o pipefail; {script}")]));
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1, "{ran:?}");
    // The daemon has no such follower any more.
    world.wait_until("the follower to be gone", SOON, || {
        (shell(&world, "pgrep -fc 'events --follo[w]' || true").trim() == "0").then_some(())
    });
}
