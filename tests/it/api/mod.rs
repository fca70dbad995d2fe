//! The daemon's API: raw HTTP over the real socket, and the commands that use it.

#![expect(clippy::expect_used, reason = "this is for tests only")]

pub mod http;

mod calls;
mod commands;
mod crowd;
mod events;
mod hostile;
mod readme;
mod socket;

use crate::common::World;

const QUEUE: &str = "lerd-queue-myapp";

/// With one worker, and a running daemon.
fn world() -> World {
    let world = World::new();
    world.workers([QUEUE]);
    world.start_daemon();
    world
}
