//! The files that workerheal reads and writes.

pub mod config;
pub mod paths;
pub mod sites_yaml;
pub mod state_file;
pub mod watch;
pub mod yaml;
