//! The decisions of workerheal: which workers are healed, when, and why not.
//!
//! Nothing in this crate performs I/O, reads a clock, logs, or is async: facts and the time come in as values,
//! decisions go out as values. So every rule of healing can be read in one place and tested without waiting.
//!
//! Read in this order: [`units`] (what a service manager reports), [`registry`] and [`selector`] (which units are
//! workers, and of which site), [`diagnosis`] (what can be wrong with a worker, and what can prevent a heal),
//! [`policy`] and [`backoff`] (how often to try), [`rules`] (which decide), [`healer`] (the state machine that applies
//! them), [`event`] (what it reports), [`explain`] (the rules in words).

pub mod backoff;
pub mod batch;
pub mod context;
pub mod diagnosis;
pub mod event;
pub mod explain;
pub mod healer;
pub mod last_day;
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
