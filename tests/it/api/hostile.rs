//! Hostile clients: their cost is bounded, and other clients are served throughout.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::api::http::{Follower, answer, connect, get};
use crate::api::{QUEUE, world};
use crate::common::{DAEMON, SOON, World};

/// Maximum resident memory of the daemon, in kB. (It has some 15 MB in this build.)
const MAX_MEMORY_KB: u64 = 64 * 1024;
/// Maximum response time for another client meanwhile.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(2);

/// The daemon's resident memory in kB.
#[track_caller]
fn memory(world: &World) -> u64 {
    let status = world.command("cat").arg(format!("/proc/{}/status", world.show(DAEMON, "MainPID"))).output();
    let status = String::from_utf8(status.expect("it can be read").stdout).expect("it is text");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// Asserts that other clients are served soon, and that the daemon heals and has not grown.
#[track_caller]
fn assert_served_and_bounded(world: &World) {
    for path in ["/v1/status", "/v1/workers", "/metrics"] {
        let begin = Instant::now();
        assert_eq!(get(world, path).status, 200, "{path}");
        assert!(begin.elapsed() < MAX_RESPONSE_TIME, "{path} took {:?}", begin.elapsed());
    }
    let memory = memory(world);
    assert!(memory < MAX_MEMORY_KB, "{memory} kB");
}

/// Whether the other end has closed or reset the connection.
fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).expect("it can be");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn a_client_that_does_not_finish_its_request_is_disconnected_and_blocks_no_other() {
    let world = world();
    let halves =
        ["", "G", "GET /v1/status HTTP/1.1\r\nhost: local", "POST /v1/heal HTTP/1.1\r\ncontent-length: 50\r\n\r\n{"];
    // More connections than the limit.
    let mut streams: Vec<UnixStream> = Vec::new();
    for at in 0..700 {
        let mut stream = connect(&world);
        // A connection that was closed in favour of others.
        let _ = stream.write_all(halves[at % halves.len()].as_bytes());
        streams.push(stream);
        if at % 100 == 99 {
            assert_served_and_bounded(&world);
        }
    }
    world.events().prove_alive_with(&world, QUEUE);
    assert_served_and_bounded(&world);
    for stream in &mut streams {
        world.wait_until("all of them to be cut off", SOON, || is_closed(stream).then_some(()));
    }
    assert_served_and_bounded(&world);
}

#[test]
fn oversized_requests_are_refused_without_being_read() {
    let world = world();
    let megabyte = vec![b'x'; 1024 * 1024];
    let mut head = format!("POST /v1/pause HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 100 * 1024 * 1024);
    for _ in 0..2 {
        let mut stream = connect(&world);
        stream.write_all(head.as_bytes()).expect("the head is read");
        let sent = (0..100).take_while(|_| stream.write_all(&megabyte).is_ok()).count();
        assert!(sent < 20, "{sent} MB were taken");
        assert_served_and_bounded(&world);
        // The same without a length.
        "POST /v1/pause HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6400000\r\n".clone_into(&mut head);
    }

    let mut stream = connect(&world);
    let headers: String = (0..10_000).map(|at| format!("x-{at}: y\r\n")).collect::<Vec<_>>().concat();
    let _ = stream.write_all(format!("GET /v1/status HTTP/1.1\r\n{headers}\r\n").as_bytes());
    let mut first = [0; 12];
    if stream.read_exact(&mut first).is_ok() {
        assert_eq!(&first, b"HTTP/1.1 431");
    }
    let mut stream = connect(&world);
    let _ = stream.write_all(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1_000_000)).as_bytes());
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    assert!(!rest.contains(" 200 "), "{rest}");
    assert_served_and_bounded(&world);
    assert_eq!(get(&world, "/v1/status").json()["pauses"], serde_json::json!([]), "nothing was paused");
}

#[test]
fn invalid_http_is_refused_and_affects_no_other_client() {
    let world = world();
    let mut random = 1_u64;
    for round in 0..200 {
        let mut stream = connect(&world);
        let bytes: Vec<u8> = (0..512)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random.to_be_bytes()[0]
            })
            .collect();
        let begins = ["", "GET ", "GET / HTTP/1.1\r\n", "POST /v1/pause HTTP/1.1\r\ncontent-length: 512\r\n\r\n"];
        let _ = stream.write_all(begins[round % begins.len()].as_bytes());
        let _ = stream.write_all(&bytes);
    }
    assert_served_and_bounded(&world);
    assert_eq!(get(&world, "/v1/status").json()["pauses"], serde_json::json!([]), "nothing was paused");
}

#[test]
fn a_client_that_does_not_read_affects_no_other() {
    let world = world();
    let follower = Follower::new(&world, "", "");
    let mut deaf: Vec<UnixStream> = Vec::new();
    for at in 0..200 {
        let mut stream = connect(&world);
        let path = ["/v1/events?since=1h", "/v1/workers", "/metrics"][at % 3];
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").expect("the request can be sent");
        deaf.push(stream);
    }
    for _ in 0..5 {
        world.crash(QUEUE);
        follower.wait("the healing", |message| message.is("healed", QUEUE));
        assert_served_and_bounded(&world);
    }
    // They can still read their responses.
    let last = deaf.pop().expect("there are some");
    assert_eq!(answer(deaf.swap_remove(1)).status, 200);
    drop(last);
}
