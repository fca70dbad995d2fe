//! The daemon's API, as programs meet it: raw HTTP over the real socket, and the commands that use it.

#![expect(clippy::expect_used, reason = "this is for tests only")]

#[path = "../common/mod.rs"]
mod common;
mod http;

mod calls;
mod commands;
mod crowd;
mod events;
mod hostile;
mod readme;
mod socket;
