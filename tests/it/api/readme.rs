//! The README's examples work as they are written.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::common::{LIVES_UNLESS_BROKEN, Ran, World};

const README: &str = include_str!("../../../README.md");

#[test]
fn each_curl_command_of_the_readme_works() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 5m}}\n");
    world.workers(["lerd-vite-shop"]);
    world.worker("lerd-queue-myapp", LIVES_UNLESS_BROKEN);
    let mut events = world.start_daemon();
    world.write_file("broken", "");
    world.crash("lerd-queue-myapp");
    events.wait("scheduled", "lerd-queue-myapp");
    std::fs::remove_file(world.home().join("broken")).expect("it is there");

    let examples: Vec<&str> = README.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(examples.len() >= 9, "{examples:?}");
    for example in examples {
        let mut command = world.command("sh");
        command.args(["-c", &format!("exec {example} --fail-with-body")]).stdin(Stdio::null());
        let says = if example.contains("/v1/events") {
            // It has no end: the first event is enough.
            let mut curl = command.stdout(Stdio::piped()).spawn().expect("curl can be started");
            let lines = BufReader::new(curl.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
            let first = lines.into_iter().find(|line| line.starts_with("data: ")).unwrap_or_default();
            curl.kill().expect("it still runs");
            curl.wait().expect("it ends");
            first
        } else {
            let ran = Ran::of(&mut command);
            assert_eq!(ran.status, 0, "{example}: {ran:?}");
            ran.out
        };
        let expected = match example {
            it if it.contains("/v1/status") => "\"manager\":{\"scope\":\"user\",\"reachable\":true}",
            it if it.contains("/usage") => "{\"pid\":",
            it if it.contains("/explain") => "\"summary\":\"myapp/queue has failed",
            it if it.contains("/v1/workers") => "\"phase\":\"waiting\"",
            it if it.contains("/v1/unhealthy") => "\"unit\":\"lerd-queue-myapp\"",
            it if it.contains("/v1/pause") => "\"name\":\"shop\"",
            it if it.contains("/v1/resume") => "{\"pauses\":[]}",
            it if it.contains("/v1/heal") => "event: result\ndata: {\"healed\":[{\"site\":\"myapp\"",
            it if it.contains("/v1/stop") => "{\"stopped\":[{\"site\":\"shop\",\"worker\":\"vite\"",
            it if it.contains("/v1/events") => "data: {\"phase\":\"detected\"",
            it if it.contains("/metrics") => "workerheal_build_info{",
            other => panic!("what does {other:?} answer?"),
        };
        assert!(says.contains(expected), "{example}: {says}");
    }
}
