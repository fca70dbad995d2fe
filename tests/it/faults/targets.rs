//! Unknown targets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::api::http::post;
use crate::common::{LIVES, World, service_of};
use crate::faults::QUEUE;

#[test]
fn unknown_targets_of_any_length_delay_no_healing() {
    let world = World::new();
    world.config(
        "refresh: 100ms\nalso_watch: [\"crowd@*.service\"]\nheal: {stable_after: 50ms, backoff: {initial: 50ms}}\n",
    );
    world.workers([QUEUE]);
    world.write_unit("crowd@.service", &format!("[Service]\n{LIVES}\n"));
    let crowd: Vec<String> = (0..300).map(|n| format!("crowd@{}{n}", "long-".repeat(20))).collect();
    let names: Vec<&str> = crowd.iter().map(String::as_str).collect();
    world.control(&[&["start"], &names[..]].concat());
    let mut events = world.start_daemon();
    let over = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = post(&world, "/v1/pause", &json!({"targets": ["long-".repeat(102)]}));
                    assert_eq!(answer.status, 404, "{answer:?}");
                }
            });
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            let begin = Instant::now();
            world.crash(QUEUE);
            events.wait("starting", QUEUE);
            slowest = slowest.max(begin.elapsed());
            events.wait("healed", QUEUE);
        }
        over.store(true, Ordering::Relaxed);
        slowest
    });
    assert!(slowest < Duration::from_secs(2), "a heal was begun only after {slowest:?}");
    let near = post(&world, "/v1/pause", &json!({"targets": ["lerd-qeue-myapp"]}));
    assert!(near.error().contains(&format!("did you mean \"{QUEUE}\"")), "{near:?}");
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "active");
}
