//! Units in the sandbox: writing, controlling and inspecting them, and waiting for their states.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Sandbox, SandboxError};

const POLL: Duration = Duration::from_millis(10);

impl Sandbox {
    /// Runs `systemctl --user` and returns its output without the final line break.
    ///
    /// # Errors
    ///
    /// If it ends with another status than 0: the call, the status and the output.
    pub fn systemctl(&self, args: &[&str]) -> Result<String, SandboxError> {
        let mut command = self.command("systemctl");
        let Output { status, stdout, stderr } = command
            .args(["--user", "--no-pager", "--no-ask-password"])
            .args(args)
            .output()
            .map_err(|e| SandboxError(format!("cannot run nsenter: {e}")))?;
        let stdout = String::from_utf8_lossy(&stdout).trim_end().to_owned();
        if status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&stderr);
        let said = format!("{stdout}\n{stderr}").trim().replace('\n', "; ");
        Err(SandboxError(format!("`systemctl --user {}` failed ({status}): {said}", args.join(" "))))
    }

    #[track_caller]
    fn must(&self, args: &[&str]) -> String {
        self.systemctl(args).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Writes a file below the home directory, and creates missing directories.
    #[track_caller]
    pub fn write_file(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.home().join(path);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text)).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }

    /// Writes a unit file; the manager sees it after [`Sandbox::daemon_reload`], or at once if it never saw the unit.
    #[track_caller]
    pub fn write_unit(&self, unit: &str, text: &str) {
        self.write_file(Path::new(".config/systemd/user").join(unit), text);
    }

    /// Makes the manager read all unit files again.
    #[track_caller]
    pub fn daemon_reload(&self) {
        self.must(&["daemon-reload"]);
    }

    /// Makes the manager re-execute itself: it keeps its units and drops its connections.
    #[track_caller]
    pub fn daemon_reexec(&self) {
        self.must(&["daemon-reexec"]);
    }

    /// Kills the session bus. The manager starts it again with the next connection.
    #[track_caller]
    pub fn kill_bus(&self) {
        self.kill("dbus.service", "KILL");
    }

    /// Enables a unit; that includes a reload.
    #[track_caller]
    pub fn enable(&self, unit: &str) {
        self.must(&["enable", unit]);
    }

    /// Starts a unit and waits for the job.
    #[track_caller]
    pub fn start_unit(&self, unit: &str) {
        self.must(&["start", unit]);
    }

    /// Stops a unit and waits for the job.
    #[track_caller]
    pub fn stop_unit(&self, unit: &str) {
        self.must(&["stop", unit]);
    }

    /// Sends a signal ("KILL", "TERM") to all processes of a unit.
    #[track_caller]
    pub fn kill(&self, unit: &str, signal: &str) {
        self.must(&["kill", "--signal", signal, unit]);
    }

    /// A property of a unit, as `systemctl show` prints it.
    #[must_use]
    #[track_caller]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.must(&["show", "--property", property, "--value", "--", unit])
    }

    /// A timestamp property (such as `ActiveEnterTimestampMonotonic`) in microseconds of the monotonic clock; 0 is never.
    #[must_use]
    #[track_caller]
    pub fn timestamp_usec(&self, unit: &str, property: &str) -> u64 {
        let value = self.show(unit, property);
        value.parse().unwrap_or_else(|_| panic!("{property} of {unit} is no number of microseconds: \"{value}\""))
    }

    /// Waits until `check` returns a value, and returns it.
    ///
    /// At the deadline, panics with `what`, the time, the units and the last lines of the journal.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, deadline: Duration, mut check: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            // Read before the check, so that a check is made after the deadline too: a busy machine may skip past it.
            let waited = begin.elapsed();
            if let Some(found) = check() {
                return found;
            }
            assert!(waited < deadline, "waited {waited:.1?} in vain for {what}\n{}", self.dump());
            sleep(POLL);
        }
    }

    /// Waits until a unit's `ActiveState` is `state` ("active", "failed", ...).
    #[track_caller]
    pub fn wait_for_state(&self, unit: &str, state: &str, deadline: Duration) {
        self.wait_until(&format!("{unit} to be {state}"), deadline, || {
            (self.show(unit, "ActiveState") == state).then_some(())
        });
    }

    /// The state of the sandbox, for the analysis of a failure.
    pub(crate) fn dump(&self) -> String {
        let units = self.systemctl(&["list-units", "--all", "--type=service,timer", "--plain", "--no-legend"]);
        format!("units:\n{}\njournal:\n{}", units.unwrap_or_else(|e| e.to_string()), self.journal_tail(40))
    }
}
