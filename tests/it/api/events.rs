//! Following events, and resuming after the last one.

use std::time::SystemTime;

use crate::api::http::{Follower, get, messages};
use crate::api::{QUEUE, world};
use crate::common::{DAEMON, World};

#[track_caller]
fn crash_and_heal(world: &World, follower: &Follower) -> String {
    world.crash(QUEUE);
    follower.wait("the healing", |message| message.is("healed", QUEUE)).id
}

#[test]
fn events_come_as_they_happen_and_are_those_of_the_journal() {
    let world = world();
    let follower = Follower::new(&world, "", "");
    world.crash(QUEUE);
    let reported: Vec<_> =
        ["detected", "starting", "healed"].map(|phase| follower.wait(phase, |message| message.is(phase, QUEUE))).into();
    assert!(reported.iter().all(|message| message.name.is_empty() && !message.id.is_empty()), "{reported:#?}");
    assert!(reported[0].data["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{reported:#?}");
    assert_eq!(reported[1].data["attempt"], 1, "{reported:#?}");
    assert_eq!(world.reported(QUEUE), ["detected", "starting", "healed"]);
}

#[test]
fn a_follower_continues_after_the_last_event_it_has_seen() {
    let world = world();
    let follower = Follower::new(&world, "", "");
    let first = crash_and_heal(&world, &follower);
    drop(follower);
    // Missed by the follower.
    let other = Follower::new(&world, "", "");
    let last = crash_and_heal(&world, &other);
    for (query, header) in [(String::new(), first.as_str()), (format!("?after={first}"), "")] {
        let follower = Follower::new(&world, &query, header);
        for phase in ["detected", "scheduled", "starting", "healed"] {
            let message = follower.wait("the next event", |_| true);
            assert!(message.is(phase, QUEUE), "{message:#?}");
        }
    }
    let rest = messages(&get(&world, &format!("/v1/events?after={last}&follow=false")));
    assert_eq!(rest.len(), 0, "{rest:#?}");
}

#[test]
fn an_event_id_of_an_earlier_daemon_returns_all_known_events_once() {
    let world = world();
    let follower = Follower::new(&world, "", "");
    let id = crash_and_heal(&world, &follower);
    world.control(&["restart", DAEMON]);
    follower.rest();
    let other = Follower::new(&world, "", "");
    crash_and_heal(&world, &other);
    let reported = messages(&get(&world, &format!("/v1/events?after={id}&follow=false")));
    assert_eq!(reported[0].name, "gap", "{reported:#?}");
    assert!(reported[1].is("detected", QUEUE), "{reported:#?}");
    assert_eq!(reported.len(), 5, "{reported:#?}");
    // With the new id there is no gap, and no event twice.
    let reported = messages(&get(&world, &format!("/v1/events?after={}&follow=false", reported[1].id)));
    assert_eq!(reported.len(), 3, "{reported:#?}");
}

#[test]
fn past_events_are_limited_as_requested() {
    let world = world();
    let follower = Follower::new(&world, "", "");
    crash_and_heal(&world, &follower);
    let middle = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
    crash_and_heal(&world, &follower);
    let count = |query: &str| messages(&get(&world, &format!("/v1/events?follow=false{query}"))).len();
    // Three for the first crash; for the second one a wait is reported too, unless it is over by then.
    let all = count("");
    assert!((6..=7).contains(&all), "{all}");
    assert_eq!(count("&since=1h"), all);
    assert_eq!(count("&limit=2"), 2);
    assert_eq!(count(&format!("&since={middle}")), all - 3);
    assert_eq!(count("&since=0s"), 0);
    assert_eq!(get(&world, "/v1/events?follow=false&after=zzz").status, 400);
    // Past events, then new ones.
    let follower = Follower::new(&world, "?limit=1", "");
    assert!(follower.wait("the last one", |_| true).is("healed", QUEUE));
    crash_and_heal(&world, &follower);
}
