//! Running out of file descriptors.

use std::time::Instant;

use crate::common::World;
use crate::faults::{LONGER_THAN_THE_WATCHDOG, QUEUE, crash_and_see_it_healed, pid, shell, start_steady_daemon};

#[test]
fn without_file_descriptors_healing_continues_and_the_api_logs_the_reason() {
    let world = World::new();
    let (mut events, before) = start_steady_daemon(&world);
    shell(&world, &format!("prlimit --pid {before} --nofile=3:1024"));
    let asked = crate::api::http::connect(&world);
    let begin = Instant::now();
    while begin.elapsed() < LONGER_THAN_THE_WATCHDOG {
        crash_and_see_it_healed(&world, QUEUE);
    }
    events.wait_for_log(&["too many open files"]);
    assert_eq!(pid(&world), before);
    shell(&world, &format!("prlimit --pid {before} --nofile=1024:1024"));
    drop(asked);
    events.wait_for_log(&["file descriptors", "again"]);
    assert_eq!(crate::api::http::get(&world, "/v1/status").status, 200);
    events.prove_alive_with(&world, QUEUE);
}
