//! Decides, and does nothing else.
//!
//! Nothing below this module performs I/O, reads a clock, logs, or is async: facts and the time
//! come in as values, decisions go out as values. That is what lets every rule of healing be read
//! in one place and be tested without waiting.
//!
//! Read in this order: [`units`] (what a service manager reports), [`registry`] and [`selector`]
//! (which of those units are workers, and whose), [`diagnosis`] (the words for what is wrong with one and
//! what stands against healing it), [`policy`] and [`backoff`] (how often), [`rules`] (which decide),
//! [`healer`] (the state machine that puts these together), [`event`] (what it tells the world),
//! [`explain`] (the rules in words).

pub mod backoff;
pub mod batch;
pub mod context;
pub mod diagnosis;
pub mod event;
pub mod explain;
pub mod healer;
pub mod parse_error;
pub mod pauses;
pub mod policy;
pub mod probe;
pub mod registry;
pub mod report;
pub mod rules;
pub mod saved_state;
pub mod selector;
pub mod target;
pub mod text;
pub mod time;
pub mod units;
