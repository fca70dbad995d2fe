//! workerheal keeps background workers alive: it notices units that a service manager has given up on, heals those that
//! should run, and verifies that they stay up.
//!
//! The command line is one user of this library. Your program can use it too:
//!
//! ```no_run
//! use workerheal::{Options, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), workerheal::SetupError> {
//! let mut client = connect(&Options::default()).await?;
//! let report = client.heal_all(|event| println!("{event}")).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! | of the Go package | here |
//! | --- | --- |
//! | `Detect`, `Enrich` | [`Standalone::detect`], [`Standalone::enrich`] |
//! | `HealUnit`, `HealAll(emit)` | [`Standalone::heal_unit`], [`Standalone::heal_all`], and step by step [`Standalone::heal`] |
//! | `UnhealthyWorker`, `Event`, `Failure` | [`UnhealthyWorker`], [`Event`], [`Failure`], with the same JSON |
//! | `Result`, `Summary` | [`Report`], which displays as the summary |
//!
//! # What to use
//!
//! - [`connect`] returns a [`Standalone`], which detects and heals through the service manager, without a daemon.
//! - [`Access`] goes through the daemon if one is running, and is what the commands use.
//! - [`DaemonClient`] is a client of the daemon: its status, its workers, its stream of events, pauses. [`api`] has the
//!   values that it exchanges.
//! - [`core`] has the decisions, without I/O: drive its [`Healer`](core::healer::Healer) with facts of your own.
//!
//! [`examples/`](https://github.com/workerheal/workerheal/tree/main/examples) has a program for each of the first three.
//!
//! # Structure
//!
//! Each module depends only on those below it:
//!
//! - `cli`: one thin file for each command; beside it the optional surfaces: the terminal (`top`), the web page
//!   (`dashboard`), the tools for assistants (`mcp`).
//! - [`client`] performs one operation, [`daemon`] is the service; [`api`] is their protocol, `http` limits and reads
//!   requests, `actions` performs what a healer decides and [`detect`] finds unhealthy workers for both. `install` installs
//!   the service.
//! - `checkout`: compares directories by identity; `frameworks`: Lerd's definitions of health probes; `text`: colours
//!   and layout.
//! - [`setup`], [`files`], `logging`, [`manager`]: everything that touches the operating system.
//! - [`core`]: the decisions.
//!
//! The modules that are not linked here are public for the program and its tests only, or private.

mod actions;
pub mod api;
mod blocking;
mod checkout;
mod checks;
#[doc(hidden)]
pub mod cli;
pub mod client;
pub mod daemon;
#[cfg(feature = "dashboard")]
mod dashboard;
mod deadline;
pub mod detect;
pub mod files;
mod frameworks;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
#[doc(hidden)]
pub mod install;
mod log_file;
#[doc(hidden)]
pub mod logging;
pub mod manager;
#[cfg(feature = "mcp")]
mod mcp;
pub mod setup;
#[doc(hidden)]
pub mod text;
#[cfg(feature = "top")]
#[doc(hidden)]
pub mod top;

pub use workerheal_core as core;

pub use crate::client::daemon::{DaemonClient, DaemonError};
pub use crate::client::standalone::{HealError, Healing, Standalone};
pub use crate::client::{Access, connect};
pub use crate::core::diagnosis::State;
pub use crate::core::event::{Event, Failure, Phase, Report, UnhealthyWorker};
pub use crate::core::units::UnitName;
pub use crate::setup::{Options, SetupError};
