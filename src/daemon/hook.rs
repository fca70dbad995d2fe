//! Runs the user's command after a worker was healed or given up, with the event as JSON on its standard input.
//!
//! The number and the duration of commands are limited, and healing does not depend on them.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::core::event::{Event, Phase};
use crate::core::text;

/// Variables that systemd sets for a service, systemd.exec(5), and those by which the packaged units keep the memory of
/// this program small. The command does not inherit them.
const HOOK_VARIABLES: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "SYSTEMD_EXEC_PID",
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
];
/// Maximum number of running commands.
const MAX_RUNNING: usize = 4;
/// Maximum number of waiting commands; further ones are skipped.
const MAX_WAITING: usize = 256;
/// Maximum duration of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The user's command, and its limits.
#[derive(Debug)]
pub(super) struct Hook {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hook {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(MAX_RUNNING)), waiting: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

impl Hook {
    /// Runs the command, if there is one and the event is of interest.
    pub fn run(&self, command: &[String], event: &Event) {
        let Some((program, arguments)) = command.split_first() else { return };
        if !matches!(event.phase, Phase::Healed | Phase::GaveUp) {
            return;
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            tracing::warn!(
                "on_event was not run for {}: {MAX_WAITING} of its runs are waiting already",
                event.unit_name()
            );
            return;
        };
        let Ok(mut input) = serde_json::to_vec(event) else { return };
        input.push(b'\n');
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        // The connection to the daemon's service manager is not the command's.
        for name in HOOK_VARIABLES {
            command.env_remove(name);
        }
        // Its child processes end with it: they are in its process group.
        command.process_group(0);
        let (running, program, unit) = (Arc::clone(&self.running), text::plain(program), event.unit_name().to_owned());
        tokio::spawn(async move {
            let _turn = running.acquire().await;
            match timeout(COMMAND_TIMEOUT, feed(&mut command, &input)).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::warn!("on_event: {program} for {unit} ended with {status}"),
                Ok(Err(error)) => tracing::warn!("on_event: {program} cannot be run for {unit}: {error}"),
                Err(_) => tracing::warn!("on_event: {program} for {unit} was ended after {COMMAND_TIMEOUT:?}"),
            }
            drop(place);
        });
    }
}

async fn feed(command: &mut Command, input: &[u8]) -> std::io::Result<std::process::ExitStatus> {
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())));
    if let Some(mut stdin) = child.stdin.take() {
        // The command may ignore its input.
        let _ = stdin.write_all(input).await;
    }
    let status = child.wait().await;
    // Processes that it has left in the background may continue.
    group.0 = None;
    status
}

/// A process group, killed if this is dropped before its first process has ended.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}
