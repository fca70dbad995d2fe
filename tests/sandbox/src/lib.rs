//! A private systemd user manager with its session bus and its journal, which ends when the value is dropped.
//!
//! Each [`Sandbox`] has a mount and a pid namespace, cgroups, `/run` and a home directory of its own, so that tests run
//! side by side and are isolated from the machine's own user manager. Every process inside is root (uid 0).
//!
//! The Debian packages that it needs are in `packages.txt`; `install-packages.sh` installs what is missing.
//!
//! As in a test, errors are panics with a sentence; only [`Sandbox::start`] and [`Sandbox::systemctl`], whose failures
//! may be expected, return errors. Nothing waits for a fixed time.

mod journal;
mod units;

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use journal::{Entry, Follower};

const OUTSIDE: &str = include_str!("outside.sh");
const INSIDE: &str = include_str!("inside.sh");
const RUNTIME_DIR: &str = "/run/user/0";

/// Why a sandbox, or a call of `systemctl` in it, failed: one sentence.
#[derive(Debug)]
pub struct SandboxError(String);

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SandboxError {}

/// A running sandbox. Dropping it, or the death of the process that holds it, ends and removes everything in it.
#[derive(Debug)]
pub struct Sandbox {
    /// The process of `outside.sh`, which ends the sandbox when its standard input is closed.
    supervisor: Child,
    /// The first process of the sandbox, as the host counts.
    init: u32,
    home: PathBuf,
}

impl Sandbox {
    /// Starts a sandbox and returns when its manager is up and has joined its bus.
    ///
    /// # Errors
    ///
    /// If the machine lacks something, or does not allow it; the error says what, and how to fix it.
    pub fn start() -> Result<Self, SandboxError> {
        let failed = |why: &str| SandboxError(format!("cannot start the sandbox: {why}"));
        let mut supervisor = Command::new("sh")
            .args(["-c", OUTSIDE, "sandbox", INSIDE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // a terminal's Ctrl-C must not reach it: it has to clean up
            .spawn()
            .map_err(|e| failed(&format!("`sh` does not run: {e}")))?;

        let mut report = String::new();
        let _ = BufReader::new(supervisor.stdout.take().expect("is piped")).read_line(&mut report);
        if let Some((init, home)) = parse_report(&report) {
            return Ok(Self { supervisor, init, home });
        }
        drop(supervisor.stdin.take());
        let mut why = String::new();
        let _ = supervisor.stderr.take().expect("is piped").read_to_string(&mut why);
        let _ = supervisor.wait();
        let why: Vec<_> = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Err(failed(&why.join("; ")))
    }

    /// The home directory, at the same path inside and outside: configuration is in `.config`, units are in
    /// `.config/systemd/user`, data is in `.local/share`.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The sandbox's `$XDG_RUNTIME_DIR` as a path for the test's own process, to reach sockets in it.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.root().join(&RUNTIME_DIR[1..])
    }

    /// The sandbox's root directory, seen from outside; differs from the host's in `/run` and `/proc`.
    fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init))
    }

    /// A command that runs `program` inside, in `/`, with the environment of a fresh login.
    ///
    /// The spawned child is a stand-in outside: `wait` and `kill` act on the program, but the pid is not its own. A
    /// program that should run longer, or get other signals, is better run as a unit.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init)).args(["--mount", "--pid"]);
        if !self.in_host_user_namespace() {
            command.args(["--user", "--preserve-credentials"]); // its root is this user
        }
        // Without this the program would outlive its stand-in when that is killed.
        command.args(["--", "setpriv", "--pdeathsig=KILL", "--"]).arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .envs([("USER", "root"), ("LOGNAME", "root"), ("SHELL", "/bin/sh")])
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", RUNTIME_DIR);
        command
    }

    /// Whether root inside is root outside.
    fn in_host_user_namespace(&self) -> bool {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/user")).ok();
        namespace("self") == namespace(&self.init.to_string())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Reads `inside.sh`'s "ready PID HOME".
fn parse_report(line: &str) -> Option<(u32, PathBuf)> {
    let (init, home) = line.strip_prefix("ready ")?.trim_end().split_once(' ')?;
    Some((init.parse().ok()?, home.into()))
}
