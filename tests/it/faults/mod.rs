//! Injected faults around the daemon, none of which may break a promise. The table in docs/faults.md names the test of
//! each.

#![expect(clippy::expect_used, reason = "this is for tests only")]

mod children;
mod descriptors;
mod followers;
mod journal;
mod killed;
mod mounts;
mod one_healer;
mod soak;
mod state;
mod targets;
mod text;

use std::time::Duration;

use crate::common::{DAEMON, Events, Ran, SOON, World};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-queue-shop";

/// Heals immediately, however often that is needed.
const STEADY: &str =
    "refresh: 100ms\nheal: {stable_after: 50ms, give_up_after: 0, backoff: {initial: 20ms, max: 20ms, jitter: 0}}\n";

/// Makes the daemon's manager kill it soon if its loop hangs.
fn short_watchdog(world: &World) {
    world.write_unit("workerheal.service.d/watchdog.conf", "[Service]\nWatchdogSec=2s\n");
    world.daemon_reload();
}

/// A daemon that has healed once, its events, and its process.
fn start_steady_daemon(world: &World) -> (Events<'_>, String) {
    short_watchdog(world);
    world.config(STEADY);
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    crash_and_see_it_healed(world, QUEUE);
    events.wait("healed", QUEUE);
    (events, pid(world))
}

/// Long enough for a watchdog of two seconds to notice.
const LONGER_THAN_THE_WATCHDOG: Duration = Duration::from_secs(4);

/// Runs a script in the sandbox, which has to succeed.
#[track_caller]
fn shell(world: &World, script: &str) -> String {
    let ran = Ran::of(world.command("sh").args(["-c", script]));
    assert_eq!(ran.status, 0, "{script}: {ran:?}");
    ran.out
}

#[track_caller]
fn pid(world: &World) -> String {
    world.show(DAEMON, "MainPID")
}

/// Kills a worker, and waits until it is up again, without help from the journal.
#[track_caller]
fn crash_and_see_it_healed(world: &World, unit: &str) {
    let service = crate::common::service_of(unit);
    let before = world.show(&service, "InvocationID");
    world.crash(unit);
    world.wait_until(&format!("{unit} to be healed"), SOON, || {
        let now = world.control(&["show", "--property", "ActiveState,InvocationID", &service]);
        (now.contains("ActiveState=active") && !now.contains(&before)).then_some(())
    });
}
