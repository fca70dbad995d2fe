//! Situations that people reported of their machines, replayed with real units: each test names the report that it is
//! from, or is of the same kind as the one before it.
//!
//! The tests mostly wait, each in a sandbox of its own: with more threads than cores (`-- --test-threads 8`) they are done
//! sooner.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod bound;
mod ends;
mod forgotten;
mod harm;
mod stage;
mod stops;
mod stuck;
