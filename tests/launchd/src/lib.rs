//! A stand-in for launchd, as far as its behaviour is documented or publicly recorded.
//!
//! It loads plists, runs their jobs as real processes, restarts jobs that are kept alive, throttles, and answers the
//! program `launchctl` of this package with the outputs and exit statuses of macOS, races included. It is not launchd:
//! it shows that workerheal copes with the known behaviour.
//!
//! As in a test, errors are panics with a sentence.

mod answers;
mod job;
mod server;
mod socket;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// In an answer, stands for a byte that is not UTF-8.
pub use answers::NO_TEXT;
pub use job::{Conditions, KeepAlive, Spec};
use server::World;

/// The variable with launchd's socket for `launchctl`.
pub const SOCKET: &str = "STAND_IN_LAUNCHD";

/// The result of a `launchctl` call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Its exit status.
    pub status: i32,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
}

/// Differences between Macs, and injected errors.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
pub struct Ways {
    /// The major version of macOS, which determines the form of the output.
    pub macos: u32,
    /// Whether the user is logged in graphically: otherwise there is no domain `gui/UID`.
    pub gui: bool,
    /// The exit status for that.
    pub no_domain: i32,
    /// Why a loaded job is not started unless it is demanded.
    pub pends_loads: Option<&'static str>,
    /// Why a job that is kept alive is not restarted unless it is demanded.
    pub pends_respawns: Option<&'static str>,
    /// How soon a job that is kept alive is started again.
    pub throttle: Duration,
    /// How long, at least, a job that was booted out still exists.
    pub drains: Duration,
    /// A bootout leaves its job disabled.
    pub bootout_disables: bool,
    /// This many bootstraps fail with 5 for no reason.
    pub spurious: u32,
    /// `kickstart` does not return before the job has ended.
    pub kickstart_blocks: bool,
    /// `print` outputs this instead.
    pub prints: Option<String>,
    /// There is no answer.
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

/// A running stand-in. When it is dropped, all of its jobs end.
#[derive(Debug)]
pub struct Launchd {
    directory: tempfile::TempDir,
    world: Arc<Mutex<World>>,
}

impl Launchd {
    /// Starts one, with a home directory of its own.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("cannot create a home directory: {error}"));
        let world = Arc::new(Mutex::new(World::default()));
        let launchd = Self { directory, world };
        std::fs::create_dir_all(launchd.agents()).unwrap_or_else(|error| panic!("no LaunchAgents: {error}"));
        launchd.set_environment("HOME", &launchd.home());
        launchd.set_environment(SOCKET, &launchd.socket());
        socket::serve(&launchd.socket(), &launchd.world).unwrap_or_else(|error| panic!("no socket: {error}"));
        launchd
    }

    /// The socket of `launchctl`.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("launchd.sock")
    }

    /// The home directory of its user.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// The directory of the user's plists.
    pub fn agents(&self) -> PathBuf {
        self.home().join("Library/LaunchAgents")
    }

    /// The domain of its jobs.
    pub fn domain(&self) -> String {
        self.world().domain()
    }

    /// Sets the environment of all jobs that are started from now on.
    pub fn set_environment(&self, name: &str, value: &Path) {
        self.world().environment.insert(name.to_owned(), value.display().to_string());
    }

    /// Changes its behaviour.
    pub fn ways(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.world().ways);
    }

    /// Calls `launchctl` as a user in a terminal would; it has to succeed.
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

    /// Replaces the program of a loaded job: until the job is loaded again, launchd refuses to spawn it.
    pub fn outdate(&self, label: &str) {
        self.world().outdate(label);
    }

    /// Whether a label is disabled; `None` if neither `enable` nor `disable` was called for it.
    pub fn disabled(&self, label: &str) -> Option<bool> {
        self.world().disabled.get(label).copied()
    }

    /// How often a job has run since it was loaded; `None` if it is not loaded.
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
