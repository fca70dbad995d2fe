//! `workerheal dashboard` with the real daemon, in a real browser.

#![cfg(feature = "dashboard")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod axe;
mod browser;
mod healing;
mod many;
mod page;
mod past;
mod refused;
mod using;

use crate::common::{LIVES_UNLESS_BROKEN, SOON, World};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-myapp";
const MAIL: &str = "lerd-mail-shop";

/// With three workers of which two can be broken for good, a daemon that gives up soon, and no failure yet.
fn world() -> World {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 300ms, give_up_after: 3, backoff: {initial: 50ms}}\n");
    world.workers([MAIL]);
    for unit in [QUEUE, VITE] {
        world.worker(unit, LIVES_UNLESS_BROKEN);
    }
    world
}

/// Makes both fail, and waits until they are given up.
fn break_down(world: &World) {
    world.write_file("broken", "");
    for unit in [QUEUE, VITE] {
        world.crash(unit);
    }
    for unit in [QUEUE, VITE] {
        world.wait_for_journal(&format!("{unit} given up"), SOON, |entry| {
            entry["WORKERHEAL_PHASE"] == "gave-up" && entry["WORKERHEAL_UNIT"] == unit
        });
    }
}

/// Lets them work again once they are started.
fn repair(world: &World) {
    std::fs::remove_file(world.home().join("broken")).expect("it is there");
}
