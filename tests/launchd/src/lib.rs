//! A stand-in for launchd, as far as its documentation and public records tell how it behaves.
//!
//! It loads plists, runs their jobs as real processes, restarts what is to be kept alive, throttles,
//! and answers the program `launchctl` of this package with the outputs and exit statuses of macOS,
//! races included. It is not launchd: what it shows is that workerheal copes with what is known of it.
//!
//! As in a test, what goes wrong panics with a sentence that says what.

mod answers;
mod job;
mod server;
mod socket;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// In an answer, stands for a byte that is no UTF-8.
pub use answers::NO_TEXT;
pub use job::{Conditions, KeepAlive, Spec};
use server::World;

/// The variable that tells `launchctl` where launchd listens.
pub const SOCKET: &str = "STAND_IN_LAUNCHD";

/// What `launchctl` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Its exit status.
    pub status: i32,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
}

/// The ways in which one Mac differs from the next, and what can go wrong.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way of its own")]
pub struct Ways {
    /// The major version of macOS, for the form of what is printed.
    pub macos: u32,
    /// The user is logged in at the screen: without that there is no domain `gui/UID`.
    pub gui: bool,
    /// With what exit status that is said.
    pub no_domain: i32,
    /// What is loaded is not started, for this reason, unless it is demanded.
    pub pends_loads: Option<&'static str>,
    /// What is kept alive is not started again, for this reason, unless it is demanded.
    pub pends_respawns: Option<&'static str>,
    /// How soon a job that is kept alive is started again.
    pub throttle: Duration,
    /// For how long a job that was taken out is still there, at least.
    pub drains: Duration,
    /// A bootout leaves its job disabled.
    pub bootout_disables: bool,
    /// So many bootstraps fail with 5 for no reason.
    pub spurious: u32,
    /// `kickstart` does not return before the job has ended.
    pub kickstart_blocks: bool,
    /// `print` says this instead.
    pub prints: Option<String>,
    /// Nothing answers.
    pub hangs: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            macos: 15,
            gui: true,
            no_domain: 125,
            pends_loads: None,
            pends_respawns: None,
            throttle: Duration::from_millis(300),
            drains: Duration::ZERO,
            bootout_disables: false,
            spurious: 0,
            kickstart_blocks: false,
            prints: None,
            hangs: false,
        }
    }
}

/// A running stand-in. Dropped, it ends all of its jobs.
#[derive(Debug)]
pub struct Launchd {
    directory: tempfile::TempDir,
    world: Arc<Mutex<World>>,
}

impl Launchd {
    /// Starts one, with a home directory of its own.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("there is no room for a home: {error}"));
        let world = Arc::new(Mutex::new(World::default()));
        let launchd = Self { directory, world };
        std::fs::create_dir_all(launchd.agents()).unwrap_or_else(|error| panic!("no LaunchAgents: {error}"));
        launchd.set_environment("HOME", &launchd.home());
        launchd.set_environment(SOCKET, &launchd.socket());
        socket::serve(&launchd.socket(), &launchd.world).unwrap_or_else(|error| panic!("no socket: {error}"));
        launchd
    }

    /// Where `launchctl` reaches it.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("launchd.sock")
    }

    /// The home directory of its user.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Where the user's plists are.
    pub fn agents(&self) -> PathBuf {
        self.home().join("Library/LaunchAgents")
    }

    /// The domain that its jobs are in.
    pub fn domain(&self) -> String {
        self.world().domain()
    }

    /// What all jobs that are started from now on have in their environment.
    pub fn set_environment(&self, name: &str, value: &Path) {
        self.world().environment.insert(name.to_owned(), value.display().to_string());
    }

    /// Changes its ways.
    pub fn ways(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.world().ways);
    }

    /// Calls `launchctl` as a user at a terminal does, which has to succeed.
    #[track_caller]
    pub fn control(&self, arguments: &[&str]) -> String {
        let reply = self.call(arguments);
        assert_eq!(reply.status, 0, "launchctl {arguments:?}: {reply:?}");
        reply.out
    }

    /// Calls `launchctl`.
    pub fn call(&self, arguments: &[&str]) -> Reply {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        server::call(&self.world, &arguments)
    }

    /// The process of a job that is up.
    pub fn pid(&self, label: &str) -> Option<u32> {
        self.world().pid(label)
    }

    /// The program of a loaded job is replaced: until the job is loaded anew, launchd refuses to spawn it.
    pub fn outdate(&self, label: &str) {
        self.world().outdate(label);
    }

    /// Whether a label is disabled; `None` if neither `enable` nor `disable` was called for it.
    pub fn disabled(&self, label: &str) -> Option<bool> {
        self.world().disabled.get(label).copied()
    }

    /// How often a job has been run since it was loaded; `None` if it is not.
    pub fn runs(&self, label: &str) -> Option<u32> {
        self.world().runs(label)
    }

    /// All calls of `launchctl` that came through its socket, in order.
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        server::lock(&self.world)
    }
}

impl Drop for Launchd {
    fn drop(&mut self) {
        self.world().end();
    }
}

/// Asks the stand-in at this socket.
///
/// # Errors
///
/// If it is not there.
pub fn ask(socket: &Path, arguments: &[String]) -> io::Result<Reply> {
    socket::ask(socket, arguments)
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}
