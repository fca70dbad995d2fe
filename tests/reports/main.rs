//! Situations that people reported of their machines, replayed with real units: each test says whose report it is.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod forgotten;
mod harm;
mod stage;
