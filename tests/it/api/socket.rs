//! The socket and its permissions.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::api::QUEUE;
use crate::api::http::{get, socket};
use crate::common::{DAEMON, Ran, SOON, WORKERHEAL, World};

fn mode(path: &std::path::Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn only_the_daemons_user_and_root_get_in() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    let socket = socket(&world);
    let directory = socket.parent().expect("it is in one");
    assert_eq!((mode(directory), mode(&socket)), (0o700, 0o600));
    assert_eq!(get(&world, "/v1/status").status, 200);

    // Even if its permissions are changed, other users are rejected.
    for path in [directory, &socket, &world.runtime_dir()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let curl = "curl --silent --show-error --unix-socket /run/user/0/workerheal/api.sock http://localhost/v1/workers";
    let ran = Ran::of(
        world
            .command("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", curl])
            .stdin(Stdio::null()),
    );
    assert_eq!(ran.out, r#"{"error":"this daemon answers its own user and root"}"#, "{ran:?}");
    assert_eq!(get(&world, "/v1/status").status, 200);

    // The next daemon closes it again.
    world.control(&["restart", DAEMON]);
    assert_eq!((mode(directory), mode(&socket)), (0o700, 0o600));
}

#[test]
fn a_second_daemon_leaves_at_once_and_the_first_stays() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    let ran = world.run(&["daemon"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 1, "{ran:?}");
    assert!(
        lines[0].ends_with("another workerheal daemon runs already: it answers at /run/user/0/workerheal/api.sock"),
        "{ran:?}"
    );
    assert_eq!(get(&world, "/v1/status").status, 200);
    world.events().prove_alive_with(&world, QUEUE);
}

#[test]
fn the_socket_of_a_daemon_that_died_is_taken_over() {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    world.crash(DAEMON);
    world.wait_for_state(DAEMON, "failed", SOON);
    assert!(socket(&world).exists(), "it had no time to remove it");
    world.start_unit(DAEMON);
    assert_eq!(get(&world, "/v1/status").status, 200);
    world.stop_unit(DAEMON);
    assert!(!socket(&world).exists(), "who ends in order removes it");
}

#[test]
fn a_file_at_the_sockets_path_is_left_alone_and_healing_continues() {
    let world = World::new();
    world.workers([QUEUE]);
    let directory = world.runtime_dir().join("workerheal");
    fs::create_dir(&directory).expect("it is new");
    let mut file = fs::File::create(directory.join("api.sock")).expect("it is new");
    file.write_all(b"precious").expect("there is room");
    let mut events = world.start_daemon();
    events.wait_for_log(&["cannot answer at /run/user/0/workerheal/api.sock", "something else is there"]);
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(fs::read(directory.join("api.sock")).expect("it is there"), b"precious");
}

#[test]
fn commands_that_need_a_daemon_report_that_none_runs() {
    let world = World::new();
    world.workers([QUEUE]);
    for command in ["status", "events", "pause", "resume"] {
        let ran = world.run(&[command]);
        assert_eq!(ran.status, 3, "{ran:?}");
        assert_eq!(
            ran.err,
            "workerheal: no daemon answers at /run/user/0/workerheal/api.sock; \
             start it with `systemctl --user start workerheal`\n",
            "{command} of {WORKERHEAL}"
        );
    }
}
