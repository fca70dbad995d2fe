//! Many followers and requests while workers crash: a follower that keeps up loses no event.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::api::http::{Follower, get};
use crate::common::World;

const FOLLOWERS: usize = 200;
const WORKERS: [&str; 5] = ["lerd-a-myapp", "lerd-b-myapp", "lerd-c-myapp", "lerd-d-shop", "lerd-e-shop"];
const ROUNDS: usize = 6;

#[test]
fn two_hundred_followers_see_every_event_in_order() {
    let world = World::new();
    world.workers(WORKERS);
    let mut journal = world.start_daemon();
    let followers: Vec<Follower> = (0..FOLLOWERS).map(|_| Follower::new(&world, "", "")).collect();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert_eq!(get(&world, "/v1/workers").status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
                // Fifty a second.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        for _ in 0..ROUNDS {
            for unit in WORKERS {
                world.crash(unit);
                journal.wait("healed", unit);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > ROUNDS);
    world.stop_unit(crate::common::DAEMON);
    let seen: Vec<Vec<String>> =
        followers.iter().map(|it| it.rest().into_iter().map(|message| message.id).collect()).collect();
    let healed = WORKERS.iter().flat_map(|unit| world.reported(unit)).count();
    for (at, ids) in seen.iter().enumerate() {
        assert_eq!(ids.len(), healed, "follower {at} has not seen as many as the journal");
        assert_eq!(*ids, seen[0], "follower {at}");
    }
    let numbers = seen[0].iter().map(|id| id.split_once('-').and_then(|(_, number)| number.parse().ok()));
    let numbers: Vec<usize> = numbers.map(|number| number.expect("an id ends with a number")).collect();
    assert_eq!(numbers, (numbers[0]..numbers[0] + healed).collect::<Vec<_>>());
}
