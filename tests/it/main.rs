//! The tests of the program: in the sandbox, in the browser, and of the repository's files.
//!
//! They are one program, as each would link the same libraries. A test that runs this program again names itself with
//! its module: `log::prints_the_log_for_another_test`.

#[path = "../cases/mod.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;

mod agreement;
mod aliases;
mod api;
mod cli;
mod commands;
mod dashboard;
mod definition;
mod docs;
mod evidence;
mod explain;
mod faults;
mod files;
mod fleet;
mod healing;
mod hook;
mod init;
mod install;
mod intent;
mod last_error;
mod lerd;
mod log;
mod make_install;
mod mcp;
mod memory;
mod named;
mod one_inspection;
mod platform;
mod readme;
mod recipes;
mod reports;
mod said;
mod service;
mod shared;
mod states;
#[cfg(feature = "top")]
mod top;
mod upgrade;
mod whose;
mod with_targets;
