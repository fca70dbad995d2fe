//! Situations that users reported, replayed with real units: each test names its report, or is a variant of the test
//! before it.
//!
//! The tests mostly wait, each in a sandbox of its own: with more threads than cores (`-- --test-threads 8`) they
//! finish sooner.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod bound;
mod conditions;
mod ends;
mod forgotten;
mod harm;
mod stage;
mod stops;
mod stuck;
mod unit_files;
