//! The files that workerheal reads and writes.

pub mod config;
pub mod paths;
pub mod state_file;
pub mod watch;
